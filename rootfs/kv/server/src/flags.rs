//! The command line and the environment, as etcd reads them: `--name x`, `--name=x`,
//! `-name x`, and `ETCD_NAME=x` for what the command line does not say.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::Settings;

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
    ("auth-token", "simple"),
    ("auth-token-ttl", "300"),
    ("bcrypt-cost", "10"),
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
    /// Where peers are told to go.
    pub peer_urls: Vec<String>,
    /// What tells clusters with the same addresses apart.
    pub token: String,
    /// Tokens and hashes of passwords.
    pub auth: Settings,
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
    Serve(Flags),
    /// Say which version this is.
    Version,
    /// Say which flags there are.
    Help,
}

/// The flags and their defaults, for `--help`.
pub fn help() -> String {
    let mut text =
        "usage: kv [--FLAG VALUE]...\nA member of a cluster of one, which speaks etcd's v3 API.\n\n\
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
    flags(&given).map(Wanted::Serve)
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
    for url in list(&get("listen-peer-urls")) {
        addresses("listen-peer-urls", &url)?;
    }
    let peer_urls = list(&get("initial-advertise-peer-urls"));
    for url in &peer_urls {
        split("initial-advertise-peer-urls", url)?;
    }
    let cluster = get("initial-cluster");
    for pair in list(&cluster) {
        let wrong = |why| Wrong::Value { flag: "initial-cluster", value: pair.clone(), why };
        let (member, url) = pair.split_once('=').ok_or_else(|| wrong("it must be NAME=URL"))?;
        if member != name {
            return Err(wrong("this version serves a cluster of one member, which is named by --name"));
        }
        if !peer_urls.iter().any(|known| known == url) {
            return Err(wrong("it is not among --initial-advertise-peer-urls"));
        }
    }
    let state = get("initial-cluster-state");
    if state != "new" {
        let why = "this version begins clusters of one (new), and cannot join one";
        return Err(Wrong::Value { flag: "initial-cluster-state", value: state, why });
    }
    let token = get("initial-cluster-token");
    let auth = auth(&get)?;
    Ok(Flags { name, data_dir: data_dir.into(), listen_client, advertise_client, peer_urls, token, auth })
}

fn auth(get: &impl Fn(&'static str) -> String) -> Result<Settings, Wrong> {
    let wrong = |flag, why| Wrong::Value { flag, value: get(flag), why };
    if get("auth-token") != "simple" {
        return Err(wrong(
            "auth-token",
            "this version has simple tokens, and no jwt: leave it out, or say simple",
        ));
    }
    let ttl_s = get("auth-token-ttl").parse::<u32>().ok().filter(|seconds| *seconds > 0);
    let ttl_s = ttl_s.ok_or_else(|| wrong("auth-token-ttl", "it must be seconds, from 1 up"))?;
    let cost = get("bcrypt-cost").parse().ok().filter(|cost| (4..=31).contains(cost));
    let bcrypt_cost = cost.ok_or_else(|| wrong("bcrypt-cost", "it must be a number from 4 to 31"))?;
    Ok(Settings { token_ttl: Duration::from_secs(ttl_s.into()), bcrypt_cost })
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
        flags
    }

    #[test]
    fn defaults_are_those_of_etcd() {
        let flags = served("", &[]);
        assert_eq!(flags.data_dir, PathBuf::from("default.etcd"));
        assert_eq!(flags.listen_client, ["127.0.0.1:2379".parse().unwrap()]);
        assert_eq!(flags.auth, Settings::default());
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
            ("--initial-cluster default=http://localhost:2380,b=http://localhost:1", "a cluster of one"),
            ("--initial-cluster-state existing", "cannot join"),
            ("--auth-token jwt,pub-key=a,priv-key=b,sign-method=RS256", "and no jwt"),
            ("--auth-token-ttl 0", "from 1 up"),
            ("--bcrypt-cost 3", "from 4 to 31"),
        ];
        for (words, reason) in cases {
            let error = read(words, &[]).unwrap_err().to_string();
            assert!(error.contains(reason), "{words}: {error}");
        }
        let error = read("", &[("ETCD_CERT_FILE", "x")]).unwrap_err();
        assert_eq!(error, Wrong::Variable("ETCD_CERT_FILE".to_owned()));
    }
}
