//! The meaning of each key: applies one assignment to a [`Unit`].

use super::command::{assignments, parse as parse_command};
use super::condition::{Condition, Test};
use super::config::{
    CollectMode, Context, DIRECTORIES, EmergencyAction, ExitSet, ExitType, KillMode, NotifyAccess, PHASES,
    Phase, Preserve, RELATIONS, Relation, Restart, RestartMode, Service, ServiceType, Stream, Unit,
    WorkingDirectory,
};
use super::name::UnitName;
use super::specifier::{Facts, expand};
use super::value;
use super::words::split;
use super::{Fault, Kind, execution, mount, path, resource, sandbox, socket, timer, unsupported};
use crate::engine::Mode;
use inifile::Entry;
use std::path::PathBuf;

/// Applies `entry` to `unit`. The outcome of an empty value is as systemd's: lists are emptied,
/// single values go back to their default.
///
/// # Errors
/// A [`Fault`]: the line is unknown, unsupported or has a bad value, and changes nothing.
pub fn apply(unit: &mut Unit, entry: &Entry, facts: &Facts) -> Result<(), Fault> {
    let scope = Scope { entry, facts, name: unit.name.clone() };
    match entry.section.as_str() {
        "Unit" => unit_section(unit, &scope),
        "Install" => install_section(unit, &scope),
        // Where these stood before systemd 230; it takes them there still.
        "Service"
            if entry.key.starts_with("StartLimit")
                || matches!(entry.key.as_str(), "FailureAction" | "RebootArgument") =>
        {
            unit_section(unit, &scope)
        }
        "Service" => match unit.service.as_mut().filter(|_| scope.name.kind() == Kind::Service) {
            Some(service) => service_section(service, &scope),
            None => Err(Fault::UnknownSection("Service".into())),
        },
        "Socket" => socket::section(unit, &scope),
        "Timer" => timer::section(unit, &scope),
        "Path" => path::section(unit, &scope),
        "Mount" => mount::section(unit, &scope),
        "Slice" => mount::slice_section(unit, &scope),
        section if section.starts_with("X-") => Ok(()),
        section if unsupported::SECTIONS.contains(&section) => Ok(()), // said once, for the whole unit
        section => Err(Fault::UnknownSection(section.to_owned())),
    }
}

/// One line with what is needed to read it.
pub(super) struct Scope<'a> {
    entry: &'a Entry,
    facts: &'a Facts,
    name: UnitName,
}

