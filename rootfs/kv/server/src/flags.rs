//! The command line and the environment, as etcd reads them: `--name x`, `--name=x`,
//! `-name x`, and `ETCD_NAME=x` for what the command line does not say.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::Settings;
use crate::identity::Initial;

use crate::compactor::Retention;
use crate::quota;

use crate::limits::Limits;
use crate::listen::flags::{addresses, files_of, switch};
use crate::listen::{Endpoint, Files};

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
    ("quota-backend-bytes", "0"),
    ("auto-compaction-mode", "periodic"),
    ("auto-compaction-retention", "0"),
    ("heartbeat-interval", "100"),
    ("election-timeout", "1000"),
    ("snapshot-count", "100000"),
    ("listen-metrics-urls", ""),
    ("cors", "*"),
    ("cert-file", ""),
    ("key-file", ""),
    ("client-cert-auth", "false"),
    ("trusted-ca-file", ""),
    ("peer-cert-file", ""),
    ("peer-key-file", ""),
    ("peer-client-cert-auth", "false"),
    ("peer-trusted-ca-file", ""),
    (PLAINTEXT, "false"),
    ("max-request-bytes", "1572864"),
    ("max-txn-ops", "128"),
    ("max-concurrent-streams", "4294967295"),
    ("max-watchers-per-stream", "100000"),
    ("max-leases", "1000000"),
    ("max-range-keys", "0"),
    ("auth-token", "simple"),
    ("auth-token-ttl", "300"),
    ("bcrypt-cost", "10"),
];

/// Flags that are true when nothing is said behind them.
const SWITCHES: &[&str] = &["client-cert-auth", "peer-client-cert-auth", PLAINTEXT];

/// Ours: plain text may leave this machine.
const PLAINTEXT: &str = "insecure-plaintext-beyond-loopback";

/// What a member is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    /// The member's name.
    pub name: String,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Where clients are served.
    pub listen_client: Vec<Endpoint>,
    /// Where peers are served.
    pub listen_peer: Vec<Endpoint>,
    /// Where the pages alone are served.
    pub listen_metrics: Vec<Endpoint>,
    /// Which pages in browsers may read the answers; `*` for all.
    pub origins: Vec<String>,
    /// How TLS is spoken with clients.
    pub client_tls: Option<Files>,
    /// How TLS is spoken with peers.
    pub peer_tls: Option<Files>,
    /// Plain text may leave this machine.
    pub plaintext: bool,
    /// What is too much.
    pub limits: Limits,
    /// Where clients are told to go.
    pub advertise_client: Vec<String>,
    /// Where peers are told to go.
    pub peer_urls: Vec<String>,
    /// The largest database, bytes; `None` for any.
    pub quota_bytes: Option<u64>,
    /// What compaction by the member itself keeps; `None` for no such compaction.
    pub compaction: Option<Retention>,
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
        let switched = SWITCHES.contains(flag).then(|| "true".to_owned());
        let value = value
            .or(switched)
            .or_else(|| words.next())
            .ok_or_else(|| Wrong::Valueless((*flag).to_owned()))?;
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
    flags(&given).map(|flags| Wanted::Serve(Box::new(flags)))
}

