//! The machine's set-up, before any unit is started: API file systems, watchdog, STATE, /etc,
//! user-data. And its counterpart at the end, when all units are stopped.
//!
//! Each step is a file. A step that fails gives an error value in the [`SetupReport`]; what
//! follows from it (a reboot, or staying up to say why) is for the manager.

mod api;
mod error;
mod etc;
mod report;
mod state;
mod teardown;
mod user_data;
mod watchdog;

pub use error::SetupError;
pub use report::{SetupReport, StateOutcome, Step, StepName, UnitRequest, UserDataOutcome};
pub use state::StateError;
pub use sys::watchdog::Watchdog;
pub use teardown::{End, teardown};
pub use user_data::{Found, Imports, Network, Rendered, accept, network};

use crate::bless::EntryName;
use crate::stage1::{self, CommandLine, now_ms};
use std::path::Path;

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
pub fn run(stage1: &stage1::Report, log: &mut dyn FnMut(&str)) -> SetUp {
    let report = SetupReport { stage1: stage1.clone(), ..SetupReport::default() };
    let mut machine = SetUp { report, watchdog: None };
    for (name, step) in STEPS {
        let start = now_ms();
        let error = step(&mut machine, log).err();
        if let Some(error) = &error {
            log(&format!("{name}: {error}"));
        }
        machine.report.steps.push(Step { name, took_ms: now_ms().saturating_sub(start), error });
        if machine.report.fatal().is_some() {
            break;
        }
    }
    machine
}

type Run = fn(&mut SetUp, &mut dyn FnMut(&str)) -> Result<(), SetupError>;

const STEPS: [(StepName, Run); 6] = [
    (StepName::ApiFileSystems, |_, _| api::set_up()),
    (StepName::Watchdog, |machine, _| {
        machine.watchdog = Some(watchdog::arm()?);
        Ok(())
    }),
    (StepName::BootEntry, |machine, _| read_boot_entry(&mut machine.report)),
    (StepName::State, |machine, log| {
        machine.report.state = state::set_up(Path::new(&machine.report.stage1.disk), log)?;
        machine.report.first_boot = machine.report.state == StateOutcome::Formatted;
        Ok(())
    }),
    (StepName::Etc, |machine, _| {
        machine.report.machine_id = etc::set_up()?;
        Ok(())
    }),
    (StepName::UserData, |machine, log| {
        let (rendered, result) = user_data::set_up(Path::new(&machine.report.stage1.disk), log);
        machine.report.user_data = rendered.outcome;
        machine.report.hostname = rendered.hostname;
        machine.report.units = rendered.units;
        result
    }),
];

/// Which boot entry this is, and whether there is any left to fall back to.
fn read_boot_entry(report: &mut SetupReport) -> Result<(), SetupError> {
    api::mount_efivars()?;
    let path = Path::new("/proc/cmdline");
    let command_line = CommandLine::parse(&SetupError::reading(path, std::fs::read_to_string(path))?);
    let name = "LoaderBootCountPath";
    let counted = SetupError::reading(Path::new(name), sys::efivar::read_loader(name))?;
    report.boot_entry = counted.as_deref().and_then(EntryName::parse);
    report.recovery = report.boot_entry.as_ref().is_some_and(|it| it.is_exhausted(command_line.tries));
    Ok(())
}
