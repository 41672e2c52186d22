//! What goes into the engine and what comes out, as plain data.

use super::job::{JobId, JobKind, JobResult};
use super::state::ServiceResult;
use super::{ActiveState, UnitId};
use crate::unit::UnitName;
use crate::unit::config::{EmergencyAction, LoadState, Phase};
use crate::unit::value::signal_name;
use std::fmt;
use std::time::Duration;

/// Which of a service's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The one that is the service.
    Main,
    /// A command that acts on it (`ExecStartPre=`, `ExecStop=`, …).
    Control,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// By exit(2) with a code.
    Code(i32),
    /// By a signal, with or without a core dump.
    Signal(i32, bool),
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal, core) => {
                let core = if *core { ", core dumped" } else { "" };
                write!(f, "was killed by SIG{}{core}", signal_name(*signal))
            }
        }
    }
}

/// Something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A signal by number to the one process of the role.
    One(Role, i32),
    /// A signal by number to every process of the cgroup.
    All(i32),
    /// SIGKILL to every process of the cgroup, atomically (`cgroup.kill`).
    KillAll,
}

/// For the manager to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Test the unit's conditions and asserts, and answer [`Event::Tested`] or [`Event::Untested`],
    /// which may be later.
    Test(UnitId),
    /// Start command `index` of `phase` and answer [`Event::Spawned`] or [`Event::SpawnFailed`].
    Spawn {
        /// The unit.
        unit: UnitId,
        /// The phase.
        phase: Phase,
        /// Position in the phase's list.
        index: usize,
        /// What the process will be.
        role: Role,
    },
    /// Send a signal. No answer: exits follow.
    Kill(UnitId, Signal),
    /// Find the main process of a forking service; answer [`Event::MainFound`] when it is known,
    /// which may be later (the PID file is still to be written).
    FindMain(UnitId),
    /// The unit is down: remove its cgroup and its runtime folders.
    Release(UnitId),
    /// Open the sockets of the unit and answer [`Event::Opened`].
    OpenSockets(UnitId),
    /// Tell traffic on the unit's sockets as [`Event::Incoming`], or no longer.
    Listen(UnitId, bool),
    /// Close the sockets of the unit, and remove what `RemoveOnStop=` removes.
    CloseSockets(UnitId),
    /// Drop what waits in the sockets of the unit: connections, datagrams.
    Flush(UnitId),
    /// Take one connection, make the instance for it, and start that by [`super::Engine::accepted`].
    Accept(UnitId),
    /// Watch the paths of the unit; answer [`Event::PathMet`] at once if one is met already, and
    /// whenever one is later.
    WatchPaths(UnitId),
    /// Watch them no longer.
    UnwatchPaths(UnitId),
    /// Make the cgroup of a slice, with its limits.
    MakeSlice(UnitId),
    /// Answer [`Event::Stamp`] with the moment of the timer's last run in an earlier boot.
    ReadStamp(UnitId),
    /// Keep the present moment as the timer's last run.
    WriteStamp(UnitId),
    /// A unit's state changed.
    Changed {
        /// The unit.
        unit: UnitId,
        /// From.
        from: ActiveState,
        /// To.
        to: ActiveState,
        /// The job that it had at that moment.
        job: Option<(JobId, JobKind)>,
    },
    /// A job is over.
    JobDone {
        /// The job.
        job: JobId,
        /// Its unit.
        unit: UnitId,
        /// What it was to do.
        kind: JobKind,
        /// How it went.
        result: JobResult,
    },
    /// The machine is to be rebooted or switched off because of a unit.
    Emergency(UnitId, EmergencyAction),
    /// Something to tell.
    Log {
        /// About this unit.
        unit: Option<UnitId>,
        /// How bad.
        severity: Severity,
        /// What.
        notice: Notice,
    },
}

