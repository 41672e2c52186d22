//! Public keys as `authorized_keys` of sshd(8) has them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use document::{Node, Problems};

/// Key types that are taken. DSA is broken, and RSA below SHA-2 is a matter of signatures, not keys.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];
/// Longest line in bytes.
const LINE_MAX: usize = 16 << 10;

pub(crate) fn read(items: &[Node], problems: &Problems) -> Vec<String> {
    items
        .iter()
        .filter_map(|item| {
            let line = item.text(problems)?.trim();
            match fault(line) {
                None => Some(line.to_owned()),
                Some(fault) => {
                    problems.add(item.place, fault);
                    None
                }
            }
        })
        .collect()
}

/// What is wrong with one line: `[OPTIONS] TYPE BASE64 [COMMENT]`. `None`: nothing.
pub fn fault(line: &str) -> Option<String> {
    if line.len() > LINE_MAX || line.contains(['\n', '\r', '\0']) {
        return Some(format!("a key is one line of at most {LINE_MAX} bytes"));
    }
    let words = words(line);
    let Some(at) = words.iter().take(2).position(|word| TYPES.contains(word)) else {
        if words.iter().take(2).any(|word| *word == "ssh-dss") {
            return Some(
                "DSA keys (ssh-dss) are not taken: make one with `ssh-keygen -t ed25519`".to_owned(),
            );
        }
        return Some(format!("no public key: expected one of {} and then base64", TYPES.join(", ")));
    };
    let kind = words[at];
    let blob = words.get(at + 1).and_then(|word| STANDARD.decode(word).ok());
    let is_whole = blob.is_some_and(|blob| {
        strings(&blob).is_some_and(|strings| strings.len() > 1 && strings[0] == kind.as_bytes())
    });
    (!is_whole).then(|| format!("the key after `{kind}` is cut short or not base64"))
}

/// The strings that a blob consists of (RFC 4253, section 6.6; RFC 4251, section 5). `None`: it
/// ends within one.
fn strings(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut strings = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (string, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        strings.push(string);
        blob = rest;
    }
    Some(strings)
}

/// Words of a line; white space in double quotes belongs to a word (options).
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                words.extend(start.take().map(|start| &line[start..at]));
                continue;
            }
            _ => {}
        }
        start = start.or(Some(at));
    }
    words.extend(start.map(|start| &line[start..]));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvcLRmK4Jf8GuTgqh2vGkYBSXgx9oPE7DHxyQ+xJ7Eh";

    #[test]
    fn keys_are_whole_or_refused() {
        for line in [
            KEY.to_owned(),
            format!("{KEY} a comment"),
            format!("from=\"10.0.0.1\",command=\"echo a b\" {KEY} x"),
        ] {
            assert_eq!(fault(&line), None, "{line}");
        }
        for (line, reason) in [
            ("", "no public key"),
            ("AAAA", "no public key"),
            ("ssh-dss AAAA", "DSA"),
            (&KEY[..40], "cut short"),
            ("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIGvcLRmK4Jf8GuTgqh2vGkYBSXgx9oPE7DHxyQ+xJ7Eh", "cut short"),
            ("ssh-ed25519", "cut short"),
        ] {
            assert!(fault(line).is_some_and(|fault| fault.contains(reason)), "{line}");
        }
    }
}
