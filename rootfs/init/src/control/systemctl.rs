//! `systemctl`: the verbs of systemctl(1) that act on this PID 1.
//!
//! Exit codes as systemctl(1): 0, 1 on failure, 3 for a unit that is not active, 4 for one that is
//! not there, 5 if such a one is to be acted on, 2 for wrong usage. What only reads or links unit files (`cat`, `enable`, `verify`,
//! `list-dependencies`) works without PID 1.

use super::call::{Call, parse};
use super::client::{ClientError, ask};
use super::listing::{list_dependencies, list_unit_files, list_units};
use super::waiting::{self, Now};
use super::{Ending, Request, Response, UnitStatus, Verb, settings, status};
use crate::unit::condition::glob;
use crate::unit::load::Loader;
use crate::unit::preset::{self, Presets};
use crate::unit::{Facts, LoadState, UnitName, install};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a call failed, with its exit code.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}\nhint: systemctl VERB [UNIT…]; verbs: {VERBS}")]
    Usage(String),
    #[error("{0}\nhint: is PID 1 this program's?")]
    Client(ClientError),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Install(#[from] install::InstallError),
    #[error("{0}")]
    Name(#[from] crate::unit::name::NameError),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    #[error("cannot show it as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("PID 1 gave an answer to another question")]
    Answer,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Forbidden(why) => Self::Refused(why),
            error => Self::Client(error),
        }
    }
}

/// Verbs of systemctl(1) that are not there, and what to do instead.
const REFUSED: [(&str, &str); 31] = [
    ("kexec", "another kernel comes with an update, through the firmware: reboot"),
    ("edit", "there is no editor: set-property writes drop-ins, `units:` in user-data makes them last"),
    ("daemon-reexec", "PID 1 comes with the image and changes at a reboot"),
    ("help", "there are no manual pages: cat shows Documentation="),
    ("cancel", "a new job replaces the one that waits: start or stop the unit"),
    ("clean", "stop the unit, and remove its folder under /var"),
    ("freeze", "kill -s STOP does it"),
    ("thaw", "kill -s CONT does it"),
    ("bind", "BindPaths= in a drop-in does it at the next start"),
    ("mount-image", "a mount unit does it"),
    ("service-log-level", "LogLevelMax= in a drop-in does it"),
    ("service-log-target", "StandardOutput= in a drop-in does it"),
    ("log-level", "PID 1 tells everything to the journal: journalctl -p"),
    ("log-target", "PID 1 tells everything to the journal"),
    ("service-watchdogs", "WatchdogSec=0 in a drop-in does it"),
    ("link", "write the unit file into /etc/systemd/system"),
    ("revert", "remove the drop-ins that cat shows, and daemon-reload"),
    ("add-wants", "a drop-in of the target with Wants= does it"),
    ("add-requires", "a drop-in of the target with Requires= does it"),
    ("list-machines", "there are no containers with a PID 1 of their own"),
    ("list-automounts", "there are no automount units"),
    ("exit", "PID 1 ends with the machine: poweroff"),
    ("switch-root", "the root comes with the image"),
    ("soft-reboot", "the root comes with the image: reboot"),
    ("sleep", "the machine does not sleep"),
    ("suspend", "the machine does not sleep"),
    ("hibernate", "the machine does not sleep"),
    ("hybrid-sleep", "the machine does not sleep"),
    ("suspend-then-hibernate", "the machine does not sleep"),
    ("whoami", "status PID names the unit of a process"),
    ("list-paths", "list-units -t path"),
];

const VERBS: &str = "start stop restart try-restart reload reload-or-restart try-reload-or-restart isolate kill status show cat \
    default rescue emergency import-environment list-units list-unit-files list-dependencies list-jobs list-timers list-sockets is-active is-failed is-enabled is-system-running enable \
    disable reenable mask unmask set-property get-default set-default show-environment set-environment \
    unset-environment preset preset-all reset-failed daemon-reload verify poweroff reboot halt";

/// Runs a call; prints to stdout and stderr and gives the exit code.
pub fn main(arguments: &[String]) -> u8 {
    let mut out = Vec::new();
    let result = parse(arguments).and_then(|call| run(&call, &mut out));
    // A reader that went away wants no more.
    let _ = io::stdout().write_all(&out);
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            if matches!(failure, Failure::Usage(_)) { 2 } else { 1 }
        }
    }
}

