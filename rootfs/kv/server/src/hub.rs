//! Who watches what. Each client stream has an [`Outbox`] with its watchers; changes
//! that were applied are put there as long as they fit. A watcher that has more
//! waiting than [`QUEUE_EVENTS`] or [`QUEUE_BYTES`], or that begins in the past, lags: it
//! gets nothing from here, but reads from the store, until it has caught up. So a slow
//! client costs no more memory than that, and slows nobody.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kv_core::{Event, EventKind};
use tokio::sync::Notify;

/// Events that may wait for one watcher.
pub const QUEUE_EVENTS: usize = 4_096;
/// Bytes of events that may wait for one watcher.
pub const QUEUE_BYTES: usize = 1 << 20;
/// Bytes of events that may wait for all watchers together. A value that waits for several counts for
/// each of them, though it is there once.
pub const TOTAL_BYTES: usize = 64 << 20;

/// What a watcher wants.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The key, or the first of the range.
    pub key: Bytes,
    /// Empty for the key alone, `\0` for all keys from `key` on, else the first key behind the range.
    pub range_end: Bytes,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletions out.
    pub no_delete: bool,
}

impl Wish {
    /// Whether a key is in the range.
    pub fn covers(&self, key: &[u8]) -> bool {
        match self.range_end.as_ref() {
            [] => key == self.key,
            [0] => key >= self.key.as_ref(),
            end => key >= self.key.as_ref() && key < end,
        }
    }

    /// Whether a kind of change passes the filters.
    pub fn passes(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => !self.no_put,
            EventKind::Delete => !self.no_delete,
        }
    }
}

/// The changes of one batch that are for one watcher.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose they are.
    pub watch_id: i64,
    /// The store's revision after them.
    pub revision: i64,
    /// The changes, whole revisions of them.
    pub events: Vec<Event>,
}

#[derive(Debug)]
struct Watcher {
    wish: Wish,
    /// The first revision that it has not got.
    next: i64,
    lags: bool,
    waiting: VecDeque<(i64, Vec<Event>)>,
    waiting_events: usize,
    waiting_bytes: usize,
}

/// The watchers of one client stream.
#[derive(Debug, Default)]
pub struct Outbox {
    watchers: Mutex<BTreeMap<i64, Watcher>>,
    filled: Notify,
}

/// All watchers.
#[derive(Debug)]
pub struct Hub {
    index: Mutex<Index>,
    /// What waits for all watchers, bytes; changed under the lock of the index.
    waiting: AtomicUsize,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Watchers.
    pub watchers: usize,
    /// Those of them that lag.
    pub slow: usize,
    /// Client streams that have watchers.
    pub streams: usize,
    /// Events that wait to be sent.
    pub waiting: usize,
}

#[derive(Debug, Default)]
struct Index {
    revision: i64,
    /// In order, so that who is woken first is no chance.
    keys: BTreeMap<Bytes, Vec<Place>>,
    ranges: Vec<Place>,
}

#[derive(Clone, Debug)]
struct Place {
    outbox: Arc<Outbox>,
    watch_id: i64,
}

impl Place {
    fn is(&self, outbox: &Arc<Outbox>, watch_id: i64) -> bool {
        self.watch_id == watch_id && Arc::ptr_eq(&self.outbox, outbox)
    }
}

impl Hub {
    /// Begins at a revision of the store.
    pub fn new(revision: i64) -> Self {
        Self { index: Mutex::new(Index { revision, ..Index::default() }), waiting: AtomicUsize::new(0) }
    }

    /// The newest revision that was told.
    pub fn revision(&self) -> i64 {
        lock(&self.index).revision
    }

    /// Adds a watcher that wants the changes from revision `start` on, 0 standing for the next one.
    /// Returns the store's revision; the watcher lags if there is something to read up to it.
    pub fn add(&self, outbox: &Arc<Outbox>, watch_id: i64, wish: Wish, start: i64) -> i64 {
        let mut index = lock(&self.index);
        let revision = index.revision;
        let next = if start == 0 { revision + 1 } else { start };
        let place = Place { outbox: Arc::clone(outbox), watch_id };
        if wish.range_end.is_empty() {
            index.keys.entry(wish.key.clone()).or_default().push(place);
        } else {
            index.ranges.push(place);
        }
        let watcher = Watcher {
            wish,
            next,
            lags: next <= revision,
            waiting: VecDeque::new(),
            waiting_events: 0,
            waiting_bytes: 0,
        };
        lock(&outbox.watchers).insert(watch_id, watcher);
        outbox.filled.notify_one();
        revision
    }

