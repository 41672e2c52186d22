//! From a [`Sandbox`] to the mounts that a service's process makes in a namespace of its own
//! (systemd.exec(5), "Sandboxing"). Pure: facts in, steps out.
//!
//! First it is decided what becomes of each path ([`rules`]), then in which order mounts make it so
//! ([`steps`]): trees are taken from the machine as it is, then "/" is changed in place, then the
//! trees are put back, parents first. A path below a read-only one thus keeps what it was.

use super::sandbox::{Access, ProtectHome, ProtectSystem, Sandbox};
use std::collections::BTreeMap;
use std::ffi::{CString, NulError};
use std::path::{Path, PathBuf};
use sys::isolation::{MAX_TREES, MountStep, Mounts, NO_EXEC, READ_ONLY};

/// What the plan needs to know of a service besides its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its own folders (`StateDirectory=` and so on), which stay writable.
    pub folders: Vec<PathBuf>,
    /// Folders below `private/` of `DynamicUser=`: shown, and nothing beside them.
    pub private_folders: Vec<PathBuf>,
    /// What becomes its /tmp and /var/tmp with `PrivateTmp=`.
    pub tmp: Option<(PathBuf, PathBuf)>,
    /// An empty folder and an empty file that nobody may open.
    pub covers: (PathBuf, PathBuf),
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// A NUL in a path.
    #[error("a NUL byte in a path of the sandbox")]
    Nul(#[from] NulError),
    /// More trees than a child holds.
    #[error("the sandbox has {0} mounts, more than {MAX_TREES}")]
    TooMany(usize),
}

/// What becomes of a path. The order is the rank when several keys name one path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Nothing of it can be opened.
    Inaccessible,
    /// Another tree is there.
    Bind {
        /// Which.
        source: PathBuf,
        /// With what is mounted below it.
        recursive: bool,
        /// It cannot be written to.
        read_only: bool,
    },
    /// A new file system.
    New {
        /// Its type.
        fs_type: &'static str,
        /// `MS_*` flags.
        flags: u64,
        /// Its options.
        options: String,
        /// It cannot be written to once the plan is carried out.
        read_only: bool,
    },
    /// A symbolic link.
    Link(&'static str),
    /// It cannot be written to.
    ReadOnly,
    /// It stays as it is.
    Kept,
}

/// The rule of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What becomes of it, if anything but its executability.
    pub what: Option<What>,
    /// Whether programs in it can be executed, if that is said.
    pub exec: Option<bool>,
    /// It may be missing.
    pub optional: bool,
}

/// The rules by path, parents first.
pub type Rules = BTreeMap<PathBuf, Rule>;

const NO_SUID_FLAG: u64 = 2; // MS_NOSUID
const NO_DEV_FLAG: u64 = 4; // MS_NODEV
const NO_EXEC_FLAG: u64 = 8; // MS_NOEXEC
const SLAVE: u64 = 1 << 19; // MS_SLAVE

/// Whether a sandbox needs a mount namespace at all.
pub fn needs_mounts(sandbox: &Sandbox) -> bool {
    sandbox.private_mounts
        || sandbox.root_directory.is_some()
        || sandbox.mount_flags.is_some()
        || !rules(sandbox, &Facts::default()).is_empty()
}

/// What becomes of each path.
pub fn rules(sandbox: &Sandbox, facts: &Facts) -> Rules {
    let root = sandbox.root_directory.as_deref().unwrap_or(Path::new("/"));
    let mut found = Found { root, rules: Rules::new() };
    system(sandbox, &mut found);
    kernel(sandbox, &mut found);
    if sandbox.private_devices {
        devices(&mut found);
    }
    own(sandbox, facts, &mut found);
    if sandbox.root_directory.is_some() {
        // What stands on the root must be a mount, for chroot to lead into it.
        found.set("/", What::Kept, false);
        if sandbox.mount_api_vfs.unwrap_or(false) {
            let bind = |path: &str| What::Bind { source: path.into(), recursive: true, read_only: false };
            found.set("/sys", bind("/sys"), false);
            found.set("/dev", bind("/dev"), false);
            found.set("/proc", proc(sandbox), false);
        }
    }
    found.rules
}

