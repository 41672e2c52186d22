//! The life of a service (systemd.service(5); the states are those of systemd's service.c).

use super::action::{Action, Event, ExitStatus, Notice, NotifyItem, Role, Severity, Signal};
use super::state::{ServiceResult, ServiceState};
use super::{Engine, JobKind, UnitId};
use crate::unit::Kind;
use crate::unit::config::{
    EmergencyAction, ExitSet, ExitType, KillMode, Phase, Restart, RestartMode, Service, ServiceType,
};
use crate::unit::execution::OomPolicy;
use std::time::Duration;

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;
const SIGCONT: i32 = 18;

/// A service of `Type=idle` waits for other jobs at most so long (systemd.service(5)).
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

impl Engine {
    fn config(&self, id: UnitId) -> Service {
        self.unit(id).service.as_deref().cloned().unwrap_or_default()
    }

    fn with<T>(&self, id: UnitId, read: impl FnOnce(&Service) -> T) -> T {
        match self.unit(id).service.as_deref() {
            Some(service) => read(service),
            None => read(&Service::default()),
        }
    }

    /// Enters a state and arms its time-out.
    pub(super) fn enter(&mut self, id: UnitId, to: ServiceState) {
        self.enter_with(id, to, false);
    }

    fn enter_with(&mut self, id: UnitId, to: ServiceState, will_restart: bool) {
        use ServiceState::{
            AutoRestart, Condition, Dead, Exited, Failed, FinalSigkill, FinalSigterm, Reload, Running, Start,
            StartPost, StartPre, Stop, StopPost, StopSigkill, StopSigterm, StopWatchdog,
        };
        let timeout = self.with(id, |service| match to {
            Condition | StartPre | Start | StartPost | Reload => service.start_timeout(),
            StopWatchdog => service.abort_timeout.unwrap_or(service.stop_timeout),
            Stop | StopSigterm | StopSigkill | StopPost | FinalSigterm | FinalSigkill => service.stop_timeout,
            Running => service.runtime_max,
            AutoRestart => Some(restart_delay(service, self.state(id).restarts)),
            Dead | Failed | Exited => None,
        });
        let from = self.active(id);
        let deadline = timeout.map(|timeout| self.now.saturating_add(timeout));
        let state = &mut self.states[id.index()];
        state.service = to;
        state.deadline = deadline;
        if !matches!(to, Start | StartPost | Running | Reload) {
            state.watchdog_deadline = None;
        }
        if matches!(to, StopPost | FinalSigterm | FinalSigkill | Dead | Failed) {
            self.close_sockets(id);
        }
        self.changed(id, from, will_restart);
    }

    /// Starts command `index` of a phase; false if the phase has none.
    fn spawn(&mut self, id: UnitId, phase: Phase, index: usize, role: Role) -> bool {
        if index >= self.with(id, |service| service.commands(phase).len()) {
            return false;
        }
        let state = &mut self.states[id.index()];
        state.command = index;
        *state.has(role) = true;
        self.actions.push(Action::Spawn { unit: id, phase, index, role });
        true
    }

    pub(super) fn waits_for_restart(&self, id: UnitId) -> bool {
        self.state(id).service == ServiceState::AutoRestart
    }

    /// The restart that a service waits for cannot be: it stays down.
    pub(super) fn give_up_restart(&mut self, id: UnitId) {
        if self.waits_for_restart(id) {
            self.states[id.index()].forbid_restart = true;
            self.enter(id, ServiceState::Failed);
        }
    }

