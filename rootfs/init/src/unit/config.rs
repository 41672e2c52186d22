//! What a unit is told to be, after its files are read.

use super::command::Command;
use super::condition::Condition;
use super::execution::{Execution, OomPolicy};
use super::mount::{MountConfig, mounts_for};
use super::name::UnitName;
use super::path::PathConfig;
use super::resource::Resources;
use super::sandbox::Sandbox;
use super::socket::Socket;
use super::timer::Timer;
use super::value::Span;
use super::{Fault, Kind, Problem};
use crate::engine::Mode;
use crate::lists::Lists;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How one unit depends on another (systemd.unit(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the key of the same name")]
pub enum Relation {
    Requires,
    Requisite,
    Wants,
    BindsTo,
    PartOf,
    Conflicts,
    After,
    Before,
    OnFailure,
    OnSuccess,
    PropagatesReloadTo,
    ReloadPropagatedFrom,
    PropagatesStopTo,
    StopPropagatedFrom,
    Upholds,
    Triggers,
    TriggeredBy,
    RequiresMountsFor,
    JoinsNamespaceOf,
}

/// The relations with the keys that name them.
pub const RELATIONS: [(&str, Relation); 16] = [
    ("Requires", Relation::Requires),
    ("Requisite", Relation::Requisite),
    ("Wants", Relation::Wants),
    ("BindsTo", Relation::BindsTo),
    ("PartOf", Relation::PartOf),
    ("Conflicts", Relation::Conflicts),
    ("After", Relation::After),
    ("Before", Relation::Before),
    ("OnFailure", Relation::OnFailure),
    ("OnSuccess", Relation::OnSuccess),
    ("PropagatesReloadTo", Relation::PropagatesReloadTo),
    ("ReloadPropagatedFrom", Relation::ReloadPropagatedFrom),
    ("PropagatesStopTo", Relation::PropagatesStopTo),
    ("StopPropagatedFrom", Relation::StopPropagatedFrom),
    ("Upholds", Relation::Upholds),
    ("JoinsNamespaceOf", Relation::JoinsNamespaceOf),
];

/// Relations that follow from other keys.
pub const DERIVED: [(&str, Relation); 3] = [
    ("Triggers", Relation::Triggers),
    ("TriggeredBy", Relation::TriggeredBy),
    ("RequiresMountsFor", Relation::RequiresMountsFor),
];

/// Where a unit's configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadState {
    /// A file was found.
    Loaded,
    /// No file in the search path.
    NotFound,
    /// Linked to /dev/null or empty: it cannot be started.
    Masked,
    /// The file cannot be used as a whole.
    BadSetting(BadSetting),
}

/// Why a unit whose file was found cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// A service without any command.
    #[error("the service has neither ExecStart= nor ExecStop=")]
    NoCommand,
    /// More than one main command.
    #[error("the service has several ExecStart= lines, which only Type=oneshot takes")]
    SeveralCommands,
    /// A oneshot service cannot be restarted always.
    #[error("Type=oneshot does not take Restart={0}")]
    OneshotRestart(&'static str),
    /// What the unit is there for is not said, or its keys contradict each other.
    #[error("{0}")]
    Incomplete(&'static str),
    /// The suffix of the name is a type that this PID 1 does not run.
    #[error("units of type {0} are not supported")]
    Kind(&'static str),
    /// A line decides how the unit runs and cannot be read.
    #[error("{path}:{line}: {fault}", path = .0.path.display(), line = .0.line, fault = .0.fault)]
    Line(Box<Problem>),
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: String,
    },
}

/// What the system does when a limit is hit (`StartLimitAction=`, `FailureAction=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmergencyAction {
    /// Nothing.
    #[default]
    None,
    /// Orderly reboot.
    Reboot,
    /// Reboot without stopping units.
    RebootForce,
    /// Orderly power-off.
    Poweroff,
    /// Power-off without stopping units.
    PoweroffForce,
    /// Orderly halt.
    Halt,
    /// Halt without stopping units.
    HaltForce,
}

/// What only units of one type have.
#[derive(Clone, Debug, Default)]
pub enum Special {
    /// Nothing: services (see [`Unit::service`]), targets, devices.
    #[default]
    None,
    /// `[Socket]`.
    Socket(Box<Socket>),
    /// `[Timer]`.
    Timer(Box<Timer>),
    /// `[Path]`.
    Path(Box<PathConfig>),
    /// `[Mount]`.
    Mount(Box<MountConfig>),
    /// `[Slice]`: the limits alone.
    Slice(Box<Context>),
}

/// `CollectMode=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CollectMode {
    /// A failed unit is remembered until it is reset.
    #[default]
    Inactive,
    /// A failed unit is forgotten like one that ended well.
    InactiveOrFailed,
}

