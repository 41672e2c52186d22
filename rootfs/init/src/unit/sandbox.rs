//! What a service may see and do: the sandboxing keys of systemd.exec(5). Their meaning as mounts
//! is in [`super::isolation`], as system call filters in [`super::seccomp`].

use super::Fault;
use super::directive::Scope;
use super::syscall;
use super::value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// `ProtectSystem=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the value of the same name")]
pub enum ProtectSystem {
    #[default]
    No,
    Yes,
    Full,
    Strict,
}

/// `ProtectHome=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the value of the same name")]
pub enum ProtectHome {
    #[default]
    No,
    Yes,
    ReadOnly,
    Tmpfs,
}

/// What a line of paths does to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the key with Paths behind it")]
pub enum Access {
    Inaccessible,
    ReadOnly,
    ReadWrite,
    NoExec,
    Exec,
}

/// One path of such a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// The path.
    pub path: PathBuf,
    /// What becomes of it.
    pub access: Access,
    /// `-`: it may be missing.
    pub optional: bool,
    /// `+`: below `RootDirectory=`.
    pub in_root: bool,
}

/// `BindPaths=`, `BindReadOnlyPaths=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// What is shown.
    pub source: PathBuf,
    /// Where.
    pub target: PathBuf,
    /// `-`: the source may be missing.
    pub optional: bool,
    /// With what is mounted below it.
    pub recursive: bool,
    /// `BindReadOnlyPaths=`.
    pub read_only: bool,
}

/// `RestrictAddressFamilies=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressFamilies {
    /// The families are the allowed ones, or the refused ones.
    pub allow: bool,
    /// `AF_*` numbers.
    pub families: BTreeSet<u32>,
}

/// `SystemCallFilter=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemCalls {
    /// The calls are the allowed ones, or the refused ones.
    pub allow: bool,
    /// Numbers; with the error that is given instead of the filter's own.
    pub calls: BTreeMap<u32, Option<Refusal>>,
}

/// What becomes of a system call that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The process is killed with SIGSYS.
    Kill,
    /// The call fails with an errno.
    Errno(u16),
}

/// The sandbox of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as the manual has them")]
#[expect(missing_docs, reason = "each field is the key of the same name")]
pub struct Sandbox {
    pub protect_system: ProtectSystem,
    pub protect_home: ProtectHome,
    pub private_tmp: bool,
    pub private_devices: bool,
    pub private_network: bool,
    pub private_users: bool,
    pub private_mounts: bool,
    pub private_ipc: bool,
    pub protect_hostname: bool,
    pub protect_clock: bool,
    pub protect_kernel_tunables: bool,
    pub protect_kernel_modules: bool,
    pub protect_kernel_logs: bool,
    pub protect_control_groups: bool,
    /// `hidepid=` of proc(5), if it is not `default`.
    pub protect_proc: Option<&'static str>,
    pub proc_subset_pid: bool,
    pub paths: Vec<PathRule>,
    pub binds: Vec<Bind>,
    /// Path and mount options.
    pub temporary_file_systems: Vec<(PathBuf, String)>,
    pub root_directory: Option<PathBuf>,
    pub mount_api_vfs: Option<bool>,
    /// `MS_SHARED`, `MS_SLAVE` or `MS_PRIVATE`.
    pub mount_flags: Option<u64>,
    /// `CLONE_NEW*` flags that stay allowed.
    pub restrict_namespaces: Option<u64>,
    pub restrict_realtime: bool,
    pub restrict_suid_sgid: Option<bool>,
    pub lock_personality: bool,
    pub memory_deny_write_execute: bool,
    pub address_families: Option<AddressFamilies>,
    pub system_calls: Option<SystemCalls>,
    pub system_call_error: Option<Refusal>,
    pub native_calls_only: bool,
    pub dynamic_user: bool,
}

