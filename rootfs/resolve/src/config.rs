//! `resolved.conf(5)`.

use hickory_proto::rr::Name;
use serde::{Deserialize, Serialize};
use service::config::{Entry, boolean};
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

/// A name server as people write it: `ADDRESS[:PORT][%LINK][#NAME]`, IPv6 in brackets before a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Server {
    /// Address.
    pub address: IpAddr,
    /// Port, mostly 53.
    pub port: u16,
    /// The link that a link-local address belongs to, by name or number.
    pub link: Option<String>,
    /// Whom its certificate is to be for, over TLS; else its address.
    pub name: Option<String>,
}

impl Server {
    /// Where to send to; `index_of` gives a link's number.
    pub fn socket(&self, index_of: impl Fn(&str) -> Option<u32>, default_link: Option<u32>) -> SocketAddr {
        match self.address {
            IpAddr::V6(address) => {
                let link = self.link.as_deref().and_then(index_of).or(default_link);
                let scoped = (address.segments()[0] & 0xffc0) == 0xfe80;
                let index = link.filter(|_| scoped).unwrap_or(0);
                SocketAddrV6::new(address, self.port, 0, index).into()
            }
            IpAddr::V4(_) => SocketAddr::new(self.address, self.port),
        }
    }
}

/// Why a server is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// What stands behind `#`.
    #[error("`{0}`: what is behind `#` is no server's name")]
    Name(String),
    /// Anything else.
    #[error("`{0}` is not an address, optionally with port or link")]
    Syntax(String),
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let wrong = || ServerError::Syntax(text.to_owned());
        let (rest, name) = match text.split_once('#') {
            Some((rest, server)) if name(server).is_some_and(|name| !name.is_root()) => {
                (rest, Some(server.to_owned()))
            }
            Some(_) => return Err(ServerError::Name(text.to_owned())),
            None => (text, None),
        };
        let (rest, link) = match rest.split_once('%') {
            Some((_, "")) => return Err(wrong()),
            Some((rest, link)) => (rest, Some(link.to_owned())),
            None => (rest, None),
        };
        let (address, port) = if let Ok(address) = rest.parse() {
            (address, 53)
        } else if let Some(inner) = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            (inner.parse().map_err(|_| wrong())?, 53)
        } else {
            let socket: SocketAddr = rest.parse().map_err(|_| wrong())?;
            (socket.ip(), socket.port())
        };
        if port == 0 || address.is_unspecified() || address.is_multicast() {
            return Err(wrong());
        }
        Ok(Self { address, port, link, name })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (address, 53) => write!(out, "{address}")?,
            (IpAddr::V6(address), port) => write!(out, "[{address}]:{port}")?,
            (address, port) => write!(out, "{address}:{port}")?,
        }
        self.link.as_ref().map_or(Ok(()), |link| write!(out, "%{link}"))?;
        self.name.as_ref().map_or(Ok(()), |name| write!(out, "#{name}"))
    }
}

impl TryFrom<String> for Server {
    type Error = ServerError;
    fn try_from(text: String) -> Result<Self, ServerError> {
        text.parse()
    }
}

impl From<Server> for String {
    fn from(server: Server) -> Self {
        server.to_string()
    }
}

/// Search and routing domains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domains {
    /// Appended to single-label names, and routed.
    pub search: Vec<Name>,
    /// Only routed (`~domain`).
    pub routing: Vec<Name>,
}

impl Domains {
    /// Adds `domain` or `~domain`; `~.` routes every name.
    ///
    /// # Errors
    /// The word, when it is no domain.
    pub fn add(&mut self, word: &str) -> Result<(), String> {
        let (list, text) = match word.strip_prefix('~') {
            Some(text) => (&mut self.routing, text),
            None => (&mut self.search, word),
        };
        let name = name(text).filter(|name| word.starts_with('~') || !name.is_root());
        let name = name.ok_or_else(|| format!("`{word}` is not a domain"))?;
        if !list.contains(&name) {
            list.push(name);
        }
        Ok(())
    }
}