fn run(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let call = &matched(call)?;
    let needs_operand = !matches!(
        call.verb.as_str(),
        "list-units"
            | "list-unit-files"
            | "list-dependencies"
            | "daemon-reload"
            | "reset-failed"
            | "poweroff"
            | "reboot"
            | "halt"
            | "verify"
            | "preset-all"
            | "status"
            | "is-failed"
            | "list-jobs"
            | "list-timers"
            | "list-sockets"
            | "is-system-running"
            | "get-default"
            | "show-environment"
            | "default"
            | "rescue"
            | "emergency"
            | "--help"
            | "--version"
    );
    if needs_operand && call.operands.is_empty() && VERBS.split_whitespace().any(|verb| verb == call.verb) {
        return Err(Failure::Usage(format!("{} wants a unit", call.verb)));
    }
    match call.verb.as_str() {
        "start" => jobs(call, Verb::Start),
        "stop" => jobs(call, Verb::Stop),
        "restart" => jobs(call, Verb::Restart),
        "try-restart" | "condrestart" => jobs(call, Verb::TryRestart),
        "reload" => jobs(call, Verb::Reload),
        "reload-or-restart" | "force-reload" => jobs(call, Verb::ReloadOrRestart),
        "try-reload-or-restart" => {
            let mut call = call.clone();
            let names = std::mem::take(&mut call.operands);
            for name in names {
                if one(&call, &name)?.active_state == "active" {
                    call.operands.push(name);
                }
            }
            if call.operands.is_empty() { Ok(0) } else { jobs(&call, Verb::ReloadOrRestart) }
        }
        "isolate" => jobs(call, Verb::Isolate),
        "default" | "rescue" | "emergency" if call.operands.is_empty() => {
            let mut call = call.clone();
            call.operands = vec![format!("{}.target", call.verb)];
            jobs(&call, Verb::Isolate)
        }
        "poweroff" | "reboot" | "halt" if !call.operands.is_empty() => {
            Err(Failure::Usage(format!("{} takes no operand", call.verb)))
        }
        "--help" => {
            writeln!(out, "systemctl [OPTION…] VERB [UNIT…]\nverbs: {VERBS}")?;
            Ok(0)
        }
        "--version" => {
            writeln!(out, "slipway {}", env!("CARGO_PKG_VERSION"))?;
            Ok(0)
        }
        "import-environment" => {
            let set: Result<Vec<String>, Failure> = call
                .operands
                .iter()
                .map(|name| match std::env::var(name) {
                    Ok(value) => Ok(format!("{name}={value}")),
                    Err(_) => Err(Failure::Refused(format!("{name} is not in the environment"))),
                })
                .collect();
            environment(call, out, &set?, &[])
        }
        "poweroff" => end(call, Ending::Poweroff),
        "reboot" => end(call, Ending::Reboot),
        "halt" => end(call, Ending::Halt),
        "daemon-reload" => simple(call, &Request::Reload),
        "reset-failed" => simple(call, &Request::ResetFailed(call.operands.clone())),
        "kill" => {
            for unit in &call.operands {
                let (signal, main_only) = (call.signal, call.main_only);
                if one(call, unit)?.load_state == "not-found" {
                    return Err(Failure::Refused(format!("unit {unit} is not loaded")));
                }
                simple(call, &Request::Kill { unit: unit.clone(), signal, main_only })?;
            }
            Ok(0)
        }
        "list-units" => list_units(call, out),
        "list-unit-files" => list_unit_files(call, out),
        "list-dependencies" => list_dependencies(call, out),
        "status" => show_status(call, out),
        "show" => show(call, out),
        "is-active" => is_state(call, out, &["active", "reloading"], 3),
        "is-failed" => is_state(call, out, &["failed"], 1),
        "is-enabled" => is_enabled(call, out),
        "cat" => cat(call, out),
        "enable" | "disable" | "reenable" | "mask" | "unmask" | "preset" | "preset-all" => links(call, out),
        "list-jobs" => list_jobs(call, out),
        "list-timers" | "list-sockets" => list_waiting(call, out),
        "is-system-running" => is_system_running(call, out),
        "set-property" => set_property(call, out),
        "get-default" => {
            writeln!(out, "{}", settings::default_target(&loader(call))?)?;
            Ok(0)
        }
        "set-default" => {
            let name = UnitName::from_user(&call.operands[0])?;
            let link = settings::set_default_target(&loader(call), &base(call), &name)?;
            writeln!(out, "created {} -> {name}", link.display())?;
            reloaded(call)
        }
        "show-environment" => environment(call, out, &[], &[]),
        "set-environment" => environment(call, out, &call.operands, &[]),
        "unset-environment" => environment(call, out, &[], &call.operands),
        "verify" => verify(call, out),
        other => match REFUSED.iter().find(|(verb, _)| *verb == other) {
            Some((_, cure)) => Err(Failure::Usage(format!("verb {other} is not supported: {cure}"))),
            None => Err(Failure::Usage(format!("verb {other} is not supported"))),
        },
    }
}

