//! Installed jobs: when they run, what they start, and what their end brings about.

use super::action::{Action, Notice, Severity, unusable};
use super::graph::{Edge, FAILS_WITH};
use super::job::{Job, JobId, JobKind, JobResult, Mode, merge, second_goes_first};
use super::transaction::{self, Plan};
use super::{ActiveState, Engine, TransactionError, UnitId};
use crate::unit::config::{CollectMode, Phase, ServiceType};
use crate::unit::{Kind, LoadState, Relation};
use std::time::Duration;

/// A unit may make others start so many times in so long by failing, ending or being upheld.
const WISH_BURST: usize = 16;
const WISH_INTERVAL: Duration = Duration::from_secs(10);

/// Relations by which a unit that is up needs another (`StopWhenUnneeded=`).
const NEEDS: [Relation; 5] =
    [Relation::Requires, Relation::Requisite, Relation::Wants, Relation::BindsTo, Relation::Upholds];

/// A job that the engine itself wants, because of what happened.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) unit: UnitId,
    pub(super) kind: JobKind,
    pub(super) mode: Mode,
}

impl Engine {
    /// Puts the jobs of a plan into place, and gives the anchor's.
    pub(super) fn install(&mut self, plan: &Plan, mode: Mode) -> Option<JobId> {
        self.closing |= mode == Mode::ReplaceIrreversibly;
        for (unit, kind) in &plan.jobs {
            let mut kind = *kind;
            if let Some(old) = self.state(*unit).job {
                let old_kind = self.jobs[&old].kind;
                match merge(old_kind, kind) {
                    Some(merged) => {
                        if let Some(job) = self.jobs.get_mut(&old) {
                            if merged != old_kind {
                                job.kind = merged;
                                job.running = false;
                            }
                            job.irreversible |= mode == Mode::ReplaceIrreversibly;
                        }
                        self.queue.insert(old);
                        continue;
                    }
                    // What waits for it is not touched: the transaction has said what becomes of that.
                    None => self.end_job(old, JobResult::Canceled, false),
                }
            }
            if let Some(collapsed) = self.collapse(*unit, kind) {
                kind = collapsed;
            }
            self.next_job += 1;
            let id = JobId(self.next_job);
            let deadline = self.unit(*unit).job_timeout.map(|timeout| self.now.saturating_add(timeout));
            let job = Job {
                id,
                unit: *unit,
                kind,
                running: false,
                irreversible: mode == Mode::ReplaceIrreversibly,
                ignore_order: mode == Mode::IgnoreDependencies,
                deadline,
            };
            self.jobs.insert(id, job);
            self.states[unit.index()].job = Some(id);
            self.queue.insert(id);
        }
        plan.anchor.and_then(|anchor| self.state(anchor).job)
    }

    /// Runs every job that may run, and what follows from that, until nothing moves.
    pub(super) fn run_queue(&mut self) {
        loop {
            if let Some(id) = self.queue.pop_first() {
                if self.is_runnable(id) {
                    self.run_job(id);
                }
            } else if let Some(wish) = self.wishes.pop_front() {
                self.grant(&wish);
            } else if let Some(unit) = self.unneeded.pop_first() {
                self.stop_unneeded(unit);
            } else if self.jobs.is_empty() && !self.idle.is_empty() {
                for id in self.idle.keys().copied().collect::<Vec<_>>() {
                    self.leave_idle(id);
                }
            } else {
                return;
            }
        }
    }

    fn grant(&mut self, wish: &Wish) {
        let Some(kind) = self.collapse(wish.unit, wish.kind) else { return };
        if self.closing && kind != JobKind::Stop {
            return self.give_up_restart(wish.unit);
        }
        match transaction::build(self, wish.unit, kind, wish.mode) {
            Ok(plan) => _ = self.install(&plan, wish.mode),
            Err(error) => {
                let notice = Notice::DependencyUnusable(self.unit(wish.unit).name.clone(), error.to_string());
                self.log(Some(wish.unit), Severity::Warning, notice);
                self.give_up_restart(wish.unit);
            }
        }
    }