    /// Removes a watcher; `false` if there is none.
    pub fn remove(&self, outbox: &Arc<Outbox>, watch_id: i64) -> bool {
        let mut index = lock(&self.index);
        let Some(watcher) = lock(&outbox.watchers).remove(&watch_id) else { return false };
        self.waiting.fetch_sub(watcher.waiting_bytes, Relaxed);
        index.forget(outbox, watch_id, &watcher.wish);
        true
    }

    /// Removes all watchers of a stream.
    pub fn remove_all(&self, outbox: &Arc<Outbox>) {
        let mut index = lock(&self.index);
        for (watch_id, watcher) in std::mem::take(&mut *lock(&outbox.watchers)) {
            self.waiting.fetch_sub(watcher.waiting_bytes, Relaxed);
            index.forget(outbox, watch_id, &watcher.wish);
        }
    }

    /// Tells what a batch has changed. Called in the order of the batches.
    pub fn publish(&self, revision: i64, events: &[Event]) {
        let mut index = lock(&self.index);
        index.revision = revision;
        for event in events {
            if let Some(places) = index.keys.get(&event.kv.key) {
                for place in places {
                    place.outbox.put(place.watch_id, revision, event, true, &self.waiting);
                }
            }
            for place in &index.ranges {
                place.outbox.put(place.watch_id, revision, event, false, &self.waiting);
            }
        }
    }

    /// The state was replaced by a later one, whose changes nobody told: all watchers read them from
    /// the store.
    pub fn jump(&self, revision: i64) {
        let mut index = lock(&self.index);
        let told = std::mem::replace(&mut index.revision, revision);
        for place in index.keys.values().flatten().chain(&index.ranges) {
            place.outbox.lag(place.watch_id, told + 1, &self.waiting);
        }
    }

    /// How much there is to do.
    pub fn load(&self) -> Load {
        let index = lock(&self.index);
        let mut load = Load::default();
        let mut outboxes: HashSet<*const Outbox> = HashSet::new();
        for place in index.keys.values().flatten().chain(&index.ranges) {
            if !outboxes.insert(Arc::as_ptr(&place.outbox)) {
                continue;
            }
            load.streams += 1;
            for watcher in lock(&place.outbox.watchers).values() {
                load.watchers += 1;
                load.slow += usize::from(watcher.lags);
                load.waiting += watcher.waiting_events;
            }
        }
        load
    }

    /// A lagging watcher has read all before `next`. Returns whether it has caught up.
    pub fn caught_up(&self, outbox: &Outbox, watch_id: i64, next: i64) -> bool {
        let index = lock(&self.index);
        let mut watchers = lock(&outbox.watchers);
        let Some(watcher) = watchers.get_mut(&watch_id) else { return true };
        watcher.next = next;
        watcher.lags = next <= index.revision;
        !watcher.lags
    }
}

impl Index {
    fn forget(&mut self, outbox: &Arc<Outbox>, watch_id: i64, wish: &Wish) {
        if !wish.range_end.is_empty() {
            self.ranges.retain(|place| !place.is(outbox, watch_id));
            return;
        }
        if let Some(places) = self.keys.get_mut(&wish.key) {
            places.retain(|place| !place.is(outbox, watch_id));
            if places.is_empty() {
                self.keys.remove(&wish.key);
            }
        }
    }
}

impl Outbox {
    fn put(&self, watch_id: i64, revision: i64, event: &Event, covered: bool, total: &AtomicUsize) {
        let mut watchers = lock(&self.watchers);
        let Some(watcher) = watchers.get_mut(&watch_id) else { return };
        if watcher.lags
            || event.kv.mod_revision < watcher.next
            || !watcher.wish.passes(event.kind)
            || !(covered || watcher.wish.covers(&event.kv.key))
        {
            return;
        }
        watcher.waiting_events += 1;
        let bytes = size(event);
        watcher.waiting_bytes += bytes;
        let all = total.fetch_add(bytes, Relaxed) + bytes;
        if watcher.waiting_events > QUEUE_EVENTS || watcher.waiting_bytes > QUEUE_BYTES || all > TOTAL_BYTES {
            // What waits can be read from the store as well. Its first revision is where to begin.
            let first = watcher.waiting.front().and_then(|(_, events)| events.first());
            watcher.next = first.map_or(event.kv.mod_revision, |first| first.kv.mod_revision);
            total.fetch_sub(watcher.waiting_bytes, Relaxed);
            watcher.empty();
            watcher.lags = true;
        } else {
            match watcher.waiting.back_mut() {
                Some((last, events)) if *last == revision => events.push(event.clone()),
                _ => watcher.waiting.push_back((revision, vec![event.clone()])),
            }
        }
        self.filled.notify_one();
    }

