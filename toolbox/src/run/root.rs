//! Makes the box's root, in its mount namespace.
//!
//! A tmpfs becomes the root and the host's tree hangs below it at /host. The box's root is then put together at
//! /root from paths below both, the host's tree is moved into it, and it becomes the root in its turn. What an
//! image says never decides where on the host something is made: paths in it are resolved in its own root.

use crate::plan::{Plan, Step};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::fs::{FileType, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// A mount point that each host has; it is seen again as soon as the tmpfs there is the root.
const FIRST: &str = "/proc";
const HOST: &str = "/host";
const LAYER: &str = "/layer";
const ROOT: &str = "/root";
/// Where the box's cgroups are mounted first.
const CGROUPS: &str = "/cgroups";
const DEVICES: &str = "/dev";

/// A step that failed.
type Failure = String;

trait At<T> {
    fn at(self, what: &str, path: &Path) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, what: &str, path: &Path) -> Result<T, Failure> {
        self.map_err(|error| format!("{what} {}: {}", path.display(), error.into()))
    }
}

/// Makes the root and enters it.
pub(super) fn make(plan: &Plan, target: Option<&OwnedFd>) -> Result<(), Failure> {
    let writable = plan.steps.iter().any(|step| matches!(step, Step::Host { read_only: false, .. }));
    // The host's later mounts come into a box that may write to it, and its unmounts. One that may not gets
    // none: they would be writable.
    let propagation = if writable { MsFlags::MS_SLAVE } else { MsFlags::MS_PRIVATE };
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | propagation, None::<&str>)
        .at("part the mounts of", Path::new("/"))?;
    let sources = sources(plan, target)?;
    mount(Some("toolbox"), FIRST, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0755"))
        .at("mount a tmpfs at", Path::new(FIRST))?;
    let old = format!("{FIRST}{HOST}");
    fs::create_dir(&old).at("make", Path::new(&old))?;
    nix::unistd::pivot_root(FIRST, old.as_str()).at("enter", Path::new(FIRST))?;
    nix::unistd::chdir("/").at("enter", Path::new("/"))?;
    for folder in [LAYER, "/upper", "/work", ROOT, DEVICES] {
        folder_with(0o755).create(folder).at("make", Path::new(folder))?;
    }
    let maker = Maker { foreign: plan.is_foreign(), sources };
    for (number, step) in plan.steps.iter().enumerate() {
        maker.carry_out(number, step)?;
    }
    nix::unistd::chdir(ROOT).at("enter", Path::new(ROOT))?;
    nix::unistd::pivot_root(".", ".").at("enter", Path::new(ROOT))?;
    umount2(".", MntFlags::MNT_DETACH).at("leave", Path::new("/"))?;
    nix::unistd::chdir("/").at("enter", Path::new("/"))
}

/// Copies of the trees that are bound, by the step's number, taken while links of the host lead to where they
/// should.
fn sources(plan: &Plan, target: Option<&OwnedFd>) -> Result<Vec<Option<OwnedFd>>, Failure> {
    let take = |step: &Step| match step {
        Step::Bind { source, recursive, .. } => {
            let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            if *recursive {
                flags |= OpenTreeFlags::AT_RECURSIVE;
            }
            open_tree(rustix::fs::CWD, source, flags).map(Some).at("take", source)
        }
        Step::Target { target: place, .. } => match (target, &plan.target) {
            (Some(process), Some(target)) => {
                super::join::root_of(process, target.pid).map(Some).at("take the target's root for", place)
            }
            _ => Ok(None),
        },
        _ => Ok(None),
    };
    plan.steps.iter().map(take).collect()
}

/// A folder with these rights and no less: init has no umask.
fn folder_with(mode: u32) -> DirBuilder {
    let mut folder = DirBuilder::new();
    folder.mode(mode);
    folder
}

struct Maker {
    /// In a user namespace, where no device can be made.
    foreign: bool,
    sources: Vec<Option<OwnedFd>>,
}

