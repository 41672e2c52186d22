//! From what is asked for and what is there to a plan. No I/O.

use super::{Cgroup, IdMap, Ids, Plan, Seccomp, Step};
use crate::capabilities::Capabilities;
use crate::facts::{Facts, Image};
use crate::namespace::Namespace;
use crate::options::{Filter, Options, Profile};
use crate::target::Target;
use rustix::thread::CapabilitySet;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where the host's root is in a box.
const HOST: &str = "/media/root";
/// Where the root of the process is whose namespaces are joined.
const TARGET: &str = "/media/target";
/// What is joined of a process. Its mounts would hide the box's tools, and a cgroup is the box's own.
const JOINED: [Namespace; 5] =
    [Namespace::Uts, Namespace::Ipc, Namespace::Pid, Namespace::Net, Namespace::User];
/// Variables of the caller that a box has too, and prefixes of such.
const CARRIED: [&str; 14] = [
    "TERM",
    "COLORTERM",
    "LANG",
    "LANGUAGE",
    "TZ",
    "NO_COLOR",
    "EDITOR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "LS_COLORS",
];
/// The kernel's limit, `__NEW_UTS_LEN`, <linux/utsname.h>.
const HOST_NAME_MAX: usize = 64;
/// The period of `cpu.max`, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A namespace is both shared and unshared.
    #[error("--share {0} and --unshare {0} contradict each other")]
    BothWays(Namespace),
    /// A box always has its own.
    #[error("a box cannot be without a {0} namespace of its own")]
    AlwaysOwn(Namespace),
    /// A namespace needs the user's, which is shared.
    #[error("without root no namespace can be made outside of a user namespace; leave out --share user")]
    NeedsUser,
    /// What a user cannot have.
    #[error("--profile {0} needs root: the host's {1} cannot be given to a user namespace")]
    NeedsRoot(&'static str, &'static str),
    /// A namespace of a process, for a user.
    #[error("--target {0}: its {1} namespace can be joined by root alone; leave it out: --share {1}")]
    NotJoined(String, Namespace),
    /// New processes' numbers below another's.
    #[error(
        "--target {0}: its user namespace has no pid namespace of the box's own below it; leave out --unshare pid"
    )]
    NoOwnPids(String),
    /// An option of a session that ends, for one that stays.
    #[error("{0} is for a box that ends; leave out --keep")]
    NotKept(&'static str),
    /// A limit without a cgroup or its controller.
    #[error("--{limit} cannot be kept to: {why}")]
    NoLimit {
        /// The option.
        limit: &'static str,
        /// Why.
        why: String,
    },
    /// An image without a shell.
    #[error("{0} has no shell; name a command: toolbox run --from {0} -- COMMAND")]
    NoShell(String),
    /// A path that is the box's own.
    #[error("--mount to {0} would hide what a box needs")]
    Reserved(PathBuf),
    /// A kept box that could keep nothing.
    #[error("--keep and --read-only contradict each other: there would be nothing to keep")]
    NothingToKeep,
    /// The layer would lie in the tree that it is above.
    #[error("the host's own root cannot be kept: its layer would lie within it; name an image with --from")]
    KeptHost,
    /// A working folder that is no absolute path.
    #[error("--workdir {0} is not an absolute path")]
    WorkingFolder(PathBuf),
}

