//! The process in the user's terminal.

use super::terminal::Terminal;
use super::wire::{self, Event};
use super::{Doing, RunError, cgroup, code, monitor, remains, seccomp};
use crate::plan::Plan;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{pipe2, read, write};
use rustix::fs::{MemfdFlags, memfd_create};
use seccompiler::BpfProgram;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Signals that are passed on to the command.
const PASSED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGALRM,
];

/// What a command may take to end when its terminal is gone.
const GRACE: Duration = Duration::from_secs(1);

/// What a monitor is given.
pub(super) struct Parts<'a> {
    /// Filters of system calls.
    pub(super) filters: &'a [BpfProgram],
    /// The user's terminal.
    pub(super) terminal: Option<&'a Terminal>,
    /// From the front: signals; at its end when the front is gone.
    pub(super) control: &'a OwnedFd,
    /// To the front.
    pub(super) events: &'a OwnedFd,
    /// Where the report goes.
    pub(super) report: Option<&'a File>,
}

/// Runs a box to its end; gives the command's exit code, 128 and more for a signal.
///
/// # Errors
/// See [`RunError`]. Whatever is returned, nothing of the box is left.
pub fn run(plan: &Plan) -> Result<u8, RunError> {
    let folder = plan.cgroup.as_ref().map(cgroup::folder);
    let ended = attend(plan, |parts| monitor::main(plan, folder.as_deref(), parts));
    // In order, nothing is left by now. If the monitor was killed, its work is done here.
    if let Some(folder) = folder {
        cgroup::remove(&folder).doing("remove the box's cgroup")?;
    }
    ended
}

/// Has a monitor run a session, and relays between it and the user's terminal until it has ended. The monitor
/// does not return.
pub(super) fn attend(
    plan: &Plan,
    monitor: impl FnOnce(&Parts<'_>) -> Result<u8, RunError>,
) -> Result<u8, RunError> {
    let filters = seccomp::compile(&plan.seccomp, plan.capabilities)?;
    let mut mask = SigSet::empty();
    PASSED.iter().chain([&Signal::SIGWINCH, &Signal::SIGCHLD]).for_each(|signal| mask.add(*signal));
    mask.thread_block().doing("block signals")?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .doing("make a signalfd")?;
    let (events, box_events) = wire::pair().doing("make a socket")?;
    let (control_end, control) = pipe2(OFlag::O_CLOEXEC).doing("make a pipe")?;
    let terminal =
        if plan.terminal { Some(Terminal::of_input().doing("look at the terminal")?) } else { None };
    let report = plan.report.then(|| memfd_create("toolbox-report", MemfdFlags::CLOEXEC)).transpose();
    let report = report.doing("make room for the report")?.map(File::from);
    nix::sys::prctl::set_child_subreaper(true).doing("become a subreaper")?;
    let Some(child) = sys::fork::fork(0, None).doing("fork")? else {
        drop((events, control, signals));
        let parts = Parts {
            filters: &filters,
            terminal: terminal.as_ref(),
            control: &control_end,
            events: &box_events,
            report: report.as_ref(),
        };
        return monitor(&parts);
    };
    drop((box_events, control_end));
    let mut front = Front { events, control, signals, terminal, master: None, outcome: None, deadline: None };
    let result = front.relay();
    if let Some(terminal) = &front.terminal {
        terminal.restore();
    }
    drop(front.control);
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None);
    remains::end_all();
    if let Some(report) = report {
        tell(report).doing("tell the report")?;
    }
    result?;
    front.outcome.unwrap_or(Err(RunError::Killed))
}

/// Shows what the monitor wrote.
fn tell(mut report: File) -> io::Result<()> {
    let mut text = String::new();
    report.seek(SeekFrom::Start(0))?;
    report.read_to_string(&mut text)?;
    if text.is_empty() {
        text.push_str("toolbox: report: there is none, since the box was killed\n");
    }
    io::stderr().write_all(text.as_bytes())
}

struct Front {
    events: OwnedFd,
    control: OwnedFd,
    signals: SignalFd,
    terminal: Option<Terminal>,
    master: Option<OwnedFd>,
    outcome: Option<Result<u8, RunError>>,
    /// When the terminal is gone: until when the command may end by itself.
    deadline: Option<Instant>,
}

