//! When leases end. The state knows which there are; this knows for how long each
//! still has, by the monotonic clock of the member that leads, and says which are due.
//! They end by a command, so that all members end them at the same revision.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kv_core::Lease;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The shortest lease, seconds: etcd's at its own election timeout (1 s), one and a half of it, rounded up.
pub const MIN_TTL_S: i64 = 2;

/// A lease whose end could not be proposed is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// The clock of leases.
#[derive(Debug)]
pub struct Lessor {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    leases: HashMap<i64, Running>,
    order: BTreeSet<(Instant, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    ttl_s: i64,
    ends: Instant,
    /// Its place in the order: its end, or when its revocation is tried again.
    turn: Instant,
}

/// What a lease still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Seconds for which it was granted.
    pub granted_s: i64,
    /// Whole seconds that are left.
    pub left_s: i64,
}

impl Lessor {
    /// Starts with the leases that are there, each with its whole time, or what a checkpoint left of it.
    pub fn new(leases: &[Lease]) -> Self {
        let mut inner = Inner::default();
        for lease in leases {
            let first_s = if lease.remaining_s > 0 { lease.remaining_s } else { lease.ttl_s };
            inner.start(lease.id, lease.ttl_s, first_s);
        }
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }

    /// A lease was granted.
    pub fn granted(&self, id: i64, ttl_s: i64) {
        self.lock().start(id, ttl_s, ttl_s);
        self.changed.notify_one();
    }

    /// A lease was revoked.
    pub fn revoked(&self, id: i64) {
        self.lock().forget(id);
    }

    /// Gives a lease its whole time again; returns that, seconds, or `None` if there is no such
    /// lease, or it is due.
    pub fn keep_alive(&self, id: i64) -> Option<i64> {
        let mut inner = self.lock();
        let running = *inner.leases.get(&id)?;
        if running.ends <= Instant::now() {
            return None;
        }
        inner.forget(id);
        inner.start(id, running.ttl_s, running.ttl_s);
        crate::metrics::LEASES_RENEWED.add(1);
        Some(running.ttl_s)
    }

    /// What a lease still has.
    pub fn left(&self, id: i64) -> Option<Left> {
        let running = *self.lock().leases.get(&id)?;
        let left = running.ends.saturating_duration_since(Instant::now());
        Some(Left { granted_s: running.ttl_s, left_s: left.as_secs() as i64 })
    }

    /// All leases, the one that ends first before the others.
    pub fn all(&self) -> Vec<i64> {
        self.lock().order.iter().map(|(_, id)| *id).collect()
    }

    /// Waits until leases are due, and gives them out; each again after a second, if it is not
    /// revoked by then.
    pub async fn due(&self) -> Vec<i64> {
        loop {
            let changed = self.changed.notified();
            let first = {
                let mut inner = self.lock();
                let due = inner.take_due(Instant::now());
                if !due.is_empty() {
                    return due;
                }
                inner.order.first().map(|(ends, _)| *ends)
            };
            match first {
                None => changed.await,
                Some(first) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(first) => {}
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn start(&mut self, id: i64, ttl_s: i64, left_s: i64) {
        let now = Instant::now();
        // A lease of 285 years may be as long as the clock can count.
        let far = Duration::from_hours(100 * 365 * 24);
        let left = Duration::from_secs(left_s.max(0) as u64).min(far);
        let ends = now + left;
        self.forget(id);
        self.leases.insert(id, Running { ttl_s, ends, turn: ends });
        self.order.insert((ends, id));
    }

    fn forget(&mut self, id: i64) {
        if let Some(running) = self.leases.remove(&id) {
            self.order.remove(&(running.turn, id));
        }
    }

    /// They stay due for [`Lessor::keep_alive`]: a lease that is being revoked cannot be saved any more.
    fn take_due(&mut self, now: Instant) -> Vec<i64> {
        let mut due = Vec::new();
        while let Some((turn, id)) = self.order.first().copied().filter(|(turn, _)| *turn <= now) {
            self.order.remove(&(turn, id));
            if let Some(running) = self.leases.get_mut(&id) {
                running.turn = now + AGAIN;
                self.order.insert((running.turn, id));
                due.push(id);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_due_after_its_time_and_not_before() {
        let lessor = Lessor::new(&[Lease { id: 1, ttl_s: 10, remaining_s: 0 }]);
        let began = Instant::now();
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(lessor.keep_alive(1), Some(10));
        assert_eq!(lessor.due().await, [1]);
        assert_eq!(began.elapsed().as_secs(), 16);
        assert_eq!(lessor.keep_alive(1), None, "it is being revoked");
        assert_eq!(lessor.due().await, [1], "its revocation is tried again");
        lessor.revoked(1);
        assert_eq!(lessor.all(), Vec::<i64>::new());
        assert_eq!(lessor.left(1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_checkpoint_counts_and_a_new_lease_wakes_who_waits() {
        let lessor = Lessor::new(&[Lease { id: 1, ttl_s: 100, remaining_s: 30 }]);
        assert_eq!(lessor.left(1), Some(Left { granted_s: 100, left_s: 30 }));
        let began = Instant::now();
        let (due, ()) = tokio::join!(lessor.due(), async {
            tokio::task::yield_now().await;
            lessor.granted(2, 5);
        });
        assert_eq!(due, [2]);
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}
