//! A FAT32 volume: checked, walked, every file's start and end read. Never a panic, a loop or
//! memory beyond the volume's own tables; a volume that passes the check is read whole.
#![no_main]

use formats::fat::Fat;
use formats::read_at::ReadAt as _;
use fuzz::Disk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(disk) = Disk::from_input(input) else { return };
    // A table's size is bounded by the disk's: leave out what only costs time.
    if disk.size() > 1 << 28 {
        return;
    }
    let Ok(fat) = Fat::open(&disk) else { return };
    let sound = fat.check().is_ok();
    let walked = fat.walk();
    assert!(!sound || walked.is_ok(), "the check passes what the walk refuses: {:?}", walked.err());
    for (path, entry) in walked.unwrap_or_default().into_iter().filter(|(_, entry)| !entry.is_directory) {
        let file = fat.open_file(&entry);
        assert!(!sound || file.is_ok(), "{path}: {:?}", file.err());
        let Ok(file) = file else { continue };
        let mut bytes = vec![0; file.size().min(4096) as usize];
        let start = file.read_exact_at(&mut bytes, 0);
        let tail = file.size() - bytes.len() as u64;
        let end = file.read_exact_at(&mut bytes, tail);
        assert!(!sound || (start.is_ok() && end.is_ok()), "{path} cannot be read");
        assert!(file.read_exact_at(&mut [0; 2], file.size().saturating_sub(1)).is_err());
    }
});
