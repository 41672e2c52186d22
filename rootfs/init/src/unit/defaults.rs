//! What a unit of each type is and depends on without saying so (the manuals' sections "Implicit
//! Dependencies" and "Default Dependencies").

use super::config::{Relation, Special, Unit};
use super::mount::{device_name, mount_name};
use super::name::UnitName;
use super::socket::Address;
use super::timer::triggered;
use super::{Kind, mount};
use std::path::{Path, PathBuf};

/// Mount points that are there before PID 1 and stay until it ends.
const API: [&str; 9] =
    ["/", "/usr", "/proc", "/sys", "/dev", "/run", "/sys/fs/cgroup", "/dev/pts", "/dev/shm"];

/// The dependencies that `DefaultDependencies=no` turns off.
pub(super) fn dependencies(unit: &Unit) -> Vec<(Relation, &'static str)> {
    use Relation::{After, Before, Conflicts, Requires, Wants};
    let early = |target: &'static str| {
        vec![
            (Requires, "sysinit.target"),
            (After, "sysinit.target"),
            (Before, target),
            (Conflicts, "shutdown.target"),
            (Before, "shutdown.target"),
        ]
    };
    match (unit.name.kind(), &unit.special) {
        (Kind::Service, _) => vec![
            (Requires, "sysinit.target"),
            (After, "sysinit.target"),
            (After, "basic.target"),
            (Conflicts, "shutdown.target"),
            (Before, "shutdown.target"),
        ],
        (Kind::Socket, _) => early("sockets.target"),
        (Kind::Path, _) => early("paths.target"),
        (Kind::Timer, Special::Timer(timer)) => {
            let mut found = early("timers.target");
            if !timer.calendar.is_empty() {
                found.extend([(After, "time-set.target"), (After, "time-sync.target")]);
            }
            found
        }
        (Kind::Mount, Special::Mount(mount)) => {
            // What the kernel shows without a file is for who mounted it to take away.
            if unit.fragment.is_none() || API.iter().any(|path| mount.target == Path::new(path)) {
                return Vec::new();
            }
            let mut found = vec![(Conflicts, "umount.target"), (Before, "umount.target")];
            found.extend(if mount.is_remote() {
                [
                    (After, "remote-fs-pre.target"),
                    (After, "network.target"),
                    (Wants, "network-online.target"),
                    (After, "network-online.target"),
                    (Before, "remote-fs.target"),
                ]
                .to_vec()
            } else {
                vec![(After, "local-fs-pre.target"), (Before, "local-fs.target")]
            });
            found
        }
        (Kind::Device, _) => Vec::new(),
        _ => vec![(Conflicts, "shutdown.target"), (Before, "shutdown.target")],
    }
}

