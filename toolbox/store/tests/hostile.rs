//! Archives that want to write elsewhere, or to take all there is. What each ends in is a table;
//! beside the tree there is always a bystander that must not change.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{Tar, dump, keep, limited, unpack};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use toolbox_store::Policy;
use toolbox_store::layer::Whiteouts;

/// Unpacks beside a bystander, with openat2 and without it, and gives the outcome and the dump.
fn outcome(archive: &[u8], policy: Policy, whiteouts: Whiteouts) -> (Result<(), String>, String) {
    let mut outcomes = [true, false].map(|openat2| {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("file"), "untouched").unwrap();
        let before = dump(&victim);
        let result = unpack(archive, folder.path(), Policy { openat2, ..policy }, whiteouts).map(|_| ());
        assert_eq!(dump(&victim), before, "the bystander changed");
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "something beside the tree: {names:?}");
        let tree = folder.path().join("tree");
        let paths = dump(&tree);
        // The path and the type and mode of each line are enough here.
        let short: Vec<String> =
            paths.lines().map(|line| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        (result, short.join("\n"))
    });
    let [with, without] = &mut outcomes;
    assert_eq!(with, without, "openat2 and the walk without it differ");
    std::mem::replace(with, (Ok(()), String::new()))
}

fn tar() -> Tar {
    Tar::default()
}

#[test]
fn what_leads_out_is_refused_and_what_does_not_stays_inside() {
    let long_name = "n".repeat(256);
    let refused: [(&str, Tar, &str); 19] = [
        ("parent", tar().file("../victim/file", "x"), "has a `..`"),
        ("parent within", tar().file("a/../../victim/file", "x"), "has a `..`"),
        ("parent folder", tar().folder(".."), "has a `..`"),
        (
            "parent in a long name",
            tar().raw(b'L', b"l", b"", 0, b"../victim/file\0").file("x", "x"),
            "has a `..`",
        ),
        ("parent in pax", tar().pax(&[("path", b"../victim/file")]).file("x", "x"), "has a `..`"),
        ("NUL in pax", tar().pax(&[("path", b"a\0b")]).file("x", "x"), "extended header is malformed"),
        ("hard link out", tar().hard("in", "../victim/file"), "has a `..`"),
        ("hard link to nothing", tar().hard("in", "nothing"), "no file of the tree"),
        ("hard link to an absolute path outside", tar().hard("in", "/etc/hostname"), "no file of the tree"),
        (
            "hard link through a link out",
            tar().link("out", "../victim").hard("in", "out/file"),
            "no file of the tree",
        ),
        ("hard link to a folder", tar().folder("a").hard("b", "a"), "no file of the tree"),
        ("links in a circle", tar().link("a", "b").link("b", "a").file("a/x", "x"), "more than 40"),
        ("link to itself", tar().link("a", "a").file("a/x", "x"), "more than 40"),
        ("empty link", tar().link("a", ""), "NUL byte"),
        ("long name", tar().pax(&[("path", long_name.as_bytes())]).file("x", "x"), "256 bytes"),
        ("root as a file", tar().file("/", "x").file("./.", "x"), "the root cannot be"),
        ("no header", Tar(vec![b'x'; 512]), "checksum is wrong"),
        ("multi-volume", tar().raw(b'M', b"x", b"", 0o644, b""), "type `M` is not supported"),
        ("cut", Tar(tar().file("x", "content").0[..700].to_vec()), "in the middle of an entry"),
    ];
    for (what, archive, cause) in refused {
        let archive = if what == "cut" { archive.0 } else { archive.end() };
        let (result, _) = outcome(&archive, keep(), Whiteouts::Literal);
        match (what, result) {
            // A trailing slash makes a folder of a file without a type: then it is the root itself.
            ("root as a file", Ok(())) => {}
            (_, Err(error)) => assert!(error.contains(cause), "{what}: {error}"),
            (_, Ok(())) => panic!("{what} was not refused"),
        }
    }
}

