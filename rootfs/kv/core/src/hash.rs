//! The hash of the key space at a revision, with etcd's bytes (etcd v3 API:
//! `HashKV`; `mvcc/hash.go`): CRC-32C over the bucket's name, then over each version
//! that is kept, in order, as etcd's database has it. So it is the same number that
//! an etcd gives that was given the same commands.

use std::ops::ControlFlow;

use crate::error::{Answer, At, Error};
use crate::record::{Head, push};
use crate::span::{End, Span};
use crate::tables::CHANGE_PUT;
use crate::view::View;

const DOING: &str = "hashing the keys";

/// A hash and what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyValueHash {
    /// CRC-32C.
    pub hash: u32,
    /// The compacted revision that it stands on; two hashes can be compared if this is the same.
    pub compact_revision: i64,
    /// The revision up to which versions are in it.
    pub revision: i64,
}

impl View {
    /// The hash at a revision, 0 and less being the newest. Reads every version.
    ///
    /// # Errors
    /// What the database fails with; inside, the refusals `Compacted` and `FutureRevision`.
    pub fn hash(&self, revision: i64) -> Answer<KeyValueHash> {
        let revision = match self.reader().at(revision) {
            Ok(revision) => revision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let compacted = self.compacted();
        // Of what is at or below the compacted revision, etcd takes what is still there at
        // `revision`, unless nothing at all is: then what was kept by the compaction.
        let kept_at = if self.any_at(revision)? { revision } else { compacted };
        let mut hash = crc32c::crc32c(b"key");
        let mut bytes = Vec::new();
        for entry in self.tables().changes.range(..=(revision as u64, u64::MAX)).at(DOING)? {
            let (at, change) = entry.at(DOING)?;
            let (main, sub) = at.value();
            let Some((kind, key)) = change.value().split_first() else {
                return Err(damaged(main, sub));
            };
            let put = *kind == CHANGE_PUT;
            bytes.clear();
            bytes.extend_from_slice(&main.to_be_bytes());
            bytes.push(b'_');
            bytes.extend_from_slice(&sub.to_be_bytes());
            if put {
                if !self.encode(key, (main, sub), compacted, kept_at, &mut bytes)? {
                    continue;
                }
            } else {
                if main as i64 <= compacted {
                    continue;
                }
                bytes.push(b't');
                field(1, key, &mut bytes);
            }
            hash = crc32c::crc32c_append(hash, &bytes);
        }
        Ok(Ok(KeyValueHash { hash, compact_revision: compacted, revision }))
    }

    /// The hash of the newest keys, and behind it of all else that members have in common: leases,
    /// alarms, the server's entries, users and roles. It is ours alone: etcd's `Hash` is one of pages.
    ///
    /// # Errors
    /// What the database fails with.
    pub fn hash_all(&self) -> Answer<KeyValueHash> {
        let mut all = match self.hash(0)? {
            Ok(keys) => keys,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut add = |parts: &[&[u8]]| {
            for part in parts {
                all.hash = crc32c::crc32c_append(all.hash, &(part.len() as u64).to_le_bytes());
                all.hash = crc32c::crc32c_append(all.hash, part);
            }
        };
        for lease in self.leases()? {
            add(&[
                b"lease",
                &lease.id.to_le_bytes(),
                &lease.ttl_s.to_le_bytes(),
                &lease.remaining_s.to_le_bytes(),
            ]);
        }
        for alarm in self.alarms()? {
            add(&[b"alarm", &alarm.member.to_le_bytes(), &alarm.kind.to_le_bytes()]);
        }
        for (key, value) in self.side_all(&[])? {
            add(&[b"side", &key, &value]);
        }
        for (table, entries) in self.policy()?.entries().iter().enumerate() {
            for (key, value) in entries {
                add(&[b"auth", &[table as u8], key.as_bytes(), value]);
            }
        }
        Ok(Ok(all))
    }

    fn any_at(&self, revision: i64) -> Result<bool, Error> {
        let mut any = false;
        let all = Span { start: &[], end: End::Open };
        self.reader().each(&all, revision, &mut |_, _| {
            any = true;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(any)
    }

    /// Appends a version as etcd's `KeyValue` message; `false` if the compaction takes it.
    fn encode(
        &self,
        key: &[u8],
        at: (u64, u64),
        compacted: i64,
        kept_at: i64,
        bytes: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let tables = self.tables();
        let old = at.0 as i64 <= compacted;
        if let Some(record) = tables.now.get(key).at(DOING)? {
            let head = Head::of("now", key, record.value())?;
            if (head.main, head.sub) == at {
                message(key, &head, record.value(), bytes);
                return Ok(true);
            }
            // Superseded at or before the revision that decides.
            if old && head.main as i64 <= kept_at {
                return Ok(false);
            }
        }
        if old {
            let newest = (key, 0, 0)..=(key, kept_at as u64, u64::MAX);
            let newest = tables.past.range(newest).at(DOING)?.next_back().transpose().at(DOING)?;
            let Some((version, record)) = newest else { return Ok(false) };
            let (_, main, sub) = version.value();
            if (main, sub) != at {
                return Ok(false);
            }
            let head = Head::of("past", key, record.value())?;
            message(key, &head, record.value(), bytes);
            return Ok(true);
        }
        let record = tables.past.get((key, at.0, at.1)).at(DOING)?.ok_or_else(|| damaged(at.0, at.1))?;
        let head = Head::of("past", key, record.value())?;
        message(key, &head, record.value(), bytes);
        Ok(true)
    }
}

fn damaged(main: u64, sub: u64) -> Error {
    Error::Damaged { table: "changes", key: format!("{main}/{sub}") }
}

/// `mvccpb.KeyValue` (etcd: `api/mvccpb/kv.proto`): fields in order, zeros left out.
fn message(key: &[u8], head: &Head, record: &[u8], bytes: &mut Vec<u8>) {
    field(1, key, bytes);
    for (number, value) in [(2, head.create as u64), (3, head.main), (4, head.version as u64)] {
        bytes.push(number << 3);
        push(value, bytes);
    }
    let value = &record[head.value_at..];
    if !value.is_empty() {
        field(5, value, bytes);
    }
    if head.lease != 0 {
        bytes.push(6 << 3);
        push(head.lease as u64, bytes);
    }
}

fn field(number: u8, value: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(number << 3 | 2);
    push(value.len() as u64, bytes);
    bytes.extend_from_slice(value);
}
