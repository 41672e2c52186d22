//! What the start of a unit asks of file systems: conditions, environment files, credentials, the
//! stamps of timers. Each is gathered by the [`super::workers`] and answered with an event, so that
//! a file system that does not answer holds up the unit that asked, and that until its time-out.

use super::spawn::read_bytes;
use super::{Manager, now};
use crate::engine::{Event, Role, ServiceState, UnitId};
use crate::unit::condition::{Condition, Machine, asks_disk, first_failed};
use crate::unit::config::{DEFAULT_TIMEOUT, Phase};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files by their paths, as far as they could be read.
pub(super) type Files = BTreeMap<PathBuf, io::Result<Vec<u8>>>;

/// What a worker found.
pub(super) enum Answer {
    Tested { failed_condition: Option<String>, failed_assert: Option<String> },
    Files(Files),
    Stamp(Option<i64>),
}

/// What waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Test,
    Spawn { phase: Phase, index: usize, role: Role },
    Stamp,
}

struct Asked {
    unit: UnitId,
    wait: Wait,
    /// When the answer is given up, if the engine's own time-out is not about it.
    deadline: Option<Duration>,
}

/// All that is asked and not answered.
#[derive(Default)]
pub(super) struct Gathering(HashMap<super::workers::Ticket, Asked>);

fn tested(conditions: &[Condition], asserts: &[Condition], machine: &Machine) -> Answer {
    let failed = |list| first_failed(list, machine).map(ToString::to_string);
    Answer::Tested { failed_condition: failed(conditions), failed_assert: failed(asserts) }
}

/// What is said of a file that was not gathered.
fn not_read() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "it was not read")
}

/// The content of a gathered file.
///
/// # Errors
/// What reading it gave.
pub(super) fn content<'a>(files: &'a Files, path: &Path) -> io::Result<&'a [u8]> {
    match files.get(path) {
        Some(Ok(bytes)) => Ok(bytes),
        // An error of the system says its number, one of ours its text.
        Some(Err(error)) => Err(error
            .raw_os_error()
            .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)),
        None => Err(not_read()),
    }
}

impl Manager {
    fn ask(
        &mut self,
        unit: UnitId,
        wait: Wait,
        deadline: Option<Duration>,
        work: impl FnOnce() -> Answer + Send + 'static,
    ) {
        // A question that was asked before is of no interest any more.
        self.forget_asked(unit, |other| *other == wait);
        match self.workers.ask(unit.number(), now(), work) {
            Ok(ticket) => _ = self.gathering.0.insert(ticket, Asked { unit, wait, deadline }),
            Err(error) => {
                self.tell(Some(unit), 3, &format!("no thread reads its files: {error}"));
                self.unanswered(unit, wait);
            }
        }
    }

    /// How long a start may take.
    fn patience_of(&self, unit: UnitId) -> Option<Duration> {
        let service = self.engine.unit(unit).service.as_deref();
        let span = service.map_or(Some(DEFAULT_TIMEOUT), crate::unit::config::Service::start_timeout);
        span.map(|span| now().saturating_add(span))
    }

    /// Tests conditions and asserts, here if no path is looked at.
    pub(super) fn test(&mut self, unit: UnitId) {
        let config = self.engine.unit(unit);
        let (conditions, asserts) = (config.conditions.clone(), config.asserts.clone());
        if !asks_disk(&conditions) && !asks_disk(&asserts) {
            let answer = tested(&conditions, &asserts, &self.machine);
            return self.answered(unit, Wait::Test, answer);
        }
        let machine = self.machine.clone();
        let deadline = self.patience_of(unit);
        self.ask(unit, Wait::Test, deadline, move || tested(&conditions, &asserts, &machine));
    }

    /// Starts a process, when its files are read if there are any.
    pub(super) fn spawn(&mut self, unit: UnitId, phase: Phase, index: usize, role: Role) {
        let wanted = self.files_wanted(unit);
        if wanted.is_empty() {
            return self.spawn_with(unit, phase, index, role, &Files::new());
        }
        // Up already, though its program is still to start (`Type=idle`): the engine waits no longer.
        let up = self.engine.state(unit).service == ServiceState::Running;
        let deadline = if up { self.patience_of(unit) } else { None };
        self.ask(unit, Wait::Spawn { phase, index, role }, deadline, move || {
            let read = |path: PathBuf| {
                let found = read_bytes(&path);
                (path, found)
            };
            Answer::Files(wanted.into_iter().map(read).collect())
        });
    }