    /// From down to the first command, within the start rate limit.
    pub(super) fn service_start(&mut self, id: UnitId) {
        let (interval, burst) =
            (self.unit(id).start_limit_interval, self.unit(id).start_limit_burst as usize);
        let limited = interval != Some(Duration::ZERO) && burst > 0;
        let now = self.now;
        let state = &mut self.states[id.index()];
        if limited {
            while interval.is_some_and(|interval| {
                state.starts.front().is_some_and(|at| now.saturating_sub(*at) > interval)
            }) {
                state.starts.pop_front();
            }
            if state.starts.len() >= burst {
                state.result = ServiceResult::StartLimitHit;
                state.forbid_restart = true;
                let count = state.starts.len();
                self.log(Some(id), Severity::Error, Notice::StartLimit(count));
                let action = self.unit(id).start_limit_action;
                self.emergency(id, action);
                // From inactive to failed even if it is failed already, so that the job ends.
                self.states[id.index()].service = ServiceState::Dead;
                return self.enter(id, ServiceState::Failed);
            }
            state.starts.push_back(now);
        }
        if !state.restarting {
            state.restarts = 0;
        }
        state.restarting = false;
        state.result = ServiceResult::Success;
        state.reload_result = ServiceResult::Success;
        state.main_exit = None;
        state.forbid_restart = false;
        state.status_text = None;
        state.watchdog_override = None;
        state.start_since = Some(now);
        state.main = false;
        state.control = false;
        if !self.socket_may_start(id) {
            return;
        }
        if self.spawn(id, Phase::Condition, 0, Role::Control) {
            self.enter(id, ServiceState::Condition);
        } else {
            self.enter_start_pre(id);
        }
    }

    /// Whether it may start at all was not to be found out in time.
    pub(super) fn service_untested(&mut self, id: UnitId) {
        let state = &mut self.states[id.index()];
        state.result = ServiceResult::Timeout;
        state.main_exit = None;
        state.restarting = false;
        state.forbid_restart = false;
        self.enter_dead(id);
    }

    fn enter_start_pre(&mut self, id: UnitId) {
        if self.spawn(id, Phase::StartPre, 0, Role::Control) {
            self.enter(id, ServiceState::StartPre);
        } else {
            self.enter_start(id);
        }
    }

    fn enter_start(&mut self, id: UnitId) {
        if self.unit(id).name.kind() == Kind::Socket {
            self.actions.push(Action::OpenSockets(id));
            return self.enter(id, ServiceState::Start);
        }
        let kind = self.with(id, |service| service.kind);
        let mount = self.unit(id).name.kind() == Kind::Mount;
        let role = if kind == ServiceType::Forking || mount { Role::Control } else { Role::Main };
        if kind == ServiceType::Idle && !mount {
            // Up at once; the program starts when nothing else is to be done: systemd.service(5).
            self.states[id.index()].main = true;
            self.idle.insert(id, self.now.saturating_add(IDLE_TIMEOUT));
            self.enter(id, ServiceState::Start);
            return self.enter_start_post(id);
        }
        let spawned = self.spawn(id, Phase::Start, 0, role);
        self.enter(id, ServiceState::Start);
        if !spawned {
            self.enter_start_post(id);
        }
    }

    /// Starts the program of a `Type=idle` service.
    pub(super) fn leave_idle(&mut self, id: UnitId) {
        if self.idle.remove(&id).is_some() {
            let action = Action::Spawn { unit: id, phase: Phase::Start, index: 0, role: Role::Main };
            self.actions.push(action);
        }
    }

    /// Takes a service out of its idleness before its program ran.
    fn forget_idle(&mut self, id: UnitId) {
        if self.idle.remove(&id).is_some() {
            self.states[id.index()].main = false;
        }
    }

    pub(super) fn enter_start_post(&mut self, id: UnitId) {
        self.feed_watchdog(id);
        if self.spawn(id, Phase::StartPost, 0, Role::Control) {
            self.enter(id, ServiceState::StartPost);
        } else {
            self.enter_running(id, ServiceResult::Success);
        }
    }

    fn enter_running(&mut self, id: UnitId, result: ServiceResult) {
        self.note(id, result);
        let remain = self.with(id, |service| service.remain_after_exit);
        let state = &self.states[id.index()];
        // A forking service whose main process is not known lives as long as its cgroup does.
        let forking = self.with(id, |service| service.kind == ServiceType::Forking);
        let by_cgroup = self.with(id, |service| service.exit_type == ExitType::Cgroup);
        let alive = match self.unit(id).name.kind() {
            Kind::Socket | Kind::Mount => state.held,
            _ => state.main || (by_cgroup || forking && state.main_exit.is_none()) && state.populated,
        };
        if state.result != ServiceResult::Success {
            self.enter_signal(id, ServiceState::StopSigterm, ServiceResult::Success);
        } else if alive {
            self.enter(id, ServiceState::Running);
            self.socket_listen(id);
        } else if remain {
            self.enter(id, ServiceState::Exited);
        } else {
            self.enter_stop(id, ServiceResult::Success);
        }
    }