impl Scope<'_> {
    pub(super) fn key(&self) -> &str {
        &self.entry.key
    }

    /// The unit's type has no such section.
    pub(super) fn no_section(&self) -> Fault {
        Fault::UnknownSection(self.entry.section.clone())
    }

    pub(super) fn text(&self) -> &str {
        &self.entry.value
    }

    pub(super) fn invalid(&self, why: impl std::fmt::Display) -> Fault {
        Fault::Invalid { key: self.entry.key.clone(), value: self.entry.value.clone(), why: why.to_string() }
    }

    pub(super) fn unknown(&self) -> Fault {
        let (section, key) = (self.entry.section.clone(), self.entry.key.clone());
        if let Some(why) = unsupported::not_enforced(&section, &key) {
            Fault::NotEnforced { section, key, why }
        } else if unsupported::is_known(&section, &key) {
            Fault::Unsupported { section, key }
        } else {
            Fault::UnknownKey { section, key }
        }
    }

    pub(super) fn expand(&self, text: &str) -> Result<String, Fault> {
        expand(text, &self.name, self.facts).map_err(|why| self.invalid(why))
    }

    pub(super) fn expanded(&self) -> Result<String, Fault> {
        self.expand(self.text())
    }

    pub(super) fn words(&self) -> Result<Vec<String>, Fault> {
        let words = split(self.text()).map_err(|why| self.invalid(why))?;
        words.iter().map(|word| self.expand(word)).collect()
    }

    pub(super) fn want<T>(&self, found: Option<T>, what: &str) -> Result<T, Fault> {
        found.ok_or_else(|| self.invalid(format_args!("want {what}")))
    }

    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        self.want(value::boolean(self.text()), "yes or no")
    }

    pub(super) fn boolean_or(&self, default: bool) -> Result<bool, Fault> {
        if self.text().is_empty() { Ok(default) } else { self.boolean() }
    }

    /// `None` for the default.
    pub(super) fn optional_boolean(&self) -> Result<Option<bool>, Fault> {
        if self.text().is_empty() { Ok(None) } else { self.boolean().map(Some) }
    }

    pub(super) fn span(&self) -> Result<value::Span, Fault> {
        self.want(value::span(self.text()), "a time span such as 5min 20s")
    }

    pub(super) fn timeout(&self) -> Result<value::Span, Fault> {
        self.want(value::timeout(self.text()), "a time span such as 5min 20s")
    }

    pub(super) fn number<T>(&self, range: std::ops::RangeInclusive<T>) -> Result<T, Fault>
    where
        T: std::str::FromStr + PartialOrd + std::fmt::Display,
    {
        let found = self.text().parse().ok().filter(|number| range.contains(number));
        self.want(found, &format!("a number from {} to {}", range.start(), range.end()))
    }

    pub(super) fn absolute(&self, path: &str) -> Result<PathBuf, Fault> {
        let path = self.expand(path)?;
        if path.starts_with('/') { Ok(path.into()) } else { Err(self.invalid("want an absolute path")) }
    }

    /// Adds the words to a list; an empty value empties it.
    pub(super) fn append(&self, list: &mut Vec<String>) -> Result<(), Fault> {
        if self.text().is_empty() {
            list.clear();
        } else {
            list.extend(self.words()?);
        }
        Ok(())
    }

    pub(super) fn optional(&self) -> Result<Option<String>, Fault> {
        if self.text().is_empty() { Ok(None) } else { self.expanded().map(Some) }
    }
}

