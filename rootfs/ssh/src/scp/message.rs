//! The lines of the old scp protocol: what the sending side tells the receiving one.

use std::fmt;

/// A line that is longer is no message, in bytes: a path (`PATH_MAX`) and two numbers fit.
pub const LINE_MAX: usize = 4096 + 64;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `C0644 12 name`: a file of so many bytes follows.
    File(Entry),
    /// `D0755 0 name`: a folder begins.
    Folder(Entry),
    /// `E`: the folder ends.
    End,
    /// `T1 0 2 0`: the times of what follows.
    Times(Times),
    /// A line after the byte 1: something could not be sent; the rest follows.
    Warning(Vec<u8>),
    /// A line after the byte 2: the other side gives up.
    Fatal(Vec<u8>),
}

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Permissions, at most 07777.
    pub mode: u32,
    /// Bytes that follow; 0 for a folder.
    pub size: u64,
    /// One part of a path: not empty, no slash, neither `.` nor `..`.
    pub name: Vec<u8>,
}

/// Times in seconds since 1970 and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Of the last change.
    pub changed: (i64, i64),
    /// Of the last reading.
    pub read: (i64, i64),
}

/// Why a line is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The first byte is none of a message.
    #[error("unknown message")]
    Kind,
    /// A mode is four octal digits.
    #[error("mode not delimited")]
    Mode,
    /// A size is decimal.
    #[error("size not delimited")]
    Size,
    /// Times are four decimal numbers.
    #[error("times not delimited")]
    Times,
    /// The name leads elsewhere, or nowhere.
    #[error("unexpected filename")]
    Name,
}

/// Reads a line without its end.
///
/// # Errors
/// See [`MessageError`].
pub fn parse(line: &[u8]) -> Result<Message, MessageError> {
    let (kind, rest) = line.split_first().ok_or(MessageError::Kind)?;
    match kind {
        b'C' => entry(rest).map(Message::File),
        b'D' => entry(rest).map(Message::Folder),
        b'E' if rest.is_empty() => Ok(Message::End),
        b'T' => times(rest).map(Message::Times),
        1 => Ok(Message::Warning(rest.to_vec())),
        2 => Ok(Message::Fatal(rest.to_vec())),
        _ => Err(MessageError::Kind),
    }
}

fn entry(rest: &[u8]) -> Result<Entry, MessageError> {
    let (mode, rest) = rest.split_at_checked(4).ok_or(MessageError::Mode)?;
    if !mode.iter().all(|digit| (b'0'..=b'7').contains(digit)) {
        return Err(MessageError::Mode);
    }
    let mode = mode.iter().fold(0, |mode, digit| mode * 8 + u32::from(digit - b'0'));
    let rest = rest.strip_prefix(b" ").ok_or(MessageError::Mode)?;
    let end = rest.iter().position(|byte| *byte == b' ').ok_or(MessageError::Size)?;
    let size = number(&rest[..end]).and_then(|size| u64::try_from(size).ok()).ok_or(MessageError::Size)?;
    let name = &rest[end + 1..];
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(MessageError::Name);
    }
    Ok(Entry { mode, size, name: name.to_vec() })
}

fn times(rest: &[u8]) -> Result<Times, MessageError> {
    let mut numbers = rest.split(|byte| *byte == b' ').map(number);
    let mut next = || numbers.next().flatten().ok_or(MessageError::Times);
    let times = Times { changed: (next()?, next()?), read: (next()?, next()?) };
    let micros = |value| (0..1_000_000).contains(&value);
    if numbers.next().is_some() || !micros(times.changed.1) || !micros(times.read.1) {
        return Err(MessageError::Times);
    }
    Ok(times)
}

/// A decimal number without a sign.
fn number(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changed, read } = self;
        write!(f, "T{} {} {} {}", changed.0, changed.1, read.0, read.1)
    }
}

impl Message {
    /// The line, with its end.
    pub fn line(&self) -> Vec<u8> {
        let entry = |kind: char, entry: &Entry| {
            let head = format!("{kind}{:04o} {} ", entry.mode, entry.size).into_bytes();
            [head.as_slice(), &entry.name].concat()
        };
        let mut line = match self {
            Self::File(file) => entry('C', file),
            Self::Folder(folder) => entry('D', folder),
            Self::End => b"E".to_vec(),
            Self::Times(times) => times.to_string().into_bytes(),
            Self::Warning(text) => [&[1], text.as_slice()].concat(),
            Self::Fatal(text) => [&[2], text.as_slice()].concat(),
        };
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read() {
        let file = Entry { mode: 0o644, size: 12, name: b"a b".to_vec() };
        assert_eq!(parse(b"C0644 12 a b"), Ok(Message::File(file)));
        let folder = Entry { mode: 0o4755, size: 0, name: vec![0xff] };
        assert_eq!(parse(b"D4755 0 \xff"), Ok(Message::Folder(folder)));
        assert_eq!(parse(b"E"), Ok(Message::End));
        let times = Times { changed: (1, 2), read: (3, 4) };
        assert_eq!(parse(b"T1 2 3 4"), Ok(Message::Times(times)));
        assert_eq!(parse(b"\x01scp: no"), Ok(Message::Warning(b"scp: no".to_vec())));
    }

    #[test]
    fn bad_lines_are_refused() {
        use MessageError::{Kind, Mode, Name, Size, Times};
        for (line, error) in [
            (&b""[..], Kind),
            (b"X", Kind),
            (b"E1", Kind),
            (b"C64 1 a", Mode),
            (b"C0648 1 a", Mode),
            (b"C06441 1 a", Mode),
            (b"C0644 1", Size),
            (b"C0644 -1 a", Size),
            (b"C0644 99999999999999999999 a", Size),
            (b"C0644 1 ", Name),
            (b"C0644 1 .", Name),
            (b"C0644 1 ..", Name),
            (b"C0644 1 ../a", Name),
            (b"D0755 0 a/b", Name),
            (b"C0644 1 a\0b", Name),
            (b"T1 0 2", Times),
            (b"T1 0 2 0 3", Times),
            (b"T1 1000000 2 0", Times),
        ] {
            assert_eq!(parse(line), Err(error), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(line in "[CDET\x01\x02][0-7]{0,4} ?[0-9]{0,3} ?[a-z0-9 ./]{0,8}") {
            if let Ok(message) = parse(line.as_bytes()) {
                prop_assert_eq!(parse(message.line().strip_suffix(b"\n").unwrap()), Ok(message));
            }
        }
    }
}
