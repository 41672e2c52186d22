//! Patterns of `ssh_config`(5), "PATTERNS": `*`, `?`, lists with `!`, and CIDR blocks.

use std::net::IpAddr;

/// Whether `text` is of the form `pattern`, with `*` and `?`.
pub fn matches(pattern: &str, text: &str) -> bool {
    // The usual two-pointer walk: on a mismatch, the last `*` takes one character more.
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star.as_mut() {
                Some((at, taken)) => {
                    *taken += 1;
                    t = *taken;
                    p = *at + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether one of the patterns takes `text`.
pub fn any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

/// One member of a `from=` list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    negated: bool,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Block(IpAddr, u8),
    Pattern(String),
}

/// Reads a `from=` list (sshd(8), `AUTHORIZED_KEYS FILE FORMAT`): addresses, CIDR blocks and
/// patterns over addresses. Names are not looked up, so a pattern matches the address's text.
/// `None` when a member has no such form.
pub fn sources(text: &str) -> Option<Vec<Source>> {
    text.split(',').map(source).collect()
}

fn source(text: &str) -> Option<Source> {
    let text = text.trim();
    let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
    let what = if let Some((address, length)) = text.split_once('/') {
        let address: IpAddr = address.parse().ok()?;
        let length =
            length.parse().ok().filter(|length| *length <= if address.is_ipv4() { 32 } else { 128 })?;
        What::Block(address, length)
    } else {
        // A host name would never match: better to say so now.
        let of_address = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '*' | '?');
        if text.is_empty() || !text.chars().all(of_address) {
            return None;
        }
        match text.parse::<IpAddr>() {
            Ok(address) => What::Block(address, if address.is_ipv4() { 32 } else { 128 }),
            Err(_) => What::Pattern(text.to_owned()),
        }
    };
    Some(Source { negated, what })
}

/// Whether an address is in the list: a member takes it, and none with `!` does.
pub fn admits(sources: &[Source], address: IpAddr) -> bool {
    let address = address.to_canonical();
    let takes = |source: &Source| match &source.what {
        What::Block(block, length) => in_block(*block, *length, address),
        What::Pattern(pattern) => matches(pattern, &address.to_string()),
    };
    let taken = |negated| sources.iter().any(|source| source.negated == negated && takes(source));
    taken(false) && !taken(true)
}

fn in_block(block: IpAddr, length: u8, address: IpAddr) -> bool {
    let top = |bits: u128, width: u32| bits.checked_shr(width - u32::from(length)).unwrap_or(0);
    match (block, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => top(a.to_bits().into(), 32) == top(b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => top(a.to_bits(), 128) == top(b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, fits) in [
            ("LC_*", "LC_ALL", true),
            ("LC_*", "LC_", true),
            ("LC_*", "LANG", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbxc", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn sources_admit_blocks_and_patterns_and_refuse_what_is_negated() {
        let admitted = |list: &str, address: &str| admits(&sources(list).unwrap(), address.parse().unwrap());
        assert!(admitted("10.0.0.0/8", "10.1.2.3"));
        assert!(admitted("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!admitted("10.0.0.0/8,!10.1.0.0/16", "10.1.2.3"));
        assert!(admitted("0.0.0.0/0", "1.2.3.4") && !admitted("0.0.0.0/0", "::1"));
        assert!(admitted("::/0", "::1") && admitted("fe80::/10", "fe80::1"));
        assert!(admitted("192.168.1.*", "192.168.1.7") && !admitted("192.168.1.*", "192.168.2.7"));
        assert!(!admitted("!10.0.0.1", "10.0.0.2"), "a list of refusals admits nobody");
        for wrong in ["", "10.0.0.0/33", "example.org", "10.0.0.1,", "::/129"] {
            assert_eq!(sources(wrong), None, "{wrong}");
        }
    }
}
