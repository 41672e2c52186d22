//! File systems that want to write elsewhere, or to take all there is: made by mke2fs without checksums, then
//! changed in place, with a bystander whom links and names point at.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{dump, keep, limited, own, run};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use toolbox_store::{Held, Policy, Source, Store};

const BLOCK: usize = 4096;
/// Of `i_block` in an inode (Documentation/filesystems/ext4, "Index Nodes").
const I_BLOCK: usize = 0x28;

struct Sample {
    folder: tempfile::TempDir,
    good: Vec<u8>,
    store: Store,
    victim: String,
}

impl Sample {
    fn new() -> Self {
        // In memory: what is looked at is not the state of a disk.
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let victim = folder.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("file"), "untouched").unwrap();
        let script = r"
            set -e
            mkdir -p tree/dd/sub
            cd tree
            printf x > q; printf x > qz; printf x > qa; printf x > qb; printf x > aXb; printf x > Xetc
            ln -s ../victim out; ln -s ../../../victim oz
            head -c 10000 /dev/urandom > content
            cp /bin/true suid; chmod 6755 suid
            mknod null c 1 3; ln null again; mknod white c 0 0; mknod disk b 8 0
            cd ..
            mke2fs -q -t ext4 -b 4096 -I 256 -O ^metadata_csum,^uninit_bg -d tree fs.img 8M
            debugfs -w -R 'ea_set /q trusted.overlay.redirect /etc' fs.img
        ";
        run("sh", &["-c", script], folder.path());
        Self {
            good: fs::read(folder.path().join("fs.img")).unwrap(),
            store: Store::open(&folder.path().join("store")).unwrap(),
            victim: dump(&victim),
            folder,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("fs.img")
    }

    fn put(&self, bytes: &[u8]) {
        fs::write(self.path(), bytes).unwrap();
    }

    /// Unpacks it, and looks at the bystander.
    fn get(&self, policy: &Policy) -> Result<Held, String> {
        let held = self.store.get(&Source::Ext4(self.path()), policy, &mut |_| ());
        assert_eq!(dump(&self.folder.path().join("victim")), self.victim, "the bystander changed");
        assert_eq!(fs::read_dir(self.store.root().join("tmp")).unwrap().count(), 0);
        held.map_err(|error| error.to_string())
    }

    fn debugfs(&self, request: &str) {
        self.put(&self.good);
        run("debugfs", &["-w", "-R", request, "fs.img"], self.folder.path());
        // It ends well whatever it did.
        assert!(fs::read(self.path()).unwrap() != self.good, "{request}");
    }

    /// Where an inode is in the image.
    fn inode(&self, path: &str) -> usize {
        let said = run("debugfs", &["-R", &format!("imap {path}"), "fs.img"], self.folder.path());
        let place = said.split_once("located at block ").unwrap().1;
        let (block, offset) = place.split_once(", offset 0x").unwrap();
        block.parse::<usize>().unwrap() * BLOCK + usize::from_str_radix(offset.trim(), 16).unwrap()
    }

    /// The image with a directory entry of another name: length and type, then the name.
    fn renamed(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut bytes = self.good.clone();
        let at = self.place(from);
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    }

    /// Where these bytes are, which are there once.
    fn place(&self, bytes: &[u8]) -> usize {
        let windows = self.good.windows(bytes.len()).enumerate();
        let found: Vec<usize> = windows.filter_map(|(at, window)| (window == bytes).then_some(at)).collect();
        assert_eq!(found.len(), 1, "{}", bytes.escape_ascii());
        found[0]
    }
}