    fn is_runnable(&self, id: JobId) -> bool {
        let Some(job) = self.jobs.get(&id) else { return false };
        if job.running || job.ignore_order {
            return !job.running;
        }
        let job_kind =
            |other: UnitId| self.job_of(other).filter(|other| !other.ignore_order).map(|other| other.kind);
        let blocked_by_earlier =
            !second_goes_first(job.kind) && self.graph.after(job.unit).any(|other| job_kind(other).is_some());
        let blocked_by_stop =
            self.graph.before(job.unit).any(|other| job_kind(other).is_some_and(second_goes_first));
        !blocked_by_earlier && !blocked_by_stop
    }

    fn run_job(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.running = true;
        let (unit, kind) = (job.unit, job.kind);
        if let Some(timeout) = self.graph.unit(unit).job_running_timeout {
            let until = self.now.saturating_add(timeout);
            job.deadline = Some(job.deadline.map_or(until, |deadline| deadline.min(until)));
        }
        let state = self.active(unit);
        match kind {
            JobKind::Start => self.run_start(id, unit, state),
            JobKind::VerifyActive if state.is_active() => self.finish_job(id, JobResult::Done),
            JobKind::VerifyActive if state == ActiveState::Activating => {}
            JobKind::VerifyActive => self.finish_job(id, JobResult::Failed),
            JobKind::Stop if state.is_down() => self.finish_job(id, JobResult::Done),
            JobKind::Restart if state.is_down() => self.restart_as_start(id),
            JobKind::Stop | JobKind::Restart => match self.unit(unit).name.kind() {
                kind if kind.has_processes() => self.service_stop(unit),
                Kind::Device => self.finish_job(id, JobResult::Invalid),
                Kind::Timer => self.timer_stop(unit, None),
                Kind::Path => self.path_stop(unit, None),
                Kind::Slice => {
                    self.actions.push(Action::Release(unit));
                    self.set_target(unit, false);
                }
                _ => self.set_target(unit, false),
            },
            JobKind::Reload if state == ActiveState::Active && self.can_reload(unit) => {
                self.service_reload(unit);
            }
            JobKind::Reload if state == ActiveState::Reloading => {}
            // Its turn comes when the unit is up: a state change queues it again.
            JobKind::Reload if state == ActiveState::Activating => self.wait_again(id),
            JobKind::Reload => self.finish_job(id, JobResult::Invalid),
            JobKind::TryRestart | JobKind::TryReload | JobKind::ReloadOrStart => {
                match self.collapse(unit, kind) {
                    Some(kind) => {
                        if let Some(job) = self.jobs.get_mut(&id) {
                            job.kind = kind;
                            job.running = false;
                        }
                        self.queue.insert(id);
                    }
                    None => self.finish_job(id, JobResult::Done),
                }
            }
        }
    }