fn unit_section(unit: &mut Unit, at: &Scope<'_>) -> Result<(), Fault> {
    let key = match at.entry.key.as_str() {
        // Names of before systemd 230 and 227, which it takes still.
        "BindTo" => "BindsTo",
        "PropagateReloadTo" => "PropagatesReloadTo",
        "PropagateReloadFrom" | "PropagatesReloadFrom" => "ReloadPropagatedFrom",
        "RequiresOverridable" => "Requires",
        "RequisiteOverridable" => "Requisite",
        key => key,
    };
    if let Some((_, relation)) = RELATIONS.iter().find(|(known, _)| *known == key) {
        if at.text().is_empty() {
            unit.relations.remove(*relation);
        }
        for word in at.words()? {
            let name = UnitName::parse(&word).map_err(|why| at.invalid(why))?;
            if name.is_template() {
                return Err(at.invalid("want a unit, not a template"));
            }
            unit.relate(*relation, name);
        }
        return Ok(());
    }
    for (prefix, assert) in [("Condition", false), ("Assert", true)] {
        if let Some(test) = key.strip_prefix(prefix).and_then(Test::from_key) {
            let list = if assert { &mut unit.asserts } else { &mut unit.conditions };
            if at.text().is_empty() {
                list.clear();
                return Ok(());
            }
            let expanded = at.expanded()?;
            let condition = at.want(Condition::parse(test, &expanded), "something behind ! and |")?;
            list.push(condition);
            return Ok(());
        }
    }
    match key {
        "Description" => unit.description = at.optional()?.unwrap_or_else(|| unit.name.as_str().to_owned()),
        "Documentation" => at.append(&mut unit.documentation)?,
        "DefaultDependencies" => unit.default_dependencies = at.boolean_or(true)?,
        "RefuseManualStart" => unit.refuse_manual_start = at.boolean_or(false)?,
        "RefuseManualStop" => unit.refuse_manual_stop = at.boolean_or(false)?,
        "AllowIsolate" => unit.allow_isolate = at.boolean_or(false)?,
        "IgnoreOnIsolate" => unit.ignore_on_isolate = at.boolean_or(false)?,
        "StartLimitIntervalSec" | "StartLimitInterval" => unit.start_limit_interval = at.span()?,
        "StartLimitBurst" => unit.start_limit_burst = at.number(0..=u32::MAX)?,
        "StartLimitAction" => unit.start_limit_action = emergency_action(at)?,
        "FailureAction" => unit.failure_action = emergency_action(at)?,
        "SuccessAction" => unit.success_action = emergency_action(at)?,
        "JobTimeoutSec" => unit.job_timeout = at.timeout()?,
        "JobRunningTimeoutSec" => unit.job_running_timeout = at.timeout()?,
        "JobTimeoutAction" => unit.job_timeout_action = emergency_action(at)?,
        "OnFailureJobMode" => unit.on_failure_mode = job_mode(at)?.unwrap_or(Mode::Replace),
        "OnSuccessJobMode" => unit.on_success_mode = job_mode(at)?.unwrap_or(Mode::Fail),
        "OnFailureIsolate" => {
            unit.on_failure_mode = if at.boolean_or(false)? { Mode::Isolate } else { Mode::Replace };
        }
        "StopWhenUnneeded" => unit.stop_when_unneeded = at.boolean_or(false)?,
        "CollectMode" => {
            unit.collect_mode = match at.text() {
                "" | "inactive" => CollectMode::Inactive,
                "inactive-or-failed" => CollectMode::InactiveOrFailed,
                _ => return Err(at.invalid("want inactive or inactive-or-failed")),
            }
        }
        "RequiresMountsFor" => {
            if at.text().is_empty() {
                unit.relations.remove(Relation::RequiresMountsFor);
            }
            for word in at.words()? {
                let path = at.absolute(&word)?;
                unit.require_mounts_for(&path);
            }
        }
        _ => return Err(at.unknown()),
    }
    Ok(())
}

fn emergency_action(at: &Scope<'_>) -> Result<EmergencyAction, Fault> {
    Ok(match at.text() {
        "" | "none" => EmergencyAction::None,
        "reboot" => EmergencyAction::Reboot,
        "reboot-force" | "reboot-immediate" => EmergencyAction::RebootForce,
        // PID 1 of a machine exits by switching it off: systemd.unit(5).
        "poweroff" | "exit" => EmergencyAction::Poweroff,
        "poweroff-force" | "poweroff-immediate" | "exit-force" => EmergencyAction::PoweroffForce,
        "halt" => EmergencyAction::Halt,
        "halt-force" | "halt-immediate" => EmergencyAction::HaltForce,
        _ => {
            return Err(
                at.invalid("want none, or reboot, poweroff or halt, with -force or -immediate or not")
            );
        }
    })
}

fn job_mode(at: &Scope<'_>) -> Result<Option<Mode>, Fault> {
    Ok(Some(match at.text() {
        "" => return Ok(None),
        "fail" => Mode::Fail,
        "replace" => Mode::Replace,
        "replace-irreversibly" => Mode::ReplaceIrreversibly,
        "isolate" => Mode::Isolate,
        "ignore-dependencies" => Mode::IgnoreDependencies,
        _ => {
            return Err(
                at.invalid("want fail, replace, replace-irreversibly, isolate or ignore-dependencies")
            );
        }
    }))
}

fn install_section(unit: &mut Unit, at: &Scope<'_>) -> Result<(), Fault> {
    // Specifiers are replaced when the unit is enabled, with the instance's name: systemd.unit(5).
    let words = split(at.text()).map_err(|why| at.invalid(why))?;
    let install = &mut unit.install;
    let list = match at.entry.key.as_str() {
        "WantedBy" => &mut install.wanted_by,
        "RequiredBy" => &mut install.required_by,
        "UpheldBy" => &mut install.upheld_by,
        "Alias" => &mut install.alias,
        "Also" => &mut install.also,
        "DefaultInstance" => {
            install.default_instance = words.into_iter().next();
            return Ok(());
        }
        _ => return Err(at.unknown()),
    };
    if words.is_empty() {
        list.clear();
    }
    list.extend(words);
    Ok(())
}

