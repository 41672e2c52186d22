//! What the tests share: folders, archives built byte by byte, and a dump of a tree.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses some of it; a test ends where something is wrong"
)]

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use toolbox_store::{Limits, Ownership, Policy, StoreError};

/// Tries until there is something. A neighbour's test that starts a program has a copy of every lock of this
/// process until the program is executed: what was let go here may be held for a moment still.
pub fn soon<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(Instant::now() < end, "held for longer than a program takes to be executed");
        std::thread::yield_now();
    }
}

/// What is done to an image that nobody here uses any more.
pub fn unused<T>(mut act: impl FnMut() -> Result<T, StoreError>) -> T {
    soon(|| match act() {
        Err(StoreError::InUse { .. }) => None,
        done => Some(done.unwrap()),
    })
}

/// Runs a program that must succeed, and gives what it printed.
pub fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} (install it with apt-get): {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// As root, keeping owners.
pub fn keep() -> Policy {
    assert!(rustix::process::geteuid().is_root(), "run the tests as root");
    Policy::new(Ownership::Keep)
}

/// All belongs to the caller.
pub fn own() -> Policy {
    Policy::new(Ownership::Own)
}

/// Small enough for tests to reach.
pub fn limited(bytes: u64, entries: u64, depth: usize) -> Policy {
    Policy { limits: Limits { bytes, entries, depth }, ..keep() }
}

/// What a tree has: a line an entry, sorted. Times of files to the second, content by its hash.
pub fn dump(root: &Path) -> String {
    let mut lines = Vec::new();
    let mut links = std::collections::BTreeMap::new();
    walk(root, root, &mut lines, &mut links);
    lines.sort();
    lines.join("\n")
}

fn walk(
    root: &Path,
    path: &Path,
    lines: &mut Vec<String>,
    links: &mut std::collections::BTreeMap<u64, String>,
) {
    let metadata = path.symlink_metadata().unwrap();
    let name = path.strip_prefix(root).unwrap();
    let mut line = String::new();
    write!(
        line,
        "{} {:o} {}:{} {}",
        name.as_os_str().as_bytes().escape_ascii(),
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime()
    )
    .unwrap();
    let kind = metadata.file_type();
    if kind.is_symlink() {
        write!(line, " -> {}", path.read_link().unwrap().as_os_str().as_bytes().escape_ascii()).unwrap();
    } else if kind.is_file() {
        let content = std::fs::read(path).unwrap();
        write!(line, " {} {}", content.len(), toolbox_store::Digest::of(&content)).unwrap();
        if metadata.nlink() > 1 {
            let mut names = vec![name.display().to_string()];
            names.extend(links.get(&metadata.ino()).cloned());
            names.sort();
            write!(line, " links {}", metadata.nlink()).unwrap();
            links.insert(metadata.ino(), names.remove(0));
        }
    } else if kind.is_char_device() || kind.is_block_device() {
        write!(line, " device {:x}", metadata.rdev()).unwrap();
    }
    if !kind.is_symlink() {
        let mut names = vec![0; 4096];
        let count = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
        let mut names: Vec<&[u8]> =
            names[..count].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        for name in names {
            let mut value = vec![0; 4096];
            let count = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
            write!(line, " {}={}", name.escape_ascii(), value[..count].escape_ascii()).unwrap();
        }
    }
    lines.push(line);
    if kind.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            walk(root, &entry.unwrap().path(), lines, links);
        }
    }
}

/// An archive in the making.
#[derive(Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    /// A header and content, as told, whether it makes sense or not.
    pub fn raw(mut self, kind: u8, path: &[u8], link: &[u8], mode: u32, content: &[u8]) -> Self {
        let mut header = [0; 512];
        header[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
        header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[136..147].copy_from_slice(b"14000000000");
        header[156] = kind;
        header[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[329..336].copy_from_slice(b"0000001");
        header[337..344].copy_from_slice(b"0000003");
        self.push(header, content);
        self
    }

    /// Adds a header, its checksum made right, and content.
    pub fn push(&mut self, mut header: [u8; 512], content: &[u8]) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    pub fn file(self, path: &str, content: &str) -> Self {
        self.raw(b'0', path.as_bytes(), b"", 0o644, content.as_bytes())
    }

    pub fn folder(self, path: &str) -> Self {
        self.raw(b'5', path.as_bytes(), b"", 0o755, b"")
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        self.raw(b'2', path.as_bytes(), target.as_bytes(), 0o777, b"")
    }

    pub fn hard(self, path: &str, target: &str) -> Self {
        self.raw(b'1', path.as_bytes(), target.as_bytes(), 0o644, b"")
    }

    /// An extended header for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.raw(b'x', b"pax", b"", 0o644, &content)
    }

    /// Ends it.
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// Unpacks into a new folder `tree` in `folder`.
pub fn unpack(
    archive: &[u8],
    folder: &Path,
    policy: Policy,
    whiteouts: toolbox_store::layer::Whiteouts,
) -> Result<toolbox_store::Notes, String> {
    let tree = folder.join("tree");
    std::fs::create_dir_all(&tree).unwrap();
    let mut writer = toolbox_store::tree::Writer::new(
        std::fs::File::open(&tree).unwrap().into(),
        tempfile::tempfile().unwrap(),
        policy,
    );
    toolbox_store::layer::apply(archive, &mut writer, whiteouts, &mut || ())
        .map_err(|error| error.to_string())?;
    writer.finish().map(|(notes, _)| notes).map_err(|error| error.to_string())
}