#[test]
fn what_is_no_danger_is_left_out_or_kept_within() {
    let sample = Sample::new();
    let held = sample.get(&keep()).unwrap();
    let tree = &held.image.tree;
    assert_eq!((held.image.notes.devices_skipped, held.image.notes.attributes_dropped), (4, 1));
    assert!(["null", "again", "white", "disk"].iter().all(|name| !tree.join(name).exists()));
    // Root's own, in a store that is closed to others: see setid.rs.
    assert_eq!(tree.join("suid").metadata().unwrap().mode() & 0o7777, 0o6755);
    assert_eq!(tree.join("out").read_link().unwrap().to_str(), Some("../victim"));
    let held = sample.get(&own()).unwrap();
    assert_eq!(held.image.tree.join("suid").metadata().unwrap().mode() & 0o7777, 0o755);
    assert_eq!(held.image.notes.set_id_dropped, 1);
    // Where devices are wanted, never what overlayfs takes for a whiteout.
    let held = sample.get(&Policy { devices: true, ..keep() }).unwrap();
    let is_device = |name: &str| {
        held.image.tree.join(name).symlink_metadata().is_ok_and(|meta| meta.file_type().is_char_device())
    };
    assert!(is_device("null") && is_device("again") && !is_device("white"));
    // Names for the folder itself and the one above are passed over, however many there are.
    for (from, to, name) in [(b"\x02\x01qz", b"\x02\x01..", "qz"), (b"\x02\x07oz", b"\x02\x07..", "oz")] {
        sample.put(&sample.renamed(from, to));
        let held = sample.get(&keep()).unwrap();
        assert!(held.image.tree.join(name).symlink_metadata().is_err());
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let sample = Sample::new();
    let refused: [(&[u8], &[u8], &str); 7] = [
        (b"\x03\x01aXb", b"\x03\x01a/b", "a name that cannot be one"),
        (b"\x03\x01aXb", b"\x03\x01../", "a name that cannot be one"),
        (b"\x03\x01aXb", b"\x03\x01a\0b", "a name that cannot be one"),
        (b"\x04\x01Xetc", b"\x04\x01/etc", "a name that cannot be one"),
        (b"\x02\x01qz", b"\x00\x01qz", "a name that cannot be one"),
        (b"\x02\x01qa", b"\x02\x01qb", "a name twice"),
        // A link out and a folder of one name: what is in the folder would be written through the link.
        (b"\x02\x07oz", b"\x02\x07dd", "a name twice"),
    ];
    for (from, to, cause) in refused {
        sample.put(&sample.renamed(from, to));
        let error = sample.get(&keep()).unwrap_err();
        assert!(error.contains(cause), "{}: {error}", to.escape_ascii());
    }
    // The inode of a name is six bytes before its length.
    let at = sample.place(b"\x02\x01qz") - 6;
    for (number, cause) in [(u32::MAX, "there is no inode"), (1500, "not in use")] {
        let mut bytes = sample.good.clone();
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        sample.put(&bytes);
        let error = sample.get(&keep()).unwrap_err();
        assert!(error.contains(cause), "{number}: {error}");
    }
}

#[test]
fn inodes_that_lie_are_refused() {
    let sample = Sample::new();
    for (request, cause) in [
        ("ln /dd /dd/self", "another name as well"),
        ("ln <2> /dd/sub/root", "another name as well"),
        ("ln /dd/sub /twice", "another name as well"),
        ("sif /q mode 0", "no known type"),
        ("sif /q mode 0170644", "no known type"),
        ("sif /q mode 040755", ""),
        ("sif /dd mode 0100644", ""),
        ("sif /out size 4294967295", "more than 4095 bytes"),
        ("sif /out size 4096", "more than 4095 bytes"),
        ("sif /out size 100", "without a target"),
        ("sif /out size 0", "NUL byte"),
        ("sif /dd size 1099511627776", "more than 64 MiB"),
        ("sif /content size 1099511627776", "more than 68719476736 bytes"),
    ] {
        sample.debugfs(request);
        match sample.get(&keep()) {
            Err(error) => assert!(error.contains(cause), "{request}: {error}"),
            // A folder that says it is a file has its names as content.
            Ok(held) => assert!(cause.is_empty() && held.image.tree.join("dd").is_file(), "{request}"),
        }
    }
    // A count of names decides nothing: there are as many as there are.
    for request in ["sif /q links_count 0", "sif /q links_count 60000"] {
        sample.debugfs(request);
        assert_eq!(sample.get(&keep()).unwrap().image.tree.join("q").metadata().unwrap().nlink(), 1);
    }
    sample.put(&sample.good);
    for (policy, cause) in [
        (limited(5000, 100, 10), "more than 5000 bytes"),
        (limited(1 << 30, 5, 10), "more than 5 entries"),
        (limited(1 << 30, 100, 1), "more than 1"),
    ] {
        assert!(sample.get(&policy).unwrap_err().contains(cause), "{cause}");
    }
}

#[test]
fn extents_that_point_elsewhere_are_refused() {
    let sample = Sample::new();
    let inode = sample.inode("/content");
    let extent = inode + I_BLOCK + 12;
    let word = |at: usize| u32::from_le_bytes(sample.good[at..at + 4].try_into().unwrap());
    // `ee_start_lo`
    let block = word(extent + 8);
    // A node at the file's own first block whose only child is that block.
    let node = |depth: u16| {
        let mut node = Vec::new();
        for half in [0xf30a, 1, 4, depth, 0, 0, 0, 0] {
            node.extend_from_slice(&u16::to_le_bytes(half));
        }
        node.extend_from_slice(&block.to_le_bytes());
        node.extend_from_slice(&[0; 4]);
        node
    };
    let poked = |pokes: &[(usize, Vec<u8>)]| {
        let mut bytes = sample.good.clone();
        for (at, with) in pokes {
            bytes[*at..*at + with.len()].copy_from_slice(with);
        }
        bytes
    };
    let own = block as usize * BLOCK;
    for (what, pokes, cause) in [
        ("beyond the disk", vec![(extent + 8, vec![0xff; 4])], "beyond the file system"),
        ("beyond by its high half", vec![(extent + 6, vec![1, 0])], "beyond the file system"),
        (
            "the last block and more",
            vec![(extent + 8, 2047_u32.to_le_bytes().into())],
            "beyond the file system",
        ),
        ("of no length", vec![(extent + 4, vec![0, 0])], "malformed"),
        ("without magic", vec![(inode + I_BLOCK, vec![0, 0])], "malformed"),
        ("more than there is room for", vec![(inode + I_BLOCK + 2, vec![5, 0])], "malformed"),
        ("absurdly deep", vec![(inode + I_BLOCK, node(0xffff))], "malformed"),
        ("a tree that is its own child", vec![(inode + I_BLOCK, node(1)), (own, node(1))], "malformed"),
        ("a deeper one", vec![(inode + I_BLOCK, node(5)), (own, node(4))], "malformed"),
    ] {
        sample.put(&poked(&pokes));
        let error = sample.get(&keep()).expect_err(what);
        assert!(error.contains(cause), "{what}: {error}");
    }
}

#[test]
fn damage_anywhere_stays_within() {
    let sample = Sample::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    // Without checksums, all of it is believed: superblock, descriptors, inodes and names.
    let (inodes, names) = (sample.inode("<2>"), |path: &str| {
        let at = sample.inode(path) + I_BLOCK + 12 + 8;
        u32::from_le_bytes(sample.good[at..at + 4].try_into().unwrap()) as usize * BLOCK
    });
    let (root, folder) = (names("<2>"), names("/dd"));
    let ranges =
        [1024..2048, BLOCK..BLOCK + 64, inodes..inodes + 40 * 256, root..root + 400, folder..folder + 60];
    let mut refused = 0;
    let rounds = if std::env::var_os("SLIPWAY_NIGHTLY").is_some() { 5000 } else { 300 };
    for _ in 0..rounds {
        let mut bad = sample.good.clone();
        for _ in 0..=random() % 3 {
            let range = &ranges[random() % ranges.len()];
            bad[range.start + random() % range.len()] = random() as u8;
        }
        sample.put(&bad);
        match sample.get(&limited(64 << 20, 1000, 16)) {
            Err(_) => refused += 1,
            Ok(held) => assert!(dump(&held.image.tree).len() < 1 << 20),
        }
        sample.store.gc(&[]).unwrap();
    }
    assert!(refused > rounds / 10 && refused < rounds, "{refused} of {rounds}");
}
