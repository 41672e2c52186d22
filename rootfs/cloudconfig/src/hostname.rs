//! `hostname`: RFC 1123, section 2.1.

use document::{Node, Problems};

/// Longest host name that the kernel takes (`__NEW_UTS_LEN`), in bytes.
const HOSTNAME_MAX: usize = 64;
/// Longest label of a name, in bytes (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;

pub(crate) fn read(node: &Node, problems: &Problems) -> Option<String> {
    let name = node.text(problems)?;
    match fault(name) {
        None => Some(name.to_owned()),
        Some(fault) => {
            problems.add(node.place, format!("host name {name:?} {fault}"));
            None
        }
    }
}

pub(crate) fn fault(name: &str) -> Option<&'static str> {
    let is_bad_label = |label: &str| {
        label.is_empty() || label.len() > LABEL_MAX || label.starts_with('-') || label.ends_with('-')
    };
    if name.len() > HOSTNAME_MAX {
        Some("is longer than 64 bytes")
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        Some("has other characters than letters, digits, `-` and `.`")
    } else if name.split('.').any(is_bad_label) {
        Some("has a label that is empty, longer than 63 bytes, or begins or ends with `-`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_rfc_1123_says() {
        for name in ["a", "node-1", "3com", "node-1.example.org"] {
            assert_eq!(fault(name), None, "{name}");
        }
        let long = "a".repeat(65);
        for name in ["", ".", "a..b", "-a", "a-", "a_b", "bücher", "a b", &long, &long[..64]] {
            assert!(fault(name).is_some(), "{name}");
        }
    }
}
