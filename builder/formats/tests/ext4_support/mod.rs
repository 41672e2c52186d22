//! What the ext4 tests share: images in files, other people's tools, trees to write, and
//! what each reader sees of them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its share")]
#![allow(clippy::expect_used, reason = "clippy knows test functions only, not what they share")]

pub mod mount;
pub mod seen;
pub mod trees;

use formats::ext4::{Layout, Options, Size};
use formats::stream::ImageSink;
use formats::tree::Tree;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::NamedTempFile;

/// A file with holes where the image has zeros.
pub struct SparseFile<'f> {
    pub file: &'f File,
    pub position: u64,
}

impl ImageSink for SparseFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        self.position += count;
        self.file.set_len(self.position)
    }
}

/// Options that differ between tests only where a test says so.
pub fn options(size: Size) -> Options {
    Options {
        size,
        uuid: *b"\x11\x22\x33\x44\x55\x66\x47\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x00",
        hash_seed: *b"\x33\x3f\xa1\xeb\x58\x8c\x45\x6e\xb8\x1c\xd1\xd3\x43\xcd\x0e\x01",
        label: "slipway".into(),
        created: 1_700_000_000,
        journal_blocks: None,
        resizable: false,
    }
}

/// Writes a tree into a new file.
pub fn image(tree: &Tree, options: &Options) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a temporary file");
    let layout = Layout::plan(tree, options).expect("a plan");
    let mut sink = SparseFile { file: file.as_file(), position: 0 };
    layout.write(&mut sink).expect("an image");
    assert_eq!(sink.position, layout.size_bytes());
    file
}

/// Runs a tool and gives what it said; `package` is what to install when it is missing.
pub fn run(package: &str, program: &str, arguments: &[&str]) -> Output {
    let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{program} is missing: apt-get install {package}"));
    Command::new(found).args(arguments).env("LC_ALL", "C").output().expect("the tool runs")
}

/// Runs a tool that must succeed, and gives its standard output.
pub fn succeed(package: &str, program: &str, arguments: &[&str]) -> String {
    let output = run(package, program, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{text}\n{error}", output.status);
    text
}

/// `e2fsck -fn`: exit code 0, and not one line but the passes and the summary.
pub fn e2fsck(image: &Path) {
    let text = succeed("e2fsprogs", "e2fsck", &["-fn", image.to_str().expect("a path")]);
    let complaints: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("Pass ") && !line.contains(" files (") && !line.is_empty())
        .collect();
    assert!(complaints.is_empty(), "e2fsck complains:\n{text}");
}
