//! From what is asked for and what is there to a plan. No I/O.

use super::{Cgroup, IdMap, Ids, Plan, Seccomp, Step};
use crate::capabilities::Capabilities;
use crate::facts::{Facts, Image};
use crate::namespace::Namespace;
use crate::options::{Filter, Options, Profile};
use rustix::thread::CapabilitySet;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where the host's root is in a box.
const HOST: &str = "/media/root";
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
    /// A working folder that is no absolute path.
    #[error("--workdir {0} is not an absolute path")]
    WorkingFolder(PathBuf),
}

/// Decides what a box is.
///
/// # Errors
/// See [`Refusal`]: whatever is asked for is in the plan, or there is none.
pub fn decide(options: &Options, command: &[String], facts: &Facts, image: &Image) -> Result<Plan, Refusal> {
    let mut notes = Vec::new();
    let namespaces = namespaces(options, facts)?;
    let own = |kind| namespaces.contains(&kind);
    let capabilities = capabilities(options);
    let ids = own(Namespace::User).then(|| ids(facts, &mut notes));
    let host_name = host_name(&facts.host_name);
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
        steps: steps(options, facts, image, &namespaces, &host_name)?,
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
        command,
        namespaces,
        notes,
    })
}

fn namespaces(options: &Options, facts: &Facts) -> Result<Vec<Namespace>, Refusal> {
    use Namespace::{Cgroup, Ipc, Mount, Net, Pid, User, Uts};
    let mut own: BTreeSet<Namespace> = [Mount, Uts, Cgroup, Ipc, Pid].into();
    if matches!(options.profile, Profile::Process | Profile::All) {
        own.remove(&Pid);
        own.remove(&Ipc);
    }
    if facts.uid != 0 {
        own.insert(User);
    }
    if let Some(both) = options.share.iter().find(|kind| options.unshare.contains(kind)) {
        return Err(Refusal::BothWays(*both));
    }
    for kind in &options.share {
        match kind {
            Mount => return Err(Refusal::AlwaysOwn(Mount)),
            User if facts.uid != 0 => return Err(Refusal::NeedsUser),
            kind => own.remove(kind),
        };
    }
    own.extend(&options.unshare);
    // Links and devices belong to the host's user namespace.
    let foreign = own.contains(&User);
    match options.profile {
        Profile::Net if foreign && !own.contains(&Net) => Err(Refusal::NeedsRoot("net", "network")),
        Profile::Disk if foreign => Err(Refusal::NeedsRoot("disk", "block devices")),
        Profile::All if foreign => Err(Refusal::NeedsRoot("all", "network and devices")),
        _ => Ok(own.into_iter().collect()),
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
    let union = |list: &[Capabilities]| list.iter().fold(Capabilities::NONE, |all, one| all.with(*one));
    profile.without(union(&options.cap_drop)).with(union(&options.cap_add))
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
    host_name: &str,
) -> Result<Vec<Step>, Refusal> {
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
    for (name, content) in &facts.files {
        let mut content = content.clone();
        match *name {
            "resolv.conf" if own(Namespace::Net) => continue,
            "hosts" => content.extend(format!("127.0.1.1 {host_name}\n").bytes()),
            _ => {}
        }
        steps.push(Step::File { path: Path::new("/etc").join(name), content });
    }
    for mount in &options.mount {
        if ["/proc", "/sys", "/dev", HOST].iter().any(|path| mount.target == Path::new(path)) {
            return Err(Refusal::Reserved(mount.target.clone()));
        }
    }
    steps.push(Step::Root { source: image.tree.clone(), read_only: options.read_only });
    if image.is_host {
        let path = |path: &PathBuf| Step::Layer { path: path.clone() };
        steps.extend(facts.trees.iter().map(path));
    }
    if matches!(options.profile, Profile::Disk | Profile::All) {
        steps.push(bind("/dev", "/dev", true, false));
    } else {
        steps.push(Step::Devices { nodes: vec!["full", "null", "random", "tty", "urandom", "zero"] });
    }
    if own(Namespace::Pid) {
        steps.push(Step::Proc);
    } else {
        steps.push(bind("/proc", "/proc", true, false));
    }
    if own(Namespace::Net) {
        steps.push(Step::Sys);
    } else {
        // A user cannot have what another's mounts below hide.
        steps.push(bind("/sys", "/sys", all || own(Namespace::User), !all));
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
    if own(Namespace::Pid) && !all {
        steps.push(Step::Processes { target: Path::new(HOST).join("proc") });
    }
    if !all {
        // Root may write here whatever its capabilities; these are the whole host's.
        let parts = ["sys", "sysrq-trigger", "irq", "bus"];
        steps.extend(parts.map(|part| Step::Protect { path: Path::new("/proc").join(part) }));
    }
    Ok(steps)
}
