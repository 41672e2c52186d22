//! What a reader sees of a tree, entry by entry, and the comparison with what was written.

use formats::ext4::{Image, ROOT_INODE};
use formats::read_at::ReadAt;
use formats::tree::{Content, Kind, Tree};
use rustix::fs::{lgetxattr, llistxattr};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Of each entry what its reader can tell; the others are `None` in both sides of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Type and permissions.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    /// Length, and checksum if the content was read.
    pub size: Option<u64>,
    pub content: Option<u32>,
    pub target: Option<Vec<u8>>,
    pub rdev: Option<(u32, u32)>,
    pub xattrs: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    pub links: Option<u64>,
    /// The first path of the same inode.
    pub first_name: Option<Vec<u8>>,
}

pub type View = BTreeMap<Vec<u8>, Seen>;

/// What of a view can be compared.
#[derive(Clone, Copy)]
pub struct Can {
    pub content: bool,
    pub target: bool,
    pub raw: bool,
}

/// The view that a tree must give. `lost+found` and an absent root are left out.
pub fn expected(tree: &Tree, can: Can) -> View {
    let mut names: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    let mut below: BTreeMap<&[u8], u64> = BTreeMap::new();
    for (path, entry) in &tree.entries {
        let target = if let Kind::HardLink(target) = &entry.kind { target } else { path };
        names.entry(target).or_default().push(path);
        if entry.kind == Kind::Directory && !path.is_empty() {
            let slash = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
            *below.entry(&path[..slash]).or_default() += 1;
        }
    }
    let mut view = View::new();
    for (path, names) in names {
        let entry = &tree.entries[path];
        let mut seen = Seen {
            mode: u32::from(entry.mode),
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            ..Seen::default()
        };
        seen.mode |= match &entry.kind {
            Kind::Directory => 0o040_000,
            Kind::File(_) => 0o100_000,
            Kind::Symlink(_) => 0o120_000,
            Kind::CharDevice { .. } => 0o020_000,
            Kind::BlockDevice { .. } => 0o060_000,
            Kind::Fifo => 0o010_000,
            Kind::Socket => 0o140_000,
            Kind::HardLink(_) => unreachable!("a link names no link"),
        };
        if let Kind::File(content) = &entry.kind {
            seen.size = Some(content.len());
            seen.content = can.content.then(|| checksum(content));
        }
        match &entry.kind {
            Kind::Symlink(target) if can.target => seen.target = Some(target.clone()),
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } if can.raw => {
                seen.rdev = Some((*major, *minor));
            }
            _ => {}
        }
        if can.raw {
            seen.xattrs = Some(entry.xattrs.clone());
            let subdirectories = below.get(path).copied().unwrap_or(0) + u64::from(path.is_empty());
            seen.links = Some(match entry.kind {
                Kind::Directory if subdirectories + 2 > 65000 => 1,
                Kind::Directory => subdirectories + 2,
                _ => names.len() as u64,
            });
            seen.first_name = Some(names.iter().min().expect("a name").to_vec());
        }
        for name in names {
            view.insert(name.to_vec(), seen.clone());
        }
    }
    view
}

fn checksum(content: &Content) -> u32 {
    let reader = content.open().expect("content");
    let mut buffer = vec![0; 1 << 20];
    let (mut position, mut sum) = (0, 0);
    while position < content.len() {
        let count = (content.len() - position).min(1 << 20) as usize;
        reader.read_exact_at(&mut buffer[..count], position).expect("content");
        sum = crc32c::crc32c_append(sum, &buffer[..count]);
        position += count as u64;
    }
    sum
}

/// Compares two views and shows the first few differences.
pub fn assert_same(seen: &View, expected: &View, reader: &str) {
    let paths: std::collections::BTreeSet<_> = seen.keys().chain(expected.keys()).collect();
    let different: Vec<String> = paths
        .into_iter()
        .filter(|path| seen.get(*path) != expected.get(*path))
        .map(|path| {
            format!("{}\n  saw  {:?}\n  not  {:?}", path.escape_ascii(), seen.get(path), expected.get(path))
        })
        .collect();
    let first = different.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(different.is_empty(), "{reader} sees {} entries wrong:\n{first}", different.len());
}

/// Leaves out what a writer adds.
fn drop_added(view: &mut View, tree: &Tree) {
    for added in [&b""[..], b"lost+found"] {
        if !tree.entries.contains_key(added) {
            view.remove(added);
        }
    }
}

