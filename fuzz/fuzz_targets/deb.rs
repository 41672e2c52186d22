//! A Debian package: its control file, its data unpacked into a bounded sink, and the listing of
//! an unpacked archive. Never a panic; what is listed has clean paths that stay below the root,
//! and slices that lie in the archive.
#![no_main]

use formats::tree::{Content, Kind};
use libfuzzer_sys::fuzz_target;
use slipway::inputs::deb;
use std::io::{self, Cursor, Write};
use std::path::Path;
use std::sync::Arc;

/// Takes a MiB, then is full.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > 1 << 20 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn list(archive: &[u8]) {
    let path: Arc<Path> = Path::new("archive").into();
    let Ok(entries) = deb::entries_of(Cursor::new(archive), &path, 1_700_000_000) else { return };
    for (name, entry) in entries {
        let parts = name.split(|byte| *byte == b'/');
        assert!(name.is_empty() || parts.clone().all(|part| !matches!(part, b"" | b"." | b"..")));
        assert!(entry.mtime <= 1_700_000_000);
        if let Kind::File(Content::Slice { offset, length, .. }) = entry.kind {
            assert!(offset.checked_add(length).is_some_and(|end| end <= archive.len() as u64));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    list(input);
    let mut package = Cursor::new(input);
    if let Ok(control) = deb::control(&mut package) {
        assert!(control.depends.iter().all(|name| !name.is_empty()));
    }
    let mut data = Bounded(Vec::new());
    if deb::unpack_data(&mut package, &mut data).is_ok() {
        list(&data.0);
    }
});