/// Decides what a box is.
///
/// # Errors
/// See [`Refusal`]: whatever is asked for is in the plan, or there is none.
pub fn decide(options: &Options, command: &[String], facts: &Facts, image: &Image) -> Result<Plan, Refusal> {
    let of_a_session = [("--target", options.target.is_some()), ("--report", options.report)];
    if options.keep.is_some()
        && let Some((name, _)) = of_a_session.into_iter().find(|(_, asked)| *asked)
    {
        return Err(Refusal::NotKept(name));
    }
    if options.keep.is_some() && options.read_only {
        return Err(Refusal::NothingToKeep);
    }
    if options.keep.is_some() && image.is_host {
        return Err(Refusal::KeptHost);
    }
    let mut notes = Vec::new();
    let target = facts.target.as_ref().filter(|_| options.target.is_some());
    let (namespaces, joined) = namespaces(options, facts, target)?;
    let own = |kind| namespaces.contains(&kind);
    let capabilities = capabilities(options);
    let ids = own(Namespace::User).then(|| ids(facts, &mut notes));
    if let Some(ids) = &ids
        && !ids.by_tools
        && image.owner != facts.uid
    {
        notes.push(format!(
            "{} belongs to another user: what it has can be read, and only /root, /tmp and what is new be changed",
            image.name
        ));
    }
    let host_name = host_name(&facts.host_name);
    if let Some(target) = target
        && target_root(target, facts, &joined, true).is_none()
    {
        notes.push(format!(
            "the files of {} cannot be shown at {TARGET}: its mounts are another's",
            target.name
        ));
    }
    let command = if command.is_empty() {
        vec![image.shell.clone().ok_or_else(|| Refusal::NoShell(image.name.clone()))?]
    } else {
        command.to_vec()
    };
    let working_dir = options.workdir.clone().or_else(|| image.working_dir.clone());
    let working_dir = working_dir.unwrap_or_else(|| PathBuf::from("/root"));
    if !working_dir.is_absolute() {
        return Err(Refusal::WorkingFolder(working_dir));
    }
    Ok(Plan {
        image: image.name.clone(),
        ids,
        steps: steps(options, facts, image, &namespaces, &joined, &host_name)?,
        host_name,
        capabilities,
        cgroup: cgroup(options, facts, &mut notes)?,
        seccomp: match &options.seccomp {
            Filter::Default => Seccomp::Default,
            Filter::Off => Seccomp::Off,
            Filter::File(path) => Seccomp::File(path.clone()),
        },
        environment: environment(options, facts, image),
        working_dir,
        terminal: facts.terminal,
        report: options.report,
        command,
        namespaces,
        joined,
        target: target.cloned(),
        notes,
    })
}

/// The box's own, and those that it joins.
fn namespaces(
    options: &Options,
    facts: &Facts,
    target: Option<&Target>,
) -> Result<(Vec<Namespace>, Vec<Namespace>), Refusal> {
    use Namespace::{Cgroup, Ipc, Mount, Net, Pid, User, Uts};
    let mut own: BTreeSet<Namespace> = [Mount, Uts, Cgroup, Ipc, Pid].into();
    if matches!(options.profile, Profile::Process | Profile::All) {
        own.remove(&Pid);
        own.remove(&Ipc);
    }
    let mut joined = BTreeSet::new();
    if let Some(target) = target {
        // What it has of the host's is the host's here too.
        own.retain(|kind| !JOINED.contains(kind));
        joined.extend(JOINED.into_iter().filter(|kind| target.others.contains(kind)));
    }
    if facts.uid != 0 && !joined.contains(&User) {
        own.insert(User);
    }
    if let Some(both) = options.share.iter().find(|kind| options.unshare.contains(kind)) {
        return Err(Refusal::BothWays(*both));
    }
    for kind in &options.share {
        match kind {
            Mount => return Err(Refusal::AlwaysOwn(Mount)),
            User if facts.uid != 0 => return Err(Refusal::NeedsUser),
            kind => {
                joined.remove(kind);
                own.remove(kind)
            }
        };
    }
    own.extend(&options.unshare);
    joined.retain(|kind| !own.contains(kind));
    if let Some(target) = target {
        if let Some(kind) = joined.iter().find(|_| facts.uid != 0 && !joined.contains(&User)) {
            return Err(Refusal::NotJoined(target.name.clone(), *kind));
        }
        if joined.contains(&User) && own.contains(&Pid) {
            return Err(Refusal::NoOwnPids(target.name.clone()));
        }
    }
    // Links and devices belong to the host's user namespace.
    let foreign = own.contains(&User) || joined.contains(&User);
    match options.profile {
        Profile::Net if foreign && !own.contains(&Net) => Err(Refusal::NeedsRoot("net", "network")),
        Profile::Disk if foreign => Err(Refusal::NeedsRoot("disk", "block devices")),
        Profile::All if foreign => Err(Refusal::NeedsRoot("all", "network and devices")),
        _ => Ok((own.into_iter().collect(), joined.into_iter().collect())),
    }
}

fn capabilities(options: &Options) -> Capabilities {
    let of = |set: CapabilitySet| Capabilities::BASE.with(Capabilities(set));
    let profile = match options.profile {
        Profile::View => Capabilities::BASE,
        Profile::Net => of(CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW),
        Profile::Disk => of(CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_RAWIO | CapabilitySet::MKNOD),
        Profile::Process => of(CapabilitySet::SYS_PTRACE | CapabilitySet::SYS_NICE | CapabilitySet::SYSLOG),
        Profile::All => Capabilities::ALL,
    };
    // Whoever looks at a process traces it.
    let profile = if options.target.is_some() {
        profile.with(Capabilities(CapabilitySet::SYS_PTRACE))
    } else {
        profile
    };
    let union = |list: &[Capabilities]| list.iter().fold(Capabilities::NONE, |all, one| all.with(*one));
    profile.without(union(&options.cap_drop)).with(union(&options.cap_add))
}