struct Found<'a> {
    root: &'a Path,
    rules: Rules,
}

impl Found<'_> {
    /// A path below the service's root.
    fn set(&mut self, path: impl AsRef<Path>, what: What, optional: bool) {
        let path = below(self.root, path.as_ref());
        self.set_at(path, what, optional);
    }

    fn set_at(&mut self, path: PathBuf, what: What, optional: bool) {
        let rule = self.rules.entry(path).or_insert(Rule { what: None, exec: None, optional: true });
        rule.optional &= optional;
        match &rule.what {
            Some(old) if *old <= what => {}
            _ => rule.what = Some(what),
        }
    }

    fn all(&mut self, paths: &[&str], what: &What) {
        for path in paths {
            self.set(path, what.clone(), true);
        }
    }
}

/// `path` below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path)).components().collect()
}

/// What `ProtectHome=` is about.
const HOMES: [&str; 3] = ["/home", "/run/user", "/root"];

fn system(sandbox: &Sandbox, found: &mut Found<'_>) {
    // DynamicUser= implies the strictest (systemd.exec(5)).
    let protect = if sandbox.dynamic_user { ProtectSystem::Strict } else { sandbox.protect_system };
    if protect >= ProtectSystem::Yes && protect < ProtectSystem::Strict {
        found.all(&["/usr", "/boot", "/efi"], &What::ReadOnly);
    }
    if protect == ProtectSystem::Full {
        found.all(&["/etc"], &What::ReadOnly);
    }
    if protect == ProtectSystem::Strict {
        found.set("/", What::ReadOnly, false);
        // /home and its kin are the business of ProtectHome=.
        found.all(&["/proc", "/sys", "/dev", "/home", "/run/user", "/root"], &What::Kept);
    }
    let home = match sandbox.protect_home {
        ProtectHome::No if sandbox.dynamic_user => ProtectHome::ReadOnly,
        home => home,
    };
    match home {
        ProtectHome::No => {}
        ProtectHome::Yes => found.all(&HOMES, &What::Inaccessible),
        ProtectHome::ReadOnly => found.all(&HOMES, &What::ReadOnly),
        ProtectHome::Tmpfs => found.all(&HOMES, &tmpfs("mode=0755", true)),
    }
}

fn tmpfs(options: &str, read_only: bool) -> What {
    let flags = NO_SUID_FLAG | NO_DEV_FLAG;
    What::New { fs_type: "tmpfs", flags, options: options.to_owned(), read_only }
}

fn proc(sandbox: &Sandbox) -> What {
    let hide = sandbox.protect_proc.map(|mode| format!("hidepid={mode}"));
    let subset = sandbox.proc_subset_pid.then(|| "subset=pid".to_owned());
    let options = hide.into_iter().chain(subset).collect::<Vec<_>>().join(",");
    let flags = NO_SUID_FLAG | NO_DEV_FLAG | NO_EXEC_FLAG;
    What::New { fs_type: "proc", flags, options, read_only: false }
}