    fn wait_again(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.running = false;
        }
    }

    fn restart_as_start(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.kind = JobKind::Start;
            job.running = false;
            let unit = job.unit;
            self.queue.insert(id);
            self.queue_neighbours(unit);
        }
    }

    fn run_start(&mut self, id: JobId, unit: UnitId, state: ActiveState) {
        match state {
            ActiveState::Active | ActiveState::Reloading => return self.finish_job(id, JobResult::Done),
            // An automatic restart that is due later takes the job over: systemd's service_start().
            ActiveState::Deactivating => return self.wait_again(id),
            ActiveState::Activating if self.waits_for_restart(unit) => return self.wait_again(id),
            ActiveState::Activating => return,
            ActiveState::Inactive | ActiveState::Failed => {}
        }
        let config = self.unit(unit);
        if config.load_state != LoadState::Loaded {
            let notice = Notice::DependencyUnusable(config.name.clone(), unusable(&config.load_state));
            self.log(Some(unit), Severity::Error, notice);
            return self.finish_job(id, JobResult::Invalid);
        }
        let bound = self.edges(unit, Edge::To(Relation::BindsTo)).iter().copied().find(|other| {
            self.graph.after(unit).any(|earlier| earlier == *other) && !self.active(*other).is_active()
        });
        if let Some(other) = bound {
            let notice = Notice::DependencyFailed(self.unit(other).name.clone());
            self.log(Some(unit), Severity::Error, notice);
            return self.finish_job(id, JobResult::Dependency);
        }
        if config.conditions.is_empty() && config.asserts.is_empty() {
            self.begin(unit);
        } else {
            self.actions.push(Action::Test(unit));
        }
    }

    /// The job that waits for the answer to [`Action::Test`].
    fn waits_for_test(&self, unit: UnitId) -> Option<JobId> {
        let job = self.job_of(unit).filter(|job| job.running && job.kind == JobKind::Start)?;
        self.active(unit).is_down().then_some(job.id)
    }

    /// There will be no answer.
    pub(super) fn untested(&mut self, unit: UnitId) {
        let Some(job) = self.waits_for_test(unit) else { return };
        self.log(Some(unit), Severity::Warning, Notice::TimedOut("testing its conditions"));
        if self.unit(unit).name.kind().has_processes() {
            self.service_untested(unit);
        } else {
            self.finish_job(job, JobResult::Timeout);
        }
    }

    /// The answer to [`Action::Test`].
    pub(super) fn tested(&mut self, unit: UnitId, condition: Option<String>, assert: Option<String>) {
        let Some(job) = self.waits_for_test(unit) else { return };
        self.states[unit.index()].condition.clone_from(&condition);
        if let Some(line) = condition {
            self.log(Some(unit), Severity::Info, Notice::ConditionFailed(line));
            self.finish_job(job, JobResult::Skipped);
        } else if let Some(line) = assert {
            self.log(Some(unit), Severity::Error, Notice::AssertFailed(line));
            self.finish_job(job, JobResult::Assert);
        } else {
            self.begin(unit);
        }
    }

    fn begin(&mut self, unit: UnitId) {
        match self.unit(unit).name.kind() {
            kind if kind.has_processes() => self.service_start(unit),
            // It comes by itself, or the job's time is over.
            Kind::Device => {}
            Kind::Timer => self.timer_start(unit),
            Kind::Path => self.path_start(unit),
            Kind::Slice => {
                self.actions.push(Action::MakeSlice(unit));
                self.set_target(unit, true);
            }
            _ => self.set_target(unit, true),
        }
    }

    /// A device node came or went, a file system was mounted or unmounted, by whomever.
    pub(super) fn present(&mut self, unit: UnitId, present: bool) {
        match self.unit(unit).name.kind() {
            Kind::Mount => self.mount_present(unit, present),
            Kind::Device if present != self.state(unit).is_target_up => self.set_target(unit, present),
            _ => {}
        }
    }

    pub(super) fn set_target(&mut self, unit: UnitId, up: bool) {
        let from = self.active(unit);
        let now = self.now;
        let state = &mut self.states[unit.index()];
        state.is_target_up = up;
        if up {
            state.failure = None;
        }
        if !up {
            state.inactive_since = Some(now);
        }
        self.changed(unit, from, false);
    }

    /// Whether a reload is something that the unit can do.
    pub fn can_reload(&self, unit: UnitId) -> bool {
        let config = self.unit(unit);
        let reloads = |service: &crate::unit::config::Service| {
            !service.commands(Phase::Reload).is_empty() || service.kind == ServiceType::NotifyReload
        };
        config.name.kind() != Kind::Socket && config.service.as_deref().is_some_and(reloads)
    }

    /// A unit went from one state to another: its job moves on, and what is bound to it follows.
    /// `will_restart`: the failure is not final.
    pub(super) fn changed(&mut self, unit: UnitId, from: ActiveState, will_restart: bool) {
        let to = self.active(unit);
        if to != from {
            let job = self.job_of(unit).map(|job| (job.id, job.kind));
            self.actions.push(Action::Changed { unit, from, to, job });
            if to.is_active() && !from.is_active() {
                self.states[unit.index()].active_since = Some(self.now);
            }
            if to.is_down() && !from.is_down() {
                self.states[unit.index()].inactive_since = Some(self.now);
            }
            if from.is_down() && !to.is_down() {
                self.states[unit.index()].inactive_exit = Some(self.now);
            }
        }
        let expected = self.advance_job(unit, to);
        let was_up = matches!(from, ActiveState::Active | ActiveState::Reloading | ActiveState::Activating);
        let goes_down = to.is_down() || to == ActiveState::Deactivating;
        if !expected && was_up && goes_down && !self.restarts_directly(unit) {
            let bound = self.edges(unit, Edge::From(Relation::BindsTo)).to_vec();
            for other in bound {
                if self.active(other).is_down() {
                    continue;
                }
                let notice = Notice::BoundTo(self.unit(unit).name.clone());
                self.log(Some(other), Severity::Warning, notice);
                self.wish(other, JobKind::Stop);
            }
        }
        if to != from && to == ActiveState::Failed && !will_restart {
            self.on_failure(unit);
        }
        if to != from && to == ActiveState::Inactive && from != ActiveState::Failed && !will_restart {
            self.on_success(unit);
        }
        if to != from {
            self.others_follow(unit, to, will_restart);
        }
        if let Some(job) = self.state(unit).job {
            self.queue.insert(job);
        }
        self.queue_neighbours(unit);
    }

    /// Moves the unit's job on; false if the change was nobody's wish.
    fn advance_job(&mut self, unit: UnitId, to: ActiveState) -> bool {
        let Some(job) = self.job_of(unit) else { return false };
        let (id, kind, running) = (job.id, job.kind, job.running);
        let ended = if to == ActiveState::Failed { JobResult::Failed } else { JobResult::Done };
        match kind {
            JobKind::Start | JobKind::VerifyActive if to.is_active() => self.finish_job(id, JobResult::Done),
            JobKind::Start | JobKind::VerifyActive if running && to.is_down() => {
                self.finish_job(id, ended);
                return false;
            }
            JobKind::Start | JobKind::VerifyActive => return !running || to == ActiveState::Activating,
            JobKind::Restart if to.is_down() && running => self.restart_as_start(id),
            JobKind::Stop if to.is_down() => self.finish_job(id, JobResult::Done),
            JobKind::Stop | JobKind::Restart if running && to != ActiveState::Deactivating => {
                self.finish_job(id, JobResult::Failed);
                return false;
            }
            JobKind::Reload if running && to == ActiveState::Active => {
                let good = self.state(unit).reload_result == super::ServiceResult::Success;
                self.finish_job(id, if good { JobResult::Done } else { JobResult::Failed });
            }
            JobKind::Reload if running && to.is_down() => {
                self.finish_job(id, ended);
                return false;
            }
            JobKind::Reload => return to == ActiveState::Reloading,
            _ => {}
        }
        true
    }

    pub(super) fn wish(&mut self, unit: UnitId, kind: JobKind) {
        self.wishes.push_back(Wish { unit, kind, mode: Mode::Replace });
    }

    fn on_failure(&mut self, unit: UnitId) {
        let others = self.edges(unit, Edge::To(Relation::OnFailure)).to_vec();
        if others.is_empty() || self.closing || !self.may_wish(unit) {
            return;
        }
        let mode = self.unit(unit).on_failure_mode;
        for other in others {
            let notice = Notice::OnFailure(self.unit(other).name.clone(), self.unit(unit).name.clone());
            self.log(Some(unit), Severity::Notice, notice);
            self.wishes.push_back(Wish { unit: other, kind: JobKind::Start, mode });
        }
    }

    fn on_success(&mut self, unit: UnitId) {
        let others = self.edges(unit, Edge::To(Relation::OnSuccess)).to_vec();
        if others.is_empty() || self.closing || !self.may_wish(unit) {
            return;
        }
        let mode = self.unit(unit).on_success_mode;
        self.wishes.extend(others.into_iter().map(|unit| Wish { unit, kind: JobKind::Start, mode }));
    }

    /// Whether the unit has not yet made others start too often. Two units that are each other's
    /// `OnFailure=` would otherwise go on for ever; systemd leaves that to their start limits.
    fn may_wish(&mut self, unit: UnitId) -> bool {
        let now = self.now;
        let wishes = &mut self.states[unit.index()].wishes;
        while wishes.front().is_some_and(|at| now.saturating_sub(*at) > WISH_INTERVAL) {
            wishes.pop_front();
        }
        let count = wishes.len();
        if count < WISH_BURST {
            wishes.push_back(now);
        } else if count == WISH_BURST {
            wishes.push_back(now); // said once
            self.log(Some(unit), Severity::Error, Notice::WishLimit(count));
        }
        count < WISH_BURST
    }

    /// What other units do because this one is in another state: triggers, `Upholds=`,
    /// `StopWhenUnneeded=`, `CollectMode=`.
    fn others_follow(&mut self, unit: UnitId, to: ActiveState, will_restart: bool) {
        if to.is_down()
            && let Some(socket) = self.states[unit.index()].connection_of.take_if(|_| !will_restart)
        {
            let connections = &mut self.states[socket.index()].connections;
            *connections = connections.saturating_sub(1);
        }
        for trigger in self.edges(unit, Edge::From(Relation::Triggers)).to_vec() {
            self.trigger_notify(trigger, unit);
        }
        if to.is_down() && !will_restart && !self.closing && self.state(unit).job.is_none() {
            let upholders = self.edges(unit, Edge::From(Relation::Upholds)).to_vec();
            let upheld = upholders.into_iter().any(|other| self.is_wanted_up(other));
            if upheld && self.may_wish(unit) {
                self.wish(unit, JobKind::Start);
            }
        }
        if to.is_active() {
            for other in self.edges(unit, Edge::To(Relation::Upholds)).to_vec() {
                if self.active(other).is_down() && self.state(other).job.is_none() && self.may_wish(other) {
                    self.wish(other, JobKind::Start);
                }
            }
        }
        if to.is_active() && self.unit(unit).stop_when_unneeded {
            self.unneeded.insert(unit);
        }
        if to.is_down() {
            self.look_for_unneeded(unit);
        }
        if to == ActiveState::Failed
            && !will_restart
            && self.unit(unit).collect_mode == CollectMode::InactiveOrFailed
        {
            self.reset_failed(unit);
        }
    }

    fn is_wanted_up(&self, unit: UnitId) -> bool {
        let state = self.active(unit);
        let stops = self.job_of(unit).is_some_and(|job| job.kind == JobKind::Stop);
        !stops && (state.is_active() || state == ActiveState::Activating)
    }

    /// Units that this one needed may be unneeded now.
    fn look_for_unneeded(&mut self, unit: UnitId) {
        for other in self.graph.over(unit, &NEEDS.map(Edge::To)) {
            if self.unit(other).stop_when_unneeded {
                self.unneeded.insert(other);
            }
        }
    }

    fn stop_unneeded(&mut self, unit: UnitId) {
        if !self.active(unit).is_active() || self.state(unit).job.is_some() {
            return;
        }
        let needed = |other: UnitId| {
            self.is_wanted_up(other)
                || self.job_of(other).is_some_and(|job| matches!(job.kind, JobKind::Start | JobKind::Restart))
        };
        if !self.graph.over(unit, &NEEDS.map(Edge::From)).into_iter().any(needed) {
            self.log(Some(unit), Severity::Info, Notice::Unneeded);
            self.wish(unit, JobKind::Stop);
        }
    }

    /// Starts the unit that a socket, timer or path triggers.
    pub(super) fn trigger(&mut self, by: UnitId) -> Result<(), Option<TransactionError>> {
        let Some(unit) = self.edges(by, Edge::To(Relation::Triggers)).first().copied() else {
            return Err(None);
        };
        let Some(kind) = self.collapse(unit, JobKind::Start) else { return Ok(()) };
        let plan = transaction::build(self, unit, kind, Mode::Replace);
        let plan = plan.map_err(|error| {
            let notice = Notice::NotTriggered(self.unit(unit).name.clone(), error.to_string());
            self.log(Some(by), Severity::Warning, notice);
            Some(error)
        })?;
        self.install(&plan, Mode::Replace);
        Ok(())
    }

    /// What a socket, timer or path triggers changed its state, or a job of it ended.
    fn trigger_notify(&mut self, by: UnitId, unit: UnitId) {
        match self.unit(by).name.kind() {
            Kind::Socket => self.socket_notify(by, unit),
            Kind::Timer => self.timer_notify(by, unit),
            Kind::Path => self.path_notify(by, unit),
            _ => {}
        }
    }

    /// Counts a trigger; false if there were too many.
    pub(super) fn may_trigger(&mut self, id: UnitId, interval: Option<Duration>, burst: u32) -> bool {
        let now = self.now;
        if interval == Some(Duration::ZERO) || burst == 0 {
            return true;
        }
        let triggers = &mut self.states[id.index()].triggers;
        let old = |at: &Duration| interval.is_some_and(|interval| now.saturating_sub(*at) > interval);
        while triggers.front().is_some_and(old) {
            triggers.pop_front();
        }
        if triggers.len() < burst as usize {
            triggers.push_back(now);
            return true;
        }
        let count = triggers.len();
        self.log(Some(id), Severity::Error, Notice::TriggerLimit(count));
        false
    }

    fn queue_neighbours(&mut self, unit: UnitId) {
        let neighbours: Vec<UnitId> = self.graph.after(unit).chain(self.graph.before(unit)).collect();
        for other in neighbours {
            if let Some(job) = self.states[other.index()].job {
                self.queue.insert(job);
            }
        }
    }

    /// Ends a job; the jobs that cannot go on without it end too.
    pub(super) fn finish_job(&mut self, id: JobId, result: JobResult) {
        self.end_job(id, result, true);
    }

    fn end_job(&mut self, id: JobId, result: JobResult, recursive: bool) {
        let mut ending = vec![(id, result)];
        while let Some((id, result)) = ending.pop() {
            let Some(job) = self.jobs.remove(&id) else { continue };
            self.states[job.unit.index()].job = None;
            self.queue.remove(&id);
            self.actions.push(Action::JobDone { job: id, unit: job.unit, kind: job.kind, result });
            self.queue_neighbours(job.unit);
            if recursive && job.kind == JobKind::Start {
                for trigger in self.edges(job.unit, Edge::From(Relation::Triggers)).to_vec() {
                    self.trigger_notify(trigger, job.unit);
                }
                self.look_for_unneeded(job.unit);
                if self.unit(job.unit).stop_when_unneeded {
                    self.unneeded.insert(job.unit);
                }
            }
            if !recursive || matches!(result, JobResult::Done | JobResult::Skipped) {
                continue;
            }
            if result == JobResult::Dependency && job.kind == JobKind::Start {
                self.on_failure(job.unit);
            }
            let edges: &[Edge] = match job.kind {
                JobKind::Start | JobKind::VerifyActive => &FAILS_WITH,
                JobKind::Stop => &[Edge::From(Relation::Conflicts)],
                _ => &[],
            };
            for other in self.graph.over(job.unit, edges) {
                let waiting = self
                    .job_of(other)
                    .filter(|job| !job.running && matches!(job.kind, JobKind::Start | JobKind::VerifyActive));
                if let Some(waiting) = waiting.map(|job| job.id) {
                    let notice = Notice::DependencyFailed(self.unit(job.unit).name.clone());
                    self.log(Some(other), Severity::Error, notice);
                    ending.push((waiting, JobResult::Dependency));
                }
            }
        }
    }
}
