//! What of the host a plan depends on, as plain data.

use crate::namespace::Namespace;
use crate::target::{self, Target};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A range of ids that a user may map (subuid(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first id outside.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Where a box's cgroup can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPlace {
    /// The folder that it is made in.
    pub parent: PathBuf,
    /// The controllers that it will have there.
    pub controllers: Vec<String>,
}

/// The host and the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The caller's user and group ids.
    pub uid: u32,
    /// See `uid`.
    pub gid: u32,
    /// The caller's name, when it has one.
    pub user: Option<String>,
    /// The user's ranges of /etc/subuid and /etc/subgid, when both and newuidmap(1) and newgidmap(1) are there.
    pub ranges: Option<(Range, Range)>,
    /// The host's name.
    pub host_name: String,
    /// The caller's environment.
    pub environment: BTreeMap<String, String>,
    /// Whether standard input and output are both a terminal.
    pub terminal: bool,
    /// A cgroup place, or why there is none.
    pub cgroup: Result<CgroupPlace, String>,
    /// Where cgroup2 alone is mounted at /sys/fs/cgroup.
    pub unified_cgroups: bool,
    /// The contents of files that a box needs of the host: resolv.conf, hosts, localtime, by name in /etc.
    pub files: BTreeMap<&'static str, Vec<u8>>,
    /// Mount points of the host, with their types, that hold files of its own: neither /proc nor the like.
    pub trees: Vec<PathBuf>,
    /// The process whose namespaces are to be joined.
    pub target: Option<Target>,
}

/// What of an image a plan depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name, as it was asked for.
    pub name: String,
    /// The tree, on the host.
    pub tree: PathBuf,
    /// Whom the tree's root belongs to.
    pub owner: u32,
    /// It is the host's own root.
    pub is_host: bool,
    /// The first shell that is in it.
    pub shell: Option<String>,
    /// Variables that it asks for.
    pub environment: Vec<(String, String)>,
    /// The folder that it asks for.
    pub working_dir: Option<PathBuf>,
    /// The folder of the kept box that it is for: its layer is there.
    pub layer: Option<PathBuf>,
}

/// The shells that are looked for, the best first.
const SHELLS: [&str; 4] = ["/bin/bash", "/bin/zsh", "/bin/ash", "/bin/sh"];

/// Looks at the host.
pub fn gather(environment: BTreeMap<String, String>, terminal: bool) -> Facts {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    // getpwuid(3) loads libraries, which a static program cannot.
    let user = user_name(&fs::read_to_string("/etc/passwd").unwrap_or_default(), uid);
    let mounts = sys::mount::mounts().unwrap_or_default();
    let unified_cgroups =
        mounts.iter().any(|mount| mount.target == Path::new("/sys/fs/cgroup") && mount.fs_type == "cgroup2");
    Facts {
        uid,
        gid,
        ranges: ranges(uid, user.as_deref(), environment.get("PATH").map_or("", String::as_str)),
        user,
        host_name: nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| "localhost".to_owned()),
        environment,
        terminal,
        cgroup: cgroup_place(&mounts),
        unified_cgroups,
        files: ["resolv.conf", "hosts", "localtime"]
            .into_iter()
            .filter_map(|name| Some((name, fs::read(Path::new("/etc").join(name)).ok()?)))
            .collect(),
        trees: trees(&mounts),
        target: None,
    }
}

impl Facts {
    /// Looks for the process that `--target` names.
    ///
    /// # Errors
    /// See [`target::find`].
    pub fn with_target(mut self, name: &str) -> Result<Self, String> {
        let mounts = sys::mount::mounts().unwrap_or_default();
        let cgroups = mounts.into_iter().filter(|mount| mount.fs_type == "cgroup2").map(|mount| mount.target);
        self.target = Some(target::find(name, &cgroups.collect::<Vec<_>>())?);
        Ok(self)
    }
}

/// The name that stands for the host's own root.
pub const HOST: &str = "host";

/// Looks at the tree of an image, or at the host's root.
///
/// # Errors
/// What is wrong with it, in words.
pub fn image(name: &str, tree: &Path) -> Result<Image, String> {
    let is_host = name == HOST;
    let tree = fs::canonicalize(tree).map_err(|error| format!("{name}: {error}"))?;
    if tree.as_os_str().to_string_lossy().contains([':', ',', '\\']) {
        return Err(format!("{}: overlayfs cannot take a path with `:`, `,` or `\\`", tree.display()));
    }
    if !is_host && tree == Path::new("/") {
        return Err("the host's root is taken by `--from host`".to_owned());
    }
    // A link is enough: where an absolute one leads is known inside only.
    let there = |shell: &&str| fs::symlink_metadata(tree.join(&shell[1..])).is_ok();
    let shell = SHELLS.iter().find(|shell| there(shell)).map(|shell| (*shell).to_owned());
    Ok(Image {
        name: name.to_owned(),
        owner: fs::metadata(&tree).map_err(|error| format!("{name}: {error}"))?.uid(),
        tree,
        is_host,
        shell,
        environment: Vec::new(),
        working_dir: None,
        layer: None,
    })
}

