//! Commands into changes: one write transaction for as many as came together.

use redb::ReadableTable;

use crate::check;
use crate::command::{Alarm, AlarmAction, Command};
use crate::error::{Answer, At, Error, Refusal};
use crate::meta::{Meta, Position};
use crate::reply::{Event, Outcome, Reply};
use crate::tables::Tables;

/// The commands of one write transaction. [`crate::State::batch`] commits it.
pub struct Batch<'t> {
    pub(crate) tables: Tables<'t>,
    pub(crate) meta: Meta,
    pub(crate) events: Vec<Event>,
    /// For a record that is being put together.
    pub(crate) buffer: Vec<u8>,
}

impl Batch<'_> {
    /// Applies the command at a place of the log. Indexes may leave gaps (entries that are
    /// not for the store), but never go back.
    ///
    /// # Errors
    /// [`Error::Replayed`], and what the database fails with; then the whole batch must be
    /// given up. A command that is refused is no error: the reply says so.
    pub fn apply(&mut self, at: Position, command: &Command) -> Result<Reply, Error> {
        if let Some(applied) = self.meta.applied
            && at.index <= applied.index
        {
            return Err(Error::Replayed { index: at.index, applied: applied.index });
        }
        let result = self.outcome(command)?;
        self.meta.applied = Some(at);
        Ok(Reply { revision: self.meta.revision, result })
    }

    /// What the commands up to here have changed, in order, for those who watch. It is told
    /// once the batch is committed.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The revision after the commands up to here.
    pub fn revision(&self) -> i64 {
        self.meta.revision
    }

    /// An entry that [`Command::Side`] has set.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn side(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, Error> {
        let entry = self.tables.side.get(key).at("reading an entry of the server's")?;
        Ok(entry.map(|value| bytes::Bytes::copy_from_slice(value.value())))
    }

    /// Sets or removes an entry as [`Command::Side`] does, but at no place of the log: for what each member
    /// writes down for itself.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn set_side(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let doing = "writing an entry of the server's";
        match value {
            Some(value) => self.tables.side.insert(key, value).at(doing)?,
            None => self.tables.side.remove(key).at(doing)?,
        };
        Ok(())
    }

    fn outcome(&mut self, command: &Command) -> Answer<Outcome> {
        match command {
            Command::Nothing => Ok(Ok(Outcome::Done)),
            Command::Put(put) => {
                if let Err(refusal) = check::check_put(put) {
                    return Ok(Err(refusal));
                }
                if let Err(refusal) = self.check_put_here(put)? {
                    return Ok(Err(refusal));
                }
                let mut work = self.work();
                let reply = self.put(&mut work, put)?;
                self.finish(&work);
                Ok(Ok(Outcome::Put(reply)))
            }
            Command::DeleteRange(delete) => {
                if let Err(refusal) = check::check_delete(delete) {
                    return Ok(Err(refusal));
                }
                let mut work = self.work();
                let reply = self.delete_range(&mut work, delete)?;
                self.finish(&work);
                Ok(Ok(Outcome::DeleteRange(reply)))
            }
            Command::Txn(txn) => {
                if let Err(refusal) = check::check_txn(txn, usize::MAX) {
                    return Ok(Err(refusal));
                }
                Ok(self.txn(txn)?.map(Outcome::Txn))
            }
            Command::Compact { revision } => Ok(self.compact(*revision).map(|()| Outcome::Done)),
            Command::LeaseGrant { id, ttl_s } => self.grant(*id, *ttl_s),
            Command::LeaseRevoke { id } => self.revoke(*id),
            Command::LeaseCheckpoint(leases) => {
                self.checkpoint(leases)?;
                Ok(Ok(Outcome::Done))
            }
            Command::Alarm { action, alarm } => Ok(Ok(Outcome::Alarms(self.alarm(*action, *alarm)?))),
            Command::Side(entries) => {
                let doing = "writing an entry of the server's";
                for (key, value) in entries {
                    match value {
                        Some(value) => self.tables.side.insert(key.as_ref(), value.as_ref()).at(doing)?,
                        None => self.tables.side.remove(key.as_ref()).at(doing)?,
                    };
                }
                Ok(Ok(Outcome::Done))
            }
        }
    }

    /// From here on nothing below `revision` can be read; what that frees is removed by
    /// [`crate::State::compact_step`].
    fn compact(&mut self, revision: i64) -> Result<(), Refusal> {
        if revision <= self.meta.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.meta.revision {
            return Err(Refusal::FutureRevision);
        }
        self.meta.compacted = revision;
        Ok(())
    }

    /// etcd v3 API: `Alarm`. Raising one of kind 0 and lowering one that is not raised do nothing.
    fn alarm(&mut self, action: AlarmAction, alarm: Alarm) -> Result<Vec<Alarm>, Error> {
        let doing = "changing an alarm";
        let key = (alarm.member, alarm.kind);
        match action {
            AlarmAction::Get => list(&self.tables.alarms, alarm.kind),
            AlarmAction::Activate if alarm.kind == 0 => Ok(Vec::new()),
            AlarmAction::Activate => {
                self.tables.alarms.insert(key, ()).at(doing)?;
                Ok(vec![alarm])
            }
            AlarmAction::Deactivate => {
                let was = self.tables.alarms.remove(key).at(doing)?.is_some();
                Ok(if was { vec![alarm] } else { Vec::new() })
            }
        }
    }
}

/// The alarms of a kind, 0 standing for all.
pub(crate) fn list(table: &impl ReadableTable<(u64, u32), ()>, wanted: u32) -> Result<Vec<Alarm>, Error> {
    let doing = "reading the alarms";
    let mut alarms = Vec::new();
    for entry in table.iter().at(doing)? {
        let (member, kind) = entry.at(doing)?.0.value();
        if wanted == 0 || wanted == kind {
            alarms.push(Alarm { member, kind });
        }
    }
    Ok(alarms)
}
