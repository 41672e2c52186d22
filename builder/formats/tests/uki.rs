//! UKIs against objdump, made from systemd's own stub.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use formats::tree::Content;
use formats::uki::{self, PeError, Uki, UkiError};
use support::{noise, succeed};

const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

fn stub() -> Vec<u8> {
    fs::read(STUB).unwrap_or_else(|error| panic!("{STUB}: {error}; apt-get install systemd-boot-efi"))
}

fn parts() -> Vec<(&'static str, Content)> {
    vec![
        (".osrel", Content::bytes(b"ID=slipway\nVERSION_ID=0.1.0\n".as_slice())),
        (".uname", Content::bytes(b"6.1.0-56-cloud-amd64".as_slice())),
        (".cmdline", Content::bytes(b"console=ttyS0 roothash=00".as_slice())),
        (".initrd", Content::bytes(noise(1, 2_130_433))),
        (".linux", Content::bytes(noise(2, 5_186_432))),
    ]
}

fn bytes(uki: &Uki) -> Vec<u8> {
    let mut bytes = Vec::new();
    uki.write(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, uki.size());
    bytes
}

#[test]
fn objdump_sees_the_sections_and_we_read_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let uki = bytes(&Uki::assemble(&stub(), &parts()).unwrap());
    let path = folder.path().join("uki.efi");
    fs::write(&path, &uki).unwrap();
    let listing = succeed("objdump", "binutils", &["-h", "-w", path.to_str().unwrap()]);
    let ours = uki::sections(&uki).unwrap();
    let mut last_end = 0;
    for (name, content) in parts() {
        let section = ours.iter().find(|section| section.name == name).unwrap();
        let mut wanted = vec![0; content.len() as usize];
        content.open().unwrap().read_exact_at(&mut wanted, 0).unwrap();
        assert!(uki::section_bytes(&uki, section, 1 << 30).unwrap() == wanted, "{name}");
        assert_eq!(section.virtual_address % 4096, 0);
        assert!(section.virtual_address >= last_end, "{name} overlaps");
        last_end = section.virtual_address + section.virtual_size;

        let line = listing.lines().find(|line| line.split_whitespace().nth(1) == Some(name)).unwrap();
        let field: Vec<_> = line.split_whitespace().collect();
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        assert_eq!(hex(field[2]), content.len(), "{line}");
        assert_eq!(hex(field[3]), section.virtual_address.into(), "{line}");
        assert_eq!(hex(field[5]), section.offset, "{line}");
        assert!(line.ends_with("CONTENTS, ALLOC, LOAD, READONLY, DATA"), "{line}");
    }
    let headers = succeed("objdump", "binutils", &["-p", path.to_str().unwrap()]);
    let value = |name: &str| {
        let line = headers.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    assert_eq!(value("SizeOfImage"), u64::from(last_end).next_multiple_of(512));
    let added: u64 = parts().iter().map(|(_, content)| content.len().next_multiple_of(512)).sum();
    assert_eq!(value("SizeOfInitializedData"), 0x5000 + added);
    assert_ne!(value("CheckSum"), 0);
}

/// systemd's build sets the checksum of its stub: ours of nothing appended is the same.
#[test]
fn the_checksum_is_that_of_systemds_build() {
    let stub = stub();
    let checksum_at = u32::from_le_bytes(stub[60..64].try_into().unwrap()) as usize + 24 + 64;
    let ours = bytes(&Uki::assemble(&stub[..stub.len() / 512 * 512], &[]).unwrap());
    assert_ne!(ours[checksum_at..checksum_at + 4], [0; 4]);
    let sum = |file: &[u8]| {
        let words = file
            .chunks(2)
            .map(|word| u64::from(word[0]) + word.get(1).map_or(0, |high| u64::from(*high) << 8));
        let mut sum: u64 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u32 + file.len() as u32
    };
    for file in [stub, ours] {
        let said = u32::from_le_bytes(file[checksum_at..checksum_at + 4].try_into().unwrap());
        let mut zeroed = file.clone();
        zeroed[checksum_at..checksum_at + 4].fill(0);
        assert_eq!(said, sum(&zeroed));
    }
}

#[test]
fn what_cannot_be_appended_is_refused() {
    let stub = stub();
    let refuse = |stub: &[u8], sections: &[(&str, Content)]| Uki::assemble(stub, sections).unwrap_err();
    let byte = || Content::bytes([1]);
    let names = [".a", ".b", ".c", ".d", ".e", ".f", ".g", ".h", ".i", ".j"];
    let many: Vec<_> = names.map(|name| (name, byte())).into();
    assert!(matches!(refuse(&stub, &many), UkiError::NoRoom { wanted: 10, .. }));
    for name in ["", ".ninechars", ".a b", ".ä"] {
        assert!(matches!(refuse(&stub, &[(name, byte())]), UkiError::Name { .. }), "{name}");
    }
    assert!(matches!(refuse(&stub, &[(".sbat", byte())]), UkiError::Duplicate { .. }));
    assert!(matches!(refuse(&stub, &[(".a", byte()), (".a", byte())]), UkiError::Duplicate { .. }));
    let path: Arc<Path> = Arc::from(Path::new("/nonexistent"));
    let slice = |length| Content::Slice { path: Arc::clone(&path), offset: 0, length };
    assert!(matches!(refuse(&stub, &[(".a", slice(1 << 32))]), UkiError::TooLarge { .. }));
    let two = [(".a", slice(3 << 30)), (".b", slice(3 << 30))];
    assert!(matches!(refuse(&stub, &two), UkiError::TooLarge { .. }));
    assert!(matches!(refuse(&stub, &[(".a", slice(1))]), UkiError::Read { .. }));
    assert!(matches!(refuse(b"MZ", &[]), UkiError::Stub(_)));
    let last = uki::sections(&stub).unwrap().pop().unwrap();
    let cut = &stub[..last.offset as usize];
    assert!(matches!(refuse(cut, &[(".a", byte())]), UkiError::StubField { field: "section end", .. }));
    for length in (0..2048).step_by(7) {
        let _ = Uki::assemble(&stub[..length], &parts());
    }
}

#[test]
fn broken_files_give_errors() {
    let uki = bytes(&Uki::assemble(&stub(), &parts()[..3]).unwrap());
    assert!(matches!(uki::sections(&uki[..40].to_vec()), Err(PeError::Headers(_))));
    let cut = uki[..uki.len() - 500].to_vec();
    assert!(matches!(uki::sections(&cut), Err(PeError::Bounds { name, .. }) if name == ".cmdline"));
    let section = uki::sections(&uki).unwrap().pop().unwrap();
    assert!(matches!(uki::section_bytes(&uki, &section, 3), Err(PeError::TooLarge { limit: 3, .. })));
    let nt = u32::from_le_bytes(uki[60..64].try_into().unwrap()) as usize;
    let mut many = uki;
    many[nt + 6..nt + 8].copy_from_slice(&200_u16.to_le_bytes());
    assert!(matches!(uki::sections(&many), Err(PeError::TooManySections { count: 200 })));
}
