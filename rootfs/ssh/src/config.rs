//! `/etc/ssh/sshd.conf`: the keys of `sshd_config`(5) that this server has, in its words.
//!
//! One key a line, `#` starts a comment line, values may be in double quotes, keys in any case.
//! Unlike OpenSSH's, an unknown key is an error, and so is a key given twice, unless it is a list.
//! A file with errors is no reason to lock everybody out, nor to let in whom a wrong line may have
//! meant to keep out: see [`Config::guard`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The largest configuration that is read, in bytes.
pub const SIZE_MAX: u64 = 64 << 10;

/// What forwarding a server or a key allows (`AllowTcpForwarding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarding {
    /// `-L`, `-D`: the client's connections leave from here.
    pub local: bool,
    /// `-R`: connections to here reach the client.
    pub remote: bool,
}

/// Which addresses `-R` may listen on (`GatewayPorts`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// Loopback, whatever the client asks for.
    No,
    /// All addresses, whatever the client asks for.
    Yes,
    /// What the client asks for.
    ClientSpecified,
}

/// Host keys that can be had (`HostKeyAlgorithms`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKey {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256`
    EcdsaP256,
}

/// Key exchanges (`KexAlgorithms`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// `mlkem768x25519-sha256`
    MlKem768X25519,
    /// `curve25519-sha256`
    Curve25519,
}

/// The settings of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Config {
    /// `ListenAddress`, each with `Port` unless it has its own.
    pub listen: Vec<SocketAddr>,
    /// `HostKeyAlgorithms`, most preferred first.
    pub host_keys: Vec<HostKey>,
    /// `KexAlgorithms`, most preferred first.
    pub exchanges: Vec<Exchange>,
    /// `AuthorizedKeysFile`: paths with `%u`, `%h`, `%%`; `/*` at the end means the files of a folder.
    pub authorized_keys: Vec<String>,
    /// `PermitRootLogin`
    pub root_login: bool,
    /// `AllowUsers`: patterns; without any, every user.
    pub allow_users: Vec<String>,
    /// `DenyUsers`: patterns.
    pub deny_users: Vec<String>,
    /// Whether only members of the group wheel may log in. No key: what [`Config::guard`] sets.
    pub operators_only: bool,
    /// `AcceptEnv`: patterns.
    pub accept_env: Vec<String>,
    /// `AllowTcpForwarding`
    pub tcp_forwarding: Forwarding,
    /// `AllowStreamLocalForwarding`
    pub stream_forwarding: Forwarding,
    /// `AllowAgentForwarding`
    pub agent_forwarding: bool,
    /// `GatewayPorts`
    pub gateway: Gateway,
    /// `PermitTTY`
    pub tty: bool,
    /// `Banner`: a file whose text is shown before authentication.
    pub banner: Option<String>,
    /// `LoginGraceTime`
    pub login_grace: Duration,
    /// `MaxAuthTries`
    pub auth_tries: usize,
    /// `MaxStartups`: connections that are not authenticated, of all sources together.
    pub startups: usize,
    /// `PerSourceMaxStartups`: the same of one source.
    pub startups_per_source: usize,
    /// `MaxConnections`: connections in all.
    pub connections: usize,
    /// `MaxSessions`: sessions of one connection.
    pub sessions: usize,
    /// `ClientAliveInterval`; none asks never.
    pub alive_interval: Option<Duration>,
    /// `ClientAliveCountMax`
    pub alive_count: usize,
}

impl Default for Config {
    fn default() -> Self {
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            listen: default_listen(22),
            host_keys: vec![HostKey::Ed25519],
            exchanges: vec![Exchange::MlKem768X25519, Exchange::Curve25519],
            authorized_keys: text(&["/etc/ssh/authorized_keys.d/%u", "/etc/ssh/authorized_keys.d/%u.d/*"]),
            root_login: false,
            allow_users: vec![],
            deny_users: vec![],
            operators_only: false,
            accept_env: text(&["LANG", "LC_*", "TERM", "COLORTERM"]),
            tcp_forwarding: Forwarding { local: true, remote: true },
            stream_forwarding: Forwarding { local: true, remote: true },
            agent_forwarding: true,
            gateway: Gateway::No,
            tty: true,
            banner: None,
            login_grace: Duration::from_secs(30),
            auth_tries: 6,
            startups: 64,
            startups_per_source: 16,
            connections: 256,
            sessions: 32,
            alive_interval: Some(Duration::from_secs(30)),
            alive_count: 3,
        }
    }
}

