//! Answers kept for as long as their records may be (RFC 1035 section 3.2.1, RFC 2308).
//!
//! Messages are kept as they came, in wire form: that is small, and its size is known.

use crate::config::CacheMode;
use crate::scope::ScopeId;
use crate::wire::Question;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RData;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// What an answer is kept under.
pub type Key = (ScopeId, Question);

/// Nothing is believed for longer (as systemd).
const AGE_MAX: Duration = Duration::from_hours(2);
/// RFC 2308 section 5 lets "no such name" be kept for hours; a mistake should not last so long.
const NEGATIVE_AGE_MAX: Duration = Duration::from_mins(15);

/// Figures for `resolvectl statistics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Statistics {
    /// Answers kept now.
    pub entries: usize,
    /// Their sizes in bytes.
    pub bytes: usize,
    /// Questions answered from here.
    pub hits: u64,
    /// Questions not answered from here.
    pub misses: u64,
}

#[derive(Debug)]
struct Kept {
    message: Vec<u8>,
    since: Instant,
    until: Instant,
}

/// The cache, bounded in entries and bytes; what ends soonest makes room.
#[derive(Debug)]
pub struct Cache {
    mode: CacheMode,
    entries_max: usize,
    bytes_max: usize,
    kept: HashMap<Key, Kept>,
    ends: BTreeSet<(Instant, Key)>,
    statistics: Statistics,
}

impl Cache {
    /// An empty one.
    pub fn new(mode: CacheMode, entries_max: usize, bytes_max: usize) -> Self {
        Self {
            mode,
            entries_max,
            bytes_max,
            kept: HashMap::new(),
            ends: BTreeSet::new(),
            statistics: Statistics::default(),
        }
    }

    /// Keeps an answer, if it may be kept.
    pub fn put(&mut self, key: Key, message: &Message, wire: &[u8], now: Instant) {
        let Some(age) = lifetime(message, self.mode) else { return };
        self.remove(&key);
        let room = key.1.name.len() + wire.len();
        if room > self.bytes_max / 16 {
            return;
        }
        while self.kept.len() >= self.entries_max || self.statistics.bytes + room > self.bytes_max {
            let Some((_, first)) = self.ends.first().cloned() else { return };
            self.remove(&first);
        }
        self.statistics.bytes += room;
        self.ends.insert((now + age, key.clone()));
        self.kept.insert(key, Kept { message: wire.to_vec(), since: now, until: now + age });
    }

    /// A kept answer with its TTLs as they are now.
    pub fn get(&mut self, key: &Key, now: Instant) -> Option<Message> {
        let found = self.look_up(key, now);
        if found.is_some() {
            self.statistics.hits += 1;
        } else {
            self.statistics.misses += 1;
        }
        found
    }

    fn look_up(&mut self, key: &Key, now: Instant) -> Option<Message> {
        let kept = self.kept.get(key)?;
        if kept.until <= now {
            self.remove(key);
            return None;
        }
        let age = now.saturating_duration_since(kept.since).as_secs() as u32;
        let mut message = Message::from_vec(&kept.message).ok()?;
        for record in message.answers.iter_mut().chain(&mut message.authorities) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(message)
    }

    /// Forgets everything; the figures of use stay.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.ends.clear();
        self.statistics.bytes = 0;
    }

    /// Figures.
    pub fn statistics(&self) -> Statistics {
        Statistics { entries: self.kept.len(), ..self.statistics }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(kept) = self.kept.remove(key) {
            self.statistics.bytes -= key.1.name.len() + kept.message.len();
            self.ends.remove(&(kept.until, key.clone()));
        }
    }
}

/// How long an answer may be kept: the least TTL of its answers; of one without, the lesser of
/// its SOA's TTL and MINIMUM (RFC 2308 section 5). `None` for what may not be kept at all.
fn lifetime(message: &Message, mode: CacheMode) -> Option<Duration> {
    let least = message.answers.iter().map(|record| ttl(record.ttl)).min();
    let soa = message.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(ttl(record.ttl).min(ttl(soa.minimum))),
        _ => None,
    });
    let asked = message.queries.first()?;
    let exists = message.response_code == ResponseCode::NoError
        && message.answers.iter().any(|record| {
            record.record_type() == asked.query_type()
                || asked.query_type() == hickory_proto::rr::RecordType::ANY
        });
    let seconds = match (mode, message.response_code, exists) {
        (CacheMode::No, _, _) | (CacheMode::NoNegative, _, false) => return None,
        (_, ResponseCode::NoError, true) => least?,
        (_, ResponseCode::NoError | ResponseCode::NXDomain, _) => soa?.min(least.unwrap_or(u32::MAX)),
        _ => return None,
    };
    let most = if exists { AGE_MAX } else { NEGATIVE_AGE_MAX };
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(most))
}

