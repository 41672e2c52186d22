//! A user-data document, in any envelope. Never a panic, an endless recursion or unpacking without
//! bounds; refused with problems, or taken as a plan whose content is bounded.
#![no_main]

use cloudconfig::{Context, Facts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let context = Context { facts: &Facts::default(), check_unit: &|_, _| Vec::new() };
    match cloudconfig::parse(input, &context) {
        Err(problems) => assert!(!problems.is_empty()),
        Ok(plan) => {
            let _ = format!("{plan:?}");
            if let Some(name) = &plan.hostname {
                assert!(!name.is_empty() && name.len() <= 253, "{name}");
            }
            for user in &plan.users {
                assert!(!user.name.contains([':', '/', '\n']), "{user:?}");
            }
        }
    }
});
