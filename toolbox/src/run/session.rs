//! A session of a running kept box: its monitor outside, and inside the process that starts its command.

use super::terminal::Terminal;
use super::{cgroup, code, init, monitor, remains, wire};
use crate::kept::record::Running;
use crate::namespace::Namespace;
use crate::plan::Plan;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2, read, write};
use seccompiler::BpfProgram;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What the monitor sends to the process in the box when the front is gone: nobody else does.
pub(super) const END: Signal = Signal::SIGPWR;
/// How long that may take to end all that the session started.
const PATIENCE_MS: u16 = 2000;

/// The box's first process, as a descriptor of it, and what is known of it.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) first: OwnedFd,
    pub(super) running: Running,
}

impl Joined {
    /// Joins those of its namespaces that are of some kinds.
    fn join(&self, kinds: impl Fn(Namespace) -> bool) -> nix::Result<()> {
        let own = self.running.namespaces.iter().filter(|kind| kinds(**kind));
        let flags = own.fold(0, |flags, kind| flags | kind.clone_flag());
        if flags == 0 { Ok(()) } else { setns(&self.first, CloneFlags::from_bits_truncate(flags as i32)) }
    }
}

/// Namespaces that the monitor has to be in before it forks. It stays in the host's mount namespace, whose
/// procfs shows it what is to be ended.
fn is_early(kind: Namespace) -> bool {
    matches!(kind, Namespace::User | Namespace::Pid)
}

/// The monitor's life.
pub(super) fn main(
    plan: &Plan,
    filters: &[BpfProgram],
    joined: &Joined,
    terminal: Option<&Terminal>,
    control: &OwnedFd,
    events: &OwnedFd,
) -> ! {
    if let Err((doing, error)) = watch(plan, filters, joined, control, events) {
        wire::failed(events, code::FAILED, &format!("{doing}: {error}"));
    }
    if let Some(terminal) = terminal {
        terminal.restore();
    }
    super::leave(0)
}

type Failure = (&'static str, io::Error);

fn watch(
    plan: &Plan,
    filters: &[BpfProgram],
    joined: &Joined,
    control: &OwnedFd,
    events: &OwnedFd,
) -> Result<(), Failure> {
    let at = |doing: &'static str| move |error: nix::Error| (doing, io::Error::from(error));
    nix::unistd::setsid().map_err(at("make a session"))?;
    let _ = rustix::thread::set_name(c"toolbox-session");
    nix::sys::prctl::set_child_subreaper(true).map_err(at("become a subreaper"))?;
    let (go_end, go) = pipe2(OFlag::O_CLOEXEC).map_err(at("make a pipe"))?;
    joined.join(is_early).map_err(at("join the box"))?;
    let Some(child) = cgroup::fork(0, joined.running.cgroup.as_deref())? else {
        drop(go);
        inside(plan, filters, joined, &go_end, events);
    };
    drop(go_end);
    // One that is gone has said why.
    let _ = write(&go, &[1]);
    let ended = monitor::forward(child, control, Some(&joined.first), None);
    end(child);
    let _ = sys::process::kill(child, nix::libc::SIGKILL);
    let _ = waitpid(Pid::from_raw(child), None);
    remains::end_all();
    ended
}

/// Has the process in the box end what it started, which it alone sees as its own.
fn end(child: i32) {
    if sys::process::kill(child, END as i32).is_ok()
        && let Ok(gone) = sys::process::watch_exit(child)
    {
        // What stays in spite of this ends with the box.
        let _ = poll(&mut [PollFd::new(gone.as_fd(), PollFlags::POLLIN)], PATIENCE_MS);
    }
}

/// The process that the command is a child of.
fn inside(plan: &Plan, filters: &[BpfProgram], joined: &Joined, go: &OwnedFd, events: &OwnedFd) -> ! {
    let code = match live(plan, filters, joined, go, events) {
        Ok(code) => code,
        Err(text) => {
            wire::failed(events, code::FAILED, &text);
            code::FAILED
        }
    };
    super::leave(code)
}

fn live(
    plan: &Plan,
    filters: &[BpfProgram],
    joined: &Joined,
    go: &OwnedFd,
    events: &OwnedFd,
) -> Result<u8, String> {
    let at = |doing: &'static str| move |error: nix::Error| format!("{doing}: {error}");
    if read(go, &mut [0]) != Ok(1) {
        super::leave(code::FAILED);
    }
    joined.join(|kind| !is_early(kind)).map_err(at("join the box"))?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(at("follow the monitor"))?;
    let _ = rustix::thread::set_name(c"toolbox-session");
    nix::sys::prctl::set_child_subreaper(true).map_err(at("become a subreaper"))?;
    // Refused where a single id is mapped; there are no groups then that could be used.
    let _ = nix::unistd::setgroups(&[]);
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let slave = if plan.terminal { Some(init::terminal(events)?) } else { None };
    let mut mask = SigSet::thread_get_mask().map_err(at("look at the signals"))?;
    mask.add(Signal::SIGCHLD);
    mask.add(END);
    mask.thread_block().map_err(at("block signals"))?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).map_err(at("make a signalfd"))?;
    let command = init::start(plan, filters, slave.as_ref(), events, None)?;
    drop(slave);
    let code = init::attend(command, &signals)?;
    // What a session started ends with it, as with a box that is not kept.
    remains::end_all();
    wire::ended(events, code);
    Ok(code)
}
