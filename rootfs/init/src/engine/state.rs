//! What the engine knows of a unit at run time.

use super::UnitId;
use super::action::{ExitStatus, Role};
use super::job::JobId;
use super::timer::TimerState;
use crate::unit::{Kind, Unit};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// The state that all unit types share (`systemctl is-active`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is systemd's state of the same name")]
pub enum ActiveState {
    Inactive,
    Activating,
    Active,
    Reloading,
    Deactivating,
    Failed,
}

impl ActiveState {
    /// Running, as far as other units care.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Active | Self::Reloading)
    }

    /// Neither running nor about to.
    pub fn is_down(self) -> bool {
        matches!(self, Self::Inactive | Self::Failed)
    }
}

impl fmt::Display for ActiveState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inactive => "inactive",
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Reloading => "reloading",
            Self::Deactivating => "deactivating",
            Self::Failed => "failed",
        })
    }
}

/// The sub-state of a service; of a target only [`ServiceState::Dead`] and [`ServiceState::Running`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is systemd's sub-state of the same name")]
pub enum ServiceState {
    #[default]
    Dead,
    Condition,
    StartPre,
    Start,
    StartPost,
    Running,
    Exited,
    Reload,
    Stop,
    StopWatchdog,
    StopSigterm,
    StopSigkill,
    StopPost,
    FinalSigterm,
    FinalSigkill,
    Failed,
    AutoRestart,
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dead => "dead",
            Self::Condition => "condition",
            Self::StartPre => "start-pre",
            Self::Start => "start",
            Self::StartPost => "start-post",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Reload => "reload",
            Self::Stop => "stop",
            Self::StopWatchdog => "stop-watchdog",
            Self::StopSigterm => "stop-sigterm",
            Self::StopSigkill => "stop-sigkill",
            Self::StopPost => "stop-post",
            Self::FinalSigterm => "final-sigterm",
            Self::FinalSigkill => "final-sigkill",
            Self::Failed => "failed",
            Self::AutoRestart => "auto-restart",
        })
    }
}

/// Why a service ended (`systemctl show -p Result`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is systemd's result of the same name")]
pub enum ServiceResult {
    #[default]
    Success,
    Resources,
    Protocol,
    Timeout,
    ExitCode,
    Signal,
    CoreDump,
    Watchdog,
    OomKill,
    StartLimitHit,
    ExecCondition,
    TriggerLimitHit,
    ServiceStartLimitHit,
}

impl fmt::Display for ServiceResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::Resources => "resources",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::Watchdog => "watchdog",
            Self::OomKill => "oom-kill",
            Self::StartLimitHit => "start-limit-hit",
            Self::ExecCondition => "exec-condition",
            Self::TriggerLimitHit => "trigger-limit-hit",
            Self::ServiceStartLimitHit => "service-start-limit-hit",
        })
    }
}

