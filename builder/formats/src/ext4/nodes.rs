//! From paths to inodes and directory entries, with every name checked.

use super::error::{BadName, Error, PathBytes};
use super::{FIRST_INODE, ROOT_INODE};
use crate::tree::{Entry, Kind, Tree};

/// Directory names have one byte of length.
const MAX_NAME: usize = 255;
/// `PATH_MAX` less the NUL: what the kernel follows.
const MAX_SYMLINK: usize = 4095;
/// `EXT4_LINK_MAX`.
pub(super) const MAX_LINKS: u32 = 65_000;
/// Where e2fsck puts what it finds without a name.
const LOST_FOUND: &[u8] = b"lost+found";

/// One inode of the tree, in the order of paths. The first is the root directory.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub path: &'a [u8],
    /// `None` for a root or a `lost+found` that the tree does not have.
    pub entry: Option<&'a Entry>,
    /// The node of its directory; the root's is itself.
    pub parent: u32,
    pub links: u32,
    /// Of a directory: its names, as a range of [`Nodes::names`].
    pub names: (u32, u32),
    /// Of a sparse file: its runs of data, as a range of the layout's runs.
    pub runs: (u32, u32),
    /// Blocks of data, holes not counted.
    pub blocks: u32,
    /// Blocks of extent tree outside the inode.
    pub tree_blocks: u32,
    /// Whether a block holds extended attributes.
    pub xattr_block: bool,
    /// The index in free space of its first block: attributes, then data, then extent tree.
    pub start: u64,
}

impl<'a> Node<'a> {
    fn new(path: &'a [u8], entry: Option<&'a Entry>, parent: u32) -> Self {
        Self {
            path,
            entry,
            parent,
            links: 1,
            names: (0, 0),
            runs: (0, 0),
            blocks: 0,
            tree_blocks: 0,
            xattr_block: false,
            start: 0,
        }
    }

    pub(super) fn kind(&self) -> &'a Kind {
        self.entry.map_or(&Kind::Directory, |entry| &entry.kind)
    }

    pub(super) fn is_directory(&self) -> bool {
        *self.kind() == Kind::Directory
    }

    /// The index in free space of its first block of data.
    pub(super) fn data_start(&self) -> u64 {
        self.start + u64::from(self.xattr_block)
    }

    /// All blocks that belong to it.
    pub(super) fn all_blocks(&self) -> u64 {
        u64::from(self.xattr_block) + u64::from(self.blocks) + u64::from(self.tree_blocks)
    }
}

/// One name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    pub parent: u32,
    pub node: u32,
    pub bytes: &'a [u8],
}

/// The inodes of a tree and the names of its directories.
#[derive(Debug)]
pub(super) struct Nodes<'a> {
    pub nodes: Vec<Node<'a>>,
    /// All names, those of one directory together, in the order of bytes.
    pub names: Vec<Name<'a>>,
}

/// The inode number of a node.
pub(super) fn inode_number(node: u32) -> u32 {
    if node == 0 { ROOT_INODE } else { FIRST_INODE - 1 + node }
}

/// The node of an inode number, if that is no reserved one.
pub(super) fn node_index(inode: u32) -> Option<u32> {
    match inode {
        ROOT_INODE => Some(0),
        FIRST_INODE.. => Some(inode - (FIRST_INODE - 1)),
        _ => None,
    }
}

impl<'a> Nodes<'a> {
    /// Turns the tree's paths into nodes and names; adds a root and a `lost+found` where there is none.
    pub(super) fn new(tree: &'a Tree) -> Result<Self, Error> {
        let count = tree.entries.len();
        if u32::try_from(count).is_err() {
            return Err(Error::TooManyInodes { inodes: count as u64 });
        }
        let mut this = Self { nodes: Vec::with_capacity(count + 2), names: Vec::with_capacity(count + 1) };
        let mut links = Vec::new();

        let root = tree.entries.get(&b""[..]);
        if let Some(root) = root {
            check_entry(b"", root)?;
        }
        this.nodes.push(Node::new(b"", root, 0));
        let mut lost_found_due = !tree.entries.contains_key(LOST_FOUND);
        for (path, entry) in &tree.entries {
            if lost_found_due && path.as_slice() > LOST_FOUND {
                this.push(LOST_FOUND, None)?;
                lost_found_due = false;
            }
            if path.is_empty() {
                continue;
            }
            check_name(path)?;
            if let Kind::HardLink(target) = &entry.kind {
                if path == LOST_FOUND {
                    return Err(Error::MustBeDirectory { path: path.as_slice().into() });
                }
                links.push((path.as_slice(), target.as_slice()));
            } else {
                check_entry(path, entry)?;
                this.push(path, Some(entry))?;
            }
        }
        if lost_found_due {
            this.push(LOST_FOUND, None)?;
        }
        for (path, target) in links {
            this.link(tree, path, target)?;
        }
        this.sort_names();
        Ok(this)
    }

