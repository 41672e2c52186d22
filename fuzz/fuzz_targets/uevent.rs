//! A datagram of device events, an entry of the database, and what a device says of itself. Never a
//! panic; what is passed on is read as it was; entries are stable.
#![no_main]

use devices::Event;
use devices::alias::Aliases;
use devices::database::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(event) = Event::decode(input) {
        assert_eq!(Event::decode(&event.encode()).as_ref(), Some(&event));
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let entry = Entry::parse(text);
    assert_eq!(Entry::parse(&entry.render()), entry);
    let (aliases, alias) = text.split_once('\0').unwrap_or((text, "virtio:d00000001v00001AF4"));
    let _ = Aliases::new(aliases.to_owned()).modules(alias);
});