impl Config {
    /// What holds of a file that has errors: nothing that a wrong line may have been to forbid.
    /// Members of wheel, who can mend it, log in; nobody else, not root, and nothing is forwarded.
    #[must_use]
    pub fn guard(self) -> Self {
        Self {
            operators_only: true,
            root_login: false,
            tcp_forwarding: Forwarding { local: false, remote: false },
            stream_forwarding: Forwarding { local: false, remote: false },
            agent_forwarding: false,
            gateway: Gateway::No,
            ..self
        }
    }
}

fn default_listen(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ConfigError {
    /// Counted from 1.
    pub line: usize,
    /// What it is.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No such key.
    #[error("unknown key `{0}`")]
    UnknownKey(String),
    /// A key that takes one value was there before.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// Too few or too many values.
    #[error("`{0}` takes {1}")]
    Count(String, &'static str),
    /// A value that the key does not take.
    #[error("`{key}` takes {takes}, not `{value}`")]
    Value {
        /// The key.
        key: String,
        /// What it takes.
        takes: &'static str,
        /// What was given.
        value: String,
    },
    /// A quote that nothing ends.
    #[error("a quote is not closed")]
    Quote,
}

/// Reads a configuration.
///
/// # Errors
/// The first line that is wrong.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let (config, errors) = read(text);
    errors.into_iter().next().map_or(Ok(config), Err)
}

/// Reads a configuration: what its right lines say, and the errors of the others.
pub fn read(text: &str) -> (Config, Vec<ConfigError>) {
    let mut config = Config::default();
    let mut seen: Vec<String> = Vec::new();
    let mut port = None;
    let mut listen: Vec<(IpAddr, Option<u16>)> = Vec::new();
    let mut take = |index: usize, line: &str| {
        let fail = |problem| ConfigError { line: index + 1, problem };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (key, rest) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
        let values = words(rest.trim_start_matches(|c: char| c.is_whitespace() || c == '='))
            .ok_or_else(|| fail(Problem::Quote))?;
        let name = key.to_ascii_lowercase();
        let list = matches!(
            name.as_str(),
            "listenaddress" | "allowusers" | "denyusers" | "acceptenv" | "authorizedkeysfile"
        );
        let first = !seen.contains(&name);
        if !first && !list {
            return Err(fail(Problem::Twice(key.to_owned())));
        }
        seen.push(name.clone());
        let line = Line { key, values: &values };
        let lists = |into: &mut Vec<String>, line: &Line| {
            if first {
                into.clear();
            }
            line.several().map(|values| into.extend_from_slice(values))
        };
        let result = match name.as_str() {
            "port" => line.number(1, 65535).map(|number| port = u16::try_from(number).ok()),
            "listenaddress" => line.one().and_then(|value| {
                listen.push(address(value).ok_or_else(|| line.wrong("ADDRESS, IPV4:PORT or [IPV6]:PORT"))?);
                Ok(())
            }),
            "hostkeyalgorithms" => line
                .choices(
                    &[("ssh-ed25519", HostKey::Ed25519), ("ecdsa-sha2-nistp256", HostKey::EcdsaP256)],
                    "ssh-ed25519 and ecdsa-sha2-nistp256, with commas between",
                )
                .map(|keys| config.host_keys = keys),
            "kexalgorithms" => line
                .choices(
                    &[
                        ("mlkem768x25519-sha256", Exchange::MlKem768X25519),
                        ("curve25519-sha256", Exchange::Curve25519),
                    ],
                    "mlkem768x25519-sha256 and curve25519-sha256, with commas between",
                )
                .map(|exchanges| config.exchanges = exchanges),
            "authorizedkeysfile" => lists(&mut config.authorized_keys, &line),
            "permitrootlogin" => match line.one() {
                Ok("prohibit-password") => {
                    config.root_login = true;
                    Ok(())
                }
                _ => line.flag("yes, no or prohibit-password").map(|flag| config.root_login = flag),
            },
            "allowusers" => lists(&mut config.allow_users, &line),
            "denyusers" => lists(&mut config.deny_users, &line),
            "acceptenv" => lists(&mut config.accept_env, &line),
            "allowtcpforwarding" => line.forwarding().map(|allowed| config.tcp_forwarding = allowed),
            "allowstreamlocalforwarding" => {
                line.forwarding().map(|allowed| config.stream_forwarding = allowed)
            }
            "allowagentforwarding" => line.flag("yes or no").map(|flag| config.agent_forwarding = flag),
            "gatewayports" => line.gateway().map(|gateway| config.gateway = gateway),
            "permittty" => line.flag("yes or no").map(|flag| config.tty = flag),
            "banner" => {
                line.one().map(|path| config.banner = Some(path.to_owned()).filter(|path| path != "none"))
            }
            "logingracetime" => line.time(1).map(|time| config.login_grace = time),
            "maxauthtries" => line.number(1, 20).map(|number| config.auth_tries = number),
            "maxstartups" => line.number(1, 10_000).map(|number| config.startups = number),
            "persourcemaxstartups" => {
                line.number(1, 10_000).map(|number| config.startups_per_source = number)
            }
            "maxconnections" => line.number(1, 10_000).map(|number| config.connections = number),
            "maxsessions" => line.number(1, 1000).map(|number| config.sessions = number),
            "clientaliveinterval" => {
                line.time(0).map(|time| config.alive_interval = Some(time).filter(|time| !time.is_zero()))
            }
            "clientalivecountmax" => line.number(1, 1000).map(|number| config.alive_count = number),
            _ => Err(Problem::UnknownKey(key.to_owned())),
        };
        result.map_err(fail)
    };
    let errors = text.lines().enumerate().filter_map(|(index, line)| take(index, line).err()).collect();
    let port = port.unwrap_or(22);
    config.listen = if listen.is_empty() {
        default_listen(port)
    } else {
        listen.into_iter().map(|(address, own)| (address, own.unwrap_or(port)).into()).collect()
    };
    (config, errors)
}

struct Line<'a> {
    key: &'a str,
    values: &'a [String],
}

