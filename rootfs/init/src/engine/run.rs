//! Installed jobs: when they run, what they start, and what their end brings about.

use super::action::{Action, Notice, Severity, unusable};
use super::graph::{Edge, FAILS_WITH};
use super::job::{Job, JobId, JobKind, JobResult, Mode, merge, second_goes_first};
use super::transaction::{self, Plan};
use super::{ActiveState, Engine, UnitId};
use crate::unit::config::Phase;
use crate::unit::{Kind, LoadState, Relation};

/// A job that the engine itself wants, because of what happened.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) unit: UnitId,
    pub(super) kind: JobKind,
}

impl Engine {
    /// Puts the jobs of a plan into place, and gives the anchor's.
    pub(super) fn install(&mut self, plan: &Plan, mode: Mode) -> Option<JobId> {
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
            } else {
                return;
            }
        }
    }

    fn grant(&mut self, wish: &Wish) {
        let Some(kind) = self.collapse(wish.unit, wish.kind) else { return };
        match transaction::build(self, wish.unit, kind, Mode::Replace) {
            Ok(plan) => _ = self.install(&plan, Mode::Replace),
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
        let state = self.active(unit);
        match kind {
            JobKind::Start => self.run_start(id, unit, state),
            JobKind::VerifyActive if state.is_active() => self.finish_job(id, JobResult::Done),
            JobKind::VerifyActive if state == ActiveState::Activating => {}
            JobKind::VerifyActive => self.finish_job(id, JobResult::Failed),
            JobKind::Stop if state.is_down() => self.finish_job(id, JobResult::Done),
            JobKind::Restart if state.is_down() => self.restart_as_start(id),
            JobKind::Stop | JobKind::Restart => match self.unit(unit).name.kind() {
                Kind::Service => self.service_stop(unit),
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

    /// The answer to [`Action::Test`].
    pub(super) fn tested(&mut self, unit: UnitId, condition: Option<String>, assert: Option<String>) {
        let Some(job) = self
            .state(unit)
            .job
            .filter(|job| self.jobs.get(job).is_some_and(|job| job.running && job.kind == JobKind::Start))
        else {
            return;
        };
        if !self.active(unit).is_down() {
            return;
        }
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
            Kind::Service => self.service_start(unit),
            _ => self.set_target(unit, true),
        }
    }

    fn set_target(&mut self, unit: UnitId, up: bool) {
        let from = self.active(unit);
        let now = self.now;
        let state = &mut self.states[unit.index()];
        state.is_target_up = up;
        if !up {
            state.inactive_since = Some(now);
        }
        self.changed(unit, from, false);
    }

    /// Whether a reload is something that the unit can do.
    pub fn can_reload(&self, unit: UnitId) -> bool {
        self.unit(unit).service.as_ref().is_some_and(|service| !service.commands(Phase::Reload).is_empty())
    }

    /// A unit went from one state to another: its job moves on, and what is bound to it follows.
    /// `will_restart`: the failure is not final.
    pub(super) fn changed(&mut self, unit: UnitId, from: ActiveState, will_restart: bool) {
        let to = self.active(unit);
        if to != from {
            self.actions.push(Action::Changed { unit, from, to });
            if to.is_active() && !from.is_active() {
                self.states[unit.index()].active_since = Some(self.now);
            }
            if to.is_down() && !from.is_down() {
                self.states[unit.index()].inactive_since = Some(self.now);
            }
        }
        let expected = self.advance_job(unit, to);
        let was_up = matches!(from, ActiveState::Active | ActiveState::Reloading | ActiveState::Activating);
        let goes_down = to.is_down() || to == ActiveState::Deactivating;
        if !expected && was_up && goes_down {
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
            for other in self.edges(unit, Edge::To(Relation::OnSuccess)).to_vec() {
                self.wish(other, JobKind::Start);
            }
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
        self.wishes.push_back(Wish { unit, kind });
    }

    fn on_failure(&mut self, unit: UnitId) {
        for other in self.edges(unit, Edge::To(Relation::OnFailure)).to_vec() {
            let notice = Notice::OnFailure(self.unit(other).name.clone(), self.unit(unit).name.clone());
            self.log(Some(unit), Severity::Notice, notice);
            self.wish(other, JobKind::Start);
        }
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