/// `CLONE_NEW*` flags by the words of `RestrictNamespaces=` (<linux/sched.h>).
const NAMESPACES: [(&str, u64); 7] = [
    ("cgroup", 0x0200_0000),
    ("ipc", 0x0800_0000),
    ("net", 0x4000_0000),
    ("mnt", 0x0002_0000),
    ("pid", 0x2000_0000),
    ("user", 0x1000_0000),
    ("uts", 0x0400_0000),
];

/// All of them.
pub const ALL_NAMESPACES: u64 = 0x7e02_0000;

/// `AF_*` (<linux/socket.h>).
const FAMILIES: [(&str, u32); 44] = [
    ("UNIX", 1),
    ("LOCAL", 1),
    ("INET", 2),
    ("AX25", 3),
    ("IPX", 4),
    ("APPLETALK", 5),
    ("NETROM", 6),
    ("BRIDGE", 7),
    ("ATMPVC", 8),
    ("X25", 9),
    ("INET6", 10),
    ("ROSE", 11),
    ("NETBEUI", 13),
    ("SECURITY", 14),
    ("KEY", 15),
    ("NETLINK", 16),
    ("ROUTE", 16),
    ("PACKET", 17),
    ("ASH", 18),
    ("ECONET", 19),
    ("ATMSVC", 20),
    ("RDS", 21),
    ("SNA", 22),
    ("IRDA", 23),
    ("PPPOX", 24),
    ("WANPIPE", 25),
    ("LLC", 26),
    ("IB", 27),
    ("MPLS", 28),
    ("CAN", 29),
    ("TIPC", 30),
    ("BLUETOOTH", 31),
    ("IUCV", 32),
    ("RXRPC", 33),
    ("ISDN", 34),
    ("PHONET", 35),
    ("IEEE802154", 36),
    ("CAIF", 37),
    ("ALG", 38),
    ("NFC", 39),
    ("VSOCK", 40),
    ("KCM", 41),
    ("QIPCRTR", 42),
    ("XDP", 44),
];

/// Applies a sandboxing key; `None` if it is another key.
pub(super) fn apply(slot: &mut Option<Box<Sandbox>>, at: &Scope<'_>) -> Option<Result<(), Fault>> {
    if !is_key(at.key()) {
        return None;
    }
    // Allocated only for units that have such a key.
    let sandbox = slot.get_or_insert_default();
    Some(assign(sandbox, at))
}

/// The keys of this file.
pub(super) const KEYS: &str = " ProtectSystem ProtectHome PrivateTmp PrivateDevices PrivateNetwork PrivateUsers \
    PrivateMounts PrivateIPC ProtectHostname ProtectClock ProtectKernelTunables ProtectKernelModules \
    ProtectKernelLogs ProtectControlGroups ProtectProc ProcSubset ReadWritePaths ReadOnlyPaths \
    InaccessiblePaths ExecPaths NoExecPaths ReadWriteDirectories ReadOnlyDirectories InaccessibleDirectories \
    BindPaths BindReadOnlyPaths TemporaryFileSystem RootDirectory MountAPIVFS MountFlags RestrictNamespaces \
    RestrictRealtime RestrictSUIDSGID LockPersonality MemoryDenyWriteExecute RestrictAddressFamilies \
    SystemCallFilter SystemCallErrorNumber SystemCallArchitectures DynamicUser ";

fn is_key(key: &str) -> bool {
    KEYS.split_ascii_whitespace().any(|known| known == key)
}