fn kernel(sandbox: &Sandbox, found: &mut Found<'_>) {
    if sandbox.protect_kernel_tunables {
        found.all(
            &[
                "/proc/acpi",
                "/proc/apm",
                "/proc/asound",
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/latency_stats",
                "/proc/mtrr",
                "/proc/scsi",
                "/proc/sys",
                "/proc/sysrq-trigger",
                "/proc/timer_stats",
                "/sys",
                "/sys/fs/bpf",
                "/sys/fs/selinux",
                "/sys/kernel/debug",
                "/sys/kernel/tracing",
            ],
            &What::ReadOnly,
        );
        found.all(&["/proc/kallsyms", "/proc/kcore"], &What::Inaccessible);
        found.set("/sys/fs/cgroup", What::Kept, true);
    }
    if sandbox.protect_kernel_modules {
        found.all(&["/lib/modules", "/usr/lib/modules"], &What::Inaccessible);
    }
    if sandbox.protect_kernel_logs {
        found.all(&["/proc/kmsg", "/dev/kmsg"], &What::Inaccessible);
    }
    if sandbox.protect_control_groups {
        found.set("/sys/fs/cgroup", What::ReadOnly, true);
    }
    if sandbox.protect_proc.is_some() || sandbox.proc_subset_pid {
        found.set("/proc", proc(sandbox), false);
    }
    if sandbox.private_ipc {
        let flags = NO_SUID_FLAG | NO_DEV_FLAG | NO_EXEC_FLAG;
        let queues = What::New { fs_type: "mqueue", flags, options: String::new(), read_only: false };
        found.set("/dev/mqueue", queues, true);
    }
}

/// A /dev with the pseudo devices alone.
fn devices(found: &mut Found<'_>) {
    let flags = NO_SUID_FLAG | NO_EXEC_FLAG;
    let options = "mode=0755,size=4m".to_owned();
    found.set("/dev", What::New { fs_type: "tmpfs", flags, options, read_only: true }, false);
    for name in ["null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "hugepages"] {
        let path = format!("/dev/{name}");
        let bind = What::Bind { source: path.clone().into(), recursive: true, read_only: false };
        found.set(path, bind, true);
    }
    let links = [
        ("/dev/ptmx", "pts/ptmx"),
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/core", "/proc/kcore"),
    ];
    for (path, text) in links {
        found.set(path, What::Link(text), true);
    }
    // The journal's socket.
    found.set("/dev/log", What::Link("/run/systemd/journal/dev-log"), true);
}

/// What the unit's own lines say, and its own folders.
fn own(sandbox: &Sandbox, facts: &Facts, found: &mut Found<'_>) {
    for folder in &facts.folders {
        found.set(folder, What::Kept, true);
    }
    for folder in &facts.private_folders {
        if let Some(private) = folder.ancestors().find(|path| path.ends_with("private")) {
            found.set(private, tmpfs("mode=0755", false), false);
        }
        let bind = What::Bind { source: folder.clone(), recursive: true, read_only: false };
        found.set(folder, bind, false);
    }
    if let Some((tmp, var_tmp)) = &facts.tmp {
        for (path, source) in [("/tmp", tmp), ("/var/tmp", var_tmp)] {
            let bind = What::Bind { source: source.clone(), recursive: false, read_only: false };
            found.set(path, bind, false);
        }
    }
    for (path, options) in &sandbox.temporary_file_systems {
        let read_only = options.split(',').any(|word| word == "ro");
        let rest: Vec<&str> = options
            .split(',')
            .filter(|word| !matches!(*word, "ro" | "rw" | "" | "nodev" | "nosuid"))
            .collect();
        let exec = if rest.contains(&"noexec") { NO_EXEC_FLAG } else { 0 };
        let mut rest: Vec<&str> = rest.into_iter().filter(|word| *word != "noexec").collect();
        if !rest.iter().any(|word| word.starts_with("mode=")) {
            rest.insert(0, "mode=0755");
        }
        let flags = NO_SUID_FLAG | NO_DEV_FLAG | exec;
        let new = What::New { fs_type: "tmpfs", flags, options: rest.join(","), read_only };
        found.set(path, new, false);
    }
    for bind in &sandbox.binds {
        let (source, recursive, read_only) = (bind.source.clone(), bind.recursive, bind.read_only);
        found.set(&bind.target, What::Bind { source, recursive, read_only }, bind.optional);
    }
    for rule in &sandbox.paths {
        let path = if rule.in_root { below(found.root, &rule.path) } else { rule.path.clone() };
        match rule.access {
            Access::Inaccessible => found.set_at(path, What::Inaccessible, rule.optional),
            Access::ReadOnly => found.set_at(path, What::ReadOnly, rule.optional),
            Access::ReadWrite => found.set_at(path, What::Kept, rule.optional),
            Access::Exec | Access::NoExec => {
                let empty = Rule { what: None, exec: None, optional: true };
                let entry = found.rules.entry(path).or_insert(empty);
                entry.exec = Some(rule.access == Access::Exec);
                entry.optional &= rule.optional;
            }
        }
    }
}