    fn push(&mut self, path: &'a [u8], entry: Option<&'a Entry>) -> Result<(), Error> {
        let (parent, name) = self.parent(path)?;
        let node = self.nodes.len() as u32;
        let pushed = Node::new(path, entry, parent);
        if pushed.is_directory() {
            self.nodes[parent as usize].links += 1;
        }
        self.nodes.push(pushed);
        self.names.push(Name { parent, node, bytes: name });
        Ok(())
    }

    fn link(&mut self, tree: &Tree, path: &'a [u8], target: &[u8]) -> Result<(), Error> {
        let (parent, name) = self.parent(path)?;
        let (path, target_path) = (PathBytes::from(path), PathBytes::from(target));
        let Some(node) = self.find(target) else {
            return Err(match tree.entries.get(target) {
                Some(_) => Error::LinkTargetIsLink { path, target: target_path },
                None => Error::LinkTargetMissing { path, target: target_path },
            });
        };
        let linked = &mut self.nodes[node as usize];
        if linked.is_directory() {
            return Err(Error::LinkTargetIsDirectory { path, target: target_path });
        }
        linked.links += 1;
        if linked.links > MAX_LINKS {
            let links = 1 + tree
                .entries
                .values()
                .filter(|entry| matches!(&entry.kind, Kind::HardLink(to) if to == target))
                .count();
            return Err(Error::TooManyLinks { path: target_path, links: links as u32 });
        }
        self.names.push(Name { parent, node, bytes: name });
        Ok(())
    }

    fn find(&self, path: &[u8]) -> Option<u32> {
        self.nodes.binary_search_by(|node| node.path.cmp(path)).ok().map(|node| node as u32)
    }

    /// The node of a path's directory, and the path's last name.
    fn parent(&self, path: &'a [u8]) -> Result<(u32, &'a [u8]), Error> {
        let slash = path.iter().rposition(|&byte| byte == b'/');
        let Some(slash) = slash else { return Ok((0, path)) };
        match self.find(&path[..slash]) {
            Some(parent) if self.nodes[parent as usize].is_directory() => Ok((parent, &path[slash + 1..])),
            Some(_) => Err(Error::ParentNotDirectory { path: path.into() }),
            None => Err(Error::MissingParent { path: path.into() }),
        }
    }

    fn sort_names(&mut self) {
        self.names.sort_unstable_by(|a, b| (a.parent, a.bytes).cmp(&(b.parent, b.bytes)));
        let mut end = 0;
        for group in self.names.chunk_by(|a, b| a.parent == b.parent) {
            let start = end;
            end += group.len() as u32;
            self.nodes[group[0].parent as usize].names = (start, end);
        }
        // A directory counts its own `.`, its name in its parent, and the `..` of each below;
        // beyond the limit it says 1, "many" (`dir_nlink`).
        for node in self.nodes.iter_mut().filter(|node| node.is_directory()) {
            node.links += 1;
            if node.links > MAX_LINKS {
                node.links = 1;
            }
        }
    }
}

fn check_name(path: &[u8]) -> Result<(), Error> {
    let why = path.split(|&byte| byte == b'/').find_map(|name| match name {
        b"" => Some(BadName::Empty),
        b"." | b".." => Some(BadName::Dot),
        name if name.len() > MAX_NAME => Some(BadName::TooLong(name.len())),
        name if name.contains(&0) => Some(BadName::Nul),
        _ => None,
    });
    why.map_or(Ok(()), |why| Err(Error::BadName { path: path.into(), why }))
}

fn check_entry(path: &[u8], entry: &Entry) -> Result<(), Error> {
    let shown = || PathBytes::from(path);
    if entry.mode > 0o7777 {
        return Err(Error::BadMode { path: shown(), mode: entry.mode });
    }
    check_time(path, entry.mtime)?;
    match &entry.kind {
        Kind::Directory => {}
        _ if path.is_empty() || path == LOST_FOUND => return Err(Error::MustBeDirectory { path: shown() }),
        Kind::Symlink(target) if target.len() > MAX_SYMLINK => {
            return Err(Error::SymlinkTooLong { path: shown(), length: target.len() });
        }
        Kind::Symlink(target) if target.is_empty() || target.contains(&0) => {
            return Err(Error::BadSymlink { path: shown() });
        }
        &Kind::CharDevice { major, minor } | &Kind::BlockDevice { major, minor }
            if major > 0xfff || minor > 0xf_ffff =>
        {
            return Err(Error::DeviceNumber { path: shown(), major, minor });
        }
        _ => {}
    }
    Ok(())
}

/// Times are 34 bits, from -2^31 on (inode timestamps, Documentation/filesystems/ext4). Those
/// from 2310-04-04 on e2fsck takes for times before 1970 that an old kernel wrote wrongly.
pub(super) fn check_time(path: &[u8], seconds: i64) -> Result<(), Error> {
    if (-(1 << 31)..(1 << 33) + (1 << 31)).contains(&seconds) {
        Ok(())
    } else {
        Err(Error::TimeOutOfRange { path: path.into(), seconds })
    }
}
