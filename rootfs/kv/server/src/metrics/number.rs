//! Numbers that many threads add to.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The most bounds of a histogram.
const MOST: usize = 24;

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Begins at 0.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Sets it; returns what it was.
    pub(super) fn replace(&self, value: u64) -> u64 {
        self.0.swap(value, Relaxed)
    }
}

/// How many of the values that were observed are at most each of some bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: [AtomicU64; MOST + 1],
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Histogram {
    /// With bounds in rising order; what is above them all is counted as well. Bounds beyond the
    /// 24th are left out.
    pub const fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: [const { AtomicU64::new(0) }; MOST + 1], sum: AtomicU64::new(0) }
    }

    /// Takes a value in.
    pub fn observe(&self, value: f64) {
        let bounds = self.bounds();
        let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        self.counts[bucket].fetch_add(1, Relaxed);
        let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
        // The closure never refuses.
        let _ = self.sum.fetch_update(Relaxed, Relaxed, add);
    }

    /// Takes the seconds in that pass until what this gives is dropped.
    pub fn time(&self) -> Timer<'_> {
        Timer { histogram: self, began: Instant::now() }
    }

    /// The bounds.
    pub fn bounds(&self) -> &'static [f64] {
        &self.bounds[..self.bounds.len().min(MOST)]
    }

    /// How many values lie up to each bound, how many there are, and their sum.
    pub fn totals(&self) -> (Vec<u64>, u64, f64) {
        let mut count = 0;
        let mut up_to = Vec::with_capacity(MOST);
        for bucket in &self.counts[..self.bounds().len()] {
            count += bucket.load(Relaxed);
            up_to.push(count);
        }
        count += self.counts[self.bounds().len()].load(Relaxed);
        (up_to, count, f64::from_bits(self.sum.load(Relaxed)))
    }
}

/// Observes how long it has lived, in seconds.
#[derive(Debug)]
pub struct Timer<'h> {
    histogram: &'h Histogram,
    began: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.histogram.observe(self.began.elapsed().as_secs_f64());
    }
}

/// Bounds, each twice the one before.
pub const fn exponential<const N: usize>(first: f64) -> [f64; N] {
    let mut bounds = [first; N];
    let mut at = 1;
    while at < N {
        bounds[at] = bounds[at - 1] * 2.0;
        at += 1;
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_up_to_their_bound() {
        static BOUNDS: [f64; 3] = exponential(1.0);
        let histogram = Histogram::new(&BOUNDS);
        for value in [0.5, 1.0, 3.0, 100.0] {
            histogram.observe(value);
        }
        assert_eq!(histogram.totals(), (vec![2, 2, 3], 4, 104.5));
    }
}