/// The mounts that make `rules` so, in order.
///
/// # Errors
/// See [`IsolationError`].
pub fn steps(rules: &Rules, facts: &Facts) -> Result<Vec<MountStep>, IsolationError> {
    let mut plan = Steps { rules, taken: Vec::new(), place: Vec::new(), last: Vec::new(), trees: 2 };
    for (path, cover) in [&facts.covers.0, &facts.covers.1].into_iter().enumerate() {
        if rules.values().any(|rule| rule.what == Some(What::Inaccessible)) {
            plan.take(path, cover, (true, false), (READ_ONLY, 0))?;
        }
    }
    for (path, rule) in rules {
        // Nothing is below what cannot be opened.
        let hidden = path.ancestors().skip(1).filter_map(|parent| rules.get(parent));
        if !hidden.into_iter().any(|parent| parent.what == Some(What::Inaccessible)) {
            plan.rule(path, rule)?;
        }
    }
    let Steps { mut taken, place, last, trees, .. } = plan;
    if trees > MAX_TREES {
        return Err(IsolationError::TooMany(trees));
    }
    taken.extend(place);
    taken.extend(last);
    Ok(taken)
}

struct Steps<'a> {
    rules: &'a Rules,
    /// From the machine as it is.
    taken: Vec<MountStep>,
    place: Vec<MountStep>,
    /// Once everything is in place.
    last: Vec<MountStep>,
    trees: usize,
}

fn text(path: &Path) -> Result<CString, NulError> {
    CString::new(path.as_os_str().as_encoded_bytes())
}

