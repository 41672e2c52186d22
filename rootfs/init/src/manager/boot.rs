//! The appliance's PID 1 from the first to the last instruction: set up, run, tear down. Every way
//! to fail ends in a reboot, so that boot counting works; nothing makes PID 1 exit.

use super::{Gate, Options, Outcome, Paths, Table, run};
use crate::control::Verb;
use crate::setup::{self, End, SetupReport, StateOutcome, UnitRequest, UserDataOutcome, Watchdog};
use crate::stage1;
use crate::unit::condition::Machine;
use crate::unit::load::Loader;
use crate::unit::{Facts, UnitName, install};
use cloudconfig::UnitCommand;
use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// `slipway.ready_timeout=` when the kernel command line does not give one.
const READY_TIMEOUT: Duration = Duration::from_mins(5);
/// How long a message about a failure of PID 1 itself stays on the console before the reboot.
const EMERGENCY_DELAY: Duration = Duration::from_secs(10);

/// A line to the console, whatever state the machine is in.
fn say(line: &str) {
    let console = OpenOptions::new().write(true).open("/dev/console");
    if let Ok(mut console) = console {
        let _ = console.write_all(format!("{line}\r\n").as_bytes());
    }
}

/// Is PID 1 on the slot. To be called by the program's `main` and by nothing else.
pub fn main(stage1: &stage1::Report) -> ! {
    std::panic::set_hook(Box::new(|panic| say(&format!("slipway: PID 1 has a defect: {panic}"))));
    match catch_unwind(AssertUnwindSafe(|| whole_boot(stage1))) {
        Ok(never) => match never {},
        Err(_) => emergency("PID 1 has a defect"),
    }
}

/// The last resort: says why, waits for a person to read it, reboots.
fn emergency(why: &str) -> ! {
    say(&format!("slipway: emergency: {why}; rebooting in {} s", EMERGENCY_DELAY.as_secs()));
    loop {
        thread::sleep(EMERGENCY_DELAY);
        sys_reboot();
    }
}

/// Reboots without unmounting: sync first, the journal of STATE does the rest.
fn sys_reboot() {
    nix::unistd::sync();
    let error = match setup::teardown(End::Reboot, None, &mut |line| say(line)) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    say(&format!("slipway: reboot failed: {error}"));
}

fn whole_boot(stage1: &stage1::Report) -> Infallible {
    let command_line = fs::read_to_string("/proc/cmdline");
    let setup::SetUp { report, watchdog } = setup::run(stage1, &mut |line| say(line));
    // The set-up may have mounted /proc only now.
    let command_line = command_line.or_else(|_| fs::read_to_string("/proc/cmdline")).unwrap_or_default();
    if let Some((step, error)) = report.fatal() {
        let why = format!("set-up step {step:?} failed: {error}");
        if !report.recovery {
            drop(watchdog); // armed: it resets the machine if the reboot hangs
            emergency(&why);
        }
        say(&format!("slipway: {why}"));
    }
    if let Err(error) = sys::process::take_ctrl_alt_del() {
        say(&format!("slipway: ctrl-alt-del stays the kernel's: {error}"));
    }
    let outcome = run(options(&report, watchdog, &command_line));
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => emergency(&error.to_string()),
    };
    let Outcome { end, watchdog } = outcome;
    let error = match setup::teardown(end, watchdog, &mut |line| say(line)) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    emergency(&format!("the machine does not end: {error}"))
}

fn options(report: &SetupReport, watchdog: Option<Watchdog>, command_line: &str) -> Options {
    let facts = Facts::read();
    let words: Vec<String> = command_line.split_whitespace().map(str::to_owned).collect();
    let machine = Machine {
        virtualization: sys::virtualization::kind(Path::new("/")),
        first_boot: report.first_boot,
        hostname: facts.hostname.clone(),
        machine_id: facts.machine_id.clone(),
        kernel_command_line: words.clone(),
    };
    let table = table(report, &facts);
    let loader = Loader::system(facts);
    let wishes = wishes(&report.units, &mut |line| say(&format!("slipway: {line}")));
    let gate = Gate {
        target: known("boot-complete.target"),
        timeout: Some(ready_timeout(&words)),
        recovery: report
            .recovery
            .then(|| (known("recovery.target"), "every boot entry is out of tries".to_owned())),
    };
    // What is to be fetched comes first; its service starts the other target then.
    let target = match report.user_data {
        UserDataOutcome::Pending { .. } => known("user-data.target"),
        _ => target_of(&words),
    };
    Options {
        paths: Paths::default(),
        loader,
        machine,
        target,
        wishes,
        gate,
        table,
        watchdog,
        patience: super::defect::DEADLINE,
        fault: None,
    }
}

