//! A machine's disk: made from images, broken on purpose, and asked afterwards.

use crate::image::{entry_path, read_file, work_folder};
use crate::{Image, tool};
use formats::esp::{self, Esp};
use formats::ext4::superblock::{self, Superblock};
use formats::fat::Fat;
use formats::gpt::{self, Gpt};
use formats::sparse::data_ranges;
use formats::stream::ImageSink;
use formats::tree::Content;
use formats::window::Window;
use slipway::machine::write_seed;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A disk of a test's own. It is gone with its value.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
    file: File,
}

impl Disk {
    /// The disk that an image is: the version in SLOT-A, SLOT-B empty, STATE not formatted.
    pub fn of(image: &Image) -> Self {
        let (disk, raw) = Self::empty(image);
        copy(&raw, 0..raw.metadata().unwrap().len(), &disk.file, 0);
        disk
    }

    /// A disk with `a` in SLOT-A and `b`, when it is given, in SLOT-B, and boot entries of these
    /// names, each with the UKI of its version.
    pub fn with_entries(a: &Image, b: Option<&Image>, entries: &[(&str, &Image)]) -> Self {
        let (disk, raw) = Self::empty(a);
        let table = Gpt::read(&raw).unwrap();
        let [esp, slot_a, slot_b] = ["ESP", "SLOT-A", "SLOT-B"].map(|label| table.by_label(label).unwrap());
        copy(&raw, 0..esp.offset, &disk.file, 0);
        copy(&raw, slot_a.offset..raw.metadata().unwrap().len(), &disk.file, slot_a.offset);
        if let Some(b) = b {
            copy(&File::open(&b.raw).unwrap(), slot_a.offset..slot_a.end(), &disk.file, slot_b.offset);
        }
        let loader = read_file(&Window::new(&raw, esp.offset, esp.size), "EFI/BOOT/BOOTX64.EFI");
        let mut files = vec![
            ("EFI/BOOT/BOOTX64.EFI".to_owned(), Content::bytes(loader)),
            ("loader/loader.conf".to_owned(), Content::bytes(b"timeout 0\n".as_slice())),
        ];
        let entry = |(name, image): &(&str, &Image)| (entry_path(name), Content::bytes(image.uki.clone()));
        files.extend(entries.iter().map(entry));
        let options = esp::Options {
            size: esp.size,
            volume_id: 1,
            label: "ESP".into(),
            hidden_sectors: (esp.offset / gpt::SECTOR_SIZE) as u32,
        };
        let mut place = Place { file: &disk.file, position: esp.offset };
        Esp::plan(&files, &options).unwrap().write(&mut place).unwrap();
        disk
    }

    fn empty(image: &Image) -> (Self, File) {
        let folder = tempfile::Builder::new().prefix("disk-").tempdir_in(work_folder()).unwrap();
        let path = folder.path().join("disk.raw");
        let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        let raw = File::open(&image.raw).unwrap();
        file.set_len(raw.metadata().unwrap().len()).unwrap();
        (Self { folder, file }, raw)
    }

