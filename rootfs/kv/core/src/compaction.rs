//! Removing what a compaction has made unreadable, a few changes at a time, so that
//! commands are applied in between.
//!
//! A member does this when it likes: what was compacted is not read by anything,
//! and neither replies nor hashes depend on how far it has come. What a
//! compaction at C removes is found from the changes since the one before it: each
//! of them has superseded the key's earlier versions, and a deletion below C itself
//! is not needed either. So the cost is that of the changes, not of the keys.
//! All of revision C itself stays, for watches that begin there.

use redb::ReadableTable;

use crate::error::{At, Error};
use crate::meta::{Meta, Sweep};
use crate::state::State;
use crate::tables::{CHANGE_DELETE, Tables};
use crate::write::{CHANGE_BYTES, VERSION_BYTES};

const DOING: &str = "removing what is compacted";

/// How far a compaction's removal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Versions and deletions that this step has removed.
    pub removed: u64,
    /// Whether nothing is left to remove.
    pub done: bool,
}

impl State {
    /// Looks at no more than `budget` changes (and at least one) and removes what they
    /// supersede. To be called until it is done; it goes on where it was after a restart.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn compact_step(&mut self, budget: usize) -> Result<Swept, Error> {
        if self.meta.sweep.is_none() && self.meta.swept >= self.meta.compacted {
            return Ok(Swept { removed: 0, done: true });
        }
        self.batch(|batch| {
            let removed = step(&mut batch.tables, &mut batch.meta, budget.max(1))?;
            let done = batch.meta.sweep.is_none() && batch.meta.swept >= batch.meta.compacted;
            Ok(Swept { removed, done })
        })
    }
}

fn step(tables: &mut Tables<'_>, meta: &mut Meta, budget: usize) -> Result<u64, Error> {
    let begin = Sweep { target: meta.compacted.max(0) as u64, next: (meta.swept.max(0) as u64, 0) };
    let sweep = meta.sweep.unwrap_or(begin);
    let mut changes = Vec::new();
    let mut next = None;
    for entry in tables.changes.range(sweep.next..=(sweep.target, u64::MAX)).at(DOING)? {
        let (at, change) = entry.at(DOING)?;
        if changes.len() == budget {
            next = Some(at.value());
            break;
        }
        changes.push((at.value(), change.value().to_vec()));
    }
    let mut removed = 0;
    for (at, change) in changes {
        let Some((kind, key)) = change.split_first() else { continue };
        let until = at.min((sweep.target, 0));
        let mut old = Vec::new();
        let earlier = (key, 0, 0)..(key, until.0, until.1);
        for version in tables.past.extract_from_if(earlier, |_, _| true).at(DOING)? {
            let (version, record) = version.at(DOING)?;
            let (_, main, sub) = version.value();
            old.push((main, sub, record.value().len() as u64));
        }
        if *kind == CHANGE_DELETE
            && at.0 < sweep.target
            && tables.past.remove((key, at.0, at.1)).at(DOING)?.is_some()
        {
            old.push((at.0, at.1, 0));
        }
        for (main, sub, record_bytes) in old {
            meta.stored_bytes -= key.len() as u64 + record_bytes + VERSION_BYTES;
            if tables.changes.remove((main, sub)).at(DOING)?.is_some() {
                meta.stored_bytes -= key.len() as u64 + CHANGE_BYTES;
            }
            removed += 1;
        }
    }
    meta.sweep = next.map(|next| Sweep { target: sweep.target, next });
    if meta.sweep.is_none() {
        meta.swept = sweep.target as i64;
    }
    Ok(removed)
}
