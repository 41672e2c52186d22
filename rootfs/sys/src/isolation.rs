//! What sets a child apart from the machine between fork and exec: namespaces, mounts, system call
//! filters, scheduling. Plain data made by the parent, carried out by [`crate::process`].
//!
//! Everything here runs in the copy of a process whose other threads' locks may be held for ever,
//! so it makes system calls only: strings, tables and sizes are ready before the fork.

use crate::process::Step;
use libc::{c_char, c_int, c_long};
use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// Trees that one plan may hold at once.
pub const MAX_TREES: usize = 200;

/// `#define OPEN_TREE_CLONE 1`, <linux/mount.h>.
const OPEN_TREE_CLONE: c_int = 1;
/// `#define AT_RECURSIVE 0x8000`, <linux/fcntl.h>.
pub(crate) const AT_RECURSIVE: c_int = 0x8000;
/// `#define MOVE_MOUNT_F_EMPTY_PATH 0x4` and `MOVE_MOUNT_T_SYMLINKS 0x10`, <linux/mount.h>.
const MOVE_FLAGS: c_int = 0x4 | 0x10;
/// `mount_setattr(2)`, Linux 5.12.
pub(crate) const SYS_MOUNT_SETATTR: c_long = 442;
/// `#define MOUNT_ATTR_RDONLY 0x1`, <linux/mount.h>.
pub const READ_ONLY: u64 = 0x1;
/// `MOUNT_ATTR_NODEV`, <linux/mount.h>.
pub(crate) const NO_DEVICES: u64 = 0x4;
/// `#define MOUNT_ATTR_NOSUID 0x2`.
pub const NO_SUID: u64 = 0x2;
/// `#define MOUNT_ATTR_NOEXEC 0x8`.
pub const NO_EXEC: u64 = 0x8;

/// `struct mount_attr`, <linux/mount.h>.
#[repr(C)]
pub(crate) struct MountAttributes {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) user_namespace: u64,
}

/// One step in a new mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountStep {
    /// Copies the tree at a path, with all that is mounted below it, and keeps it aside.
    Take {
        /// Which of the [`MAX_TREES`] places it is kept in.
        tree: usize,
        /// The path.
        source: CString,
        /// With what is mounted below it.
        recursive: bool,
        /// Nothing there is fine; the tree is then absent, and so is what would be made of it.
        optional: bool,
        /// `MOUNT_ATTR_*` flags of the whole copy: set and cleared.
        flags: (u64, u64),
    },
    /// Mounts a taken tree.
    Put {
        /// Which.
        tree: usize,
        /// Where.
        target: CString,
        /// The folders above `target`, if it is to be made when it is missing.
        parents: Option<Vec<CString>>,
        /// No such path is fine.
        optional: bool,
    },
    /// Puts one of two empty trees over a path, by what stands there.
    Cover {
        /// The tree of a folder.
        folder: usize,
        /// The tree of a file.
        file: usize,
        /// The path.
        target: CString,
        /// No such path is fine.
        optional: bool,
    },
    /// mount(2) of a new file system.
    Mount {
        /// Its type.
        fs_type: CString,
        /// Where.
        target: CString,
        /// `MS_*` flags.
        flags: u64,
        /// Its options.
        options: CString,
        /// The folders above `target`, if it is to be made when it is missing.
        parents: Option<Vec<CString>>,
        /// A failure is fine.
        optional: bool,
    },
    /// Sets `MOUNT_ATTR_*` flags of the mount at a path.
    Flags {
        /// The mount.
        target: CString,
        /// The flags.
        set: u64,
        /// With all that is mounted below it.
        recursive: bool,
    },
    /// Makes a symbolic link.
    Link {
        /// What it says.
        text: CString,
        /// Where it stands.
        path: CString,
    },
}

/// One BPF instruction: `struct sock_filter`, <linux/filter.h>.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields as in the kernel's header")]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// `KeyringMode=` (systemd.exec(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keyring {
    /// The parent's session keyring stays.
    #[default]
    Inherit,
    /// A new one.
    Private,
    /// A new one that has the user's keyring in it.
    Shared,
}

