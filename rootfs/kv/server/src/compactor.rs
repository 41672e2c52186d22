//! Compaction by the member itself (etcd: `--auto-compaction-mode`, `--auto-compaction-retention`):
//! the leader forgets what is older than a time, or than a number of revisions. When is etcd's too.

use std::collections::VecDeque;
use std::time::Duration;

use kv_api::etcdserverpb::CompactionRequest;
use kv_api::kvpb::command::Change;

use crate::member::Member;

/// How often a number of revisions is looked at.
const REVISION_CHECK: Duration = Duration::from_mins(5);
/// A longer time is looked at as often as one of an hour.
const LONGEST_STEP: Duration = Duration::from_hours(1);
/// How many looks a time is divided into.
const LOOKS: u32 = 10;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// What was new within this time.
    Time(Duration),
    /// So many revisions.
    Revisions(i64),
}

impl Retention {
    /// Reads the two flags; `None` if nothing is to be compacted.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(mode: &str, retention: &str) -> Result<Option<Self>, &'static str> {
        let number = retention.parse::<u32>().ok();
        match mode {
            "revision" => {
                let revisions = number.ok_or("with the mode revision it must be a number of revisions")?;
                Ok((revisions > 0).then_some(Self::Revisions(revisions.into())))
            }
            "periodic" => {
                let time = match number {
                    Some(hours) => Some(Duration::from_secs(u64::from(hours) * 3600)),
                    None => duration(retention),
                };
                let time = time.ok_or("it must be hours, or a time as 10m, 1h30m or 90s")?;
                Ok((!time.is_zero()).then_some(Self::Time(time)))
            }
            _ => Err("--auto-compaction-mode must be periodic or revision"),
        }
    }

    fn step(self) -> Duration {
        match self {
            Self::Time(time) => time.min(LONGEST_STEP) / LOOKS,
            Self::Revisions(_) => REVISION_CHECK,
        }
    }
}

/// A time as Go writes it: numbers with h, m, s or ms behind them.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut all = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number = rest[..digits].parse::<u32>().ok()?;
        rest = &rest[digits..];
        let units = [
            ("ms", Duration::from_millis(1)),
            ("h", Duration::from_hours(1)),
            ("m", Duration::from_mins(1)),
            ("s", Duration::from_secs(1)),
        ];
        let (unit, length) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        all = all.checked_add(length.checked_mul(number)?)?;
    }
    (!text.is_empty()).then_some(all)
}

/// Decides what to compact, one look a [`Retention::step`].
#[derive(Debug)]
struct Plan {
    kept: Retention,
    seen: VecDeque<i64>,
    /// Looks since the last compaction that was done.
    since: u32,
    last: i64,
    begun: bool,
}

impl Plan {
    fn new(kept: Retention) -> Self {
        Self { kept, seen: VecDeque::new(), since: 0, last: 0, begun: false }
    }

    /// What to compact at, the store being at `revision` now.
    fn look(&mut self, revision: i64) -> Option<i64> {
        self.since = self.since.saturating_add(1);
        let target = match self.kept {
            Retention::Revisions(kept) => revision - kept,
            Retention::Time(time) => {
                let step = self.kept.step();
                let looks = (time.as_nanos() / step.as_nanos().max(1)) as usize;
                self.seen.push_back(revision);
                if self.seen.len() > looks + 1 {
                    self.seen.pop_front();
                }
                // At first all of the time must have passed, then a step of an hour at most.
                let due = if self.begun { LOOKS as usize } else { looks };
                if self.seen.len() <= looks || (self.since as usize) < due {
                    return None;
                }
                self.seen[0]
            }
        };
        (target > self.last && target > 0).then_some(target)
    }

    fn done(&mut self, target: i64) {
        (self.last, self.since, self.begun) = (target, 0, true);
    }
}

/// Compacts while this member leads; returns never.
pub async fn run(member: Member, kept: Retention) {
    let mut plan = Plan::new(kept);
    loop {
        let due = plan.look(member.shared.hub.revision());
        if let Some(revision) = due
            && member.consensus.status().leader == member.identity.member
        {
            let request = CompactionRequest { revision, physical: false };
            // What is compacted already is done, too; anything else is tried again at the next look.
            match member.change(Change::Compaction(request)).await {
                Ok(_) => plan.done(revision),
                Err(status) if status.code() == tonic::Code::OutOfRange => plan.done(revision),
                Err(_) => {}
            }
        }
        tokio::time::sleep(kept.step()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_etcd_reads_them() {
        assert_eq!(Retention::read("periodic", "0"), Ok(None));
        assert_eq!(Retention::read("revision", "0"), Ok(None));
        assert_eq!(Retention::read("revision", "1000"), Ok(Some(Retention::Revisions(1000))));
        let time = |text| Retention::read("periodic", text).unwrap().unwrap();
        assert_eq!(time("2"), Retention::Time(Duration::from_hours(2)));
        assert_eq!(time("1h30m"), Retention::Time(Duration::from_mins(90)));
        assert_eq!(time("90s500ms"), Retention::Time(Duration::from_millis(90_500)));
        for wrong in ["", "h", "1", "5x", "1h5"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_number_of_revisions_is_kept() {
        let mut plan = Plan::new(Retention::Revisions(100));
        assert_eq!(plan.look(50), None);
        assert_eq!(plan.look(100), None);
        assert_eq!(plan.look(150), Some(50));
        plan.done(50);
        assert_eq!(plan.look(150), None);
        assert_eq!(plan.look(151), Some(51));
        assert_eq!(plan.look(152), Some(52), "what failed is tried again");
    }

    #[test]
    fn a_time_is_kept() {
        // A look every minute.
        let mut plan = Plan::new(Retention::Time(Duration::from_mins(10)));
        let mut done = Vec::new();
        for minute in 0..35 {
            if let Some(target) = plan.look(100 + minute) {
                plan.done(target);
                done.push((minute, target));
            }
        }
        assert_eq!(done, [(10, 100), (20, 110), (30, 120)]);
        // A look every six minutes, and a compaction an hour.
        let mut plan = Plan::new(Retention::Time(Duration::from_hours(2)));
        let mut done = Vec::new();
        for look in 0..45 {
            if let Some(target) = plan.look(100 + look) {
                plan.done(target);
                done.push((look, target));
            }
        }
        assert_eq!(done, [(20, 100), (30, 110), (40, 120)]);
    }
}