/// A unit's configuration.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as the manual has them")]
pub struct Unit {
    /// The name by which it was loaded, alias resolved.
    pub name: UnitName,
    /// Whether and how its file was read.
    pub load_state: LoadState,
    /// The unit file.
    pub fragment: Option<PathBuf>,
    /// Drop-ins in the order in which they were applied.
    pub drop_ins: Vec<PathBuf>,
    /// `Description=`, else the name.
    pub description: String,
    /// `Documentation=`.
    pub documentation: Vec<String>,
    /// Dependencies as written, `.wants` and `.requires` folders included.
    pub relations: Lists<Relation, UnitName>,
    /// `DefaultDependencies=`.
    pub default_dependencies: bool,
    /// `RefuseManualStart=`.
    pub refuse_manual_start: bool,
    /// `RefuseManualStop=`.
    pub refuse_manual_stop: bool,
    /// `AllowIsolate=`.
    pub allow_isolate: bool,
    /// `IgnoreOnIsolate=`.
    pub ignore_on_isolate: bool,
    /// `Condition…=`.
    pub conditions: Vec<Condition>,
    /// `Assert…=`.
    pub asserts: Vec<Condition>,
    /// `StartLimitIntervalSec=`; zero turns the limit off.
    pub start_limit_interval: Span,
    /// `StartLimitBurst=`.
    pub start_limit_burst: u32,
    /// `StartLimitAction=`.
    pub start_limit_action: EmergencyAction,
    /// `FailureAction=`.
    pub failure_action: EmergencyAction,
    /// `SuccessAction=`.
    pub success_action: EmergencyAction,
    /// `JobTimeoutSec=`.
    pub job_timeout: Span,
    /// `JobRunningTimeoutSec=`; a device's default is 90 s.
    pub job_running_timeout: Span,
    /// `JobTimeoutAction=`.
    pub job_timeout_action: EmergencyAction,
    /// `OnFailureJobMode=`.
    pub on_failure_mode: Mode,
    /// `OnSuccessJobMode=`.
    pub on_success_mode: Mode,
    /// `StopWhenUnneeded=`.
    pub stop_when_unneeded: bool,
    /// `CollectMode=`.
    pub collect_mode: CollectMode,
    /// Of a service; of a socket and a mount what they run and with what.
    pub service: Option<Box<Service>>,
    /// Of other types.
    pub special: Special,
    /// `[Install]`.
    pub install: Install,
    /// All that is wrong in its files.
    pub problems: Vec<Problem>,
}

/// `[Install]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Install {
    /// `WantedBy=`.
    pub wanted_by: Vec<String>,
    /// `RequiredBy=`.
    pub required_by: Vec<String>,
    /// `Alias=`.
    pub alias: Vec<String>,
    /// `UpheldBy=`.
    pub upheld_by: Vec<String>,
    /// `Also=`.
    pub also: Vec<String>,
    /// `DefaultInstance=`.
    pub default_instance: Option<String>,
}

/// `Type=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the value of the same name")]
pub enum ServiceType {
    #[default]
    Simple,
    Exec,
    Oneshot,
    Notify,
    NotifyReload,
    Forking,
    Idle,
}

/// `ExitType=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitType {
    /// The service ends with its main process.
    #[default]
    Main,
    /// The service ends with the last process of its cgroup.
    Cgroup,
}

/// `RestartMode=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartMode {
    /// Through inactive or failed: what is bound to it stops.
    #[default]
    Normal,
    /// Straight into the next start.
    Direct,
}

/// `FileDescriptorStorePreserve=`, `RuntimeDirectoryPreserve=`: for how long a thing is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preserve {
    /// Until the service is down for good.
    Restart,
    /// For ever.
    Yes,
    /// Until the next stop, a restart's too.
    No,
}

/// `Restart=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the value of the same name")]
pub enum Restart {
    #[default]
    No,
    OnSuccess,
    OnFailure,
    OnAbnormal,
    OnWatchdog,
    OnAbort,
    Always,
}

