//! The orderly end: units stopped in reverse order, then every other process, then the journal,
//! which hears them all out.

use super::log::DAEMON;
use super::{Manager, now};
use crate::control::Ending;
use crate::engine::{JobKind, Mode, Role, UnitId};
use crate::setup::End;
use crate::unit::UnitName;
use std::fs;
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
    /// Only the journal is left, and is being stopped.
    Journal,
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
        self.show_held(true);
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
        let daemon = self.journal_pid();
        signal_all(15, daemon);
        signal_all(18, daemon);
        if let Some(ending) = &mut self.ending {
            ending.phase = Phase::Terminate;
            ending.deadline = now() + REST;
        }
        self.reap();
    }

    pub(super) fn end_tick(&mut self) {
        let daemon = self.journal_pid();
        let Some(ending) = &mut self.ending else { return };
        let due = ending.deadline <= now();
        match ending.phase {
            Phase::Units if due => {
                let late: Vec<String> =
                    self.engine.jobs().map(|job| self.engine.unit(job.unit).name.to_string()).collect();
                self.tell(None, 3, &format!("units do not stop in time: {}", late.join(" ")));
                self.end_rest();
            }
            Phase::Terminate | Phase::Kill | Phase::Journal if self.processes.childless => {
                ending.phase = Phase::Over;
            }
            Phase::Journal if due => {
                ending.phase = Phase::Over;
                self.console.line("journal: it does not end in time; its last entries may be lost");
            }
            Phase::Terminate | Phase::Kill if others(daemon).is_empty() => self.end_journal(),
            Phase::Terminate if due => {
                ending.phase = Phase::Kill;
                ending.deadline = now() + REST;
                signal_all(9, daemon);
                self.reap();
            }
            Phase::Kill if due => {
                self.tell(None, 3, "processes are left after SIGKILL");
                self.end_journal();
            }
            Phase::Units | Phase::Terminate | Phase::Kill | Phase::Journal | Phase::Over => {}
        }
    }

    /// The journal's process, or 0.
    fn journal_pid(&self) -> i32 {
        let daemon = UnitName::parse(DAEMON).ok().and_then(|name| self.engine.find(&name));
        daemon.map_or(0, |id| self.processes.pid(id, Role::Main))
    }

    /// Everybody else is gone: the journal takes what is still to be read, and closes.
    fn end_journal(&mut self) {
        if let Some(ending) = &mut self.ending {
            ending.phase = Phase::Journal;
            ending.deadline = now() + REST;
        }
        if let Ok(name) = UnitName::parse(DAEMON) {
            // By a job, so that it is not started again.
            let _ = self.enqueue(&name, JobKind::Stop, Mode::ReplaceIrreversibly);
        }
        self.reap();
    }

    /// How the machine is to end, once nothing runs; the journal is on disk then.
    pub(super) fn ended(&mut self) -> Option<End> {
        let end = self.ending.as_ref().filter(|ending| ending.phase == Phase::Over)?.how.end();
        self.show_held(true);
        Some(end)
    }
}

/// To every process but this one and `spared`. Only PID 1 may mean that.
fn signal_all(signal: i32, spared: i32) {
    if std::process::id() == 1 {
        for pid in others(spared) {
            // ESRCH: it is gone.
            let _ = sys::process::kill(pid, signal);
        }
    }
}

/// The processes besides this one and `spared`, without the kernel's threads and those that have
/// ended.
fn others(spared: i32) -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| ![own, spared].contains(pid) && runs_programs(*pid)).collect()
}

/// Whether a process is one: fields 3 (state) and 9 (flags) of `/proc/PID/stat` (proc(5)).
fn runs_programs(pid: i32) -> bool {
    /// `#define PF_KTHREAD 0x00200000`, <linux/sched.h>.
    const PF_KTHREAD: u64 = 0x0020_0000;
    let text = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the program's name in brackets and may contain anything.
    let after = text.iter().rposition(|byte| *byte == b')').map_or(&[][..], |at| &text[at + 1..]);
    let text = String::from_utf8_lossy(after);
    let mut fields = text.split_whitespace();
    let state = fields.next();
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u64>().ok());
    state.is_some_and(|state| state != "Z" && state != "X")
        && flags.is_some_and(|flags| flags & PF_KTHREAD == 0)
}