/// A name in lower case, from the root.
pub fn name(text: &str) -> Option<Name> {
    let text = if text.is_empty() { return None } else { text };
    let mut name = Name::from_str_relaxed(text).ok()?.to_lowercase();
    name.set_fqdn(true);
    // RFC 1035: 255 bytes on the wire.
    (name.len() <= 255).then_some(name)
}

/// A three-way switch (`LLMNR=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Llmnr {
    /// Neither asked nor answered.
    No,
    /// Asked, not answered.
    Resolve,
    /// Both.
    Yes,
}

impl Llmnr {
    /// `yes`, `no` or `resolve`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "resolve" {
            return Some(Self::Resolve);
        }
        boolean(text).map(|on| if on { Self::Yes } else { Self::No })
    }
}

/// `DNSOverTLS=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Plain DNS.
    No,
    /// TLS where there is some, with anybody's certificate; else plain DNS.
    Opportunistic,
    /// TLS and nothing else, with certificates that are good.
    Yes,
}

/// What is kept of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMode {
    /// Nothing.
    No,
    /// Only what exists.
    NoNegative,
    /// All.
    Yes,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `DNS=`: the machine's servers, whatever the link.
    pub servers: Vec<Server>,
    /// `FallbackDNS=`: asked when no other server is known.
    pub fallback: Vec<Server>,
    /// `Domains=`.
    pub domains: Domains,
    /// `LLMNR=`: the most that a link may do.
    pub llmnr: Llmnr,
    /// `Cache=`.
    pub cache: CacheMode,
    /// `DNSStubListener=`: over UDP, over TCP.
    pub listen: (bool, bool),
    /// `DNSOverTLS=`.
    pub tls: Tls,
    /// `ReadEtcHosts=`.
    pub read_hosts: bool,
    /// `ResolveUnicastSingleLabel=`.
    pub single_label: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            fallback: Vec::new(),
            domains: Domains::default(),
            llmnr: Llmnr::Yes,
            cache: CacheMode::Yes,
            listen: (true, true),
            tls: Tls::No,
            read_hosts: true,
            single_label: false,
        }
    }
}

impl Config {
    /// Takes the entries of section `[Resolve]` in order. What is wrong or not supported is told
    /// with its place and leaves the configuration as it is.
    pub fn of(entries: &[Entry]) -> (Self, Vec<String>) {
        let mut config = Self::default();
        let mut problems = Vec::new();
        for entry in entries {
            if entry.section != "Resolve" {
                problems.push(entry.problem(&format!("unknown section [{}]", entry.section)));
            } else if let Err(what) = config.take(&entry.key, &entry.value) {
                problems.push(entry.problem(&what));
            }
        }
        (config, problems)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let truth = || boolean(value).ok_or_else(|| format!("{key}={value} is neither yes nor no"));
        match key {
            "DNS" => add_servers(&mut self.servers, value)?,
            "FallbackDNS" => add_servers(&mut self.fallback, value)?,
            "Domains" if value.is_empty() => self.domains = Domains::default(),
            "Domains" => {
                let mut domains = self.domains.clone();
                value.split_whitespace().try_for_each(|word| domains.add(word))?;
                self.domains = domains;
            }
            "LLMNR" => {
                self.llmnr =
                    Llmnr::parse(value).ok_or_else(|| format!("LLMNR={value} is not yes, no or resolve"))?;
            }
            "Cache" if value == "no-negative" => self.cache = CacheMode::NoNegative,
            "Cache" => self.cache = if truth()? { CacheMode::Yes } else { CacheMode::No },
            "DNSStubListener" => {
                self.listen = match value {
                    "udp" => (true, false),
                    "tcp" => (false, true),
                    _ => (truth()?, truth()?),
                }
            }
            "ReadEtcHosts" => self.read_hosts = truth()?,
            "ResolveUnicastSingleLabel" => self.single_label = truth()?,
            "DNSOverTLS" if value == "opportunistic" => self.tls = Tls::Opportunistic,
            "DNSOverTLS" => {
                let on =
                    boolean(value).ok_or_else(|| format!("{key}={value} is not yes, no or opportunistic"))?;
                self.tls = if on { Tls::Yes } else { Tls::No };
            }
            // Off is what there is.
            "DNSSEC" | "MulticastDNS" if boolean(value) == Some(false) => {}
            "DNSSEC" | "MulticastDNS" => {
                return Err(format!("{key}={value} is not supported"));
            }
            "DNSStubListenerExtra" | "CacheFromLocalhost" | "StaleRetentionSec" => {
                return Err(format!("{key}= is not supported"));
            }
            _ => return Err(format!("unknown key `{key}`")),
        }
        Ok(())
    }
}

