//! Starting a process in its cgroup with everything a service asks for.
//!
//! PID 1 has threads and must not block, so the child between `clone3` and `execve` may only
//! make system calls: every string, list and table is made before, by [`Plan`]'s owner. That is
//! why this is unsafe code and not `std::process`: the latter has no cgroup, no capabilities, no
//! limits, and waits for the outcome of `execve`. Here the outcome comes through a pipe that the
//! caller reads when it likes ([`read_outcome`]).

use crate::fork::CloneArgs;
use crate::isolation::{self, Isolation};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The largest capability number of Linux 6.1 (`CAP_CHECKPOINT_RESTORE`).
pub const LAST_CAPABILITY: u32 = 40;

const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Number of a capability, named with or without `CAP_`, in any case (capabilities(7)).
pub fn capability_by_name(name: &str) -> Option<u32> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    CAPABILITIES.iter().position(|known| *known == name).map(|number| number as u32)
}

const LIMITS: [(&str, libc::__rlimit_resource_t); 16] = [
    ("CPU", libc::RLIMIT_CPU),
    ("FSIZE", libc::RLIMIT_FSIZE),
    ("DATA", libc::RLIMIT_DATA),
    ("STACK", libc::RLIMIT_STACK),
    ("CORE", libc::RLIMIT_CORE),
    ("RSS", libc::RLIMIT_RSS),
    ("NOFILE", libc::RLIMIT_NOFILE),
    ("AS", libc::RLIMIT_AS),
    ("NPROC", libc::RLIMIT_NPROC),
    ("MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("LOCKS", libc::RLIMIT_LOCKS),
    ("SIGPENDING", libc::RLIMIT_SIGPENDING),
    ("MSGQUEUE", libc::RLIMIT_MSGQUEUE),
    ("NICE", libc::RLIMIT_NICE),
    ("RTPRIO", libc::RLIMIT_RTPRIO),
    ("RTTIME", libc::RLIMIT_RTTIME),
];

/// The resource of `LimitNOFILE=` and its kin, by what follows `Limit`; its own static name.
pub fn limit_name(name: &str) -> Option<&'static str> {
    LIMITS.iter().find(|(known, _)| *known == name).map(|(known, _)| *known)
}

/// Where between fork and exec a child failed. The exit code of the child says it too
/// (systemd.exec(5), "Process Exit Codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each variant is systemd's name of the exit code")]
pub enum Step {
    Chdir = 200,
    Nice = 201,
    Fds = 202,
    Exec = 203,
    Limits = 205,
    OomAdjust = 206,
    SignalMask = 207,
    Stdin = 208,
    Stdout = 209,
    Group = 216,
    User = 217,
    Capabilities = 218,
    Cgroup = 219,
    CpuAffinity = 214,
    IoPrio = 211,
    TimerSlack = 212,
    SecureBits = 213,
    SetScheduler = 215,
    Setsid = 220,
    Stderr = 222,
    Network = 225,
    Namespace = 226,
    NoNewPrivileges = 227,
    Seccomp = 228,
    Personality = 230,
    RuntimeDirectory = 233,
    StateDirectory = 238,
    CacheDirectory = 239,
    LogsDirectory = 240,
    ConfigurationDirectory = 241,
    Credentials = 243,
}

const STEPS: [(Step, &str); 31] = [
    (Step::Chdir, "CHDIR"),
    (Step::Nice, "NICE"),
    (Step::Fds, "FDS"),
    (Step::Exec, "EXEC"),
    (Step::Limits, "LIMITS"),
    (Step::OomAdjust, "OOM_ADJUST"),
    (Step::SignalMask, "SIGNAL_MASK"),
    (Step::Stdin, "STDIN"),
    (Step::Stdout, "STDOUT"),
    (Step::Group, "GROUP"),
    (Step::User, "USER"),
    (Step::Capabilities, "CAPABILITIES"),
    (Step::Cgroup, "CGROUP"),
    (Step::IoPrio, "IOPRIO"),
    (Step::TimerSlack, "TIMERSLACK"),
    (Step::SecureBits, "SECUREBITS"),
    (Step::CpuAffinity, "CPUAFFINITY"),
    (Step::SetScheduler, "SETSCHEDULER"),
    (Step::Setsid, "SETSID"),
    (Step::Network, "NETWORK"),
    (Step::Namespace, "NAMESPACE"),
    (Step::Seccomp, "SECCOMP"),
    (Step::Personality, "PERSONALITY"),
    (Step::Credentials, "CREDENTIALS"),
    (Step::Stderr, "STDERR"),
    (Step::NoNewPrivileges, "NO_NEW_PRIVILEGES"),
    (Step::RuntimeDirectory, "RUNTIME_DIRECTORY"),
    (Step::StateDirectory, "STATE_DIRECTORY"),
    (Step::CacheDirectory, "CACHE_DIRECTORY"),
    (Step::LogsDirectory, "LOGS_DIRECTORY"),
    (Step::ConfigurationDirectory, "CONFIGURATION_DIRECTORY"),
];

