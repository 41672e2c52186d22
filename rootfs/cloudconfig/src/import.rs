//! `coreos_ssh_import_github`, `coreos_ssh_import_github_users`, `coreos_ssh_import_url`: keys that
//! are fetched from the network, and the answers that hold them.
//!
//! Nothing here fetches: `userdata` does, when the machine runs.

use crate::keys;
use document::{Fields, Node, Place, Problem, Problems};
use std::fmt;

/// Keys that are taken of one answer at most.
const KEYS_MAX: usize = 256;

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Import {
    /// The keys of a user of GitHub.
    GitHub(String),
    /// A URL with an answer in the form of GitHub's, or with a key a line.
    Url(String),
}

impl fmt::Display for Import {
    /// For people: without the name and the password that a URL may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GitHub(name) => write!(f, "github {name}"),
            Self::Url(url) => write!(f, "url {}", split_url(url).0),
        }
    }
}

/// A URL without the part before `@` of its authority (RFC 3986, section 3.2.1), and that part.
pub fn split_url(url: &str) -> (String, Option<&str>) {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    match url[start..end].rfind('@') {
        Some(at) => (format!("{}{}", &url[..start], &url[start + at + 1..]), Some(&url[start..start + at])),
        None => (url.to_owned(), None),
    }
}

/// The imports of one user.
pub(crate) fn read(fields: &Fields<'_>, problems: &Problems, warnings: &mut Vec<Problem>) -> Vec<Import> {
    let mut imports = Vec::new();
    let mut add = |import: Import| {
        if !imports.contains(&import) {
            imports.push(import);
        }
    };
    let single = fields.get("coreos_ssh_import_github").into_iter();
    for node in single.chain(fields.items("coreos_ssh_import_github_users")) {
        if let Some(name) = checked(node, problems, github_fault) {
            add(Import::GitHub(name));
        }
    }
    if let Some(node) = fields.get("coreos_ssh_import_url")
        && let Some(url) = checked(node, problems, url_fault)
    {
        if url.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("http://")) {
            warnings.push(unsafe_url(node.place));
        }
        add(Import::Url(url));
    }
    imports
}

fn unsafe_url(place: Place) -> Problem {
    let message = "keys over http:// are whatever anyone on the way says they are: use https://".to_owned();
    Problem { place, message }
}

fn checked(node: &Node, problems: &Problems, fault: fn(&str) -> Option<&'static str>) -> Option<String> {
    let text = node.text(problems)?;
    match fault(text) {
        None => Some(text.to_owned()),
        Some(fault) => {
            problems.add(node.place, fault);
            None
        }
    }
}

/// GitHub: letters, digits and single hyphens, not at the ends, 39 at most; `_` in names of
/// accounts that a company manages.
fn github_fault(text: &str) -> Option<&'static str> {
    let is_clean = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let is_ok = is_clean && (1..=39).contains(&text.len()) && !text.starts_with('-');
    (!is_ok).then_some("not the name of a GitHub account")
}

fn url_fault(text: &str) -> Option<&'static str> {
    let starts = |scheme: &str| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    let rest = split_url(text).0;
    let host = rest.split_once("://").map_or("", |(_, rest)| rest);
    let has_host = !host.is_empty() && !host.starts_with(['/', ':', '?', '#']);
    let is_ok = (starts("https://") || starts("http://"))
        && has_host
        && text.len() <= 2048
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    (!is_ok).then_some("not a URL that begins with https:// or http://")
}

/// A line an import, `USER GITHUB-OR-URL WHAT`: how PID 1 tells the service.
pub fn write<'a>(imports: impl Iterator<Item = (&'a str, &'a Import)>) -> String {
    let line = |(user, import): (&str, &Import)| match import {
        Import::GitHub(name) => format!("{user} github {name}\n"),
        Import::Url(url) => format!("{user} url {url}\n"),
    };
    imports.map(line).collect()
}

/// What [`write`] wrote. Lines that it does not write are none.
pub fn parse(text: &str) -> Vec<(String, Import)> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let (user, import) = match words[..] {
            [user, "github", name] if github_fault(name).is_none() => (user, Import::GitHub(name.to_owned())),
            [user, "url", url] if url_fault(url).is_none() => (user, Import::Url(url.to_owned())),
            _ => return None,
        };
        Some((user.to_owned(), import))
    };
    text.lines().filter_map(line).collect()
}

