//! What a server answers when it is asked for keys. Never a panic; each key that is taken is whole,
//! one line, without options, and there is a bound on their number.
#![no_main]

use cloudconfig::{import, keys};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(answer) = import::read_answer(input) {
        assert!(answer.keys.len() <= 256);
        for key in &answer.keys {
            assert_eq!(keys::fault(key), None, "{key:?}");
            assert_eq!(key.split(' ').count(), 2, "{key:?}");
        }
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let read = import::parse(text);
        let again = import::write(read.iter().map(|(user, import)| (user.as_str(), import)));
        assert_eq!(import::parse(&again), read);
    }
});