impl Maker {
    fn carry_out(&self, number: usize, step: &Step) -> Result<(), Failure> {
        match step {
            Step::Folder { path, mode } => {
                let path = below(LAYER, path);
                match folder_with(*mode).create(&path) {
                    // It was made on the way to another, or is to make its own way.
                    Err(_) => {
                        fs::create_dir_all(&path).at("make", &path)?;
                        fs::set_permissions(&path, Permissions::from_mode(*mode)).at("make", &path)
                    }
                    made => made.at("make", &path),
                }
            }
            Step::File { path, content } => {
                let path = below(LAYER, path);
                fs::write(&path, content).at("write", &path)
            }
            Step::Link { path, to } => {
                let path = below(LAYER, path);
                symlink(to, &path).at("make", &path)
            }
            Step::Root { source, read_only, layer } => {
                let source = below(HOST, source);
                let upper = match layer {
                    Some(folder) => self.kept(folder),
                    None if *read_only => String::new(),
                    None => ",upperdir=/upper,workdir=/work".to_owned(),
                };
                self.overlay(
                    &format!("lowerdir={LAYER}:{}{upper}", source.display()),
                    Path::new(ROOT),
                    &source,
                )
            }
            Step::Layer { path } => Self::layer(self, number, path),
            Step::Devices { nodes } => self.devices(nodes),
            Step::Bind { target, read_only, .. } => {
                let Some(Some(tree)) = self.sources.get(number) else { return Ok(()) };
                attach(tree, target)?;
                if *read_only {
                    let path = below(ROOT, target);
                    sys::mount::make_tree_read_only(&resolved(target)?).at("protect", &path)?;
                }
                Ok(())
            }
            Step::Proc => {
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                let target = below(ROOT, Path::new("/proc"));
                mount(Some("proc"), &target, Some("proc"), flags, None::<&str>)
                    .at("mount", Path::new("/proc"))
            }
            Step::Sys => read_only_api("sysfs", "/sys"),
            Step::Cgroups => cgroups(),
            Step::Host { target, read_only } => {
                let place = resolved(target)?;
                let host = open_tree(rustix::fs::CWD, HOST, OpenTreeFlags::OPEN_TREE_CLOEXEC)
                    .at("take", Path::new("/"))?;
                put(&host, &place).at("put the host's root at", target)?;
                if *read_only {
                    sys::mount::make_tree_inert(&host).at("protect", target)?;
                }
                Ok(())
            }
            Step::Target { target, read_only } => {
                let Some(Some(tree)) = self.sources.get(number) else { return Ok(()) };
                if *read_only {
                    sys::mount::make_tree_inert(tree).at("protect", target)?;
                }
                put(tree, &resolved(target)?).at("put the target's root at", target)
            }
            Step::Processes { target } => {
                let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                // The host's root is there by now, in which /proc is no link.
                mount(Some("proc"), &below(ROOT, target), Some("proc"), flags, None::<&str>)
                    .at("mount", target)
            }
            Step::Protect { path } => {
                // Not all kernels have all of them.
                let Ok(place) = resolved(path) else { return Ok(()) };
                let flags = OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_EMPTY_PATH
                    | OpenTreeFlags::AT_RECURSIVE;
                let tree = open_tree(&place, "", flags).at("take", path)?;
                sys::mount::make_tree_read_only(&tree).at("protect", path)?;
                put(&tree, &place).at("protect", path)
            }
        }
    }

    /// The layer of a kept box, whose files say all that it is by themselves: no links to those of the image.
    fn kept(&self, folder: &Path) -> String {
        let folder = below(HOST, folder);
        // Of a user namespace the kernel does neither, and refuses to be told so.
        let plain = if self.foreign { "" } else { ",redirect_dir=off,metacopy=off" };
        format!(",upperdir={0}/upper,workdir={0}/work{plain}", folder.display())
    }

    fn overlay(&self, options: &str, target: &Path, source: &Path) -> Result<(), Failure> {
        // Without privilege, overlayfs keeps its marks where users may: overlayfs.rst, "User xattr".
        let options = if self.foreign { format!("{options},userxattr") } else { options.to_owned() };
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("toolbox"), target, Some("overlay"), flags, Some(options.as_str()))
            .at("mount an overlay above", source.strip_prefix(HOST).unwrap_or(source))
    }

    /// A tree of the host at its own path: with a layer above, or read-only where overlayfs does not go.
    fn layer(&self, number: usize, path: &Path) -> Result<(), Failure> {
        let Ok(place) = resolved(path) else { return Ok(()) };
        let source = below(HOST, path);
        let folder = PathBuf::from(format!("/layer-{number}"));
        for name in ["upper", "work"] {
            let folder = folder.join(name);
            fs::create_dir_all(&folder).at("make", &folder)?;
        }
        if fstat(&place).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
            && !source.as_os_str().to_string_lossy().contains([':', ',', '\\'])
        {
            let (source, folder) = (source.display(), folder.display());
            let options = format!("lowerdir={source},upperdir={folder}/upper,workdir={folder}/work");
            if self.overlay(&options, &below(ROOT, path), path).is_ok() {
                return Ok(());
            }
        }
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(rustix::fs::CWD, &source, flags).at("take", path)?;
        sys::mount::make_tree_inert(&tree).at("protect", path)?;
        put(&tree, &place).at("put at", path)
    }

    fn devices(&self, nodes: &[&'static str]) -> Result<(), Failure> {
        let base = Path::new(DEVICES);
        for name in nodes {
            let path = base.join(name);
            let number = device_number(name);
            if !self.foreign
                && let Some((major, minor)) = number
            {
                mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor))
                    .at("make", &path)?;
                continue;
            }
            fs::write(&path, "").at("make", &path)?;
            let source = below(HOST, &path);
            mount(Some(&source), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).at("take", &path)?;
        }
        let links = [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ];
        for (name, to) in links {
            let path = base.join(name);
            symlink(to, &path).at("make", &path)?;
        }
        for (name, mode) in [("pts", 0o755), ("shm", 0o1777)] {
            let path = base.join(name);
            folder_with(mode).create(&path).at("make", &path)?;
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        let pts = base.join("pts");
        mount(Some("devpts"), &pts, Some("devpts"), flags, Some("newinstance,ptmxmode=0666,mode=0620"))
            .at("mount", &pts)?;
        let target = below(ROOT, base);
        mount(Some(base), &target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .at("bind", base)
    }
}

