//! A qcow2 image. Never a panic, or memory beyond one table and one cluster; reading a place
//! twice gives the same bytes or the same refusal.
#![no_main]

use formats::qcow2::Qcow2;
use formats::read_at::ReadAt as _;
use fuzz::Disk;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(file) = Disk::from_input(input) else { return };
    let Ok(disk) = Qcow2::open(&file) else { return };
    let size = disk.size();
    let _ = disk.read_exact_at(&mut [0; 1], size).map(|()| panic!("read beyond the end"));
    let places = (0..size.min(1 << 20)).step_by(1 << 16).chain([size.saturating_sub(4096), size / 2]);
    for place in places {
        let [mut once, mut again] = [[0; 4096]; 2];
        let first = disk.read_exact_at(&mut once, place).is_ok();
        // Another place first, so that the caches are not just asked again.
        let _ = disk.read_exact_at(&mut again, size.saturating_sub(9000));
        assert_eq!(first, disk.read_exact_at(&mut again, place).is_ok());
        assert!(!first || once == again);
    }
});
