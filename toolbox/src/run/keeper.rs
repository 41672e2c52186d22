//! The process that a running kept box belongs to. No session is its parent, and it ends the box after the last.

use super::{cgroup, code, init, monitor, remains, wire};
use crate::kept::lock::Lock;
use crate::kept::record::Running;
use crate::namespace::Namespace;
use crate::plan::Plan;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2, read, write};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

type Failure = (&'static str, io::Error);

fn at<E: Into<io::Error>>(doing: &'static str) -> impl Fn(E) -> Failure {
    move |error| (doing, error.into())
}

/// The cgroup of a box: always the same, so that what a killed keeper left is found and ended.
pub(super) fn folder(plan: &Plan, folder: &Path, name: &str) -> Option<PathBuf> {
    let meta = fs::metadata(folder).ok()?;
    Some(plan.cgroup.as_ref()?.parent.join(format!("toolbox-{name}-{:x}-{:x}", meta.dev(), meta.ino())))
}

/// The keeper's life. It has the gate from whoever started it, and gives it up when the box can be entered.
pub(super) fn main(plan: &Plan, group: Option<&Path>, gate: Lock, events: &OwnedFd) -> ! {
    let code = match keep(plan, group, gate, events) {
        Ok(()) => 0,
        Err((doing, error)) => {
            wire::failed(events, code::FAILED, &format!("{doing}: {error}"));
            1
        }
    };
    super::leave(code)
}

fn keep(plan: &Plan, group: Option<&Path>, gate: Lock, events: &OwnedFd) -> Result<(), Failure> {
    // Neither the terminal nor the streams of the first session are the box's.
    nix::unistd::setsid().map_err(at("make a session"))?;
    let _ = rustix::thread::set_name(c"toolbox-keeper");
    let null = fs::File::options().read(true).write(true).open("/dev/null").map_err(at("open /dev/null"))?;
    rustix::stdio::dup2_stdin(&null).map_err(at("leave the streams"))?;
    rustix::stdio::dup2_stdout(&null).map_err(at("leave the streams"))?;
    rustix::stdio::dup2_stderr(&null).map_err(at("leave the streams"))?;
    nix::unistd::chdir("/").map_err(at("leave the working folder"))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(at("become a subreaper"))?;
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        mask.add(signal);
    }
    let lock = gate.again().map_err(at("open the box's lock"))?;
    lock.run().map_err(at("lock the box"))?;
    if let (Some(cgroup), Some(group)) = (&plan.cgroup, group) {
        cgroup::make(cgroup, group).map_err(at("make the box's cgroup"))?;
    }
    let (go_end, go) = pipe2(OFlag::O_CLOEXEC).map_err(at("make a pipe"))?;
    let (ready_end, ready) = pipe2(OFlag::O_CLOEXEC).map_err(at("make a pipe"))?;
    let flags = plan.namespaces.iter().fold(0, |flags, kind| flags | kind.clone_flag());
    let forked = cgroup::fork(flags & !Namespace::Cgroup.clone_flag(), group);
    let Some(child) = forked.or_else(|error| abandon(group, error))? else {
        // What is open in the box's first process is not for those in the box.
        drop((go, ready_end, gate, lock));
        init::keep(plan, &go_end, events, &ready);
    };
    drop((go_end, ready));
    let ended = (|| {
        if let Some(ids) = &plan.ids {
            monitor::map(child, ids)?;
        }
        // One that is gone has said why.
        let _ = write(&go, &[1]);
        if read(&ready_end, &mut [0]) != Ok(1) {
            return Ok(());
        }
        let running = Running::of(child, &plan.namespaces, group).map_err(at("look at the box"))?;
        lock.tell(&running).map_err(at("write down the box's first process"))?;
        mask.thread_block().map_err(at("block signals"))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).map_err(at("make a signalfd"))?;
        gate.open_gate().map_err(at("open the box's gate"))?;
        drop(gate);
        wire::ready(events);
        attend(child, &lock, &signals)
    })();
    let _ = sys::process::kill(child, nix::libc::SIGKILL);
    let _ = waitpid(Pid::from_raw(child), None);
    remains::end_all();
    if let Some(group) = group {
        cgroup::remove(group).map_err(at("remove the box's cgroup"))?;
    }
    ended
}

fn abandon<T>(group: Option<&Path>, error: Failure) -> Result<T, Failure> {
    if let Some(group) = group {
        // What failed is what is told.
        let _ = cgroup::remove(group);
    }
    Err(error)
}

/// Waits for the box's first process to end, the last session, or a signal.
fn attend(child: i32, lock: &Lock, signals: &SignalFd) -> Result<(), Failure> {
    let first = sys::process::watch_exit(child).map_err(at("watch the box"))?;
    let own = std::process::id();
    let Some(waiter) = sys::fork::fork(0, None).map_err(at("fork"))? else {
        // Waiting for a lock is all that it does.
        let followed = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).is_ok();
        let alone = nix::unistd::getppid().as_raw() as u32 != own;
        super::leave(u8::from(!followed || alone || lock.wait_deserted().is_err()));
    };
    let deserted = sys::process::watch_exit(waiter).map_err(at("watch the sessions"))?;
    loop {
        let mut fds = [first.as_fd(), deserted.as_fd(), signals.as_fd()]
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop).map_err(at("wait")),
        }
    }
}
