//! The native protocol: fields in a datagram (systemd.io, "Native Journal Protocol").
//!
//! A field is `NAME=value` and a newline, or `NAME`, a newline, the value's length (64 bits,
//! little-endian), the value and a newline. An empty line separates entries.

use crate::field::valid_name;

/// Fields of one entry; more are left out.
const FIELDS_MAX: usize = 1000;

/// What a datagram holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Entries, each the names and values of its fields.
    pub entries: Vec<Vec<(&'a [u8], &'a [u8])>>,
    /// Fields that were left out: a name that no client may use, or one too many.
    pub refused: usize,
    /// Bytes at the end that are no field.
    pub rest: usize,
}

/// Takes a datagram apart. Never fails: what is good before an error counts.
pub fn parse(mut bytes: &[u8]) -> Message<'_> {
    let mut message = Message::default();
    let mut entry = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let (line, after) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
        if line.is_empty() {
            if !entry.is_empty() {
                message.entries.push(std::mem::take(&mut entry));
            }
            bytes = after;
            continue;
        }
        let (name, value, after) = if let Some(at) = line.iter().position(|byte| *byte == b'=') {
            (&line[..at], &line[at + 1..], after)
        } else if let Some((value, after)) = sized(after) {
            (line, value, after)
        } else {
            message.rest = bytes.len();
            break;
        };
        if valid_name(name, false) && entry.len() < FIELDS_MAX {
            entry.push((name, value));
        } else {
            message.refused += 1;
        }
        bytes = after;
    }
    if !entry.is_empty() {
        message.entries.push(entry);
    }
    message
}

/// A value with its length before it, and what follows its newline.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let value = rest.get(..length)?;
    match rest.get(length) {
        Some(b'\n') => Some((value, &rest[length + 1..])),
        Some(_) => None,
        None => Some((value, &[])),
    }
}

/// Appends a field.
pub fn encode(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend((value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_text_and_binary() {
        let mut bytes = Vec::new();
        encode(&mut bytes, "MESSAGE", b"one=1");
        encode(&mut bytes, "BIN", b"a\nb\0");
        bytes.extend(b"\n\n_PID=1\nlower=1\n=x\nLAST=1");
        let message = parse(&bytes);
        let first: &[(&[u8], &[u8])] = &[(b"MESSAGE", b"one=1"), (b"BIN", b"a\nb\0")];
        assert_eq!(message.entries, [first.to_vec(), vec![(b"LAST", b"1")]]);
        assert_eq!((message.refused, message.rest), (3, 0));
    }

    #[test]
    fn nonsense_ends_it() {
        for (bytes, rest) in [
            (&b"A=1\nB\n\x05\0\0\0\0\0\0\0abc"[..], 13),
            (b"A=1\nB\n\xff\xff\xff\xff\xff\xff\xff\xffabc", 13),
            (b"A=1\nB\n\x01\0\0\0\0\0\0\0abc", 13),
            (b"A=1\nB\n12", 4),
            (b"A=1\nB", 1),
        ] {
            let message = parse(bytes);
            assert_eq!((message.entries.len(), message.rest), (1, rest), "{bytes:?}");
        }
        assert_eq!(parse(b""), Message::default());
        assert_eq!(parse(&b"A=1\n".repeat(2000)).refused, 1000);
    }
}