    pub(super) fn enter_stop(&mut self, id: UnitId, result: ServiceResult) {
        self.note(id, result);
        self.forget_idle(id);
        let gone = self.unit(id).name.kind() == Kind::Mount && !self.state(id).held;
        if !gone && self.spawn(id, Phase::Stop, 0, Role::Control) {
            self.enter(id, ServiceState::Stop);
        } else {
            self.enter_signal(id, ServiceState::StopSigterm, ServiceResult::Success);
        }
    }

    fn enter_stop_post(&mut self, id: UnitId, result: ServiceResult) {
        self.note(id, result);
        if self.spawn(id, Phase::StopPost, 0, Role::Control) {
            self.enter(id, ServiceState::StopPost);
        } else {
            self.enter_signal(id, ServiceState::FinalSigterm, ServiceResult::Success);
        }
    }

    /// Sends what the state stands for to what is left, and goes on at once if nothing is.
    pub(super) fn enter_signal(&mut self, id: UnitId, to: ServiceState, result: ServiceResult) {
        self.note(id, result);
        self.forget_idle(id);
        let config = self.config(id);
        if self.is_quiet(id, to) {
            self.enter(id, to);
            return self.after_signal(id);
        }
        let group = config.kill_mode == KillMode::ControlGroup;
        match to {
            ServiceState::StopWatchdog => self.kill(id, Signal::One(Role::Main, config.watchdog_signal)),
            ServiceState::StopSigkill | ServiceState::FinalSigkill => {
                let signal = config.final_kill_signal;
                if group || config.kill_mode == KillMode::Mixed {
                    self.kill(id, if signal == SIGKILL { Signal::KillAll } else { Signal::All(signal) });
                } else {
                    self.kill(id, Signal::One(Role::Main, signal));
                    self.kill(id, Signal::One(Role::Control, signal));
                }
            }
            _ => {
                let restarts = self.state(id).stop_for_restart;
                let first = config.restart_kill_signal.filter(|_| restarts).unwrap_or(config.kill_signal);
                let mut signals = vec![first];
                signals.extend(config.send_sighup.then_some(SIGHUP));
                // A stopped process takes no other signal: systemd.kill(5).
                signals.push(SIGCONT);
                for signal in signals {
                    if group {
                        self.kill(id, Signal::All(signal));
                    } else {
                        self.kill(id, Signal::One(Role::Main, signal));
                        self.kill(id, Signal::One(Role::Control, signal));
                    }
                }
            }
        }
        self.enter(id, to);
    }

    fn kill(&mut self, id: UnitId, signal: Signal) {
        let state = &mut self.states[id.index()];
        if let Signal::One(role, _) = signal
            && !*state.has(role)
        {
            return;
        }
        self.actions.push(Action::Kill(id, signal));
    }

    /// Whether nothing is left that the signal state `at` waits for.
    fn is_quiet(&self, id: UnitId, at: ServiceState) -> bool {
        let state = self.state(id);
        let processes = state.main || state.control;
        match (self.with(id, |service| service.kill_mode), at) {
            (KillMode::None, _) => true,
            // Mixed: the main process gets its time alone; the rest is killed at the very end.
            (KillMode::Process, _)
            | (KillMode::Mixed, ServiceState::StopSigterm | ServiceState::FinalSigterm) => !processes,
            _ => !processes && !state.populated,
        }
    }

    fn after_signal(&mut self, id: UnitId) {
        let at = self.state(id).service;
        if !self.is_quiet(id, at) {
            return;
        }
        match at {
            ServiceState::StopWatchdog | ServiceState::StopSigterm | ServiceState::StopSigkill => {
                self.enter_stop_post(id, ServiceResult::Success);
            }
            ServiceState::FinalSigterm if !self.is_quiet(id, ServiceState::FinalSigkill) => {
                self.enter_signal(id, ServiceState::FinalSigkill, ServiceResult::Success);
            }
            ServiceState::FinalSigterm | ServiceState::FinalSigkill => self.enter_dead(id),
            _ => {}
        }
    }

