//! The kinds of namespaces(7).

use serde::{Deserialize, Serialize};
use std::fmt;

/// A kind of namespace, in the order in which the plan shows them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Mounts. Always the box's own.
    Mount,
    /// Host name.
    Uts,
    /// The root of the cgroup tree.
    Cgroup,
    /// System V IPC, POSIX message queues.
    Ipc,
    /// Process ids.
    Pid,
    /// Links, addresses, ports.
    Net,
    /// Users, groups and the capabilities over all of the above.
    User,
}

impl Namespace {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Mount, Self::Uts, Self::Cgroup, Self::Ipc, Self::Pid, Self::Net, Self::User];

    /// Its flag of clone(2).
    pub fn clone_flag(self) -> u64 {
        use nix::libc;
        (match self {
            Self::Mount => libc::CLONE_NEWNS,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Net => libc::CLONE_NEWNET,
            Self::User => libc::CLONE_NEWUSER,
        }) as u64
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Mount => "mount",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::User => "user",
        })
    }
}
