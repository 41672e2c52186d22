//! The first blocks of a device, and its partition table. Never a panic; what is found can be a
//! name of a file below /dev/disk once it is encoded.
#![no_main]

use devices::encode::{encode, is_link};
use devices::{Source, probe, table};
use formats::read_at::ReadAt as _;
use fuzz::Disk;
use libfuzzer_sys::fuzz_target;

struct Device(Disk);

impl Source for Device {
    fn read(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        assert!(length <= 1 << 20, "{length} bytes at once");
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(disk) = Disk::from_input(input) else { return };
    let device = Device(disk);
    let mut names = Vec::new();
    if let Some(found) = probe(&device) {
        names.extend([found.label, found.uuid, found.uuid_sub]);
    }
    let _ = table::table(&device, 512);
    for number in [0, 1, 2, 5, 128, u32::MAX] {
        names.extend(table::partition(&device, 512, number).map(|entry| entry.name));
    }
    for name in names {
        let name = encode(&name);
        assert!(
            name.is_empty() || name == "." || name == ".." || name.len() > 255 || is_link(&name),
            "{name}"
        );
    }
});
