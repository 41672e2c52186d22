//! Reading keys, at the newest revision or an older one, out of `now` and `past`.

use std::cmp::Ordering;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::command::{Range, SortOrder, SortTarget};
use crate::error::{Answer, At, Error, Refusal};
use crate::record::{self, Head};
use crate::reply::{KeyValue, RangeReply};
use crate::span::{End, Span};
use crate::tables::{Now, Past};

const READING: &str = "reading keys";

/// The tables to read and the revision they stand at. In a transaction that has
/// written, that is already the next one.
pub(crate) struct Reader<'t, N, P> {
    pub now: &'t N,
    pub past: &'t P,
    pub revision: i64,
    pub compacted: i64,
}

type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error> + 'v;

impl<N: Now, P: Past> Reader<'_, N, P> {
    /// Answers a range (etcd v3 API: `Range`).
    pub fn range(&self, range: &Range) -> Answer<RangeReply> {
        let revision = match self.at(range.revision) {
            Ok(revision) => revision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let span = Span::new(&range.key, &range.range_end);
        let mut reply = RangeReply { revision: self.revision, ..RangeReply::default() };
        if range.count_only && revision == self.revision && span.is_all() {
            reply.count = self.now.len().at(READING)? as i64;
            return Ok(Ok(reply));
        }
        let filtered = has_filters(range);
        // One more than asked for says whether there are more. What is sorted or
        // filtered is cut afterwards.
        let fetch = if range.limit <= 0 || filtered || !by_key(range) {
            usize::MAX
        } else {
            usize::try_from(range.limit).unwrap_or(usize::MAX).saturating_add(1)
        };
        self.each(&span, revision, &mut |key, record| {
            reply.count += 1;
            if range.count_only || reply.kvs.len() >= fetch {
                return Ok(ControlFlow::Continue(()));
            }
            let head = Head::of("now", key, record)?;
            if filtered && !passes(range, &head) {
                return Ok(ControlFlow::Continue(()));
            }
            // Values are needed to sort by them.
            let value = if range.keys_only && range.sort_target != SortTarget::Value {
                Bytes::new()
            } else {
                Bytes::copy_from_slice(&record[head.value_at..])
            };
            reply.kvs.push(head.key_value(Bytes::copy_from_slice(key), value));
            Ok(ControlFlow::Continue(()))
        })?;
        sort(range, &mut reply.kvs);
        if let Ok(limit) = usize::try_from(range.limit)
            && limit > 0
            && reply.kvs.len() > limit
        {
            reply.kvs.truncate(limit);
            reply.more = true;
        }
        if range.keys_only {
            for kv in &mut reply.kvs {
                kv.value = Bytes::new();
            }
        }
        Ok(Ok(reply))
    }

    /// The revision that a request means, 0 and less being the newest.
    pub fn at(&self, revision: i64) -> Result<i64, Refusal> {
        if revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        let revision = if revision <= 0 { self.revision } else { revision };
        if revision < self.compacted {
            return Err(Refusal::Compacted);
        }
        Ok(revision)
    }

    /// One key at a revision, whether compacted or not.
    pub fn get(&self, key: &[u8], revision: i64) -> Result<Option<KeyValue>, Error> {
        if let Some(record) = self.now.get(key).at(READING)?
            && Head::of("now", key, record.value())?.main <= revision as u64
        {
            return record::key_value("now", key, record.value()).map(Some);
        }
        match self.newest_past(key, revision)? {
            Some(record) => record::key_value("past", key, &record).map(Some),
            None => Ok(None),
        }
    }

    /// Visits the keys of a span that were there at `revision`, by key, with their records.
    pub fn each(&self, span: &Span<'_>, revision: i64, visit: &mut Visit<'_>) -> Result<(), Error> {
        if span.is_empty() {
            return Ok(());
        }
        if revision >= self.revision {
            return self.each_now(span, visit);
        }
        let mut live = self.now.range::<&[u8]>(span.bounds()).at(READING)?;
        let mut next_live = live.next().transpose().at(READING)?;
        let mut next_past = self.next_past_key(Bound::Included((span.start, 0, 0)), span)?;
        loop {
            let order = match (&next_live, &next_past) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((key, _)), Some(past)) => key.value().cmp(past),
            };
            let mut flow = ControlFlow::Continue(());
            let mut valid = false;
            if order != Ordering::Greater {
                if let Some((key, record)) = &next_live {
                    let head = Head::of("now", key.value(), record.value())?;
                    valid = head.main <= revision as u64;
                    if valid {
                        flow = visit(key.value(), record.value())?;
                    }
                }
                next_live = live.next().transpose().at(READING)?;
            }
            if order != Ordering::Less
                && let Some(key) = next_past.take()
            {
                if !valid && let Some(record) = self.newest_past(&key, revision)? {
                    flow = visit(&key, &record)?;
                }
                next_past = self.next_past_key(Bound::Excluded((&key, u64::MAX, u64::MAX)), span)?;
            }
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    fn each_now(&self, span: &Span<'_>, visit: &mut Visit<'_>) -> Result<(), Error> {
        if let End::Here = span.end {
            if let Some(record) = self.now.get(span.start).at(READING)? {
                let _ = visit(span.start, record.value())?;
            }
            return Ok(());
        }
        for entry in self.now.range::<&[u8]>(span.bounds()).at(READING)? {
            let (key, record) = entry.at(READING)?;
            if visit(key.value(), record.value())?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The newest version in `past` at or before a revision, unless the key was deleted there.
    fn newest_past(&self, key: &[u8], revision: i64) -> Result<Option<Vec<u8>>, Error> {
        let mut versions = self.past.range((key, 0, 0)..=(key, revision as u64, u64::MAX)).at(READING)?;
        let newest = versions.next_back().transpose().at(READING)?;
        Ok(newest.map(|(_, record)| record.value().to_vec()).filter(|record| !record.is_empty()))
    }

    fn next_past_key(
        &self,
        from: Bound<(&[u8], u64, u64)>,
        span: &Span<'_>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let to = match span.end {
            End::Here => Bound::Included((span.start, u64::MAX, u64::MAX)),
            End::Before(end) => Bound::Excluded((end, 0, 0)),
            End::Open => Bound::Unbounded,
        };
        // A single key's last version may be the bound itself.
        if let (Bound::Excluded(from), Bound::Included(to)) = (&from, &to)
            && from >= to
        {
            return Ok(None);
        }
        let mut versions = self.past.range::<(&[u8], u64, u64)>((from, to)).at(READING)?;
        let first = versions.next().transpose().at(READING)?;
        Ok(first.map(|(key, _)| key.value().0.to_vec()))
    }
}

/// Whether the tables' own order is the reply's.
fn by_key(range: &Range) -> bool {
    range.sort_order == SortOrder::None
        || (range.sort_target == SortTarget::Key && range.sort_order == SortOrder::Ascend)
}

fn has_filters(range: &Range) -> bool {
    range.min_mod_revision != 0
        || range.max_mod_revision != 0
        || range.min_create_revision != 0
        || range.max_create_revision != 0
}

fn passes(range: &Range, head: &Head) -> bool {
    let changed = head.main as i64;
    (range.max_mod_revision == 0 || changed <= range.max_mod_revision)
        && (range.min_mod_revision == 0 || changed >= range.min_mod_revision)
        && (range.max_create_revision == 0 || head.create <= range.max_create_revision)
        && (range.min_create_revision == 0 || head.create >= range.min_create_revision)
}

fn sort(range: &Range, kvs: &mut [KeyValue]) {
    let ascending: fn(&KeyValue, &KeyValue) -> Ordering = match range.sort_target {
        SortTarget::Key if by_key(range) => return,
        SortTarget::Key => |a, b| a.key.cmp(&b.key),
        SortTarget::Version => |a, b| a.version.cmp(&b.version),
        SortTarget::Create => |a, b| a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => |a, b| a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => |a, b| a.value.cmp(&b.value),
    };
    match range.sort_order {
        SortOrder::Descend => kvs.sort_by(|a, b| ascending(b, a)),
        SortOrder::Ascend | SortOrder::None => kvs.sort_by(ascending),
    }
}