/// What an answer holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whole keys, `TYPE BASE64`, without options: who serves keys has no say in more.
    pub keys: Vec<String>,
    /// What is wrong with each of the others.
    pub refused: Vec<String>,
}

/// Reads an answer: a JSON list of objects with a `key` (GitHub REST API, "List public keys for a
/// user"), or lines of keys.
///
/// # Errors
/// Says why it is neither.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the answer is not text".to_owned())?.trim();
    // YAML holds JSON, and its reader here has bounds; a list that is none is not worth a second reader.
    let lines: Vec<String> = if text.starts_with('[') {
        let root = document::read(text).map_err(|problem| format!("the answer is no JSON: {problem}"))?;
        let problems = Problems::default();
        let items = root.items(&problems).iter();
        let key = |item: &Node| {
            let unknown = Problems::default();
            let fields = item.fields(&unknown)?;
            let key = fields.get("key")?.text(&unknown)?.trim().to_owned();
            Some(key)
        };
        items.map(key).collect::<Option<_>>().ok_or("the answer is no list of objects with a `key`")?
    } else if text.starts_with(['{', '<']) {
        return Err("the answer is neither a list of keys in JSON nor lines of keys".to_owned());
    } else {
        let is_key = |line: &&str| !line.is_empty() && !line.starts_with('#');
        text.lines().map(str::trim).filter(is_key).map(str::to_owned).collect()
    };
    let mut answer = Answer::default();
    for line in lines.iter().take(KEYS_MAX) {
        match plain(line) {
            Ok(key) if answer.keys.contains(&key) => {}
            Ok(key) => answer.keys.push(key),
            Err(why) => answer.refused.push(why),
        }
    }
    if lines.len() > KEYS_MAX {
        answer.refused.push(format!("only the first {KEYS_MAX} of {} keys are taken", lines.len()));
    }
    Ok(answer)
}

/// Type and base64 of a key that stands without options.
fn plain(line: &str) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !["ssh-", "ecdsa-", "sk-"].iter().any(|start| kind.starts_with(start)) {
        return Err("it is no key, or stands behind options, which are not taken from the network".to_owned());
    }
    let key = format!("{kind} {blob}");
    match keys::fault(&key) {
        Some(fault) => Err(fault),
        // What the SSH server here cannot check opens nothing; better said here than to nobody.
        None if kind == "ssh-rsa" || kind.starts_with("sk-") => {
            Err(format!("the SSH server does not take {kind}: use ssh-ed25519"))
        }
        None => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvcLRmK4Jf8GuTgqh2vGkYBSXgx9oPE7DHxyQ+xJ7Eh";

    #[test]
    fn an_answer_is_githubs_or_lines() {
        let json = format!("[{{\"id\":1,\"key\":\"{KEY}\"}},{{\"id\":2,\"key\":\"ssh-ed25519 AAAA\"}}]");
        let answer = read_answer(json.as_bytes()).unwrap();
        assert_eq!((answer.keys.as_slice(), answer.refused.len()), ([KEY.to_owned()].as_slice(), 1));
        let lines = format!("# mine\n{KEY} me@home\n\n{KEY} again\ncommand=\"x\" {KEY}\n");
        let answer = read_answer(lines.as_bytes()).unwrap();
        assert_eq!((answer.keys.as_slice(), answer.refused.len()), ([KEY.to_owned()].as_slice(), 1));
        assert_eq!(read_answer(b"[]").unwrap(), Answer::default());
        for bad in ["[1]", "[{\"id\": 1}]", "[", "{\"message\":\"Not Found\"}", "<html>", "\u{0}[x"] {
            let answer = read_answer(bad.as_bytes());
            assert!(answer.is_err() || answer.is_ok_and(|answer| answer.keys.is_empty()), "{bad}");
        }
        assert!(read_answer(&[0xff]).is_err());
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        let url = "https://token:x@ghe.example/api/users/a/keys?b=@";
        assert_eq!(split_url(url), ("https://ghe.example/api/users/a/keys?b=@".to_owned(), Some("token:x")));
        let import = Import::Url(url.to_owned());
        assert_eq!(import.to_string(), "url https://ghe.example/api/users/a/keys?b=@");
        let all = [("core", import), ("anna", Import::GitHub("octo-cat".to_owned()))];
        let text = write(all.iter().map(|(user, import)| (*user, import)));
        let back = parse(&format!("{text}x y z\ncore github -\n"));
        assert_eq!(back, all.map(|(user, import)| (user.to_owned(), import)));
    }
}