/// A file written for the service before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path; the folder exists.
    pub path: CString,
    /// Its content.
    pub content: Vec<u8>,
}

/// A private folder's name outside: `old` becomes `new` if it is a folder, and then a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The folder that only root may enter.
    pub private: CString,
    /// The name that everybody uses.
    pub old: CString,
    /// The real place.
    pub new: CString,
    /// The text of the link at `old`.
    pub text: CString,
    /// The step that fails with it.
    pub step: Step,
}

/// All of it. The default sets nothing apart.
#[derive(Clone, Debug, Default)]
pub struct Isolation {
    /// `CLONE_NEW*` flags of new namespaces other than the mount and user namespaces.
    pub namespaces: c_int,
    /// Namespaces of [`new_namespace`] that are entered.
    pub join: Vec<(Step, Arc<OwnedFd>)>,
    /// Whether a mount namespace is made; what is mounted there; the root directory.
    pub mounts: Option<Mounts>,
    /// Texts for `uid_map` and `gid_map` (user_namespaces(7)) of a user namespace.
    pub user_namespace: Option<(CString, CString)>,
    /// seccomp(2) programs in the order in which they are loaded.
    pub filters: Vec<Vec<Instruction>>,
    /// Folders under another name.
    pub hidden: Vec<Hidden>,
    /// Credentials: mode 0400, of the user, in a folder of mode 0500.
    pub credentials: Option<(CString, Vec<File>)>,
    /// Session keyring.
    pub keyring: Keyring,
    /// `PR_SET_SECUREBITS` (capabilities(7)).
    pub secure_bits: c_int,
    /// sched_setaffinity(2): a mask of processors.
    pub affinity: Option<Vec<u64>>,
    /// sched_setscheduler(2): policy with `SCHED_RESET_ON_FORK`, priority.
    pub scheduler: Option<(c_int, c_int)>,
    /// ioprio_set(2): class and level.
    pub io_priority: Option<(c_int, c_int)>,
    /// prctl(2) `PR_SET_TIMERSLACK`, nanoseconds.
    pub timer_slack_ns: Option<u64>,
    /// personality(2).
    pub personality: Option<u64>,
    /// Text for /proc/self/coredump_filter (core(5)).
    pub coredump_filter: Option<CString>,
    /// Whether the terminal on stdin is reset, hung up.
    pub terminal: (bool, bool),
}

/// A mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounts {
    /// What is done in it, in order.
    pub steps: Vec<MountStep>,
    /// `MS_SHARED`, `MS_SLAVE` or `MS_PRIVATE` for the result (mount_namespaces(7)).
    pub propagation: u64,
    /// chroot(2) at the end.
    pub root: Option<CString>,
}

fn failed(result: impl Into<i64>) -> bool {
    result.into() < 0
}

fn errno() -> c_int {
    nix::errno::Errno::last_raw()
}

