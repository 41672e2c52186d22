//! Jobs: what is wanted of a unit, one at a time.

use super::UnitId;
use std::fmt;
use std::time::Duration;

/// Number of a job, rising over the life of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// What a job does. `Try…` and `ReloadOr…` are wishes: [`super::Engine::enqueue`] turns them into
/// one of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the systemctl verb or job type of the same name")]
pub enum JobKind {
    Start,
    VerifyActive,
    Stop,
    Reload,
    Restart,
    TryRestart,
    TryReload,
    ReloadOrStart,
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::VerifyActive => "verify-active",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Restart => "restart",
            Self::TryRestart => "try-restart",
            Self::TryReload => "try-reload",
            Self::ReloadOrStart => "reload-or-start",
        })
    }
}

/// What to do with jobs that are there already and units that are not named (systemctl(1), `--job-mode=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Fail if a job in the way would have to go.
    Fail,
    /// Replace jobs in the way.
    #[default]
    Replace,
    /// As replace, and no later job may replace these: for shutdown.
    ReplaceIrreversibly,
    /// Stop every unit that the transaction does not start.
    Isolate,
    /// The unit alone, without requirements and order.
    IgnoreDependencies,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is systemd's job result of the same name")]
pub enum JobResult {
    Done,
    Skipped,
    Canceled,
    Timeout,
    Failed,
    Dependency,
    Assert,
    Invalid,
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Dependency => "dependency",
            Self::Assert => "assert",
            Self::Invalid => "invalid",
        })
    }
}

/// A job that is installed.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Its unit.
    pub unit: UnitId,
    /// What it does.
    pub kind: JobKind,
    /// Whether it has begun; until then it waits for others.
    pub running: bool,
    /// No later job may replace it.
    pub irreversible: bool,
    /// It runs without waiting for others.
    pub ignore_order: bool,
    /// When `JobTimeoutSec=` or, once it runs, `JobRunningTimeoutSec=` is over.
    pub deadline: Option<Duration>,
}

/// One job that covers both, or `None` if they contradict each other (systemd's job.c, merge table).
pub(super) fn merge(a: JobKind, b: JobKind) -> Option<JobKind> {
    use JobKind::{Reload, ReloadOrStart, Restart, Start, VerifyActive};
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    match (low, high) {
        _ if low == high => Some(low),
        (Start, VerifyActive) => Some(Start),
        (Start | VerifyActive | Reload, Restart) | (Restart, ReloadOrStart) => Some(Restart),
        (VerifyActive, Reload) => Some(Reload),
        (Start, Reload) | (Start | VerifyActive | Reload, ReloadOrStart) => Some(ReloadOrStart),
        // Stop goes with nothing else; the Try… kinds never get this far.
        _ => None,
    }
}

/// Whether of two units ordered `first` before `second` the job on the second goes first: a stop
/// (or the stop in a restart) always does (systemd.unit(5), `After=`).
pub(super) fn second_goes_first(second: JobKind) -> bool {
    matches!(second, JobKind::Stop | JobKind::Restart)
}
