//! Timers (systemd.timer(5)): when one elapses next is a function of facts.

use super::action::{Action, Notice, Severity};
use super::state::ServiceResult;
use super::{Edge, Engine, JobKind, UnitId};
use crate::time::{Calendar, Zone, ZoneName};
use crate::unit::config::Special;
use crate::unit::timer::{Base, Timer};
use crate::unit::{Relation, UnitName};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the engine knows of wall-clock time. It changes by [`Engine::set_clock`] only.
#[derive(Clone, Debug)]
pub struct Clock {
    /// What the wall clock showed at the engine's moment zero: microseconds since 1970, UTC.
    pub epoch_us: i64,
    /// The machine's time zone.
    pub local: Zone,
    /// Other zones that timers name.
    pub zones: BTreeMap<String, Zone>,
    /// When the engine began.
    pub startup: Duration,
    /// What fixed random delays follow from.
    pub machine_id: String,
    /// What the other random delays follow from.
    pub boot_id: String,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            epoch_us: 0,
            local: Zone::utc(),
            zones: BTreeMap::new(),
            startup: Duration::ZERO,
            machine_id: String::new(),
            boot_id: String::new(),
        }
    }
}

impl Clock {
    fn wall_us(&self, at: Duration) -> i64 {
        self.epoch_us.saturating_add(i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
    }

    fn at(&self, wall_us: i64) -> Duration {
        Duration::from_micros(u64::try_from(wall_us.saturating_sub(self.epoch_us)).unwrap_or(0))
    }

    fn zone(&self, calendar: &Calendar) -> Option<&Zone> {
        match &calendar.zone {
            ZoneName::Named(name) => self.zones.get(name),
            _ => Some(&self.local),
        }
    }
}

/// A timer at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimerState {
    /// When it elapses next, random delay included.
    pub next: Option<Duration>,
    /// When it elapsed last in this boot.
    pub last: Option<Duration>,
    /// What the wall clock showed when it elapsed last, earlier boots included.
    pub last_wall_us: Option<i64>,
    /// How often it elapsed.
    pub count: u64,
}

/// What decides when a timer elapses.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub(super) clock: &'a Clock,
    pub(super) now: Duration,
    /// When the timer became active.
    pub(super) active_since: Duration,
    pub(super) state: &'a TimerState,
    /// When the unit that it triggers left inactive, and entered it.
    pub(super) unit_active: Option<Duration>,
    pub(super) unit_inactive: Option<Duration>,
}

/// When a timer elapses next, without random delay; `None` if it will not by itself.
pub(super) fn next_elapse(timer: &Timer, facts: &Facts<'_>) -> Option<Duration> {
    let last = facts.state.last;
    let monotonic = timer.monotonic.iter().filter_map(|(base, span)| {
        let from = match base {
            Base::Active => facts.active_since,
            Base::Boot => Duration::ZERO,
            Base::Startup => facts.clock.startup,
            Base::UnitActive => facts.unit_active.max(last)?,
            Base::UnitInactive => facts.unit_inactive.max(last)?,
        };
        let next = from.checked_add(*span)?;
        // Once is all that these do.
        let once = matches!(base, Base::Active | Base::Boot | Base::Startup);
        (!once || last.is_none_or(|last| next > last)).then_some(next)
    });
    let calendar = timer.calendar.iter().filter_map(|calendar| {
        let now = facts.clock.wall_us(facts.now);
        let activated = facts.clock.wall_us(facts.active_since);
        // A last run in the future is one before the clock was set back.
        let from = facts.state.last_wall_us.unwrap_or(activated).min(now);
        let utc = Zone::utc();
        let zone = if calendar.zone == ZoneName::Utc { Some(&utc) } else { facts.clock.zone(calendar) };
        let next = calendar.next(from, zone?)?;
        // What was missed before this boot counts from its start, so that a delay has its effect.
        Some(facts.clock.at(next.max(facts.clock.wall_us(facts.clock.startup))))
    });
    monotonic.chain(calendar).min()
}

/// A delay below `RandomizedDelaySec=`.
fn delay(timer: &Timer, name: &UnitName, clock: &Clock, count: u64) -> Duration {
    let most = u64::try_from(timer.randomized_delay.as_micros()).unwrap_or(u64::MAX);
    if most == 0 {
        return Duration::ZERO;
    }
    let (seed, count) =
        if timer.fixed_random_delay { (&clock.machine_id, 0) } else { (&clock.boot_id, count) };
    // FNV-1a, then the finalizer of splitmix64: stable over versions of this program.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in seed.bytes().chain([0]).chain(name.as_str().bytes()).chain(count.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Duration::from_micros((hash ^ (hash >> 31)) % most)
}

impl Engine {
    fn timer(&self, id: UnitId) -> Option<&Timer> {
        match &self.unit(id).special {
            Special::Timer(timer) => Some(timer),
            _ => None,
        }
    }

    /// Takes what the wall clock shows, at the start and whenever it was set or the zone changed.
    /// `clock_set` and `zone_set` say which of the two happened.
    pub fn set_clock(&mut self, clock: Clock, clock_set: bool, zone_set: bool, now: Duration) {
        self.now = now;
        self.clock = clock;
        for id in self.ids() {
            let Some(timer) = self.timer(id) else { continue };
            let wanted = timer.on_clock_change && clock_set || timer.on_timezone_change && zone_set;
            let state = self.state(id);
            if !state.is_target_up || state.triggered {
                continue;
            }
            if wanted {
                self.timer_elapsed(id);
            } else if !timer.calendar.is_empty() {
                self.timer_wait(id);
            }
        }
        self.run_queue();
    }