/// RFC 2181 section 8: a TTL with the top bit set is zero.
fn ttl(raw: u32) -> u32 {
    if raw > i32::MAX as u32 { 0 } else { raw }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::name;
    use hickory_proto::op::Query;
    use hickory_proto::rr::rdata::{A, SOA};
    use hickory_proto::rr::{Record, RecordType};

    fn key(text: &str) -> Key {
        (ScopeId::Global, Question { name: name(text).unwrap(), kind: RecordType::A })
    }

    fn message(text: &str, ttl: Option<u32>, soa: Option<(u32, u32)>) -> Message {
        let asked = name(text).unwrap();
        let mut message = Message::query();
        message.add_query(Query::query(asked.clone(), RecordType::A));
        if let Some(ttl) = ttl {
            message.add_answer(Record::from_rdata(asked.clone(), ttl, RData::A(A::new(10, 0, 0, 1))));
        } else {
            message.metadata.response_code = ResponseCode::NXDomain;
        }
        if let Some((ttl, minimum)) = soa {
            let root = name(".").unwrap();
            let soa = SOA::new(root.clone(), root.clone(), 1, 1, 1, 1, minimum);
            message.add_authority(Record::from_rdata(root, ttl, RData::SOA(soa)));
        }
        message
    }

    fn put(cache: &mut Cache, text: &str, message: &Message, now: Instant) {
        cache.put(key(text), message, &message.to_vec().unwrap(), now);
    }

    #[test]
    fn ttls_count_down_and_end() {
        let (mut cache, now) = (Cache::new(CacheMode::Yes, 8, 1 << 16), Instant::now());
        put(&mut cache, "a", &message("a", Some(60), None), now);
        let at = |cache: &mut Cache, seconds| {
            cache.get(&key("a"), now + Duration::from_secs(seconds)).map(|found| found.answers[0].ttl)
        };
        assert_eq!(at(&mut cache, 0), Some(60));
        assert_eq!(at(&mut cache, 59), Some(1));
        assert_eq!(at(&mut cache, 60), None);
        assert_eq!(cache.statistics(), Statistics { entries: 0, bytes: 0, hits: 2, misses: 1 });
    }

    #[test]
    fn what_does_not_exist_is_kept_as_its_soa_says() {
        let (mut cache, now) = (Cache::new(CacheMode::Yes, 8, 1 << 16), Instant::now());
        put(&mut cache, "a", &message("a", None, Some((300, 20))), now);
        put(&mut cache, "b", &message("b", None, None), now);
        assert!(cache.get(&key("a"), now + Duration::from_secs(19)).is_some());
        assert!(cache.get(&key("a"), now + Duration::from_secs(20)).is_none());
        assert!(cache.get(&key("b"), now).is_none(), "without SOA it must not be kept");
    }

    #[test]
    fn neither_zero_nor_a_negative_ttl_nor_a_failure_is_kept() {
        let (mut cache, now) = (Cache::new(CacheMode::Yes, 8, 1 << 16), Instant::now());
        put(&mut cache, "a", &message("a", Some(0), None), now);
        put(&mut cache, "b", &message("b", Some(0x8000_0001), None), now);
        let mut failed = message("c", Some(5), None);
        failed.metadata.response_code = ResponseCode::ServFail;
        put(&mut cache, "c", &failed, now);
        assert_eq!(cache.statistics().entries, 0);
        let mut positive = Cache::new(CacheMode::NoNegative, 8, 1 << 16);
        put(&mut positive, "a", &message("a", None, Some((300, 20))), now);
        assert_eq!(positive.statistics().entries, 0);
        put(&mut positive, "a", &message("a", Some(2), None), now);
        assert_eq!(positive.statistics().entries, 1);
    }

    #[test]
    fn it_is_bounded_in_entries_and_bytes_and_what_ends_first_goes() {
        let now = Instant::now();
        let mut few = Cache::new(CacheMode::Yes, 2, 1 << 16);
        for (text, ttl) in [("a", 10), ("b", 99), ("c", 50)] {
            put(&mut few, text, &message(text, Some(ttl), None), now);
        }
        assert!(few.get(&key("a"), now).is_none());
        assert!(few.get(&key("b"), now).is_some() && few.get(&key("c"), now).is_some());
        let mut small = Cache::new(CacheMode::Yes, 10_000, 4096);
        for index in 0..1000 {
            put(&mut small, &format!("n{index}"), &message(&format!("n{index}"), Some(60), None), now);
            assert!(small.statistics().bytes <= 4096);
        }
        assert!(small.statistics().entries > 20, "{:?}", small.statistics());
        small.clear();
        assert_eq!((small.statistics().entries, small.statistics().bytes), (0, 0));
    }
}
