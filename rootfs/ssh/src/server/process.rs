//! A session's process: started as its user in its cgroup, on pipes or a terminal.

use crate::account::User;
use crate::cgroup::Scope;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::termios::{Winsize, tcsetwinsize};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sys::process::{Outcome, Plan, Stream};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::modes;

/// A terminal that a client asked for.
#[derive(Debug, Clone)]
pub(super) struct Terminal {
    /// `TERM`
    pub term: String,
    /// Its size.
    pub size: Winsize,
    /// Its modes (RFC 4254, section 8).
    pub modes: Vec<(russh::Pty, u32)>,
}

/// What is to run.
#[derive(Debug)]
pub(super) struct Command<'a> {
    pub path: &'a Path,
    pub arguments: Vec<Vec<u8>>,
    pub environment: Vec<(String, String)>,
    pub user: &'a User,
    pub terminal: Option<&'a Terminal>,
    /// Its stdout is a socket, over which it passes descriptors, and not a pipe.
    pub passes: bool,
}

/// An end of a pipe or a terminal that never blocks.
pub(super) type Fd = AsyncFd<OwnedFd>;

/// A process that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub pid: i32,
    /// The terminal's path.
    pub tty: Option<String>,
    ends: Mutex<Ends>,
    ended: AsyncFd<OwnedFd>,
    outcome: AsyncFd<OwnedFd>,
}

/// This side's ends of its streams, as long as they are open.
#[derive(Debug, Default)]
struct Ends {
    /// Writes its stdin; with a terminal, the same as `output`.
    input: Option<Arc<Fd>>,
    output: Option<Arc<Fd>>,
    /// A terminal has none.
    error: Option<Arc<Fd>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Code(u32),
    Signal(i32, bool),
}

/// Starts a process.
///
/// # Errors
/// A pipe, a terminal or a process cannot be had; an argument has a NUL.
pub(super) fn start(command: &Command<'_>, scope: &Scope) -> io::Result<Running> {
    let account = &command.user.account;
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let mut environment = command.environment.clone();
    let mut tty = None;
    let (streams, input, output, error) = if let Some(terminal) = command.terminal {
        let (master, path) = open_terminal(terminal, command.user)?;
        environment.push(("SSH_TTY".to_owned(), path.clone()));
        let stdin = Stream::Open(text(path.as_bytes())?, OFlags::RDWR.bits() as i32);
        tty = Some(path);
        let master = Arc::new(unblocked(master)?);
        ([stdin, Stream::Same, Stream::Same], master.clone(), master, None)
    } else {
        let pipe = || nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC);
        let ((in_read, in_write), (err_read, err_write)) = (pipe()?, pipe()?);
        let (out_read, out_write) = if command.passes { sockets()? } else { pipe()? };
        let streams = [Stream::Fd(in_read), Stream::Fd(out_write), Stream::Fd(err_write)];
        let own = |fd| unblocked(fd).map(Arc::new);
        (streams, own(in_write)?, own(out_read)?, Some(own(err_read)?))
    };
    let plan = Plan {
        programs: vec![text(command.path.as_os_str().as_bytes())?],
        arguments: command.arguments.iter().map(|argument| text(argument)).collect::<io::Result<_>>()?,
        environment: environment
            .iter()
            .map(|(name, value)| text(format!("{name}={value}").as_bytes()))
            .collect::<io::Result<_>>()?,
        streams,
        folders: vec![],
        groups: Some((account.gid, command.user.groups.clone())),
        user: Some(account.uid),
        owner: (account.uid, account.gid),
        directory: Some((text(account.home.as_bytes())?, true)),
        umask: 0o022,
        limits: vec![],
        nice: None,
        oom_score_adjust: None,
        no_new_privileges: false,
        bounding_set: None,
        ambient: 0,
        ignore_sigpipe: false,
        isolation: sys::isolation::Isolation::default(),
    };
    let child = sys::process::spawn(&plan, Some(scope.folder()))?;
    // Nothing of the child's is left here: its ends of the pipes would never say that it ended.
    drop(plan);
    Ok(Running {
        pid: child.pid,
        tty,
        ends: Mutex::new(Ends { input: Some(input), output: Some(output), error }),
        ended: crate::fd::watch(sys::process::watch_exit(child.pid)?, Interest::READABLE)?,
        outcome: crate::fd::watch(child.outcome, Interest::READABLE)?,
    })
}

