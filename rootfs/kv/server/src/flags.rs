//! The command line and the environment, as etcd reads them: `--name x`, `--name=x`,
//! `-name x`, and `ETCD_NAME=x` for what the command line does not say.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::identity::Initial;

/// Flags that are served, and what etcd takes when they are not given.
const FLAGS: &[(&str, &str)] = &[
    ("name", "default"),
    ("data-dir", ""),
    ("listen-client-urls", "http://localhost:2379"),
    ("advertise-client-urls", "http://localhost:2379"),
    ("listen-peer-urls", "http://localhost:2380"),
    ("initial-advertise-peer-urls", "http://localhost:2380"),
    ("initial-cluster", ""),
    ("initial-cluster-state", "new"),
    ("initial-cluster-token", "etcd-cluster"),
    ("heartbeat-interval", "100"),
    ("election-timeout", "1000"),
    ("snapshot-count", "100000"),
];

/// What a member is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    /// The member's name.
    pub name: String,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Where clients are served.
    pub listen_client: Vec<SocketAddr>,
    /// Where clients are told to go.
    pub advertise_client: Vec<String>,
    /// Where peers are served.
    pub listen_peer: Vec<SocketAddr>,
    /// Where peers are told to go.
    pub peer_urls: Vec<String>,
    /// The members with which the cluster begins, or those to ask about the one that is joined.
    pub initial: Initial,
    /// Whether the cluster is there already.
    pub existing: bool,
    /// How often a leader says that it leads.
    pub heartbeat: Duration,
    /// After how long without a leader an election starts.
    pub election: Duration,
    /// Entries after which the log's beginning may go.
    pub snapshot_count: u64,
    /// What tells clusters with the same addresses apart.
    pub token: String,
}

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A flag that is not served.
    #[error("flag --{0} is not served by this version; remove it (see --help for those that are)")]
    Unknown(String),
    /// The environment has it.
    #[error("variable {0} is not served by this version; unset it (see --help for the flags that are)")]
    Variable(String),
    /// A flag without a value.
    #[error("flag --{0} needs a value")]
    Valueless(String),
    /// A word that belongs to no flag.
    #[error("{0:?} is no flag")]
    Stray(String),
    /// A value that cannot be.
    #[error("{value:?} cannot be the value of --{flag}: {why}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Serve.
    Serve(Box<Flags>),
    /// Say which version this is.
    Version,
    /// Say which flags there are.
    Help,
}

/// The flags and their defaults, for `--help`.
pub fn help() -> String {
    let mut text = "usage: kv [--FLAG VALUE]...\nA member of a store, which speaks etcd's v3 API.\n\n\
                    Each flag can also be given as a variable: --data-dir as ETCD_DATA_DIR.\n"
        .to_owned();
    for (flag, default) in FLAGS {
        let default = if *flag == "data-dir" { "NAME.etcd" } else { default };
        text.extend(["  --", flag, " ", default, "\n"]);
    }
    text
}

/// Reads a command line (without the program's name) and an environment.
///
/// # Errors
/// [`Wrong`]; the program ends with 2 then.
pub fn parse(
    words: impl IntoIterator<Item = String>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Wanted, Wrong> {
    let mut given = BTreeMap::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            return Err(Wrong::Stray(word));
        };
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (flag, None),
        };
        match flag {
            "version" => return Ok(Wanted::Version),
            "help" | "h" => return Ok(Wanted::Help),
            _ => {}
        }
        let Some((flag, _)) = FLAGS.iter().find(|(known, _)| *known == flag) else {
            return Err(Wrong::Unknown(flag.to_owned()));
        };
        let value = value.or_else(|| words.next()).ok_or_else(|| Wrong::Valueless((*flag).to_owned()))?;
        given.insert(*flag, value);
    }
    for (variable, value) in variables {
        let Some(flag) = variable.strip_prefix("ETCD_") else { continue };
        let flag = flag.to_lowercase().replace('_', "-");
        // etcdctl's and Debian's own, which etcd passes over as well.
        if flag == "unsupported-arch" {
            continue;
        }
        let Some((flag, _)) = FLAGS.iter().find(|(known, _)| *known == flag) else {
            return Err(Wrong::Variable(variable));
        };
        given.entry(flag).or_insert(value);
    }
    for (flag, default) in FLAGS {
        given.entry(flag).or_insert_with(|| (*default).to_owned());
    }
    flags(&given).map(Box::new).map(Wanted::Serve)
}

