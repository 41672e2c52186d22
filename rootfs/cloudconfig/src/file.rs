//! `write_files`

use crate::encoding;
use document::{Node, Place, Problems};

/// Folders that may be written to. All others are part of the slot, which is read-only.
const WRITABLE: [&str; 8] = ["etc", "home", "opt", "root", "run", "srv", "tmp", "var"];
/// Folders that are empty at every boot, so that what is in them is rendered anew.
const VOLATILE: [&str; 3] = ["etc", "run", "tmp"];
/// Places that are not a document's to write, each with its reason.
const RESERVED: [(&str, &str); 3] = [
    ("/etc/hostname", "use the key `hostname`"),
    ("/etc/machine-id", "each machine makes its own"),
    ("/var/lib/slipway", "this is where user-data itself is kept"),
];
const DEFAULT_MODE: u16 = 0o644;
/// Longest path that the kernel takes (`PATH_MAX` with its NUL), in bytes.
const PATH_LENGTH_MAX: usize = 4095;
/// Longest name in a path (`NAME_MAX`), in bytes.
const NAME_LENGTH_MAX: usize = 255;

/// One file to write. Folders above it that are missing are made with mode 0755.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute, without `.` and `..`.
    pub path: String,
    /// Its bytes, decoded.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u16,
    /// Whose it is; root's unless the document says.
    pub owner: Option<Owner>,
}

impl File {
    /// Whether it is gone after a reboot, and so is written at every boot. A file that stays is
    /// written at first boot only: from then on it is the machine's.
    pub fn is_volatile(&self) -> bool {
        first_folder(&self.path).is_some_and(|folder| VOLATILE.contains(&folder))
    }
}

/// `owner`: `USER` or `USER:GROUP`. Names are looked up on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: Account,
    /// The group; the user's own when absent.
    pub group: Option<Account>,
    /// Where the document says so.
    pub place: Place,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// By name.
    Name(String),
    /// By number.
    Id(u32),
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

pub(crate) fn read(items: &[Node], files: &mut Vec<File>, problems: &Problems) {
    for item in items {
        let Some(fields) = item.fields(problems) else { continue };
        let path_node = fields.required("path");
        let path = path_node.and_then(|node| path(node, problems));
        let encoding = fields.get("encoding");
        let content = match fields.get("content") {
            Some(node) => encoding::decode(encoding, node, problems),
            None => Some(Vec::new()),
        };
        let mode = fields.get("permissions").map_or(Some(DEFAULT_MODE), |node| mode(node, problems));
        let owner = match fields.get("owner") {
            Some(node) => owner(node, problems).map(Some),
            None => Some(None),
        };
        fields.finish();
        let (Some(place), Some(path)) = (path_node.map(|node| node.place), path) else { continue };
        if let Some(problem) = files.iter().find_map(|other| clash(&other.path, &path)) {
            problems.add(place, problem);
        }
        // A faulty part is noted above; the path still counts against the files below.
        let (content, mode) = (content.unwrap_or_default(), mode.unwrap_or(DEFAULT_MODE));
        files.push(File { path, content, mode, owner: owner.flatten() });
    }
}

fn first_folder(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split('/').next()
}

fn path(node: &Node, problems: &Problems) -> Option<String> {
    let path = node.text(problems)?;
    match path_fault(path) {
        None => Some(path.to_owned()),
        Some(fault) => {
            problems.add(node.place, format!("path {path:?} {fault}"));
            None
        }
    }
}

