//! A unit file. Never a panic; each problem has a line of the text, and applying the same text
//! again finds the same problems. The first line of the input names the unit, if it is a name.
#![no_main]

use init::unit::{Facts, LoadState, Unit, UnitName, load};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|input: &[u8]| {
    let first = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let named = std::str::from_utf8(first).ok().and_then(|text| UnitName::parse(text).ok());
    let text = if named.is_some() { input.get(first.len() + 1..).unwrap_or_default() } else { input };
    let name = named.unwrap_or_else(|| UnitName::parse("fuzz@instance.service").expect("it is a name"));
    let facts = Facts::default();
    let apply = || {
        let mut unit = Unit::new(name.clone(), LoadState::Loaded);
        let problems = load::apply_text(&mut unit, Path::new("unit"), text, &facts);
        unit.finish();
        let _ =
            init::unit::install::plan(&unit, Path::new("/usr/lib/systemd/system/unit"), Path::new("/etc"));
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let problems = apply();
    assert_eq!(problems, apply());
});