    fn enter_dead(&mut self, id: UnitId) {
        let restart = !self.state(id).forbid_restart && self.shall_restart(id);
        let result = self.state(id).result;
        let good = matches!(result, ServiceResult::Success | ServiceResult::ExecCondition);
        if !good {
            self.log(Some(id), Severity::Warning, Notice::Failed(result));
        }
        let state = &mut self.states[id.index()];
        state.main = false;
        state.control = false;
        let by_job = std::mem::take(&mut state.stop_for_restart);
        state.will_restart = restart || by_job;
        self.actions.push(Action::Release(id));
        if restart && self.with(id, |service| service.restart_mode == RestartMode::Direct) {
            // Nobody is told that it was down: systemd.service(5), RestartMode=.
            return self.enter_with(id, ServiceState::AutoRestart, true);
        }
        self.enter_with(id, if good { ServiceState::Dead } else { ServiceState::Failed }, restart);
        if restart && self.active(id).is_down() {
            self.enter(id, ServiceState::AutoRestart);
        } else if !restart {
            let unit = self.unit(id);
            let action = if good { unit.success_action } else { unit.failure_action };
            self.emergency(id, action);
        }
    }

    pub(super) fn emergency(&mut self, id: UnitId, action: EmergencyAction) {
        if action != EmergencyAction::None {
            self.actions.push(Action::Emergency(id, action));
        }
    }

    /// `Restart=` and its exceptions (systemd.service(5), table "Exit causes").
    fn shall_restart(&self, id: UnitId) -> bool {
        use ServiceResult::{CoreDump, ExecCondition, ExitCode, Success, Watchdog};
        let state = self.state(id);
        self.with(id, |service| {
            let in_set = |set: &ExitSet| state.main_exit.is_some_and(|status| contains(set, status));
            if in_set(&service.restart_prevent) {
                return false;
            }
            if in_set(&service.restart_force) {
                return true;
            }
            match service.restart {
                Restart::No => false,
                Restart::Always => state.result != ExecCondition,
                Restart::OnSuccess => state.result == Success,
                Restart::OnFailure => !matches!(state.result, Success | ExecCondition),
                Restart::OnAbnormal => !matches!(state.result, Success | ExitCode | ExecCondition),
                Restart::OnWatchdog => state.result == Watchdog,
                Restart::OnAbort => matches!(state.result, ServiceResult::Signal | CoreDump),
            }
        })
    }

    /// Whether the service is on its way into a restart that others are not told of.
    pub(super) fn restarts_directly(&self, id: UnitId) -> bool {
        self.with(id, |service| service.restart_mode == RestartMode::Direct)
            && !self.state(id).forbid_restart
            && self.shall_restart(id)
    }

    /// The first bad result of a run stays.
    fn note(&mut self, id: UnitId, result: ServiceResult) {
        let state = &mut self.states[id.index()];
        if state.result == ServiceResult::Success {
            state.result = result;
        }
    }

    /// A stop or the first half of a restart.
    pub(super) fn service_stop(&mut self, id: UnitId) {
        use ServiceState::{AutoRestart, Condition, Exited, Reload, Running, Start, StartPost, StartPre};
        let restart = self.job_of(id).is_some_and(|job| job.kind == JobKind::Restart);
        let state = &mut self.states[id.index()];
        state.forbid_restart = true;
        state.stop_for_restart = restart;
        match self.state(id).service {
            AutoRestart => self.enter(id, ServiceState::Dead),
            Condition | StartPre | Start | StartPost | Reload => {
                self.enter_signal(id, ServiceState::StopSigterm, ServiceResult::Success);
            }
            Running | Exited => self.enter_stop(id, ServiceResult::Success),
            _ => {}
        }
    }

    pub(super) fn service_reload(&mut self, id: UnitId) {
        self.states[id.index()].reload_result = ServiceResult::Success;
        let signal = self
            .with(id, |service| (service.kind == ServiceType::NotifyReload).then_some(service.reload_signal));
        if let Some(signal) = signal {
            // RELOADING=1 and READY=1 follow: systemd.service(5), Type=notify-reload.
            self.kill(id, Signal::One(Role::Main, signal));
            self.enter(id, ServiceState::Reload);
        } else if self.spawn(id, Phase::Reload, 0, Role::Control) {
            self.enter(id, ServiceState::Reload);
        }
    }

