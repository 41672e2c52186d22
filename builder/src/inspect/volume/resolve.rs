//! From a path to an entry. Symbolic links are followed within the file system: none leads out.

use super::super::error::{EntryProblem, InspectError};
use super::{Kind, Node, Volume};

/// As many as the kernel follows (`path_resolution(7)`).
const MAX_SYMLINKS: u32 = 40;

impl Volume {
    /// The entry at a path; the last name's link is followed only when `follow` says so.
    pub(in super::super) fn resolve(&self, path: &[u8], follow: bool) -> Result<Node, InspectError> {
        // From the root down to the entry, and the names that still have to be gone through,
        // the next one last.
        let mut way = vec![self.root()?];
        let mut names = names(path);
        let mut symlinks = 0;
        while let Some(name) = names.pop() {
            if name == b".." {
                way.truncate((way.len() - 1).max(1));
                continue;
            }
            let Some(directory) = way.last() else { break };
            let node = self.find(directory, &name)?;
            match &node.kind {
                Kind::Symlink(target) if follow || !names.is_empty() => {
                    symlinks += 1;
                    if symlinks > MAX_SYMLINKS {
                        return Err(self.problem(path, EntryProblem::TooManySymlinks));
                    }
                    if target.starts_with(b"/") {
                        way.truncate(1);
                    }
                    names.extend(self::names(target));
                }
                _ => way.push(node),
            }
        }
        way.pop().ok_or_else(|| self.problem(path, EntryProblem::NotFound))
    }
}

/// The names in a path, the first one last.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(<[u8]>::to_vec).collect()
}
