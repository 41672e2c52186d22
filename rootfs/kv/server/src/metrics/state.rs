//! What the state machine has done, counted batch by batch.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv_core::{Event, EventKind, OperationReply, Outcome, Reply, Swept, TxnReply};

use super::{
    COMPACTION_KEYS, COMPACTION_LAST, COMPACTION_PAUSE, COMPACTION_TOTAL, DELETES, LEASE_TTL, LEASES_GRANTED,
    PUT_BYTES, PUTS, TXNS,
};

/// The compaction that goes on.
#[derive(Debug, Default)]
pub struct Sweep {
    began: Option<Instant>,
    removed: u64,
}

impl Sweep {
    /// Does a step of it, and counts what that took and did.
    ///
    /// # Errors
    /// The step's.
    pub fn step<E>(&mut self, step: impl FnOnce() -> Result<Swept, E>) -> Result<Swept, E> {
        let now = Instant::now();
        let swept = step()?;
        let began = *self.began.get_or_insert(now);
        self.removed += swept.removed;
        COMPACTION_KEYS.add(swept.removed);
        COMPACTION_PAUSE.observe(milliseconds(now.elapsed()));
        if swept.done {
            // At a start it is looked whether there is one to go on with: that is none.
            if self.removed != 0 {
                COMPACTION_TOTAL.observe(milliseconds(began.elapsed()));
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                COMPACTION_LAST.replace(since.as_secs());
            }
            *self = Self::default();
        }
        Ok(swept)
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Entries were applied, with these answers and changes.
pub fn applied(replies: &[Reply], events: &[Event]) {
    for reply in replies {
        match &reply.result {
            Ok(Outcome::DeleteRange(_)) => DELETES.add(1),
            Ok(Outcome::Txn(txn)) => {
                TXNS.add(1);
                DELETES.add(deletions(txn));
            }
            Ok(Outcome::LeaseGrant { ttl_s, .. }) => {
                LEASES_GRANTED.add(1);
                LEASE_TTL.observe(*ttl_s as f64);
            }
            _ => {}
        }
    }
    let puts = events.iter().filter(|event| event.kind == EventKind::Put);
    let (count, bytes) = puts.fold((0, 0), |(count, bytes), event| {
        (count + 1, bytes + event.kv.key.len() as u64 + event.kv.value.len() as u64)
    });
    PUTS.add(count);
    PUT_BYTES.add(bytes);
}

fn deletions(txn: &TxnReply) -> u64 {
    let each = txn.responses.iter().map(|reply| match reply {
        OperationReply::DeleteRange(_) => 1,
        OperationReply::Txn(txn) => deletions(txn),
        _ => 0,
    });
    each.sum()
}
