//! What PID 1 itself says: into the journal, and what a person must see on the console.

use super::Manager;
use crate::engine::{ActiveState, ExitStatus, JobId, JobKind, JobResult, Notice, Role, UnitId};
use crate::unit::config::{PHASES, ServiceType};
use crate::unit::value::signal_name;
use crate::unit::{Kind, LoadState, Unit};

/// sd-messages.h: a start job was done.
const STARTED_ID: &str = "39f53479d3a045ac8e11786248231fbf";
/// A start job has begun.
const STARTING_ID: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
/// A stop job has begun.
const STOPPING_ID: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
/// A process of a unit ended.
const EXITED_ID: &str = "98e322203f7a4ed290d09fe03c09fe15";
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
            Notice::ProcessFailed { role, phase, status, ignored } => {
                let who = match role {
                    Role::Main => "Main",
                    Role::Control => "Control",
                };
                let (code, shown, value) = exit_words(*status);
                let key = PHASES.iter().find(|(_, known)| known == phase).map_or("", |(key, _)| *key);
                let message = format!("{who} process exited, code={code}, status={shown}{ignored}");
                let more = [
                    ("MESSAGE_ID", EXITED_ID),
                    ("COMMAND", key),
                    ("EXIT_CODE", code),
                    ("EXIT_STATUS", value.as_str()),
                ];
                self.tell_with(unit, priority, &message, &more);
            }
            _ => self.tell(unit, priority, &message),
        }
    }

    pub(super) fn tell_change(
        &mut self,
        unit: UnitId,
        from: ActiveState,
        to: ActiveState,
        job: Option<(JobId, JobKind)>,
    ) {
        let config = self.engine.unit(unit);
        // What has no file comes and goes by itself.
        if config.fragment.is_none() {
            return;
        }
        let kind = config.name.kind();
        // What is up as soon as it is started has one message.
        let slow = |kind| !matches!(kind, ServiceType::Simple | ServiceType::Exec | ServiceType::Idle);
        let takes_time = match kind {
            Kind::Service => config.service.as_deref().is_some_and(|service| slow(service.kind)),
            kind => kind == Kind::Mount,
        };
        let oneshot = config.service.as_deref().is_some_and(|service| service.kind == ServiceType::Oneshot);
        let starts_oneshot = oneshot
            && (from == ActiveState::Activating || job.is_some_and(|(_, kind)| kind == JobKind::Start));
        let (what, id) = match (kind, to) {
            (_, ActiveState::Active) if from == ActiveState::Reloading => ("Reloaded", RELOADED_ID),
            (_, ActiveState::Activating) if takes_time && from.is_down() => ("Starting", STARTING_ID),
            (_, ActiveState::Deactivating) if takes_time && from.is_active() => ("Stopping", STOPPING_ID),
            (Kind::Target, ActiveState::Active) => ("Reached target", STARTED_ID),
            (Kind::Target, ActiveState::Inactive) => ("Stopped target", STOPPED_ID),
            (Kind::Socket, ActiveState::Active) => ("Listening on", STARTED_ID),
            (Kind::Socket, ActiveState::Inactive) => ("Closed", STOPPED_ID),
            (Kind::Mount, ActiveState::Active) => ("Mounted", STARTED_ID),
            (Kind::Mount, ActiveState::Inactive) => ("Unmounted", STOPPED_ID),
            (Kind::Slice, ActiveState::Active) => ("Created slice", STARTED_ID),
            (Kind::Slice, ActiveState::Inactive) => ("Removed slice", STOPPED_ID),
            // A oneshot service is done when it is up: systemd.service(5).
            (Kind::Service, ActiveState::Inactive) if starts_oneshot => ("Finished", STARTED_ID),
            (Kind::Service, ActiveState::Active) if oneshot => ("Finished", STARTED_ID),
            (_, ActiveState::Active) => ("Started", STARTED_ID),
            (_, ActiveState::Inactive) => ("Stopped", STOPPED_ID),
            _ => return,
        };
        let end = if matches!(id, STARTING_ID | STOPPING_ID) { "..." } else { "." };
        let message = format!("{what} {}{end}", config.status_name());
        let mut more = vec![("MESSAGE_ID", id)];
        let texts = job.map(|(job, kind)| (job.0.to_string(), kind.to_string()));
        if let Some((job, kind)) = &texts {
            more.extend([("JOB_ID", job.as_str()), ("JOB_TYPE", kind.as_str())]);
            if !matches!(id, STARTING_ID | STOPPING_ID) {
                more.push(("JOB_RESULT", "done"));
            }
        }
        let name = config.name.as_str().to_owned();
        if let Some(fault) = self.fault {
            fault(&message);
        }
        more.push(("UNIT", &name));
        self.record(6, &message, &more);
    }

    pub(super) fn tell_job(&mut self, job: JobId, unit: UnitId, kind: JobKind, result: JobResult) {
        if matches!(result, JobResult::Done | JobResult::Skipped) {
            return;
        }
        let shown = self.engine.unit(unit).status_name();
        let priority = if result == JobResult::Canceled { 6 } else { 4 };
        // In systemd's words: they are looked for.
        let message = match (kind, result) {
            (JobKind::Start, JobResult::Failed) => format!("Failed to start {shown}."),
            (JobKind::Start, JobResult::Timeout) => format!("Timed out starting {shown}."),
            (JobKind::Start, JobResult::Dependency) => format!("Dependency failed for {shown}."),
            (JobKind::Start, JobResult::Assert) => {
                format!("Starting of {shown} failed: an assert is not met.")
            }
            (_, JobResult::Canceled) => format!("{kind} job of {shown} canceled."),
            (_, result) => format!("{kind} job of {shown} ended with result '{result}'."),
        };
        let (number, kind, result) = (job.0.to_string(), kind.to_string(), result.to_string());
        let name = self.engine.unit(unit).name.as_str().to_owned();
        let mut more =
            vec![("JOB_ID", number.as_str()), ("JOB_TYPE", kind.as_str()), ("JOB_RESULT", result.as_str())];
        if kind == "start" {
            more.push(("MESSAGE_ID", FAILED_ID));
        }
        more.push(("UNIT", &name));
        if priority <= 4 {
            self.console.line(&message);
        }
        if let Some(fault) = self.fault {
            fault(&message);
        }
        self.record(priority, &message, &more);
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

/// How a process ended, as systemd says it: the kind, the status with its name, the status alone.
fn exit_words(status: ExitStatus) -> (&'static str, String, String) {
    match status {
        ExitStatus::Code(code) => {
            let name = exit_name(code).map_or("n/a", |name| name);
            ("exited", format!("{code}/{name}"), code.to_string())
        }
        ExitStatus::Signal(signal, core) => {
            let name = signal_name(signal);
            (if core { "dumped" } else { "killed" }, format!("{signal}/{name}"), name)
        }
    }
}

/// The names of exit codes (systemd.exec(5), "Process Exit Codes").
fn exit_name(code: i32) -> Option<&'static str> {
    const LOW: [&str; 8] = [
        "SUCCESS",
        "FAILURE",
        "INVALIDARGUMENT",
        "NOTIMPLEMENTED",
        "NOPERMISSION",
        "NOTINSTALLED",
        "NOTCONFIGURED",
        "NOTRUNNING",
    ];
    const HIGH: [&str; 23] = [
        "CHDIR",
        "NICE",
        "FDS",
        "EXEC",
        "MEMORY",
        "LIMITS",
        "OOM_ADJUST",
        "SIGNAL_MASK",
        "STDIN",
        "STDOUT",
        "CHROOT",
        "IOPRIO",
        "TIMERSLACK",
        "SECUREBITS",
        "SETSCHEDULER",
        "CPUAFFINITY",
        "GROUP",
        "USER",
        "CAPABILITIES",
        "CGROUP",
        "SETSID",
        "CONFIRM",
        "STDERR",
    ];
    const HIGHER: [&str; 10] = [
        "PAM",
        "NETWORK",
        "NAMESPACE",
        "NO_NEW_PRIVILEGES",
        "SECCOMP",
        "SELINUX_CONTEXT",
        "PERSONALITY",
        "APPARMOR",
        "ADDRESS_FAMILIES",
        "RUNTIME_DIRECTORY",
    ];
    let code = usize::try_from(code).ok()?;
    let of = |names: &[&'static str], first: usize| names.get(code.checked_sub(first)?).copied();
    of(&LOW, 0).or_else(|| of(&HIGH, 200)).or_else(|| of(&HIGHER, 224))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_systemds_words() {
        let shown = |status| exit_words(status).1;
        assert_eq!(shown(ExitStatus::Code(1)), "1/FAILURE");
        assert_eq!(shown(ExitStatus::Code(203)), "203/EXEC");
        assert_eq!(shown(ExitStatus::Code(226)), "226/NAMESPACE");
        assert_eq!(shown(ExitStatus::Code(42)), "42/n/a");
        assert_eq!(exit_words(ExitStatus::Signal(11, true)), ("dumped", "11/SEGV".into(), "SEGV".into()));
    }
}
