//! The first process in the box: makes it, starts the command, and reaps what is left to it.

use super::monitor::code_of;
use super::{code, join, remains, report, root, seccomp, wire};
use crate::namespace::Namespace;
use crate::plan::Plan;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, read};
use rustix::pty::OpenptFlags;
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::BpfProgram;
use std::ffi::{CString, NulError};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// What init has of the others.
pub(super) struct Ties<'a> {
    /// See [`main`].
    pub go: &'a OwnedFd,
    /// Messages to the front.
    pub events: &'a OwnedFd,
    /// Messages to the monitor, for the report.
    pub notes: Option<&'a OwnedFd>,
    /// The process whose namespaces are joined.
    pub target: Option<&'a OwnedFd>,
}

/// Init's life. `go` is readable when the monitor has done its part, and at its end when the monitor is gone.
pub(super) fn main(plan: &Plan, filters: &[BpfProgram], ties: &Ties<'_>) -> ! {
    let events = ties.events;
    let code = match live(plan, filters, ties) {
        Ok(code) => code,
        Err(text) => {
            wire::failed(events, code::FAILED, &text);
            code::FAILED
        }
    };
    super::leave(code)
}

/// Init's life in a kept box, whose commands others start. It writes to `ready` when the box can be entered.
pub(super) fn keep(plan: &Plan, go: &OwnedFd, events: &OwnedFd, ready: &OwnedFd) -> ! {
    if let Err(text) = prepare_box(plan, go, None).and_then(|_| reap(ready)) {
        wire::failed(events, code::FAILED, &text);
    }
    super::leave(code::FAILED)
}

/// Reaps what sessions leave, until the keeper ends it.
fn reap(ready: &OwnedFd) -> Result<(), String> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().map_err(|error| format!("block signals: {error}"))?;
    nix::unistd::write(ready, &[1]).map_err(|error| format!("tell the keeper: {error}"))?;
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        mask.wait().map_err(|error| format!("hear signals: {error}"))?;
    }
}

fn live(plan: &Plan, filters: &[BpfProgram], ties: &Ties<'_>) -> Result<u8, String> {
    let own = |kind| plan.namespaces.contains(&kind);
    if let Some(code) = prepare_box(plan, ties.go, ties.target)? {
        return Ok(code);
    }
    let slave = if plan.terminal { Some(terminal(ties.events)?) } else { None };
    let signals = signals().map_err(at("hear signals"))?;
    let command = start(plan, filters, slave.as_ref(), ties.events, ties.notes)?;
    drop(slave);
    let code = attend(command, &signals)?;
    if let Some(notes) = ties.notes {
        for name in remains::names(own(Namespace::Pid)) {
            wire::process(notes, &name);
        }
    }
    if !own(Namespace::Pid) {
        remains::end_all();
    }
    wire::ended(ties.events, code);
    Ok(code)
}

/// Makes the box, up to its root. Gives a code in a process that only was in between, when what it waited for has
/// ended.
fn prepare_box(plan: &Plan, go: &OwnedFd, target: Option<&OwnedFd>) -> Result<Option<u8>, String> {
    let own = |kind| plan.namespaces.contains(&kind);
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(at("follow the monitor"))?;
    if read(go, &mut [0]) != Ok(1) {
        super::leave(code::FAILED);
    }
    let _ = rustix::thread::set_name(c"toolbox-init");
    if let Some(target) = target {
        join::enter(plan, target)?;
        if join::from_within(plan) {
            let signals = signals().map_err(at("hear signals"))?;
            if let Some(child) = sys::fork::fork(0, None).map_err(|error| format!("fork: {error}"))? {
                return attend(child, &signals).map(Some);
            }
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(at("follow its parent"))?;
            nix::sys::prctl::set_child_subreaper(true).map_err(at("become a subreaper"))?;
        }
    }
    nix::sys::prctl::set_child_subreaper(true).map_err(at("become a subreaper"))?;
    if own(Namespace::Cgroup) {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP)
            .map_err(at("make a cgroup namespace"))?;
    }
    // Refused where a single id is mapped; there are no groups then that could be used.
    let _ = nix::unistd::setgroups(&[]);
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    if own(Namespace::Uts) {
        nix::unistd::sethostname(&plan.host_name).map_err(at("set the host name"))?;
    }
    if own(Namespace::Net) {
        loopback_up().map_err(at("bring the loopback link up"))?;
    }
    root::make(plan, target)?;
    Ok(None)
}