/// Exit codes of sysexits(3), which units may name.
const SYSEXITS: [(&str, i32); 15] = [
    ("USAGE", 64),
    ("DATAERR", 65),
    ("NOINPUT", 66),
    ("NOUSER", 67),
    ("NOHOST", 68),
    ("UNAVAILABLE", 69),
    ("SOFTWARE", 70),
    ("OSERR", 71),
    ("OSFILE", 72),
    ("CANTCREAT", 73),
    ("IOERR", 74),
    ("TEMPFAIL", 75),
    ("PROTOCOL", 76),
    ("NOPERM", 77),
    ("CONFIG", 78),
];

/// An exit code by the name that `SuccessExitStatus=` takes: `TEMPFAIL`, `EXEC`, …
pub fn exit_code_by_name(name: &str) -> Option<i32> {
    let step = STEPS.iter().find(|(_, known)| *known == name).map(|(step, _)| *step as i32);
    step.or_else(|| SYSEXITS.iter().find(|(known, _)| *known == name).map(|(_, code)| *code))
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STEPS.iter().find(|(step, _)| step == self).map_or("", |(_, name)| name))
    }
}

/// A file opened in the child as a standard stream.
#[derive(Debug)]
pub enum Stream {
    /// A descriptor of the parent.
    Fd(OwnedFd),
    /// A path with open(2) flags; a terminal is made the controlling one when it is stdin.
    Open(CString, i32),
    /// The same as the stream before it: stdout as stdin, stderr as stdout.
    Same,
}

/// A folder made and given to the user before the program starts.
#[derive(Debug)]
pub struct Folder {
    /// Absolute path; its parents are entries before it.
    pub path: CString,
    /// Mode.
    pub mode: u32,
    /// Whether mode and owner are set; parents that are only on the way are left as they are.
    pub own: bool,
    /// The step that fails with it.
    pub step: Step,
}

/// Everything a child does before `execve`, made ready so that it only makes system calls.
#[derive(Debug)]
pub struct Plan {
    /// Paths tried in turn.
    pub programs: Vec<CString>,
    /// Arguments.
    pub arguments: Vec<CString>,
    /// `NAME=value`; `LISTEN_PID`-like variables that need the child's own pid are not here.
    pub environment: Vec<CString>,
    /// stdin, stdout, stderr.
    pub streams: [Stream; 3],
    /// Folders made as root.
    pub folders: Vec<Folder>,
    /// Group and supplementary groups, when they change.
    pub groups: Option<(u32, Vec<u32>)>,
    /// User, when it changes.
    pub user: Option<u32>,
    /// The user and group that own [`Plan::folders`].
    pub owner: (u32, u32),
    /// Working directory, and whether going on without it is fine.
    pub directory: Option<(CString, bool)>,
    /// File mode mask.
    pub umask: u32,
    /// Limits by [`limit_name`]: soft and hard; `u64::MAX` is infinity.
    pub limits: Vec<(&'static str, u64, u64)>,
    /// Niceness.
    pub nice: Option<i32>,
    /// Text for /proc/self/oom_score_adj.
    pub oom_score_adjust: Option<CString>,
    /// prctl(2) `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Capabilities that remain in the bounding set.
    pub bounding_set: Option<u64>,
    /// Ambient capabilities.
    pub ambient: u64,
    /// Whether SIGPIPE is ignored.
    pub ignore_sigpipe: bool,
    /// Namespaces, mounts, filters, scheduling.
    pub isolation: Isolation,
}

/// A started child.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: i32,
    /// Read end of the pipe that tells how `execve` went, non-blocking; see [`read_outcome`].
    pub outcome: OwnedFd,
}