/// Adds the commands of a line to a phase; an empty value empties it.
pub(super) fn add_commands(service: &mut Service, phase: Phase, at: &Scope<'_>) -> Result<(), Fault> {
    if at.text().is_empty() {
        service.commands.remove(phase);
        return Ok(());
    }
    for command in parse_command(at.text(), &at.name, at.facts).map_err(|why| at.invalid(why))? {
        service.commands.push(phase, command);
    }
    Ok(())
}

/// The keys of systemd.kill(5), systemd.exec(5) and systemd.resource-control(5), in sections other than
/// `[Service]`.
pub(super) fn kill_or_context_key(service: &mut Service, at: &Scope<'_>) -> Result<(), Fault> {
    match at.key() {
        "KillMode" | "KillSignal" | "FinalKillSignal" | "SendSIGKILL" | "SendSIGHUP" => {
            service_section(service, at)
        }
        _ => context_key(&mut service.context, at),
    }
}

fn service_section(service: &mut Service, at: &Scope<'_>) -> Result<(), Fault> {
    let key = at.entry.key.as_str();
    if let Some((_, phase)) = PHASES.iter().find(|(known, _)| *known == key) {
        return add_commands(service, *phase, at);
    }
    match key {
        "Type" => {
            service.kind = match at.text() {
                "" | "simple" => ServiceType::Simple,
                "exec" => ServiceType::Exec,
                "oneshot" => ServiceType::Oneshot,
                "notify" => ServiceType::Notify,
                "notify-reload" => ServiceType::NotifyReload,
                "forking" => ServiceType::Forking,
                "idle" => ServiceType::Idle,
                "dbus" => return Err(at.invalid("this type is not supported")),
                _ => {
                    return Err(
                        at.invalid("want simple, exec, oneshot, notify, notify-reload, forking or idle")
                    );
                }
            }
        }
        "RemainAfterExit" => service.remain_after_exit = at.boolean_or(false)?,
        "PIDFile" => {
            service.pid_file = match at.optional()? {
                Some(path) if path.starts_with('/') => Some(path.into()),
                Some(path) => Some(PathBuf::from("/run").join(path)),
                None => None,
            }
        }
        "Restart" => {
            service.restart = match at.text() {
                "" | "no" => Restart::No,
                "always" => Restart::Always,
                "on-success" => Restart::OnSuccess,
                "on-failure" => Restart::OnFailure,
                "on-abnormal" => Restart::OnAbnormal,
                "on-watchdog" => Restart::OnWatchdog,
                "on-abort" => Restart::OnAbort,
                _ => {
                    return Err(
                        at.invalid("want no, always, or on- success, failure, abnormal, watchdog, abort")
                    );
                }
            }
        }
        "RestartSec" => {
            service.restart_delay = at.want(at.span()?, "a time span that ends")?;
        }
        "RestartSteps" => service.restart_steps = at.number(0..=u32::MAX)?,
        "RestartMaxDelaySec" => service.restart_max_delay = at.timeout()?,
        "RestartMode" => {
            service.restart_mode = match at.text() {
                "" | "normal" => RestartMode::Normal,
                "direct" => RestartMode::Direct,
                _ => return Err(at.invalid("want normal or direct")),
            }
        }
        "ExitType" => {
            service.exit_type = match at.text() {
                "" | "main" => ExitType::Main,
                "cgroup" => ExitType::Cgroup,
                _ => return Err(at.invalid("want main or cgroup")),
            }
        }
        "TimeoutAbortSec" => {
            service.abort_timeout = if at.text().is_empty() { None } else { Some(at.timeout()?) };
        }
        "FinalKillSignal" => service.final_kill_signal = at.want(value::signal(at.text()), "a signal")?,
        "WatchdogSignal" => service.watchdog_signal = at.want(value::signal(at.text()), "a signal")?,
        "ReloadSignal" => service.reload_signal = at.want(value::signal(at.text()), "a signal")?,
        "RestartKillSignal" => {
            service.restart_kill_signal = Some(at.want(value::signal(at.text()), "a signal")?);
        }
        "Sockets" => {
            if at.text().is_empty() {
                service.sockets.clear();
            }
            for word in at.words()? {
                let name = UnitName::parse(&word).map_err(|why| at.invalid(why))?;
                if name.kind() != Kind::Socket || name.is_template() {
                    return Err(at.invalid("want sockets"));
                }
                service.sockets.push(name);
            }
        }
        "NonBlocking" => service.non_blocking = at.boolean_or(false)?,
        "FileDescriptorStoreMax" => service.store_max = at.number(0..=4096)?,
        "FileDescriptorStorePreserve" => {
            service.store_preserve = match (at.text(), value::boolean(at.text())) {
                ("" | "restart", _) => Preserve::Restart,
                (_, Some(true)) => Preserve::Yes,
                (_, Some(false)) => Preserve::No,
                _ => return Err(at.invalid("want yes, no or restart")),
            }
        }
        "TimeoutSec" => {
            service.start_timeout = Some(at.timeout()?);
            service.stop_timeout = at.timeout()?;
        }
        "TimeoutStartSec" => service.start_timeout = Some(at.timeout()?),
        "TimeoutStopSec" => service.stop_timeout = at.timeout()?,
        "RuntimeMaxSec" => service.runtime_max = at.timeout()?,
        "WatchdogSec" => service.watchdog = at.timeout()?,
        "NotifyAccess" => {
            service.notify_access = match at.text() {
                "" => None,
                "none" => Some(NotifyAccess::None),
                "main" => Some(NotifyAccess::Main),
                "exec" => Some(NotifyAccess::Exec),
                "all" => Some(NotifyAccess::All),
                _ => return Err(at.invalid("want none, main, exec or all")),
            }
        }
        "KillMode" => {
            service.kill_mode = match at.text() {
                "" | "control-group" => KillMode::ControlGroup,
                "mixed" => KillMode::Mixed,
                "process" => KillMode::Process,
                "none" => KillMode::None,
                _ => return Err(at.invalid("want control-group, mixed, process or none")),
            }
        }
        "KillSignal" => service.kill_signal = at.want(value::signal(at.text()), "a signal")?,
        "SendSIGKILL" => service.send_sigkill = at.boolean_or(true)?,
        "SendSIGHUP" => service.send_sighup = at.boolean_or(false)?,
        "SuccessExitStatus" => exit_set(&mut service.success, at)?,
        "RestartPreventExitStatus" => exit_set(&mut service.restart_prevent, at)?,
        "RestartForceExitStatus" => exit_set(&mut service.restart_force, at)?,
        _ => return context_key(&mut service.context, at),
    }
    Ok(())
}

