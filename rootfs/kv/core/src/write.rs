//! Changing keys: what a put and a deletion do to `now`, `past`, `changes` and the leases' keys.

use std::ops::ControlFlow;

use bytes::Bytes;
use redb::ReadableTable;

use crate::batch::Batch;
use crate::command::{DeleteRange, Put};
use crate::error::{Answer, At, Error, Refusal};
use crate::range::Reader;
use crate::record::Head;
use crate::reply::{DeleteRangeReply, Event, EventKind, KeyValue, PutReply};
use crate::span::Span;
use crate::tables::{Bytes as Raw, CHANGE_DELETE, CHANGE_PUT, PastKey};

const WRITING: &str = "writing a key";

/// Bytes that a version and a change need beside their key and value: two numbers each.
pub(crate) const VERSION_BYTES: u64 = 16;
pub(crate) const CHANGE_BYTES: u64 = 17;

/// The revision that a command is writing. It becomes the store's if anything is changed.
pub(crate) struct Work {
    pub main: u64,
    /// The next sub-revision, and so how many changes there were.
    pub sub: u64,
    /// The command's first event in the batch's.
    pub first_event: usize,
}

impl Work {
    /// The revision that reads see: the new one once there is a change.
    pub fn revision(&self) -> i64 {
        if self.sub > 0 { self.main as i64 } else { self.main as i64 - 1 }
    }
}

impl Batch<'_> {
    pub(crate) fn work(&self) -> Work {
        Work { main: self.meta.revision as u64 + 1, sub: 0, first_event: self.events.len() }
    }

    pub(crate) fn finish(&mut self, work: &Work) {
        self.meta.revision = work.revision();
    }

    pub(crate) fn reader(
        &self,
        revision: i64,
    ) -> Reader<'_, redb::Table<'_, Raw, Raw>, redb::Table<'_, PastKey, Raw>> {
        Reader { now: &self.tables.now, past: &self.tables.past, revision, compacted: self.meta.compacted }
    }

    /// Whether a put can be done: its lease exists, and its key if something of it is to be kept.
    pub(crate) fn check_put_here(&self, put: &Put) -> Answer<()> {
        if put.lease != 0 && self.lease(put.lease)?.is_none() {
            return Ok(Err(Refusal::LeaseNotFound));
        }
        if (put.ignore_value || put.ignore_lease)
            && self.tables.now.get(put.key.as_ref()).at(WRITING)?.is_none()
        {
            return Ok(Err(Refusal::KeyNotFound));
        }
        Ok(Ok(()))
    }

    /// Does a put that was checked.
    pub(crate) fn put(&mut self, work: &mut Work, put: &Put) -> Result<PutReply, Error> {
        let key = put.key.as_ref();
        let old = match self.tables.now.get(key).at(WRITING)? {
            Some(record) => {
                Some((Head::of("now", key, record.value())?, Bytes::copy_from_slice(record.value())))
            }
            None => None,
        };
        let (create, version) = match &old {
            Some((head, _)) => (head.create, head.version + 1),
            None => (work.main as i64, 1),
        };
        let old_kv =
            old.as_ref().map(|(head, record)| head.key_value(put.key.clone(), record.slice(head.value_at..)));
        let value = match &old_kv {
            Some(kv) if put.ignore_value => kv.value.clone(),
            _ => put.value.clone(),
        };
        let lease = match &old_kv {
            Some(kv) if put.ignore_lease => kv.lease,
            _ => put.lease,
        };
        let head = Head { create, main: work.main, sub: work.sub, version, lease, value_at: 0 };
        head.write(&value, &mut self.buffer);
        self.tables.now.insert(key, self.buffer.as_slice()).at(WRITING)?;
        self.meta.stored_bytes += (key.len() + self.buffer.len()) as u64;
        if let Some((head, record)) = &old {
            self.keep_past(key, head, record)?;
        }
        self.change(work, CHANGE_PUT, key)?;
        let old_lease = old.as_ref().map_or(0, |(head, _)| head.lease);
        if old_lease != lease {
            self.detach(old_lease, key)?;
            self.attach(lease, key)?;
        }
        let prev_kv = if put.prev_kv { old_kv.clone() } else { None };
        let event = Event {
            kind: EventKind::Put,
            kv: head.key_value(put.key.clone(), value),
            prev_kv: self.before(work, old_kv),
        };
        self.events.push(event);
        Ok(PutReply { revision: work.revision(), prev_kv })
    }

    /// Deletes what a request names.
    pub(crate) fn delete_range(
        &mut self,
        work: &mut Work,
        delete: &DeleteRange,
    ) -> Result<DeleteRangeReply, Error> {
        let span = Span::new(&delete.key, &delete.range_end);
        let mut keys = Vec::new();
        self.reader(work.revision()).each(&span, i64::MAX, &mut |key, _| {
            keys.push(Bytes::copy_from_slice(key));
            Ok(ControlFlow::Continue(()))
        })?;
        let mut reply = DeleteRangeReply { deleted: keys.len() as i64, ..DeleteRangeReply::default() };
        for key in keys {
            let kv = self.delete(work, key)?;
            if delete.prev_kv {
                reply.prev_kvs.extend(kv);
            }
        }
        reply.revision = work.revision();
        Ok(reply)
    }

    /// Deletes one key and says what it was.
    pub(crate) fn delete(&mut self, work: &mut Work, key: Bytes) -> Result<Option<KeyValue>, Error> {
        let record = match self.tables.now.remove(key.as_ref()).at(WRITING)? {
            Some(record) => Bytes::copy_from_slice(record.value()),
            None => return Ok(None),
        };
        let head = Head::of("now", &key, &record)?;
        self.keep_past(&key, &head, &record)?;
        self.tables.past.insert((key.as_ref(), work.main, work.sub), [].as_slice()).at(WRITING)?;
        self.meta.stored_bytes += key.len() as u64 + VERSION_BYTES;
        self.change(work, CHANGE_DELETE, &key)?;
        self.detach(head.lease, &key)?;
        let kv = head.key_value(key.clone(), record.slice(head.value_at..));
        let event = Event {
            kind: EventKind::Delete,
            kv: KeyValue { key, mod_revision: work.main as i64, ..KeyValue::default() },
            prev_kv: self.before(work, Some(kv.clone())),
        };
        self.events.push(event);
        Ok(Some(kv))
    }

    /// Moves a record that `now` has no more into `past`; its bytes are counted on.
    fn keep_past(&mut self, key: &[u8], head: &Head, record: &[u8]) -> Result<(), Error> {
        self.tables.past.insert((key, head.main, head.sub), record).at(WRITING)?;
        self.meta.stored_bytes += VERSION_BYTES;
        Ok(())
    }

    fn change(&mut self, work: &mut Work, kind: u8, key: &[u8]) -> Result<(), Error> {
        self.buffer.clear();
        self.buffer.push(kind);
        self.buffer.extend_from_slice(key);
        self.tables.changes.insert((work.main, work.sub), self.buffer.as_slice()).at(WRITING)?;
        self.meta.stored_bytes += key.len() as u64 + CHANGE_BYTES;
        work.sub += 1;
        Ok(())
    }

    /// A key as it was at the revision before this command, when `old` is what it was before this change.
    fn before(&self, work: &Work, old: Option<KeyValue>) -> Option<KeyValue> {
        let old = old?;
        if old.mod_revision < work.main as i64 {
            return Some(old);
        }
        // Changed by this command already: what that change had before it.
        let earlier = self.events[work.first_event..].iter().rev().find(|event| event.kv.key == old.key);
        earlier.and_then(|event| event.prev_kv.clone())
    }
}