impl<'a> Line<'a> {
    fn one(&self) -> Result<&'a str, Problem> {
        match self.values {
            [value] => Ok(value),
            _ => Err(Problem::Count(self.key.to_owned(), "one value")),
        }
    }

    fn several(&self) -> Result<&'a [String], Problem> {
        match self.values {
            [] => Err(Problem::Count(self.key.to_owned(), "one value or more")),
            values => Ok(values),
        }
    }

    fn wrong(&self, takes: &'static str) -> Problem {
        Problem::Value { key: self.key.to_owned(), takes, value: self.values.join(" ") }
    }

    fn number(&self, least: usize, most: usize) -> Result<usize, Problem> {
        let number = self.one()?.parse().map_err(|_| self.wrong("a number"))?;
        if number < least || number > most {
            Err(self.wrong("a number that makes sense"))
        } else {
            Ok(number)
        }
    }

    fn flag(&self, takes: &'static str) -> Result<bool, Problem> {
        match self.one()? {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(self.wrong(takes)),
        }
    }

    fn time(&self, least: u64) -> Result<Duration, Problem> {
        let seconds = seconds(self.one()?).filter(|seconds| (least..=86_400).contains(seconds));
        seconds
            .map(Duration::from_secs)
            .ok_or_else(|| self.wrong("a time of up to a day such as 30, 30s, 2m, 1h"))
    }

    fn forwarding(&self) -> Result<Forwarding, Problem> {
        let (local, remote) = match self.one()? {
            "yes" | "all" => (true, true),
            "no" => (false, false),
            "local" => (true, false),
            "remote" => (false, true),
            _ => return Err(self.wrong("yes, no, local or remote")),
        };
        Ok(Forwarding { local, remote })
    }

    fn gateway(&self) -> Result<Gateway, Problem> {
        match self.one()? {
            "yes" => Ok(Gateway::Yes),
            "no" => Ok(Gateway::No),
            "clientspecified" => Ok(Gateway::ClientSpecified),
            _ => Err(self.wrong("yes, no or clientspecified")),
        }
    }

    /// A list with commas, of these names, none twice.
    fn choices<T: Copy + PartialEq>(
        &self,
        known: &[(&str, T)],
        takes: &'static str,
    ) -> Result<Vec<T>, Problem> {
        let mut chosen = Vec::new();
        for name in self.one()?.split(',') {
            match known.iter().find(|(known, _)| *known == name) {
                Some((_, choice)) if !chosen.contains(choice) => chosen.push(*choice),
                _ => return Err(self.wrong(takes)),
            }
        }
        Ok(chosen)
    }
}

