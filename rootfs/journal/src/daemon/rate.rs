//! Not more than so many entries of one service in so much time, and a count of the rest.

use std::collections::HashMap;
use std::time::Duration;

/// Services remembered; the oldest are forgotten beyond that.
const SERVICES_MAX: usize = 4096;

/// The limit of each service that has none of its own, and how far each is.
#[derive(Debug)]
pub struct Rate {
    interval: Duration,
    burst: u64,
    services: HashMap<String, Window>,
}

#[derive(Debug)]
struct Window {
    begin: Duration,
    interval: Duration,
    passed: u64,
    dropped: u64,
}

impl Rate {
    /// Lets `burst` entries pass in each `interval`; all, if either is zero.
    pub fn new(interval: Duration, burst: u64) -> Self {
        Self { interval, burst, services: HashMap::new() }
    }

    /// Whether an entry passes now, and how many were dropped in the window that ended with it.
    pub fn check(&mut self, service: &str, now: Duration) -> (bool, u64) {
        self.check_with(service, now, None, None)
    }

    /// The same, by a limit of the service's own as far as it has one.
    pub fn check_with(
        &mut self,
        service: &str,
        now: Duration,
        interval: Option<Duration>,
        burst: Option<u64>,
    ) -> (bool, u64) {
        let (interval, burst) = (interval.unwrap_or(self.interval), burst.unwrap_or(self.burst));
        if burst == 0 || interval.is_zero() {
            return (true, 0);
        }
        let Some(window) = self.services.get_mut(service) else {
            if self.services.len() >= SERVICES_MAX {
                self.services.retain(|_, window| window.begin + window.interval > now);
            }
            if self.services.len() < SERVICES_MAX {
                self.services
                    .insert(service.to_owned(), Window { begin: now, interval, passed: 1, dropped: 0 });
            }
            return (true, 0);
        };
        let mut told = 0;
        window.interval = interval;
        if now >= window.begin + interval {
            told = std::mem::take(&mut window.dropped);
            (window.begin, window.passed) = (now, 0);
        }
        let pass = window.passed < burst;
        if pass {
            window.passed += 1;
        } else {
            window.dropped += 1;
        }
        (pass, told)
    }

    /// When a count is due of a service that may say nothing more.
    pub fn deadline(&self) -> Option<Duration> {
        let full = self.services.values().filter(|window| window.dropped > 0);
        full.map(|window| window.begin + window.interval).min()
    }

    /// The counts that are due.
    pub fn due(&mut self, now: Duration) -> Vec<(String, u64)> {
        let ended = self
            .services
            .iter_mut()
            .filter(|(_, window)| window.dropped > 0 && now >= window.begin + window.interval);
        ended.map(|(service, window)| (service.clone(), std::mem::take(&mut window.dropped))).collect()
    }

    /// All counts, whether due or not.
    pub fn all(&mut self) -> Vec<(String, u64)> {
        let full = self.services.iter_mut().filter(|(_, window)| window.dropped > 0);
        full.map(|(service, window)| (service.clone(), std::mem::take(&mut window.dropped))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_may_have_a_limit_of_its_own() {
        let second = Duration::from_secs;
        let mut rate = Rate::new(second(30), 3);
        let mut own = |at| rate.check_with("a", second(at), Some(second(5)), Some(1)).0;
        assert!(own(1) && !own(2) && own(6) && !own(7));
        assert_eq!(rate.deadline(), Some(second(11)));
        assert_eq!(rate.due(second(11)), [("a".to_owned(), 1)]);
        assert!((0..9).all(|_| rate.check_with("b", second(1), None, Some(0)).0), "zero is no limit");
    }

    #[test]
    fn the_burst_passes_and_the_rest_is_counted() {
        let second = Duration::from_secs;
        let mut rate = Rate::new(second(30), 3);
        let passed = (0..10).filter(|_| rate.check("a", second(1)).0).count();
        assert_eq!(passed, 3);
        assert_eq!(rate.check("b", second(1)), (true, 0), "others are not concerned");
        assert_eq!(rate.deadline(), Some(second(31)));
        assert_eq!(rate.due(second(30)), []);
        assert_eq!(rate.check("a", second(31)), (true, 7));
        assert_eq!(rate.deadline(), None);
        for _ in 0..3 {
            rate.check("a", second(32));
        }
        assert_eq!(rate.due(second(61)), [("a".to_owned(), 1)]);
        assert_eq!(rate.due(second(61)), []);
        assert!((0..99).all(|_| Rate::new(second(0), 3).check("a", second(1)).0));
    }
}