pub(super) fn loader(call: &Call) -> Loader {
    let facts = Facts::read();
    match &call.folders {
        Some(folders) => Loader::new(folders.clone(), facts),
        None => Loader::system(facts),
    }
}

fn request(call: &Call, request: &Request) -> Result<Response, Failure> {
    match ask(&call.socket, request)? {
        Response::Refused(why) => Err(Failure::Refused(why)),
        response => Ok(response),
    }
}

fn simple(call: &Call, wish: &Request) -> Result<u8, Failure> {
    request(call, wish).map(|_| 0)
}

pub(super) fn units(call: &Call, wish: &Request) -> Result<Vec<UnitStatus>, Failure> {
    match request(call, wish)? {
        Response::Units(units) => Ok(units),
        _ => Err(Failure::Answer),
    }
}

fn one(call: &Call, name: &str) -> Result<UnitStatus, Failure> {
    units(call, &Request::Show(name.to_owned()))?.pop().ok_or(Failure::Answer)
}

fn jobs(call: &Call, verb: Verb) -> Result<u8, Failure> {
    let wish = Request::Jobs { verb, units: call.operands.clone(), no_block: call.no_block };
    let failed = match request(call, &wish) {
        Ok(Response::Jobs(failed)) => failed,
        Ok(_) => return Err(Failure::Answer),
        Err(Failure::Refused(why)) => {
            eprintln!("error: {why}");
            let gone = |name: &String| one(call, name).is_ok_and(|unit| unit.load_state == "not-found");
            return Ok(if call.operands.iter().any(gone) { 5 } else { 1 });
        }
        Err(failure) => return Err(failure),
    };
    if call.wait && failed.is_empty() {
        simple(call, &Request::WaitDown(call.operands.clone()))?;
        let mut code = 0;
        for name in &call.operands {
            code |= u8::from(one(call, name)?.active_state == "failed");
        }
        return Ok(code);
    }
    for (unit, result) in &failed {
        eprintln!("error: job for {unit} ended with result '{result}'\nhint: systemctl status {unit}");
    }
    Ok(u8::from(!failed.is_empty()))
}

fn end(call: &Call, how: Ending) -> Result<u8, Failure> {
    simple(call, &Request::End { how, force: call.force })
}

fn show_status(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    if call.operands.is_empty() {
        return match request(call, &Request::Status)? {
            Response::Status(table) => {
                writeln!(out, "{table}")?;
                Ok(0)
            }
            _ => Err(Failure::Answer),
        };
    }
    let mut code = 0;
    for (number, name) in call.operands.iter().enumerate() {
        let name = if name.bytes().all(|byte| byte.is_ascii_digit()) { unit_of(name)? } else { name.clone() };
        let unit = one(call, &name)?;
        if unit.load_state == "not-found" && unit.active_state == "inactive" {
            eprintln!("error: unit {} could not be found", unit.id);
            code = 4;
            continue;
        }
        if number > 0 {
            writeln!(out)?;
        }
        out.write_all(status::render(&unit, call.lines, call.form).as_bytes())?;
        if !matches!(unit.active_state.as_str(), "active" | "reloading") && code == 0 {
            code = 3;
        }
    }
    Ok(code)
}

/// The unit of a process, by its cgroup.
fn unit_of(pid: &str) -> Result<String, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("");
    let unit = path.split('/').rev().find(|part| part.ends_with(".service") || part.ends_with(".slice"));
    unit.map(str::to_owned).ok_or_else(|| Failure::Refused(format!("process {pid} is in no unit")))
}

