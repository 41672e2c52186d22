//! Authorized keys (sshd(8), `AUTHORIZED_KEYS FILE FORMAT`): a public key a line with options.
//!
//! A line that is not understood to its end opens nothing: an option that is unknown, or that asks
//! for what this server does not have, refuses the line and is logged with its number.

use crate::config::seconds;
use crate::pattern::{self, Source};
use russh::keys::PublicKey;
use russh::keys::ssh_key::Algorithm;
use std::net::IpAddr;

/// The largest file of keys that is read, in bytes.
pub const SIZE_MAX: u64 = 1 << 20;

/// What a key may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// `command=`: runs in place of whatever is asked for.
    pub command: Option<String>,
    /// Terminals (`no-pty`, `restrict`, `pty`).
    pub pty: bool,
    /// Port forwarding (`no-port-forwarding`, `restrict`, `port-forwarding`).
    pub forwarding: bool,
    /// The client's agent (`no-agent-forwarding`, `restrict`, `agent-forwarding`).
    pub agent: bool,
    /// `permitopen=HOST:PORT`: where `-L` may go; without any, anywhere.
    pub open: Vec<(String, Option<u16>)>,
    /// `permitlisten=[HOST:]PORT`: where `-R` may listen; without any, anywhere.
    pub listen: Vec<(Option<String>, Option<u16>)>,
    /// `environment=NAME=VALUE`
    pub environment: Vec<(String, String)>,
    /// `from=`
    from: Option<Vec<Source>>,
    /// `expiry-time=`, in seconds since 1970.
    expires: Option<u64>,
}

impl Default for Grant {
    fn default() -> Self {
        Self {
            command: None,
            pty: true,
            forwarding: true,
            agent: true,
            open: vec![],
            listen: vec![],
            environment: vec![],
            from: None,
            expires: None,
        }
    }
}

impl Grant {
    /// Whether the key may be used from this address at this time (seconds since 1970).
    ///
    /// # Errors
    /// Says why not.
    pub fn usable(&self, source: IpAddr, now: u64) -> Result<(), Refusal> {
        if self.expires.is_some_and(|expires| now >= expires) {
            return Err(Refusal::Expired);
        }
        match &self.from {
            Some(from) if !pattern::admits(from, source) => Err(Refusal::Source),
            _ => Ok(()),
        }
    }

    /// Whether `-L` may go there.
    pub fn may_open(&self, host: &str, port: u16) -> bool {
        let fits = |(allowed, at): &(String, Option<u16>)| {
            (allowed == "*" || allowed == host) && at.is_none_or(|at| at == port)
        };
        self.forwarding && (self.open.is_empty() || self.open.iter().any(fits))
    }

    /// Whether `-R` may listen there.
    pub fn may_listen(&self, host: &str, port: u16) -> bool {
        let fits = |(allowed, at): &(Option<String>, Option<u16>)| {
            let host_fits = match allowed.as_deref() {
                Some(pattern) => pattern::matches(pattern, host),
                None => matches!(host, "localhost" | "127.0.0.1" | "::1"),
            };
            host_fits && at.is_none_or(|at| at == port)
        };
        self.forwarding && (self.listen.is_empty() || self.listen.iter().any(fits))
    }
}

/// Why a key that is listed may not be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `expiry-time=` is over.
    #[error("the key has expired")]
    Expired,
    /// `from=` does not name the client's address.
    #[error("the key may not be used from there")]
    Source,
}

/// A key and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorized {
    /// The key.
    pub key: PublicKey,
    /// What it may do.
    pub grant: Grant,
}

/// Why a line opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// No key of a known form is in it.
    #[error("no public key")]
    NoKey,
    /// A kind of key whose signatures this server does not check.
    #[error("keys of the kind {0} are not supported, use ssh-ed25519")]
    Kind(String),
    /// An option that is unknown, or not supported.
    #[error("the option `{0}` is not supported")]
    Option(String),
    /// An option with a value that it does not take.
    #[error("`{0}` has no such value")]
    Value(String),
    /// A quote that nothing ends.
    #[error("a quote is not closed")]
    Quote,
    /// What a file of the user's own may not have.
    #[error("`{0}` is not taken from a file of the user's own")]
    Untrusted(String),
}

/// Reads a file: its keys, and each line that opens nothing with its number, counted from 1.
///
/// `trusted` says that only root can have written it.
pub fn parse(text: &str, trusted: bool) -> (Vec<Authorized>, Vec<(usize, LineError)>) {
    let mut keys = Vec::new();
    let mut errors = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line, trusted) {
            Ok(key) => keys.push(key),
            Err(error) => errors.push((index + 1, error)),
        }
    }
    (keys, errors)
}

