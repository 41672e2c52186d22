//! Sockets and mounts, as far as they differ from services (systemd.socket(5), systemd.mount(5)).
//!
//! Both go through the states of [`super::service`]: their commands run in the same phases, with the
//! same time-outs. What a service has as its main process, a socket has as open descriptors and a
//! mount as an entry of the kernel's table.

use super::action::{Action, Notice, Severity};
use super::state::{ServiceResult, ServiceState};
use super::{ActiveState, Edge, Engine, JobId, JobKind, JobResult, Mode, TransactionError, UnitId};
use crate::unit::config::Special;
use crate::unit::socket::Socket;
use crate::unit::{Kind, Relation};
use std::time::Duration;

impl Engine {
    fn socket(&self, id: UnitId) -> Option<&Socket> {
        match &self.unit(id).special {
            Special::Socket(socket) => Some(socket),
            _ => None,
        }
    }

    fn triggered_unit(&self, id: UnitId) -> Option<UnitId> {
        self.edges(id, Edge::To(Relation::Triggers)).first().copied()
    }

    /// Whether nothing has the place of the socket already. Otherwise its start job fails.
    pub(super) fn socket_may_start(&mut self, id: UnitId) -> bool {
        if self.socket(id).is_none_or(|socket| socket.accept) {
            return true;
        }
        let service = self
            .triggered_unit(id)
            .filter(|service| !self.active(*service).is_down() && !self.waits_for_restart(*service));
        let Some(service) = service else { return true };
        let notice = Notice::ServiceActive(self.unit(service).name.clone());
        self.log(Some(id), Severity::Error, notice);
        if let Some(job) = self.state(id).job {
            self.finish_job(job, JobResult::Failed);
        }
        false
    }

    pub(super) fn socket_opened(&mut self, id: UnitId, good: bool) {
        let state = &mut self.states[id.index()];
        state.held |= good;
        if state.service != ServiceState::Start {
            return;
        }
        if good {
            self.enter_start_post(id);
        } else {
            self.enter_signal(id, ServiceState::StopSigterm, ServiceResult::Resources);
        }
    }

    pub(super) fn close_sockets(&mut self, id: UnitId) {
        if self.unit(id).name.kind() == Kind::Socket {
            let state = &mut self.states[id.index()];
            state.triggered = false;
            if std::mem::take(&mut state.held) {
                self.actions.push(Action::CloseSockets(id));
            }
        }
    }

    /// Waits for traffic, unless what that starts is up.
    pub(super) fn socket_listen(&mut self, id: UnitId) {
        if self.socket(id).is_none() {
            return;
        }
        let state = &mut self.states[id.index()];
        let (held, triggered) = (state.held, state.triggered);
        if held && !triggered {
            self.actions.push(Action::Listen(id, true));
        }
    }

    fn socket_hand_over(&mut self, id: UnitId) {
        self.states[id.index()].triggered = true;
        self.actions.push(Action::Listen(id, false));
    }

    pub(super) fn socket_incoming(&mut self, id: UnitId) {
        let Some(socket) = self.socket(id) else { return };
        let state = self.state(id);
        if state.service != ServiceState::Running || state.triggered {
            return;
        }
        let stops = self.job_of(id).is_some_and(|job| matches!(job.kind, JobKind::Stop | JobKind::Restart));
        if self.closing || stops {
            return self.actions.push(Action::Flush(id));
        }
        let (accept, most) = (socket.accept, socket.max_connections);
        let (interval, burst) = (socket.trigger_interval, socket.trigger_burst());
        if !accept && self.triggered_unit(id).is_some_and(|service| self.is_coming_up(service)) {
            return self.socket_hand_over(id);
        }
        if !self.may_trigger(id, interval, burst) {
            return self.enter_stop(id, ServiceResult::TriggerLimitHit);
        }
        let connections = self.state(id).connections;
        if accept && connections >= most {
            self.log(Some(id), Severity::Warning, Notice::TooManyConnections(connections));
            self.actions.push(Action::Flush(id));
        } else if accept {
            self.actions.push(Action::Accept(id));
        } else if self.trigger(id).is_err() {
            self.enter_stop(id, ServiceResult::Resources);
        } else {
            self.socket_hand_over(id);
        }
    }

    fn is_coming_up(&self, id: UnitId) -> bool {
        let state = self.active(id);
        state.is_active()
            || state == ActiveState::Activating && !self.waits_for_restart(id)
            || self.job_of(id).is_some_and(|job| job.kind == JobKind::Start)
    }

    /// Starts the instance for a connection that was accepted on `socket`; gives its job.
    ///
    /// # Errors
    /// [`TransactionError`]: the connection is to be closed.
    pub fn accepted(
        &mut self,
        socket: UnitId,
        instance: UnitId,
        now: Duration,
    ) -> Result<Option<JobId>, TransactionError> {
        let job = self.enqueue(instance, JobKind::Start, Mode::Replace, now)?;
        // Unless it is over already.
        if !self.active(instance).is_down() || self.state(instance).job.is_some() {
            self.states[socket.index()].connections += 1;
            self.states[instance.index()].connection_of = Some(socket);
        }
        Ok(job)
    }

    /// The service of a socket changed its state, or its start job ended.
    pub(super) fn socket_notify(&mut self, id: UnitId, service: UnitId) {
        if self.socket(id).is_none_or(|socket| socket.accept)
            || self.state(id).service != ServiceState::Running
        {
            return;
        }
        if self.is_coming_up(service) {
            if !self.state(id).triggered {
                self.socket_hand_over(id);
            }
        } else if self.state(service).result == ServiceResult::StartLimitHit {
            self.enter_stop(id, ServiceResult::ServiceStartLimitHit);
        } else if self.active(service).is_down() && self.state(id).triggered {
            self.states[id.index()].triggered = false;
            self.socket_listen(id);
        }
    }

    /// A mount point is in the kernel's table now, or no longer.
    pub(super) fn mount_present(&mut self, id: UnitId, present: bool) {
        let state = &mut self.states[id.index()];
        state.held = present;
        match (present, state.service) {
            (true, ServiceState::Dead | ServiceState::Failed | ServiceState::AutoRestart) => {
                state.result = ServiceResult::Success;
                self.enter(id, ServiceState::Running);
            }
            (false, ServiceState::Running) => {
                self.enter_signal(id, ServiceState::StopSigterm, ServiceResult::Success);
            }
            _ => {}
        }
    }

    /// The command that unmounts ended. A mount that is still there is still up.
    pub(super) fn unmounted(&mut self, id: UnitId, good: bool) {
        if good {
            self.states[id.index()].held = false;
        }
        if self.state(id).held {
            self.log(Some(id), Severity::Warning, Notice::StillMounted);
            self.enter(id, ServiceState::Running);
        } else {
            self.enter_signal(id, ServiceState::StopSigterm, ServiceResult::Success);
        }
    }
}