fn assign(sandbox: &mut Sandbox, at: &Scope<'_>) -> Result<(), Fault> {
    match at.key() {
        "ProtectSystem" => {
            sandbox.protect_system = match (at.text(), value::boolean(at.text())) {
                ("", _) | (_, Some(false)) => ProtectSystem::No,
                (_, Some(true)) => ProtectSystem::Yes,
                ("full", _) => ProtectSystem::Full,
                ("strict", _) => ProtectSystem::Strict,
                _ => return Err(at.invalid("want yes, no, full or strict")),
            }
        }
        "ProtectHome" => {
            sandbox.protect_home = match (at.text(), value::boolean(at.text())) {
                ("", _) | (_, Some(false)) => ProtectHome::No,
                (_, Some(true)) => ProtectHome::Yes,
                ("read-only", _) => ProtectHome::ReadOnly,
                ("tmpfs", _) => ProtectHome::Tmpfs,
                _ => return Err(at.invalid("want yes, no, read-only or tmpfs")),
            }
        }
        "PrivateTmp" => sandbox.private_tmp = at.boolean_or(false)?,
        "PrivateDevices" => sandbox.private_devices = at.boolean_or(false)?,
        "PrivateNetwork" => sandbox.private_network = at.boolean_or(false)?,
        "PrivateUsers" => sandbox.private_users = at.boolean_or(false)?,
        "PrivateMounts" => sandbox.private_mounts = at.boolean_or(false)?,
        "PrivateIPC" => sandbox.private_ipc = at.boolean_or(false)?,
        "ProtectHostname" => sandbox.protect_hostname = at.boolean_or(false)?,
        "ProtectClock" => sandbox.protect_clock = at.boolean_or(false)?,
        "ProtectKernelTunables" => sandbox.protect_kernel_tunables = at.boolean_or(false)?,
        "ProtectKernelModules" => sandbox.protect_kernel_modules = at.boolean_or(false)?,
        "ProtectKernelLogs" => sandbox.protect_kernel_logs = at.boolean_or(false)?,
        "ProtectControlGroups" => sandbox.protect_control_groups = at.boolean_or(false)?,
        "ProtectProc" => {
            sandbox.protect_proc = match at.text() {
                "" | "default" => None,
                "noaccess" => Some("noaccess"),
                "invisible" => Some("invisible"),
                "ptraceable" => Some("ptraceable"),
                _ => return Err(at.invalid("want default, noaccess, invisible or ptraceable")),
            }
        }
        "ProcSubset" => {
            sandbox.proc_subset_pid = match at.text() {
                "" | "all" => false,
                "pid" => true,
                _ => return Err(at.invalid("want all or pid")),
            }
        }
        "ReadWritePaths" | "ReadWriteDirectories" => paths(sandbox, Access::ReadWrite, at)?,
        "ReadOnlyPaths" | "ReadOnlyDirectories" => paths(sandbox, Access::ReadOnly, at)?,
        "InaccessiblePaths" | "InaccessibleDirectories" => paths(sandbox, Access::Inaccessible, at)?,
        "ExecPaths" => paths(sandbox, Access::Exec, at)?,
        "NoExecPaths" => paths(sandbox, Access::NoExec, at)?,
        "BindPaths" => binds(sandbox, false, at)?,
        "BindReadOnlyPaths" => binds(sandbox, true, at)?,
        "TemporaryFileSystem" => temporary(sandbox, at)?,
        "RootDirectory" => {
            sandbox.root_directory = match at.text() {
                "" | "/" => None,
                path => Some(at.absolute(path)?),
            }
        }
        "MountAPIVFS" => sandbox.mount_api_vfs = at.optional_boolean()?,
        "MountFlags" => {
            // `#define MS_PRIVATE (1<<18)`, `MS_SLAVE (1<<19)`, `MS_SHARED (1<<20)`, <linux/mount.h>
            sandbox.mount_flags = match at.text() {
                "" => None,
                "private" => Some(1 << 18),
                "slave" => Some(1 << 19),
                "shared" => Some(1 << 20),
                _ => return Err(at.invalid("want shared, slave or private")),
            }
        }
        "RestrictNamespaces" => sandbox.restrict_namespaces = namespaces(sandbox.restrict_namespaces, at)?,
        "RestrictRealtime" => sandbox.restrict_realtime = at.boolean_or(false)?,
        "RestrictSUIDSGID" => sandbox.restrict_suid_sgid = at.optional_boolean()?,
        "LockPersonality" => sandbox.lock_personality = at.boolean_or(false)?,
        "MemoryDenyWriteExecute" => sandbox.memory_deny_write_execute = at.boolean_or(false)?,
        "RestrictAddressFamilies" => families(&mut sandbox.address_families, at)?,
        "SystemCallFilter" => system_calls(&mut sandbox.system_calls, at)?,
        "SystemCallErrorNumber" => {
            sandbox.system_call_error = match at.text() {
                "" => None,
                text => Some(at.want(refusal(text), "kill, an errno such as EPERM, or its number")?),
            }
        }
        "SystemCallArchitectures" => {
            for word in at.words()? {
                if !matches!(word.as_str(), "native" | "x86-64") {
                    return Err(at.invalid("programs of other architectures do not run here: want native"));
                }
            }
            sandbox.native_calls_only = !at.text().is_empty();
        }
        "DynamicUser" => sandbox.dynamic_user = at.boolean_or(false)?,
        _ => return Err(at.unknown()),
    }
    Ok(())
}

