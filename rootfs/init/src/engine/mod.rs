//! The dependency engine: jobs and events in, actions out. No I/O, no clock.
//!
//! [`Engine::enqueue`] builds a [`transaction`] from a wish and installs its jobs;
//! [`Engine::handle`] takes what happened to processes; [`Engine::tick`] takes the time. Each may
//! leave [`Action`]s, which the manager carries out and answers with further events. The rules are
//! systemd's: systemd.unit(5) for relations and ordering, systemd.service(5) for [`service`].
//!
//! Time is a [`Duration`] since some fixed point, given with every call.

mod action;
mod graph;
mod job;
mod path;
mod run;
mod service;
mod socket;
mod state;
mod timer;
pub mod transaction;

#[cfg(test)]
mod kinds_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use action::{Action, Event, ExitStatus, Notice, NotifyItem, Role, Severity, Signal};
pub use graph::{Edge, UnitId};
pub use job::{Job, JobId, JobKind, JobResult, Mode};
pub use state::{ActiveState, ServiceResult, ServiceState, UnitState};
pub use timer::{Clock, TimerState};
pub use transaction::TransactionError;

use crate::unit::{LoadState, Unit, UnitName};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// All units and jobs.
#[derive(Debug, Default)]
pub struct Engine {
    graph: graph::Graph,
    states: Vec<UnitState>,
    jobs: BTreeMap<JobId, Job>,
    next_job: u64,
    /// Jobs to look at: they may be runnable now.
    queue: BTreeSet<JobId>,
    /// Jobs that follow from what happened, still to be planned.
    wishes: VecDeque<run::Wish>,
    actions: Vec<Action>,
    now: Duration,
    /// The machine is to end: nothing is started any more but by name.
    closing: bool,
    /// Services of `Type=idle` that wait for an empty queue, and until when.
    idle: BTreeMap<UnitId, Duration>,
    /// Units with `StopWhenUnneeded=` to look at.
    unneeded: BTreeSet<UnitId>,
    clock: Clock,
}

impl Engine {
    /// An engine without units.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds units with the other names that lead to them, or replaces their configuration; running
    /// ones keep their state.
    pub fn add(&mut self, units: impl IntoIterator<Item = (Unit, Option<UnitName>)>) {
        self.graph.add(units);
        self.states.resize_with(self.graph.len(), UnitState::default);
        for (id, state) in self.states.iter_mut().enumerate() {
            let unit = self.graph.unit(UnitId(id as u32));
            state.fit(unit);
        }
    }

    /// Forgets a unit that is down, has no job, and that no other unit names; false if it stays.
    pub fn forget(&mut self, id: UnitId) -> bool {
        let named = || {
            let of = |other: UnitId| self.graph.unit(other).relations.values().iter();
            let aliases = self.graph.aliases(id);
            let own = &self.graph.unit(id).name;
            self.ids()
                .any(|other| other != id && of(other).any(|name| name == own || aliases.contains(&name)))
        };
        if !self.active(id).is_down() || self.state(id).job.is_some() || named() {
            return false;
        }
        self.graph.forget(id);
        self.states[id.index()] = UnitState::default();
        self.idle.remove(&id);
        true
    }

    /// Names that units refer to and that were never added.
    pub fn missing(&self) -> Vec<UnitName> {
        self.graph.missing()
    }

    /// The unit of a name or alias.
    pub fn find(&self, name: &UnitName) -> Option<UnitId> {
        self.graph.find(name)
    }

    /// All units.
    pub fn ids(&self) -> impl Iterator<Item = UnitId> + use<> {
        let known = (0..self.graph.len() as u32).map(UnitId).filter(|id| !self.graph.is_free(*id));
        known.collect::<Vec<_>>().into_iter()
    }

    /// A unit's configuration.
    pub fn unit(&self, id: UnitId) -> &Unit {
        self.graph.unit(id)
    }

    /// A unit's state.
    pub fn state(&self, id: UnitId) -> &UnitState {
        &self.states[id.index()]
    }

    /// Units that `id` has an edge to.
    pub fn edges(&self, id: UnitId, edge: Edge) -> &[UnitId] {
        self.graph.edges(id, edge)
    }

    /// Units that `id` cannot be up without.
    pub fn requirements(&self, id: UnitId) -> Vec<UnitId> {
        use crate::unit::Relation::{BindsTo, Requires, Requisite};
        self.graph.over(id, &[Edge::To(Requires), Edge::To(BindsTo), Edge::To(Requisite)])
    }

    /// The job of a unit.
    pub fn job_of(&self, id: UnitId) -> Option<&Job> {
        self.states[id.index()].job.and_then(|job| self.jobs.get(&job))
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// Every other name of a unit.
    pub fn aliases(&self, id: UnitId) -> Vec<&UnitName> {
        self.graph.aliases(id)
    }

    /// The actions since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The earliest moment at which [`Engine::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        let units = self.states.iter().filter_map(UnitState::next_deadline);
        let jobs = self.jobs.values().filter_map(|job| job.deadline);
        units.chain(jobs).chain(self.idle.values().copied()).chain(self.timers_deadline()).min()
    }