fn ranges(uid: u32, user: Option<&str>, path: &str) -> Option<(Range, Range)> {
    if uid == 0 {
        return None;
    }
    for tool in ["newuidmap", "newgidmap"] {
        path.split(':').find(|folder| Path::new(folder).join(tool).is_file())?;
    }
    let read = |file: &str| range(&fs::read_to_string(file).ok()?, uid, user);
    Some((read("/etc/subuid")?, read("/etc/subgid")?))
}

/// The name of a user in the text of /etc/passwd.
fn user_name(text: &str, uid: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The first range of a user in the text of /etc/subuid.
fn range(text: &str, uid: u32, user: Option<&str>) -> Option<Range> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let mine = Some(owner) == user || owner.parse() == Ok(uid);
        let range = Range { first: fields.next()?.parse().ok()?, count: fields.next()?.trim().parse().ok()? };
        (mine && range.count > 0 && range.first.checked_add(range.count).is_some()).then_some(range)
    })
}

/// A cgroup in which another can be made and processes be moved to.
fn cgroup_place(mounts: &[sys::mount::MountPoint]) -> Result<CgroupPlace, String> {
    let mount = mounts.iter().find(|mount| mount.fs_type == "cgroup2").ok_or("cgroup v2 is not mounted")?;
    let own =
        fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
    let own =
        own.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("this process is in no cgroup v2")?;
    let root = nix::unistd::geteuid().is_root();
    // The root may be anywhere; others only where a folder has been given to them.
    let parent = if root { mount.target.clone() } else { mount.target.join(own) };
    let writable = |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok();
    if !writable(&parent) || !writable(&parent.join("cgroup.procs")) {
        return Err(format!("the cgroup {} is not delegated to this user", parent.display()));
    }
    let controllers = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
    Ok(CgroupPlace { parent, controllers: controllers.split_whitespace().map(str::to_owned).collect() })
}

/// Mount points with files of the host's own, the root left out.
fn trees(mounts: &[sys::mount::MountPoint]) -> Vec<PathBuf> {
    let outside =
        |path: &Path| ["/proc", "/sys", "/dev", "/run", "/tmp"].iter().any(|top| path.starts_with(top));
    let mut found: Vec<PathBuf> = mounts
        .iter()
        .map(|mount| mount.target.clone())
        .filter(|path| path != Path::new("/") && !outside(path))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whether a process of this device and inode is in its own namespace of a kind: for tests and reports.
pub fn namespace_id(process: &str, kind: Namespace) -> Option<u64> {
    let name = if kind == Namespace::Mount { "mnt".to_owned() } else { kind.to_string() };
    fs::metadata(format!("/proc/{process}/ns/{name}")).ok().map(|meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "anna:100000:65536\n1001:200000:1000\nbroken\nempty:5:0\nhuge:4294967295:2\n";
        let of = |uid, user| range(text, uid, user);
        assert_eq!(of(1000, Some("anna")), Some(Range { first: 100_000, count: 65_536 }));
        assert_eq!(of(1001, None), Some(Range { first: 200_000, count: 1000 }));
        for (uid, user) in [(7, Some("bob")), (7, Some("empty")), (7, Some("huge")), (7, Some("broken"))] {
            assert_eq!(of(uid, user), None);
        }
    }

    #[test]
    fn users_have_names() {
        let text = "root:x:0:0:root:/root:/bin/sh\n+::::::\nanna:x:1000:1000::/home/anna:/bin/bash\n";
        assert_eq!(user_name(text, 1000).as_deref(), Some("anna"));
        assert_eq!(user_name(text, 7), None);
    }

    #[test]
    fn an_image_is_a_folder_with_a_shell_or_without() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().to_str().unwrap();
        assert_eq!(image(name, folder.path()).unwrap().shell, None);
        fs::create_dir(folder.path().join("bin")).unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join("bin/sh")).unwrap();
        assert_eq!(image(name, folder.path()).unwrap().shell.as_deref(), Some("/bin/sh"));
        assert!(image("/", Path::new("/")).unwrap_err().contains("--from host"));
        assert!(image(HOST, Path::new("/")).unwrap().is_host);
        assert!(image("it", Path::new("/no/such")).unwrap_err().contains("it: "));
    }
}