/// An absolute path without `.` and `..`, as one spelling.
fn clean(at: &Scope<'_>, text: &str) -> Result<PathBuf, Fault> {
    let path = Path::new(text);
    let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    if path.is_absolute() && plain {
        Ok(path.components().collect())
    } else {
        Err(at.invalid(format_args!("`{text}` must be absolute, without `..`")))
    }
}

fn paths(sandbox: &mut Sandbox, access: Access, at: &Scope<'_>) -> Result<(), Fault> {
    if at.text().is_empty() {
        sandbox.paths.retain(|rule| rule.access != access);
    }
    for word in at.words()? {
        let (optional, rest) = word.strip_prefix('-').map_or((false, word.as_str()), |rest| (true, rest));
        let (in_root, rest) = rest.strip_prefix('+').map_or((false, rest), |rest| (true, rest));
        let path = clean(at, rest)?;
        sandbox.paths.push(PathRule { path, access, optional, in_root });
    }
    Ok(())
}

fn binds(sandbox: &mut Sandbox, read_only: bool, at: &Scope<'_>) -> Result<(), Fault> {
    if at.text().is_empty() {
        sandbox.binds.retain(|bind| bind.read_only != read_only);
    }
    for word in at.words()? {
        let (optional, rest) = word.strip_prefix('-').map_or((false, word.as_str()), |rest| (true, rest));
        let mut parts = rest.splitn(3, ':');
        let source = clean(at, parts.next().unwrap_or(""))?;
        let target = match parts.next() {
            None | Some("") => source.clone(),
            Some(text) => clean(at, text)?,
        };
        let recursive = match parts.next() {
            None | Some("" | "rbind") => true,
            Some("norbind") => false,
            Some(other) => return Err(at.invalid(format_args!("`{other}` is neither rbind nor norbind"))),
        };
        sandbox.binds.push(Bind { source, target, optional, recursive, read_only });
    }
    Ok(())
}

fn temporary(sandbox: &mut Sandbox, at: &Scope<'_>) -> Result<(), Fault> {
    if at.text().is_empty() {
        sandbox.temporary_file_systems.clear();
    }
    for word in at.words()? {
        let (path, options) = word.split_once(':').unwrap_or((&word, ""));
        let path = clean(at, path)?;
        sandbox.temporary_file_systems.push((path, options.to_owned()));
    }
    Ok(())
}

/// Words of namespaces; `~` takes them away, yes allows none, no all (systemd.exec(5)).
fn namespaces(before: Option<u64>, at: &Scope<'_>) -> Result<Option<u64>, Fault> {
    match value::boolean(at.text()) {
        _ if at.text().is_empty() => return Ok(None),
        Some(true) => return Ok(Some(0)),
        Some(false) => return Ok(None),
        None => {}
    }
    let (text, invert) = at.text().strip_prefix('~').map_or((at.text(), false), |rest| (rest, true));
    let mut mask = 0;
    for word in text.split_whitespace() {
        let flag = NAMESPACES.iter().find(|(name, _)| *name == word).map(|(_, flag)| *flag);
        mask |= at.want(flag, "yes, no, or of cgroup ipc net mnt pid user uts")?;
    }
    Ok(Some(if invert { before.unwrap_or(ALL_NAMESPACES) & !mask } else { before.unwrap_or(0) | mask }))
}