/// Reads one line.
///
/// # Errors
/// See [`LineError`].
pub fn parse_line(line: &str, trusted: bool) -> Result<Authorized, LineError> {
    // The line starts with options unless it starts with a kind of key.
    if is_kind(line.split_whitespace().next().unwrap_or_default()) {
        return Ok(Authorized { key: key(line)?, grant: Grant::default() });
    }
    let end = options_end(line).ok_or(LineError::Quote)?;
    let (options, rest) = line.split_at(end);
    Ok(Authorized { key: key(rest)?, grant: grant(options, trusted)? })
}

fn is_kind(word: &str) -> bool {
    word.starts_with("ssh-")
        || word.starts_with("ecdsa-")
        || word.starts_with("sk-")
        || word.starts_with("rsa-")
}

/// Where the options end: at the first space outside of quotes.
fn options_end(line: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return Some(index),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    (!quoted).then_some(line.len())
}

fn key(text: &str) -> Result<PublicKey, LineError> {
    let mut words = text.split_whitespace();
    let (kind, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if data.is_empty() {
        return Err(LineError::NoKey);
    }
    if !is_kind(kind) {
        return Err(LineError::NoKey);
    }
    if kind.contains("-cert-v0")
        || kind.starts_with("ssh-rsa")
        || kind.starts_with("ssh-dss")
        || kind.starts_with("sk-")
    {
        return Err(LineError::Kind(kind.to_owned()));
    }
    // The comment is not a part of the key: two keys with different ones are the same.
    let key = PublicKey::from_openssh(&format!("{kind} {data}")).map_err(|_| LineError::NoKey)?;
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(key),
        other => Err(LineError::Kind(other.to_string())),
    }
}

fn grant(text: &str, trusted: bool) -> Result<Grant, LineError> {
    let mut grant = Grant::default();
    for (name, value) in options(text)? {
        let lower = name.to_ascii_lowercase();
        let wrong = || LineError::Value(name.clone());
        match (lower.as_str(), value) {
            ("restrict", None) => (grant.pty, grant.forwarding, grant.agent) = (false, false, false),
            ("pty", None) => grant.pty = true,
            ("no-pty", None) => grant.pty = false,
            ("port-forwarding", None) => grant.forwarding = true,
            ("no-port-forwarding", None) => grant.forwarding = false,
            ("agent-forwarding", None) => grant.agent = true,
            ("no-agent-forwarding", None) => grant.agent = false,
            // This server never has them.
            ("no-x11-forwarding" | "no-user-rc", None) => {}
            ("command", Some(value)) if grant.command.is_none() => grant.command = Some(value),
            ("from", Some(value)) if grant.from.is_none() => {
                grant.from = Some(pattern::sources(&value).ok_or_else(wrong)?);
            }
            ("expiry-time", Some(value)) if grant.expires.is_none() => {
                grant.expires = Some(expiry(&value).ok_or_else(wrong)?);
            }
            ("permitopen", Some(value)) => grant.open.push(permit_open(&value).ok_or_else(wrong)?),
            ("permitlisten", Some(value)) => grant.listen.push(permit_listen(&value).ok_or_else(wrong)?),
            ("environment", Some(value)) => {
                if !trusted {
                    return Err(LineError::Untrusted(name));
                }
                grant.environment.push(environment(&value).ok_or_else(wrong)?);
            }
            _ => return Err(LineError::Option(name)),
        }
    }
    Ok(grant)
}

/// `name`, `name="value"`, with commas between; `\"` is a quote.
fn options(text: &str) -> Result<Vec<(String, Option<String>)>, LineError> {
    let mut options = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find([',', '=']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let mut value = None;
        let mut after = after;
        if let Some(quoted) = after.strip_prefix('=') {
            let quoted = quoted.strip_prefix('"').ok_or_else(|| LineError::Value(name.to_owned()))?;
            let mut text = String::new();
            let mut chars = quoted.char_indices();
            after = loop {
                match chars.next() {
                    None => return Err(LineError::Quote),
                    Some((at, '"')) => break &quoted[at + 1..],
                    Some((at, '\\')) if quoted[at + 1..].starts_with('"') => {
                        chars.next();
                        text.push('"');
                    }
                    Some((_, c)) => text.push(c),
                }
            };
            value = Some(text);
        }
        options.push((name.to_owned(), value));
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(options),
            None => return Err(LineError::Option(after.to_owned())),
        }
    }
}

/// `YYYYMMDD[HHMM[SS]][Z]`, always UTC: the appliance has no other zone.
fn expiry(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('Z').unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse::<u64>().ok());
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if year < 1970 || day == 0 || day > length || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let before: u64 = lengths[..month as usize - 1].iter().sum();
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let days = (year - 1970) * 365 + leaps(year - 1) - leaps(1969) + before + day - 1;
    Some(days * 86_400 + seconds(&format!("{hour}h{minute}m{second}s"))?)
}