/// Scheduling and the like, which read /proc and must come before mounts.
pub(crate) fn schedule(plan: &Isolation) -> Result<(), Step> {
    // SAFETY: here and below, system calls on numbers, on C strings of `plan`, or on local structures
    // of the documented layout; none allocates or locks. The libc crate has no safe faces, and
    // nix's allocate or are absent.
    unsafe {
        if let Some(text) = &plan.coredump_filter {
            write_file(c"/proc/self/coredump_filter", text.as_bytes()).map_err(|()| Step::Limits)?;
        }
        if let Some((policy, priority)) = plan.scheduler {
            let parameter = libc::sched_param { sched_priority: priority };
            if failed(libc::sched_setscheduler(0, policy, &raw const parameter)) {
                return Err(Step::SetScheduler);
            }
        }
        if let Some(mask) = &plan.affinity {
            let size = size_of_val(mask.as_slice());
            if failed(libc::syscall(libc::SYS_sched_setaffinity, 0, size, mask.as_ptr())) {
                return Err(Step::CpuAffinity);
            }
        }
        if let Some((class, level)) = plan.io_priority {
            // `#define IOPRIO_PRIO_VALUE(class, data) ((class << 13) | data)`; 1 is a process.
            if failed(libc::syscall(libc::SYS_ioprio_set, 1, 0, (class << 13) | level)) {
                return Err(Step::IoPrio);
            }
        }
        if let Some(slack) = plan.timer_slack_ns
            && failed(libc::prctl(libc::PR_SET_TIMERSLACK, slack, 0, 0, 0))
        {
            return Err(Step::TimerSlack);
        }
        if let Some(personality) = plan.personality
            && failed(libc::personality(personality))
        {
            return Err(Step::Personality);
        }
        if plan.terminal.1 {
            // Others' descriptors of the terminal become useless. `#define TIOCVHANGUP 0x5437`
            libc::ioctl(0, 0x5437);
        }
        if plan.terminal.0 {
            let mut settings: libc::termios = std::mem::zeroed();
            if !failed(libc::tcgetattr(0, &raw mut settings)) {
                settings.c_iflag &= !(libc::IGNBRK | libc::BRKINT | libc::ISTRIP | libc::INLCR | libc::IGNCR);
                settings.c_iflag |= libc::ICRNL | libc::IMAXBEL | libc::IUTF8;
                settings.c_oflag |= libc::ONLCR | libc::OPOST;
                settings.c_cflag |= libc::CREAD;
                settings.c_lflag =
                    libc::ISIG | libc::ICANON | libc::IEXTEN | libc::ECHO | libc::ECHOE | libc::ECHOK;
                libc::tcsetattr(0, libc::TCSANOW, &raw const settings);
            }
        }
    }
    Ok(())
}

/// Folders under another name, made before those of [`crate::process::Plan::folders`].
pub(crate) fn hide(plan: &Isolation) -> Result<(), Step> {
    for hidden in &plan.hidden {
        // SAFETY: as in `schedule`.
        unsafe {
            let mut status: libc::stat = std::mem::zeroed();
            if failed(libc::mkdir(hidden.private.as_ptr(), 0o700)) && errno() != libc::EEXIST {
                return Err(hidden.step);
            }
            let found = !failed(libc::lstat(hidden.old.as_ptr(), &raw mut status));
            if found
                && status.st_mode & libc::S_IFMT == libc::S_IFDIR
                && failed(libc::rename(hidden.old.as_ptr(), hidden.new.as_ptr()))
            {
                return Err(hidden.step);
            }
            if failed(libc::symlink(hidden.text.as_ptr(), hidden.old.as_ptr())) && errno() != libc::EEXIST {
                return Err(hidden.step);
            }
        }
    }
    Ok(())
}

/// The credentials folder and its files.
pub(crate) fn credentials(plan: &Isolation, owner: (u32, u32)) -> Result<(), Step> {
    let Some((folder, files)) = &plan.credentials else { return Ok(()) };
    // SAFETY: as in `schedule`.
    unsafe {
        libc::mkdir(c"/run/credentials".as_ptr(), 0o755);
        if failed(libc::mkdir(folder.as_ptr(), 0o700)) && errno() != libc::EEXIST {
            return Err(Step::Credentials);
        }
        let fd = libc::open(folder.as_ptr(), libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC);
        if failed(fd) || failed(libc::fchown(fd, owner.0, owner.1)) || failed(libc::fchmod(fd, 0o500)) {
            return Err(Step::Credentials);
        }
        libc::close(fd);
        for file in files {
            libc::unlink(file.path.as_ptr());
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
            let fd = libc::open(file.path.as_ptr(), flags, 0o400);
            if failed(fd) || !write_all(fd, &file.content) || failed(libc::fchown(fd, owner.0, owner.1)) {
                return Err(Step::Credentials);
            }
            libc::close(fd);
        }
    }
    Ok(())
}

/// Namespaces that others are in too, while their descriptors are still open.
pub(crate) fn join(plan: &Isolation) -> Result<(), Step> {
    for (step, namespace) in &plan.join {
        // SAFETY: setns(2) of a descriptor that the plan owns; a process without other threads.
        if failed(unsafe { libc::setns(namespace.as_raw_fd(), 0) }) {
            return Err(*step);
        }
    }
    Ok(())
}