/// How the way to `execve` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not yet known.
    Pending,
    /// The program runs.
    Executed,
    /// A step failed with an errno; the child exits with the step's code.
    Failed(Step, i32),
}

/// `#define CLONE_CLEAR_SIGHAND 0x100000000ULL`, <linux/sched.h>, Linux 5.5.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// Starts a child that carries out `plan`, in the cgroup whose folder is open as `cgroup`.
///
/// # Errors
/// The pipe, or clone3(2): EAGAIN at a task limit, ENOMEM, EBUSY for a cgroup that has
/// controllers of its own children enabled.
pub fn spawn(plan: &Plan, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Child> {
    spawn_passing(plan, cgroup, &[])
}

/// As [`spawn`], and the child has `passed` as its descriptors from 3 on, with `LISTEN_PID` in its
/// environment (`sd_listen_fds(3)`); `LISTEN_FDS` and `LISTEN_FDNAMES` are the plan's.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_passing(
    plan: &Plan,
    cgroup: Option<BorrowedFd<'_>>,
    passed: &[BorrowedFd<'_>],
) -> io::Result<Child> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC | nix::fcntl::OFlag::O_NONBLOCK)?;
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, mut envp) = (pointers(&plan.arguments), pointers(&plan.environment));
    let mut passing = Passing {
        fds: passed.iter().map(AsRawFd::as_raw_fd).collect(),
        variable: *b"LISTEN_PID=\0\0\0\0\0\0\0\0\0\0\0\0",
    };
    if !passed.is_empty() {
        envp.insert(0, passing.variable.as_ptr().cast());
    }
    let mut args = CloneArgs::new(CLONE_CLEAR_SIGHAND, cgroup);
    // SAFETY: clone3(2) without CLONE_VM is a fork: the child gets its own copy of memory. `args`
    // is the kernel's structure with its true size. The child calls `run_child`, which makes
    // system calls only (other threads' locks, the allocator's among them, may be held for ever
    // in the copy), and never returns. std has no fork into a cgroup.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, CloneArgs::SIZE) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => run_child(plan, &argv, &envp, write.as_raw_fd(), &mut passing),
        pid => Ok(Child { pid: pid as i32, outcome: read }),
    }
}

/// Reads how far the child of [`spawn`] came.
///
/// # Errors
/// read(2).
pub fn read_outcome(outcome: BorrowedFd<'_>) -> io::Result<Outcome> {
    let mut bytes = [0_u8; 5];
    match nix::unistd::read(outcome, &mut bytes) {
        Ok(0) => Ok(Outcome::Executed), // closed by execve
        Ok(5) => {
            let step = STEPS.iter().find(|(step, _)| *step as u8 == bytes[0]).map(|(step, _)| *step);
            let errno = i32::from_ne_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
            Ok(Outcome::Failed(step.unwrap_or(Step::Exec), errno))
        }
        Ok(_) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        Err(nix::errno::Errno::EAGAIN) => Ok(Outcome::Pending),
        Err(error) => Err(error.into()),
    }
}

/// What [`spawn_passing`] passes.
struct Passing {
    fds: Vec<RawFd>,
    /// `LISTEN_PID=`, with room for ten digits and a NUL; the child fills it in.
    variable: [u8; 23],
}

impl Passing {
    /// In the child: writes its pid, and moves the descriptors and the pipe out of the way of those
    /// that are to be made. Gives the pipe.
    fn make_ready(&mut self, pipe: RawFd) -> Result<RawFd, Step> {
        if self.fds.is_empty() {
            return Ok(pipe);
        }
        // SAFETY: getpid(2) and fcntl(2) on numbers.
        let mut rest = unsafe { libc::getpid() } as u32;
        let mut digits = [0_u8; 10];
        let mut count = 0;
        while rest > 0 {
            digits[count] = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
        }
        for (at, digit) in digits[..count].iter().rev().enumerate() {
            self.variable[11 + at] = *digit;
        }
        let first_free = FIRST_PASSED + self.fds.len() as RawFd;
        for fd in &mut self.fds {
            // SAFETY: as above.
            *fd = unsafe { libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, first_free) };
            check(*fd, Step::Fds)?;
        }
        // SAFETY: as above.
        let pipe = unsafe { libc::fcntl(pipe, libc::F_DUPFD_CLOEXEC, first_free) };
        check(pipe, Step::Fds)?;
        Ok(pipe)
    }
}