/// `KillMode=` (systemd.kill(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the value of the same name")]
pub enum KillMode {
    #[default]
    ControlGroup,
    Mixed,
    Process,
    None,
}

/// `NotifyAccess=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the value of the same name")]
pub enum NotifyAccess {
    None,
    Main,
    Exec,
    All,
}

/// A set of exit statuses and signals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitSet {
    /// Exit codes.
    pub codes: Vec<i32>,
    /// Signals.
    pub signals: Vec<i32>,
}

/// The phases in which a service runs commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the Exec key of the same name")]
pub enum Phase {
    Condition,
    StartPre,
    Start,
    StartPost,
    Reload,
    Stop,
    StopPost,
}

/// The phases with their keys.
pub const PHASES: [(&str, Phase); 7] = [
    ("ExecCondition", Phase::Condition),
    ("ExecStartPre", Phase::StartPre),
    ("ExecStart", Phase::Start),
    ("ExecStartPost", Phase::StartPost),
    ("ExecReload", Phase::Reload),
    ("ExecStop", Phase::Stop),
    ("ExecStopPost", Phase::StopPost),
];

/// `[Service]`.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as the manual has them")]
pub struct Service {
    /// `Type=`.
    pub kind: ServiceType,
    /// The commands of each phase.
    pub commands: Lists<Phase, Command>,
    /// `RemainAfterExit=`.
    pub remain_after_exit: bool,
    /// `PIDFile=`.
    pub pid_file: Option<PathBuf>,
    /// `Restart=`.
    pub restart: Restart,
    /// `RestartSec=`.
    pub restart_delay: Duration,
    /// `RestartSteps=`: so many restarts lead from `RestartSec=` to `RestartMaxDelaySec=`.
    pub restart_steps: u32,
    /// `RestartMaxDelaySec=`.
    pub restart_max_delay: Span,
    /// `RestartMode=`.
    pub restart_mode: RestartMode,
    /// `ExitType=`.
    pub exit_type: ExitType,
    /// `TimeoutStartSec=`; unset means the default, infinite for oneshot.
    pub start_timeout: Option<Span>,
    /// `TimeoutStopSec=`.
    pub stop_timeout: Span,
    /// `TimeoutAbortSec=`; unset means `TimeoutStopSec=`.
    pub abort_timeout: Option<Span>,
    /// `RuntimeMaxSec=`.
    pub runtime_max: Span,
    /// `WatchdogSec=`.
    pub watchdog: Span,
    /// `NotifyAccess=`.
    pub notify_access: Option<NotifyAccess>,
    /// `KillMode=`.
    pub kill_mode: KillMode,
    /// `KillSignal=`.
    pub kill_signal: i32,
    /// `RestartKillSignal=`; unset means `KillSignal=`.
    pub restart_kill_signal: Option<i32>,
    /// `FinalKillSignal=`.
    pub final_kill_signal: i32,
    /// `WatchdogSignal=`.
    pub watchdog_signal: i32,
    /// `ReloadSignal=` of `Type=notify-reload`.
    pub reload_signal: i32,
    /// `SendSIGKILL=`.
    pub send_sigkill: bool,
    /// `SendSIGHUP=`.
    pub send_sighup: bool,
    /// `SuccessExitStatus=`.
    pub success: ExitSet,
    /// `RestartPreventExitStatus=`.
    pub restart_prevent: ExitSet,
    /// `RestartForceExitStatus=`.
    pub restart_force: ExitSet,
    /// `Sockets=`.
    pub sockets: Vec<UnitName>,
    /// `NonBlocking=`.
    pub non_blocking: bool,
    /// `FileDescriptorStoreMax=`.
    pub store_max: u32,
    /// `FileDescriptorStorePreserve=`.
    pub store_preserve: Preserve,
    /// What its processes run with.
    pub context: Context,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            kind: ServiceType::default(),
            commands: Lists::default(),
            remain_after_exit: false,
            pid_file: None,
            restart: Restart::default(),
            restart_delay: Duration::from_millis(100),
            restart_steps: 0,
            restart_max_delay: None,
            restart_mode: RestartMode::default(),
            exit_type: ExitType::default(),
            start_timeout: None,
            stop_timeout: Some(DEFAULT_TIMEOUT),
            abort_timeout: None,
            runtime_max: None,
            watchdog: None,
            notify_access: None,
            kill_mode: KillMode::default(),
            kill_signal: 15,
            restart_kill_signal: None,
            final_kill_signal: 9,
            watchdog_signal: 6,
            reload_signal: 1,
            send_sigkill: true,
            send_sighup: false,
            success: ExitSet::default(),
            restart_prevent: ExitSet::default(),
            restart_force: ExitSet::default(),
            sockets: Vec::new(),
            non_blocking: false,
            store_max: 0,
            store_preserve: Preserve::Restart,
            context: Context::default(),
        }
    }
}

