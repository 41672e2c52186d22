//! `systemctl`: the verbs of systemctl(1) that act on this PID 1.
//!
//! Exit codes as systemctl(1): 0, 1 on failure, 3 for a unit that is not active, 4 for one that is
//! not there, 2 for wrong usage. What only reads or links unit files (`cat`, `enable`, `verify`,
//! `list-dependencies`) works without PID 1.

use super::client::{ClientError, ask};
use super::waiting::{self, Now};
use super::{Ending, Request, Response, SOCKET, UnitStatus, Verb, settings, status};
use crate::unit::condition::glob;
use crate::unit::load::Loader;
use crate::unit::preset::{self, Presets};
use crate::unit::{Facts, LoadState, Relation, UnitName, install, value};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What follows `systemctl`, and where it works.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as the manual has them")]
struct Call {
    socket: PathBuf,
    verb: String,
    operands: Vec<String>,
    now: bool,
    failed: bool,
    all: bool,
    json: bool,
    no_block: bool,
    force: bool,
    quiet: bool,
    runtime: bool,
    properties: Vec<String>,
    value_only: bool,
    kind: Option<String>,
    signal: i32,
    main_only: bool,
    reverse: bool,
    lines: usize,
    wait: bool,
    folders: Option<Vec<PathBuf>>,
}

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

const VERBS: &str = "start stop restart try-restart reload reload-or-restart isolate kill status show cat \
    list-units list-unit-files list-dependencies list-jobs list-timers list-sockets is-active is-failed is-enabled is-system-running enable \
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

