//! A lock file. Never a panic; refused with problems, or taken: then the text that is written
//! for it reads as the same pins.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slipway::inputs::lock::Lock;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Lock::read(text) {
        Err(problems) => assert!(!problems.is_empty()),
        Ok(mut lock) => {
            let mut again = Lock::read(&lock.text())
                .unwrap_or_else(|problems| panic!("{problems:?} in\n{}", lock.text()));
            for lock in [&mut lock, &mut again] {
                lock.packages.sort();
                lock.files.sort();
            }
            assert_eq!(lock, again);
        }
    }
});