fn exit_set(set: &mut ExitSet, at: &Scope<'_>) -> Result<(), Fault> {
    if at.text().is_empty() {
        *set = ExitSet::default();
    }
    for word in at.words()? {
        if let Ok(code) = word.parse::<u8>() {
            set.codes.push(i32::from(code));
        } else if let Some(code) = sys::process::exit_code_by_name(&word) {
            set.codes.push(code);
        } else {
            set.signals
                .push(at.want(value::signal(&word), "exit codes from 0 to 255, their names, or signals")?);
        }
    }
    Ok(())
}

fn context_key(context: &mut Context, at: &Scope<'_>) -> Result<(), Fault> {
    let key = at.entry.key.as_str();
    if let Some(limit) = key.strip_prefix("Limit").and_then(sys::process::limit_name) {
        context.limits.insert(limit, limit_value(limit, at)?);
        return Ok(());
    }
    let (base, is_mode) = key.strip_suffix("Mode").map_or((key, false), |base| (base, true));
    if let Some((_, kind, ..)) = DIRECTORIES.iter().find(|(known, ..)| *known == base) {
        let entry = context.directories.entry(*kind).or_default();
        if is_mode {
            entry.mode = at.want(value::mode(at.text()), "an octal mode")?;
        } else if at.text().is_empty() {
            entry.names.clear();
        } else {
            let words = at.words()?;
            let bad = |word: &&String| word.starts_with('/') || word.split('/').any(|part| part == "..");
            if let Some(word) = words.iter().find(bad) {
                return Err(at.invalid(format_args!("`{word}` must be relative, without `..`")));
            }
            entry.names.extend(words);
        }
        return Ok(());
    }
    match key {
        "Environment" => {
            if at.text().is_empty() {
                context.environment.clear();
            }
            let pairs = assignments(at.words()?);
            context
                .environment
                .extend(pairs.map_err(|word| at.invalid(format_args!("`{word}` is not NAME=value")))?);
        }
        "EnvironmentFile" => {
            if at.text().is_empty() {
                context.environment_files.clear();
                return Ok(());
            }
            let (text, optional) =
                at.text().strip_prefix('-').map_or((at.text(), false), |rest| (rest, true));
            let path = at.absolute(text)?;
            context.environment_files.push((path.to_string_lossy().into_owned(), optional));
        }
        "PassEnvironment" => at.append(&mut context.pass_environment)?,
        "UnsetEnvironment" => at.append(&mut context.unset_environment)?,
        "User" => context.user = at.optional()?,
        "Group" => context.group = at.optional()?,
        "SupplementaryGroups" => at.append(&mut context.supplementary_groups)?,
        "WorkingDirectory" => {
            let (text, optional) =
                at.text().strip_prefix('-').map_or((at.text(), false), |rest| (rest, true));
            context.working_directory = match text {
                "" => None,
                "~" => Some(WorkingDirectory { path: None, optional }),
                path => Some(WorkingDirectory { path: Some(at.absolute(path)?), optional }),
            }
        }
        "UMask" => context.umask = at.want(value::mode(at.text()), "an octal mode")?,
        "Nice" => context.nice = Some(at.number(-20..=19)?),
        "OOMScoreAdjust" => context.oom_score_adjust = Some(at.number(-1000..=1000)?),
        "StandardInput" => {
            context.stdin = match at.text() {
                "" | "null" => Stream::Null,
                "data" => Stream::Data,
                "tty" | "tty-force" => Stream::Tty,
                "socket" => Stream::Socket,
                text => match text.strip_prefix("file:") {
                    Some(path) => Stream::File(at.absolute(path)?),
                    None => return Err(at.invalid("want null, data, tty, tty-force, socket or file:PATH")),
                },
            }
        }
        "StandardOutput" => context.stdout = output(at, Stream::Journal)?,
        "StandardError" => context.stderr = output(at, Stream::Inherit)?,
        "TTYPath" => context.tty_path = at.absolute(at.text())?,
        "SyslogIdentifier" => context.syslog_identifier = at.optional()?,
        "SyslogLevel" => {
            let found = value::level(at.text());
            context.syslog_level =
                at.want(found, "emerg, alert, crit, err, warning, notice, info or debug")?;
        }
        "SyslogLevelPrefix" => context.syslog_level_prefix = at.boolean_or(true)?,
        "RuntimeDirectoryPreserve" => {
            context.runtime_directory_preserve = match at.text() {
                "restart" => Preserve::Restart,
                _ if at.boolean_or(false)? => Preserve::Yes,
                _ => Preserve::No,
            }
        }
        "NoNewPrivileges" => context.no_new_privileges = at.boolean_or(false)?,
        "CapabilityBoundingSet" => {
            let all = (1_u64 << (sys::process::LAST_CAPABILITY + 1)) - 1;
            context.bounding_set = Some(capabilities(context.bounding_set, all, at)?);
        }
        "AmbientCapabilities" => {
            let known = (context.ambient != 0).then_some(context.ambient);
            context.ambient = capabilities(known, (1_u64 << (sys::process::LAST_CAPABILITY + 1)) - 1, at)?;
        }
        "IgnoreSIGPIPE" => context.ignore_sigpipe = at.boolean_or(true)?,
        "Slice" => {
            let name = at.optional()?.map(|name| UnitName::parse(&name)).transpose();
            let name = name.map_err(|why| at.invalid(why))?;
            if name.as_ref().is_some_and(|name| name.kind() != Kind::Slice) {
                return Err(at.invalid("want a name that ends in .slice"));
            }
            context.slice = name;
        }
        _ => {
            return sandbox::apply(&mut context.sandbox, at)
                .or_else(|| execution::apply(&mut context.execution, at))
                .or_else(|| resource::apply(&mut context.cgroup, at))
                .unwrap_or_else(|| Err(at.unknown()));
        }
    }
    Ok(())
}

