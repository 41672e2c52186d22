//! What has happened since a revision, for watches that begin in the past.

use bytes::Bytes;

use crate::error::{Answer, At, Error, Refusal};
use crate::record::key_value;
use crate::reply::{Event, EventKind, KeyValue};
use crate::tables::CHANGE_PUT;
use crate::view::View;

const DOING: &str = "reading changes";

/// Events of whole revisions, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The events.
    pub events: Vec<Event>,
    /// The revision to go on with; above the view's revision when nothing is left in it.
    pub next: i64,
}

impl View {
    /// As [`View::changes_within`], however large the events are.
    ///
    /// # Errors
    /// As [`View::changes_within`].
    pub fn changes_since(
        &self,
        revision: i64,
        limit: usize,
        with_prev_kv: bool,
        wanted: impl FnMut(&[u8]) -> bool,
    ) -> Answer<Changes> {
        self.changes_within(revision, limit, usize::MAX, with_prev_kv, wanted)
    }

    /// The events from `revision` on. Once there are `limit` of them (at least one), or they have
    /// `limit_bytes` of keys and values, the reply ends with the revision that it is in. `wanted` says which keys matter; `prev_kv` is filled in
    /// only if asked for, as it costs a look-up each.
    ///
    /// # Errors
    /// What the database fails with; inside, [`Refusal::Compacted`] for a revision below the
    /// compacted one (the compacted one itself can be watched from, as in etcd).
    pub fn changes_within(
        &self,
        revision: i64,
        limit: usize,
        limit_bytes: usize,
        with_prev_kv: bool,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Answer<Changes> {
        if revision < self.compacted() {
            return Ok(Err(Refusal::Compacted));
        }
        let mut changes = Changes { events: Vec::new(), next: self.revision().max(revision - 1) + 1 };
        let mut bytes = 0;
        let from = (revision.max(0) as u64, 0);
        for entry in self.tables().changes.range(from..).at(DOING)? {
            let (at, change) = entry.at(DOING)?;
            let (main, sub) = at.value();
            let last = changes.events.last().map(|event| event.kv.mod_revision);
            if (changes.events.len() >= limit || bytes >= limit_bytes)
                && last.is_some_and(|last| last < main as i64)
            {
                changes.next = main as i64;
                break;
            }
            let Some((kind, key)) = change.value().split_first() else {
                return Err(Error::Damaged { table: "changes", key: format!("{main}/{sub}") });
            };
            if wanted(key) {
                let event = self.event(main, sub, *kind, key, with_prev_kv)?;
                bytes += event.kv.key.len() + event.kv.value.len();
                bytes += event.prev_kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
                changes.events.push(event);
            }
        }
        Ok(Ok(changes))
    }

    fn event(&self, main: u64, sub: u64, kind: u8, key: &[u8], with_prev_kv: bool) -> Result<Event, Error> {
        let main_revision = main as i64;
        let (kind, kv) = if kind == CHANGE_PUT {
            (EventKind::Put, self.version(main, sub, key)?)
        } else {
            let key = Bytes::copy_from_slice(key);
            (EventKind::Delete, KeyValue { key, mod_revision: main_revision, ..KeyValue::default() })
        };
        let made = kind == EventKind::Put && kv.create_revision == kv.mod_revision;
        let prev_kv = if with_prev_kv && !made && main_revision > self.compacted() {
            self.reader().get(key, main_revision - 1)?
        } else {
            None
        };
        Ok(Event { kind, kv, prev_kv })
    }

    /// The version of a key that one change has made.
    fn version(&self, main: u64, sub: u64, key: &[u8]) -> Result<KeyValue, Error> {
        if let Some(record) = self.tables().past.get((key, main, sub)).at(DOING)? {
            return key_value("past", key, record.value());
        }
        if let Some(record) = self.tables().now.get(key).at(DOING)? {
            let kv = key_value("now", key, record.value())?;
            if kv.mod_revision == main as i64 {
                return Ok(kv);
            }
        }
        Err(Error::Damaged { table: "changes", key: format!("{main}/{sub}") })
    }
}