/// The ids that a user's box would have.
pub fn user_ids(facts: &Facts) -> Ids {
    ids(facts, &mut Vec::new())
}

fn ids(facts: &Facts, notes: &mut Vec<String>) -> Ids {
    let map = |inside, outside, count| IdMap { inside, outside, count };
    if facts.uid == 0 {
        // Root's own namespace has all ids.
        let all = vec![map(0, 0, u32::MAX)];
        return Ids { users: all.clone(), groups: all, by_tools: false };
    }
    if let Some((users, groups)) = facts.ranges {
        let with = |own, range: crate::facts::Range| vec![map(0, own, 1), map(1, range.first, range.count)];
        return Ids { users: with(facts.uid, users), groups: with(facts.gid, groups), by_tools: true };
    }
    notes.push(
        "only root is there in the box: for more users, newuidmap and a range in /etc/subuid and /etc/subgid are \
         needed"
            .to_owned(),
    );
    Ids { users: vec![map(0, facts.uid, 1)], groups: vec![map(0, facts.gid, 1)], by_tools: false }
}

/// The host's name, known as a box's: `HOST-toolbox`.
fn host_name(host: &str) -> String {
    const SUFFIX: &str = "-toolbox";
    let short = host.split('.').next().unwrap_or_default();
    let end = short.floor_char_boundary(HOST_NAME_MAX - SUFFIX.len());
    format!("{}{SUFFIX}", &short[..end])
}

fn cgroup(options: &Options, facts: &Facts, notes: &mut Vec<String>) -> Result<Option<Cgroup>, Refusal> {
    let cpus = options.cpus.map(|cpus| format!("{} {CPU_PERIOD}", (cpus * CPU_PERIOD as f64) as u64));
    let asked = [
        ("memory", "memory", "memory.max", options.memory.map(|bytes| bytes.to_string())),
        ("cpus", "cpu", "cpu.max", cpus),
        ("pids", "pids", "pids.max", options.pids.map(|count| count.to_string())),
    ];
    let place = match &facts.cgroup {
        Ok(place) => place,
        Err(why) => {
            return match asked.iter().find(|(.., value)| value.is_some()) {
                Some((limit, ..)) => Err(Refusal::NoLimit { limit, why: why.clone() }),
                None => {
                    notes.push(format!("the box has no cgroup of its own: {why}"));
                    Ok(None)
                }
            };
        }
    };
    let mut limits = Vec::new();
    for (limit, controller, file, value) in asked {
        let Some(value) = value else { continue };
        if !place.controllers.iter().any(|name| name == controller) {
            let why = format!("the cgroup {} gives out no controller `{controller}`", place.parent.display());
            return Err(Refusal::NoLimit { limit, why });
        }
        limits.push((file.to_owned(), value));
    }
    Ok(Some(Cgroup { parent: place.parent.clone(), limits }))
}

fn environment(options: &Options, facts: &Facts, image: &Image) -> BTreeMap<String, String> {
    let fixed = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("container", "toolbox"),
    ];
    let mut environment: BTreeMap<String, String> =
        fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    environment.extend(image.environment.iter().cloned());
    if let Some(shell) = &image.shell {
        environment.insert("SHELL".to_owned(), shell.clone());
    }
    let carried = facts
        .environment
        .iter()
        .filter(|(name, _)| CARRIED.contains(&name.as_str()) || name.starts_with("LC_"));
    environment.extend(carried.map(|(name, value)| (name.clone(), value.clone())));
    for (name, value) in &options.env {
        match value.as_ref().or_else(|| facts.environment.get(name)) {
            Some(value) => environment.insert(name.clone(), value.clone()),
            None => environment.remove(name),
        };
    }
    environment
}