    pub(super) fn service_event(&mut self, id: UnitId, event: Event) {
        let kind = self.with(id, |service| service.kind);
        let at = self.state(id).service;
        if let Event::Spawned(_) = event {
            self.states[id.index()].populated = true;
        }
        match event {
            Event::Spawned(Role::Main) if kind == ServiceType::Simple && at == ServiceState::Start => {
                self.enter_start_post(id);
            }
            Event::Executed(Role::Main) if kind == ServiceType::Exec && at == ServiceState::Start => {
                self.enter_start_post(id);
            }
            Event::Spawned(_)
            | Event::Executed(_)
            | Event::Tested { .. }
            | Event::Untested
            | Event::Opened(_)
            | Event::Incoming
            | Event::Present(_)
            | Event::PathMet
            | Event::Stamp(_) => {}
            Event::SpawnFailed(role) => {
                *self.states[id.index()].has(role) = false;
                match role {
                    Role::Main => self.main_ended(id, ServiceResult::Resources),
                    Role::Control => self.control_ended(id, ServiceResult::Resources, None),
                }
            }
            Event::Exited { role, status, cgroup_empty } => self.exited(id, role, status, cgroup_empty),
            Event::OomKilled => self.oom_killed(id),
            Event::CgroupEmpty => {
                self.states[id.index()].populated = false;
                match at {
                    ServiceState::Running
                        if !self.state(id).main && self.unit(id).name.kind() == Kind::Service =>
                    {
                        self.enter_running(id, ServiceResult::Success);
                    }
                    // A forking service whose process went away before it wrote its PID file.
                    ServiceState::Start if kind == ServiceType::Forking && !self.state(id).control => {
                        self.log(Some(id), Severity::Warning, Notice::Protocol("no process is left"));
                        self.enter_signal(id, ServiceState::StopSigterm, ServiceResult::Protocol);
                    }
                    _ => self.after_signal(id),
                }
            }
            Event::MainFound(pid) => self.main_found(id, pid),
            Event::Notify(items) => {
                for item in items {
                    self.notified(id, item);
                }
            }
        }
    }

    /// `OOMPolicy=` (systemd.service(5); the states are those of systemd's
    /// `service_notify_cgroup_oom_event()`).
    fn oom_killed(&mut self, id: UnitId) {
        use ServiceState as S;
        const WHY: ServiceResult = ServiceResult::OomKill;
        self.log(Some(id), Severity::Warning, Notice::OomKilled);
        let policy = self.with(id, Service::oom_policy);
        let kills = match policy {
            OomPolicy::Continue => return,
            OomPolicy::Stop => false,
            OomPolicy::Kill => true,
        };
        match self.state(id).service {
            S::Condition
            | S::StartPre
            | S::Start
            | S::StartPost
            | S::Stop
            | S::Reload
            | S::Running
            | S::Exited
                if kills =>
            {
                self.enter_signal(id, S::FinalSigkill, WHY);
            }
            S::Condition | S::StartPre | S::Start | S::StartPost | S::Stop | S::Reload => {
                self.enter_signal(id, S::StopSigterm, WHY);
            }
            S::Running | S::Exited => self.enter_stop(id, WHY),
            S::StopWatchdog | S::StopSigterm => self.enter_signal(id, S::StopSigkill, WHY),
            S::StopPost | S::FinalSigterm => self.enter_signal(id, S::FinalSigkill, WHY),
            S::StopSigkill | S::FinalSigkill => self.note(id, WHY),
            S::Dead | S::Failed | S::AutoRestart => {}
        }
    }

    fn main_found(&mut self, id: UnitId, pid: Option<i32>) {
        if self.state(id).service != ServiceState::Start {
            return;
        }
        let has_pid_file = self.with(id, |service| service.pid_file.is_some());
        self.states[id.index()].main = pid.is_some();
        if pid.is_none() && (has_pid_file || !self.state(id).populated) {
            self.log(Some(id), Severity::Warning, Notice::Protocol("no main process was found"));
            return self.enter_signal(id, ServiceState::StopSigterm, ServiceResult::Protocol);
        }
        self.enter_start_post(id);
    }