/// The signals that came blocked, and of children.
fn signals() -> nix::Result<SignalFd> {
    let mut mask = SigSet::thread_get_mask()?;
    mask.add(Signal::SIGCHLD);
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC)
}

/// Reaps and passes signals on until the command has ended.
pub(super) fn attend(command: i32, signals: &SignalFd) -> Result<u8, String> {
    loop {
        let info = match signals.read_signal() {
            Ok(Some(info)) => info,
            Ok(None) | Err(Errno::EINTR) => continue,
            Err(error) => return Err(format!("hear signals: {error}")),
        };
        if info.ssi_signo != Signal::SIGCHLD as u32 {
            let asked = info.ssi_signo as i32;
            let sent = if asked == super::session::END as i32 { nix::libc::SIGKILL } else { asked };
            let _ = sys::process::kill(command, sent);
            continue;
        }
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status {
                WaitStatus::StillAlive => break,
                status if status.pid() == Some(Pid::from_raw(command)) => return Ok(code_of(status)),
                _ => {}
            }
        }
    }
}

/// Makes the box's terminal, sends its outer side to the front, and gives its inner side.
pub(super) fn terminal(events: &OwnedFd) -> Result<OwnedFd, String> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/ptmx", flags, rustix::fs::Mode::empty())
        .map_err(|error| format!("open /dev/ptmx: {error}"))?;
    rustix::pty::unlockpt(&master).map_err(|error| format!("unlock the terminal: {error}"))?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )
    .map_err(|error| format!("open the terminal: {error}"))?;
    wire::terminal(events, &master).map_err(|error| format!("send the terminal: {error}"))?;
    Ok(slave)
}

/// Starts the command; gives its process id.
pub(super) fn start(
    plan: &Plan,
    filters: &[BpfProgram],
    slave: Option<&OwnedFd>,
    events: &OwnedFd,
    notes: Option<&OwnedFd>,
) -> Result<i32, String> {
    let command = Executable::of(plan).map_err(|error| format!("look at the command: {error}"))?;
    sys::fork::borrow(&mut || {
        let (code, text) = match prepare(plan, filters, slave, notes) {
            Err(text) => (code::FAILED, text),
            Ok(()) => {
                let error = command.execute();
                let missing = error == Errno::ENOENT;
                let code = if missing { code::NOT_FOUND } else { code::NOT_EXECUTABLE };
                let name = plan.command.first().map_or("", String::as_str);
                (code, format!("{name}: {}", io::Error::from(error)))
            }
        };
        wire::failed(events, code, &text);
        code
    })
    .map_err(|error| format!("fork: {error}"))
}

/// A command as execve(2) takes it.
struct Executable {
    /// Where it may be, the first that is there.
    paths: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Executable {
    fn of(plan: &Plan) -> Result<Self, NulError> {
        let name = plan.command.first().map_or("", String::as_str);
        let folders = plan.environment.get("PATH").map_or("/bin:/usr/bin", String::as_str);
        let paths: Result<_, _> = if name.contains('/') {
            CString::new(name).map(|path| vec![path])
        } else {
            // An empty one is the working folder, environ(7); an empty name is nowhere.
            let path = |folder: &str| match folder {
                "" => CString::new(name),
                folder => CString::new(format!("{folder}/{name}")),
            };
            folders.split(':').filter(|_| !name.is_empty()).map(path).collect()
        };
        let mut arguments: Vec<String> = plan.command.clone();
        if is_shell(plan) {
            // A login shell reads the image's profile.
            arguments[0] = format!("-{}", name.rsplit('/').next().unwrap_or(name));
        }
        let variable = |(name, value): (&String, &String)| CString::new(format!("{name}={value}"));
        Ok(Self {
            paths: paths?,
            arguments: arguments.into_iter().map(CString::new).collect::<Result<_, _>>()?,
            environment: plan.environment.iter().map(variable).collect::<Result<_, _>>()?,
        })
    }

    /// Becomes the command; comes back with why it cannot, as execvp(3) has it.
    fn execute(&self) -> Errno {
        let mut why = Errno::ENOENT;
        for path in &self.paths {
            let Err(mut error) = nix::unistd::execve(path, &self.arguments, &self.environment);
            if error == Errno::ENOEXEC {
                // A script that does not name who reads it.
                let script = [c"/bin/sh".to_owned(), path.clone()];
                let words: Vec<_> = script.iter().chain(self.arguments.iter().skip(1)).collect();
                Err(error) = nix::unistd::execve(c"/bin/sh", &words, &self.environment);
            }
            match error {
                Errno::ENOENT | Errno::ENOTDIR if why == Errno::EACCES => {}
                // One that may be executed may come later.
                Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES => why = error,
                other => return other,
            }
        }
        why
    }
}

/// Names what failed.
fn at<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{doing}: {error}")
}