fn show(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    for name in &call.operands {
        let unit = one(call, name)?;
        if call.json {
            serde_json::to_writer_pretty(&mut *out, &unit)?;
            writeln!(out)?;
            continue;
        }
        for (key, text) in status::properties(&unit) {
            if !call.properties.is_empty() && !call.properties.contains(&key) {
                continue;
            }
            if call.value_only {
                writeln!(out, "{text}")?;
            } else {
                writeln!(out, "{key}={text}")?;
            }
        }
    }
    Ok(0)
}

fn is_state(call: &Call, out: &mut Vec<u8>, good: &[&str], bad_code: u8) -> Result<u8, Failure> {
    let found = if call.operands.is_empty() {
        units(call, &Request::List)?
    } else {
        call.operands.iter().map(|name| one(call, name)).collect::<Result<_, _>>()?
    };
    if !call.quiet && !call.operands.is_empty() {
        for unit in &found {
            writeln!(out, "{}", unit.active_state)?;
        }
    }
    // One that is in the wanted state is enough: systemctl(1), is-active.
    let any = found.iter().any(|unit| good.contains(&unit.active_state.as_str()));
    let gone = !call.operands.is_empty() && found.iter().all(|unit| unit.load_state == "not-found");
    Ok(match (any, gone && bad_code == 3) {
        (true, _) => 0,
        (_, true) => 4,
        _ => bad_code,
    })
}

fn is_enabled(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let loader = loader(call);
    let mut code = 0;
    for name in &call.operands {
        let loaded = loader.load(&UnitName::from_user(name)?);
        let state = if loaded.alias.is_some() { "alias" } else { install::state(&loader, &loaded.unit) };
        if !call.quiet {
            writeln!(out, "{state}")?;
        }
        match state {
            "not-found" => code = 4,
            "disabled" | "masked" => code = code.max(1),
            _ => {}
        }
    }
    Ok(code)
}

fn cat(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let loader = loader(call);
    for name in &call.operands {
        let unit = loader.load(&UnitName::from_user(name)?).unit;
        if unit.load_state == LoadState::NotFound {
            return Err(Failure::Refused(format!("no files found for {}", unit.name)));
        }
        for path in unit.fragment.iter().chain(&unit.drop_ins) {
            writeln!(out, "# {}", path.display())?;
            out.write_all(&fs::read(path)?)?;
            writeln!(out)?;
        }
    }
    Ok(0)
}

fn links(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let loader = loader(call);
    let base = base(call);
    let names = match call.verb.as_str() {
        "preset-all" if call.operands.is_empty() => preset::installable(&loader),
        "preset-all" => return Err(Failure::Usage("preset-all takes no unit".into())),
        _ => call.operands.iter().map(|name| UnitName::from_user(name)).collect::<Result<_, _>>()?,
    };
    let presets = Presets::system();
    for name in names {
        let changes = match call.verb.as_str() {
            "preset" | "preset-all" => preset::apply(&loader, &presets, &name, &base)?,
            "enable" => install::enable(&loader, &name, &base)?,
            "disable" => install::disable(&loader, &name, &base)?,
            "reenable" => {
                let mut changes = install::disable(&loader, &name, &base)?;
                changes.extend(install::enable(&loader, &name, &base)?);
                changes
            }
            "mask" => vec![install::mask(&name, &base)?],
            _ => vec![install::unmask(&name, &base)?],
        };
        for change in changes {
            match change {
                install::Change::Created { link, target } => {
                    writeln!(out, "created {} -> {}", link.display(), target.display())?;
                }
                install::Change::Removed(link) => writeln!(out, "removed {}", link.display())?,
                install::Change::Unchanged(link) => writeln!(out, "unchanged {}", link.display())?,
                install::Change::NoInstall(name) => {
                    writeln!(out, "unchanged: {name} has no [Install] section")?;
                }
            }
        }
    }
    reloaded(call)?;
    if call.now {
        return jobs(
            call,
            if matches!(call.verb.as_str(), "enable" | "reenable") { Verb::Start } else { Verb::Stop },
        );
    }
    Ok(0)
}

/// Where links and drop-ins are made.
fn base(call: &Call) -> PathBuf {
    match &call.folders {
        Some(folders) => folders.first().cloned().unwrap_or_default(),
        None => Path::new(if call.runtime { "/run" } else { "/etc" }).join("systemd/system"),
    }
}