    fn exited(&mut self, id: UnitId, role: Role, status: ExitStatus, cgroup_empty: bool) {
        let state = &mut self.states[id.index()];
        *state.has(role) = false;
        state.populated = !cgroup_empty;
        let (at, index) = (state.service, state.command);
        let phase = match (role, phase_of(at)) {
            (Role::Main, _) => Phase::Start,
            (Role::Control, phase) => phase.unwrap_or(Phase::Start),
        };
        let config = self.config(id);
        let result = judge(&config, phase, role, status);
        let ignored = config.commands(phase).get(index).is_some_and(|command| command.ignore_failure);
        if result != ServiceResult::Success {
            let ignored = if ignored { ", ignored" } else { "" };
            let notice = Notice::ProcessFailed { role, phase, status, ignored };
            self.log(Some(id), Severity::Notice, notice);
        }
        let result = if ignored { ServiceResult::Success } else { result };
        match role {
            Role::Main => {
                self.states[id.index()].main_exit = Some(status);
                self.main_ended(id, result);
            }
            Role::Control => self.control_ended(id, result, Some(status)),
        }
    }

    fn main_ended(&mut self, id: UnitId, result: ServiceResult) {
        let (at, index) = (self.state(id).service, self.state(id).command);
        let kind = self.with(id, |service| service.kind);
        let good = result == ServiceResult::Success;
        match at {
            ServiceState::Start if kind == ServiceType::Oneshot && good => {
                if !self.spawn(id, Phase::Start, index + 1, Role::Main) {
                    self.enter_start_post(id);
                }
            }
            ServiceState::Start
                if good
                    && matches!(
                        kind,
                        ServiceType::Notify | ServiceType::NotifyReload | ServiceType::Forking
                    ) =>
            {
                self.log(Some(id), Severity::Warning, Notice::Protocol("it ended before it was ready"));
                self.enter_signal(id, ServiceState::StopSigterm, ServiceResult::Protocol);
            }
            ServiceState::Start => self.enter_signal(id, ServiceState::StopSigterm, result),
            ServiceState::Running => self.enter_running(id, result),
            // The command that runs meanwhile ends first.
            ServiceState::StartPost | ServiceState::Reload | ServiceState::Stop | ServiceState::StopPost => {
                self.note(id, result);
            }
            _ => {
                self.note(
                    id,
                    if at == ServiceState::StopWatchdog { ServiceResult::Watchdog } else { result },
                );
                self.after_signal(id);
            }
        }
    }

    fn control_ended(&mut self, id: UnitId, result: ServiceResult, status: Option<ExitStatus>) {
        let (at, index) = (self.state(id).service, self.state(id).command);
        let good = result == ServiceResult::Success;
        if good
            && let Some(phase) = phase_of(at)
            && !(at == ServiceState::Start)
            && self.spawn(id, phase, index + 1, Role::Control)
        {
            return self.rearm(id);
        }
        match at {
            ServiceState::Condition if good => self.enter_start_pre(id),
            ServiceState::Condition => {
                // 1 to 254 is an answer, all else a failure: systemd.service(5), ExecCondition=.
                let skip = matches!(status, Some(ExitStatus::Code(1..=254)));
                let result = if skip { ServiceResult::ExecCondition } else { result };
                self.enter_signal(id, ServiceState::FinalSigterm, result);
            }
            ServiceState::StartPre if good => self.enter_start(id),
            ServiceState::Start if good && self.unit(id).name.kind() == Kind::Mount => {
                self.states[id.index()].held = true;
                self.enter_start_post(id);
            }
            ServiceState::Start if good => self.actions.push(Action::FindMain(id)),
            ServiceState::StartPre | ServiceState::Start => {
                self.enter_signal(id, ServiceState::StopSigterm, result);
            }
            ServiceState::StartPost if good => self.enter_running(id, ServiceResult::Success),
            ServiceState::StartPost => self.enter_stop(id, result),
            ServiceState::Reload => {
                self.states[id.index()].reload_result = result;
                self.enter_running(id, ServiceResult::Success);
            }
            ServiceState::Stop if self.unit(id).name.kind() == Kind::Mount => self.unmounted(id, good),
            ServiceState::Stop => self.enter_signal(id, ServiceState::StopSigterm, result),
            ServiceState::StopPost => self.enter_signal(id, ServiceState::FinalSigterm, result),
            _ => self.after_signal(id),
        }
    }