/// Linux, Documentation/admin-guide/devices.txt.
fn device_number(name: &str) -> Option<(u64, u64)> {
    Some(match name {
        "null" => (1, 3),
        "zero" => (1, 5),
        "full" => (1, 7),
        "random" => (1, 8),
        "urandom" => (1, 9),
        "tty" => (5, 0),
        _ => return None,
    })
}

/// The box's cgroups. Where the host's are at the same place, mount(2) refuses the same file system once more
/// (EBUSY), and a mount that is moved there is taken.
fn cgroups() -> Result<(), Failure> {
    let place = Path::new("/sys/fs/cgroup");
    fs::create_dir_all(CGROUPS).at("make", Path::new(CGROUPS))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    mount(Some("cgroup2"), CGROUPS, Some("cgroup2"), flags, None::<&str>).at("mount", place)?;
    let tree = open_tree(
        rustix::fs::CWD,
        CGROUPS,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .at("take", place)?;
    put(&tree, &resolved(place)?).at("mount", place)
}

fn read_only_api(kind: &'static str, path: &str) -> Result<(), Failure> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(kind), &below(ROOT, Path::new(path)), Some(kind), flags, None::<&str>)
        .at("mount", Path::new(path))
}

/// An absolute path, below a folder.
fn below(folder: &str, path: &Path) -> PathBuf {
    Path::new(folder).join(path.strip_prefix("/").unwrap_or(path))
}

/// What is at a path of the box, its links followed as they will be there.
fn resolved(path: &Path) -> Result<OwnedFd, Failure> {
    let root = open_root()?;
    open_in(&root, path).at("find", path)
}

fn open_root() -> Result<OwnedFd, Failure> {
    rustix::fs::open(ROOT, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty())
        .at("open", Path::new(ROOT))
}

fn open_in(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(root, path, flags, rustix::fs::Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Mounts a taken tree at a path of the box, which is made when it is not there.
fn attach(tree: &OwnedFd, target: &Path) -> Result<(), Failure> {
    let root = open_root()?;
    let stat = fstat(tree).at("look at", target)?;
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let place = match open_in(&root, target) {
        Ok(place) => place,
        Err(rustix::io::Errno::NOENT) => create(&root, target, is_folder).at("make", target)?,
        Err(error) => return Err(error).at("find", target),
    };
    put(tree, &place).at("mount at", target)
}

/// Makes a folder or an empty file, with the folders above it.
fn create(root: &OwnedFd, path: &Path, is_folder: bool) -> rustix::io::Result<OwnedFd> {
    let parts: Vec<Component<'_>> = path.components().collect();
    let mut walked = PathBuf::from("/");
    for (index, part) in parts.iter().enumerate().skip(1) {
        let parent = open_in(root, &walked)?;
        walked.push(part);
        match open_in(root, &walked) {
            Err(rustix::io::Errno::NOENT) if is_folder || index + 1 < parts.len() => {
                mkdirat(&parent, part.as_os_str(), 0o755.into())?;
            }
            Err(rustix::io::Errno::NOENT) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                openat(&parent, part.as_os_str(), flags, 0o644.into())?;
            }
            other => drop(other?),
        }
    }
    open_in(root, path)
}

fn put(tree: &OwnedFd, place: &impl AsFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", place.as_fd(), "", flags)
}