fn families(slot: &mut Option<AddressFamilies>, at: &Scope<'_>) -> Result<(), Fault> {
    match at.text() {
        "" => {
            *slot = None;
            return Ok(());
        }
        "none" => {
            *slot = Some(AddressFamilies { allow: true, families: BTreeSet::new() });
            return Ok(());
        }
        _ => {}
    }
    let (text, invert) = at.text().strip_prefix('~').map_or((at.text(), false), |rest| (rest, true));
    let mut wanted = BTreeSet::new();
    for word in text.split_whitespace() {
        let name = word.strip_prefix("AF_").unwrap_or("");
        let family = FAMILIES.iter().find(|(known, _)| *known == name).map(|(_, family)| *family);
        wanted.insert(at.want(family, "none, or address families such as AF_UNIX AF_INET AF_INET6")?);
    }
    let list = slot.get_or_insert_with(|| AddressFamilies { allow: !invert, families: BTreeSet::new() });
    for family in wanted {
        if list.allow == invert {
            list.families.remove(&family);
        } else {
            list.families.insert(family);
        }
    }
    Ok(())
}

/// `kill`, an errno's name or number.
fn refusal(text: &str) -> Option<Refusal> {
    if text == "kill" {
        return Some(Refusal::Kill);
    }
    let number = text.parse().ok().or_else(|| {
        (1..=133_u16).find(|number| format!("{:?}", nix::errno::Errno::from_raw(i32::from(*number))) == text)
    });
    number.filter(|number| (1..=4095).contains(number)).map(Refusal::Errno)
}

/// The first line decides whether the list allows or refuses; later ones add and take away.
/// A list that allows has @default in it from the start (systemd.exec(5)).
fn system_calls(slot: &mut Option<SystemCalls>, at: &Scope<'_>) -> Result<(), Fault> {
    if at.text().is_empty() {
        *slot = None;
        return Ok(());
    }
    let (text, invert) = at.text().strip_prefix('~').map_or((at.text(), false), |rest| (rest, true));
    let mut wanted = Vec::new();
    for word in text.split_whitespace() {
        let (name, error) = match word.split_once(':') {
            Some((name, error)) => (name, Some(at.want(refusal(error), "kill or an errno behind `:`")?)),
            None => (word, None),
        };
        let mut found = BTreeSet::new();
        if !members(name, &mut found) {
            return Err(at.invalid(format_args!("there is no system call or group `{name}`")));
        }
        wanted.extend(found.into_iter().map(|call| (call, error)));
    }
    let list = slot.get_or_insert_with(|| {
        let mut calls = BTreeSet::new();
        if !invert {
            members("@default", &mut calls);
        }
        SystemCalls { allow: !invert, calls: calls.into_iter().map(|call| (call, None)).collect() }
    });
    for (call, error) in wanted {
        // In a list that allows, a call taken away with an error of its own keeps that error.
        if list.allow != invert || error.is_some() {
            list.calls.insert(call, error);
        } else {
            list.calls.remove(&call);
        }
    }
    Ok(())
}

/// The numbers behind a name; false if there is no such name.
fn members(name: &str, found: &mut BTreeSet<u32>) -> bool {
    if name == "@known" {
        found.extend(syscall::all());
        return true;
    }
    if name.starts_with('@') {
        let Some(group) = syscall::group(name) else { return false };
        for member in group {
            members(member, found);
        }
        return true;
    }
    match syscall::number(name) {
        Some(number) => {
            found.insert(number);
            true
        }
        None => syscall::is_foreign(name),
    }
}
