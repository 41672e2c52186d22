//! Texts that name and time services read: /etc/hosts, resolved.conf, a link's file, machine-info,
//! and compiled time zones. Never a panic; what is written can be read again.
#![no_main]

use clock::{identity, zone};
use libfuzzer_sys::fuzz_target;
use resolve::{config, hosts, links};
use std::path::Path;

fuzz_target!(|input: &[u8]| {
    if let Some(zone) = zone::Zone::parse(input) {
        for time in [i64::from(i32::MIN), 0, 1_800_000_000, 4_000_000_000] {
            let local = zone::Civil::of(time + zone.at(time).seconds);
            zone.time_of(local);
        }
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    hosts::Hosts::parse(text);
    links::Settings::parse(text);
    let (entries, _) = service::config::parse(Path::new("f"), text);
    config::Config::of(&entries);
    clock::config::Config::of(&entries);
    zone::Civil::parse(text, zone::Civil::of(0));
    if identity::check_info("LOCATION", text).is_ok() {
        let written = identity::with_value("A=1\nLOCATION=x\n", "LOCATION", text);
        let kept = identity::value(&written, "LOCATION").unwrap_or_default();
        assert_eq!(kept, text);
    }
});
