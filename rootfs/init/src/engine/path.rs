//! Path units (systemd.path(5)). Whether a path is met is the manager's to find out.

use super::action::Action;
use super::state::ServiceResult;
use super::{ActiveState, Edge, Engine, JobKind, UnitId};
use crate::unit::Relation;
use crate::unit::config::Special;

impl Engine {
    pub(super) fn path_start(&mut self, id: UnitId) {
        self.states[id.index()].triggered = false;
        self.set_target(id, true);
        self.path_wait(id);
    }

    pub(super) fn path_stop(&mut self, id: UnitId, failure: Option<ServiceResult>) {
        self.actions.push(Action::UnwatchPaths(id));
        let state = &mut self.states[id.index()];
        state.triggered = false;
        state.failure = failure;
        state.result = failure.unwrap_or_default();
        self.set_target(id, false);
    }

    /// Waits, unless what it triggers is up.
    fn path_wait(&mut self, id: UnitId) {
        let up =
            self.edges(id, Edge::To(Relation::Triggers)).iter().any(|unit| !self.active(*unit).is_down());
        self.states[id.index()].triggered = up;
        self.actions.push(if up { Action::UnwatchPaths(id) } else { Action::WatchPaths(id) });
    }

    pub(super) fn path_met(&mut self, id: UnitId) {
        let Special::Path(path) = &self.unit(id).special else { return };
        let (interval, burst) = (path.trigger_interval, path.trigger_burst);
        let state = self.state(id);
        let stops = self.job_of(id).is_some_and(|job| job.kind == JobKind::Stop);
        if !state.is_target_up || state.triggered || stops || self.closing {
            return;
        }
        if !self.may_trigger(id, interval, burst) {
            return self.path_stop(id, Some(ServiceResult::TriggerLimitHit));
        }
        self.states[id.index()].triggered = true;
        self.actions.push(Action::UnwatchPaths(id));
        if self.trigger(id).is_err() {
            self.path_stop(id, Some(ServiceResult::Resources));
        }
    }

    /// What the path triggers changed its state, or its start job ended.
    pub(super) fn path_notify(&mut self, id: UnitId, unit: UnitId) {
        if !self.state(id).is_target_up {
            return;
        }
        let down = self.active(unit).is_down() && self.state(unit).job.is_none();
        if self.state(unit).result == ServiceResult::StartLimitHit && self.active(unit) == ActiveState::Failed
        {
            self.path_stop(id, Some(ServiceResult::ServiceStartLimitHit));
        } else if self.state(id).triggered && down
            || !self.state(id).triggered && !self.active(unit).is_down()
        {
            self.path_wait(id);
        }
    }
}