pub(crate) fn path_fault(path: &str) -> Option<String> {
    let Some(relative) = path.strip_prefix('/') else { return Some("is not absolute".to_owned()) };
    if path.len() > PATH_LENGTH_MAX || path.contains('\0') {
        return Some("is longer than 4095 bytes or holds a NUL".to_owned());
    }
    if let Some(name) = relative.split('/').find(|name| matches!(*name, "" | "." | "..")) {
        return Some(format!("has {name:?} between slashes"));
    }
    if relative.split('/').any(|name| name.len() > NAME_LENGTH_MAX) {
        return Some("has a name longer than 255 bytes".to_owned());
    }
    let below = relative.split_once('/').map(|(folder, _)| folder);
    if !below.is_some_and(|folder| WRITABLE.contains(&folder)) {
        let folders = WRITABLE.join(", /");
        return Some(format!("is in the slot, which is read-only; files can be in /{folders}"));
    }
    let within =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let (_, reason) = RESERVED.iter().find(|(folder, _)| within(folder))?;
    Some(format!("cannot be written: {reason}"))
}

/// Whether two files cannot both be.
fn clash(first: &str, second: &str) -> Option<String> {
    let is_below =
        |path: &str, folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    if first == second {
        Some(format!("path {second:?} stands twice"))
    } else if is_below(first, second) || is_below(second, first) {
        Some(format!("one of {first:?} and {second:?} would be a file and a folder at once"))
    } else {
        None
    }
}

/// `^0?[0-7]{3,4}$`, coreos-cloudinit's rule.
fn mode(node: &Node, problems: &Problems) -> Option<u16> {
    let text = node.text(problems)?;
    let digits = if text.len() > 3 { text.strip_prefix('0').unwrap_or(text) } else { text };
    let is_octal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let mode =
        if is_octal && matches!(digits.len(), 3 | 4) { u16::from_str_radix(digits, 8).ok() } else { None };
    if mode.is_none() {
        problems.add(
            node.place,
            format!("permissions {text:?} are not three or four octal digits, such as \"0644\""),
        );
    }
    mode
}

fn owner(node: &Node, problems: &Problems) -> Option<Owner> {
    let text = node.text(problems)?;
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (account(user), account(group).map(Some)),
        None => (account(text), Some(None)),
    };
    if let (Some(user), Some(group)) = (user, group) {
        return Some(Owner { user, group, place: node.place });
    }
    problems.add(node.place, format!("owner {text:?} is not USER or USER:GROUP, by name or number"));
    None
}

/// A number, or a name as useradd(8) takes it.
pub(crate) fn account(text: &str) -> Option<Account> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // chown(2) takes the highest number to mean "leave as it is".
        return text.parse().ok().filter(|id| *id != u32::MAX).map(Account::Id);
    }
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_name = text.len() <= 32
        && text.bytes().next().is_some_and(is_first)
        && text.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    is_name.then(|| Account::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_the_slot_are_refused_with_the_reason() {
        for path in ["/etc/motd", "/var/lib/x/y", "/opt/bin/tool", "/var/lib/slipway-x"] {
            assert_eq!(path_fault(path), None, "{path}");
        }
        for (path, reason) in [
            ("etc/motd", "is not absolute"),
            ("/usr/bin/x", "read-only"),
            ("/etc", "read-only"),
            ("/x", "read-only"),
            ("/etc/../usr/x", "\"..\" between slashes"),
            ("/etc//x", "\"\" between slashes"),
            ("/etc/x/", "\"\" between slashes"),
            ("/etc/machine-id", "makes its own"),
            ("/var/lib/slipway/user-data", "is kept"),
        ] {
            assert!(path_fault(path).is_some_and(|fault| fault.contains(reason)), "{path}");
        }
    }

    #[test]
    fn only_files_that_vanish_are_rendered_at_every_boot() {
        let file = |path: &str| File { path: path.to_owned(), content: vec![], mode: 0, owner: None };
        assert!(file("/etc/motd").is_volatile());
        assert!(file("/run/x").is_volatile());
        assert!(!file("/var/lib/x").is_volatile());
        assert!(!file("/home/core/x").is_volatile());
    }

    #[test]
    fn accounts_are_names_or_numbers() {
        assert_eq!(account("0"), Some(Account::Id(0)));
        assert_eq!(account("core"), Some(Account::Name("core".to_owned())));
        for text in ["", "-x", "4294967295", "99999999999", "a b", "a:b", "1a"] {
            assert_eq!(account(text), None, "{text}");
        }
    }
}