impl Steps<'_> {
    fn take(
        &mut self,
        tree: usize,
        source: &Path,
        (recursive, optional): (bool, bool),
        flags: (u64, u64),
    ) -> Result<(), NulError> {
        let source = text(source)?;
        self.taken.push(MountStep::Take { tree, source, recursive, optional, flags });
        Ok(())
    }

    fn next_tree(&mut self) -> usize {
        self.trees += 1;
        self.trees - 1
    }

    /// Whether the nearest ancestor with a rule on it makes a path read-only, not executable.
    fn inherited(&self, path: &Path) -> (bool, bool) {
        let parents = || path.ancestors().skip(1).filter_map(|parent| self.rules.get(parent));
        let what = parents().find_map(|rule| rule.what.as_ref());
        let read_only = match what {
            Some(What::ReadOnly | What::Bind { read_only: true, .. }) => true,
            Some(What::New { read_only, .. }) => *read_only,
            _ => false,
        };
        (read_only, parents().find_map(|rule| rule.exec) == Some(false))
    }

    /// Whether what stands at a path when it is its turn is no longer the machine's.
    fn replaced(&self, path: &Path) -> bool {
        let parents = path.ancestors().skip(1).filter_map(|parent| self.rules.get(parent)?.what.as_ref());
        let what = parents.into_iter().find(|what| !matches!(what, What::ReadOnly | What::Kept));
        matches!(what, Some(What::Bind { .. } | What::New { fs_type: "tmpfs", .. }))
    }

    fn rule(&mut self, path: &Path, rule: &Rule) -> Result<(), IsolationError> {
        let (parent_read_only, parent_no_exec) = self.inherited(path);
        let no_exec = rule.exec.map_or(parent_no_exec, |exec| !exec);
        let exec_flags = if no_exec { NO_EXEC } else { 0 };
        let target = text(path)?;
        let parents: Vec<CString> = {
            let mut above: Vec<&Path> =
                path.ancestors().skip(1).filter(|path| *path != Path::new("/")).collect();
            above.reverse();
            above.into_iter().map(text).collect::<Result<_, _>>()?
        };
        let optional = rule.optional;
        match &rule.what {
            Some(What::Inaccessible) => {
                self.place.push(MountStep::Cover { folder: 0, file: 1, target, optional });
            }
            Some(What::Bind { source, recursive, read_only }) => {
                let tree = self.next_tree();
                let set = exec_flags | if *read_only { READ_ONLY } else { 0 };
                self.take(tree, source, (*recursive, optional), (set, 0))?;
                self.place.push(MountStep::Put { tree, target, parents: Some(parents), optional });
            }
            Some(What::New { fs_type, flags, options, read_only }) => {
                let step = MountStep::Mount {
                    fs_type: CString::new(*fs_type)?,
                    target: target.clone(),
                    flags: flags | if no_exec { NO_EXEC_FLAG } else { 0 },
                    options: CString::new(options.as_str())?,
                    // Only a mount point that stands in a new file system can be made.
                    parents: (!optional).then_some(parents),
                    optional,
                };
                self.place.push(step);
                if *read_only && !optional {
                    self.last.push(MountStep::Flags { target, set: READ_ONLY, recursive: false });
                } else if *read_only {
                    // Read-only from the start: if it is missing, so is this step's mount.
                    if let Some(MountStep::Mount { flags, .. }) = self.place.last_mut() {
                        *flags |= 1; // MS_RDONLY
                    }
                }
            }
            Some(What::Link(link)) => {
                self.place.push(MountStep::Link { text: CString::new(*link)?, path: target });
            }
            what @ (None | Some(What::ReadOnly | What::Kept)) => {
                let read_only = match what {
                    Some(What::ReadOnly) => true,
                    Some(_) => false,
                    None => parent_read_only,
                };
                let set = exec_flags | if read_only { READ_ONLY } else { 0 };
                if path == Path::new("/") {
                    if set != 0 {
                        self.place.push(MountStep::Flags { target, set, recursive: true });
                    }
                    return Ok(());
                }
                let tree = self.next_tree();
                let source = target.clone();
                let take = MountStep::Take { tree, source, recursive: true, optional, flags: (set, 0) };
                // Below a bind or a tmpfs it is theirs that is meant.
                if self.replaced(path) {
                    self.place.push(take);
                } else {
                    self.taken.push(take);
                }
                self.place.push(MountStep::Put { tree, target, parents: None, optional });
            }
        }
        Ok(())
    }
}

/// The whole of a service's mount namespace; `None` if it needs none.
///
/// # Errors
/// See [`IsolationError`].
pub fn mounts(sandbox: &Sandbox, facts: &Facts) -> Result<Option<Mounts>, IsolationError> {
    if !needs_mounts(sandbox) && facts.tmp.is_none() && facts.private_folders.is_empty() {
        return Ok(None);
    }
    let root = sandbox.root_directory.as_deref().map(text).transpose()?;
    let steps = steps(&rules(sandbox, facts), facts)?;
    Ok(Some(Mounts { steps, propagation: sandbox.mount_flags.unwrap_or(SLAVE), root }))
}

/// Capabilities that the sandbox takes out of the bounding set (systemd.exec(5)), as a mask.
pub fn dropped_capabilities(sandbox: &Sandbox) -> u64 {
    let keys = [
        (sandbox.private_devices, &["MKNOD", "SYS_RAWIO"][..]),
        (sandbox.protect_kernel_modules, &["SYS_MODULE"]),
        (sandbox.protect_kernel_logs, &["SYSLOG"]),
        (sandbox.protect_clock, &["SYS_TIME", "WAKE_ALARM"]),
    ];
    let names = keys.iter().filter(|(on, _)| *on).flat_map(|(_, names)| *names);
    names.filter_map(|name| sys::process::capability_by_name(name)).fold(0, |mask, number| mask | 1 << number)
}

#[cfg(test)]
mod tests;