#[test]
fn what_stays_inside_is_made_there() {
    let made: [(&str, Tar, &str); 13] = [
        ("absolute path", tar().file("/etc/x", "x"), " 40755\netc 40755\netc/x 100644"),
        (
            "through a link out",
            tar().link("a", "../../victim").file("a/file", "x"),
            " 40755\na 120777\nvictim 40755\nvictim/file 100644",
        ),
        (
            "through an absolute link",
            tar().link("a", "/etc").file("a/x", "x"),
            " 40755\na 120777\netc 40755\netc/x 100644",
        ),
        (
            "through two links",
            tar().link("a", "/").link("b", "a/a").file("b/x", "x"),
            " 40755\na 120777\nb 120777\nx 100644",
        ),
        ("over a link out", tar().link("file", "../victim/file").file("file", "x"), " 40755\nfile 100644"),
        (
            "folder over a link out",
            tar().link("a", "../victim").folder("a").file("a/file", "x"),
            " 40755\na 40755\na/file 100644",
        ),
        ("below a file", tar().file("a", "x").file("a/b", "y"), " 40755\na 40755\na/b 100644"),
        ("a file over a folder", tar().file("a/b/c", "x").file("a", "y"), " 40755\na 100644"),
        ("a folder over a file", tar().file("a", "x").folder("a"), " 40755\na 40755"),
        ("later wins", tar().file("a", "x").file("a", "longer").link("a", "b"), " 40755\na 120777"),
        ("hard link to itself", tar().file("a", "x").hard("a", "a"), " 40755\na 100644"),
        (
            "hard link over its link",
            tar().link("a", "../victim/file").hard("b", "a").file("b", "x"),
            " 40755\na 120777\nb 100644",
        ),
        (
            "devices",
            tar().raw(b'3', b"null", b"", 0o666, b"").raw(b'4', b"disk", b"", 0o666, b"").file("x", "x"),
            " 40755\nx 100644",
        ),
    ];
    for (what, archive, expected) in made {
        let (result, paths) = outcome(&archive.end(), keep(), Whiteouts::Literal);
        assert_eq!(result, Ok(()), "{what}");
        assert_eq!(paths, expected, "{what}");
    }
}

#[test]
fn a_link_that_is_replaced_leads_nowhere_any_more() {
    // The folder behind the link stays known for the next entries; replaced, it must not be used.
    let archive = tar().folder("one").link("a", "one").file("a/x", "x").link("a", "two").file("a/y", "y");
    let (result, paths) = outcome(&archive.end(), keep(), Whiteouts::Literal);
    assert_eq!(result, Ok(()));
    assert_eq!(paths, " 40755\na 120777\none 40755\none/x 100644\ntwo 40755\ntwo/y 100644");
}

#[test]
fn limits_hold() {
    let huge_sparse = {
        let mut header = [0; 512];
        let mut archive = tar();
        header[..6].copy_from_slice(b"sparse");
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(b"00000000000");
        header[136..147].copy_from_slice(b"00000000000");
        header[156] = b'S';
        header[257..265].copy_from_slice(b"ustar  \0");
        // 8 EiB less one in base 256.
        header[483..495].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        archive.push(header, b"");
        archive
    };
    let many = (0..11).fold(tar(), |archive, number| archive.file(&format!("f{number}"), ""));
    let big_pax = tar().raw(b'x', b"pax", b"", 0o644, &vec![b'1'; (1 << 20) + 1]).file("x", "x");
    for (what, archive, cause) in [
        ("bytes", tar().file("a", &"x".repeat(600)).file("b", &"x".repeat(600)), "more than 1000 bytes"),
        ("sparse bomb", huge_sparse, "more than 1000 bytes"),
        ("entries", many, "more than 10 entries"),
        ("depth", tar().file("a/b/c/d/e/f", "x"), "6 folders deep, more than 5"),
        ("depth by links", tar().link("a", "b/c/d/e/f/g").file("a/h", "x"), "deep, more than 5"),
        ("extended header", big_pax, "more than 1 MiB"),
        // Content of a link is passed over, but not for ever.
        (
            "skipped content",
            tar().file("x", "x").raw(b'1', b"h", b"x", 0, &vec![0; 50_000]),
            "unpacks to more than",
        ),
    ] {
        let (result, _) = outcome(&archive.end(), limited(1000, 10, 5), Whiteouts::Literal);
        let error = result.expect_err(what);
        assert!(error.contains(cause), "{what}: {error}");
    }
}

#[test]
fn sparse_lists_that_do_not_fit_are_refused() {
    let archive = |major: &[u8], size: &[u8], map: &[u8], content: &[u8]| {
        tar()
            .pax(&[("GNU.sparse.major", major), ("GNU.sparse.realsize", size), ("GNU.sparse.map", map)])
            .raw(b'0', b"x", b"", 0o644, content)
            .end()
    };
    for (map, size, content) in [
        ("0,1,0,1", "10", &b"ab"[..]),
        ("5,1,0,1", "10", b"ab"),
        ("0,2", "1", b"ab"),
        ("0,1", "10", b"ab"),
        ("0", "10", b""),
        ("18446744073709551615,2", "10", b"ab"),
    ] {
        let (result, _) =
            outcome(&archive(b"0", size.as_bytes(), map.as_bytes(), content), keep(), Whiteouts::Literal);
        assert!(result.unwrap_err().contains("list of pieces"), "{map}");
    }
    for map in ["x\n", "999999999\n", "1\n0\n", "99999999999999999999999\n"] {
        let mut content = map.as_bytes().to_vec();
        content.resize(512, 0);
        let (result, _) = outcome(&archive(b"1", b"10", b"", &content), keep(), Whiteouts::Literal);
        assert!(result.is_err(), "{map}");
    }
    let (result, _) = outcome(&archive(b"0", b"10", b"2,2", b"ab"), keep(), Whiteouts::Literal);
    assert_eq!(result, Ok(()));
}

