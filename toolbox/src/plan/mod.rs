//! What a box is, whole, before anything of it is made.

mod decide;
mod explain;
#[cfg(test)]
mod tests;

pub use decide::{Refusal, decide, user_ids};
pub use explain::{explain, json};

use crate::capabilities::Capabilities;
use crate::namespace::Namespace;
use crate::target::Target;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A box.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The image's name.
    pub image: String,
    /// Namespaces of its own; all others are the host's.
    pub namespaces: Vec<Namespace>,
    /// Namespaces that are the target's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Namespace>,
    /// Whose those are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The user namespace's ids, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// The root and what is in it, in order.
    pub steps: Vec<Step>,
    /// Its host name.
    pub host_name: String,
    /// What its processes may have.
    pub capabilities: Capabilities,
    /// The cgroup, when it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// The filter of system calls.
    pub seccomp: Seccomp,
    /// The command's environment.
    pub environment: BTreeMap<String, String>,
    /// Its working folder.
    pub working_dir: PathBuf,
    /// The command, its name first.
    pub command: Vec<String>,
    /// It has a terminal of its own.
    pub terminal: bool,
    /// At the end, what was done outside is told.
    pub report: bool,
    /// What could not be, and why.
    pub notes: Vec<String>,
}

/// A user namespace's ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// Users.
    pub users: Vec<IdMap>,
    /// Groups.
    pub groups: Vec<IdMap>,
    /// By newuidmap(1) and newgidmap(1); else by the process itself, which may map but itself.
    pub by_tools: bool,
}

/// A line of `uid_map`, `user_namespaces(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A cgroup and its limits, cgroups v2.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cgroup {
    /// The folder in which it is made.
    pub parent: PathBuf,
    /// Files of it and what is written to them.
    pub limits: Vec<(String, String)>,
}

/// How system calls are filtered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Calls that no tool needs give EPERM.
    Default,
    /// None.
    Off,
    /// A file in the form of OCI runtimes.
    File(PathBuf),
}

/// One step in making the root. Paths are inside the box, unless they are called a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum Step {
    /// A folder below the root, above the image.
    Folder {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file, likewise.
    File {
        /// Where.
        path: PathBuf,
        /// What is in it.
        #[serde(serialize_with = "length")]
        content: Vec<u8>,
    },
    /// A symbolic link, likewise.
    Link {
        /// Where.
        path: PathBuf,
        /// What it says.
        to: PathBuf,
    },
    /// The image, with those above it and an ephemeral layer above all, by overlayfs. Once.
    Root {
        /// The image's tree on the host.
        source: PathBuf,
        /// Without an ephemeral layer.
        read_only: bool,
        /// The folder of a kept box, on the host: its `upper` is the layer and stays.
        #[serde(skip_serializing_if = "Option::is_none")]
        layer: Option<PathBuf>,
    },
    /// A tree of the host with an ephemeral layer of its own.
    Layer {
        /// On the host, and in the box.
        path: PathBuf,
    },
    /// /dev with what every program needs.
    Devices {
        /// Nodes, by name, that are the host's.
        nodes: Vec<&'static str>,
    },
    /// A file or tree of the host.
    Bind {
        /// On the host.
        source: PathBuf,
        /// Where.
        target: PathBuf,
        /// With what is mounted below it.
        recursive: bool,
        /// Not to be written to.
        read_only: bool,
    },
    /// procfs of the box's own processes.
    Proc,
    /// sysfs of the box's own network.
    Sys,
    /// The box's cgroups.
    Cgroups,
    /// The host's root, with all that is mounted there. After all binds.
    Host {
        /// Where.
        target: PathBuf,
        /// Not to be written to, and no device to be opened.
        read_only: bool,
    },
    /// The target's root, with all that is mounted there, when its mounts are others than the caller's.
    Target {
        /// Where.
        target: PathBuf,
        /// Not to be written to, and no device to be opened.
        read_only: bool,
    },
    /// procfs of the box's own processes above the host's below its root: a process of the host with few rights
    /// leads, by its `root` there, to all files as they are without the box's protection.
    Processes {
        /// Where.
        target: PathBuf,
    },
    /// Makes a part of what is there read-only.
    Protect {
        /// Which.
        path: PathBuf,
    },
}

impl Plan {
    /// Whether its processes are in another user namespace than the caller.
    pub fn is_foreign(&self) -> bool {
        self.namespaces.contains(&Namespace::User) || self.joined.contains(&Namespace::User)
    }
}

fn length<S: serde::Serializer>(content: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{} bytes", content.len()))
}
