//! The fault: power is cut after any write of a formatting, so that what was written and synced
//! before is there, and of what came after the last sync any part may be.

use super::*;
use crate::setup::state::decide::{Action, decide};
use std::process::Command;

const SIZE: u64 = 200 << 20;

fn partition() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(SIZE).unwrap();
    file
}

fn assert_clean(path: &Path) {
    let output = Command::new("e2fsck").arg("-fn").arg(path).output().expect("install e2fsprogs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_formatted_partition_is_clean_and_taken() {
    let file = partition();
    format(file.as_file(), file.path(), |created| crate::setup::state::content("0", created)).unwrap();
    assert_clean(file.path());
    assert!(matches!(decide(file.as_file()).unwrap(), Action::Take { errors: false, unfinished: false }));
}

/// Lets `writes` writes through, then fails.
struct Cut<'a> {
    inner: DeviceSink<'a>,
    writes: usize,
}

impl Cut<'_> {
    fn count(&mut self) -> io::Result<()> {
        self.writes = self.writes.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(())
    }
}

impl ImageSink for Cut<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.count()?;
        self.inner.write(bytes)
    }
    fn zeros(&mut self, count: u64) -> io::Result<()> {
        self.count()?;
        self.inner.zeros(count)
    }
    fn skip(&mut self, count: u64) -> io::Result<()> {
        self.count()?;
        self.inner.skip(count)
    }
}

fn layout(tree: &Tree) -> Layout<'_> {
    Layout::plan(tree, &options(SIZE)).unwrap()
}

/// Of a STATE of `size` bytes, the same each time.
pub(in crate::setup::state) fn options(size: u64) -> Options {
    Options {
        size: Size::Exact(size),
        uuid: [1; 16],
        hash_seed: [2; 16],
        label: "STATE".to_owned(),
        created: 0,
        journal_blocks: Some(1024),
        resizable: true,
    }
}

#[test]
fn cut_at_any_write_the_next_boot_formats_anew_or_takes_it() {
    let tree = Tree::default();
    let layout = layout(&tree);
    let mut finished = false;
    for writes in 0.. {
        let file = partition();
        let result = write(file.as_file(), |sink| {
            let mut cut = Cut { inner: DeviceSink { file: sink.file, position: 0 }, writes };
            layout.write_with_deferred_superblock(&mut cut)
        });
        match decide(file.as_file()).unwrap() {
            Action::Format => {
                assert!(result.is_err());
                format(file.as_file(), file.path(), |_| Tree::default()).unwrap();
            }
            Action::Take { errors: false, unfinished: false } => {
                assert!(result.is_ok());
                finished = true;
            }
            other => panic!("after {writes} writes: {other:?}"),
        }
        assert_clean(file.path());
        if finished {
            assert!(writes > 3, "the stream has several writes");
            break;
        }
    }
}

#[test]
fn cut_between_the_last_steps_too() {
    let file = partition();
    let tree = Tree::default();
    let layout = layout(&tree);
    file.as_file().write_all_at(MARKER, 0).unwrap();
    let superblock =
        layout.write_with_deferred_superblock(&mut DeviceSink { file: file.as_file(), position: 0 }).unwrap();
    assert!(matches!(decide(file.as_file()).unwrap(), Action::Format));
    // Half a superblock fails its checksum.
    file.as_file().write_all_at(&superblock[..512], superblock::OFFSET).unwrap();
    assert!(matches!(decide(file.as_file()).unwrap(), Action::Format));
    file.as_file().write_all_at(&superblock, superblock::OFFSET).unwrap();
    assert!(matches!(decide(file.as_file()).unwrap(), Action::Take { unfinished: true, .. }));
    clear_marker(file.as_file()).unwrap();
    assert!(matches!(decide(file.as_file()).unwrap(), Action::Take { unfinished: false, .. }));
    assert_clean(file.path());
}
