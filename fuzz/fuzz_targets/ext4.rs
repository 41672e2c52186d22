//! An ext4 file system: our reader of superblock, backups, inodes, names and attributes, then
//! crate ext4-view over the same bytes, both walking from the root. Never a panic, an endless
//! loop or memory beyond a directory's own size; an inode that is read is the one asked for.
#![no_main]

use ext4_view::{Ext4, Ext4Read};
use formats::ext4::{Image, ROOT_INODE, ReadError, superblock};
use formats::read_at::ReadAt as _;
use fuzz::Disk;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

/// Names looked at in one input: enough for any seed.
const MOST: usize = 200;
/// Larger directories are refused by those who call the reader.
const DIRECTORY_MAX: u64 = 1 << 20;

struct View(Disk);

impl Ext4Read for View {
    fn read(&mut self, start: u64, bytes: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.read_exact_at(bytes, start)?)
    }
}

fn ours(disk: &Disk) -> bool {
    let Ok(image) = Image::open(disk) else {
        let _ = superblock::find_backup(disk, disk.size().min(1 << 32));
        return false;
    };
    let (mut open, mut seen) = (vec![ROOT_INODE], BTreeSet::new());
    while let Some(number) = open.pop().filter(|_| seen.len() < MOST) {
        if !seen.insert(number) {
            continue;
        }
        let Ok(inode) = image.inode(number) else { continue };
        assert_eq!(inode.number, number);
        let _ = image.xattrs(&inode);
        if inode.size <= DIRECTORY_MAX {
            match image.read_directory(&inode) {
                Ok(names) => open.extend(names.iter().take(MOST).map(|name| name.inode)),
                Err(ReadError::NotDirectory { .. }) => {}
                // A path through it is not followed.
                Err(_) => return false,
            }
        }
    }
    !image.superblock().needs_recovery()
}

fn theirs(disk: &Disk) {
    let Ok(view) = Ext4::load(Box::new(View(disk.clone()))) else { return };
    let mut open = vec![ext4_view::PathBuf::new("/")];
    let mut left = MOST;
    while let Some(path) = open.pop() {
        let Ok(entries) = view.read_dir(&path) else { continue };
        for entry in entries {
            left -= 1;
            if left == 0 {
                return;
            }
            let Ok(entry) = entry else { break };
            let name = entry.file_name();
            if name == "." || name == ".." {
                continue;
            }
            let path = entry.path();
            let Ok(metadata) = view.symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                open.push(path);
            } else if metadata.is_symlink() {
                let _ = metadata.len().le(&4095).then(|| view.read_link(&path));
            } else if let Ok(mut file) = view.open(&path) {
                let _ = file.read_bytes(&mut [0; 4096]);
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(disk) = Disk::from_input(input) else { return };
    // As inspect does it: ext4-view sees what our own reader let pass.
    if ours(&disk) {
        theirs(&disk);
    }
});