fn fill_first_names(view: &mut View, inodes: &BTreeMap<Vec<u8>, u64>) {
    let mut first: BTreeMap<u64, &Vec<u8>> = BTreeMap::new();
    for (path, inode) in inodes {
        first.entry(*inode).or_insert(path);
    }
    for (path, seen) in view {
        seen.first_name = Some(first[&inodes[path]].clone());
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// Through our own reader.
pub fn by_us(image: &Image<impl ReadAt>, tree: &Tree) -> View {
    let mut view = View::new();
    let mut inodes = BTreeMap::new();
    let mut due = vec![(Vec::new(), ROOT_INODE)];
    while let Some((path, number)) = due.pop() {
        let inode = image.inode(number).expect("an inode");
        if inode.mode & 0xf000 == 0x4000 {
            for entry in image.read_directory(&inode).expect("a directory") {
                if entry.name != b"." && entry.name != b".." {
                    due.push((join(&path, &entry.name), entry.inode));
                }
            }
        }
        inodes.insert(path.clone(), u64::from(number));
        let seen = Seen {
            mode: inode.mode.into(),
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            size: (inode.mode & 0xf000 == 0x8000).then_some(inode.size),
            rdev: inode.rdev,
            xattrs: Some(image.xattrs(&inode).expect("attributes")),
            links: Some(inode.links.into()),
            ..Seen::default()
        };
        view.insert(path, seen);
    }
    fill_first_names(&mut view, &inodes);
    drop_added(&mut view, tree);
    view
}

struct Reader(File);

impl ext4_view::Ext4Read for Reader {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(FileExt::read_exact_at(&self.0, dst, start_byte)?)
    }
}

/// Through ext4-view.
pub fn by_ext4_view(image: &Path, tree: &Tree) -> View {
    let reader = Box::new(Reader(File::open(image).expect("the image")));
    let fs = ext4_view::Ext4::load(reader).expect("ext4-view loads it");
    let mut view = View::new();
    let mut due = vec![b"/".to_vec()];
    while let Some(path) = due.pop() {
        let metadata = fs.symlink_metadata(&path[..]).expect("metadata");
        let mut seen = Seen {
            mode: u32::from(metadata.mode()),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: metadata.modified().seconds(),
            ..Seen::default()
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            seen.mode |= 0o040_000;
            for entry in fs.read_dir(&path[..]).expect("a directory") {
                let entry = entry.expect("an entry");
                let name = entry.file_name();
                if name != "." && name != ".." {
                    due.push([&path[..], if path.len() > 1 { b"/" } else { b"" }, name.as_ref()].concat());
                }
            }
        } else if kind.is_regular_file() {
            seen.mode |= 0o100_000;
            seen.size = Some(metadata.len());
            let mut file = fs.open(&path[..]).expect("a file");
            let mut buffer = vec![0; 1 << 20];
            let mut sum = 0;
            loop {
                let count = file.read_bytes(&mut buffer).expect("content");
                if count == 0 {
                    break;
                }
                sum = crc32c::crc32c_append(sum, &buffer[..count]);
            }
            seen.content = Some(sum);
        } else if kind.is_symlink() {
            seen.mode |= 0o120_000;
            let target = fs.read_link(&path[..]).expect("a target");
            seen.target = Some(AsRef::<[u8]>::as_ref(&target).to_vec());
        } else if kind.is_char_dev() {
            seen.mode |= 0o020_000;
        } else if kind.is_block_dev() {
            seen.mode |= 0o060_000;
        } else if kind.is_fifo() {
            seen.mode |= 0o010_000;
        } else {
            seen.mode |= 0o140_000;
        }
        view.insert(path[1..].to_vec(), seen);
    }
    drop_added(&mut view, tree);
    view
}

/// Through a mounted file system.
pub fn by_kernel(root: &Path, tree: &Tree) -> View {
    let mut view = View::new();
    let mut inodes = BTreeMap::new();
    let mut due = vec![Vec::new()];
    while let Some(path) = due.pop() {
        let at = root.join(std::ffi::OsStr::from_bytes(&path));
        let metadata = std::fs::symlink_metadata(&at).expect("metadata");
        let mut seen = Seen {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: metadata.mtime(),
            xattrs: Some(xattrs(&at)),
            links: Some(metadata.nlink()),
            ..Seen::default()
        };
        match metadata.mode() & 0o170_000 {
            0o040_000 => {
                for entry in std::fs::read_dir(&at).expect("a directory") {
                    due.push(join(&path, entry.expect("an entry").file_name().as_bytes()));
                }
            }
            0o100_000 => {
                seen.size = Some(metadata.len());
                let mut file = File::open(&at).expect("a file");
                let mut buffer = vec![0; 1 << 20];
                let mut sum = 0;
                loop {
                    let count = file.read(&mut buffer).expect("content");
                    if count == 0 {
                        break;
                    }
                    sum = crc32c::crc32c_append(sum, &buffer[..count]);
                }
                seen.content = Some(sum);
            }
            0o120_000 => {
                seen.target = Some(std::fs::read_link(&at).expect("a target").into_os_string().into_vec());
            }
            0o020_000 | 0o060_000 => {
                seen.rdev = Some((rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev())));
            }
            _ => {}
        }
        inodes.insert(path.clone(), metadata.ino());
        view.insert(path, seen);
    }
    fill_first_names(&mut view, &inodes);
    drop_added(&mut view, tree);
    view
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut buffer = vec![0; 1 << 16];
    let count = llistxattr(path, &mut buffer[..]).expect("attributes");
    let names: Vec<Vec<u8>> = buffer[..count]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    names
        .into_iter()
        .map(|name| {
            let count = lgetxattr(path, &name[..], &mut buffer[..]).expect("an attribute");
            (name, buffer[..count].to_vec())
        })
        .collect()
}