/// `DefaultTimeoutStartSec=` and `DefaultTimeoutStopSec=` of systemd-system.conf(5).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

impl Service {
    /// The commands of a phase.
    pub fn commands(&self, phase: Phase) -> &[Command] {
        self.commands.of(phase)
    }

    /// How long starting may take.
    pub fn start_timeout(&self) -> Span {
        let default = (self.kind != ServiceType::Oneshot).then_some(DEFAULT_TIMEOUT);
        self.start_timeout.unwrap_or(default)
    }

    /// What becomes of it when a process of it used too much memory: systemd's default is `stop`, and
    /// `continue` for one that looks after its cgroup itself.
    pub fn oom_policy(&self) -> OomPolicy {
        let execution = self.context.execution.as_deref();
        let delegates = execution.is_some_and(|execution| execution.delegate);
        let default = if delegates { OomPolicy::Continue } else { OomPolicy::Stop };
        execution.and_then(|execution| execution.oom_policy).unwrap_or(default)
    }

    /// Who may send `sd_notify(3)` messages.
    pub fn notify_access(&self) -> NotifyAccess {
        let notifies = matches!(self.kind, ServiceType::Notify | ServiceType::NotifyReload);
        let needed = notifies || self.watchdog.is_some() || self.store_max > 0;
        match self.notify_access {
            Some(NotifyAccess::None) | None if needed => NotifyAccess::Main,
            Some(access) => access,
            None => NotifyAccess::None,
        }
    }
}

/// Where a standard stream leads (systemd.exec(5), "Logging and standard input/output").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `null`.
    Null,
    /// `inherit`: stdout as stdin, stderr as stdout.
    Inherit,
    /// `journal` (and `syslog`, `kmsg`, which systemd treats alike).
    Journal,
    /// `journal+console`.
    JournalAndConsole,
    /// `tty`: `TTYPath=`, which is /dev/console by default.
    Tty,
    /// `data`: `StandardInputText=` and `StandardInputData=`.
    Data,
    /// `file:PATH`.
    File(PathBuf),
    /// `append:PATH`.
    Append(PathBuf),
    /// `truncate:PATH`.
    Truncate(PathBuf),
    /// `socket`: the connection, or the socket that activated the service.
    Socket,
}

/// Folders that are made for a service, by the key that names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the key of the same name")]
pub enum DirectoryKind {
    RuntimeDirectory,
    StateDirectory,
    CacheDirectory,
    LogsDirectory,
    ConfigurationDirectory,
}

/// The kinds with key, parent folder and the variable that tells the service (systemd.exec(5)).
pub const DIRECTORIES: [(&str, DirectoryKind, &str, &str); 5] = [
    ("RuntimeDirectory", DirectoryKind::RuntimeDirectory, "/run", "RUNTIME_DIRECTORY"),
    ("StateDirectory", DirectoryKind::StateDirectory, "/var/lib", "STATE_DIRECTORY"),
    ("CacheDirectory", DirectoryKind::CacheDirectory, "/var/cache", "CACHE_DIRECTORY"),
    ("LogsDirectory", DirectoryKind::LogsDirectory, "/var/log", "LOGS_DIRECTORY"),
    ("ConfigurationDirectory", DirectoryKind::ConfigurationDirectory, "/etc", "CONFIGURATION_DIRECTORY"),
];

/// Names and mode of one kind of folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// Paths below the parent.
    pub names: Vec<String>,
    /// Mode.
    pub mode: u32,
}

impl Default for Directories {
    fn default() -> Self {
        Self { names: Vec::new(), mode: 0o755 }
    }
}

/// `WorkingDirectory=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingDirectory {
    /// The path; `None` is `~`, the home of `User=`.
    pub path: Option<PathBuf>,
    /// `-`: going on without it is fine.
    pub optional: bool,
}