#[test]
fn whiteouts_take_away_what_is_below_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("victim")).unwrap();
    fs::write(folder.path().join("victim/file"), "untouched").unwrap();
    let victim = dump(&folder.path().join("victim"));
    let lower = tar()
        .file("gone", "1")
        .file("kept", "1")
        .file("folder/a", "1")
        .file("folder/b", "1")
        .file("opaque/old", "1")
        .file("opaque/sub/old", "1")
        .link("out", "../victim")
        .file(".wh.literal-in-lowest", "");
    unpack(&lower.end(), folder.path(), keep(), Whiteouts::Lowest).unwrap();
    let upper = tar()
        .file(".wh.gone", "")
        .file("folder/.wh.a", "")
        .file("opaque/new", "2")
        .file("opaque/sub/new", "2")
        .file("opaque/.wh..wh..opq", "")
        .file("missing/.wh.x", "")
        .file("both", "2")
        .file(".wh.both", "")
        .file("out/.wh.file", "")
        .file(".wh..wh.aufs", "");
    unpack(&upper.end(), folder.path(), keep(), Whiteouts::Upper).unwrap();
    let tree = dump(&folder.path().join("tree"));
    let paths: Vec<&str> = tree.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let expected = [
        "",
        "both",
        "folder",
        "folder/b",
        "kept",
        "opaque",
        "opaque/new",
        "opaque/sub",
        "opaque/sub/new",
        "out",
    ];
    assert_eq!(paths, expected);
    for name in [".wh...", ".wh..", ".wh.", "folder/.wh..."] {
        let error = unpack(&tar().file(name, "").end(), folder.path(), keep(), Whiteouts::Upper).unwrap_err();
        assert!(error.contains("`..`"), "{name}: {error}");
    }
    assert_eq!(dump(&folder.path().join("victim")), victim);
}

#[test]
fn attributes_that_steer_overlayfs_or_security_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let archive = tar()
        .pax(&[
            ("SCHILY.xattr.user.note", b"value"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.security.selinux", b"label"),
        ])
        .folder("a")
        .end();
    let notes = unpack(&archive, folder.path(), keep(), Whiteouts::Literal).unwrap();
    assert_eq!(notes.attributes_dropped, 3);
    assert!(dump(&folder.path().join("tree")).ends_with("user.note=value"));
}

#[test]
fn devices_are_made_only_when_allowed_and_a_whiteout_never() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = tar().raw(b'3', b"null", b"", 0o666, b"");
    let mut header: [u8; 512] = archive.0[..512].try_into().unwrap();
    header[..4].copy_from_slice(b"zero");
    header[329..344].fill(0);
    archive.push(header, b"");
    let policy = Policy { devices: true, ..keep() };
    let notes = unpack(&archive.end(), folder.path(), policy, Whiteouts::Literal).unwrap();
    assert_eq!(notes.devices_skipped, 1);
    let null = folder.path().join("tree/null").symlink_metadata().unwrap();
    assert_eq!((null.mode(), null.rdev()), (0o20666, rustix::fs::makedev(1, 3)));
}

#[test]
fn removal_follows_no_link_and_manages_depth_and_closed_folders() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "untouched").unwrap();
    let tree = folder.path().join("tree");
    let mut deep =
        rustix::fs::openat(rustix::fs::CWD, folder.path(), rustix::fs::OFlags::RDONLY, 0.into()).unwrap();
    for name in std::iter::once("tree").chain(std::iter::repeat_n("d", 500)) {
        rustix::fs::mkdirat(&deep, name, 0o700.into()).unwrap();
        rustix::fs::symlinkat("../victim", &deep, format!("l{name}")).unwrap();
        deep = rustix::fs::openat(&deep, name, rustix::fs::OFlags::RDONLY, 0.into()).unwrap();
    }
    fs::create_dir(tree.join("closed")).unwrap();
    fs::write(tree.join("closed/file"), "x").unwrap();
    symlink("../victim", tree.join("link")).unwrap();
    fs::set_permissions(tree.join("closed"), std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    toolbox_store::tree::remove(&tree).unwrap();
    toolbox_store::tree::remove(&folder.path().join("ltree")).unwrap();
    toolbox_store::tree::remove(&folder.path().join("nothing")).unwrap();
    assert!(!tree.exists());
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "untouched");
}
