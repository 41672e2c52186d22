//! Checking a whole volume: every cluster has at most one owner, none is lost, and the
//! copies of the table are equal.

use super::{DirEntry, Fat, FatError, MAX_DEPTH, MAX_DIRECTORY_BYTES, MAX_WALK, TablePage, read};

/// One bit for each cluster.
pub(super) struct Used(Vec<u64>);

impl Used {
    /// Marks a cluster; false when it was marked before.
    fn mark(&mut self, cluster: u32) -> bool {
        let (word, bit) = (&mut self.0[cluster as usize / 64], 1 << (cluster % 64));
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn has(&self, cluster: u32) -> bool {
        self.0[cluster as usize / 64] & (1 << (cluster % 64)) != 0
    }
}

impl Fat<'_> {
    /// Walks all folders and reads the whole allocation table.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), FatError> {
        let (_, used) = self.walk_marking()?;
        self.compare_copies()?;
        let mut table = TablePage::new(self);
        let mut lost = (0, 0);
        for cluster in 2..self.boot.cluster_count + 2 {
            // 0x0ffffff7 marks a cluster that a formatter found to be bad.
            if !matches!(table.entry(cluster)?, 0 | 0x0fff_fff7) && !used.has(cluster) {
                lost = (lost.0 + 1, if lost.0 == 0 { cluster } else { lost.1 });
            }
        }
        match lost {
            (0, _) => Ok(()),
            (count, first) => Err(FatError::Lost { count, first }),
        }
    }

    /// All entries, and the clusters that belong to one.
    pub(super) fn walk_marking(&self) -> Result<(Vec<(String, DirEntry)>, Used), FatError> {
        let mut used = Used(vec![0; (self.boot.cluster_count as usize + 2).div_ceil(64)]);
        self.mark("/", self.boot.root_cluster, MAX_DIRECTORY_BYTES, &mut used)?;
        let mut found = Vec::new();
        // Entries still to visit, the next one last.
        let mut waiting = Vec::new();
        let queue = |waiting: &mut Vec<_>, prefix: &str, depth: usize, entries: Vec<DirEntry>| {
            waiting.extend(
                entries.into_iter().rev().map(|entry| (format!("{prefix}{}", entry.name), depth, entry)),
            );
        };
        queue(&mut waiting, "", 1, self.root()?);
        while let Some((path, depth, entry)) = waiting.pop() {
            let limit = if entry.is_directory { MAX_DIRECTORY_BYTES } else { entry.size.into() };
            self.mark(&path, entry.first_cluster, limit, &mut used)?;
            if entry.is_directory {
                if depth == MAX_DEPTH {
                    return Err(FatError::TooDeep { path });
                }
                queue(&mut waiting, &format!("{path}/"), depth + 1, self.list(&entry)?);
            } else {
                self.open_file(&entry)?;
            }
            found.push((path, entry));
            if found.len() + waiting.len() > MAX_WALK {
                return Err(FatError::TooMany);
            }
        }
        Ok((found, used))
    }

    fn mark(&self, path: &str, first: u32, bytes: u64, used: &mut Used) -> Result<(), FatError> {
        self.each_cluster(first, bytes.div_ceil(self.boot.cluster_size), |cluster| {
            if used.mark(cluster) {
                Ok(())
            } else {
                Err(FatError::CrossLinked { cluster, path: path.to_owned() })
            }
        })
    }

    fn compare_copies(&self) -> Result<(), FatError> {
        const CHUNK: usize = 64 << 10;
        let size = self.boot.table_size;
        let (mut first, mut second) = (vec![0; CHUNK], vec![0; CHUNK]);
        for start in (0..size).step_by(CHUNK) {
            if self.boot.table_count < 2 {
                break;
            }
            let length = (size - start).min(CHUNK as u64) as usize;
            let (first, second) = (&mut first[..length], &mut second[..length]);
            read(self.reader, first, self.boot.table_offset + start)?;
            read(self.reader, second, self.boot.table_offset + size + start)?;
            if let Some(at) = first.iter().zip(second.iter()).position(|(one, other)| one != other) {
                return Err(FatError::CopiesDiffer { offset: start + at as u64 });
            }
        }
        Ok(())
    }
}