/// Has PID 1 read what was changed.
fn reloaded(call: &Call) -> Result<u8, Failure> {
    if call.folders.is_none() && call.reload {
        if !call.runtime {
            eprintln!("hint: /etc is made anew at every boot; `units:` in user-data makes this last");
        }
        simple(call, &Request::Reload)?;
    }
    Ok(0)
}

/// The call with patterns replaced by the names they match: of units in memory, or of unit files
/// where the verb is about those (systemctl(1), "Parameter Syntax").
fn matched(call: &Call) -> Result<Call, Failure> {
    let is_pattern = |word: &String| word.contains(['*', '?']);
    let by_file = matches!(
        call.verb.as_str(),
        "enable" | "disable" | "reenable" | "mask" | "unmask" | "is-enabled" | "cat" | "list-dependencies"
    );
    let in_memory = matches!(
        call.verb.as_str(),
        "start"
            | "stop"
            | "restart"
            | "try-restart"
            | "try-reload-or-restart"
            | "reload"
            | "reload-or-restart"
            | "kill"
            | "status"
            | "show"
            | "is-active"
            | "is-failed"
            | "reset-failed"
    );
    let mut call = call.clone();
    if !call.operands.iter().any(is_pattern) || !(by_file || in_memory) {
        return Ok(call);
    }
    let names: Vec<String> = if by_file {
        loader(&call).names().iter().map(ToString::to_string).collect()
    } else {
        units(&call, &Request::List)?.into_iter().map(|unit| unit.id).collect()
    };
    let mut found = Vec::new();
    for operand in std::mem::take(&mut call.operands) {
        if is_pattern(&operand) {
            found.extend(names.iter().filter(|name| glob(operand.as_bytes(), name.as_bytes())).cloned());
        } else {
            found.push(operand);
        }
    }
    if found.is_empty() {
        return Err(Failure::Refused("no unit matches".into()));
    }
    call.operands = found;
    Ok(call)
}

fn list_jobs(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let mut waiting = units(call, &Request::List)?;
    waiting.retain(|unit| !unit.job.is_empty());
    waiting.sort_by(|a, b| a.id.cmp(&b.id));
    let width = waiting.iter().map(|unit| unit.id.len()).max().unwrap_or(4).max(4);
    if call.legend {
        writeln!(out, "{:width$} {:12} STATE", "UNIT", "TYPE")?;
    }
    for unit in &waiting {
        writeln!(out, "{:width$} {:12} {}", unit.id, unit.job, unit.active_state)?;
    }
    if call.legend {
        writeln!(out, "\n{} jobs listed.", waiting.len())?;
    }
    Ok(0)
}

fn list_waiting(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let mut found = units(call, &Request::List)?;
    found.retain(|unit| call.all || unit.active_state != "inactive");
    if call.json {
        let suffix = if call.verb == "list-timers" { ".timer" } else { ".socket" };
        found.retain(|unit| unit.id.ends_with(suffix));
        serde_json::to_writer_pretty(&mut *out, &found)?;
        writeln!(out)?;
        return Ok(0);
    }
    let now_us =
        |clock| nix::time::clock_gettime(clock).map_or(Duration::ZERO, Duration::from).as_micros() as u64;
    let now = Now {
        boot_us: now_us(nix::time::ClockId::CLOCK_BOOTTIME),
        wall_us: now_us(nix::time::ClockId::CLOCK_REALTIME),
    };
    let text =
        if call.verb == "list-timers" { waiting::timers(&found, now) } else { waiting::sockets(&found) };
    let text = if call.legend { text } else { waiting::rows_only(&text) };
    out.write_all(text.as_bytes())?;
    Ok(0)
}

/// `running`, `starting`, `stopping`, `maintenance` or `degraded` (systemctl(1)).
fn is_system_running(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let mut all = units(call, &Request::List)?;
    while call.wait
        && let Some(waits) = all.iter().find(|unit| unit.job == "start" && unit.id.ends_with(".target"))
    {
        // The same job, waited for.
        let wish = Request::Jobs { verb: Verb::Start, units: vec![waits.id.clone()], no_block: false };
        request(call, &wish)?;
        all = units(call, &Request::List)?;
    }
    let state = |name: &str| all.iter().find(|unit| unit.id == name).map(|unit| unit.active_state.as_str());
    let up = |name: &str| matches!(state(name), Some("active" | "activating"));
    let word = if up("shutdown.target") {
        "stopping"
    } else if up("rescue.target") || up("emergency.target") || up("recovery.target") {
        "maintenance"
    } else if all.iter().any(|unit| unit.job == "start" && unit.id.ends_with(".target")) {
        "starting"
    } else if all.iter().any(|unit| unit.active_state == "failed") {
        "degraded"
    } else {
        "running"
    };
    if !call.quiet {
        writeln!(out, "{word}")?;
    }
    Ok(u8::from(word != "running"))
}