/// `systemd.unit=`, else the default target.
fn target_of(words: &[String]) -> UnitName {
    let target = words.iter().find_map(|word| word.strip_prefix("systemd.unit="));
    target.and_then(|name| UnitName::parse(name).ok()).unwrap_or_else(|| known("default.target"))
}

/// Name of the target that this boot is to reach, once user-data is there.
pub fn default_target() -> String {
    let text = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    target_of(&words).as_str().to_owned()
}

/// A name that is valid as it stands here.
#[expect(clippy::expect_used, reason = "called with literals only")]
fn known(name: &'static str) -> UnitName {
    UnitName::parse(name).expect("a literal unit name")
}

fn ready_timeout(words: &[String]) -> Duration {
    let given = words.iter().rev().find_map(|word| word.strip_prefix("slipway.ready_timeout="));
    given.and_then(|text| text.parse().ok()).map_or(READY_TIMEOUT, Duration::from_secs)
}

/// Enables what user-data enables, and gives the jobs that it wants.
pub fn wishes(requests: &[UnitRequest], log: &mut dyn FnMut(&str)) -> Vec<(UnitName, Verb)> {
    let loader = Loader::system(Facts::read());
    let mut wishes = Vec::new();
    for request in requests {
        let name = match UnitName::parse(&request.name) {
            Ok(name) => name,
            Err(error) => {
                log(&format!("user-data: {error}"));
                continue;
            }
        };
        if request.enable {
            let base = if request.runtime { "/run" } else { "/etc" };
            if let Err(error) = install::enable(&loader, &name, &Path::new(base).join("systemd/system")) {
                log(&format!("user-data: enabling {name}: {error}"));
            }
        }
        let verb = request.command.map(|command| match command {
            UnitCommand::Start => Verb::Start,
            UnitCommand::Stop => Verb::Stop,
            UnitCommand::Restart => Verb::Restart,
            UnitCommand::Reload => Verb::Reload,
            UnitCommand::TryRestart | UnitCommand::ReloadOrTryRestart => Verb::TryRestart,
            UnitCommand::ReloadOrRestart => Verb::ReloadOrRestart,
        });
        wishes.extend(verb.map(|verb| (name, verb)));
    }
    wishes
}

fn table(report: &SetupReport, facts: &Facts) -> Table {
    let mut stages = Vec::new();
    let mut setup_ms = 0;
    let stage1 = &report.stage1;
    let ends = [
        ("kernel", stage1.kernel_ms),
        ("modules", stage1.modules_ms),
        ("slot", stage1.slot_ms),
        ("verity", stage1.verity_ms),
    ];
    for (name, end) in ends {
        stages.push((name.to_owned(), end.saturating_sub(setup_ms)));
        setup_ms = end;
    }
    let now_ms = super::now().as_millis() as u64;
    // What the steps did not take went into switching root.
    let steps_ms: u64 = report.steps.iter().map(|step| step.took_ms).sum();
    stages.push(("switch".into(), now_ms.saturating_sub(setup_ms).saturating_sub(steps_ms)));
    stages.extend(report.steps.iter().map(|step| (step.name.to_string(), step.took_ms)));
    let state = match report.state {
        StateOutcome::Missing => "missing",
        StateOutcome::Formatted => "formatted",
        StateOutcome::Kept => "kept",
        StateOutcome::Grown => "kept, grown",
        StateOutcome::Repaired => "kept, repaired",
    };
    Table {
        slot: stage1.slot.clone(),
        version: facts.os("VERSION_ID").to_owned(),
        root_hash: stage1.root_hash.clone(),
        state: state.to_owned(),
        user_data: report.user_data.to_string(),
        ssh_keys: String::new(),
        stages,
        setup_ms: now_ms,
    }
}