fn output(at: &Scope<'_>, default: Stream) -> Result<Stream, Fault> {
    Ok(match at.text() {
        "" => default,
        "null" => Stream::Null,
        "inherit" => Stream::Inherit,
        "journal" | "syslog" | "kmsg" => Stream::Journal,
        "journal+console" | "syslog+console" | "kmsg+console" => Stream::JournalAndConsole,
        "tty" => Stream::Tty,
        "socket" => Stream::Socket,
        text => match text.split_once(':') {
            Some(("file", path)) => Stream::File(at.absolute(path)?),
            Some(("append", path)) => Stream::Append(at.absolute(path)?),
            Some(("truncate", path)) => Stream::Truncate(at.absolute(path)?),
            _ => {
                return Err(at.invalid(
                    "want null, inherit, journal, journal+console, tty, socket, or file:, append:, truncate: and a path",
                ));
            }
        },
    })
}

fn limit_value(limit: &str, at: &Scope<'_>) -> Result<(u64, u64), Fault> {
    let one = |text: &str| match (text, limit) {
        ("infinity", _) => Some(u64::MAX),
        (_, "CPU") => Some(value::span(text)??.as_secs()),
        (_, "RTTIME") => u64::try_from(value::span(text)??.as_micros()).ok(),
        // As -20..19, or the raw 1..40: systemd.exec(5).
        (_, "NICE") => match text.strip_prefix(['+', '-']) {
            Some(_) => u64::try_from(20 - text.parse::<i64>().ok().filter(|n| (-20..=19).contains(n))?).ok(),
            None => text.parse().ok(),
        },
        _ => value::size(text),
    };
    let (soft, hard) = at.text().split_once(':').unwrap_or((at.text(), at.text()));
    let pair = one(soft.trim()).zip(one(hard.trim())).filter(|(soft, hard)| soft <= hard);
    at.want(pair, "a limit, infinity, or SOFT:HARD")
}

/// Words of capability names; `~` takes them away. Several lines add up (systemd.exec(5)).
fn capabilities(before: Option<u64>, all: u64, at: &Scope<'_>) -> Result<u64, Fault> {
    let (text, invert) = at.text().strip_prefix('~').map_or((at.text(), false), |rest| (rest, true));
    let mut mask = 0_u64;
    for word in text.split_whitespace() {
        let number = sys::process::capability_by_name(word);
        mask |= 1 << at.want(number, "capability names such as CAP_NET_BIND_SERVICE")?;
    }
    Ok(match (invert, before) {
        (false, _) if text.is_empty() => 0,
        (false, before) => before.unwrap_or(0) | mask,
        (true, before) => before.unwrap_or(all) & !mask,
    })
}