    /// Builds a transaction for a job on `unit` and installs it. Gives the job that stands for the
    /// wish, or `None` when there is nothing to do.
    ///
    /// # Errors
    /// See [`TransactionError`]; nothing is changed then.
    pub fn enqueue(
        &mut self,
        unit: UnitId,
        kind: JobKind,
        mode: Mode,
        now: Duration,
    ) -> Result<Option<JobId>, TransactionError> {
        self.now = now;
        let kind = self.collapse(unit, kind);
        let Some(kind) = kind else { return Ok(None) };
        let plan = transaction::build(self, unit, kind, mode)?;
        for cycle in &plan.broken_cycles {
            self.log(None, Severity::Warning, Notice::CycleBroken(cycle.clone()));
        }
        let anchor = self.install(&plan, mode);
        self.run_queue();
        Ok(anchor)
    }

    /// Takes an event at a time.
    pub fn handle(&mut self, unit: UnitId, event: Event, now: Duration) {
        self.now = now;
        match event {
            Event::Tested { failed_condition, failed_assert } => {
                self.tested(unit, failed_condition, failed_assert);
            }
            Event::Untested => self.untested(unit),
            Event::Opened(good) => self.socket_opened(unit, good),
            Event::Incoming => self.socket_incoming(unit),
            Event::Present(present) => self.present(unit, present),
            Event::PathMet => self.path_met(unit),
            Event::Stamp(last) => self.timer_stamped(unit, last),
            other => self.service_event(unit, other),
        }
        self.run_queue();
    }

    /// Takes the time: time-outs, restarts, watchdogs, job time-outs that are due.
    pub fn tick(&mut self, now: Duration) {
        self.now = now;
        for id in self.ids() {
            while self.states[id.index()].next_deadline().is_some_and(|due| due <= now) {
                if !self.service_deadline(id) {
                    break;
                }
            }
        }
        let late: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| job.deadline.is_some_and(|due| due <= now))
            .map(|job| job.id)
            .collect();
        for id in late {
            let unit = self.jobs[&id].unit;
            self.finish_job(id, JobResult::Timeout);
            let action = self.unit(unit).job_timeout_action;
            self.emergency(unit, action);
        }
        self.timers_tick();
        let idle: Vec<UnitId> =
            self.idle.iter().filter(|(_, until)| **until <= now).map(|(id, _)| *id).collect();
        for id in idle {
            self.leave_idle(id);
        }
        self.run_queue();
    }

    /// Forgets that a unit failed, and its start rate (`systemctl reset-failed`).
    pub fn reset_failed(&mut self, id: UnitId) {
        let state = &mut self.states[id.index()];
        state.starts.clear();
        state.triggers.clear();
        state.wishes.clear();
        state.failure = None;
        if state.service == ServiceState::Failed {
            state.service = ServiceState::Dead;
            state.result = ServiceResult::Success;
        }
    }

    /// Cancels a job (`systemctl cancel`); false if there is none of that id.
    pub fn cancel(&mut self, id: JobId, now: Duration) -> bool {
        self.now = now;
        let known = self.jobs.contains_key(&id);
        self.finish_job(id, JobResult::Canceled);
        self.run_queue();
        known
    }

    /// Whether a unit is up, coming up, and so on.
    pub fn active(&self, id: UnitId) -> ActiveState {
        self.states[id.index()].active(self.graph.unit(id).name.kind())
    }

    fn log(&mut self, unit: Option<UnitId>, severity: Severity, notice: Notice) {
        self.actions.push(Action::Log { unit, severity, notice });
    }

    /// What a wish amounts to in the unit's present state; `None` if to nothing.
    fn collapse(&self, unit: UnitId, kind: JobKind) -> Option<JobKind> {
        let state = self.active(unit);
        let down = matches!(state, ActiveState::Inactive | ActiveState::Failed | ActiveState::Deactivating);
        match kind {
            JobKind::TryRestart | JobKind::TryReload if down => None,
            JobKind::TryRestart => Some(JobKind::Restart),
            JobKind::ReloadOrStart if down => Some(JobKind::Start),
            JobKind::TryReload | JobKind::ReloadOrStart => Some(JobKind::Reload),
            kind => Some(kind),
        }
    }

    fn is_loaded(&self, id: UnitId) -> bool {
        self.graph.unit(id).load_state == LoadState::Loaded
    }
}

/// Names by ids, for messages.
pub(crate) fn names(engine: &Engine, ids: &[UnitId]) -> Vec<UnitName> {
    ids.iter().map(|id| engine.unit(*id).name.clone()).collect()
}

/// A map by unit name, used where units are looked up often.
type ByName = HashMap<UnitName, UnitId>;