fn set_property(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let [name, assignments @ ..] = call.operands.as_slice() else {
        return Err(Failure::Usage("set-property wants a unit".into()));
    };
    if assignments.is_empty() {
        return Err(Failure::Usage("set-property wants KEY=VALUE behind the unit".into()));
    }
    let name = UnitName::from_user(name)?;
    // A file a key, so that a later call for the same key replaces the earlier one.
    for assignment in assignments {
        let text = settings::drop_in(&loader(call), &name, std::slice::from_ref(assignment))?;
        let key = assignment.split('=').next().unwrap_or("");
        let path = settings::write_drop_in(&base(call), &name, key, &text)?;
        writeln!(out, "created {}", path.display())?;
    }
    reloaded(call)?;
    if call.folders.is_none() {
        simple(call, &Request::ApplyLimits(name.to_string()))?;
    }
    Ok(0)
}

fn environment(call: &Call, out: &mut Vec<u8>, set: &[String], unset: &[String]) -> Result<u8, Failure> {
    match request(call, &Request::Environment { set: set.to_vec(), unset: unset.to_vec() })? {
        Response::Done(lines) => {
            if set.is_empty() && unset.is_empty() {
                for line in lines {
                    writeln!(out, "{line}")?;
                }
            }
            Ok(0)
        }
        _ => Err(Failure::Answer),
    }
}

/// Every fault of the named units (of all, if none is named): 1 if one is an error.
fn verify(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let mut loader = loader(call);
    let mut names = Vec::new();
    for operand in &call.operands {
        let path = Path::new(operand);
        if let (true, Some(parent), Some(base)) = (operand.contains('/'), path.parent(), path.file_name()) {
            loader.folders.insert(0, parent.to_owned());
            names.push(UnitName::parse(&base.to_string_lossy())?);
        } else {
            names.push(UnitName::from_user(operand)?);
        }
    }
    if names.is_empty() {
        names.extend(loader.names());
    }
    let mut errors = 0;
    for name in names {
        let unit = loader.load(&name).unit;
        for problem in &unit.problems {
            errors += u32::from(problem.is_error());
            writeln!(out, "{}: {problem}", if problem.is_error() { "error" } else { "warning" })?;
        }
        if unit.load_state == LoadState::NotFound {
            errors += 1;
            writeln!(out, "error: {name}: no such unit file")?;
        }
    }
    Ok(u8::from(errors > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every verb of systemctl(1) of systemd 252 is obeyed, or refused by name with a cure.
    #[test]
    fn no_verb_is_unknown() {
        let all = "list-units list-sockets list-timers is-active is-failed status show cat help list-dependencies \
            start stop reload restart try-restart reload-or-restart try-reload-or-restart isolate kill clean freeze \
            thaw set-property bind mount-image service-log-level service-log-target reset-failed list-unit-files \
            enable disable reenable preset preset-all is-enabled mask unmask link revert add-wants add-requires edit \
            get-default set-default list-machines list-jobs cancel show-environment set-environment \
            unset-environment import-environment daemon-reload daemon-reexec log-level log-target service-watchdogs \
            is-system-running default rescue emergency halt poweroff reboot kexec exit switch-root suspend hibernate \
            hybrid-sleep suspend-then-hibernate list-automounts";
        for verb in all.split_whitespace() {
            let obeyed = VERBS.split_whitespace().any(|known| known == verb);
            assert!(obeyed != REFUSED.iter().any(|(known, _)| *known == verb), "{verb}");
        }
        for (verb, _) in REFUSED {
            let call = parse(&[verb.to_owned(), "x".into()]).unwrap();
            let Err(Failure::Usage(why)) = run(&call, &mut Vec::new()) else { panic!("{verb} is obeyed") };
            assert!(why.starts_with(&format!("verb {verb} is not supported: ")), "{why}");
        }
    }
}
