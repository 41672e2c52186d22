//! Each way in which a tree cannot become a file system, by its exact error.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions only, not what they share")]

mod ext4_support;

use ext4_support::options;
use ext4_support::trees::{directory, file, tree};
use formats::ext4::{BadName, Error, Layout, Options, PathBytes, Size};
use formats::tree::{Content, Entry, Kind, Tree};
use std::sync::Arc;

fn plan(tree: &Tree) -> Error {
    Layout::plan(tree, &options(Size::Minimal)).unwrap_err()
}

fn path(bytes: impl AsRef<[u8]>) -> PathBytes {
    PathBytes::from(bytes.as_ref())
}

macro_rules! assert_error {
    ($tree:expr, $pattern:pat $(if $guard:expr)?) => {
        let error = plan(&$tree);
        assert!(matches!(&error, $pattern $(if $guard)?), "{error:?}");
    };
}

#[test]
fn names() {
    let long = "x".repeat(256);
    for (name, expected) in [
        ("/a", BadName::Empty),
        ("a/", BadName::Empty),
        ("a//b", BadName::Empty),
        (".", BadName::Dot),
        ("a/..", BadName::Dot),
        ("nul\0", BadName::Nul),
        (&long, BadName::TooLong(256)),
    ] {
        let tree = tree([("a", directory()), (name, file(b""))]);
        assert_error!(tree, Error::BadName { path: p, why } if *p == path(name) && *why == expected);
    }
}

#[test]
fn parents() {
    assert_error!(tree([("a/b", file(b""))]), Error::MissingParent { path: p } if *p == path("a/b"));
    assert_error!(
        tree([("a", file(b"")), ("a/b", file(b""))]),
        Error::ParentNotDirectory { path: p } if *p == path("a/b")
    );
    let link = Entry::new(Kind::HardLink(b"b".to_vec()), 0);
    assert_error!(
        tree([("b", file(b"")), ("lost+found", link.clone())]),
        Error::MustBeDirectory { path: p } if *p == path("lost+found")
    );
    assert_error!(
        tree([("a", link), ("b", file(b"")), ("a/b", file(b""))]),
        Error::MissingParent { path: p } if *p == path("a/b")
    );
    assert_error!(tree([("", file(b""))]), Error::MustBeDirectory { path: p } if *p == path(""));
    assert_error!(
        tree([("lost+found", file(b""))]),
        Error::MustBeDirectory { path: p } if *p == path("lost+found")
    );
}

#[test]
fn hard_links() {
    let link = |target: &str| Entry::new(Kind::HardLink(target.as_bytes().to_vec()), 0);
    assert_error!(
        tree([("a", link("b"))]),
        Error::LinkTargetMissing { path: p, target } if *p == path("a") && *target == path("b")
    );
    assert_error!(
        tree([("a", link("b")), ("b", directory())]),
        Error::LinkTargetIsDirectory { path: p, target } if *p == path("a") && *target == path("b")
    );
    assert_error!(tree([("a", link(""))]), Error::LinkTargetIsDirectory { path: p, .. } if *p == path("a"));
    assert_error!(
        tree([("a", link("b")), ("b", link("c")), ("c", file(b""))]),
        Error::LinkTargetIsLink { path: p, target } if *p == path("a") && *target == path("b")
    );
    let mut many = tree([("target", file(b""))]);
    for number in 0..64_999 {
        many.entries.insert(format!("{number}").into_bytes(), link("target"));
    }
    assert!(Layout::plan(&many, &options(Size::Minimal)).is_ok());
    many.entries.insert(b"one more".to_vec(), link("target"));
    assert_error!(many, Error::TooManyLinks { path: p, links: 65_001 } if *p == path("target"));
}

#[test]
fn kinds() {
    let symlink = |length| Entry::new(Kind::Symlink(vec![b'x'; length]), 0o777);
    assert_error!(tree([("a", symlink(0))]), Error::BadSymlink { path: p } if *p == path("a"));
    assert_error!(
        tree([("a", Entry::new(Kind::Symlink(b"x\0".to_vec()), 0o777))]),
        Error::BadSymlink { path: p } if *p == path("a")
    );
    assert_error!(
        tree([("a", symlink(4096))]),
        Error::SymlinkTooLong { path: p, length: 4096 } if *p == path("a")
    );
    assert_error!(
        tree([("a", Entry::new(Kind::CharDevice { major: 4096, minor: 0 }, 0))]),
        Error::DeviceNumber { major: 4096, minor: 0, .. }
    );
    assert_error!(
        tree([("a", Entry::new(Kind::BlockDevice { major: 0, minor: 1 << 20 }, 0))]),
        Error::DeviceNumber { major: 0, minor: 1_048_576, .. }
    );
    assert_error!(tree([("a", Entry::new(Kind::Fifo, 0o10000))]), Error::BadMode { mode: 0o10000, .. });
    for mtime in [-(1 << 31) - 1, 0x2_8000_0000] {
        let mut entry = file(b"");
        entry.mtime = mtime;
        assert_error!(tree([("a", entry)]), Error::TimeOutOfRange { seconds, .. } if *seconds == mtime);
    }
}