/// Namespaces and mounts.
pub(crate) fn enter(plan: &Isolation) -> Result<(), Step> {
    // SAFETY: as in `schedule`.
    unsafe {
        if plan.namespaces != 0 && failed(libc::unshare(plan.namespaces)) {
            return Err(Step::Namespace);
        }
        match plan.keyring {
            Keyring::Inherit => {}
            // Without keys in the kernel, or over quota, the service goes without: as systemd does.
            // `#define KEYCTL_JOIN_SESSION_KEYRING 1`, `KEYCTL_LINK 8`, <linux/keyctl.h>
            mode => {
                libc::syscall(libc::SYS_keyctl, 1, std::ptr::null::<c_char>(), 0, 0, 0);
                if mode == Keyring::Shared {
                    // `KEY_SPEC_USER_KEYRING -4`, `KEY_SPEC_SESSION_KEYRING -3`
                    libc::syscall(libc::SYS_keyctl, 8, -4, -3, 0, 0);
                }
            }
        }
    }
    match &plan.mounts {
        Some(mounts) => enter_mounts(mounts).map_err(|()| Step::Namespace),
        None => Ok(()),
    }
}

fn enter_mounts(mounts: &Mounts) -> Result<(), ()> {
    let mut trees: [c_int; MAX_TREES] = [-1; MAX_TREES];
    // SAFETY: as in `schedule`.
    unsafe {
        if failed(libc::unshare(libc::CLONE_NEWNS)) {
            return Err(());
        }
        set_propagation(libc::MS_SLAVE)?;
        libc::umask(0);
    }
    for step in &mounts.steps {
        mount_step(step, &mut trees)?;
    }
    for tree in trees.iter().filter(|tree| **tree >= 0) {
        // SAFETY: as in `schedule`.
        unsafe { libc::close(*tree) };
    }
    if let Some(root) = &mounts.root {
        // SAFETY: as in `schedule`.
        unsafe {
            if failed(libc::chroot(root.as_ptr())) || failed(libc::chdir(c"/".as_ptr())) {
                return Err(());
            }
        }
    }
    // With MS_SLAVE it is what it is already.
    if mounts.propagation == libc::MS_SLAVE { Ok(()) } else { set_propagation(mounts.propagation) }
}

fn set_propagation(kind: u64) -> Result<(), ()> {
    let none = std::ptr::null::<c_char>();
    // SAFETY: mount(2) with MS_REC and a propagation flag reads the target only.
    let done = unsafe { libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | kind, none.cast()) };
    // EINVAL: a chroot whose root is no mount; its mounts were made slaves before.
    if failed(done) && errno() != libc::EINVAL { Err(()) } else { Ok(()) }
}

fn mount_step(step: &MountStep, trees: &mut [c_int; MAX_TREES]) -> Result<(), ()> {
    match step {
        MountStep::Take { tree, source, recursive, optional, flags } => {
            let recursion = if *recursive { AT_RECURSIVE } else { 0 };
            let how = OPEN_TREE_CLONE | libc::O_CLOEXEC | recursion;
            // SAFETY: open_tree(2) on a C string; gives a new descriptor.
            let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, source.as_ptr(), how) };
            if failed(fd) {
                let missing = matches!(errno(), libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ENXIO);
                return if *optional && missing { Ok(()) } else { Err(()) };
            }
            let fd = fd as c_int;
            *trees.get_mut(*tree).ok_or(())? = fd;
            if flags.0 | flags.1 != 0 {
                set_flags(fd, c"", libc::AT_EMPTY_PATH | recursion, *flags)?;
            }
            Ok(())
        }
        MountStep::Put { tree, target, parents, optional } => {
            let fd = *trees.get(*tree).ok_or(())?;
            if fd < 0 {
                return Ok(());
            }
            if let Some(parents) = parents {
                make(target, parents, is_folder(fd, c""));
            }
            put(fd, target, *optional)
        }
        MountStep::Cover { folder, file, target, optional } => {
            let which = if is_folder(libc::AT_FDCWD, target) { folder } else { file };
            put_copy(*trees.get(*which).ok_or(())?, target, *optional)
        }
        MountStep::Mount { fs_type, target, flags, options, parents, optional } => {
            if let Some(parents) = parents {
                make(target, parents, true);
            }
            // SAFETY: mount(2) on C strings.
            let done = unsafe {
                let (name, options) = (fs_type.as_ptr(), options.as_ptr().cast());
                libc::mount(name, target.as_ptr(), name, *flags, options)
            };
            if failed(done) && !optional { Err(()) } else { Ok(()) }
        }
        MountStep::Flags { target, set, recursive } => {
            set_flags(libc::AT_FDCWD, target, if *recursive { AT_RECURSIVE } else { 0 }, (*set, 0))
        }
        MountStep::Link { text, path } => {
            // SAFETY: symlink(2) on C strings.
            let done = unsafe { libc::symlink(text.as_ptr(), path.as_ptr()) };
            if failed(done) && errno() != libc::EEXIST { Err(()) } else { Ok(()) }
        }
    }
}