/// What the processes of a service run with (systemd.exec(5), systemd.resource-control(5)).
#[derive(Clone, Debug)]
pub struct Context {
    /// `Environment=`.
    pub environment: Vec<(String, String)>,
    /// `EnvironmentFile=`: path and whether it may be absent.
    pub environment_files: Vec<(String, bool)>,
    /// `PassEnvironment=`.
    pub pass_environment: Vec<String>,
    /// `UnsetEnvironment=`: names or whole assignments.
    pub unset_environment: Vec<String>,
    /// `User=`.
    pub user: Option<String>,
    /// `Group=`.
    pub group: Option<String>,
    /// `SupplementaryGroups=`.
    pub supplementary_groups: Vec<String>,
    /// `WorkingDirectory=`.
    pub working_directory: Option<WorkingDirectory>,
    /// `UMask=`.
    pub umask: u32,
    /// `Limit…=`: resource, soft, hard; `u64::MAX` is infinity.
    pub limits: BTreeMap<&'static str, (u64, u64)>,
    /// `Nice=`.
    pub nice: Option<i32>,
    /// `OOMScoreAdjust=`.
    pub oom_score_adjust: Option<i32>,
    /// `StandardInput=`: null, tty or a file.
    pub stdin: Stream,
    /// `StandardOutput=`.
    pub stdout: Stream,
    /// `StandardError=`.
    pub stderr: Stream,
    /// `TTYPath=`.
    pub tty_path: PathBuf,
    /// `SyslogIdentifier=`.
    pub syslog_identifier: Option<String>,
    /// `SyslogLevel=`, 0 to 7.
    pub syslog_level: u8,
    /// `SyslogLevelPrefix=`.
    pub syslog_level_prefix: bool,
    /// `RuntimeDirectory=` and its kin.
    pub directories: BTreeMap<DirectoryKind, Directories>,
    /// `RuntimeDirectoryPreserve=`.
    pub runtime_directory_preserve: Preserve,
    /// `NoNewPrivileges=`.
    pub no_new_privileges: bool,
    /// `CapabilityBoundingSet=` as a mask of capability numbers.
    pub bounding_set: Option<u64>,
    /// `AmbientCapabilities=` as a mask of capability numbers.
    pub ambient: u64,
    /// `IgnoreSIGPIPE=`.
    pub ignore_sigpipe: bool,
    /// `Slice=`.
    pub slice: Option<UnitName>,
    /// `MemoryMax=` and other limits of its cgroup.
    pub cgroup: Resources,
    /// What it may see and do.
    pub sandbox: Option<Box<Sandbox>>,
    /// Scheduling, credentials, input and other rare keys.
    pub execution: Option<Box<Execution>>,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            environment: Vec::new(),
            environment_files: Vec::new(),
            pass_environment: Vec::new(),
            unset_environment: Vec::new(),
            user: None,
            group: None,
            supplementary_groups: Vec::new(),
            working_directory: None,
            umask: 0o022,
            limits: BTreeMap::new(),
            nice: None,
            oom_score_adjust: None,
            stdin: Stream::Null,
            stdout: Stream::Journal,
            stderr: Stream::Inherit,
            tty_path: PathBuf::from("/dev/console"),
            syslog_identifier: None,
            syslog_level: 6,
            syslog_level_prefix: true,
            directories: BTreeMap::new(),
            runtime_directory_preserve: Preserve::No,
            no_new_privileges: false,
            bounding_set: None,
            ambient: 0,
            ignore_sigpipe: true,
            slice: None,
            cgroup: Resources::default(),
            sandbox: None,
            execution: None,
        }
    }
}

impl Unit {
    /// Its name and what it is for, as messages have it (systemd-system.conf(5), `StatusUnitFormat=`).
    pub fn status_name(&self) -> String {
        let (name, description) = (self.name.as_str(), self.description.as_str());
        if description.is_empty() || description == name {
            return name.to_owned();
        }
        format!("{name} - {description}")
    }