    /// Lets a watcher read from the store what waits for it and what comes, up to `next` at the latest.
    fn lag(&self, watch_id: i64, next: i64, total: &AtomicUsize) {
        let mut watchers = lock(&self.watchers);
        let Some(watcher) = watchers.get_mut(&watch_id).filter(|watcher| !watcher.lags) else { return };
        let first = watcher.waiting.front().and_then(|(_, events)| events.first());
        watcher.next = first.map_or(next.max(watcher.next), |first| first.kv.mod_revision);
        total.fetch_sub(watcher.waiting_bytes, Relaxed);
        watcher.empty();
        watcher.lags = true;
        self.filled.notify_one();
    }

    /// Waits until there may be something to do.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes what waits, a batch for each watcher at most. Not in the midst of a batch: the changes of
    /// a revision go out together.
    pub fn take(&self, hub: &Hub) -> Vec<Delivery> {
        let _index = lock(&hub.index);
        let mut deliveries = Vec::new();
        for (watch_id, watcher) in lock(&self.watchers).iter_mut() {
            let Some((revision, events)) = watcher.waiting.pop_front() else { continue };
            watcher.waiting_events -= events.len();
            let bytes = events.iter().map(size).sum::<usize>();
            watcher.waiting_bytes -= bytes;
            hub.waiting.fetch_sub(bytes, Relaxed);
            deliveries.push(Delivery { watch_id: *watch_id, revision, events });
        }
        deliveries
    }

    /// The watchers that lag: id, wish and the revision from which they have to read.
    pub fn lagging(&self) -> Vec<(i64, Wish, i64)> {
        let watchers = lock(&self.watchers);
        let lagging = watchers.iter().filter(|(_, watcher)| watcher.lags);
        lagging.map(|(id, watcher)| (*id, watcher.wish.clone(), watcher.next)).collect()
    }

    /// Whether a watcher has got all that was told.
    pub fn is_idle(&self, watch_id: i64) -> bool {
        let watchers = lock(&self.watchers);
        watchers.get(&watch_id).is_some_and(|watcher| !watcher.lags && watcher.waiting.is_empty())
    }

    /// Whether there is a watcher of that id.
    pub fn has(&self, watch_id: i64) -> bool {
        lock(&self.watchers).contains_key(&watch_id)
    }

    /// The revision up to which all watchers have got everything; `None` while one has not.
    pub fn progress(&self, hub: &Hub) -> Option<i64> {
        let index = lock(&hub.index);
        let watchers = lock(&self.watchers);
        let idle = watchers.values().all(|watcher| !watcher.lags && watcher.waiting.is_empty());
        idle.then_some(index.revision)
    }
}

impl Watcher {
    fn empty(&mut self) {
        self.waiting.clear();
        self.waiting_events = 0;
        self.waiting_bytes = 0;
    }
}