fn parse(arguments: &[String]) -> Result<Call, Failure> {
    let mut call = Call {
        socket: SOCKET.into(),
        verb: String::new(),
        operands: Vec::new(),
        now: false,
        failed: false,
        all: false,
        json: false,
        no_block: false,
        force: false,
        quiet: false,
        runtime: false,
        properties: Vec::new(),
        value_only: false,
        kind: None,
        signal: 15,
        main_only: false,
        reverse: false,
        lines: 10,
        wait: false,
        folders: None,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let mut wants_value = || {
            let value = inline.clone().or_else(|| rest.next().cloned());
            value.ok_or_else(|| Failure::Usage(format!("{name} wants a value")))
        };
        match name {
            "--now" => call.now = true,
            "--failed" => call.failed = true,
            "--all" | "-a" => call.all = true,
            "--no-block" => call.no_block = true,
            "--force" | "-f" => call.force = true,
            "--quiet" | "-q" => call.quiet = true,
            "--runtime" => call.runtime = true,
            "--wait" => call.wait = true,
            "-H" | "--host" | "-M" | "--machine" => {
                return Err(Failure::Usage(format!("{name}: log in there by SSH and ask its own PID 1")));
            }
            "--value" => call.value_only = true,
            "--reverse" => call.reverse = true,
            // Nothing is ever paged or asked here, so the wish is met.
            "--no-pager" | "--no-ask-password" | "-l" | "--full" | "--system" => {}
            "--json" => call.json = inline.as_deref() != Some("off"),
            "-o" | "--output" if wants_value()? == "json" => call.json = true,
            "-p" | "--property" => call.properties.extend(wants_value()?.split(',').map(str::to_owned)),
            "-t" | "--type" => call.kind = Some(wants_value()?),
            "-n" | "--lines" => {
                let text = wants_value()?;
                call.lines =
                    text.parse().map_err(|_| Failure::Usage(format!("{name} {text} is no number")))?;
            }
            "-s" | "--signal" => {
                let text = wants_value()?;
                let signal = value::signal(&text);
                call.signal = signal.ok_or_else(|| Failure::Usage(format!("{text} is no signal")))?;
            }
            "--kill-whom" | "--kill-who" => call.main_only = wants_value()? == "main",
            // For trees that are not this machine's: tests, images on a laptop.
            "--socket" => call.socket = wants_value()?.into(),
            "--unit-path" => call.folders = Some(wants_value()?.split(':').map(PathBuf::from).collect()),
            other if other.starts_with('-') => {
                return Err(Failure::Usage(format!("option {other} is not supported")));
            }
            word if call.verb.is_empty() => word.clone_into(&mut call.verb),
            _ => call.operands.push(argument.clone()),
        }
    }
    if call.verb.is_empty() {
        "list-units".clone_into(&mut call.verb);
    }
    Ok(call)
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
            | "daemon-reexec"
    );
    if needs_operand && call.operands.is_empty() && VERBS.split_whitespace().any(|verb| verb == call.verb) {
        return Err(Failure::Usage(format!("{} wants a unit", call.verb)));
    }
    match call.verb.as_str() {
        "start" => jobs(call, Verb::Start),
        "stop" => jobs(call, Verb::Stop),
        "restart" => jobs(call, Verb::Restart),
        "try-restart" => jobs(call, Verb::TryRestart),
        "reload" => jobs(call, Verb::Reload),
        "reload-or-restart" => jobs(call, Verb::ReloadOrRestart),
        "isolate" => jobs(call, Verb::Isolate),
        "poweroff" => end(call, Ending::Poweroff),
        "reboot" => end(call, Ending::Reboot),
        "halt" => end(call, Ending::Halt),
        "daemon-reload" => simple(call, &Request::Reload),
        "reset-failed" => simple(call, &Request::ResetFailed(call.operands.clone())),
        "kill" => {
            for unit in &call.operands {
                let (signal, main_only) = (call.signal, call.main_only);
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
        "kexec" => {
            Err(Failure::Usage("another kernel comes with an update, through the firmware: reboot".into()))
        }
        "edit" => Err(Failure::Usage("there is no editor: set-property writes drop-ins".into())),
        "daemon-reexec" => Err(Failure::Usage("PID 1 comes with the image and changes at a reboot".into())),
        "verify" => verify(call, out),
        other => Err(Failure::Usage(format!("verb {other} is not supported"))),
    }
}

fn loader(call: &Call) -> Loader {
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

fn units(call: &Call, wish: &Request) -> Result<Vec<UnitStatus>, Failure> {
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
    let Response::Jobs(failed) = request(call, &wish)? else { return Err(Failure::Answer) };
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

fn list_units(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let wanted = |unit: &UnitStatus| {
        let shown = call.all || unit.active_state != "inactive" || !unit.job.is_empty();
        let named = call.operands.is_empty()
            || call.operands.iter().any(|name| unit.id.starts_with(name.trim_end_matches('*')));
        let kind = call.kind.as_ref().is_none_or(|kind| unit.id.ends_with(&format!(".{kind}")));
        (if call.failed { unit.active_state == "failed" } else { shown }) && named && kind
    };
    let mut found: Vec<UnitStatus> = units(call, &Request::List)?.into_iter().filter(wanted).collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    if call.json {
        serde_json::to_writer_pretty(&mut *out, &found)?;
        writeln!(out)?;
        return Ok(0);
    }
    let width = found.iter().map(|unit| unit.id.len()).max().unwrap_or(4).max(4);
    writeln!(out, "{:width$} {:9} {:12} {:13} DESCRIPTION", "UNIT", "LOAD", "ACTIVE", "SUB")?;
    for unit in &found {
        let UnitStatus { id, load_state, active_state, sub_state, description, .. } = unit;
        writeln!(out, "{id:width$} {load_state:9} {active_state:12} {sub_state:13} {description}")?;
    }
    writeln!(out, "\n{} units", found.len())?;
    Ok(0)
}

fn list_unit_files(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let loader = loader(call);
    for name in loader.names() {
        let loaded = loader.load(&name);
        let state = if loaded.alias.is_some() { "alias" } else { install::state(&loader, &loaded.unit) };
        writeln!(out, "{name:40} {state}")?;
    }
    Ok(0)
}

fn list_dependencies(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let names = match call.operands.as_slice() {
        [] => vec!["default.target".to_owned()],
        names => names.to_vec(),
    };
    let loader = loader(call);
    for name in names {
        let name = UnitName::from_user(&name)?;
        writeln!(out, "{name}")?;
        let mut text = String::new();
        dependencies(&loader, &name, call.reverse, "", &mut BTreeSet::new(), &mut text);
        out.write_all(text.as_bytes())?;
    }
    Ok(0)
}

fn dependencies(
    loader: &Loader,
    name: &UnitName,
    reverse: bool,
    indent: &str,
    seen: &mut BTreeSet<UnitName>,
    out: &mut String,
) {
    use Relation::{BindsTo, Requires, Requisite, Wants};
    if !seen.insert(name.clone()) {
        return;
    }
    let pulls = |name: &UnitName| -> BTreeSet<UnitName> {
        let unit = loader.load(name).unit;
        [Requires, Requisite, BindsTo, Wants]
            .iter()
            .flat_map(|relation| unit.related(*relation).to_vec())
            .collect()
    };
    let next: BTreeSet<UnitName> = if reverse {
        loader
            .names()
            .into_iter()
            .filter(|other| !other.is_template() && pulls(other).contains(name))
            .collect()
    } else {
        pulls(name)
    };
    let count = next.len();
    for (index, name) in next.iter().enumerate() {
        let (branch, below) = if index + 1 == count { ("└─", "  ") } else { ("├─", "│ ") };
        // Writing into a string does not fail.
        let _ = writeln!(out, "{indent}{branch}{name}");
        dependencies(loader, name, reverse, &format!("{indent}{below}"), seen, out);
    }
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
    for name in &call.operands {
        let unit = one(call, name)?;
        out.write_all(status::render(&unit, call.lines).as_bytes())?;
        code = match (unit.load_state.as_str(), unit.active_state.as_str()) {
            ("not-found", _) => 4,
            (_, "active" | "reloading") => code,
            _ => 3,
        };
    }
    Ok(code)
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
    Ok(if any { 0 } else { bad_code })
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
    if call.folders.is_none() {
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
    writeln!(out, "{:width$} {:12} STATE", "UNIT", "TYPE")?;
    for unit in &waiting {
        writeln!(out, "{:width$} {:12} {}", unit.id, unit.job, unit.active_state)?;
    }
    writeln!(out, "\n{} jobs", waiting.len())?;
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
    out.write_all(text.as_bytes())?;
    Ok(0)
}

/// `running`, `starting`, `stopping`, `maintenance` or `degraded` (systemctl(1)).
fn is_system_running(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let all = units(call, &Request::List)?;
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

    #[test]
    fn options_stand_anywhere_and_unknown_ones_are_refused() {
        let parse = |text: &str| parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let call = parse("--no-pager kill -s INT a.service --kill-whom=main").unwrap();
        assert_eq!((call.verb.as_str(), call.signal, call.main_only), ("kill", 2, true));
        assert_eq!(call.operands, ["a.service"]);
        assert!(matches!(parse("start --frobnicate a"), Err(Failure::Usage(_))));
        assert!(matches!(parse("kill -s NOPE a"), Err(Failure::Usage(_))));
    }
}