/// In the child: everything, then execve; a failure goes into the pipe and the exit code.
fn run_child(
    plan: &Plan,
    argv: &[*const libc::c_char],
    envp: &[*const libc::c_char],
    mut pipe: RawFd,
    passing: &mut Passing,
) -> ! {
    let prepared = passing.make_ready(pipe).and_then(|lifted| {
        pipe = lifted;
        prepare(plan, pipe, &passing.fds)
    });
    let step = match prepared {
        Err(step) => step,
        Ok(()) => {
            let mut error = libc::ENOENT;
            for program in &plan.programs {
                // SAFETY: program, argv and envp are NUL-terminated and outlive the call; both
                // lists end with a null pointer.
                unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
                let found = nix::errno::Errno::last_raw();
                if found != libc::ENOENT {
                    error = found;
                    break;
                }
            }
            nix::errno::Errno::set_raw(error);
            Step::Exec
        }
    };
    let mut bytes = [step as u8; 5];
    bytes[1..].copy_from_slice(&nix::errno::Errno::last_raw().to_ne_bytes());
    // SAFETY: the buffer is five bytes; _exit runs no handler of the parent's copy.
    unsafe {
        libc::write(pipe, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(i32::from(step as u8))
    }
}

/// `if (call() < 0) return Err(step)`.
fn check(result: impl Into<i64>, step: Step) -> Result<(), Step> {
    if result.into() < 0 { Err(step) } else { Ok(()) }
}

fn prepare(plan: &Plan, pipe: RawFd, passed: &[RawFd]) -> Result<(), Step> {
    // SAFETY: here and in the blocks below, plain system calls on numbers, on C strings of `plan`, or
    // on local structures of the documented layout. None allocates, locks or runs a handler.
    // They are unsafe because libc declares them so; nix's faces of several allocate or lock.
    unsafe {
        // The parent's handlers are gone by CLONE_CLEAR_SIGHAND; what it ignores is SIGPIPE, as std does,
        // and what nohup or a shell's `&` made it ignore. Neither those nor its mask are for others.
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            check(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), Step::SignalMask)?;
        }
        action.sa_sigaction = if plan.ignore_sigpipe { libc::SIG_IGN } else { libc::SIG_DFL };
        check(libc::sigaction(libc::SIGPIPE, &raw const action, std::ptr::null_mut()), Step::SignalMask)?;
        let none: libc::sigset_t = std::mem::zeroed();
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()), Step::SignalMask)?;
        check(libc::setsid(), Step::Setsid)?;
        libc::umask(0);
        isolation::join(&plan.isolation)?;
        isolation::hide(&plan.isolation)?;
        for folder in &plan.folders {
            let made = libc::mkdir(folder.path.as_ptr(), if folder.own { folder.mode } else { 0o755 });
            if made < 0 && nix::errno::Errno::last_raw() != libc::EEXIST {
                return Err(folder.step);
            }
            if folder.own {
                // Not through a link that the service left there in an earlier run.
                let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
                let fd = libc::open(folder.path.as_ptr(), flags);
                check(fd, folder.step)?;
                check(libc::fchown(fd, plan.owner.0, plan.owner.1), folder.step)?;
                check(libc::fchmod(fd, folder.mode), folder.step)?;
                libc::close(fd);
            }
        }
    }
    streams(plan, pipe, passed)?;
    // SAFETY: as above.
    unsafe {
        if let Some(text) = &plan.oom_score_adjust {
            let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            check(fd, Step::OomAdjust)?;
            let bytes = text.as_bytes();
            check(libc::write(fd, bytes.as_ptr().cast(), bytes.len()) as i64, Step::OomAdjust)?;
        }
        if let Some(nice) = plan.nice {
            check(libc::setpriority(libc::PRIO_PROCESS, 0, nice), Step::Nice)?;
        }
        isolation::schedule(&plan.isolation)?;
        isolation::credentials(&plan.isolation, plan.owner)?;
        isolation::enter(&plan.isolation)?;
        libc::umask(plan.umask);
        for (name, soft, hard) in &plan.limits {
            if let Some((_, resource)) = LIMITS.iter().find(|(known, _)| known == name) {
                let limit = libc::rlimit { rlim_cur: *soft, rlim_max: *hard };
                check(libc::setrlimit(*resource, &raw const limit), Step::Limits)?;
            }
        }
        if let Some((group, others)) = &plan.groups {
            // Not glibc's setgroups and its kin: they signal the threads of the parent, of which the
            // child has a list but none alive, and wait for ever for one that was just starting.
            check(libc::syscall(libc::SYS_setgroups, others.len(), others.as_ptr()), Step::Group)?;
            check(libc::syscall(libc::SYS_setresgid, *group, *group, *group), Step::Group)?;
        }
        if let Some(maps) = &plan.isolation.user_namespace {
            isolation::enter_user_namespace(maps)?;
        }
        if let Some(keep) = plan.bounding_set {
            for number in 0..=LAST_CAPABILITY {
                if keep & (1 << number) == 0 {
                    let dropped = libc::prctl(libc::PR_CAPBSET_DROP, number as libc::c_ulong, 0, 0, 0);
                    // EINVAL: the running kernel is older and has no such capability.
                    if dropped < 0 && nix::errno::Errno::last_raw() != libc::EINVAL {
                        return Err(Step::Capabilities);
                    }
                }
            }
        }
        let bits = plan.isolation.secure_bits;
        if bits != 0 {
            check(libc::prctl(libc::PR_SET_SECUREBITS, bits as libc::c_ulong, 0, 0, 0), Step::SecureBits)?;
        }
        if plan.ambient != 0 {
            // Kept over setresuid, so that they can be raised as ambient behind it.
            check(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0), Step::Capabilities)?;
        }
        if let Some(user) = plan.user {
            check(libc::syscall(libc::SYS_setresuid, user, user, user), Step::User)?;
        }
    }
    if plan.ambient != 0 {
        raise_ambient(plan.ambient)?;
    }
    // SAFETY: as above.
    unsafe {
        if let Some((path, optional)) = &plan.directory
            && libc::chdir(path.as_ptr()) < 0
            && !optional
        {
            return Err(Step::Chdir);
        }
        if plan.no_new_privileges {
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), Step::NoNewPrivileges)?;
        }
    }
    isolation::filter(&plan.isolation)
}