impl Front {
    /// Until the box is no more.
    fn relay(&mut self) -> Result<(), RunError> {
        let mut input_open = true;
        let mut pending: Vec<u8> = Vec::new();
        loop {
            let stdin = io::stdin();
            let (ready, wanted) = {
                let mut fds = vec![
                    PollFd::new(self.events.as_fd(), PollFlags::POLLIN),
                    PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                ];
                if let Some(master) = &self.master {
                    let out = if pending.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
                    fds.push(PollFd::new(master.as_fd(), PollFlags::POLLIN | out));
                    if input_open && pending.is_empty() {
                        fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
                    }
                }
                let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                let timeout = left.map_or(PollTimeout::NONE, |left| {
                    PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
                });
                match poll(&mut fds, timeout) {
                    Err(Errno::EINTR) => continue,
                    Ok(0) => return Ok(()),
                    other => other.doing("wait")?,
                };
                let flags: Vec<PollFlags> =
                    fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
                let any = |index: usize| flags.get(index).is_some_and(|flags| !flags.is_empty());
                ([any(0), any(1), any(2), any(3)], flags.get(2).copied().unwrap_or(PollFlags::empty()))
            };
            let [event, signal, output, input] = ready;
            if signal {
                self.pass_signals();
            }
            if output {
                if wanted.contains(PollFlags::POLLOUT)
                    && let Some(master) = &self.master
                    && let Ok(count) = write(master, &pending)
                {
                    pending.drain(..count);
                }
                if wanted.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
                    && !self.show()?
                {
                    self.master = None;
                }
            }
            if input {
                let mut buffer = [0; 4096];
                match read(stdin.as_fd(), &mut buffer) {
                    Ok(0) | Err(Errno::EIO) => {
                        input_open = false;
                        self.hang_up();
                    }
                    Ok(count) => pending.extend(&buffer[..count]),
                    Err(Errno::EINTR | Errno::EAGAIN) => {}
                    Err(error) => return Err(error).doing("read from the terminal"),
                }
            }
            if event && !self.take_event()? {
                // What the terminal still holds.
                while self.master.is_some() && self.show()? {}
                return Ok(());
            }
        }
    }

    /// Takes a message; says whether more may come.
    fn take_event(&mut self) -> Result<bool, RunError> {
        match wire::receive(&self.events).doing("hear from the box")? {
            Event::Terminal(master) => {
                fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).doing("prepare the terminal")?;
                if let Some(terminal) = &self.terminal {
                    terminal.share_size(&master);
                    terminal.make_raw().doing("prepare the terminal")?;
                }
                self.master = Some(master);
            }
            Event::Ended(code) => {
                self.outcome.get_or_insert(Ok(code));
            }
            Event::Failed(code, text) => {
                self.outcome.get_or_insert(Err(match code {
                    code::NOT_EXECUTABLE => RunError::NotExecutable(text),
                    code::NOT_FOUND => RunError::NotFound(text),
                    _ => RunError::Inside(text),
                }));
            }
            Event::Closed => return Ok(false),
            // Said to whoever starts a box, and to the monitor.
            Event::Ready | Event::Listener(_) | Event::Process(_) => {}
        }
        Ok(true)
    }

    /// Copies what the box's terminal shows; says whether more may come.
    fn show(&self) -> Result<bool, RunError> {
        let Some(master) = &self.master else { return Ok(false) };
        let mut buffer = [0; 16_384];
        match read(master, &mut buffer) {
            Ok(0) | Err(Errno::EIO | Errno::EAGAIN) => Ok(false),
            Err(Errno::EINTR) => Ok(true),
            Err(error) => Err(error).doing("read from the box's terminal"),
            Ok(count) => {
                let mut rest = &buffer[..count];
                while !rest.is_empty() {
                    match write(io::stdout(), rest) {
                        Ok(count) => rest = &rest[count..],
                        Err(Errno::EINTR) => {}
                        Err(Errno::EAGAIN) => {
                            let stdout = io::stdout();
                            let _ = poll(
                                &mut [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)],
                                PollTimeout::NONE,
                            );
                        }
                        Err(error) => return Err(error).doing("write to the terminal"),
                    }
                }
                Ok(true)
            }
        }
    }

    /// The user's terminal is gone: the command is told, and ended soon if that does not end it.
    fn hang_up(&mut self) {
        let _ = write(&self.control, &[Signal::SIGHUP as u8]);
        self.deadline.get_or_insert(Instant::now() + GRACE);
    }

    fn pass_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = info.ssi_signo as i32;
            if signal == Signal::SIGWINCH as i32 {
                if let (Some(terminal), Some(master)) = (&self.terminal, &self.master) {
                    terminal.share_size(master);
                }
            } else if signal == Signal::SIGHUP as i32 && self.terminal.is_some() {
                self.hang_up();
            } else if signal != Signal::SIGCHLD as i32 {
                // A monitor that is gone is seen by the events' end.
                let _ = write(&self.control, &[signal as u8]);
            }
        }
    }
}
