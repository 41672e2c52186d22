//! A user-data document. Never a panic, an endless recursion or unpacking without bounds; refused
//! with problems, or taken as a plan whose paths are absolute and whose content is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| match cloudconfig::parse(input) {
    Err(problems) => assert!(!problems.is_empty()),
    Ok(plan) => {
        let _ = format!("{plan:?}");
        if let Some(name) = &plan.hostname {
            assert!(!name.is_empty() && name.len() <= 253, "{name}");
        }
    }
});