/// Makes descriptors 0, 1 and 2 and those that are passed, and closes all others but the pipe,
/// which execve closes.
fn streams(plan: &Plan, pipe: RawFd, passed: &[RawFd]) -> Result<(), Step> {
    for (target, stream) in plan.streams.iter().enumerate() {
        let target = target as RawFd;
        let step = [Step::Stdin, Step::Stdout, Step::Stderr][target as usize];
        // SAFETY: system calls on descriptors and a C string of the plan. PID 1 never has its
        // own descriptors at 0 to 2 (see the manager), so that no dup2 hits a source.
        unsafe {
            match stream {
                Stream::Fd(fd) => check(libc::dup2(fd.as_raw_fd(), target), step)?,
                Stream::Same => check(libc::dup2(target - 1, target), step)?,
                Stream::Open(path, flags) => {
                    let fd = libc::open(path.as_ptr(), flags | libc::O_CLOEXEC | libc::O_NOCTTY, 0o644);
                    check(fd, step)?;
                    check(libc::dup2(fd, target), step)?;
                    if target == 0 && libc::isatty(0) == 1 {
                        // `#define TIOCSCTTY 0x540E`; 1 takes it from another session.
                        libc::ioctl(0, libc::TIOCSCTTY, 1);
                    }
                }
            }
        }
    }
    // SAFETY: close_range(2) on numbers; the pipe is left out of both ranges.
    unsafe {
        let pipe = pipe as libc::c_uint;
        for (index, fd) in passed.iter().enumerate() {
            // The sources are beyond all targets.
            check(libc::dup2(*fd, FIRST_PASSED + index as RawFd), Step::Fds)?;
        }
        let first = FIRST_PASSED as libc::c_uint + passed.len() as libc::c_uint;
        if pipe > first {
            libc::syscall(libc::SYS_close_range, first, pipe - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, pipe + 1, libc::c_uint::MAX, 0);
    }
    Ok(())
}

/// `struct __user_cap_header_struct` and `__user_cap_data_struct[2]`, <linux/capability.h>.
fn raise_ambient(mask: u64) -> Result<(), Step> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    // `#define _LINUX_CAPABILITY_VERSION_3 0x20080522`
    let mut header = Header { version: 0x2008_0522, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: capget(2)/capset(2) with the version that takes two data structures; both are
    // local. prctl(2) on numbers.
    unsafe {
        check(libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()), Step::Capabilities)?;
        for (index, part) in data.iter_mut().enumerate() {
            let wanted = (mask >> (32 * index)) as u32;
            part.inheritable |= wanted;
            // Behind setresuid with KEEPCAPS the permitted set is full and the effective one empty.
            part.permitted = wanted | part.effective;
            part.effective = part.permitted;
        }
        check(libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()), Step::Capabilities)?;
        for number in (0..=LAST_CAPABILITY).filter(|number| mask & (1 << number) != 0) {
            let raised = libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
                number as libc::c_ulong,
                0,
                0,
            );
            check(raised, Step::Capabilities)?;
        }
    }
    Ok(())
}

