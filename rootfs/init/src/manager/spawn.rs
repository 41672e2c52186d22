//! From a unit's `Exec…=` line and context to a [`Plan`] that the child carries out
//! (systemd.exec(5)).

use super::gather::{Files, content};
use super::isolate::{CREDENTIALS, Isolated, Who, is_private};
use super::log::Header;
use super::{Manager, accounts};
use crate::engine::{ExitStatus, Role, UnitId};
use crate::unit::command::environment_file;
use crate::unit::config::{Context, DIRECTORIES, DirectoryKind, NotifyAccess, Phase, Stream};
use crate::unit::execution::OomPolicy;
use crate::unit::isolation::IsolationError;
use crate::unit::resource::Resources;
use crate::unit::value::signal_name;
use nix::fcntl::OFlag;
use nix::libc::{O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use sys::process::{Folder, Plan, Step, Stream as ChildStream};

/// Where programs without a path are looked up, and `$PATH` of every unit.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// The largest environment file read.
const MAX_SMALL_BYTES: u64 = 1 << 20;

/// Why a process was not even forked.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpawnError {
    #[error("user {0} does not exist")]
    User(String),
    #[error("group {0} does not exist")]
    Group(String),
    #[error("environment file {path}: {error}")]
    EnvironmentFile { path: String, error: io::Error },
    #[error("credential {id} from {path}: {error}")]
    Credential { id: String, path: String, error: io::Error },
    #[error("step {0}: no namespace: {1}")]
    Namespace(Step, io::Error),
    #[error("every number for dynamic users is taken")]
    NoUserLeft,
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error("a NUL byte in {0}")]
    Nul(&'static str),
    #[error("the command is gone from the unit file")]
    NoCommand,
    #[error("a stream is to be a socket, and there is none: start it by its socket unit")]
    NoSocket,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// `ExecSearchPath=`, or the default.
fn search(context: &Context) -> &str {
    let own = context.execution.as_ref().map(|execution| execution.search_path.as_str());
    own.filter(|own| !own.is_empty()).unwrap_or(SEARCH)
}

/// Everything for one process.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    /// Why the journal will not hear it.
    pub(super) unheard: Option<io::Error>,
    pub(super) slice: String,
    pub(super) limits: Resources,
    /// Who owns the cgroup, with `Delegate=`.
    pub(super) delegate: Option<(u32, u32)>,
}

pub(super) fn c(text: impl Into<Vec<u8>>, what: &'static str) -> Result<CString, SpawnError> {
    CString::new(text).map_err(|_| SpawnError::Nul(what))
}

pub(super) fn path_c(path: &Path) -> Result<CString, SpawnError> {
    c(path.as_os_str().as_encoded_bytes(), "a path")
}

