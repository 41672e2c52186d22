//! What PID 1 itself says: into the journal, and what a person must see on the console.

use super::Manager;
use crate::engine::{ActiveState, JobKind, JobResult, Notice, UnitId};
use crate::unit::{Kind, LoadState, Unit};

/// sd-messages.h: a start job was done.
const STARTED_ID: &str = "39f53479d3a045ac8e11786248231fbf";
/// A start job failed.
const FAILED_ID: &str = "be02cf6855d2428ba40df7e9d022f03d";
/// A unit is down.
const STOPPED_ID: &str = "9d1aaa27d60140bd96365438aad20286";
/// A unit was reloaded.
const RELOADED_ID: &str = "7b05ebc668384222baa8881179cfda54";
/// A unit failed, with its result.
const FAILURE_ID: &str = "d9b373ed55a64feb8242e02dbe79a49c";
/// A restart was scheduled.
const RESTART_ID: &str = "5eb03494b6584870a536b337290809b3";

impl Manager {
    /// A message about a unit, or about the whole.
    pub(super) fn tell(&mut self, unit: Option<UnitId>, priority: u8, message: &str) {
        self.tell_with(unit, priority, message, &[]);
    }

    /// The same with further fields for programs.
    fn tell_with(&mut self, unit: Option<UnitId>, priority: u8, message: &str, more: &[(&str, &str)]) {
        let name = unit.map(|unit| self.engine.unit(unit).name.as_str().to_owned()).unwrap_or_default();
        let shown = if name.is_empty() { message.to_owned() } else { format!("{name}: {message}") };
        if priority <= 4 {
            self.console.line(&shown);
        }
        if let Some(fault) = self.fault {
            fault(&shown);
        }
        let unit = [("UNIT", name.as_str())];
        let fields: Vec<_> = unit.iter().filter(|(_, name)| !name.is_empty()).chain(more).copied().collect();
        self.record(priority, &shown, &fields);
    }

    /// What the engine has to tell.
    pub(super) fn tell_notice(&mut self, unit: Option<UnitId>, priority: u8, notice: &Notice) {
        let message = notice.to_string();
        match notice {
            Notice::Failed(result) => {
                let result = result.to_string();
                let more = [("MESSAGE_ID", FAILURE_ID), ("UNIT_RESULT", result.as_str())];
                self.tell_with(unit, priority, &message, &more);
            }
            Notice::Restarting(count) => {
                let count = count.to_string();
                let more = [("MESSAGE_ID", RESTART_ID), ("N_RESTARTS", count.as_str())];
                self.tell_with(unit, priority, &message, &more);
            }
            _ => self.tell(unit, priority, &message),
        }
    }

    pub(super) fn tell_change(&mut self, unit: UnitId, from: ActiveState, to: ActiveState) {
        let config = self.engine.unit(unit);
        // What has no file comes and goes by itself.
        if config.fragment.is_none() {
            return;
        }
        let what = match (config.name.kind(), to) {
            (_, ActiveState::Active) if from == ActiveState::Reloading => ("Reloaded", RELOADED_ID),
            (Kind::Target, ActiveState::Active) => ("Reached", STARTED_ID),
            (Kind::Socket, ActiveState::Active) => ("Listening on", STARTED_ID),
            (Kind::Mount, ActiveState::Active) => ("Mounted", STARTED_ID),
            (Kind::Mount, ActiveState::Inactive) => ("Unmounted", STOPPED_ID),
            (Kind::Slice, ActiveState::Active) => ("Made", STARTED_ID),
            (_, ActiveState::Active) => ("Started", STARTED_ID),
            (_, ActiveState::Inactive) => ("Stopped", STOPPED_ID),
            _ => return,
        };
        let (what, id) = what;
        let message = format!("{what} {}.", config.description);
        self.tell_with(Some(unit), 6, &message, &[("MESSAGE_ID", id)]);
    }

    pub(super) fn tell_job(&mut self, unit: UnitId, kind: JobKind, result: JobResult) {
        match result {
            JobResult::Done | JobResult::Skipped => {}
            result => {
                let (kind, priority) = (kind.to_string(), if result == JobResult::Canceled { 6 } else { 4 });
                let message = match result {
                    JobResult::Canceled => format!("{kind} job canceled"),
                    result => format!("{kind} job ended with result '{result}'"),
                };
                let result = result.to_string();
                let mut more = vec![("JOB_TYPE", kind.as_str()), ("JOB_RESULT", result.as_str())];
                if kind == "start" {
                    more.push(("MESSAGE_ID", FAILED_ID));
                }
                self.tell_with(Some(unit), priority, &message, &more);
            }
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
