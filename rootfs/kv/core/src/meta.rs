//! The numbers beside the tables: where in the log, which revision, what is
//! compacted and how far the compaction has come.

use redb::ReadableTable;

use crate::error::{At, Error};
use crate::tables::Bytes;

/// The format of the database: a change to a table's layout is a new number.
pub(crate) const FORMAT: u32 = 1;

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The term in which the entry was made.
    pub term: u64,
    /// The leader that made it.
    pub leader: u64,
    /// The entry's index.
    pub index: u64,
}

/// A removal that has been begun: what lies at or below `target` and is superseded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    pub target: u64,
    /// The first change that has not been looked at.
    pub next: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub applied: Option<Position>,
    pub revision: i64,
    /// -1 until the first compaction, as in etcd.
    pub compacted: i64,
    /// The compaction up to which all is removed.
    pub swept: i64,
    pub sweep: Option<Sweep>,
    /// Bytes of keys and records in `now`, `past` and `changes`.
    pub stored_bytes: u64,
}

impl Default for Meta {
    fn default() -> Self {
        Self { applied: None, revision: 1, compacted: -1, swept: -1, sweep: None, stored_bytes: 0 }
    }
}

impl Meta {
    /// Reads the numbers; `None` where the table has no stamp of ours.
    pub fn load(table: &impl ReadableTable<&'static str, Bytes>) -> Result<Option<Self>, Error> {
        let doing = "reading its numbers";
        let Some(format) = table.get("format").at(doing)? else { return Ok(None) };
        let [format] = numbers::<1>("format", format.value())?;
        if format != u64::from(FORMAT) {
            return Err(Error::Format { found: format as u32, known: FORMAT });
        }
        let Some(state) = table.get("state").at(doing)? else { return Err(damaged("state")) };
        let [
            applied,
            term,
            leader,
            index,
            revision,
            compacted,
            swept,
            sweeping,
            target,
            main,
            sub,
            stored_bytes,
        ] = numbers::<12>("state", state.value())?;
        Ok(Some(Self {
            applied: (applied == 1).then_some(Position { term, leader, index }),
            revision: revision as i64,
            compacted: compacted as i64,
            swept: swept as i64,
            sweep: (sweeping == 1).then_some(Sweep { target, next: (main, sub) }),
            stored_bytes,
        }))
    }

    /// The value of the key `state`.
    pub fn encode(&self) -> Vec<u8> {
        let at = self.applied.unwrap_or_default();
        let sweep = self.sweep.unwrap_or(Sweep { target: 0, next: (0, 0) });
        let numbers = [
            u64::from(self.applied.is_some()),
            at.term,
            at.leader,
            at.index,
            self.revision as u64,
            self.compacted as u64,
            self.swept as u64,
            u64::from(self.sweep.is_some()),
            sweep.target,
            sweep.next.0,
            sweep.next.1,
            self.stored_bytes,
        ];
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    pub fn save(&self, table: &mut redb::Table<'_, &'static str, Bytes>) -> Result<(), Error> {
        table.insert("state", self.encode().as_slice()).at("writing its numbers")?;
        Ok(())
    }

    pub fn stamp(table: &mut redb::Table<'_, &'static str, Bytes>) -> Result<(), Error> {
        table.insert("format", u64::from(FORMAT).to_le_bytes().as_slice()).at("stamping its format")?;
        Ok(())
    }
}

fn numbers<const N: usize>(key: &str, bytes: &[u8]) -> Result<[u64; N], Error> {
    if bytes.len() != N * 8 {
        return Err(damaged(key));
    }
    let mut all = [0; N];
    for (number, bytes) in all.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    Ok(all)
}

fn damaged(key: &str) -> Error {
    Error::Damaged { table: "meta", key: key.to_owned() }
}