fn flags(given: &BTreeMap<&'static str, String>) -> Result<Flags, Wrong> {
    let get = |flag: &'static str| given.get(flag).cloned().unwrap_or_default();
    let name = get("name");
    let data_dir = match get("data-dir") {
        folder if folder.is_empty() => format!("{name}.etcd"),
        folder => folder,
    };
    let mut listen_client = Vec::new();
    for url in list(&get("listen-client-urls")) {
        listen_client.extend(addresses("listen-client-urls", &url)?);
    }
    let advertise_client = list(&get("advertise-client-urls"));
    for url in &advertise_client {
        split("advertise-client-urls", url)?;
    }
    let mut listen_peer = Vec::new();
    for url in list(&get("listen-peer-urls")) {
        listen_peer.extend(addresses("listen-peer-urls", &url)?);
    }
    let peer_urls = list(&get("initial-advertise-peer-urls"));
    for url in &peer_urls {
        split("initial-advertise-peer-urls", url)?;
    }
    let mut initial = Initial::new();
    for pair in list(&get("initial-cluster")) {
        let wrong = |why| Wrong::Value { flag: "initial-cluster", value: pair.clone(), why };
        let (member, url) = pair.split_once('=').ok_or_else(|| wrong("it must be NAME=URL"))?;
        split("initial-cluster", url)?;
        initial.entry(member.to_owned()).or_default().push(url.to_owned());
    }
    if initial.is_empty() {
        initial.insert(name.clone(), peer_urls.clone());
    }
    let state = get("initial-cluster-state");
    let existing = match state.as_str() {
        "new" => false,
        "existing" => true,
        _ => {
            let why = "it must be new or existing";
            return Err(Wrong::Value { flag: "initial-cluster-state", value: state, why });
        }
    };
    let heartbeat_ms = number("heartbeat-interval", &get("heartbeat-interval"), 1..=10_000)?;
    let election = get("election-timeout");
    let election_ms = number("election-timeout", &election, 10..=50_000)?;
    if election_ms < 5 * heartbeat_ms {
        let why = "it must be five times --heartbeat-interval at least";
        return Err(Wrong::Value { flag: "election-timeout", value: election, why });
    }
    Ok(Flags {
        name,
        data_dir: data_dir.into(),
        listen_client,
        advertise_client,
        listen_peer,
        peer_urls,
        initial,
        existing,
        heartbeat: Duration::from_millis(heartbeat_ms),
        election: Duration::from_millis(election_ms),
        snapshot_count: number("snapshot-count", &get("snapshot-count"), 1..=u64::MAX)?,
        token: get("initial-cluster-token"),
    })
}