    /// The files that a process of the unit is given the content of.
    fn files_wanted(&self, unit: UnitId) -> BTreeSet<PathBuf> {
        let Some(context) = self.engine.unit(unit).service.as_ref().map(|service| &service.context) else {
            return BTreeSet::new();
        };
        let credentials = context.execution.iter().flat_map(|execution| &execution.credentials);
        let secrets = credentials.filter_map(|credential| credential.path.as_deref());
        let files = context.environment_files.iter().map(|(path, _)| path.as_str());
        files.chain(secrets).map(PathBuf::from).collect()
    }

    /// Answers with the moment of a persistent timer's last run.
    pub(super) fn read_stamp(&mut self, unit: UnitId) {
        let path = self.stamp_path(unit);
        let deadline = self.patience_of(unit);
        self.ask(unit, Wait::Stamp, deadline, move || Answer::Stamp(super::clock::stamp_of(&path)));
    }

    /// Workers have answers.
    pub(super) fn answers_came(&mut self) {
        for (ticket, answer) in self.workers.answers() {
            if let Some(asked) = self.gathering.0.remove(&ticket) {
                self.answered(asked.unit, asked.wait, answer);
                self.settle();
            }
        }
    }

    fn answered(&mut self, unit: UnitId, wait: Wait, answer: Answer) {
        match (wait, answer) {
            (_, Answer::Tested { failed_condition, failed_assert }) => {
                self.events.push_back((unit, Event::Tested { failed_condition, failed_assert }));
            }
            (Wait::Spawn { phase, index, role }, Answer::Files(files)) => {
                // Its files may have been read again meanwhile, and name others.
                if self.files_wanted(unit).iter().all(|path| files.contains_key(path)) {
                    self.spawn_with(unit, phase, index, role, &files);
                } else {
                    self.spawn(unit, phase, index, role);
                }
            }
            (_, Answer::Stamp(last)) => {
                if last.is_none() {
                    // The first time; it counts from now.
                    self.write_stamp(unit);
                }
                self.events.push_back((unit, Event::Stamp(last)));
            }
            (_, Answer::Files(_)) => {}
        }
    }

    /// The answer will not come, or not in time.
    fn unanswered(&mut self, unit: UnitId, wait: Wait) {
        let event = match wait {
            Wait::Test => Event::Untested,
            Wait::Spawn { role, .. } => Event::SpawnFailed(role),
            Wait::Stamp => Event::Stamp(None),
        };
        self.events.push_back((unit, event));
    }

    /// When an answer is given up, or the workers need help.
    pub(super) fn gather_deadline(&self) -> Option<Duration> {
        let asked = self.gathering.0.values().filter_map(|asked| asked.deadline);
        asked.chain(self.workers.deadline()).min()
    }

    pub(super) fn gather_tick(&mut self) {
        let now = now();
        self.workers.tick(now);
        let late = self.gathering.0.iter().filter(|(_, asked)| asked.deadline.is_some_and(|due| due <= now));
        for ticket in late.map(|(ticket, _)| *ticket).collect::<Vec<_>>() {
            self.workers.forget(ticket);
            let Some(asked) = self.gathering.0.remove(&ticket) else { continue };
            if asked.wait != Wait::Test {
                self.tell(Some(asked.unit), 4, "a file system that it needs does not answer");
            }
            self.unanswered(asked.unit, asked.wait);
        }
    }

    /// A process that is still to be started gets a signal: it never starts.
    pub(super) fn kill_asked(&mut self, unit: UnitId, role: Role) {
        let is_it = |wait: &Wait| matches!(wait, Wait::Spawn { role: other, .. } if *other == role);
        if self.forget_asked(unit, is_it) {
            self.tell(Some(unit), 4, "a file that it needs was not read yet, so its process never started");
            self.events.push_back((unit, Event::SpawnFailed(role)));
        }
    }

    /// The unit is down, or gone: no process of it starts any more.
    pub(super) fn release_asked(&mut self, unit: UnitId) {
        self.forget_asked(unit, |wait| matches!(wait, Wait::Spawn { .. }));
    }

    /// Forgets questions of a unit; false if there was none.
    fn forget_asked(&mut self, unit: UnitId, which: impl Fn(&Wait) -> bool) -> bool {
        let is_it = |asked: &Asked| asked.unit == unit && which(&asked.wait);
        let found: Vec<_> =
            self.gathering.0.iter().filter(|(_, asked)| is_it(asked)).map(|(ticket, _)| *ticket).collect();
        for ticket in &found {
            self.gathering.0.remove(ticket);
            self.workers.forget(*ticket);
        }
        !found.is_empty()
    }

    /// Forgets every question of a unit that is no more.
    pub(super) fn forget_questions(&mut self, unit: UnitId) {
        self.forget_asked(unit, |_| true);
    }
}
