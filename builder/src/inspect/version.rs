//! The order of versions that systemd-boot sorts its entries by: UAPI.10, "Version Format
//! Specification".

use std::cmp::Ordering;

/// Compares two versions; the greater is the newer.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        (a, b) = (from_valid(a), from_valid(b));
        // A pre-release is older than all, the end included.
        if let Some(order) = separator(b'~', &mut a, &mut b) {
            return order;
        }
        if a.is_empty() || b.is_empty() {
            return a.len().min(1).cmp(&b.len().min(1));
        }
        for sign in *b"-^." {
            if let Some(order) = separator(sign, &mut a, &mut b) {
                return order;
            }
        }
        let numeric = starts_with_digit(a) || starts_with_digit(b);
        let order = if numeric {
            let (one, other) = (take(&mut a, u8::is_ascii_digit), take(&mut b, u8::is_ascii_digit));
            compare_numbers(one, other)
        } else {
            take(&mut a, u8::is_ascii_alphabetic).cmp(take(&mut b, u8::is_ascii_alphabetic))
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Steps over a separator that both have; one that has it alone is the older.
fn separator(sign: u8, a: &mut &[u8], b: &mut &[u8]) -> Option<Ordering> {
    match (a.strip_prefix(&[sign]), b.strip_prefix(&[sign])) {
        (None, None) => None,
        (Some(one), Some(other)) => {
            (*a, *b) = (one, other);
            None
        }
        (one, _) => Some(if one.is_some() { Ordering::Less } else { Ordering::Greater }),
    }
}

/// By value, without a bound on it; no number at all is older than any.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| {
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits[zeros..].to_vec()
    };
    let (one, other) = (significant(a), significant(b));
    (!a.is_empty()).cmp(&!b.is_empty()).then(one.len().cmp(&other.len())).then(one.cmp(&other))
}

fn starts_with_digit(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_digit)
}

/// Takes the longest start whose bytes all fit.
fn take<'a>(text: &mut &'a [u8], fits: fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().position(|byte| !fits(byte)).unwrap_or(text.len());
    let (taken, rest) = text.split_at(end);
    *text = rest;
    taken
}

fn from_valid(text: &[u8]) -> &[u8] {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"~-^.".contains(byte);
    &text[text.iter().position(valid).unwrap_or(text.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// systemd's own comparison of all pairs.
    #[test]
    fn systemd_agrees() {
        let versions = [
            "0.1.0",
            "0.1.0~rc1",
            "0.1.0~rc2",
            "0.1.0-2",
            "0.1.0-10",
            "0.1.0^post1",
            "0.1.10",
            "0.1.9",
            "1",
            "01",
            "1.",
            "1a",
            "1.a",
            "123a-1",
            "abc",
            "abcde",
            "a_b",
            "ab",
            "~",
            "-1",
            "99999999999999999999999999",
            "99999999999999999999999998",
            "1+2",
            "",
        ];
        for (index, a) in versions.into_iter().enumerate() {
            for b in versions.into_iter().skip(index) {
                let said = Command::new("systemd-analyze")
                    .args(["compare-versions", "--", a, b])
                    .output()
                    .unwrap_or_else(|error| panic!("systemd-analyze: {error}; apt-get install systemd"));
                // Exit codes of compare-versions: 0 equal, 11 newer, 12 older.
                let theirs = match said.status.code() {
                    Some(0) => Ordering::Equal,
                    Some(11) => Ordering::Greater,
                    Some(12) => Ordering::Less,
                    other => panic!("{a:?} {b:?}: {other:?} {}", String::from_utf8_lossy(&said.stderr)),
                };
                assert_eq!(compare(a, b), theirs, "{a:?} {b:?}");
                assert_eq!(compare(b, a), theirs.reverse(), "{b:?} {a:?}");
            }
        }
    }
}