#[test]
fn attributes() {
    let with = |name: &str, value: Vec<u8>| {
        let mut entry = file(b"");
        entry.xattrs.insert(name.as_bytes().to_vec(), value);
        tree([("a", entry)])
    };
    for name in ["nothing", "user.", "system.data", "btrfs.compression", &format!("user.{}", "x".repeat(251))]
    {
        assert_error!(with(name, vec![]), Error::XattrName { name: n, .. } if n == name.as_bytes());
    }
    assert_error!(
        with("system.posix_acl_access", vec![1, 0, 0, 0]),
        Error::XattrAcl { path: p, .. } if *p == path("a")
    );
    // Header, end mark, and an entry of 16 bytes with a name of 4.
    let room = 4096 - 32 - 4 - 20;
    assert!(Layout::plan(&with("user.name", vec![1; room]), &options(Size::Minimal)).is_ok());
    assert_error!(
        with("user.name", vec![1; room + 1]),
        Error::XattrTooLarge { path: p, needed: 4064, available: 4060 } if *p == path("a")
    );
}

#[test]
fn sizes() {
    let big = tree([("a", file(&vec![1; 1 << 20]))]);
    let plan = |size| Layout::plan(&big, &options(size)).map(|layout| layout.size_bytes());
    let Err(Error::TooSmall { needs_bytes, has_bytes: 500_000 }) = plan(Size::Exact(500_000)) else {
        panic!("a file system that is too small")
    };
    assert_eq!(plan(Size::Exact(needs_bytes)).unwrap(), needs_bytes);
    assert!(matches!(plan(Size::Exact(needs_bytes - 4096)), Err(Error::TooSmall { .. })));
    assert!(matches!(plan(Size::Exact(0)), Err(Error::TooSmall { has_bytes: 0, .. })));
    // A little beyond a group is left, as mke2fs leaves it.
    assert_eq!(plan(Size::Exact((128 << 20) + 40_960)).unwrap(), 128 << 20);
    assert!(matches!(plan(Size::Exact(1 << 60)), Err(Error::TooLarge { .. })));

    let huge = Kind::File(Content::Slice {
        path: Arc::from(std::path::Path::new("/x")),
        offset: 0,
        length: 1 << 44,
    });
    assert_error!(tree([("a", Entry::new(huge, 0))]), Error::FileTooLarge { length: 0x1000_0000_0000, .. });
}

#[test]
fn options_out_of_range() {
    let plan = |options| Layout::plan(&Tree::default(), &options).unwrap_err();
    let error = plan(Options { label: "seventeen letters".into(), ..options(Size::Minimal) });
    assert!(matches!(error, Error::LabelTooLong { length: 17 }));
    for blocks in [0, 1023, 10_240_001] {
        let error = plan(Options { journal_blocks: Some(blocks), ..options(Size::Minimal) });
        assert!(matches!(error, Error::JournalSize { blocks: found } if found == blocks));
    }
    let error = plan(Options { created: i64::MAX, ..options(Size::Minimal) });
    assert!(matches!(error, Error::TimeOutOfRange { seconds: i64::MAX, .. }));
}

#[test]
fn content_that_is_gone_or_has_become_shorter() {
    for length in [1000_u64, 100_000] {
        let host = tempfile::NamedTempFile::new().unwrap();
        host.as_file().set_len(length).unwrap();
        let kind = Kind::File(Content::Slice { path: Arc::from(host.path()), offset: 0, length });
        let tree = tree([("a", Entry::new(kind, 0))]);
        std::os::unix::fs::FileExt::write_all_at(host.as_file(), b"x", length - 1).unwrap();
        let layout = Layout::plan(&tree, &options(Size::Minimal)).unwrap();
        host.as_file().set_len(length - 1).unwrap();
        let error = layout.write(&mut Vec::new()).unwrap_err();
        assert!(matches!(error, Error::Content { path: p, .. } if p == path("a")));
        if length > 65_536 {
            assert_error!(tree, Error::Content { path: p, .. } if *p == path("a"));
        }
    }
}