fn put(tree: c_int, target: &CStr, optional: bool) -> Result<(), ()> {
    // SAFETY: move_mount(2) on a descriptor and C strings.
    let done = unsafe {
        let (from, at) = (c"".as_ptr(), libc::AT_FDCWD);
        libc::syscall(libc::SYS_move_mount, tree, from, at, target.as_ptr(), MOVE_FLAGS)
    };
    if failed(done) && !(optional && matches!(errno(), libc::ENOENT | libc::ENOTDIR)) {
        Err(())
    } else {
        Ok(())
    }
}

/// Mounts a copy of a tree, which is needed again.
fn put_copy(tree: c_int, target: &CStr, optional: bool) -> Result<(), ()> {
    let how = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH;
    // SAFETY: open_tree(2) on a descriptor; gives a new one, which is closed.
    unsafe {
        let copy = libc::syscall(libc::SYS_open_tree, tree, c"".as_ptr(), how) as c_int;
        if copy < 0 {
            return Err(());
        }
        let done = put(copy, target, optional);
        libc::close(copy);
        done
    }
}

fn set_flags(at: c_int, path: &CStr, how: c_int, flags: (u64, u64)) -> Result<(), ()> {
    let attributes = MountAttributes { set: flags.0, clear: flags.1, propagation: 0, user_namespace: 0 };
    // SAFETY: mount_setattr(2) reads the C string and the structure of the given size.
    let done = unsafe {
        let size = size_of::<MountAttributes>();
        libc::syscall(SYS_MOUNT_SETATTR, at, path.as_ptr(), how, &raw const attributes, size)
    };
    if failed(done) { Err(()) } else { Ok(()) }
}

fn is_folder(at: c_int, path: &CStr) -> bool {
    // SAFETY: fstatat(2) fills the local structure.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        !failed(libc::fstatat(at, path.as_ptr(), &raw mut status, libc::AT_EMPTY_PATH))
            && status.st_mode & libc::S_IFMT == libc::S_IFDIR
    }
}

/// Makes a mount point with its parents. What cannot be made shows when it is mounted on.
fn make(target: &CStr, parents: &[CString], folder: bool) {
    // SAFETY: mkdir(2) and open(2) on C strings.
    unsafe {
        for parent in parents {
            libc::mkdir(parent.as_ptr(), 0o755);
        }
        if folder {
            libc::mkdir(target.as_ptr(), 0o755);
        } else {
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
            let fd = libc::open(target.as_ptr(), flags, 0o644);
            if fd >= 0 {
                libc::close(fd);
            }
        }
    }
}

fn write_all(fd: c_int, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // SAFETY: write(2) from a slice.
        let count = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(count) {
            Ok(count) if count > 0 => bytes = &bytes[count.min(bytes.len())..],
            _ => return false,
        }
    }
    true
}

fn write_file(path: &CStr, text: &[u8]) -> Result<(), ()> {
    // SAFETY: open(2), close(2).
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(());
        }
        let done = write_all(fd, text);
        libc::close(fd);
        if done { Ok(()) } else { Err(()) }
    }
}

