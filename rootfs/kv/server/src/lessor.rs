//! When leases end. The state knows which there are; this knows for how long each
//! still has, by the monotonic clock of the member that leads, and says which are due.
//! They end by a command, so that all members end them at the same revision.
//!
//! Who begins to lead gives each lease its whole time again: what it had left was known to the
//! one that led before. So a change of the leader makes leases longer, and never shorter.

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

#[derive(Debug)]
struct Inner {
    /// What this member's clock takes for a second.
    second: Duration,
    leases: HashMap<i64, Running>,
    order: BTreeSet<(Instant, i64)>,
    /// The term in which this member leads; only then are leases due.
    leads: Option<u64>,
}

/// This member does not lead, so it does not know how long leases have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follows;

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
    /// Starts with the leases that are there, as one that follows.
    pub fn new(leases: &[Lease]) -> Self {
        let inner = Inner {
            second: Duration::from_secs(1),
            leases: HashMap::new(),
            order: BTreeSet::new(),
            leads: None,
        };
        let lessor = Self { inner: Mutex::new(inner), changed: Notify::new() };
        lessor.replace(leases);
        lessor
    }

    /// Lets a second be as long as `second` for leases that begin from now on: in a simulation, where
    /// the members' clocks go wrong.
    pub fn set_second(&self, second: Duration) {
        self.lock().second = second;
    }

    /// The leases are others now, each with its whole time.
    pub fn replace(&self, leases: &[Lease]) {
        let mut inner = self.lock();
        inner.leases.clear();
        inner.order.clear();
        for lease in leases {
            inner.start(lease.id, lease.ttl_s);
        }
        self.changed.notify_one();
    }

    /// This member leads from now on, in `term`, and every lease has its whole time again.
    pub fn lead(&self, term: u64) {
        let mut inner = self.lock();
        let leases: Vec<_> = inner.leases.iter().map(|(id, running)| (*id, running.ttl_s)).collect();
        for (id, ttl_s) in leases {
            inner.start(id, ttl_s);
        }
        inner.leads = Some(term);
        self.changed.notify_one();
    }

    /// This member leads no more; nothing is due here.
    pub fn follow(&self) {
        self.lock().leads = None;
    }

    /// A lease was granted.
    pub fn granted(&self, id: i64, ttl_s: i64) {
        self.lock().start(id, ttl_s);
        self.changed.notify_one();
    }

    /// A lease was revoked.
    pub fn revoked(&self, id: i64) {
        self.lock().forget(id);
    }

    /// Gives a lease its whole time again; returns that, seconds, or `None` if there is no such
    /// lease, or it is due.
    ///
    /// # Errors
    /// [`Follows`].
    pub fn keep_alive(&self, id: i64) -> Result<Option<i64>, Follows> {
        let mut inner = self.lock();
        inner.leads.ok_or(Follows)?;
        let Some(running) = inner.leases.get(&id).copied() else { return Ok(None) };
        if running.ends <= Instant::now() {
            return Ok(None);
        }
        inner.start(id, running.ttl_s);
        crate::metrics::LEASES_RENEWED.add(1);
        Ok(Some(running.ttl_s))
    }

    /// What a lease still has; `None` if there is no such lease.
    ///
    /// # Errors
    /// [`Follows`].
    pub fn left(&self, id: i64) -> Result<Option<Left>, Follows> {
        let inner = self.lock();
        inner.leads.ok_or(Follows)?;
        Ok(inner.leases.get(&id).map(|running| {
            let left = running.ends.saturating_duration_since(Instant::now());
            Left { granted_s: running.ttl_s, left_s: left.as_secs() as i64 }
        }))
    }

    /// All leases, the one that ends first before the others.
    pub fn all(&self) -> Vec<i64> {
        self.lock().order.iter().map(|(_, id)| *id).collect()
    }

    /// Waits until leases are due, and gives them out, with the term in which this member leads; each
    /// again after a second, if it is not revoked by then.
    pub async fn due(&self) -> (u64, Vec<i64>) {
        loop {
            let changed = self.changed.notified();
            let first = {
                let mut inner = self.lock();
                match inner.leads {
                    None => None,
                    Some(term) => {
                        let due = inner.take_due(Instant::now());
                        if !due.is_empty() {
                            return (term, due);
                        }
                        inner.order.first().map(|(ends, _)| *ends)
                    }
                }
            };
            match first {
                None => changed.await,
                Some(first) => {
                    tokio::select! {
                        biased;
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
    fn start(&mut self, id: i64, ttl_s: i64) {
        let now = Instant::now();
        // A lease of 285 years may be as long as the clock can count.
        let far = Duration::from_hours(100 * 365 * 24);
        let seconds = u32::try_from(ttl_s.max(0)).unwrap_or(u32::MAX);
        let left = self.second.saturating_mul(seconds).min(far);
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

    const TEN: Lease = Lease { id: 1, ttl_s: 10, remaining_s: 0 };

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_due_after_its_time_and_not_before() {
        let lessor = Lessor::new(&[TEN]);
        lessor.lead(7);
        let began = Instant::now();
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(lessor.keep_alive(1), Ok(Some(10)));
        assert_eq!(lessor.due().await, (7, vec![1]));
        assert_eq!(began.elapsed().as_secs(), 16);
        assert_eq!(lessor.keep_alive(1), Ok(None), "it is being revoked");
        assert_eq!(lessor.due().await, (7, vec![1]), "its revocation is tried again");
        lessor.revoked(1);
        assert_eq!(lessor.all(), Vec::<i64>::new());
        assert_eq!(lessor.left(1), Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_lease_wakes_who_waits() {
        let lessor = Lessor::new(&[Lease { ttl_s: 100, ..TEN }]);
        lessor.lead(1);
        assert_eq!(lessor.left(1), Ok(Some(Left { granted_s: 100, left_s: 100 })));
        let began = Instant::now();
        let (due, ()) = tokio::join!(lessor.due(), async {
            tokio::task::yield_now().await;
            lessor.granted(2, 5);
        });
        assert_eq!(due, (1, vec![2]));
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_leads_ends_leases_and_a_new_lead_shortens_none() {
        let lessor = Lessor::new(&[TEN]);
        let began = Instant::now();
        assert_eq!((lessor.keep_alive(1), lessor.left(1)), (Err(Follows), Err(Follows)));
        let (due, ()) = tokio::join!(lessor.due(), async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            lessor.lead(2);
        });
        assert_eq!(due, (2, vec![1]));
        assert_eq!(began.elapsed().as_secs(), 70, "its whole time after the lead began");
        lessor.follow();
        assert_eq!(lessor.keep_alive(1), Err(Follows));
        lessor.lead(4);
        assert_eq!(lessor.keep_alive(1), Ok(Some(10)), "what was due in another lead is not any more");
    }
}