/// In the command's process, all that comes before it.
fn prepare(
    plan: &Plan,
    filters: &[BpfProgram],
    slave: Option<&OwnedFd>,
    notes: Option<&OwnedFd>,
) -> Result<(), String> {
    nix::unistd::setsid().map_err(at("make a session"))?;
    SigSet::empty().thread_set_mask().map_err(at("allow signals"))?;
    if let Some(slave) = slave {
        rustix::process::ioctl_tiocsctty(slave).map_err(at("take the terminal"))?;
        rustix::stdio::dup2_stdin(slave).map_err(at("take the terminal"))?;
        rustix::stdio::dup2_stdout(slave).map_err(at("take the terminal"))?;
        rustix::stdio::dup2_stderr(slave).map_err(at("take the terminal"))?;
    }
    // As everybody expects; init has made what it made without one.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    sys::fork::close_on_exec().map_err(at("keep descriptors back"))?;
    nix::unistd::chdir(&plan.working_dir)
        .map_err(|error| format!("--workdir {}: {error}", plan.working_dir.display()))?;
    let keep = plan.capabilities.0;
    for one in CapabilitySet::all().iter().filter(|one| !keep.contains(*one)) {
        // EINVAL: newer than the kernel.
        let _ = rustix::thread::remove_capability_from_bounding_set(one);
    }
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    let have = rustix::thread::capabilities(None).map_err(at("look at the capabilities"))?;
    let sets = CapabilitySets {
        effective: sets.effective & have.permitted,
        permitted: sets.permitted & have.permitted,
        ..sets
    };
    rustix::thread::set_capabilities(None, sets).map_err(at("set the capabilities"))?;
    rustix::thread::set_no_new_privs(true).map_err(at("forbid new privileges"))?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(at("follow init"))?;
    if let Some(notes) = notes {
        let program = report::program().map_err(at("make the report's filter"))?;
        let listener = sys::seccomp::listen(&program).map_err(at("listen for the report"))?;
        wire::listener(notes, &listener).map_err(at("listen for the report"))?;
    }
    seccomp::apply(filters).map_err(at("filter the system calls"))
}

fn is_shell(plan: &Plan) -> bool {
    plan.terminal && plan.command.len() == 1 && plan.environment.get("SHELL") == plan.command.first()
}

/// `RTM_NEWLINK` for link 1 with `IFF_UP`, rtnetlink(7).
fn loopback_up() -> nix::Result<()> {
    use nix::libc::{IFF_UP, NLM_F_REQUEST, RTM_NEWLINK};
    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, send, socket};
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut message = [0_u8; 32];
    message[..4].copy_from_slice(&32_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST as u16).to_ne_bytes());
    message[20..24].copy_from_slice(&1_i32.to_ne_bytes());
    for place in [24, 28] {
        message[place..place + 4].copy_from_slice(&(IFF_UP as u32).to_ne_bytes());
    }
    send(socket.as_raw_fd(), &message, MsgFlags::empty()).map(drop)
}
