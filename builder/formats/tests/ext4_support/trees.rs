//! Trees to write, from a seed.

use formats::tree::{Content, Entry, Kind, Tree};
use std::collections::BTreeMap;

/// `SplitMix64`: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        bytes
    }
}

/// `security.capability` as `setcap cap_net_bind_service+ep` sets it.
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A tree of `count` random entries of all kinds. `content` bounds the bytes of most files.
pub fn random(seed: u64, count: usize, content: u64) -> Tree {
    let mut random = Random(seed);
    let mut tree = Tree::default();
    let mut folders: Vec<Vec<u8>> = vec![Vec::new()];
    let mut files: Vec<Vec<u8>> = Vec::new();
    while tree.entries.len() < count {
        // A few directories get most of the names, so that some are large.
        let among = if random.below(2) == 0 { folders.len().min(3) } else { folders.len() };
        let parent = folders[random.below(among as u64) as usize].clone();
        let name = name(&mut random);
        let path = if parent.is_empty() { name } else { [&parent[..], b"/", &name].concat() };
        // The kernel follows paths of up to 4095 bytes only.
        if path.len() > 3000 || path == b"lost+found" || tree.entries.contains_key(&path) {
            continue;
        }
        let kind = kind(&mut random, &files, content);
        match &kind {
            Kind::Directory => folders.push(path.clone()),
            Kind::HardLink(_) => {}
            _ => files.push(path.clone()),
        }
        let mode = if random.below(8) == 0 { random.below(0o10000) } else { 0o644 } as u16;
        let mut entry = Entry::new(kind, mode);
        if random.below(4) == 0 {
            entry.uid = random.next() as u32;
            entry.gid = random.next() as u32;
        }
        entry.mtime = match random.below(10) {
            0 => -(random.below(1 << 31) as i64),
            1 => random.below((1 << 33) + (1 << 31)) as i64,
            _ => 1_600_000_000 + random.below(100_000_000) as i64,
        };
        if random.below(5) == 0 {
            entry.xattrs = xattrs(&mut random, &entry.kind);
        }
        tree.entries.insert(path, entry);
    }
    tree
}

fn name(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => vec![b"abcdefgh"[random.below(8) as usize]; 255],
        1 => "Főtanúsítvány-日本語-".bytes().chain(random.next().to_string().bytes()).collect(),
        2 => {
            // Any bytes but NUL and slash; never only dots.
            let length = 1 + random.below(254) as usize;
            let mut bytes = random.bytes(length);
            for byte in &mut bytes {
                if matches!(byte, 0 | b'/' | b'.') {
                    *byte = b'\n';
                }
            }
            bytes
        }
        3 => format!(".{}", random.next()).into_bytes(),
        _ => format!("{:x}", random.next() >> (8 * random.below(5))).into_bytes(),
    }
}

fn kind(random: &mut Random, files: &[Vec<u8>], content: u64) -> Kind {
    match random.below(40) {
        0..=3 => Kind::Directory,
        4..=7 => {
            let length = match random.below(4) {
                0 => 1 + random.below(4095),
                1 => 58 + random.below(4),
                _ => 1 + random.below(30),
            };
            Kind::Symlink((0..length).map(|_| b"abc/."[random.below(5) as usize]).collect())
        }
        8 | 9 if !files.is_empty() => {
            Kind::HardLink(files[random.below(files.len() as u64) as usize].clone())
        }
        10 => Kind::CharDevice { major: random.below(256) as u32, minor: random.below(256) as u32 },
        11 => Kind::BlockDevice { major: random.below(4096) as u32, minor: random.below(1 << 20) as u32 },
        12 => Kind::Fifo,
        13 => Kind::Socket,
        14 => Kind::File(Content::bytes(holey(random))),
        15 | 16 => Kind::File(Content::bytes(Vec::new())),
        _ => {
            let length = random.below(content + 1) as usize;
            Kind::File(Content::bytes(random.bytes(length)))
        }
    }
}

/// Up to 400 KiB with zero blocks between.
fn holey(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; random.below(400 << 10) as usize];
    let value = random.next();
    for (block, chunk) in bytes.chunks_mut(4096).enumerate() {
        if value >> (block % 64) & 1 == 1 {
            let last = chunk.len() - 1;
            chunk[last] = 7;
        }
    }
    bytes
}

fn xattrs(random: &mut Random, kind: &Kind) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut xattrs = BTreeMap::new();
    let mut put = |name: &str, value: Vec<u8>| xattrs.insert(name.as_bytes().to_vec(), value);
    // The kernel shows "user." of regular files and directories only.
    let plain = matches!(kind, Kind::File(_) | Kind::Directory);
    if matches!(kind, Kind::File(_)) && random.below(2) == 0 {
        put("security.capability", CAPABILITY.to_vec());
    }
    if random.below(2) == 0 {
        let length = random.below(200) as usize;
        put("trusted.overlay.origin", random.bytes(length));
    }
    if plain {
        for number in 0..random.below(6) {
            let length = random.below(300) as usize;
            put(&format!("user.{}{number}", "n".repeat(random.below(40) as usize)), random.bytes(length));
        }
        put("user.empty", Vec::new());
    }
    if plain && random.below(3) == 0 {
        let list = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0],
            &[4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255],
            &[32, 0, 4, 0, 255, 255, 255, 255],
        ]
        .concat();
        put("system.posix_acl_access", list);
    }
    xattrs
}

/// A file of these bytes.
pub fn file(bytes: &[u8]) -> Entry {
    Entry::new(Kind::File(Content::bytes(bytes)), 0o644)
}

/// A directory.
pub fn directory() -> Entry {
    Entry::new(Kind::Directory, 0o755)
}

/// A tree of these entries.
pub fn tree<P: AsRef<[u8]>>(entries: impl IntoIterator<Item = (P, Entry)>) -> Tree {
    Tree { entries: entries.into_iter().map(|(path, entry)| (path.as_ref().to_vec(), entry)).collect() }
}