/// The dependencies that follow from the keys of its type.
pub(super) fn implied(unit: &Unit) -> Vec<(Relation, UnitName)> {
    use Relation::{After, Before, BindsTo, Requires, RequiresMountsFor, TriggeredBy, Triggers, Wants};
    let mut found = Vec::new();
    let own = &unit.name;
    let mut trigger = |name: Option<UnitName>| {
        // A template has no unit to be before; its instances come with the connections.
        if let Some(name) = name.filter(|name| !name.is_template()) {
            found.push((Triggers, name.clone()));
            found.push((Before, name));
        }
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    match &unit.special {
        Special::Socket(socket) => {
            trigger(socket.triggers(own));
            paths.extend(socket.listen.iter().filter_map(|(_, address)| match address {
                Address::Path(path) => path.parent().map(Path::to_owned),
                _ => None,
            }));
        }
        Special::Timer(timer) => {
            trigger(triggered(own, timer.unit.as_ref()));
            if timer.persistent {
                paths.push("/var/lib/systemd/timers".into());
            }
        }
        Special::Path(path) => {
            trigger(triggered(own, path.unit.as_ref()));
            paths.extend(path.specs.iter().map(|(_, path)| path.clone()));
        }
        Special::Mount(mount) => {
            paths.extend(mount.target.parent().map(Path::to_owned));
            if let Some(node) = mount.node() {
                if let Ok(name) = device_name(&node) {
                    found.extend([(BindsTo, name.clone()), (After, name)]);
                }
            } else if mount.what.starts_with('/') {
                paths.push(PathBuf::from(&mount.what));
            }
        }
        Special::Slice(_) => found
            .extend(slice_parent(own).into_iter().flat_map(|name| [(Requires, name.clone()), (After, name)])),
        Special::None => {}
    }
    if let Some(service) = unit.service.as_ref().filter(|_| own.kind() == Kind::Service) {
        for socket in &service.sockets {
            found.extend([Wants, After, TriggeredBy].map(|relation| (relation, socket.clone())));
        }
    }
    if let Some(slice) = unit.service.as_ref().and_then(|service| service.context.slice.clone()) {
        found.extend([(Requires, slice.clone()), (After, slice)]);
    }
    found.extend(paths.iter().flat_map(|path| mount::mounts_for(path)).map(|name| (RequiresMountsFor, name)));
    found
}

/// `a.slice` of `a-b.slice`, `-.slice` of `a.slice`.
fn slice_parent(name: &UnitName) -> Option<UnitName> {
    let stem = name.stem();
    if stem == "-" {
        return None;
    }
    let parent = stem.rsplit_once('-').map_or("-", |(parent, _)| parent);
    UnitName::parse(&format!("{parent}.slice")).ok()
}

/// Whether a unit cannot be used at all when a line with this key is bad.
pub(super) fn is_decisive(kind: Kind, key: &str) -> bool {
    key.starts_with("Exec")
        || matches!(key, "User" | "Group" | "Type")
        || match kind {
            Kind::Socket => {
                key.starts_with("Listen")
                    || matches!(key, "Service" | "Accept" | "SocketUser" | "SocketGroup")
            }
            Kind::Timer => key.starts_with("On") || key == "Unit",
            Kind::Path => key.starts_with("Path") || matches!(key, "DirectoryNotEmpty" | "Unit"),
            Kind::Mount => matches!(key, "What" | "Where" | "Options"),
            _ => false,
        }
}

/// Why a unit that is no service cannot be started, as far as its own keys tell.
pub(super) fn incomplete(unit: &Unit) -> Option<&'static str> {
    match &unit.special {
        Special::Socket(socket) if socket.listen.is_empty() => Some("the socket listens nowhere"),
        Special::Socket(socket) if socket.accept && socket.service.is_some() => {
            Some("Accept=yes does not go with Service=: each connection has an instance of its own")
        }
        Special::Socket(socket) if socket.accept && socket.listen.iter().any(|(kind, _)| !accepts(*kind)) => {
            Some("Accept=yes goes with stream and sequential packet sockets only")
        }
        Special::Socket(socket) if !socket.symlinks.is_empty() && path_count(socket) != 1 => {
            Some("Symlinks= goes with one path, and there is not one")
        }
        Special::Timer(timer) if timer.is_empty() => Some("the timer has no time to elapse"),
        Special::Path(path) if path.specs.is_empty() => Some("the path unit has no path"),
        Special::Mount(mount) if unit.fragment.is_some() => {
            if mount.what.is_empty() {
                Some("What= is missing")
            } else if mount_name(&mount.target).ok().as_ref() != Some(&unit.name) {
                Some("Where= does not match the unit's name")
            } else {
                None
            }
        }
        _ => None,
    }
}

fn accepts(kind: super::socket::ListenKind) -> bool {
    use super::socket::ListenKind::{SequentialPacket, Stream};
    matches!(kind, Stream | SequentialPacket)
}

fn path_count(socket: &super::socket::Socket) -> usize {
    socket.listen.iter().filter(|(_, address)| matches!(address, Address::Path(_))).count()
}
