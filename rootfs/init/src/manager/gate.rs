//! The boot's gate: `boot-complete.target` is reached in time, or the machine reboots, so that boot
//! counting can fall back (UAPI.1, "Boot counting").

use super::{Manager, now};
use crate::control::{Ending, Verb};
use crate::engine::{ActiveState, JobKind, JobResult, Mode, ServiceState, UnitId};
use crate::unit::UnitName;
use std::time::Duration;

/// What the boot has to reach.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The target that means "this version works".
    pub target: UnitName,
    /// After this long without it the machine reboots; `None` waits for ever.
    pub timeout: Option<Duration>,
    /// Rebooting would help nobody (every boot entry failed): isolate this target and stay up.
    pub recovery: Option<(UnitName, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Pending,
    /// The target's start failed, but a unit that it needs is about to be restarted.
    Retrying,
    Passed,
    Failed,
}

/// The gate while the machine boots.
pub(super) struct Running {
    gate: Gate,
    default: UnitName,
    wishes: Vec<(UnitName, Verb)>,
    deadline: Option<Duration>,
    verdict: Verdict,
    /// The default target failed, but a unit that it needs is about to be restarted.
    retries_default: bool,
    pub(super) ready_at: Option<Duration>,
}

impl Running {
    pub(super) fn new(gate: Gate, default: UnitName, wishes: Vec<(UnitName, Verb)>, now: Duration) -> Self {
        let deadline = gate.timeout.map(|timeout| now.saturating_add(timeout));
        Self {
            gate,
            default,
            wishes,
            deadline,
            verdict: Verdict::Pending,
            retries_default: false,
            ready_at: None,
        }
    }

    /// When the verdict is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.deadline.filter(|_| self.is_open())
    }

    fn is_open(&self) -> bool {
        matches!(self.verdict, Verdict::Pending | Verdict::Retrying)
    }
}

impl Manager {
    /// Enqueues what the machine is for.
    pub(super) fn begin(&mut self) {
        self.read_clock(false, false);
        self.mounts_changed();
        if let Some((target, why)) = self.gate.gate.recovery.clone() {
            self.gate.verdict = Verdict::Passed; // nothing to decide any more
            self.tell(None, 2, &format!("recovery: {why}; this machine stays up in {target}"));
            if let Err(error) = self.enqueue(&target, JobKind::Start, Mode::Replace) {
                self.tell(None, 2, &format!("{target}: {error}"));
            }
            return self.settle();
        }
        for name in ["-.slice", "system.slice"] {
            if let Ok(name) = UnitName::parse(name)
                && let Err(error) = self.enqueue(&name, JobKind::Start, Mode::Replace)
            {
                self.tell(None, 3, &format!("{name}: {error}"));
            }
        }
        let default = self.gate.default.clone();
        let gate = self.gate.gate.target.clone();
        for name in [default, gate] {
            if let Err(error) = self.enqueue(&name, JobKind::Start, Mode::Replace) {
                self.tell(None, 2, &format!("{name}: {error}"));
                self.gate_failed(&format!("{name} cannot be started: {error}"));
            }
        }
        for (name, verb) in std::mem::take(&mut self.gate.wishes) {
            let kind = match verb {
                Verb::Start | Verb::Isolate => JobKind::Start,
                Verb::Stop => JobKind::Stop,
                Verb::Restart => JobKind::Restart,
                Verb::TryRestart => JobKind::TryRestart,
                Verb::Reload => JobKind::Reload,
                Verb::ReloadOrRestart => JobKind::ReloadOrStart,
            };
            if let Err(error) = self.enqueue(&name, kind, Mode::Replace) {
                self.tell(None, 3, &format!("user-data: {verb:?} of {name}: {error}"));
            }
        }
        self.settle();
    }

    pub(super) fn gate_job_done(&mut self, unit: UnitId, kind: JobKind, result: JobResult) {
        if kind != JobKind::Start || self.ending.is_some() {
            return;
        }
        let good = result == JobResult::Done;
        if self.engine.find(&self.gate.gate.target) == Some(unit) && self.gate.is_open() {
            if good {
                self.gate.verdict = Verdict::Passed;
            } else if self.waits_for_restart(unit) {
                self.gate.verdict = Verdict::Retrying;
            } else {
                let name = self.engine.unit(unit).name.clone();
                self.gate_failed(&format!("{name} ended with result '{result}'"));
            }
        }
        if self.engine.find(&self.gate.default) == Some(unit) && self.gate.ready_at.is_none() {
            if good {
                self.gate.ready_at = Some(now());
                self.end_boot_limits();
                let table = self.status_table();
                self.tell(None, 6, table.lines().last().unwrap_or_default());
                self.line_in_order(table);
            } else if self.waits_for_restart(unit) {
                self.gate.retries_default = true;
            } else {
                let name = self.engine.unit(unit).name.clone();
                self.gate_failed(&format!("{name} ended with result '{result}'"));
            }
        }
    }

    /// A unit came up: what failed for want of it gets another try.
    pub(super) fn gate_changed(&mut self, to: ActiveState) {
        let retries_gate = self.gate.verdict == Verdict::Retrying;
        let retries = retries_gate || self.gate.retries_default;
        if retries && to.is_active() && self.ending.is_none() {
            self.gate.retries_default = false;
            if retries_gate {
                self.gate.verdict = Verdict::Pending;
            }
            // The default target in any case: it wants what comes after the gate.
            let gate = retries_gate.then(|| self.gate.gate.target.clone());
            for target in gate.into_iter().chain([self.gate.default.clone()]) {
                if let Err(error) = self.enqueue(&target, JobKind::Start, Mode::Replace) {
                    self.gate_failed(&error.to_string());
                }
            }
        }
    }

    pub(super) fn gate_tick(&mut self) {
        if self.gate.deadline().is_some_and(|due| due <= now()) {
            let target = self.gate.gate.target.clone();
            self.gate_failed(&format!("{target} was not reached in time"));
        }
    }

    /// Whether something on the way to the unit is in automatic restart.
    fn waits_for_restart(&self, unit: UnitId) -> bool {
        let mut seen = vec![unit];
        let mut at = 0;
        while let Some(unit) = seen.get(at).copied() {
            if self.engine.state(unit).service == ServiceState::AutoRestart {
                return true;
            }
            for other in self.engine.requirements(unit) {
                if !seen.contains(&other) {
                    seen.push(other);
                }
            }
            at += 1;
        }
        false
    }

    fn gate_failed(&mut self, why: &str) {
        if !self.gate.is_open() || self.gate.gate.timeout.is_none() {
            return;
        }
        self.gate.verdict = Verdict::Failed;
        let mut lines = vec![format!("slipway: boot failed: {why}")];
        for id in self.engine.ids() {
            let state = self.engine.active(id);
            let job =
                self.engine.job_of(id).map(|job| format!(", {} job waiting", job.kind)).unwrap_or_default();
            if state == ActiveState::Failed || state == ActiveState::Activating {
                let result = self.engine.state(id).result;
                lines.push(format!("  {} is {state} ({result}){job}", self.engine.unit(id).name));
            }
        }
        lines.push("slipway: rebooting, so that another version can be tried".into());
        self.tell(None, 2, &lines.join("\n"));
        self.end(Ending::Reboot);
    }
}
