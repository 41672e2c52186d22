//! The ways to other members. A peer is in the page from the first time that it is heard of.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::number::{Histogram, exponential};
use super::text::Text;

static FROM_100_US: [f64; 16] = exponential(0.0001);

/// What is known of the way to one peer.
#[derive(Debug)]
struct Peer {
    round_trip: Histogram,
    sent_bytes: u64,
    received_bytes: u64,
}

static PEERS: Mutex<BTreeMap<u64, Peer>> = Mutex::new(BTreeMap::new());

fn with<T>(peer: u64, change: impl FnOnce(&mut Peer) -> T) -> T {
    let mut peers = PEERS.lock().unwrap_or_else(PoisonError::into_inner);
    let new = || Peer { round_trip: Histogram::new(&FROM_100_US), sent_bytes: 0, received_bytes: 0 };
    change(peers.entry(peer).or_insert_with(new))
}

/// A message to a peer was answered after this time.
pub fn answered(peer: u64, after: Duration) {
    with(peer, |peer| peer.round_trip.observe(after.as_secs_f64()));
}

/// A message went to a peer.
pub fn sent(peer: u64, bytes: usize) {
    with(peer, |peer| peer.sent_bytes += bytes as u64);
}

/// A message came from a peer.
pub fn received(peer: u64, bytes: usize) {
    with(peer, |peer| peer.received_bytes += bytes as u64);
}

pub(super) fn write(text: &mut Text) {
    let peers = PEERS.lock().unwrap_or_else(PoisonError::into_inner);
    if peers.is_empty() {
        return;
    }
    let name = "etcd_network_peer_round_trip_time_seconds";
    text.family(name, "histogram", "Round-Trip-Time histogram between peers.");
    for (id, peer) in &*peers {
        text.buckets(name, &[("To", &format!("{id:x}"))], &peer.round_trip);
    }
    let name = "etcd_network_peer_sent_bytes_total";
    text.family(name, "counter", "The total number of bytes sent to peers.");
    for (id, peer) in &*peers {
        text.sample(name, &[("To", &format!("{id:x}"))], peer.sent_bytes);
    }
    let name = "etcd_network_peer_received_bytes_total";
    text.family(name, "counter", "The total number of bytes received from peers.");
    for (id, peer) in &*peers {
        text.sample(name, &[("From", &format!("{id:x}"))], peer.received_bytes);
    }
}
