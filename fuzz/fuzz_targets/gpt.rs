//! A partition table, both copies, and growing its last partition. Never a panic, whatever the
//! sums; what is read lies on the disk, and no two partitions overlap.
#![no_main]

use formats::gpt::{self, Gpt};
use formats::read_at::ReadAt as _;
use fuzz::Disk;
use libfuzzer_sys::fuzz_target;

fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// Makes the sums of both copies right, so that the values behind them are looked at.
fn with_good_sums(disk: &Disk) -> Disk {
    let mut disk = disk.clone();
    let end = disk.size().saturating_sub(512);
    for (header, entries) in [(512, 1024), (end, end.saturating_sub(128 * 128))] {
        let mut table = vec![0; 128 * 128];
        let mut raw = [0; 92];
        if disk.read_exact_at(&mut table, entries).is_err() || disk.read_exact_at(&mut raw, header).is_err() {
            continue;
        }
        raw[88..].copy_from_slice(&crc32(&table));
        raw[16..20].fill(0);
        let sum = crc32(&raw);
        raw[16..20].copy_from_slice(&sum);
        disk.put(header, &raw);
    }
    disk
}

fn look(disk: &Disk) {
    if let Ok(gpt) = Gpt::read(disk) {
        let mut ends: Vec<_> =
            gpt.partitions.iter().map(|partition| (partition.offset, partition.end())).collect();
        ends.sort_unstable();
        assert!(ends.iter().all(|(start, end)| start < end && *end <= disk.size()));
        assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }
    if let Ok(Some(growth)) = gpt::grow_last(disk) {
        let _ = format!("{growth:?}");
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(disk) = Disk::from_input(input) else { return };
    look(&disk);
    look(&with_good_sums(&disk));
});
