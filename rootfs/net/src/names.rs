//! Domain names in the form of RFC 1035 section 3.1, as DHCP and router advertisements have them.

use crate::config::value::domain;

/// Names one after the other, without pointers (RFC 8106 section 5.2, RFC 8415 section 10).
/// An empty name is padding. `None` when one is cut short or is no name.
pub fn plain(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !bytes.is_empty() {
        let mut labels: Vec<&str> = Vec::new();
        loop {
            let (length, rest) = bytes.split_first()?;
            let label = rest.get(..usize::from(*length)).filter(|_| *length < 64)?;
            bytes = &rest[label.len()..];
            if label.is_empty() {
                break;
            }
            labels.push(std::str::from_utf8(label).ok()?);
        }
        if !labels.is_empty() {
            names.push(domain(&labels.join("."))?.to_ascii_lowercase());
        }
    }
    Some(names)
}

/// Names with pointers to earlier ones (RFC 3397). `None` when one is cut short, is no name, or
/// points forward, which could go round in circles.
pub fn compressed(bytes: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut next = 0;
    while next < bytes.len() {
        let mut labels: Vec<&str> = Vec::new();
        let (mut at, mut barrier, mut jumped) = (next, next, false);
        loop {
            let length = *bytes.get(at)?;
            let end = match length {
                0 => at + 1,
                1..64 => {
                    let label = bytes.get(at + 1..=at + usize::from(length))?;
                    labels.push(std::str::from_utf8(label).ok()?);
                    at += 1 + label.len();
                    continue;
                }
                192.. => {
                    let target = (usize::from(length & 63) << 8) | usize::from(*bytes.get(at + 1)?);
                    if target >= barrier {
                        return None;
                    }
                    if !jumped {
                        next = at + 2;
                    }
                    (at, barrier, jumped) = (target, target, true);
                    continue;
                }
                _ => return None,
            };
            if !jumped {
                next = end;
            }
            break;
        }
        // A name of 253 bytes has 127 labels at most; a hostile list must not grow the square of itself.
        if labels.len() > 127 || names.len() > 255 {
            return None;
        }
        if !labels.is_empty() {
            names.push(domain(&labels.join("."))?.to_ascii_lowercase());
        }
    }
    Some(names)
}

/// The bytes of a name without pointers.
pub fn encode(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len().min(63) as u8);
        bytes.extend(label.bytes().take(63));
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_pointers() {
        assert_eq!(plain(b"\x01a\x07Example\0\x01b\0\0\0"), Some(vec!["a.example".into(), "b".into()]));
        assert_eq!(plain(b"\x01a"), None);
        // The example of RFC 3397 section 2.
        let bytes = b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04";
        assert_eq!(compressed(bytes), Some(vec!["eng.apple.com".into(), "marketing.apple.com".into()]));
        assert_eq!(compressed(b"\x01a\xc0\x00"), None);
        assert_eq!(compressed(b"\xc0\x00"), None);
        assert_eq!(plain(&encode("a.example")), Some(vec!["a.example".into()]));
    }

    proptest::proptest! {
        #[test]
        fn hostile_names_end(bytes: Vec<u8>) {
            plain(&bytes);
            compressed(&bytes);
        }
    }
}
