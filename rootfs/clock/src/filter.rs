//! Which samples to believe.

use std::collections::VecDeque;

/// Samples that are remembered.
const WINDOW: usize = 8;
/// Samples before which everything is believed.
const LEARNT: usize = 4;
/// An offset below this is no reason for doubt, nanoseconds.
const FLOOR_NS: i64 = 2_000_000;
/// An offset from which the clock is stepped instead of slewed, nanoseconds (as systemd-timesyncd:
/// the kernel's loop ends at half a second, and would need a quarter of an hour for that).
pub const STEP_NS: i64 = 400_000_000;
/// Samples in a row that say the same before a surprising one is believed.
const WITNESSES: usize = 3;

/// One exchange with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// What our clock lags behind the server's, nanoseconds.
    pub offset_ns: i64,
    /// How long the packets were under way, nanoseconds.
    pub delay_ns: i64,
}

impl Sample {
    /// Of the four times of an exchange, nanoseconds since 1970 (RFC 5905 section 8); `None` when
    /// they are beyond all measure.
    pub fn of(sent: i64, server_received: i64, server_sent: i64, received: i64) -> Option<Self> {
        let forth = i128::from(server_received) - i128::from(sent);
        let back = i128::from(server_sent) - i128::from(received);
        let delay = forth - back;
        Some(Self {
            offset_ns: i64::try_from(i128::midpoint(forth, back)).ok()?,
            delay_ns: i64::try_from(delay).ok()?.max(0),
        })
    }
}

/// What to do with a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Adjust the clock by it.
    Use,
    /// It was held up under way, by more than it tells: pass it over.
    HeldUp,
    /// It tells of a leap that its delay does not explain: ask again before believing it.
    Surprising,
}

/// The recent past with one server.
#[derive(Debug, Default, Clone)]
pub struct Filter {
    samples: VecDeque<Sample>,
    surprises: Vec<i64>,
}

impl Filter {
    /// Judges a sample and remembers it. The same surprise [`WITNESSES`] times is believed.
    /// `settled`: the clock was right before, so that a step is a surprise from any server.
    pub fn judge(&mut self, sample: Sample, settled: bool) -> Verdict {
        let verdict = self.verdict(sample, settled);
        match verdict {
            Verdict::Use => self.surprises.clear(),
            Verdict::HeldUp => {}
            Verdict::Surprising => {
                let tolerance = (sample.offset_ns.abs() / 8).max(4 * FLOOR_NS);
                if self.surprises.iter().any(|other| (other - sample.offset_ns).abs() > tolerance) {
                    self.surprises.clear();
                }
                self.surprises.push(sample.offset_ns);
                if self.surprises.len() >= WITNESSES {
                    // What is remembered was before the leap.
                    *self = Self::default();
                    self.samples.push_back(sample);
                    return Verdict::Use;
                }
                return Verdict::Surprising;
            }
        }
        if self.samples.len() == WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        verdict
    }

    fn verdict(&self, sample: Sample, settled: bool) -> Verdict {
        if settled && sample.offset_ns.abs() >= STEP_NS {
            return Verdict::Surprising;
        }
        if self.samples.len() < LEARNT {
            return Verdict::Use;
        }
        let least = self.samples.iter().map(|sample| sample.delay_ns).min().unwrap_or(0);
        let extra = sample.delay_ns.saturating_sub(least);
        let jitter = self.jitter_ns();
        // All of the extra delay may have been in one direction, which shifts the offset by half.
        if extra > jitter.max(FLOOR_NS) && sample.offset_ns.abs() <= extra / 2 + jitter {
            return Verdict::HeldUp;
        }
        if sample.offset_ns.abs() > (jitter.saturating_mul(6) + extra / 2).max(10 * FLOOR_NS) {
            return Verdict::Surprising;
        }
        Verdict::Use
    }

    /// Root mean square of the offsets: the clock is set right after each, so it is what they are
    /// expected to be off.
    pub fn jitter_ns(&self) -> i64 {
        if self.samples.is_empty() {
            return 0;
        }
        let sum: f64 = self.samples.iter().map(|sample| (sample.offset_ns as f64).powi(2)).sum();
        (sum / self.samples.len() as f64).sqrt() as i64
    }

    /// The clock was stepped, or the server changed.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn sample(offset_ms: i64, delay_ms: i64) -> Sample {
        Sample { offset_ns: offset_ms * MS, delay_ns: delay_ms * MS }
    }

    fn learnt() -> Filter {
        let mut filter = Filter::default();
        for _ in 0..WINDOW {
            assert_eq!(filter.judge(sample(0, 10), true), Verdict::Use);
        }
        filter
    }

    #[test]
    fn offset_and_delay_of_four_times() {
        // Our clock is 100 behind; 5 forth, 7 back.
        assert_eq!(Sample::of(0, 105, 110, 17), Some(Sample { offset_ns: 99, delay_ns: 12 }));
        assert_eq!(Sample::of(i64::MIN, i64::MAX, i64::MAX, i64::MIN), None);
    }

    #[test]
    fn a_packet_that_was_held_up_is_passed_over() {
        let mut filter = learnt();
        assert_eq!(filter.judge(sample(45, 100), true), Verdict::HeldUp);
        assert_eq!(filter.judge(sample(1, 10), true), Verdict::Use);
    }

    #[test]
    fn a_leap_is_believed_at_the_third_time() {
        let mut filter = learnt();
        for verdict in [Verdict::Surprising, Verdict::Surprising, Verdict::Use] {
            assert_eq!(filter.judge(sample(300, 10), true), verdict);
        }
        let mut filter = learnt();
        for offset in [300, -300, 500, 100, -100, 300, 900] {
            assert_eq!(filter.judge(sample(offset, 10), true), Verdict::Surprising, "these do not agree");
        }
        assert_eq!(filter.judge(sample(1, 10), true), Verdict::Use);
    }
}
