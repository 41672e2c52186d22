//! What the plan says of each inode, as bytes.

use super::error::Error;
use super::extents::Tree;
use super::inode::{self, EXTENTS_FLAG, INDEX_FLAG, Inode, mode};
use super::layout::{FAST_SYMLINK, Layout};
use super::nodes::{Node, node_index};
use super::xattr::Attributes;
use super::{BLOCK_SIZE, JOURNAL_INODE, RESIZE_INODE, resize};
use crate::tree::Kind;

impl Layout<'_> {
    /// `i_block` and size of the journal's inode, which the superblock repeats.
    pub(super) fn journal(&self) -> Option<([u8; 60], u64)> {
        let size = u64::from(self.journal_blocks) * BLOCK_SIZE;
        (self.journal_blocks > 0).then(|| (self.journal_tree().root, size))
    }

    pub(super) fn journal_tree(&self) -> Tree {
        let index = self.journal_start() + u64::from(self.journal_blocks);
        Tree::new(&self.journal_extents(), &self.space, index, self.inode_seed(JOURNAL_INODE))
    }

    pub(super) fn tree(&self, node: &Node<'_>, number: u32) -> Tree {
        let index = node.data_start() + u64::from(node.blocks);
        Tree::new(&self.extents(node), &self.space, index, self.inode_seed(number))
    }

    /// The bytes of an inode; zeros where there is none.
    pub(super) fn inode(&self, number: u32) -> [u8; inode::SIZE] {
        let node = node_index(number).and_then(|index| self.nodes.get(index as usize));
        let mut bytes = match (number, node) {
            (_, Some(node)) => self.node_inode(node, number),
            (RESIZE_INODE, _) if self.resizable() => {
                let indirect = self.space.locate(0).0;
                resize::inode(&self.usage.shape, indirect, self.created).encode()
            }
            (JOURNAL_INODE, _) if self.journal_blocks > 0 => self.journal_inode().encode(),
            _ => return [0; inode::SIZE],
        };
        inode::finish(&mut bytes, number, self.seed());
        bytes
    }

    fn journal_inode(&self) -> Inode {
        let tree = self.journal_tree();
        Inode {
            mode: mode::FILE | 0o600,
            uid: 0,
            gid: 0,
            size: u64::from(self.journal_blocks) * BLOCK_SIZE,
            time: self.created,
            created: self.created,
            links: 1,
            blocks: u64::from(self.journal_blocks) + tree.blocks.len() as u64,
            flags: EXTENTS_FLAG,
            block: tree.root,
            xattr_block: 0,
        }
    }

    fn node_inode(&self, node: &Node<'_>, number: u32) -> [u8; inode::SIZE] {
        let tree = || if node.blocks == 0 { inode::no_extents() } else { self.tree(node, number).root };
        let (file_type, size, flags, block) = match node.kind() {
            Kind::Directory => {
                let index = if node.blocks > 1 { INDEX_FLAG } else { 0 };
                (mode::DIRECTORY, u64::from(node.blocks) * BLOCK_SIZE, EXTENTS_FLAG | index, tree())
            }
            Kind::File(content) => (mode::FILE, content.len(), EXTENTS_FLAG, tree()),
            Kind::Symlink(target) if target.len() < FAST_SYMLINK => {
                let mut block = [0; 60];
                block[..target.len()].copy_from_slice(target);
                (mode::SYMLINK, target.len() as u64, 0, block)
            }
            Kind::Symlink(target) => (mode::SYMLINK, target.len() as u64, EXTENTS_FLAG, tree()),
            &Kind::CharDevice { major, minor } => (mode::CHAR_DEVICE, 0, 0, inode::device(major, minor)),
            &Kind::BlockDevice { major, minor } => (mode::BLOCK_DEVICE, 0, 0, inode::device(major, minor)),
            Kind::Fifo => (mode::FIFO, 0, 0, [0; 60]),
            // A hard link is a name of another node, never a node.
            Kind::Socket | Kind::HardLink(_) => (mode::SOCKET, 0, 0, [0; 60]),
        };
        let absent_mode = if node.path.is_empty() { 0o755 } else { 0o700 };
        let mut bytes = Inode {
            mode: file_type | node.entry.map_or(absent_mode, |entry| entry.mode),
            uid: node.entry.map_or(0, |entry| entry.uid),
            gid: node.entry.map_or(0, |entry| entry.gid),
            size,
            time: node.entry.map_or(self.created, |entry| entry.mtime),
            created: self.created,
            links: node.links,
            blocks: node.all_blocks(),
            flags,
            block,
            xattr_block: if node.xattr_block { self.space.locate(node.start).0 } else { 0 },
        }
        .encode();
        // The plan has found that they are well and where they fit.
        if let Ok(Some(attributes)) = attributes(node) {
            attributes.put_in_inode(&mut bytes);
        }
        bytes
    }
}

/// The extended attributes of a node, if it has any.
pub(super) fn attributes(node: &Node<'_>) -> Result<Option<Attributes>, Error> {
    let entry = node.entry.filter(|entry| !entry.xattrs.is_empty());
    entry.map(|entry| Attributes::new(node.path, &entry.xattrs)).transpose()
}