/// `ADDRESS`, `IPV4:PORT`, `[IPV6]:PORT`, `[IPV6]`.
fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some((address, None));
    }
    let whole: SocketAddr = text.parse().ok()?;
    Some((whole.ip(), Some(whole.port())))
}

/// A time in seconds: a sum of numbers with the units of `sshd_config`(5), "TIME FORMATS".
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let mut sum = 0_u64;
    let mut number: Option<u64> = None;
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                let digit = u64::from(c as u32 - '0' as u32);
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
                continue;
            }
            's' | 'S' => 1,
            'm' | 'M' => 60,
            'h' | 'H' => 3600,
            'd' | 'D' => 86_400,
            'w' | 'W' => 604_800,
            _ => return None,
        };
        sum = sum.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    match number {
        Some(rest) => sum.checked_add(rest),
        None => (!text.is_empty()).then_some(sum),
    }
}

/// Words with double quotes; `None` when a quote is open.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_sshd_config() {
        let config = parse(
            "# a comment\nPort 2222\nListenAddress 10.0.0.1\nlistenaddress [::1]:22\n\
             PermitRootLogin prohibit-password\nAllowUsers core \"ops*\"\nAllowUsers a\nAcceptEnv FOO\n\
             AllowTcpForwarding local\nGatewayPorts clientspecified\nLoginGraceTime 1m30s\n\
             ClientAliveInterval 0\nMaxSessions=3\nHostKeyAlgorithms ecdsa-sha2-nistp256,ssh-ed25519\n",
        )
        .unwrap();
        assert_eq!(config.listen, ["10.0.0.1:2222".parse().unwrap(), "[::1]:22".parse().unwrap()]);
        assert!(config.root_login);
        assert_eq!(config.allow_users, ["core", "ops*", "a"]);
        assert_eq!(config.accept_env, ["FOO"]);
        assert_eq!(config.tcp_forwarding, Forwarding { local: true, remote: false });
        assert_eq!(config.gateway, Gateway::ClientSpecified);
        assert_eq!(config.login_grace, Duration::from_secs(90));
        assert_eq!(config.alive_interval, None);
        assert_eq!(config.sessions, 3);
        assert_eq!(config.host_keys, [HostKey::EcdsaP256, HostKey::Ed25519]);
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn a_wrong_line_is_told() {
        let told = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(
            told("Port 22\nPasswordAuthentication yes"),
            "line 2: unknown key `PasswordAuthentication`"
        );
        assert_eq!(told("Port 22\n\nport 23"), "line 3: `port` is given twice");
        assert_eq!(told("Port"), "line 1: `Port` takes one value");
        assert_eq!(told("Port 0"), "line 1: `Port` takes a number that makes sense, not `0`");
        assert_eq!(told("PermitTTY maybe"), "line 1: `PermitTTY` takes yes or no, not `maybe`");
        assert_eq!(told("Banner \"/etc"), "line 1: a quote is not closed");
        assert!(
            told("LoginGraceTime 99999999999999999999d").starts_with("line 1: `LoginGraceTime` takes a time")
        );
        assert!(told("ListenAddress host").starts_with("line 1: `ListenAddress` takes ADDRESS"));
    }

    #[test]
    fn times() {
        assert_eq!(seconds("90"), Some(90));
        assert_eq!(seconds("1h1m1"), Some(3661));
        assert_eq!(seconds("1w"), Some(604_800));
        assert_eq!(["", "h", "1x", "1hh"].map(seconds), [None; 4]);
    }
}
