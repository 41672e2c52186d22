//! The initramfs archive against cpio(1).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use formats::cpio::{self, CpioError};
use formats::tree::{Content, Entry, Kind, Tree};
use support::noise;

fn tree() -> Tree {
    let mut tree = Tree::default();
    let mut add = |path: &str, kind, mode| tree.entries.insert(path.into(), Entry::new(kind, mode));
    add("", Kind::Directory, 0o755);
    add("dev", Kind::Directory, 0o755);
    add("dev/console", Kind::CharDevice { major: 5, minor: 1 }, 0o600);
    add("dev/vda", Kind::BlockDevice { major: 254, minor: 0 }, 0o660);
    add("init", Kind::File(Content::bytes(noise(1, 1_222_817))), 0o755);
    add("lib", Kind::Symlink(b"usr/lib".to_vec()), 0o777);
    add("run", Kind::Directory, 0o1777);
    add("run/fifo", Kind::Fifo, 0o600);
    add("run/a name with späße", Kind::File(Content::bytes(*b"abc")), 0o4755);
    add("run/empty", Kind::File(Content::bytes([])), 0o644);
    tree
}

/// Runs `cpio` with the archive on its stdin, in a folder.
fn cpio(arguments: &[&str], archive: &Path, folder: &Path) -> String {
    let output = Command::new("cpio")
        .args(arguments)
        .current_dir(folder)
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .stdin(fs::File::open(archive).unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap_or_else(|error| panic!("cannot run cpio: {error}; apt-get install cpio"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn cpio_lists_and_unpacks_the_tree() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("initrd");
    cpio::write(&tree(), &mut fs::File::create(&archive).unwrap()).unwrap();
    let listing = cpio(&["-tv", "--quiet", "-n"], &archive, folder.path());
    assert_eq!(listing, include_str!("cpio.list.txt"));

    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    cpio(&["-i", "--quiet", "--no-preserve-owner", "init", "run", "run/a*", "lib"], &archive, &out);
    assert!(fs::read(out.join("init")).unwrap() == noise(1, 1_222_817));
    assert_eq!(fs::read(out.join("run/a name with späße")).unwrap(), b"abc");
    assert_eq!(fs::read_link(out.join("lib")).unwrap(), Path::new("usr/lib"));

    let mut again = Vec::new();
    cpio::write(&tree(), &mut again).unwrap();
    assert!(fs::read(&archive).unwrap() == again);
    assert_eq!(again.len() % 4, 0);
}

#[test]
fn what_the_kernel_cannot_unpack_is_refused() {
    let refuse = |path: &[u8], entry: Entry| {
        let mut tree = Tree::default();
        tree.entries.insert(path.to_vec(), entry);
        cpio::write(&tree, &mut Vec::new()).unwrap_err()
    };
    let link = Entry::new(Kind::HardLink(b"a".to_vec()), 0o644);
    assert!(matches!(refuse(b"b", link), CpioError::Unsupported { what: "a hard link", .. }));
    let mut capable = Entry::new(Kind::File(Content::bytes([])), 0o755);
    capable.xattrs.insert(b"security.capability".to_vec(), vec![1]);
    assert!(matches!(refuse(b"b", capable), CpioError::Unsupported { .. }));
    let directory = || Entry::new(Kind::Directory, 0o755);
    assert!(matches!(refuse(b"\xff", directory()), CpioError::Name { .. }));
    let path = std::sync::Arc::from(Path::new("/nonexistent"));
    let file = |length| {
        let content = Content::Slice { path: std::sync::Arc::clone(&path), offset: 0, length };
        Entry::new(Kind::File(content), 0o644)
    };
    assert!(matches!(refuse(b"b", file(1 << 32)), CpioError::TooLarge { .. }));
    assert!(matches!(refuse(b"b", file(1)), CpioError::Io { .. }));
}
