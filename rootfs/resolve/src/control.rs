//! What `resolvectl` and the daemon say to each other.

use crate::cache::Statistics;
use crate::config::{Llmnr, Server};
use serde::{Deserialize, Serialize};

/// The daemon's socket.
pub const SOCKET: &str = "/run/systemd/resolve/control";

/// A question. Who may change anything is in [`service::caller`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Resolve a name (or an address, backwards); `kind` is A and AAAA when it is not said.
    Query {
        /// Name or address.
        name: String,
        /// Record type.
        kind: Option<String>,
        /// Whether search domains apply.
        search: bool,
    },
    /// All settings.
    Status,
    /// Figures.
    Statistics,
    /// Forget kept answers.
    FlushCaches,
    /// A link's servers until the next `Revert`.
    SetServers(u32, Vec<Server>),
    /// A link's domains, `~` before a routing one.
    SetDomains(u32, Vec<String>),
    /// A link's LLMNR.
    SetLlmnr(u32, Llmnr),
    /// Whether names that no domain routes come to this link.
    SetDefaultRoute(u32, bool),
    /// What the network service says holds again.
    Revert(u32),
}

/// The answer to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Records found.
    Found(Found),
    /// No such name, no such record, nobody to ask: why.
    NotFound(String),
    /// Settings.
    Status(Status),
    /// Figures.
    Statistics {
        /// Of the cache.
        cache: Statistics,
        /// Questions in all.
        questions: u64,
        /// Questions being asked.
        in_flight: usize,
    },
    /// Carried out.
    Done,
    /// Not carried out: why.
    Refused(String),
}

/// Records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// Records in order, a chain's CNAMEs before its end.
    pub records: Vec<Record>,
    /// `local`, `cache`, `network` or `llmnr`.
    pub source: String,
    /// The link it came over, when it is one's.
    pub link: Option<String>,
    /// How long it took, microseconds.
    pub took_us: u64,
}

/// A record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Name, with its last dot.
    pub name: String,
    /// Type.
    pub kind: String,
    /// Seconds.
    pub ttl: u32,
    /// Data as in a zone file.
    pub data: String,
}

/// Settings of the machine and its links.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Servers of the machine.
    pub servers: Vec<Server>,
    /// Asked when there is no other.
    pub fallback: Vec<Server>,
    /// Domains, `~` before a routing one.
    pub domains: Vec<String>,
    /// LLMNR.
    pub llmnr: Llmnr,
    /// The server that is asked next.
    pub current: Option<String>,
    /// Links.
    pub links: Vec<LinkStatus>,
}

/// Settings of a link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Number.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Servers.
    pub servers: Vec<Server>,
    /// The server that is asked next.
    pub current: Option<String>,
    /// Domains, `~` before a routing one.
    pub domains: Vec<String>,
    /// LLMNR, as it works here.
    pub llmnr: Llmnr,
    /// Takes names that no domain routes.
    pub default_route: bool,
}