    /// Every command of a phase has the whole time-out.
    fn rearm(&mut self, id: UnitId) {
        let timeout = self.with(id, |service| match self.state(id).service {
            ServiceState::Stop | ServiceState::StopPost => service.stop_timeout,
            _ => service.start_timeout(),
        });
        self.states[id.index()].deadline = timeout.map(|timeout| self.now.saturating_add(timeout));
    }

    fn notified(&mut self, id: UnitId, item: NotifyItem) {
        let at = self.state(id).service;
        let kind = self.with(id, |service| service.kind);
        match item {
            NotifyItem::Ready
                if at == ServiceState::Start
                    && matches!(kind, ServiceType::Notify | ServiceType::NotifyReload) =>
            {
                self.enter_start_post(id);
            }
            NotifyItem::Ready if at == ServiceState::Reload && !self.state(id).control => {
                self.enter_running(id, ServiceResult::Success);
            }
            NotifyItem::Reloading if at == ServiceState::Running => self.enter(id, ServiceState::Reload),
            // It stops by itself: nothing is sent to it until the time for that is over.
            NotifyItem::Stopping if at == ServiceState::Running => self.enter(id, ServiceState::StopSigterm),
            NotifyItem::Ready | NotifyItem::Reloading | NotifyItem::Stopping => {}
            NotifyItem::Status(text) => self.states[id.index()].status_text = Some(text),
            NotifyItem::MainPid(_) => self.states[id.index()].main = true,
            NotifyItem::Watchdog => self.feed_watchdog(id),
            NotifyItem::WatchdogTrigger => self.bite(id),
            NotifyItem::WatchdogInterval(interval) => {
                self.states[id.index()].watchdog_override = Some(interval);
                self.feed_watchdog(id);
            }
            NotifyItem::ExtendTimeout(by) => {
                let until = self.now.saturating_add(by);
                let deadline = &mut self.states[id.index()].deadline;
                *deadline = deadline.map(|deadline| deadline.max(until));
            }
        }
    }

    fn watchdog(&self, id: UnitId) -> Option<Duration> {
        let own = self.state(id).watchdog_override;
        own.or_else(|| self.with(id, |service| service.watchdog)).filter(|interval| !interval.is_zero())
    }

    fn feed_watchdog(&mut self, id: UnitId) {
        use ServiceState::{Reload, Running, Start, StartPost};
        if matches!(self.state(id).service, Start | StartPost | Running | Reload) {
            let interval = self.watchdog(id);
            self.states[id.index()].watchdog_deadline =
                interval.map(|interval| self.now.saturating_add(interval));
        }
    }

    fn bite(&mut self, id: UnitId) {
        let interval = self.watchdog(id).unwrap_or_default();
        self.log(Some(id), Severity::Error, Notice::Watchdog(interval));
        self.enter_signal(id, ServiceState::StopWatchdog, ServiceResult::Watchdog);
    }

