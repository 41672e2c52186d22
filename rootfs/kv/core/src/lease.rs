//! Leases, as far as they are state: which there are, for how long they were
//! granted, how much of it a checkpoint left, and which keys hang on them. When one
//! ends is the server's to find out, which then has it revoked.

use bytes::Bytes;
use redb::ReadableTable;

use crate::batch::Batch;
use crate::error::{Answer, At, Error, Refusal};
use crate::reply::Outcome;

/// The longest lease, seconds (etcd: `MaxLeaseTTL`).
pub const MAX_TTL_S: i64 = 9_000_000_000;

const DOING: &str = "changing a lease";

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: i64,
    /// Seconds for which it was granted.
    pub ttl_s: i64,
    /// Seconds that it had at the last checkpoint; 0 for all.
    pub remaining_s: i64,
}

impl Batch<'_> {
    pub(crate) fn lease(&self, id: i64) -> Result<Option<Lease>, Error> {
        let lease = self.tables.leases.get(id).at(DOING)?;
        Ok(lease.map(|lease| {
            let (ttl_s, remaining_s) = lease.value();
            Lease { id, ttl_s, remaining_s }
        }))
    }

    pub(crate) fn grant(&mut self, id: i64, ttl_s: i64) -> Answer<Outcome> {
        if id == 0 {
            return Ok(Err(Refusal::LeaseNotFound));
        }
        if ttl_s > MAX_TTL_S {
            return Ok(Err(Refusal::LeaseTtlTooLarge));
        }
        if self.lease(id)?.is_some() {
            return Ok(Err(Refusal::LeaseExists));
        }
        self.tables.leases.insert(id, (ttl_s, 0)).at(DOING)?;
        Ok(Ok(Outcome::LeaseGrant { id, ttl_s }))
    }

    /// The keys that hang on a lease, by key.
    pub(crate) fn lease_keys(&self, id: i64) -> Result<Vec<Bytes>, Error> {
        let mut keys = Vec::new();
        for entry in self.tables.lease_keys.range((id, [].as_slice())..).at(DOING)? {
            let (key, _) = entry.at(DOING)?;
            let (lease, key) = key.value();
            if lease != id {
                break;
            }
            keys.push(Bytes::copy_from_slice(key));
        }
        Ok(keys)
    }

    /// Ends a lease and deletes its keys, by key, at one revision.
    pub(crate) fn revoke(&mut self, id: i64) -> Answer<Outcome> {
        if self.tables.leases.remove(id).at(DOING)?.is_none() {
            return Ok(Err(Refusal::LeaseNotFound));
        }
        let keys = self.lease_keys(id)?;
        let mut work = self.work();
        for key in keys {
            self.delete(&mut work, key)?;
        }
        self.finish(&work);
        Ok(Ok(Outcome::Done))
    }

    /// Writes down what leases still have; one that has ended meanwhile is left out.
    pub(crate) fn checkpoint(&mut self, leases: &[(i64, i64)]) -> Result<(), Error> {
        for (id, remaining_s) in leases {
            if let Some(lease) = self.lease(*id)? {
                self.tables.leases.insert(id, (lease.ttl_s, *remaining_s)).at(DOING)?;
            }
        }
        Ok(())
    }

    pub(crate) fn attach(&mut self, lease: i64, key: &[u8]) -> Result<(), Error> {
        if lease != 0 {
            self.tables.lease_keys.insert((lease, key), ()).at(DOING)?;
        }
        Ok(())
    }

    pub(crate) fn detach(&mut self, lease: i64, key: &[u8]) -> Result<(), Error> {
        if lease != 0 {
            self.tables.lease_keys.remove((lease, key)).at(DOING)?;
        }
        Ok(())
    }
}