fn steps(
    options: &Options,
    facts: &Facts,
    image: &Image,
    namespaces: &[Namespace],
    joined: &[Namespace],
    host_name: &str,
) -> Result<Vec<Step>, Refusal> {
    // Seen through what the kernel makes for it: another's than the host's.
    let apart = |kind| namespaces.contains(&kind) || joined.contains(&kind);
    let own = |kind| namespaces.contains(&kind);
    let all = options.profile == Profile::All;
    let folder = |path: &str, mode| Step::Folder { path: path.into(), mode };
    let bind = |source: &str, target: &str, recursive, read_only| Step::Bind {
        source: source.into(),
        target: target.into(),
        recursive,
        read_only,
    };
    let mut steps = vec![
        folder("/proc", 0o555),
        folder("/sys", 0o555),
        folder("/dev", 0o755),
        folder("/run", 0o755),
        folder("/tmp", 0o1777),
        folder("/root", 0o700),
        folder("/etc", 0o755),
        folder("/media", 0o755),
        folder(HOST, 0o755),
        Step::Link { path: "/run/host".into(), to: HOST.into() },
    ];
    let target = facts.target.as_ref().filter(|_| options.target.is_some());
    let of_target = target.and_then(|target| target_root(target, facts, joined, !all));
    match &of_target {
        Some(link @ Step::Link { .. }) => steps.push(link.clone()),
        Some(_) => steps.push(folder(TARGET, 0o755)),
        None => {}
    }
    for (name, content) in &facts.files {
        let mut content = content.clone();
        match *name {
            "resolv.conf" if own(Namespace::Net) => continue,
            "resolv.conf" if joined.contains(&Namespace::Net) => {
                content =
                    facts.target.as_ref().and_then(|target| target.resolv_conf.clone()).unwrap_or_default();
            }
            "hosts" => content.extend(format!("127.0.1.1 {host_name}\n").bytes()),
            _ => {}
        }
        steps.push(Step::File { path: Path::new("/etc").join(name), content });
    }
    for mount in &options.mount {
        if ["/proc", "/sys", "/dev", HOST, TARGET].iter().any(|path| mount.target == Path::new(path)) {
            return Err(Refusal::Reserved(mount.target.clone()));
        }
    }
    steps.push(Step::Root {
        source: image.tree.clone(),
        read_only: options.read_only,
        layer: image.layer.clone(),
    });
    if image.is_host {
        let path = |path: &PathBuf| Step::Layer { path: path.clone() };
        steps.extend(facts.trees.iter().map(path));
    }
    if matches!(options.profile, Profile::Disk | Profile::All) {
        steps.push(bind("/dev", "/dev", true, false));
    } else {
        steps.push(Step::Devices { nodes: vec!["full", "null", "random", "tty", "urandom", "zero"] });
    }
    if apart(Namespace::Pid) {
        steps.push(Step::Proc);
    } else {
        steps.push(bind("/proc", "/proc", true, false));
    }
    if apart(Namespace::Net) {
        steps.push(Step::Sys);
    } else {
        // A user cannot have what another's mounts below hide.
        steps.push(bind("/sys", "/sys", all || apart(Namespace::User), !all));
    }
    if facts.unified_cgroups && own(Namespace::Cgroup) && !all {
        steps.push(Step::Cgroups);
    }
    steps.extend(options.mount.iter().map(|mount| Step::Bind {
        source: mount.source.clone(),
        target: mount.target.clone(),
        recursive: true,
        read_only: mount.read_only,
    }));
    steps.push(Step::Host { target: HOST.into(), read_only: !all });
    steps.extend(of_target.filter(|step| !matches!(step, Step::Link { .. })));
    if apart(Namespace::Pid) && !all {
        steps.push(Step::Processes { target: Path::new(HOST).join("proc") });
    }
    if !all {
        // Root may write here whatever its capabilities; these are the whole host's.
        let parts = ["sys", "sysrq-trigger", "irq", "bus"];
        steps.extend(parts.map(|part| Step::Protect { path: Path::new("/proc").join(part) }));
    }
    Ok(steps)
}

/// What shows the files of a process, when they can be had: without root, only where its mounts are the caller's, or
/// its user namespace is joined.
fn target_root(target: &Target, facts: &Facts, joined: &[Namespace], read_only: bool) -> Option<Step> {
    if !target.others.contains(&Namespace::Mount) {
        // A path that does not begin at the root is of files that were moved away.
        let below = target.root.strip_prefix("/").ok()?;
        return Some(Step::Link { path: TARGET.into(), to: Path::new(HOST).join(below) });
    }
    let may = facts.uid == 0 || joined.contains(&Namespace::User);
    may.then(|| Step::Target { target: TARGET.into(), read_only })
}