/// Servers separated by white space; an empty value clears the list. All or none are taken.
fn add_servers(list: &mut Vec<Server>, value: &str) -> Result<(), String> {
    if value.is_empty() {
        list.clear();
    }
    let parsed: Result<Vec<Server>, ServerError> = value.split_whitespace().map(str::parse).collect();
    for server in parsed.map_err(|error| error.to_string())? {
        if !list.contains(&server) {
            list.push(server);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(text: &str) -> (Config, Vec<String>) {
        Config::of(&service::config::parse(Path::new("f"), text).0)
    }

    #[test]
    fn every_key() {
        let (config, problems) = read(
            "[Resolve]\nDNS=1.1.1.1 [2001:db8::1]:5353 fe80::1%eth0 9.9.9.9#dns.quad9.net\nFallbackDNS=9.9.9.9\nDomains=a.example ~corp ~.\n\
             LLMNR=resolve\nCache=no-negative\nDNSStubListener=udp\nDNSOverTLS=opportunistic\nDNSSEC=no\nReadEtcHosts=no\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            config.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["1.1.1.1", "[2001:db8::1]:5353", "fe80::1%eth0", "9.9.9.9#dns.quad9.net"]
        );
        assert_eq!(config.tls, Tls::Opportunistic);
        assert_eq!(config.domains.search, [name("a.example").unwrap()]);
        assert_eq!(config.domains.routing, [name("corp").unwrap(), Name::root()]);
        assert_eq!((config.llmnr, config.cache), (Llmnr::Resolve, CacheMode::NoNegative));
        assert_eq!((config.listen, config.read_hosts), ((true, false), false));
    }

    #[test]
    fn what_is_wrong_has_a_place_and_changes_nothing() {
        let (config, problems) = read(
            "[Resolve]\nDNS=1.1.1.1 nonsense\nDNSOverTLS=perhaps\nDNS=1.1.1.1#-na/me..\nDomains=a..b\nCache=perhaps\nX=1\n[Y]\nZ=1\n",
        );
        assert_eq!(config, Config::default());
        assert_eq!(problems.len(), 7, "{problems:#?}");
        assert!(problems[1].contains("f:3: DNSOverTLS=perhaps is not yes"), "{problems:#?}");
    }

    #[test]
    fn an_empty_value_clears_the_list() {
        let (config, _) = read("[Resolve]\nDNS=1.1.1.1\nDNS=\nDNS=2.2.2.2\nDomains=a\nDomains=\n");
        assert_eq!(config.servers, ["2.2.2.2".parse().unwrap()]);
        assert_eq!(config.domains, Domains::default());
    }

    #[test]
    fn a_link_local_server_belongs_to_its_link() {
        let server: Server = "fe80::1".parse().unwrap();
        assert_eq!(server.socket(|_| None, Some(3)).to_string(), "[fe80::1%3]:53");
        let server: Server = "fe80::1%eth1".parse().unwrap();
        assert_eq!(server.socket(|_| Some(9), Some(3)).to_string(), "[fe80::1%9]:53");
        let server: Server = "2001:db8::1".parse().unwrap();
        assert_eq!(server.socket(|_| Some(9), Some(3)).to_string(), "[2001:db8::1]:53");
    }
}
