//! What PID 1 itself says: into the journal, and what a person must see on the console.

use super::Manager;
use crate::engine::{ActiveState, JobKind, JobResult, UnitId};
use crate::journal::Entry;
use crate::unit::{Kind, LoadState, Unit};

impl Manager {
    /// A message about a unit, or about the whole.
    pub(super) fn tell(&mut self, unit: Option<UnitId>, priority: u8, message: &str) {
        let name = unit.map(|unit| self.engine.unit(unit).name.as_str().to_owned()).unwrap_or_default();
        let shown = if name.is_empty() { message.to_owned() } else { format!("{name}: {message}") };
        if priority <= 4 {
            self.console.line(&shown);
        }
        if let Some(fault) = self.fault {
            fault(&shown);
        }
        self.record(Entry {
            unit: name,
            pid: 1,
            priority,
            identifier: "systemd".into(),
            message: shown,
            ..Entry::default()
        });
    }

    pub(super) fn tell_change(&mut self, unit: UnitId, from: ActiveState, to: ActiveState) {
        let config = self.engine.unit(unit);
        // What has no file comes and goes by itself.
        if config.fragment.is_none() {
            return;
        }
        let what = match (config.name.kind(), to) {
            (_, ActiveState::Active) if from == ActiveState::Reloading => return,
            (Kind::Target, ActiveState::Active) => "Reached",
            (Kind::Socket, ActiveState::Active) => "Listening on",
            (Kind::Mount, ActiveState::Active) => "Mounted",
            (Kind::Mount, ActiveState::Inactive) => "Unmounted",
            (Kind::Slice, ActiveState::Active) => "Made",
            (_, ActiveState::Active) => "Started",
            (_, ActiveState::Inactive) => "Stopped",
            _ => return,
        };
        let message = format!("{what} {}.", config.description);
        self.tell(Some(unit), 6, &message);
    }

    pub(super) fn tell_job(&mut self, unit: UnitId, kind: JobKind, result: JobResult) {
        match result {
            JobResult::Done | JobResult::Skipped => {}
            JobResult::Canceled => self.tell(Some(unit), 6, &format!("{kind} job canceled")),
            result => self.tell(Some(unit), 4, &format!("{kind} job ended with result '{result}'")),
        }
    }

    pub(super) fn tell_problems(&mut self, unit: &Unit) {
        for problem in &unit.problems {
            self.tell(None, 5, &problem.to_string());
        }
        if let LoadState::BadSetting(bad) = &unit.load_state {
            self.tell(None, 4, &format!("{} cannot be used: {bad}", unit.name));
        }
    }
}
