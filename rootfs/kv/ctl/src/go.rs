//! How Go writes and reads: quoted strings, durations, sizes. etcdctl's outputs show it.

use std::fmt::Write as _;
use std::time::Duration;

/// `%q`: bytes in double quotes, what cannot be printed escaped.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\x07' => text.push_str("\\a"),
                '\x08' => text.push_str("\\b"),
                '\x0c' => text.push_str("\\f"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\x0b' => text.push_str("\\v"),
                other if (other as u32) < 0x20 || other == '\x7f' => {
                    escaped(&mut text, "\\x", other as u32, 2);
                }
                other if other.is_control() => escaped(&mut text, "\\u", other as u32, 4),
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            escaped(&mut text, "\\x", u32::from(*byte), 2);
        }
    }
    text.push('"');
    text
}

fn escaped(text: &mut String, start: &str, value: u32, digits: usize) {
    // Writing to a string does not fail.
    let _never = write!(text, "{start}{value:0digits$x}");
}

/// Takes a quoted string off the front: in double quotes with Go's escapes, or in backquotes.
/// Gives its bytes and the rest; `None` where there is none.
pub(crate) fn unquote(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(rest) = text.strip_prefix('`') {
        let (raw, rest) = rest.split_once('`')?;
        return Some((raw.as_bytes().to_vec(), rest));
    }
    let mut rest = text.strip_prefix('"')?;
    let mut bytes = Vec::new();
    loop {
        let letter = rest.chars().next()?;
        rest = &rest[letter.len_utf8()..];
        match letter {
            '"' => return Some((bytes, rest)),
            '\n' => return None,
            '\\' => {
                let kind = rest.chars().next()?;
                let (digits, radix) = match kind {
                    'x' => (2, 16),
                    'u' => (4, 16),
                    'U' => (8, 16),
                    '0'..='7' => (3, 8),
                    _ => (0, 0),
                };
                if digits > 0 {
                    let start = usize::from(radix == 16);
                    let value = u32::from_str_radix(rest.get(start..start + digits)?, radix).ok()?;
                    rest = &rest[start + digits..];
                    if matches!(kind, 'u' | 'U') {
                        bytes.extend(char::from_u32(value)?.encode_utf8(&mut [0; 4]).bytes());
                    } else {
                        bytes.push(u8::try_from(value).ok()?);
                    }
                    continue;
                }
                rest = &rest[kind.len_utf8()..];
                bytes.push(match kind {
                    'a' => 7,
                    'b' => 8,
                    'f' => 12,
                    'n' => b'\n',
                    'r' => b'\r',
                    't' => b'\t',
                    'v' => 11,
                    '\\' => b'\\',
                    '"' => b'"',
                    '\'' => b'\'',
                    _ => return None,
                });
            }
            other => bytes.extend(other.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
}

/// The words of a line: bare, in double quotes with escapes, or in single quotes without.
/// `None` where a quote is not closed.
pub(crate) fn words(line: &str) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        if rest.starts_with('"') {
            let (word, more) = unquote(rest)?;
            words.push(word);
            rest = more;
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let (word, more) = quoted.split_once('\'')?;
            words.push(word.as_bytes().to_vec());
            rest = more;
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest.as_bytes()[..end].to_vec());
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Some(words)
}

/// `5s`, `1m30s`, `100ms`; `0` (etcd's flags are Go's `time.Duration`).
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("invalid duration {text:?}; give it as 5s, 1m30s or 100ms");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut whole = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or_else(bad)?;
        let number: f64 = rest[..end].parse().map_err(|_| bad())?;
        rest = &rest[end..];
        let units =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, seconds) = units.into_iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(bad)?;
        rest = &rest[unit.len()..];
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        whole = whole.checked_add(part).ok_or_else(bad)?;
    }
    if text.is_empty() { Err(bad()) } else { Ok(whole) }
}

/// A time that something took.
pub(crate) fn took(time: Duration) -> String {
    let (value, unit) = match time.as_nanos() {
        0..1_000 => (time.as_nanos() as f64, "ns"),
        1_000..1_000_000 => (time.as_nanos() as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (time.as_nanos() as f64 / 1e6, "ms"),
        _ => (time.as_secs_f64(), "s"),
    };
    format!("{value}{unit}")
}

/// Bytes in powers of a thousand: `20 kB`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 { format!("{value:.1} {}", units[unit]) } else { format!("{value:.0} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_and_read_as_go_does() {
        let bytes = "a\"\\\n\t\u{1}é\u{85}".bytes().chain([0xff]).collect::<Vec<_>>();
        let quoted = quote(&bytes);
        assert_eq!(quoted, "\"a\\\"\\\\\\n\\t\\x01é\\u0085\\xff\"");
        assert_eq!(unquote(&quoted), Some((bytes, "")));
        assert_eq!(unquote("`a\\` b"), Some((b"a\\".to_vec(), " b")));
        assert_eq!(unquote("\"\\101\""), Some((b"A".to_vec(), "")));
        for bad in ["a", "\"a", "\"\\q\"", "\"\\xzz\"", "\"\\400\""] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }

    #[test]
    fn lines_are_words() {
        let read = |line| {
            words(line).map(|words| words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect())
        };
        let expected: Vec<String> = ["put", "a b", "c\"d", "e'f"].map(str::to_owned).to_vec();
        assert_eq!(read(r#" put "a b" 'c"d'  e'f "#), Some(expected));
        assert_eq!(read("'a"), None::<Vec<String>>);
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        for bad in ["", "5", "s", "5x", "-5s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(took(Duration::from_nanos(1_534_843)), "1.534843ms");
        let sizes = [(9, "9 B"), (999, "999 B"), (20_480, "20 kB"), (1_500_000, "1.5 MB"), (16_384, "16 kB")];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
    }
}
