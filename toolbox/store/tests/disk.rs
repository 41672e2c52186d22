//! mke2fs and qemu-img make file systems and disks, we read them: the tree is what was put in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{dump, keep, run};
use std::fs;
use std::path::Path;
use toolbox_store::{Ext4Error, Source, Store, StoreError};

fn sample(folder: &Path) {
    let script = r#"
        set -e
        mkdir -p tree/usr/bin tree/many
        cd tree
        echo hello > usr/bin/tool; chown 1000:70000 usr/bin/tool; chmod 4755 usr/bin/tool
        setcap cap_net_raw+ep usr/bin/tool
        ln usr/bin/tool usr/bin/again
        ln -s usr/bin bin; ln -s "$(printf 'l%.0s' $(seq 300))" long
        head -c 5000000 /dev/urandom > random
        truncate -s 50M sparse; printf x | dd of=sparse bs=1 seek=40000000 conv=notrunc 2>/dev/null
        truncate -s 1M hole; : > zero; mkfifo pipe
        for i in $(seq 2000); do echo $i > many/file-with-some-name-$i; done
        setfattr -n user.note -v value zero
        touch -h -d '2001-02-03 04:05:06' usr usr/bin many zero hole sparse random long bin pipe usr/bin/tool many/* .
    "#;
    run("sh", &["-c", script], folder);
    run("mke2fs", &["-q", "-t", "ext4", "-d", "tree", "fs.img", "200M"], folder);
}

/// The dump without what mke2fs adds, which changes the time of the root too.
fn without_lost_and_found(tree: &Path) -> String {
    let dump = dump(tree);
    dump.lines()
        .filter(|line| !line.starts_with("lost+found") && !line.starts_with(' '))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn a_file_system_in_a_file_or_in_a_partition_of_a_raw_or_qcow2_disk() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let expected = without_lost_and_found(&folder.path().join("tree"));
    let script = r"
        set -e
        truncate -s 300M disk.raw
        sgdisk -n 1:2048:+10M -c 1:ESP -t 1:ef00 -n 2:0:+210M -c 2:SLOT-A -t 2:8304 -n 3:0:+10M -c 3:SLOT-B -t 3:8304 disk.raw >/dev/null
        start=$(sgdisk -i 2 disk.raw | sed -n 's/First sector: \([0-9]*\).*/\1/p')
        dd if=fs.img of=disk.raw bs=512 seek=$start conv=notrunc,sparse 2>/dev/null
        qemu-img convert -O qcow2 -c disk.raw disk.qcow2
        qemu-img convert -O qcow2 fs.img bare
    ";
    run("sh", &["-c", script], folder.path());
    let store = Store::open(&folder.path().join("store")).unwrap();
    let mut ids = Vec::new();
    for source in ["fs.img", "disk.raw#SLOT-A", "disk.raw#2", "disk.raw", "disk.qcow2#SLOT-A", "bare"] {
        let source = Source::parse(&format!("{}/{source}", folder.path().display())).unwrap();
        let held = store.get(&source, &keep(), &mut |_| ()).unwrap();
        let found = without_lost_and_found(&held.image.tree);
        let differs = found.lines().zip(expected.lines()).find(|(one, other)| one != other);
        assert!(found == expected, "{source}: {differs:?}");
        ids.push(held.image.id.clone());
        let blocks =
            std::os::unix::fs::MetadataExt::blocks(&held.image.tree.join("sparse").metadata().unwrap());
        assert!(blocks < 100, "holes are kept, but there are {blocks} blocks");
    }
    // All the same content, so there is one image.
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    for (source, cause) in [
        ("disk.raw#SLOT-B", "partition `SLOT-B` has no ext4 file system"),
        ("disk.raw#SLOT-C", "there is no partition `SLOT-C`; there are: ESP, SLOT-A, SLOT-B"),
    ] {
        let source = Source::parse(&format!("{}/{source}", folder.path().display())).unwrap();
        let error = store.get(&source, &keep(), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains(cause), "{error}");
    }
}

#[test]
fn files_with_their_blocks_in_a_map_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let script = r"
        set -e
        mkdir tree; head -c 3000000 /dev/urandom > tree/random; echo x > tree/small
        touch -d '2001-02-03 04:05:06' tree/* tree
        mke2fs -q -t ext4 -d tree fs.img 20M
        # Without extents, content is in maps; the directories stay as they are.
        mke2fs -q -t ext4 -O ^extents,^64bit -d tree map.img 20M
    ";
    run("sh", &["-c", script], folder.path());
    let store = Store::open(&folder.path().join("store")).unwrap();
    let get = |name: &str| store.get(&Source::Ext4(folder.path().join(name)), &keep(), &mut |_| ());
    assert!(get("fs.img").is_ok());
    // Directories in maps are not read, and that is said.
    let error = get("map.img").unwrap_err();
    assert!(error.to_string().contains("a directory without extents"), "{error}");
}

#[test]
fn what_is_damaged_or_in_use_is_refused_and_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    run(
        "sh",
        &[
            "-c",
            "mkdir tree; head -c 100000 /dev/urandom > tree/x; ln -s x tree/l; mke2fs -q -t ext4 -d tree fs.img 8M",
        ],
        folder.path(),
    );
    let store = Store::open(&folder.path().join("store")).unwrap();
    let path = folder.path().join("fs.img");
    let good = fs::read(&path).unwrap();
    // `needs_recovery` (incompat 0x4), without the checksum that covers it.
    run("debugfs", &["-w", "-R", "feature needs_recovery", "fs.img"], folder.path());
    let error = store.get(&Source::Ext4(path.clone()), &keep(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Ext4 { source: Ext4Error::Journal, .. }), "{error}");
    assert!(error.hint().unwrap().contains("e2fsck"));
    let mut refused = 0;
    for step in 0..200_u64 {
        let mut bad = good.clone();
        // Spread over the first metadata, which is where the bytes count.
        let at = (1024 + step * 1999) as usize % 400_000;
        bad[at] ^= 0xff;
        fs::write(&path, &bad).unwrap();
        refused += u32::from(store.get(&Source::Ext4(path.clone()), &keep(), &mut |_| ()).is_err());
    }
    assert!(refused > 0);
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}