impl Manager {
    pub(super) fn prepare(
        &self,
        id: UnitId,
        phase: Phase,
        index: usize,
        files: &Files,
    ) -> Result<Prepared, SpawnError> {
        let unit = self.engine.unit(id);
        let service = unit.service.as_deref().ok_or(SpawnError::NoCommand)?;
        let command = service.commands(phase).get(index).ok_or(SpawnError::NoCommand)?;
        let context = &service.context;
        let user = context
            .user
            .as_deref()
            .map(|name| accounts::user(name).ok_or_else(|| SpawnError::User(name.to_owned())));
        let user = match self.dynamic_user(id) {
            Some(user) => Some(user),
            None => user.transpose()?,
        };
        let group = |name: &String| accounts::group(name).ok_or_else(|| SpawnError::Group(name.clone()));
        let gid = match (&context.group, &user) {
            (Some(name), _) => Some(group(name)?),
            (None, Some(user)) => Some(user.gid),
            (None, None) => None,
        };
        let mut groups: Vec<u32> =
            context.supplementary_groups.iter().map(group).collect::<Result<_, _>>()?;
        if let Some(user) = &user {
            groups.extend(accounts::groups_of(&user.name));
        }
        groups.extend(gid);
        groups.sort_unstable();
        groups.dedup();

        let environment = self.environment(id, phase, context, user.as_ref(), files)?;
        let arguments = command.arguments(&environment);
        let programs = if command.program.starts_with('/') {
            vec![c(command.program.as_str(), "the program")?]
        } else {
            let paths = search(context)
                .split(':')
                .map(|folder| c(format!("{folder}/{}", command.program), "the program"));
            paths.collect::<Result<_, _>>()?
        };
        let (streams, unheard) = self.streams(id, &command.program, context)?;
        let only_start = context.execution.as_ref().is_some_and(|execution| execution.permissions_start_only);
        let privileged = command.privileged || only_start && phase != Phase::Start;
        let owner = (user.as_ref().map_or(0, |user| user.uid), gid.unwrap_or(0));
        let uid = if privileged { 0 } else { owner.0 };
        let Isolated { isolation, no_new_privileges, dropped } =
            self.isolate(id, context, &Who { owner: (uid, owner.1), unconfined: command.unconfined }, files)?;
        let all = (1_u64 << (sys::process::LAST_CAPABILITY + 1)) - 1;
        let bounding_set = match (context.bounding_set, dropped) {
            (None, 0) => None,
            (kept, dropped) => Some(kept.unwrap_or(all) & !dropped),
        };
        let directory = match &context.working_directory {
            None => Some((PathBuf::from("/"), false)),
            Some(directory) => {
                let home = || PathBuf::from(user.as_ref().map_or("/root", |user| user.home.as_str()));
                Some((directory.path.clone().unwrap_or_else(home), directory.optional))
            }
        };
        let plan = Plan {
            programs,
            arguments: arguments.into_iter().map(|text| c(text, "an argument")).collect::<Result<_, _>>()?,
            environment: environment
                .iter()
                .map(|(key, value)| c(format!("{key}={value}"), "the environment"))
                .collect::<Result<_, _>>()?,
            streams,
            folders: folders(context)?,
            groups: gid.or(groups.first().map(|_| 0)).filter(|_| !privileged).map(|gid| (gid, groups)),
            user: user.as_ref().map(|user| user.uid).filter(|_| !privileged),
            owner,
            directory: directory
                .map(|(path, optional)| Ok::<_, SpawnError>((path_c(&path)?, optional)))
                .transpose()?,
            umask: context.umask,
            limits: self.limits(context),
            nice: context.nice,
            oom_score_adjust: context.oom_score_adjust.map(|n| c(n.to_string(), "a number")).transpose()?,
            no_new_privileges: (context.no_new_privileges && !privileged) || no_new_privileges,
            bounding_set: bounding_set.filter(|_| !command.unconfined),
            ambient: if privileged { 0 } else { context.ambient },
            ignore_sigpipe: context.ignore_sigpipe,
            isolation,
        };
        let slice = context.slice.as_ref().map_or("system.slice", |name| name.as_str());
        let mut limits = context.cgroup.effective(self.is_booting());
        let execution = context.execution.as_deref();
        if service.oom_policy() == OomPolicy::Kill {
            limits.files.insert("memory.oom.group", "1".to_owned());
        }
        let delegate = execution.is_some_and(|execution| execution.delegate).then_some(owner);
        Ok(Prepared { plan, unheard, slice: slice_path(slice), limits, delegate })
    }

    fn limits(&self, context: &Context) -> Vec<(&'static str, u64, u64)> {
        let (soft, hard) = self.file_limit;
        let own = context.limits.iter().map(|(name, (soft, hard))| (*name, *soft, *hard));
        // PID 1's own limit is not for others.
        let files = (!context.limits.contains_key("NOFILE")).then_some(("NOFILE", soft, hard));
        own.chain(files).collect()
    }