fn flags(given: &BTreeMap<&'static str, String>) -> Result<Flags, Wrong> {
    let get = |flag: &'static str| given.get(flag).cloned().unwrap_or_default();
    let name = get("name");
    let data_dir = match get("data-dir") {
        folder if folder.is_empty() => format!("{name}.etcd"),
        folder => folder,
    };
    let plaintext = switch(PLAINTEXT, get(PLAINTEXT))?;
    let listen_client = addresses("listen-client-urls", &get("listen-client-urls"), plaintext)?;
    let listen_peer = addresses("listen-peer-urls", &get("listen-peer-urls"), plaintext)?;
    let listen_metrics = addresses("listen-metrics-urls", &get("listen-metrics-urls"), plaintext)?;
    let auth = switch("client-cert-auth", get("client-cert-auth"))?;
    let files = [get("cert-file"), get("key-file"), get("trusted-ca-file")];
    let named: Vec<_> = listen_client.iter().chain(&listen_metrics).copied().collect();
    let client_tls =
        files_of(["cert-file", "key-file", "trusted-ca-file", "client-cert-auth"], "", files, auth, &named)?;
    let auth = switch("peer-client-cert-auth", get("peer-client-cert-auth"))?;
    let files = [get("peer-cert-file"), get("peer-key-file"), get("peer-trusted-ca-file")];
    let flags = ["peer-cert-file", "peer-key-file", "peer-trusted-ca-file", "peer-client-cert-auth"];
    let peer_tls = files_of(flags, "peer-", files, auth, &listen_peer)?;
    let advertise_client = list(&get("advertise-client-urls"));
    for url in &advertise_client {
        split("advertise-client-urls", url)?;
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
    let limits = Limits::read(get)?;
    let quota = get("quota-backend-bytes");
    let quota_bytes = quota::bytes(&quota).ok_or(Wrong::Value {
        flag: "quota-backend-bytes",
        value: quota,
        why: "it must be a number of bytes; 0 stands for 2 GiB, a negative one for no quota",
    })?;
    let retention = get("auto-compaction-retention");
    let compaction = Retention::read(&get("auto-compaction-mode"), &retention);
    let compaction = compaction.map_err(|why| Wrong::Value {
        flag: "auto-compaction-retention",
        value: retention,
        why,
    })?;
    Ok(Flags {
        name,
        data_dir: data_dir.into(),
        listen_client,
        advertise_client,
        listen_peer,
        listen_metrics,
        origins: list(&get("cors")),
        client_tls,
        peer_tls,
        plaintext,
        limits,
        peer_urls,
        quota_bytes,
        compaction,
        initial,
        existing,
        heartbeat: Duration::from_millis(heartbeat_ms),
        election: Duration::from_millis(election_ms),
        snapshot_count: number("snapshot-count", &get("snapshot-count"), 1..=u64::MAX)?,
        token: get("initial-cluster-token"),
        auth: settings(&get)?,
    })
}

fn settings(get: &impl Fn(&'static str) -> String) -> Result<Settings, Wrong> {
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

fn number(flag: &'static str, text: &str, range: RangeInclusive<u64>) -> Result<u64, Wrong> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let why = "it must be a whole number, neither too small nor too large";
    number.ok_or_else(|| Wrong::Value { flag, value: text.to_owned(), why })
}

pub(crate) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Host and port of a URL.
pub(crate) fn split<'u>(flag: &'static str, url: &'u str) -> Result<(&'u str, u16), Wrong> {
    let wrong = |why| Wrong::Value { flag, value: url.to_owned(), why };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or_else(|| wrong("it must begin with http:// or https://"))?;
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| wrong("it must end with a port"))?;
    let port =
        port.parse().map_err(|_| wrong("its port must be a number up to 65535, with nothing behind"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok((host, port))
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
        let endpoint = |text: &str| Endpoint { address: text.parse().unwrap(), tls: false };
        assert_eq!(flags.listen_client, [endpoint("127.0.0.1:2379")]);
        assert_eq!(flags.listen_peer, [endpoint("127.0.0.1:2380")]);
        assert_eq!(flags.limits, Limits::default());
        assert_eq!(flags.initial["default"], ["http://localhost:2380"]);
        assert_eq!((flags.heartbeat.as_millis(), flags.election.as_millis()), (100, 1000));
        assert_eq!(flags.auth, Settings::default());
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
        let listens: Vec<_> = flags.listen_client.iter().map(ToString::to_string).collect();
        assert_eq!(listens, ["http://127.0.0.1:1", "http://[::1]:2"]);
    }

    #[test]
    fn tls_is_for_both_sides_and_plain_text_must_be_wanted() {
        let flags = served(
            "--listen-client-urls https://192.0.2.1:1 --cert-file c --key-file k --client-cert-auth \
             --trusted-ca-file a --listen-peer-urls https://192.0.2.1:2 --peer-cert-file d --peer-key-file l",
            &[],
        );
        let files = |prefix, cert: &str, key: &str, ca: Option<&str>| {
            Some(Files { prefix, cert: cert.into(), key: key.into(), trusted_ca: ca.map(PathBuf::from) })
        };
        assert_eq!(flags.client_tls, files("", "c", "k", Some("a")));
        assert_eq!(flags.peer_tls, files("peer-", "d", "l", None));
        assert!(flags.listen_client[0].tls && flags.listen_peer[0].tls);
        let flags =
            served("--listen-client-urls http://192.0.2.1:1 --insecure-plaintext-beyond-loopback", &[]);
        assert_eq!(flags.listen_client[0].to_string(), "http://192.0.2.1:1");
    }

    #[test]
    fn what_is_not_served_is_refused_by_name() {
        let cases = [
            ("--client-crl-file x", "flag --client-crl-file is not served"),
            ("--auto-tls", "flag --auto-tls is not served"),
            ("--cert-file x", "a key belongs to it"),
            ("--key-file x", "a certificate belongs to it"),
            ("--cert-file x --key-file y", "begins with https://"),
            ("--client-cert-auth", "it needs a certificate"),
            ("--trusted-ca-file x", "it needs a certificate"),
            ("--listen-client-urls https://0.0.0.0:1 --cert-file x --key-file y --client-cert-auth", "vouch"),
            ("--listen-metrics-urls http://0.0.0.0:1", "plain text is served on loopback only"),
            ("--client-cert-auth=maybe", "it must be true or false"),
            ("--max-txn-ops 0", "it must be a number"),
            ("--max-request-bytes 16777217", "from 1 to 16777216"),
            ("--name", "flag --name needs a value"),
            ("x", "\"x\" is no flag"),
            ("--listen-client-urls http://0.0.0.0:1", "plain text is served on loopback only"),
            ("--listen-peer-urls http://192.0.2.1:1", "plain text is served on loopback only"),
            ("--listen-client-urls https://127.0.0.1:1", "needs a certificate"),
            ("--listen-peer-urls https://127.0.0.1:1", "needs a certificate"),
            ("--listen-client-urls http://127.0.0.1", "it must end with a port"),
            ("--quota-backend-bytes 2GB", "a number of bytes"),
            ("--auto-compaction-mode daily --auto-compaction-retention 1", "periodic or revision"),
            ("--auto-compaction-retention often", "10m"),
            ("--auto-compaction-mode revision --auto-compaction-retention 1h", "a number of revisions"),
            ("--initial-cluster default", "it must be NAME=URL"),
            ("--initial-cluster a=ftp://localhost:1", "it must begin with http://"),
            ("--initial-cluster-state old", "it must be new or existing"),
            ("--election-timeout 499", "five times --heartbeat-interval"),
            ("--snapshot-count 0", "neither too small"),
            ("--auth-token jwt,pub-key=a,priv-key=b,sign-method=RS256", "and no jwt"),
            ("--auth-token-ttl 0", "from 1 up"),
            ("--bcrypt-cost 3", "from 4 to 31"),
        ];
        for (words, reason) in cases {
            let error = read(words, &[]).unwrap_err().to_string();
            assert!(error.contains(reason), "{words}: {error}");
        }
        let error = read("", &[("ETCD_AUTO_TLS", "x")]).unwrap_err();
        assert_eq!(error, Wrong::Variable("ETCD_AUTO_TLS".to_owned()));
    }
}