fn number(flag: &'static str, text: &str, range: RangeInclusive<u64>) -> Result<u64, Wrong> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let why = "it must be a whole number, neither too small nor too large";
    number.ok_or_else(|| Wrong::Value { flag, value: text.to_owned(), why })
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Host and port of a URL.
fn split<'u>(flag: &'static str, url: &'u str) -> Result<(&'u str, u16), Wrong> {
    let wrong = |why| Wrong::Value { flag, value: url.to_owned(), why };
    if url.starts_with("https:") {
        return Err(wrong("TLS is not served by this version; use http:// on a loopback address"));
    }
    let rest = url.strip_prefix("http://").ok_or_else(|| wrong("it must begin with http://"))?;
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| wrong("it must end with a port"))?;
    let port =
        port.parse().map_err(|_| wrong("its port must be a number up to 65535, with nothing behind"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok((host, port))
}

/// Where a URL listens. Without TLS that is on this machine alone.
fn addresses(flag: &'static str, url: &str) -> Result<Vec<SocketAddr>, Wrong> {
    let wrong = |why| Wrong::Value { flag, value: url.to_owned(), why };
    let (host, port) = split(flag, url)?;
    let address = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().map_err(|_| wrong("its host must be an IP address or localhost"))?,
    };
    if !address.is_loopback() {
        return Err(wrong(
            "plain text is served on loopback only, and TLS is not served yet: listen on 127.0.0.1 or [::1]",
        ));
    }
    Ok(vec![SocketAddr::new(address, port)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str, variables: &[(&str, &str)]) -> Result<Wanted, Wrong> {
        let words = words.split_whitespace().map(str::to_owned);
        parse(words, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn served(words: &str, variables: &[(&str, &str)]) -> Flags {
        let Ok(Wanted::Serve(flags)) = read(words, variables) else { panic!("{words} is refused") };
        *flags
    }

    #[test]
    fn defaults_are_those_of_etcd() {
        let flags = served("", &[]);
        assert_eq!(flags.data_dir, PathBuf::from("default.etcd"));
        assert_eq!(flags.listen_client, ["127.0.0.1:2379".parse().unwrap()]);
        assert_eq!(flags.listen_peer, ["127.0.0.1:2380".parse().unwrap()]);
        assert_eq!(flags.initial["default"], ["http://localhost:2380"]);
        assert_eq!((flags.heartbeat.as_millis(), flags.election.as_millis()), (100, 1000));
    }

    #[test]
    fn a_cluster_is_named_with_all_its_addresses() {
        let cluster = "a=http://127.0.0.1:1,b=http://127.0.0.1:2,a=http://[::1]:1";
        let flags =
            served(&format!("--name a --initial-cluster {cluster} --initial-cluster-state existing"), &[]);
        assert_eq!(flags.initial["a"], ["http://127.0.0.1:1", "http://[::1]:1"]);
        assert_eq!(flags.initial["b"], ["http://127.0.0.1:2"]);
        assert!(flags.existing);
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let variables = [("ETCD_NAME", "b"), ("ETCD_DATA_DIR", "/b"), ("PATH", "/bin")];
        let flags = served("-name a --listen-client-urls=http://127.0.0.1:1,http://[::1]:2", &variables);
        assert_eq!((flags.name.as_str(), flags.data_dir.to_str()), ("a", Some("/b")));
        assert_eq!(flags.listen_client, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    }

    #[test]
    fn what_is_not_served_is_refused_by_name() {
        let cases = [
            ("--cert-file x", "flag --cert-file is not served"),
            ("--name", "flag --name needs a value"),
            ("x", "\"x\" is no flag"),
            ("--listen-client-urls http://0.0.0.0:1", "plain text is served on loopback only"),
            ("--listen-peer-urls http://192.0.2.1:1", "plain text is served on loopback only"),
            ("--listen-client-urls https://127.0.0.1:1", "TLS is not served"),
            ("--listen-client-urls http://127.0.0.1", "it must end with a port"),
            ("--initial-cluster default", "it must be NAME=URL"),
            ("--initial-cluster a=ftp://localhost:1", "it must begin with http://"),
            ("--initial-cluster-state old", "it must be new or existing"),
            ("--election-timeout 499", "five times --heartbeat-interval"),
            ("--snapshot-count 0", "neither too small"),
        ];
        for (words, reason) in cases {
            let error = read(words, &[]).unwrap_err().to_string();
            assert!(error.contains(reason), "{words}: {error}");
        }
        let error = read("", &[("ETCD_CERT_FILE", "x")]).unwrap_err();
        assert_eq!(error, Wrong::Variable("ETCD_CERT_FILE".to_owned()));
    }
}