    fn environment(
        &self,
        id: UnitId,
        phase: Phase,
        context: &Context,
        user: Option<&accounts::User>,
        files: &Files,
    ) -> Result<BTreeMap<String, String>, SpawnError> {
        // `systemctl set-environment`; what is set below wins.
        let mut found: BTreeMap<String, String> = self.environment.clone();
        let mut set = |key: &str, value: &str| _ = found.insert(key.to_owned(), value.to_owned());
        for (name, default) in [("PATH", search(context)), ("LANG", "C.UTF-8")] {
            if !self.environment.contains_key(name) {
                set(name, default);
            }
        }
        if let Some(user) = user {
            set("USER", &user.name);
            set("LOGNAME", &user.name);
            set("HOME", &user.home);
            set("SHELL", &user.shell);
        }
        for key in &context.pass_environment {
            // PID 1's own environment: what the kernel command line left over (init(1)).
            if let Ok(value) = std::env::var(key) {
                set(key, &value);
            }
        }
        for (_, kind, parent, variable) in DIRECTORIES {
            let names = context.directories.get(&kind).map_or(&[][..], |entry| &entry.names);
            if !names.is_empty() {
                let paths: Vec<String> = names.iter().map(|name| format!("{parent}/{name}")).collect();
                set(variable, &paths.join(":"));
            }
        }
        if context.execution.as_ref().is_some_and(|execution| !execution.credentials.is_empty()) {
            let folder = Path::new(CREDENTIALS).join(self.engine.unit(id).name.as_str());
            set("CREDENTIALS_DIRECTORY", &folder.to_string_lossy());
        }
        let service = self.engine.unit(id).service.as_deref();
        if service.is_some_and(|service| service.notify_access() != NotifyAccess::None) {
            set("NOTIFY_SOCKET", &self.paths.runtime.join("notify").to_string_lossy());
        }
        if let Some(interval) = service.and_then(|service| service.watchdog) {
            set("WATCHDOG_USEC", &interval.as_micros().to_string());
        }
        let state = self.engine.state(id);
        let main = self.processes.pid(id, Role::Main);
        if main > 0 && phase != Phase::Start {
            set("MAINPID", &main.to_string());
        }
        if matches!(phase, Phase::Stop | Phase::StopPost) {
            set("SERVICE_RESULT", &state.result.to_string());
            match state.main_exit {
                Some(ExitStatus::Code(code)) => {
                    set("EXIT_CODE", "exited");
                    set("EXIT_STATUS", &code.to_string());
                }
                Some(ExitStatus::Signal(signal, core)) => {
                    set("EXIT_CODE", if core { "dumped" } else { "killed" });
                    set("EXIT_STATUS", &signal_name(signal));
                }
                None => {}
            }
        }
        found.extend(context.environment.iter().cloned());
        for (path, optional) in &context.environment_files {
            match content(files, Path::new(path)).and_then(text) {
                Ok(text) => found.extend(environment_file(text)),
                Err(error) if *optional && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(SpawnError::EnvironmentFile { path: path.clone(), error }),
            }
        }
        for unset in &context.unset_environment {
            match unset.split_once('=') {
                Some((key, value)) if found.get(key).is_some_and(|old| old == value) => _ = found.remove(key),
                Some(_) => {}
                None => _ = found.remove(unset),
            }
        }
        Ok(found)
    }

