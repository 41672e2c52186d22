//! The orderly end: units stopped in reverse order, then every other process, then the journal.

use super::{Manager, now};
use crate::control::Ending;
use crate::engine::{JobKind, Mode, UnitId};
use crate::setup::End;
use crate::unit::UnitName;
use std::time::Duration;

/// Units may take this long together; a machine must come to its end.
const UNITS: Duration = Duration::from_mins(3);
/// What is left after its units may take this long on SIGTERM, and again on SIGKILL.
const REST: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Stopping units.
    Units,
    /// The rest was sent SIGTERM.
    Terminate,
    /// The rest was sent SIGKILL.
    Kill,
    /// Nothing is left to wait for.
    Over,
}

/// How far the end is.
pub(super) struct Progress {
    how: Ending,
    target: Option<UnitId>,
    phase: Phase,
    deadline: Duration,
}

impl Manager {
    /// Begins the orderly end. Once begun, it goes on; a second wish changes nothing.
    pub(super) fn end(&mut self, how: Ending) {
        if self.ending.is_some() {
            return;
        }
        self.tell(None, 5, &format!("the machine is to end: {}", how.target()));
        self.ending = Some(Progress { how, target: None, phase: Phase::Units, deadline: now() + UNITS });
        let begun = UnitName::parse(how.target()).map_err(|error| error.to_string()).and_then(|name| {
            let id = self.load(&name);
            if let Some(ending) = &mut self.ending {
                ending.target = Some(id);
            }
            let job = self.engine.enqueue(id, JobKind::Start, Mode::ReplaceIrreversibly, now());
            job.map_err(|error| error.to_string())
        });
        if let Err(error) = begun {
            self.tell(None, 3, &format!("{}: {error}; ending without it", how.target()));
            self.end_rest();
        }
    }

    /// Ends without stopping units: everything is killed at once.
    pub(super) fn end_by_force(&mut self, how: Ending) {
        self.ending = Some(Progress { how, target: None, phase: Phase::Terminate, deadline: now() });
        self.end_tick();
    }

    pub(super) fn end_job_done(&mut self, unit: UnitId, kind: JobKind) {
        let waiting = |ending: &Progress| ending.phase == Phase::Units && ending.target == Some(unit);
        if kind == JobKind::Start && self.ending.as_ref().is_some_and(waiting) {
            self.end_rest();
        }
    }

    pub(super) fn end_deadline(&self) -> Option<Duration> {
        self.ending.as_ref().filter(|ending| ending.phase != Phase::Over).map(|ending| ending.deadline)
    }

    /// Units are down (or given up): now whatever else runs.
    fn end_rest(&mut self) {
        signal_all(15);
        signal_all(18);
        if let Some(ending) = &mut self.ending {
            ending.phase = Phase::Terminate;
            ending.deadline = now() + REST;
        }
        self.reap();
    }

    pub(super) fn end_tick(&mut self) {
        let Some(ending) = &mut self.ending else { return };
        let due = ending.deadline <= now();
        match ending.phase {
            Phase::Units if due => {
                let late: Vec<String> =
                    self.engine.jobs().map(|job| self.engine.unit(job.unit).name.to_string()).collect();
                self.tell(None, 3, &format!("units do not stop in time: {}", late.join(" ")));
                self.end_rest();
            }
            Phase::Terminate | Phase::Kill if self.processes.childless => ending.phase = Phase::Over,
            Phase::Terminate if due => {
                ending.phase = Phase::Kill;
                ending.deadline = now() + REST;
                signal_all(9);
                self.reap();
            }
            Phase::Kill if due => {
                ending.phase = Phase::Over;
                self.tell(None, 3, "processes are left after SIGKILL");
            }
            Phase::Units | Phase::Terminate | Phase::Kill | Phase::Over => {}
        }
    }

    /// How the machine is to end, once nothing runs; the journal is on disk then.
    pub(super) fn ended(&mut self) -> Option<End> {
        let ending = self.ending.as_ref().filter(|ending| ending.phase == Phase::Over)?;
        let end = ending.how.end();
        // The last lines of the last services.
        let outputs: Vec<u64> = self.outputs.keys().copied().collect();
        for id in outputs {
            self.output_ready(id);
        }
        if !self.journal.flush(REST) {
            self.console.line("journal: the last entries did not reach the disk in time");
        }
        Some(end)
    }
}

/// To every process but this one. Only PID 1 may mean that.
fn signal_all(signal: i32) {
    if std::process::id() == 1 {
        // ESRCH: there is none.
        let _ = sys::process::kill(-1, signal);
    }
}