/// A unit at run time.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as the manual has them")]
pub struct UnitState {
    /// Its job.
    pub job: Option<JobId>,
    /// Sub-state.
    pub service: ServiceState,
    /// Why the last run ended.
    pub result: ServiceResult,
    /// The main process, while it lives.
    pub main: bool,
    /// The control process, while it lives.
    pub control: bool,
    /// How the last main process ended.
    pub main_exit: Option<ExitStatus>,
    /// Whether the cgroup may have processes.
    pub populated: bool,
    /// The command of the present phase.
    pub command: usize,
    /// When the present state times out.
    pub deadline: Option<Duration>,
    /// When the watchdog bites.
    pub watchdog_deadline: Option<Duration>,
    /// The watchdog's interval, when `sd_notify` set another than the unit's.
    pub watchdog_override: Option<Duration>,
    /// When the unit became active.
    pub active_since: Option<Duration>,
    /// When the start began.
    pub start_since: Option<Duration>,
    /// When the unit went down.
    pub inactive_since: Option<Duration>,
    /// `STATUS=` of `sd_notify`.
    pub status_text: Option<String>,
    /// Automatic restarts since the last manual start.
    pub restarts: u32,
    /// Moments of the last starts, for the rate limit.
    pub(super) starts: VecDeque<Duration>,
    /// The stop was wished for: no automatic restart.
    pub(super) forbid_restart: bool,
    /// It is down only until it is started again.
    pub(crate) will_restart: bool,
    /// Why the reload failed.
    pub(super) reload_result: ServiceResult,
    /// The next start is the engine's own, not somebody's wish.
    pub(super) restarting: bool,
    /// Of a target: whether it is reached.
    pub(super) is_target_up: bool,
    /// Of a timer or path: why it is failed.
    pub(super) failure: Option<ServiceResult>,
    /// Of a socket, timer or path: what it triggers runs.
    pub(super) triggered: bool,
    /// Of a socket: its descriptors are open. Of a mount: it is mounted.
    pub(super) held: bool,
    /// Of a socket with `Accept=yes`: its connections now.
    pub connections: u32,
    /// Of an instance for a connection: its socket.
    pub(super) connection_of: Option<UnitId>,
    /// Moments at which traffic or a path triggered, for the rate limit.
    pub(super) triggers: VecDeque<Duration>,
    /// Moments at which it made other units start by failing, ending or being upheld.
    pub(super) wishes: VecDeque<Duration>,
    /// Of a timer.
    pub timer: Option<Box<TimerState>>,
    /// When the unit left inactive or failed.
    pub(super) inactive_exit: Option<Duration>,
    /// The stop is the first half of a restart.
    pub(super) stop_for_restart: bool,
    /// Whether the last start was skipped by a condition, and which.
    pub condition: Option<String>,
}

impl UnitState {
    /// Called when the configuration is (re)loaded.
    pub(super) fn fit(&mut self, unit: &Unit) {
        if !unit.name.kind().has_processes() {
            self.deadline = None;
        }
    }

    pub(super) fn active(&self, kind: Kind) -> ActiveState {
        if !kind.has_processes() {
            return match (self.is_target_up, self.failure) {
                (true, _) => ActiveState::Active,
                (false, Some(_)) => ActiveState::Failed,
                (false, None) => ActiveState::Inactive,
            };
        }
        match self.service {
            ServiceState::Dead => ActiveState::Inactive,
            ServiceState::Condition
            | ServiceState::StartPre
            | ServiceState::Start
            | ServiceState::StartPost
            | ServiceState::AutoRestart => ActiveState::Activating,
            ServiceState::Running | ServiceState::Exited => ActiveState::Active,
            ServiceState::Reload => ActiveState::Reloading,
            ServiceState::Stop
            | ServiceState::StopWatchdog
            | ServiceState::StopSigterm
            | ServiceState::StopSigkill
            | ServiceState::StopPost
            | ServiceState::FinalSigterm
            | ServiceState::FinalSigkill => ActiveState::Deactivating,
            ServiceState::Failed => ActiveState::Failed,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadline.into_iter().chain(self.watchdog_deadline).min()
    }

    pub(super) fn has(&mut self, role: Role) -> &mut bool {
        match role {
            Role::Main => &mut self.main,
            Role::Control => &mut self.control,
        }
    }

    /// The sub-state as `systemctl` shows it.
    pub fn sub_state(&self, kind: Kind) -> String {
        if kind.has_processes() {
            return match (kind, self.service) {
                (Kind::Socket, ServiceState::Running) if !self.triggered => "listening".into(),
                (Kind::Mount, ServiceState::Running) => "mounted".into(),
                (Kind::Mount, ServiceState::Start) => "mounting".into(),
                (Kind::Mount, ServiceState::Stop) => "unmounting".into(),
                (Kind::Mount, ServiceState::Reload) => "remounting".into(),
                (Kind::Socket, ServiceState::Stop) => "stop-pre".into(),
                (_, state) => state.to_string(),
            };
        }
        let up = match kind {
            Kind::Timer | Kind::Path if self.triggered => "running",
            Kind::Timer if self.timer.as_ref().is_some_and(|timer| timer.next.is_none()) => "elapsed",
            Kind::Timer | Kind::Path => "waiting",
            Kind::Device => "plugged",
            _ => "active",
        };
        match (self.is_target_up, self.failure) {
            (true, _) => up.into(),
            (false, Some(_)) => "failed".into(),
            (false, None) => "dead".into(),
        }
    }
}