fn size(event: &Event) -> usize {
    let prev = event.prev_kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
    event.kv.key.len() + event.kv.value.len() + prev + 64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, revision: i64, value: usize) -> Event {
        let kv = kv_core::KeyValue {
            key: Bytes::from_static(key.as_bytes()),
            mod_revision: revision,
            value: vec![0; value].into(),
            ..Default::default()
        };
        Event { kind: EventKind::Put, kv, prev_kv: None }
    }

    fn wish(key: &'static str) -> Wish {
        Wish { key: Bytes::from_static(key.as_bytes()), ..Wish::default() }
    }

    #[test]
    fn a_watcher_gets_its_key_from_its_revision_on() {
        let hub = Hub::new(5);
        let outbox = Arc::new(Outbox::default());
        assert_eq!(hub.add(&outbox, 0, wish("a"), 0), 5);
        hub.add(&outbox, 1, wish("a"), 8);
        hub.publish(7, &[put("a", 6, 1), put("b", 7, 1)]);
        hub.publish(8, &[put("a", 8, 1)]);
        let first = outbox.take(&hub);
        assert_eq!(
            first.iter().map(|one| (one.watch_id, one.revision)).collect::<Vec<_>>(),
            [(0, 7), (1, 8)]
        );
        assert_eq!(outbox.take(&hub)[0].events, [put("a", 8, 1)]);
        assert!(outbox.take(&hub).is_empty());
        assert!(hub.remove(&outbox, 0));
        assert!(!hub.remove(&outbox, 0));
    }

    #[test]
    fn a_slow_watcher_falls_back_to_reading_and_keeps_nothing() {
        let hub = Hub::new(1);
        let outbox = Arc::new(Outbox::default());
        hub.add(&outbox, 3, wish("a"), 0);
        for revision in 2..20 {
            hub.publish(revision, &[put("a", revision, QUEUE_BYTES / 10)]);
        }
        assert!(outbox.take(&hub).is_empty());
        let (id, _, next) = outbox.lagging().remove(0);
        assert_eq!((id, next), (3, 2), "from the first that waited");
        assert!(!hub.caught_up(&outbox, 3, 10), "19 is the newest");
        assert!(outbox.progress(&hub).is_none());
        assert!(hub.caught_up(&outbox, 3, 20));
        hub.publish(20, &[put("a", 20, 1)]);
        assert_eq!(outbox.take(&hub)[0].events, [put("a", 20, 1)]);
        assert_eq!(outbox.progress(&hub), Some(20));
    }

    #[test]
    fn after_a_jump_all_is_read_from_the_store() {
        let hub = Hub::new(1);
        let outbox = Arc::new(Outbox::default());
        hub.add(&outbox, 0, wish("a"), 0);
        hub.add(&outbox, 1, wish("b"), 0);
        hub.add(&outbox, 2, wish("b"), 90);
        hub.publish(3, &[put("a", 2, 1)]);
        hub.jump(50);
        assert!(outbox.take(&hub).is_empty());
        let lagging: Vec<_> = outbox.lagging().into_iter().map(|(id, _, next)| (id, next)).collect();
        assert_eq!(lagging, [(0, 2), (1, 4), (2, 90)]);
        assert_eq!(hub.waiting.load(Relaxed), 0);
        assert_eq!(hub.revision(), 50);
    }

    #[test]
    fn all_watchers_together_keep_no_more_than_one_budget() {
        let hub = Hub::new(1);
        let outboxes: Vec<Arc<Outbox>> = (0..200).map(|_| Arc::default()).collect();
        for outbox in &outboxes {
            hub.add(outbox, 0, wish("a"), 0);
        }
        hub.publish(2, &[put("a", 2, QUEUE_BYTES / 2)]);
        let waiting = hub.waiting.load(Relaxed);
        assert!(waiting <= TOTAL_BYTES && waiting > TOTAL_BYTES / 2, "{waiting}");
        let slow = hub.load().slow;
        assert!(slow > 70 && slow < 100, "{slow}");
        for outbox in &outboxes {
            outbox.take(&hub);
        }
        assert_eq!(hub.waiting.load(Relaxed), 0);
        hub.publish(3, &[put("a", 3, 1)]);
        assert!(hub.waiting.load(Relaxed) > 0);
        for outbox in &outboxes {
            hub.remove_all(outbox);
        }
        assert_eq!((hub.waiting.load(Relaxed), hub.load()), (0, Load::default()));
    }

    #[test]
    fn ranges_and_filters() {
        let hub = Hub::new(1);
        let outbox = Arc::new(Outbox::default());
        let range = Wish { range_end: Bytes::from_static(b"c"), ..wish("b") };
        hub.add(&outbox, 0, range.clone(), 0);
        hub.add(&outbox, 1, Wish { range_end: Bytes::from_static(b"\0"), no_put: true, ..wish("a") }, 0);
        let delete = Event { kind: EventKind::Delete, ..put("c", 3, 0) };
        hub.publish(3, &[put("b", 2, 1), put("c", 2, 1), delete.clone()]);
        let got: Vec<_> = outbox.take(&hub).into_iter().map(|one| (one.watch_id, one.events)).collect();
        assert_eq!(got, [(0, vec![put("b", 2, 1)]), (1, vec![delete])]);
    }
}