/// `ip link set lo up`. A service without it misses it when it looks; nothing to do about it here.
/// Makes a namespace that lives as long as the descriptor or a process in it: `CLONE_NEWNET`, in
/// which the loopback device is up, or `CLONE_NEWIPC` (namespaces(7)). Takes milliseconds, longer when
/// the kernel takes others down.
///
/// # Errors
/// unshare(2), no thread, or no /proc.
pub fn new_namespace(kind: c_int) -> io::Result<OwnedFd> {
    let name = if kind == libc::CLONE_NEWNET { "net" } else { "ipc" };
    // In a thread of its own, which alone is moved and ends.
    let make = move || {
        // SAFETY: unshare(2) of a number concerns the calling thread only. nix has it without the
        // promise that the thread is all that changes.
        if failed(unsafe { libc::unshare(kind) }) {
            return Err(io::Error::last_os_error());
        }
        if kind == libc::CLONE_NEWNET {
            loopback_up();
        }
        Ok(OwnedFd::from(std::fs::File::open(format!("/proc/thread-self/ns/{name}"))?))
    };
    let thread = std::thread::Builder::new().stack_size(64 << 10).name("namespace".into()).spawn(make)?;
    thread.join().map_err(|_| io::Error::other("the thread panicked"))?
}

fn loopback_up() {
    // SAFETY: socket(2) and the SIOC[GS]IFFLAGS ioctls on a local `struct ifreq` (netdevice(7)).
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as c_char;
        request.ifr_name[1] = b'o' as c_char;
        libc::ioctl(socket, libc::SIOCGIFFLAGS, &raw mut request);
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request);
        libc::close(socket);
    }
}

/// A user namespace with the given maps. Only a process outside may write a map of two lines, so
/// a short-lived child does (user_namespaces(7)).
pub(crate) fn enter_user_namespace((users, groups): &(CString, CString)) -> Result<(), Step> {
    // SAFETY: as in `schedule`; the child of clone(2) makes system calls only and exits.
    unsafe {
        let mut go = [-1; 2];
        if failed(libc::pipe2(go.as_mut_ptr(), libc::O_CLOEXEC)) {
            return Err(Step::User);
        }
        let parent = libc::getpid();
        let null = std::ptr::null::<c_char>();
        let helper = libc::syscall(libc::SYS_clone, libc::SIGCHLD, null, null, null, null);
        if failed(helper) {
            return Err(Step::User);
        }
        if helper == 0 {
            libc::close(go[1]);
            let mut byte = 0_u8;
            let told = libc::read(go[0], (&raw mut byte).cast(), 1) == 1;
            let done = told
                && write_map(parent, "uid_map", users.as_bytes())
                && write_map(parent, "gid_map", groups.as_bytes());
            libc::_exit(c_int::from(!done));
        }
        libc::close(go[0]);
        let apart = !failed(libc::unshare(libc::CLONE_NEWUSER));
        // Without the byte, the helper sees the end of the pipe and gives up.
        if apart {
            libc::write(go[1], [1_u8].as_ptr().cast(), 1);
        }
        libc::close(go[1]);
        let mut status = 0;
        let ended = libc::waitpid(helper as libc::pid_t, &raw mut status, 0);
        if apart && !failed(ended) && status == 0 { Ok(()) } else { Err(Step::User) }
    }
}

/// Writes `/proc/PID/NAME` without an allocator.
fn write_map(pid: c_int, name: &str, text: &[u8]) -> bool {
    let mut path = [0_u8; 64];
    let mut rest: &mut [u8] = &mut path;
    if write!(rest, "/proc/{pid}/{name}\0").is_err() {
        return false;
    }
    CStr::from_bytes_until_nul(&path).is_ok_and(|path| write_file(path, text).is_ok())
}

/// Loads the filters; the last thing before execve.
pub(crate) fn filter(plan: &Isolation) -> Result<(), Step> {
    for program in &plan.filters {
        let filter =
            libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut().cast() };
        // SAFETY: `#define SECCOMP_SET_MODE_FILTER 1`: seccomp(2) reads the program, whose
        // instructions have the kernel's layout.
        if failed(unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const filter) }) {
            return Err(Step::Seccomp);
        }
    }
    Ok(())
}