/// A port, or `*` for every one.
#[expect(clippy::option_option, reason = "the outer one is whether it is of the form, the inner one is kept")]
fn port(text: &str) -> Option<Option<u16>> {
    if text == "*" { Some(None) } else { text.parse().ok().map(Some) }
}

fn permit_open(value: &str) -> Option<(String, Option<u16>)> {
    let (host, at) = value.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Some((host.to_owned(), port(at)?)))?
}

fn permit_listen(value: &str) -> Option<(Option<String>, Option<u16>)> {
    match permit_open(value) {
        Some((host, port)) => Some((Some(host), port)),
        None => Some((None, port(value)?)),
    }
}

fn environment(value: &str) -> Option<(String, String)> {
    let (name, value) = value.split_once('=')?;
    let fine = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (!name.is_empty() && fine(name) && !value.contains('\0')).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn grant_of(options: &str) -> Grant {
        parse_line(&format!("{options} {ED} me@home"), true).unwrap().grant
    }

    fn error_of(line: &str) -> String {
        parse_line(line, true).unwrap_err().to_string()
    }

    #[test]
    fn keys_and_options() {
        let plain = parse_line(&format!("{ED} a comment"), true).unwrap();
        assert_eq!(plain.grant, Grant::default());
        assert_eq!(plain.key, parse_line(ED, true).unwrap().key);
        let grant = grant_of(r#"restrict,pty,command="say \"hi, you\"",environment="A=b c""#);
        assert_eq!(grant.command.as_deref(), Some("say \"hi, you\""));
        assert!(grant.pty && !grant.forwarding);
        assert_eq!(grant.environment, [("A".to_owned(), "b c".to_owned())]);
        let grant =
            grant_of(r#"permitopen="[::1]:80",permitopen="db:*",permitlisten="8080",no-agent-forwarding"#);
        assert!(grant.may_open("::1", 80) && grant.may_open("db", 1) && !grant.may_open("db2", 80));
        assert!(!grant.may_open("::1", 81));
        assert!(grant.may_listen("localhost", 8080) && !grant.may_listen("0.0.0.0", 8080));
        assert!(!grant_of("no-port-forwarding").may_open("a", 1));
        assert!(!grant.agent && !grant_of("restrict").agent && grant_of("restrict,agent-forwarding").agent);
        assert!(!grant_of("NO-PTY").pty);
    }

    #[test]
    fn a_line_that_is_not_understood_opens_nothing() {
        let with = |options: &str| error_of(&format!("{options} {ED}"));
        assert_eq!(with("cert-authority"), "the option `cert-authority` is not supported");
        assert_eq!(with("no-pty,nonsense"), "the option `nonsense` is not supported");
        assert_eq!(with("from=\"host.example\""), "`from` has no such value");
        assert_eq!(with("command=ls"), "`command` has no such value");
        assert_eq!(with("command=\"ls"), "a quote is not closed");
        assert_eq!(with("command=\"a\",command=\"b\""), "the option `command` is not supported");
        assert_eq!(with("no-pty,"), "the option `` is not supported");
        assert_eq!(error_of("ssh-ed25519"), "no public key");
        assert_eq!(error_of("ssh-ed25519 AAAA"), "no public key");
        assert_eq!(
            error_of("ssh-rsa AAAAB3Nz"),
            "keys of the kind ssh-rsa are not supported, use ssh-ed25519"
        );
        let line = format!("environment=\"A=b\" {ED}");
        assert!(matches!(parse_line(&line, false), Err(LineError::Untrusted(_))));
    }

    #[test]
    fn good_lines_of_a_file_stay_good_beside_bad_ones() {
        let text = format!("# a\n\n{ED}\nnonsense here\nno-pty {ED}\r\n");
        let (keys, errors) = parse(&text, true);
        assert_eq!(keys.len(), 2);
        assert_eq!(errors, [(4, LineError::NoKey)]);
    }

    #[test]
    fn time_and_source() {
        let here = "10.0.0.1".parse().unwrap();
        let grant = grant_of("expiry-time=\"20260102\",from=\"10.0.0.0/8\"");
        let end = 1_767_312_000; // date -u -d 2026-01-02 +%s
        assert_eq!(grant.usable(here, end - 1), Ok(()));
        assert_eq!(grant.usable(here, end), Err(Refusal::Expired));
        assert_eq!(grant.usable("11.0.0.1".parse().unwrap(), 0), Err(Refusal::Source));
        assert_eq!(expiry("197001010000"), Some(0));
        assert_eq!(expiry("20240229235960Z"), Some(1_709_251_200)); // a leap second is the next day's start
        for wrong in
            ["", "2026", "20260230", "20261301", "20260101250000", "2026010a", "19690101", "+2026010"]
        {
            assert_eq!(expiry(wrong), None, "{wrong}");
        }
    }
}
