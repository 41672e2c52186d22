//! Who asks a service, and what they may.
//!
//! One rule for all services: what only shows is for everybody; what changes the machine is for
//! root and the members of the group `wheel`, who administer it. The kernel tells who is at the
//! other end of a UNIX socket and in which groups (unix(7), `SO_PEERCRED` and `SO_PEERGROUPS`).
//! There is no sudo, and no password that could be asked for.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::Path;

/// The group whose members administer the machine.
pub const OPERATORS: &str = "wheel";
/// What a refused user can do about it.
pub const CURE: &str =
    "log in as a member of the group wheel, or make this user one in user-data (`groups: [wheel]`)";
/// Account files that are longer are read up to here.
const FILE_MAX: u64 = 1 << 20;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Process.
    pub pid: i32,
    /// Its group and its supplementary ones.
    groups: Vec<u32>,
}

impl Caller {
    /// The peer of a connected UNIX socket, as it was when it connected.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let peer = getsockopt(socket, PeerCredentials)?;
        let mut groups = sys::peer::groups(socket)?;
        groups.push(peer.gid());
        Ok(Self { uid: peer.uid(), pid: peer.pid(), groups })
    }

    /// Whether the caller may change the machine: root, and members of [`OPERATORS`].
    pub fn administers(&self) -> bool {
        self.administers_at(Path::new("/"))
    }

    fn administers_at(&self, root: &Path) -> bool {
        self.uid == 0
            || group(&root.join("etc/group"), OPERATORS).is_some_and(|wheel| self.groups.contains(&wheel))
    }

    /// Whether the caller may do `what` (`change links`); if not, an error that names the user, the
    /// rule and the cure.
    ///
    /// # Errors
    /// The caller does not administer the machine.
    pub fn allow(&self, what: &str) -> Result<(), String> {
        if self.administers() { Ok(()) } else { Err(refusal(self.uid, what)) }
    }
}

/// What a user is told who may not do `what`: `bob may not change links: …`, and a hint.
pub fn refusal(uid: u32, what: &str) -> String {
    let user = name(Path::new("/etc/passwd"), uid);
    format!("{user} may not {what}: that is for root and the group {OPERATORS}\nhint: {CURE}")
}

/// The number of a group in a file as group(5) describes it.
pub fn group(path: &Path, wanted: &str) -> Option<u32> {
    read(path).lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(wanted)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// The name of a user (passwd(5)), or the number of one that has none.
fn name(path: &Path, uid: u32) -> String {
    let text = read(path);
    let mut accounts = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = accounts.find(|fields| fields.get(2).and_then(|number| number.parse().ok()) == Some(uid));
    found.map_or_else(|| format!("user {uid}"), |fields| fields[0].to_owned())
}

/// An absent file has no accounts.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    let _ = File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn root_and_members_of_wheel_administer_and_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        let caller = |uid, groups: &[u32]| Caller { uid, pid: 1, groups: groups.to_vec() };
        let administers = |caller: Caller| caller.administers_at(root.path());
        // Without such a group root alone.
        assert!(administers(caller(0, &[])) && !administers(caller(500, &[10, 500])));
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/group"), "root:x:0:\nwheels:x:11:\n\nwheel:x:10:core\n")
            .unwrap();
        assert!(administers(caller(500, &[500, 10])) && administers(caller(0, &[])));
        assert!(!administers(caller(501, &[501, 11, 0])));
        std::fs::write(root.path().join("etc/group"), "wheel\nwheel:x:ten:core\nwheel:x\n").unwrap();
        assert!(!administers(caller(500, &[500, 10])));
    }

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let caller = Caller::of(&one).unwrap();
        assert_eq!((caller.uid, caller.pid), (nix::unistd::getuid().as_raw(), std::process::id() as i32));
        assert!(caller.groups.contains(&nix::unistd::getgid().as_raw()));
    }

    #[test]
    fn the_refused_are_named() {
        let told = refusal(0, "change links");
        assert!(told.starts_with("root may not change links: that is for root and the group wheel\nhint: "));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(name(&folder.path().join("passwd"), 77), "user 77");
    }
}