/// The levels of syslog(3) that the engine uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the level of the same name")]
pub enum Severity {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

/// What the engine has to tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is the sentence above it")]
pub enum Notice {
    #[error("condition {0} was not met, skipped")]
    ConditionFailed(String),
    #[error("assertion {0} failed")]
    AssertFailed(String),
    #[error("ordering cycle {}; the job of {} is left out", cycle(.0), .0.first().map_or("", UnitName::as_str))]
    CycleBroken(Vec<UnitName>),
    #[error("{0} cannot be started: {1}")]
    DependencyUnusable(UnitName, String),
    #[error("dependency failed: {0}")]
    DependencyFailed(UnitName),
    #[error("start request repeated too quickly ({0} times)")]
    StartLimit(usize),
    #[error("{phase:?} process {status}{ignored}")]
    ProcessFailed { role: Role, phase: Phase, status: ExitStatus, ignored: &'static str },
    #[error("{0} timed out")]
    TimedOut(&'static str),
    #[error("watchdog timeout after {0:?}")]
    Watchdog(Duration),
    #[error("scheduled restart, counter is at {0}")]
    Restarting(u32),
    #[error("failed with result '{0}'")]
    Failed(ServiceResult),
    #[error("a process was killed for want of memory")]
    OomKilled,
    #[error("processes are left after SIGKILL")]
    Unkillable,
    #[error("job {0} was enqueued because {1} failed")]
    OnFailure(UnitName, UnitName),
    #[error("stopping, because {0} that it is bound to is gone")]
    BoundTo(UnitName),
    #[error("did not take the protocol step: {0}")]
    Protocol(&'static str),
    #[error("{0} is active already, so its socket cannot be opened")]
    ServiceActive(UnitName),
    #[error("{0} cannot be triggered: {1}")]
    NotTriggered(UnitName, String),
    #[error("triggered too often ({0} times)")]
    TriggerLimit(usize),
    #[error("{0} connections are open, one more is refused")]
    TooManyConnections(u32),
    #[error("time zone {0} is not known on this machine")]
    ZoneUnknown(String),
    #[error("made other units start too often ({0} times), now it no longer does")]
    WishLimit(usize),
    #[error("stopping, because nothing that is up needs it")]
    Unneeded,
    #[error("could not be unmounted")]
    StillMounted,
}

fn cycle(names: &[UnitName]) -> String {
    let names: Vec<_> = names.iter().chain(names.first()).map(UnitName::as_str).collect();
    names.join(" after ")
}

/// Why a unit is not usable, as a fragment for messages.
pub(super) fn unusable(state: &LoadState) -> String {
    match state {
        LoadState::Loaded => String::new(),
        LoadState::NotFound => "not found".into(),
        LoadState::Masked => "masked".into(),
        LoadState::BadSetting(bad) => bad.to_string(),
    }
}

/// What happened to a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to [`Action::Test`]: the first line that failed of each kind.
    Tested {
        /// Of the conditions.
        failed_condition: Option<String>,
        /// Of the asserts.
        failed_assert: Option<String>,
    },
    /// There is no answer to [`Action::Test`]: a file system did not give one in time.
    Untested,
    /// A process was forked.
    Spawned(Role),
    /// A process could not even be forked.
    SpawnFailed(Role),
    /// `execve` of the process succeeded.
    Executed(Role),
    /// A process ended and was reaped.
    Exited {
        /// Which.
        role: Role,
        /// How.
        status: ExitStatus,
        /// Whether the unit's cgroup has no process any more.
        cgroup_empty: bool,
    },
    /// The kernel killed a process of the cgroup for want of memory.
    OomKilled,
    /// The last process of the cgroup is gone.
    CgroupEmpty,
    /// The answer to [`Action::FindMain`]; `None` if there is none and none will come.
    MainFound(Option<i32>),
    /// `sd_notify(3)` messages that the unit may send.
    Notify(Vec<NotifyItem>),
    /// The answer to [`Action::OpenSockets`].
    Opened(bool),
    /// There is traffic on the unit's sockets.
    Incoming,
    /// Whether the mount point is mounted now, or the device node is there.
    Present(bool),
    /// A path of the unit is met.
    PathMet,
    /// The answer to [`Action::ReadStamp`]: microseconds since 1970.
    Stamp(Option<i64>),
}

/// One assignment of an `sd_notify(3)` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyItem {
    /// `READY=1`.
    Ready,
    /// `RELOADING=1`.
    Reloading,
    /// `STOPPING=1`.
    Stopping,
    /// `STATUS=…`.
    Status(String),
    /// `MAINPID=…`; the manager has checked that it is in the unit's cgroup.
    MainPid(i32),
    /// `WATCHDOG=1`.
    Watchdog,
    /// `WATCHDOG=trigger`.
    WatchdogTrigger,
    /// `WATCHDOG_USEC=…`.
    WatchdogInterval(Duration),
    /// `EXTEND_TIMEOUT_USEC=…`.
    ExtendTimeout(Duration),
}
