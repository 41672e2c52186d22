//! GNU tar packs, we unpack, and the tree is what GNU tar makes of it: every format, compression
//! and kind of file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{dump, keep, own, run};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use toolbox_store::{Source, Store};

/// A tree with all that tar knows.
fn sample(folder: &Path) {
    let script = r#"
        set -e
        mkdir -p tree/usr/bin tree/empty tree/deep
        cd tree
        echo hello > usr/bin/tool; chown 1000:1001 usr/bin/tool; chmod 4755 usr/bin/tool
        setcap cap_net_raw+ep usr/bin/tool 2>/dev/null || true
        ln usr/bin/tool usr/bin/again
        ln -s usr/bin bin; ln -s /etc/passwd out; ln -s ../../../up up
        mkfifo pipe; chmod 640 pipe
        mkdir -m 1777 tmp; mkdir -m 2750 group; mkdir -m 0 closed
        : > zero; head -c 300000 /dev/urandom > random
        truncate -s 3M sparse; printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null
        printf y | dd of=sparse bs=1 seek=2999999 conv=notrunc 2>/dev/null
        truncate -s 1M hole
        long=$(printf 'n%.0s' $(seq 200)); mkdir -p "deep/$long/$long"; echo x > "deep/$long/$long/$long"
        ln -s "$long/$long" longlink; ln "deep/$long/$long/$long" hardlong
        printf 'umlaut' > 'nämé with
newline'
        setfattr -n user.note -v value zero
        touch -d '1969-12-31 23:59:58' old; touch -d '2200-01-01' future
        touch -d '2001-02-03 04:05:06.789' usr/bin usr empty tmp
        chown 5000000:6000000 random
    "#;
    run("sh", &["-c", script], folder);
}

fn store(folder: &Path) -> Store {
    Store::open(&folder.join("store")).unwrap()
}

#[test]
fn every_format_of_gnu_tar_gives_the_tree_that_gnu_tar_gives() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    for (format, more) in [
        ("gnu", &[][..]),
        ("gnu", &["--sparse"]),
        ("posix", &["--xattrs", "--xattrs-include=*"]),
        ("posix", &["--sparse", "--sparse-version=0.0"]),
        ("posix", &["--sparse", "--sparse-version=0.1"]),
        ("posix", &["--sparse", "--sparse-version=1.0"]),
        (
            "ustar",
            &[
                "--exclude=deep",
                "--exclude=hardlong",
                "--exclude=longlink",
                "--exclude=future",
                "--exclude=old",
                "--exclude=random",
            ],
        ),
        (
            "v7",
            &[
                "--exclude=deep",
                "--exclude=hardlong",
                "--exclude=longlink",
                "--exclude=future",
                "--exclude=old",
                "--exclude=random",
                "--exclude=pipe",
            ],
        ),
    ] {
        let mut arguments = vec!["--numeric-owner", "-cf", "a.tar", "-C", "tree"];
        let form = format!("--format={format}");
        arguments.push(&form);
        arguments.extend(more);
        arguments.push(".");
        run("tar", &arguments, folder.path());
        let theirs = tempfile::tempdir().unwrap();
        let archive = folder.path().join("a.tar");
        let archive = archive.to_str().unwrap();
        let extract = ["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", archive];
        run("tar", &extract, theirs.path());
        let held = store(folder.path()).get(&Source::parse(archive).unwrap(), &keep(), &mut |_| ()).unwrap();
        assert_eq!(dump(&held.image.tree), dump(theirs.path()), "{format} {more:?}");
        if more.contains(&"--sparse") {
            let hole = held.image.tree.join("hole").metadata().unwrap();
            assert_eq!((hole.len(), hole.blocks()), (1 << 20, 0), "holes are kept");
        }
    }
}

#[test]
fn compressions_are_told_by_content_and_give_the_same() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    run("tar", &["--numeric-owner", "-cf", "plain", "-C", "tree", "."], folder.path());
    run(
        "sh",
        &["-c", "gzip -k plain; xz -k plain; zstd -q plain; (zstd -qc < /dev/null; cat plain.zst) > two.zst"],
        folder.path(),
    );
    let store = store(folder.path());
    let mut dumps = Vec::new();
    for name in ["plain", "plain.gz", "plain.xz", "plain.zst", "two.zst"] {
        // The name says nothing.
        let path = folder.path().join("archive");
        std::fs::copy(folder.path().join(name), &path).unwrap();
        let mut seen = Vec::new();
        let held =
            store.get(&Source::Path(path.clone()), &keep(), &mut |progress| seen.push(progress)).unwrap();
        let size = path.metadata().unwrap().len();
        assert_eq!(seen.last().map(|last| (last.done, last.total)), Some((size, Some(size))), "{name}");
        dumps.push(dump(&held.image.tree));
    }
    assert!(dumps.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(store.images().unwrap().len(), 5);
    for (bytes, cause) in [
        (&b"BZh91AY"[..], "bzip2 is not supported"),
        (b"hello", "this is no directory"),
        (b"", "this is no directory"),
    ] {
        let path = folder.path().join("other");
        std::fs::write(&path, bytes).unwrap();
        let error = store.get(&Source::Path(path), &keep(), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains(cause), "{error}");
    }
}

#[test]
fn owned_trees_can_be_entered_read_and_deleted_by_their_owner() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    sample(folder.path());
    run("tar", &["--numeric-owner", "-cf", "a.tar", "-C", "tree", "."], folder.path());
    let held =
        store(folder.path()).get(&Source::Tar(folder.path().join("a.tar")), &own(), &mut |_| ()).unwrap();
    let tool = held.image.tree.join("usr/bin/tool").metadata().unwrap();
    assert_eq!((tool.uid(), tool.mode() & 0o7777), (0, 0o755));
    let closed = held.image.tree.join("closed").metadata().unwrap();
    assert_eq!(closed.mode() & 0o7777, 0o700);
    assert_eq!(held.image.notes.set_id_dropped, 2);
    assert!(held.image.id.as_ref().unwrap().as_str().ends_with("-own"));
}