    fn streams(
        &self,
        id: UnitId,
        program: &str,
        context: &Context,
    ) -> Result<([ChildStream; 3], Option<io::Error>), SpawnError> {
        let tty = || path_c(&context.tty_path);
        let socket = || {
            let fd = self.standard_socket(id).ok_or(SpawnError::NoSocket)?;
            // Programs that know nothing of sockets expect reads that wait.
            super::sockets::set_blocking(fd, true)?;
            Ok::<_, SpawnError>(ChildStream::Fd(fd.try_clone()?))
        };
        let null = |flags| Ok::<_, SpawnError>(ChildStream::Open(c("/dev/null", "a path")?, flags));
        let stdin = match &context.stdin {
            Stream::Tty => ChildStream::Open(tty()?, O_RDWR),
            Stream::Data => {
                let input = context.execution.as_ref().map_or(&[][..], |execution| &execution.input);
                ChildStream::Fd(sys::process::memory_file(c"stdin", input)?)
            }
            Stream::File(path) => ChildStream::Open(path_c(path)?, O_RDONLY),
            Stream::Socket => socket()?,
            _ => null(O_RDONLY)?,
        };
        let mut unheard = None;
        let base = Path::new(program).file_name().map(|name| name.to_string_lossy().into_owned());
        let identifier = context.syslog_identifier.clone().or(base);
        let identifier = identifier.unwrap_or_else(|| self.engine.unit(id).name.as_str().to_owned());
        let mut output = |stream: &Stream, first: bool| {
            Ok::<_, SpawnError>(match stream {
                // stdin is never something to write to, unless it is a terminal.
                Stream::Inherit if first && !matches!(context.stdin, Stream::Tty | Stream::Socket) => {
                    null(O_WRONLY)?
                }
                Stream::Socket => socket()?,
                Stream::Inherit => ChildStream::Same,
                Stream::Tty => ChildStream::Open(tty()?, O_RDWR),
                Stream::File(path) => ChildStream::Open(path_c(path)?, O_WRONLY | O_CREAT),
                Stream::Append(path) => ChildStream::Open(path_c(path)?, O_WRONLY | O_CREAT | O_APPEND),
                Stream::Truncate(path) => ChildStream::Open(path_c(path)?, O_WRONLY | O_CREAT | O_TRUNC),
                Stream::Journal | Stream::JournalAndConsole if self.has_journal() => {
                    let header = Header {
                        identifier: identifier.clone(),
                        unit: self.engine.unit(id).name.as_str().to_owned(),
                        priority: context.syslog_level,
                        level_prefix: context.syslog_level_prefix,
                        console: *stream == Stream::JournalAndConsole,
                    };
                    match self.log.stream(&header) {
                        Ok(stream) => ChildStream::Fd(stream),
                        Err(error) => {
                            unheard = Some(error);
                            null(O_WRONLY)?
                        }
                    }
                }
                // Without a daemon nobody would read it.
                Stream::Null | Stream::Data | Stream::Journal | Stream::JournalAndConsole => null(O_WRONLY)?,
            })
        };
        let stdout = output(&context.stdout, true)?;
        let stderr = output(&context.stderr, false)?;
        Ok(([stdin, stdout, stderr], unheard))
    }
}

/// A small regular file; what else a service may put in its place could block, or never end.
pub(super) fn read_small(path: &Path) -> io::Result<String> {
    text(&read_bytes(path)?).map(str::to_owned)
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}

/// As [`read_small`], of any bytes.
pub(super) fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SMALL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The folders to be made, parents first.
fn folders(context: &Context) -> Result<Vec<Folder>, SpawnError> {
    let dynamic = context.sandbox.as_ref().is_some_and(|sandbox| sandbox.dynamic_user);
    let mut found = Vec::new();
    for (_, kind, parent, _) in DIRECTORIES {
        let step = match kind {
            DirectoryKind::RuntimeDirectory => Step::RuntimeDirectory,
            DirectoryKind::StateDirectory => Step::StateDirectory,
            DirectoryKind::CacheDirectory => Step::CacheDirectory,
            DirectoryKind::LogsDirectory => Step::LogsDirectory,
            DirectoryKind::ConfigurationDirectory => Step::ConfigurationDirectory,
        };
        let Some(entry) = context.directories.get(&kind) else { continue };
        for name in &entry.names {
            let mut path =
                if dynamic && is_private(kind) { format!("{parent}/private") } else { parent.to_owned() };
            let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
            for (index, part) in parts.iter().enumerate() {
                path = format!("{path}/{part}");
                let own = index + 1 == parts.len() && kind != DirectoryKind::ConfigurationDirectory;
                found.push(Folder { path: c(path.as_str(), "a path")?, mode: entry.mode, own, step });
            }
        }
    }
    Ok(found)
}

/// `a-b.slice` lies in `a.slice` (systemd.slice(5)).
pub(super) fn slice_path(name: &str) -> String {
    let stem = name.strip_suffix(".slice").unwrap_or(name);
    if stem == "-" {
        return String::new();
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    ends.map(|end| format!("{}.slice", &stem[..end])).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_nest() {
        assert_eq!(slice_path("system.slice"), "system.slice");
        assert_eq!(slice_path("a-b-c.slice"), "a.slice/a-b.slice/a-b-c.slice");
        assert_eq!(slice_path("-.slice"), "");
    }
}
