//! A panic in PID 1 is a defect of it, and not the end: the loop goes on with the units it knows, in
//! emergency.target, says so on the console, and reboots in order when the deadline is over. A loop
//! that panics again and again is given up; the caller's last resort is a reboot without order.

use super::{Manager, now};
use crate::control::Ending;
use crate::engine::{JobKind, Mode};
use crate::unit::UnitName;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// So many are survived.
const MAX_DEFECTS: u32 = 5;

/// How long a person has to look at the machine before it reboots.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// What stands in a panic.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

impl Manager {
    /// One turn of the loop, whatever happens in it.
    pub(super) fn guarded_turn(&mut self) {
        // What a panic leaves half done is at worst a unit whose job never ends; the isolation
        // below replaces every job, and the deadline ends the rest.
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.turn())) else { return };
        self.defects += 1;
        if self.defects > MAX_DEFECTS {
            resume_unwind(panic);
        }
        let message = words(panic.as_ref()).to_owned();
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| self.after_defect(&message))) {
            self.console.line(&format!("slipway: and again: {}", words(again.as_ref())));
        }
    }

    fn after_defect(&mut self, message: &str) {
        let first = self.defect_deadline.is_none();
        let deadline = *self.defect_deadline.get_or_insert(now() + self.patience);
        let left = deadline.saturating_sub(now()).as_secs();
        self.tell(None, 0, &format!("slipway: PID 1 has a defect: {message}; rebooting in {left} s"));
        if first && self.ending.is_none() {
            let target = UnitName::parse("emergency.target").map_err(|error| error.to_string());
            let isolated = target.and_then(|target| {
                self.enqueue(&target, JobKind::Start, Mode::Isolate).map_err(|error| error.to_string())
            });
            if let Err(error) = isolated {
                self.tell(None, 3, &format!("slipway: no emergency.target: {error}"));
            }
        }
        self.settle();
    }

    /// When the reboot is due, if there was a defect and the end has not begun.
    pub(super) fn defect_due(&self) -> Option<Duration> {
        self.defect_deadline.filter(|_| self.ending.is_none())
    }

    pub(super) fn defect_tick(&mut self) {
        if self.defect_due().is_some_and(|due| due <= now()) {
            self.end(Ending::Reboot);
        }
    }
}
