//! The machine's set-up, before any unit is started: API file systems, watchdog, STATE, /etc,
//! user-data. And its counterpart at the end, when all units are stopped.
//!
//! Each step is a file. A step that fails gives an error value in the [`SetupReport`]; what
//! follows from it (a reboot, or staying up to say why) is for the manager.

mod report;

pub use report::{SetupError, SetupReport, StateOutcome, Step, StepName, UnitRequest, UserDataOutcome};
pub use sys::watchdog::Watchdog;

/// The machine after [`run`].
#[derive(Debug)]
pub struct SetUp {
    /// What was done, what failed, and what user-data asks the manager to do.
    pub report: SetupReport,
    /// The armed watchdog, unless its step failed. The caller pets it.
    pub watchdog: Option<Watchdog>,
}

/// Sets the machine up. `log` gets one line at a time for the console.
///
/// To be called once, by PID 1, before anything else. It never panics and always comes back:
/// look at [`SetupReport::fatal`] before starting a unit.
pub fn run(log: &mut dyn FnMut(&str)) -> SetUp {
    log("setup is not built yet");
    SetUp {
        report: SetupReport {
            steps: vec![Step {
                name: StepName::ApiFileSystems,
                took_ms: 0,
                error: Some(SetupError::NotBuilt),
            }],
            ..SetupReport::default()
        },
        watchdog: None,
    }
}

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Start again through the firmware.
    Reboot,
    /// Switch off.
    PowerOff,
    /// Stop and stay.
    Halt,
}

/// Unmounts what [`run`] mounted and makes everything durable, then ends the machine.
///
/// To be called when all processes but PID 1 are gone. Every step is tried whatever the others
/// did; each failure is a line to `log`. The watchdog stays armed over a reboot, so that a
/// reboot that hangs is still one, and is disarmed otherwise.
///
/// # Errors
/// Comes back only when the kernel refuses to end the machine.
pub fn teardown(
    end: End,
    watchdog: Option<Watchdog>,
    log: &mut dyn FnMut(&str),
) -> Result<std::convert::Infallible, SetupError> {
    let _ = (end, watchdog);
    log("teardown is not built yet");
    Err(SetupError::NotBuilt)
}
