//! A whole tree in the order of its names, bounded whatever the image says.

use super::super::error::{EntryProblem, InspectError};
use super::{Kind, Node, Volume};
use std::collections::{BTreeSet, VecDeque};

/// Longest path (`PATH_MAX` without its NUL byte).
const MAX_PATH: usize = 4095;
/// Most bytes of paths that one walk gives: a million entries of usual names.
const MAX_PATHS: usize = 128 << 20;
/// What a node takes beside its path.
const NODE_COST: usize = 64;

/// An iterator over a tree, directories before what is in them.
pub(in super::super) struct Walk<'v> {
    volume: &'v Volume,
    /// Entries still to visit of each open directory.
    waiting: Vec<VecDeque<Node>>,
    /// Directories seen; in a tree each has one name.
    seen: BTreeSet<u32>,
    budget: usize,
}

impl<'v> Walk<'v> {
    /// Starts at `root`, which is the first that is given.
    pub(in super::super) fn new(volume: &'v Volume, root: Node) -> Self {
        Self { volume, waiting: vec![VecDeque::from([root])], seen: BTreeSet::new(), budget: MAX_PATHS }
    }

    fn enter(&mut self, directory: &Node) -> Result<(), InspectError> {
        let id = directory.unix.as_ref().map_or(directory.cluster, |unix| unix.inode);
        if !self.seen.insert(id) {
            return Err(self.volume.problem(&directory.path, EntryProblem::Loop(id)));
        }
        let entries = self.volume.list(directory)?;
        for entry in &entries {
            let length = entry.path.len();
            if length > MAX_PATH {
                return Err(self.volume.problem(&directory.path, EntryProblem::PathTooLong(length)));
            }
            let cost = length + NODE_COST;
            self.budget = self
                .budget
                .checked_sub(cost)
                .ok_or_else(|| self.volume.problem(&directory.path, EntryProblem::TreeTooLarge(MAX_PATHS)))?;
        }
        self.waiting.push(entries.into());
        Ok(())
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Node, InspectError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.waiting.last_mut()?.pop_front() {
                None => {
                    self.waiting.pop();
                }
                Some(node) => {
                    if node.kind == Kind::Directory
                        && let Err(error) = self.enter(&node)
                    {
                        // Nothing more comes after an error.
                        self.waiting.clear();
                        return Some(Err(error));
                    }
                    return Some(Ok(node));
                }
            }
        }
    }
}