    /// The clock as last set.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Names of time zones that timers want and the clock does not have.
    pub fn missing_zones(&self) -> Vec<String> {
        let timers = self.ids().filter_map(|id| self.timer(id).map(|timer| timer.calendar.clone()));
        let mut names: Vec<String> = timers
            .flatten()
            .filter_map(|calendar| match calendar.zone {
                ZoneName::Named(name) if !self.clock.zones.contains_key(&name) => Some(name),
                _ => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    pub(super) fn timer_start(&mut self, id: UnitId) {
        let state = &mut self.states[id.index()];
        state.triggered = false;
        let mut timer = state.timer.take().unwrap_or_default();
        timer.next = None;
        state.timer = Some(timer);
        self.set_target(id, true);
        if self.timer(id).is_some_and(|timer| timer.persistent) {
            self.actions.push(Action::ReadStamp(id));
        } else {
            // Without it each activation counts anew.
            self.states[id.index()].timer = Some(Box::default());
            self.timer_wait(id);
        }
    }

    pub(super) fn timer_stamped(&mut self, id: UnitId, last: Option<i64>) {
        if self.state(id).is_target_up && !self.state(id).triggered {
            if let Some(timer) = &mut self.states[id.index()].timer {
                timer.last_wall_us = last;
            }
            self.timer_wait(id);
        }
    }

    pub(super) fn timer_stop(&mut self, id: UnitId, failure: Option<ServiceResult>) {
        let state = &mut self.states[id.index()];
        state.triggered = false;
        state.failure = failure;
        state.result = failure.unwrap_or_default();
        if let Some(timer) = &mut state.timer {
            timer.next = None;
        }
        self.set_target(id, false);
    }

    /// Finds out when it elapses next; one that never will is over.
    fn timer_wait(&mut self, id: UnitId) {
        let Some(timer) = self.timer(id) else { return };
        for calendar in &timer.calendar {
            if let ZoneName::Named(name) = &calendar.zone
                && !self.clock.zones.contains_key(name)
            {
                let notice = Notice::ZoneUnknown(name.clone());
                self.log(Some(id), Severity::Error, notice);
                return self.timer_stop(id, Some(ServiceResult::Resources));
            }
        }
        let state = self.state(id);
        let own = state.timer.as_deref().cloned().unwrap_or_default();
        let triggered = self.edges(id, Edge::To(Relation::Triggers)).first().map(|unit| self.state(*unit));
        let facts = Facts {
            clock: &self.clock,
            now: self.now,
            active_since: state.active_since.unwrap_or(self.now),
            state: &own,
            unit_active: triggered.and_then(|unit| unit.inactive_exit),
            unit_inactive: triggered.and_then(|unit| unit.inactive_since),
        };
        let next = next_elapse(timer, &facts)
            .map(|next| next.saturating_add(delay(timer, &self.unit(id).name, &self.clock, own.count)));
        let has_events = timer.on_clock_change || timer.on_timezone_change;
        let by_unit =
            timer.monotonic.iter().any(|(base, _)| matches!(base, Base::UnitActive | Base::UnitInactive));
        let remains = timer.remain_after_elapse || has_events || by_unit;
        let state = &mut self.states[id.index()];
        state.triggered = false;
        state.timer = Some(Box::new(TimerState { next, ..own }));
        if next.is_none() && !remains {
            self.timer_stop(id, None);
        }
    }

    fn timer_elapsed(&mut self, id: UnitId) {
        let stops = self.job_of(id).is_some_and(|job| matches!(job.kind, JobKind::Stop | JobKind::Restart));
        let persistent = self.timer(id).is_some_and(|timer| timer.persistent);
        let (now, wall) = (self.now, self.clock.wall_us(self.now));
        let state = &mut self.states[id.index()];
        let Some(timer) = &mut state.timer else { return };
        timer.next = None;
        if stops || self.closing {
            return;
        }
        timer.last = Some(now);
        timer.last_wall_us = Some(wall);
        timer.count += 1;
        state.triggered = true;
        if persistent {
            self.actions.push(Action::WriteStamp(id));
        }
        if self.trigger(id).is_err() {
            self.timer_stop(id, Some(ServiceResult::Resources));
        }
    }

    /// What the timer triggers changed its state, or its start job ended.
    pub(super) fn timer_notify(&mut self, id: UnitId, unit: UnitId) {
        let state = self.state(id);
        let down = self.active(unit).is_down() && self.state(unit).job.is_none();
        if state.is_target_up && (down || !state.triggered) {
            self.timer_wait(id);
        }
    }

    pub(super) fn timers_tick(&mut self) {
        for id in self.ids() {
            let due = |timer: &TimerState| timer.next.is_some_and(|next| next <= self.now);
            if self.state(id).is_target_up && self.state(id).timer.as_deref().is_some_and(due) {
                self.timer_elapsed(id);
            }
        }
    }

    /// When to look at timers next: as late as the accuracy of the first allows, if that lets more
    /// than one elapse in one go, and then not later than the last of those (`AccuracySec=`).
    pub(super) fn timers_deadline(&self) -> Option<Duration> {
        let waiting = || {
            self.ids().filter_map(|id| {
                let next = self.state(id).timer.as_deref()?.next?;
                Some((next, next.saturating_add(self.timer(id)?.accuracy)))
            })
        };
        let latest = waiting().map(|(_, latest)| latest).min()?;
        waiting().map(|(next, _)| next).filter(|next| *next <= latest).max()
    }
}