impl Running {
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn input(&self) -> Option<Arc<Fd>> {
        self.ends().input.clone()
    }

    pub(super) fn output(&self) -> Option<Arc<Fd>> {
        self.ends().output.clone()
    }

    pub(super) fn error(&self) -> Option<Arc<Fd>> {
        self.ends().error.clone()
    }

    /// The program reads its end of file, once whoever has the stream lets it go.
    pub(super) fn close_input(&self) {
        self.ends().input = None;
    }

    /// Closes everything; a terminal hangs up.
    pub(super) fn close(&self) {
        *self.ends() = Ends::default();
    }

    /// Waits until the program itself runs.
    ///
    /// # Errors
    /// What failed on the way, as a sentence.
    pub(super) async fn executed(&self) -> Result<(), String> {
        loop {
            let mut ready = self.outcome.readable().await.map_err(|error| error.to_string())?;
            match sys::process::read_outcome(self.outcome.get_ref().as_fd()) {
                Ok(Outcome::Pending) => ready.clear_ready(),
                Ok(Outcome::Executed) => return Ok(()),
                Ok(Outcome::Failed(step, errno)) => {
                    return Err(format!("{step}: {}", io::Error::from_raw_os_error(errno)));
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Waits for its end. Until [`Running::reap`] its number, and that of its group, are nobody else's.
    pub(super) async fn ended(&self) -> End {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            let ready = self.ended.readable().await;
            match waitid(Id::Pid(nix::unistd::Pid::from_raw(self.pid)), flags) {
                Ok(WaitStatus::Exited(_, code)) => return End::Code(code.cast_unsigned() & 0xff),
                Ok(WaitStatus::Signaled(_, signal, core)) => return End::Signal(signal as i32, core),
                Err(nix::errno::Errno::EINTR) => {}
                // Without its status nothing can be known.
                Err(_) => return End::Code(255),
                Ok(_) => match ready {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => return End::Code(255),
                },
            }
        }
    }

    /// Takes it out of the kernel's table, once it has ended.
    pub(super) fn reap(&self) {
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(self.pid), None);
    }

    /// Sets the terminal's size.
    ///
    /// # Errors
    /// ioctl(2): it is no terminal.
    pub(super) fn resize(&self, size: Winsize) -> io::Result<()> {
        let terminal = self.output().filter(|_| self.tty.is_some()).ok_or(io::ErrorKind::NotFound)?;
        Ok(tcsetwinsize(terminal.get_ref(), size)?)
    }
}

/// A pair of sockets that keep messages apart.
fn sockets() -> nix::Result<(OwnedFd, OwnedFd)> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

fn unblocked(fd: OwnedFd) -> io::Result<Fd> {
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    crate::fd::watch(fd, Interest::READABLE | Interest::WRITABLE)
}

/// The group that owns terminals in the image's /etc/group.
const TTY_GROUP: u32 = 5;

/// A new terminal that belongs to the user; the kernel takes it away with its master.
fn open_terminal(terminal: &Terminal, user: &User) -> io::Result<(OwnedFd, String)> {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let path = ptsname(&master, Vec::new())?.into_string().map_err(io::Error::other)?;
    rustix::fs::chown(
        &path,
        Some(rustix::fs::Uid::from_raw(user.account.uid)),
        Some(rustix::fs::Gid::from_raw(TTY_GROUP)),
    )?;
    rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o620))?;
    tcsetwinsize(&master, terminal.size)?;
    modes::set(&master, &terminal.modes)?;
    Ok((master, path))
}

/// Reads what there is; 0 at the end, which for a terminal is an EIO.
///
/// # Errors
/// read(2).
pub(super) async fn read(fd: &Fd, buffer: &mut [u8]) -> io::Result<usize> {
    fd.async_io(Interest::READABLE, |fd| read_now(fd, buffer)).await
}

/// The same without waiting.
pub(super) fn read_now(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    match rustix::io::read(fd, buffer) {
        Err(rustix::io::Errno::IO) => Ok(0),
        other => Ok(other?),
    }
}

/// Writes all of it.
///
/// # Errors
/// write(2): EPIPE when nobody reads.
pub(super) async fn write(fd: &Fd, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let written = fd.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, data)?)).await?;
        data = &data[written..];
    }
    Ok(())
}