    /// The disk's file.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk.raw")
    }

    /// The folder of the disk, for files that belong to it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the disk larger, as a hypervisor does.
    pub fn enlarge(&self, bytes: u64) {
        self.file.set_len(self.file.metadata().unwrap().len() + bytes).unwrap();
    }

    /// Where a partition is.
    fn range(&self, label: &str) -> Range<u64> {
        let table = Gpt::read(&self.file).unwrap();
        let partition = table.by_label(label).unwrap();
        partition.offset..partition.end()
    }

    /// Bytes of a partition.
    pub fn size_of(&self, label: &str) -> u64 {
        let range = self.range(label);
        range.end - range.start
    }

    /// The names of the boot entries, sorted.
    pub fn entries(&self) -> Vec<String> {
        let range = self.range("ESP");
        let esp = Window::new(&self.file, range.start, range.end - range.start);
        let fat = Fat::open(&esp).unwrap();
        let folder = fat.list(&fat.find("EFI/Linux").unwrap()).unwrap();
        let mut names: Vec<String> = folder.into_iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names
    }

    /// Flips one bit of the slot, in the first block of a file.
    pub fn flip_bit(&self, slot: &str, path: &str) {
        const BLOCK: u64 = 4096;
        let image = self.extract(slot);
        let blocks = tool("e2fsprogs", "debugfs", &[&"-R", &format!("blocks {path}"), &image]);
        let first: u64 = blocks.split_whitespace().next().unwrap().parse().unwrap();
        let offset = self.range(slot).start + first * BLOCK + 3000;
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, offset).unwrap();
        self.file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    }

    /// Copies a partition into a file of its own, for tools that know no disks.
    pub fn extract(&self, label: &str) -> PathBuf {
        let path = self.folder.path().join(label);
        let range = self.range(label);
        let file = File::create(&path).unwrap();
        file.set_len(range.end - range.start).unwrap();
        copy(&self.file, range, &file, 0);
        path
    }

    /// STATE's superblock.
    pub fn state(&self) -> Superblock {
        let range = self.range("STATE");
        superblock::read(&Window::new(&self.file, range.start, range.end - range.start)).unwrap()
    }

    /// A file of STATE as debugfs(8) reads it.
    pub fn state_file(&self, path: &str) -> String {
        let state = self.extract("STATE");
        let text = tool("e2fsprogs", "debugfs", &[&"-R", &format!("cat {path}"), &state]);
        // debugfs succeeds even when there is no such file.
        assert!(!text.is_empty(), "STATE has no {path}");
        text
    }

    /// The journal's folder, taken out of STATE.
    pub fn journal(&self) -> PathBuf {
        let state = self.extract("STATE");
        tool(
            "e2fsprogs",
            "debugfs",
            &[&"-R", &format!("rdump /log/journal {}", self.folder().display()), &state],
        );
        self.folder().join("journal")
    }

    /// Asserts that STATE is sound, in the opinion of e2fsck(8): as it is when it was unmounted,
    /// else after its journal was replayed.
    pub fn assert_state_sound(&self) {
        let state = self.extract("STATE");
        if self.state().needs_recovery() {
            tool("e2fsprogs", "e2fsck", &[&"-E", &"journal_only", &"-p", &state]);
        }
        tool("e2fsprogs", "e2fsck", &[&"-fn", &state]);
    }

    /// Asserts that STATE was unmounted.
    pub fn assert_state_clean(&self) {
        let state = self.state();
        assert!(state.clean && !state.errors && !state.needs_recovery(), "{state:?}");
        self.assert_state_sound();
    }

    /// Asserts that the partition table is sound, in the opinion of sgdisk(8).
    pub fn assert_table_sound(&self) {
        let verdict = tool("gdisk", "sgdisk", &[&"-v", &self.path()]);
        assert!(verdict.contains("No problems found"), "{verdict}");
    }
}

/// Makes a NoCloud disk beside the disk: FAT32, labelled CIDATA, with this document.
pub fn seed(disk: &Disk, user_data: &str) -> PathBuf {
    let path = disk.folder().join("seed.raw");
    write_seed(&File::create_new(&path).unwrap(), user_data.as_bytes()).unwrap();
    path
}

/// Copies the bytes that are there; everything else of the target is zero already.
fn copy(from: &File, range: Range<u64>, to: &File, at: u64) {
    let mut buffer = vec![0; 1 << 20];
    for data in data_ranges(from).unwrap() {
        let (mut position, end) = (data.start.max(range.start), data.end.min(range.end));
        while position < end {
            let count = (end - position).min(buffer.len() as u64) as usize;
            from.read_exact_at(&mut buffer[..count], position).unwrap();
            to.write_all_at(&buffer[..count], at + position - range.start).unwrap();
            position += count as u64;
        }
    }
}

/// A stream into a part of a file that is all zeros.
struct Place<'a> {
    file: &'a File,
    position: u64,
}

impl ImageSink for Place<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.position)?;
        self.zeros(bytes.len() as u64)
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        self.position += count;
        Ok(())
    }
}