    /// The unit's earliest deadline is due; false if that changed nothing.
    pub(super) fn service_deadline(&mut self, id: UnitId) -> bool {
        use ServiceState as S;
        let now = self.now;
        if self.state(id).watchdog_deadline.is_some_and(|due| due <= now) {
            self.states[id.index()].watchdog_deadline = None;
            self.bite(id);
            return true;
        }
        if self.state(id).deadline.is_none_or(|due| due > now) {
            return false;
        }
        self.states[id.index()].deadline = None;
        let at = self.state(id).service;
        let send_sigkill = self.with(id, |service| service.send_sigkill);
        let mut timed_out = |what| self.log(Some(id), Severity::Warning, Notice::TimedOut(what));
        match at {
            S::Condition | S::StartPre | S::Start | S::StartPost => {
                timed_out("start");
                self.enter_signal(id, S::StopSigterm, ServiceResult::Timeout);
            }
            S::Running => {
                timed_out("RuntimeMaxSec=");
                self.enter_stop(id, ServiceResult::Timeout);
            }
            S::Reload => {
                timed_out("reload");
                self.kill(id, Signal::One(Role::Control, SIGKILL));
                self.states[id.index()].reload_result = ServiceResult::Timeout;
                self.enter_running(id, ServiceResult::Success);
            }
            S::Stop => {
                timed_out("ExecStop=");
                self.enter_signal(id, S::StopSigterm, ServiceResult::Timeout);
            }
            S::StopWatchdog => self.enter_signal(id, S::StopSigkill, ServiceResult::Watchdog),
            S::StopSigterm if send_sigkill => {
                timed_out("stop");
                self.enter_signal(id, S::StopSigkill, ServiceResult::Timeout);
            }
            S::StopSigterm | S::StopSigkill => {
                self.log(Some(id), Severity::Warning, Notice::Unkillable);
                self.enter_stop_post(id, ServiceResult::Timeout);
            }
            S::StopPost => {
                timed_out("ExecStopPost=");
                self.enter_signal(id, S::FinalSigterm, ServiceResult::Timeout);
            }
            S::FinalSigterm if send_sigkill => {
                self.enter_signal(id, S::FinalSigkill, ServiceResult::Timeout);
            }
            S::FinalSigterm | S::FinalSigkill => {
                self.log(Some(id), Severity::Warning, Notice::Unkillable);
                self.note(id, ServiceResult::Timeout);
                self.enter_dead(id);
            }
            S::AutoRestart => {
                let state = &mut self.states[id.index()];
                state.restarts = state.restarts.saturating_add(1);
                state.restarting = true;
                let count = state.restarts;
                self.log(Some(id), Severity::Info, Notice::Restarting(count));
                self.wish(id, JobKind::Restart);
            }
            S::Dead | S::Exited | S::Failed => {}
        }
        true
    }
}

fn phase_of(state: ServiceState) -> Option<Phase> {
    Some(match state {
        ServiceState::Condition => Phase::Condition,
        ServiceState::StartPre => Phase::StartPre,
        ServiceState::Start => Phase::Start,
        ServiceState::StartPost => Phase::StartPost,
        ServiceState::Reload => Phase::Reload,
        ServiceState::Stop => Phase::Stop,
        ServiceState::StopPost => Phase::StopPost,
        _ => return None,
    })
}

/// `RestartSec=`, which grows to `RestartMaxDelaySec=` in `RestartSteps=` steps of one factor.
fn restart_delay(service: &Service, restarts: u32) -> Duration {
    let (first, steps) = (service.restart_delay, service.restart_steps);
    match service.restart_max_delay {
        Some(max) if restarts > 0 && steps > 0 && !first.is_zero() && first < max => {
            if restarts >= steps {
                return max;
            }
            let factor = max.as_secs_f64() / first.as_secs_f64();
            first.mul_f64(factor.powf(f64::from(restarts) / f64::from(steps))).min(max)
        }
        _ => first,
    }
}

fn contains(set: &ExitSet, status: ExitStatus) -> bool {
    match status {
        ExitStatus::Code(code) => set.codes.contains(&code),
        ExitStatus::Signal(signal, _) => set.signals.contains(&signal),
    }
}

/// What an exit means (systemd.service(5), `SuccessExitStatus=`): of a daemon the signals HUP,
/// INT, TERM and PIPE are a clean end, of a command that should come to its own end they are not.
fn judge(config: &Service, phase: Phase, role: Role, status: ExitStatus) -> ServiceResult {
    let daemon = role == Role::Main && phase == Phase::Start && config.kind != ServiceType::Oneshot;
    if role == Role::Main && contains(&config.success, status) {
        return ServiceResult::Success;
    }
    match status {
        ExitStatus::Code(0) => ServiceResult::Success,
        ExitStatus::Signal(1 | 2 | 13 | 15, _) if daemon => ServiceResult::Success,
        ExitStatus::Code(_) => ServiceResult::ExitCode,
        ExitStatus::Signal(_, true) => ServiceResult::CoreDump,
        ExitStatus::Signal(_, false) => ServiceResult::Signal,
    }
}