    /// A unit without any file yet.
    pub fn new(name: UnitName, load_state: LoadState) -> Self {
        let kind = name.kind();
        let service = matches!(kind, Kind::Service | Kind::Socket | Kind::Mount).then(Box::default);
        let special = match kind {
            Kind::Socket => Special::Socket(Box::default()),
            Kind::Timer => Special::Timer(Box::default()),
            Kind::Path => Special::Path(Box::default()),
            Kind::Mount => Special::Mount(Box::default()),
            Kind::Slice => Special::Slice(Box::default()),
            _ => Special::None,
        };
        Self {
            description: name.as_str().to_owned(),
            name,
            load_state,
            fragment: None,
            drop_ins: Vec::new(),
            documentation: Vec::new(),
            relations: Lists::default(),
            default_dependencies: true,
            refuse_manual_start: false,
            refuse_manual_stop: false,
            allow_isolate: false,
            ignore_on_isolate: false,
            conditions: Vec::new(),
            asserts: Vec::new(),
            start_limit_interval: Some(Duration::from_secs(10)),
            start_limit_burst: 5,
            start_limit_action: EmergencyAction::None,
            failure_action: EmergencyAction::None,
            success_action: EmergencyAction::None,
            job_timeout: None,
            job_running_timeout: (kind == Kind::Device).then_some(DEFAULT_TIMEOUT),
            job_timeout_action: EmergencyAction::None,
            on_failure_mode: Mode::Replace,
            on_success_mode: Mode::Fail,
            stop_when_unneeded: false,
            collect_mode: CollectMode::default(),
            service,
            special,
            install: Install::default(),
            problems: Vec::new(),
        }
    }

    /// The names it has in a relation.
    pub fn related(&self, relation: Relation) -> &[UnitName] {
        self.relations.of(relation)
    }

    /// Adds a dependency once.
    pub fn relate(&mut self, relation: Relation, other: UnitName) {
        if other != self.name {
            self.relations.push_new(relation, other);
        }
    }

    /// Checks what only the whole unit shows, and adds the default dependencies
    /// (systemd.service(5), systemd.target(5)). Called once, after the last file.
    pub fn finish(&mut self) {
        if self.load_state != LoadState::Loaded {
            return;
        }
        let verdict = self.bad_setting();
        if let Some(bad) = verdict {
            if !matches!(bad, BadSetting::Line(_)) {
                let path = self.fragment.clone().unwrap_or_default();
                self.problems.push(Problem { path, line: 1, fault: Fault::Unit(bad.clone()) });
            }
            self.load_state = LoadState::BadSetting(bad);
        }
        self.finish_special();
        if self.default_dependencies {
            for (relation, name) in super::defaults::dependencies(self) {
                if let Ok(name) = UnitName::parse(name) {
                    self.relate(relation, name);
                }
            }
        }
        self.relations.shrink();
        if let Some(service) = &mut self.service {
            service.commands.shrink();
        }
    }

    /// What follows from the keys of its type.
    fn finish_special(&mut self) {
        for (relation, name) in super::defaults::implied(self) {
            self.relate(relation, name);
        }
        if let (Special::Mount(mount), Some(service)) = (&self.special, &mut self.service) {
            for (phase, command) in mount.commands() {
                service.commands.remove(phase);
                service.commands.push(phase, command);
            }
            service.context.syslog_identifier.get_or_insert_with(|| "mount".into());
        }
    }

    /// Adds the mounts of a path (`RequiresMountsFor=`).
    pub fn require_mounts_for(&mut self, path: &std::path::Path) {
        for name in mounts_for(path) {
            self.relate(Relation::RequiresMountsFor, name);
        }
    }

    fn bad_setting(&self) -> Option<BadSetting> {
        let kind = self.name.kind();
        if !kind.is_supported() {
            return Some(BadSetting::Kind(kind.suffix()));
        }
        let decisive = self.problems.iter().find(|problem| {
            matches!(&problem.fault, Fault::Invalid { key, .. } if super::defaults::is_decisive(kind, key))
        });
        if let Some(problem) = decisive {
            return Some(BadSetting::Line(Box::new(problem.clone())));
        }
        if kind != Kind::Service {
            return super::defaults::incomplete(self).map(BadSetting::Incomplete);
        }
        let service = self.service.as_ref()?;
        let count = service.commands(Phase::Start).len();
        if count == 0 && (service.commands(Phase::Stop).is_empty() || !service.remain_after_exit) {
            return Some(BadSetting::NoCommand);
        }
        if service.kind != ServiceType::Oneshot {
            return (count > 1).then_some(BadSetting::SeveralCommands);
        }
        match service.restart {
            Restart::Always => Some(BadSetting::OneshotRestart("always")),
            Restart::OnSuccess => Some(BadSetting::OneshotRestart("on-success")),
            _ => None,
        }
    }
}
