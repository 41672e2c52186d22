//! A PE file's sections, and appending to it. Never a panic; each section lies within the file,
//! and a stub that is taken gives a file with all its sections and the new one.
#![no_main]

use formats::tree::Content;
use formats::uki::{Uki, section_bytes, sections, verify_checksum};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let file = input.to_vec();
    let listed = sections(&file);
    let _ = verify_checksum(&file);
    for section in listed.iter().flatten() {
        assert!(section.offset + section.size <= file.len() as u64);
        if let Ok(bytes) = section_bytes(&file, section, 1 << 20) {
            assert_eq!(bytes.len() as u64, section.size);
        }
    }
    let Ok(uki) = Uki::assemble(&file, &[(".initrd", Content::bytes(*b"initramfs"))]) else { return };
    let mut made = Vec::new();
    if uki.write(&mut made).is_err() {
        return;
    }
    assert_eq!(made.len() as u64, uki.size());
    let made_sections = sections(&made).expect("what was assembled can be read");
    // A stub may lack the padding of its last section; appending puts it there.
    if let Ok(listed) = listed {
        assert_eq!(made_sections.len(), listed.len() + 1);
    }
    verify_checksum(&made).expect("it has a checksum, and it is right");
    let initrd = made_sections.last().expect("it is the last one");
    assert_eq!(section_bytes(&made, initrd, 1 << 20).expect("it can be read"), b"initramfs");
});
