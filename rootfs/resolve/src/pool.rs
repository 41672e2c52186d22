//! Which server is asked next: those that failed lately come last.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a server that failed once is put behind the others; doubled with every failure.
const PENALTY: Duration = Duration::from_secs(5);
const PENALTY_MAX: Duration = Duration::from_mins(5);
/// A server that could not read EDNS is not tried with it again for so long.
const PLAIN: Duration = Duration::from_hours(1);

/// What is known of a server.
#[derive(Debug, Clone, Copy, Default)]
struct Health {
    failures: u32,
    behind_until: Option<Instant>,
    plain_until: Option<Instant>,
}

/// The health of all servers.
#[derive(Debug, Default)]
pub struct Pool {
    servers: HashMap<SocketAddr, Health>,
}

impl Pool {
    /// The servers in the order to ask: the good ones as they are configured, then the others by
    /// when their penalty ends.
    pub fn order(&self, servers: &[SocketAddr], now: Instant) -> Vec<SocketAddr> {
        let mut order = servers.to_vec();
        order.sort_by_key(|server| {
            self.servers.get(server).and_then(|health| health.behind_until).filter(|until| *until > now)
        });
        order
    }

    /// It answered.
    pub fn good(&mut self, server: SocketAddr) {
        if let Some(health) = self.servers.get_mut(&server) {
            health.failures = 0;
            health.behind_until = None;
        }
    }

    /// It did not, or could not.
    pub fn bad(&mut self, server: SocketAddr, now: Instant) {
        let health = self.servers.entry(server).or_default();
        let penalty = PENALTY.saturating_mul(1 << health.failures.min(16)).min(PENALTY_MAX);
        health.failures = health.failures.saturating_add(1);
        health.behind_until = Some(now + penalty);
    }

    /// It does not read EDNS (RFC 6891 section 6.2.2).
    pub fn plain(&mut self, server: SocketAddr, now: Instant) {
        self.servers.entry(server).or_default().plain_until = Some(now + PLAIN);
    }

    /// Whether to ask it with EDNS.
    pub fn reads_edns(&self, server: SocketAddr, now: Instant) -> bool {
        self.servers.get(&server).and_then(|health| health.plain_until).is_none_or(|until| until <= now)
    }

    /// Failures in a row.
    pub fn failures(&self, server: SocketAddr) -> u32 {
        self.servers.get(&server).map_or(0, |health| health.failures)
    }

    /// Forgets servers that are not in use.
    pub fn keep(&mut self, in_use: impl Fn(&SocketAddr) -> bool) {
        self.servers.retain(|server, _| in_use(server));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_failed_comes_last_and_comes_back() {
        let servers: Vec<SocketAddr> =
            ["10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"].map(|text| text.parse().unwrap()).to_vec();
        let [a, b, c] = servers[..] else { unreachable!() };
        let (mut pool, now) = (Pool::default(), Instant::now());
        assert_eq!(pool.order(&servers, now), [a, b, c]);
        pool.bad(a, now);
        assert_eq!(pool.order(&servers, now), [b, c, a]);
        pool.bad(b, now + Duration::from_secs(1));
        assert_eq!(pool.order(&servers, now + Duration::from_secs(1)), [c, a, b]);
        assert_eq!(pool.order(&servers, now + Duration::from_secs(5)), [a, c, b]);
        pool.bad(a, now + Duration::from_secs(5));
        assert_eq!(
            pool.order(&servers, now + Duration::from_secs(14)),
            [b, c, a],
            "the second penalty is longer"
        );
        pool.good(a);
        assert_eq!(
            (pool.order(&servers, now + Duration::from_secs(14)), pool.failures(a)),
            (vec![a, b, c], 0)
        );
        for _ in 0..100 {
            pool.bad(c, now);
        }
        assert_eq!(pool.order(&servers, now + PENALTY_MAX)[2], c, "the penalty has an end");
    }

    #[test]
    fn edns_is_tried_again_after_an_hour() {
        let (mut pool, now) = (Pool::default(), Instant::now());
        let server = "10.0.0.1:53".parse().unwrap();
        assert!(pool.reads_edns(server, now));
        pool.plain(server, now);
        assert!(!pool.reads_edns(server, now));
        assert!(pool.reads_edns(server, now + PLAIN));
    }
}