/// Has the kernel send SIGINT to PID 1 at ctrl-alt-del, and not reset the machine by itself
/// (reboot(2), `LINUX_REBOOT_CMD_CAD_OFF`).
///
/// # Errors
/// EPERM without `CAP_SYS_BOOT`, EINVAL in a pid namespace, which has no such key.
pub fn take_ctrl_alt_del() -> io::Result<()> {
    Ok(nix::sys::reboot::set_cad_enabled(false)?)
}

/// A file in memory with `content`, to be read from its start (memfd_create(2)).
///
/// # Errors
/// memfd_create(2), write(2).
pub fn memory_file(name: &std::ffi::CStr, content: &[u8]) -> io::Result<OwnedFd> {
    let fd = nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    io::Write::write_all(&mut file, content)?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

/// kill(2) with any signal number; nix knows no real-time signals.
///
/// # Errors
/// kill(2): ESRCH for a process that is gone.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill(2) on numbers.
    if unsafe { libc::kill(pid, signal) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A descriptor that becomes readable when the process ends, whoever its parent is (pidfd_open(2)).
///
/// # Errors
/// pidfd_open(2): ESRCH for a process that is gone.
pub fn watch_exit(pid: i32) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// Reserves descriptors 0, 1 and 2 with /dev/null where they are closed, as [`spawn`] needs.
///
/// # Errors
/// /dev/null cannot be opened.
pub fn reserve_standard_streams() -> io::Result<()> {
    loop {
        let fd = nix::fcntl::open("/dev/null", nix::fcntl::OFlag::O_RDWR, nix::sys::stat::Mode::empty())?;
        if fd.as_raw_fd() > 2 {
            return Ok(());
        }
        std::mem::forget(fd); // stays open for the life of the process
    }
}

/// Descriptors that the system's first process may have: one for every pipe of every service
/// (systemd's `HIGH_RLIMIT_NOFILE`).
const MANY_FILES: u64 = 512 << 10;

/// Lets this process have as many descriptors as may be, and gives the limits (soft, hard) that
/// its children are to have: the soft one is what it was, since select(2) ends at 1024.
///
/// # Errors
/// getrlimit(2).
pub fn raise_file_limit() -> io::Result<(u64, u64)> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let high = hard.max(MANY_FILES);
    // Without CAP_SYS_RESOURCE the hard limit stays.
    if setrlimit(Resource::RLIMIT_NOFILE, high, high).is_ok() {
        return Ok((soft, high));
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok((soft, hard))
}

/// The first descriptor passed by `LISTEN_FDS=` (`SD_LISTEN_FDS_START` of sd_listen_fds(3)).
const FIRST_PASSED: i32 = 3;

/// Takes the `count` descriptors that this process was started with from 3 on, and makes them
/// close-on-exec. The second call gives none, and so does a count that reaches a closed one.
///
/// To be called before this process opens any descriptor of its own.
pub fn take_passed(count: i32) -> Vec<OwnedFd> {
    static TAKEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if TAKEN.swap(true, std::sync::atomic::Ordering::Relaxed) {
        return Vec::new();
    }
    let open = |fd: &i32| {
        // SAFETY: fcntl with F_SETFD touches no memory; a closed descriptor is an error.
        unsafe { libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC) == 0 }
    };
    (FIRST_PASSED..FIRST_PASSED.saturating_add(count))
        .take_while(open)
        // SAFETY: it is open, and nobody else owns it: it was passed to this process for this.
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(program: &str, arguments: &[&str], stdout: OwnedFd) -> Plan {
        let c = |text: &str| CString::new(text).unwrap();
        Plan {
            programs: vec![c("/nonexistent/first"), c(program)],
            arguments: arguments.iter().map(|text| c(text)).collect(),
            environment: vec![c("PATH=/usr/bin:/bin")],
            streams: [Stream::Open(c("/dev/null"), libc::O_RDONLY), Stream::Fd(stdout), Stream::Same],
            folders: vec![],
            groups: None,
            user: None,
            owner: (0, 0),
            directory: Some((c("/"), false)),
            umask: 0o027,
            limits: vec![("NOFILE", 100, 200)],
            nice: None,
            oom_score_adjust: None,
            no_new_privileges: true,
            bounding_set: None,
            ambient: 0,
            ignore_sigpipe: false,
            isolation: Isolation::default(),
        }
    }

    fn run(plan: &Plan) -> (Outcome, i32) {
        let child = spawn(plan, None).unwrap();
        let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child.pid), None).unwrap();
        let nix::sys::wait::WaitStatus::Exited(_, code) = status else { panic!("{status:?}") };
        (read_outcome(std::os::fd::AsFd::as_fd(&child.outcome)).unwrap(), code)
    }

    fn output(mut plan: Plan) -> String {
        let (mut read, write) = io::pipe().unwrap();
        plan.streams[1] = Stream::Fd(write.into());
        assert_eq!(run(&plan), (Outcome::Executed, 0));
        drop(plan);
        let mut text = String::new();
        io::Read::read_to_string(&mut read, &mut text).unwrap();
        text
    }

    fn null() -> OwnedFd {
        std::fs::File::create("/dev/null").unwrap().into()
    }

    #[test]
    fn a_child_gets_what_the_plan_says() {
        let script =
            "umask; ulimit -Sn; ulimit -Hn; grep NoNewPrivs /proc/self/status; ls /proc/self/fd | wc -l; pwd";
        let text = output(plan("/bin/sh", &["sh", "-c", script], null()));
        assert_eq!(text, "0027\n100\n200\nNoNewPrivs:\t1\n4\n/\n");
    }

    #[test]
    fn user_groups_and_ambient_capabilities() {
        let mut plan = plan("/bin/sh", &["sh", "-c", "id -u; id -G; grep CapEff /proc/self/status"], null());
        plan.user = Some(65534);
        plan.groups = Some((65534, vec![65534, 7]));
        plan.ambient = 1 << capability_by_name("cap_net_bind_service").unwrap();
        assert_eq!(output(plan), "65534\n65534 7\nCapEff:\t0000000000000400\n");
    }

    #[test]
    fn descriptors_are_passed_from_three_on() {
        let passed: Vec<OwnedFd> = ["one", "two", "three"]
            .iter()
            .map(|text| {
                let (read, mut write) = io::pipe().unwrap();
                io::Write::write_all(&mut write, text.as_bytes()).unwrap();
                read.into()
            })
            .collect();
        let borrowed: Vec<BorrowedFd<'_>> = passed.iter().map(std::os::fd::AsFd::as_fd).collect();
        let (mut read, write) = io::pipe().unwrap();
        let script =
            "cat <&3; cat <&4; cat <&5; ls /proc/self/fd | wc -l; test $LISTEN_PID = $$ && echo mine";
        let mut plan = plan("/bin/sh", &["sh", "-c", script], write.into());
        plan.limits.clear();
        let child = spawn_passing(&plan, None, &borrowed).unwrap();
        drop(plan);
        let mut text = String::new();
        io::Read::read_to_string(&mut read, &mut text).unwrap();
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child.pid), None).unwrap();
        assert_eq!(text, "onetwothree7\nmine\n");
    }

    #[test]
    fn the_failing_step_is_told() {
        let missing = plan("/nonexistent/x", &["x"], null());
        assert_eq!(run(&missing), (Outcome::Failed(Step::Exec, libc::ENOENT), 203));
        let mut no_folder = plan("/bin/true", &["true"], null());
        no_folder.directory = Some((c"/nonexistent".into(), false));
        assert_eq!(run(&no_folder), (Outcome::Failed(Step::Chdir, libc::ENOENT), 200));
        assert_eq!(Step::Chdir.to_string(), "CHDIR");
    }
}
