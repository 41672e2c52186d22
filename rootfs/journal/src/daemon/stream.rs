//! What comes over a stream connection: a header, then lines (systemd's stdout protocol, which
//! `sd_journal_stream_fd(3)` speaks).

/// The longest line of a header.
const HEADER_LINE_MAX: usize = 1024;

/// What a stream says about itself first, a line each: identifier, unit, priority, whether
/// lines begin with their level, and whether they are also for syslog, kmsg and the console.
/// There is no other syslog, and what is written to kmsg comes back: of these, the console's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `SYSLOG_IDENTIFIER`.
    pub identifier: String,
    /// The unit; only root is believed.
    pub unit: String,
    /// Of lines that say none.
    pub priority: u8,
    /// `<3>` at the beginning of a line is its priority (sd-daemon(3)).
    pub level_prefix: bool,
    /// Also to the console.
    pub console: bool,
}

/// What a header's bytes are so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is needed.
    Partial,
    /// It is whole, and this many bytes long.
    Whole(Header, usize),
    /// It is none.
    Bad,
}

impl Header {
    /// Reads a header.
    pub fn parse(bytes: &[u8]) -> Progress {
        let mut lines: [&[u8]; 7] = [&[]; 7];
        let mut at = 0;
        for line in &mut lines {
            let Some(end) = bytes[at..].iter().position(|byte| *byte == b'\n') else {
                return if bytes.len() - at > HEADER_LINE_MAX { Progress::Bad } else { Progress::Partial };
            };
            if end > HEADER_LINE_MAX {
                return Progress::Bad;
            }
            *line = &bytes[at..at + end];
            at += end + 1;
        }
        let text = |line: &[u8]| {
            let text = String::from_utf8_lossy(line);
            text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
        };
        let flag = |line: &[u8]| match line {
            b"0" => Some(false),
            b"1" => Some(true),
            _ => None,
        };
        let flags: Option<Vec<bool>> = lines[3..].iter().map(|line| flag(line)).collect();
        // The facility, in higher bits, is of no use here.
        let priority = std::str::from_utf8(lines[2]).ok().and_then(|text| text.parse::<u16>().ok());
        let (Some(flags), Some(priority)) = (flags, priority.filter(|priority| *priority < 192)) else {
            return Progress::Bad;
        };
        let header = Self {
            identifier: text(lines[0]),
            unit: text(lines[1]),
            priority: (priority & 7) as u8,
            level_prefix: flags[0],
            console: flags[3],
        };
        Progress::Whole(header, at)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { identifier, unit, priority, level_prefix, console } = self;
        let flag = |flag: bool| u8::from(flag);
        format!("{identifier}\n{unit}\n{priority}\n{}\n0\n0\n{}\n", flag(*level_prefix), flag(*console))
            .into_bytes()
    }
}

/// Why a line ended other than by a newline: `_LINE_BREAK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// It did not.
    Newline,
    /// A NUL byte.
    Nul,
    /// It is too long.
    LineMax,
    /// The stream ended.
    Eof,
    /// Another process goes on.
    PidChange,
}

impl Break {
    /// The field's value.
    pub fn value(self) -> Option<&'static str> {
        Some(match self {
            Self::Newline => return None,
            Self::Nul => "nul",
            Self::LineMax => "line-max",
            Self::Eof => "eof",
            Self::PidChange => "pid-change",
        })
    }
}

/// Cuts bytes into lines as they come.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Bytes that wait for the end of their line.
    pub fn waiting(&self) -> usize {
        self.partial.len()
    }

    /// Takes bytes; gives every line that is whole, empty ones too.
    pub fn feed(&mut self, mut bytes: &[u8], line_max: usize, mut each: impl FnMut(&[u8], Break)) {
        while !bytes.is_empty() {
            let room = line_max.saturating_sub(self.partial.len()).max(1);
            let window = &bytes[..bytes.len().min(room)];
            let end = window.iter().position(|byte| matches!(byte, b'\n' | 0));
            let (line, rest, how) = match end {
                Some(end) if window[end] == 0 => (&bytes[..end], &bytes[end + 1..], Break::Nul),
                Some(end) => (&bytes[..end], &bytes[end + 1..], Break::Newline),
                // A newline right behind ends this line, not an empty one.
                None if window.len() == room && bytes.get(room) == Some(&b'\n') => {
                    (window, &bytes[room + 1..], Break::Newline)
                }
                None if window.len() == room => (window, &bytes[room..], Break::LineMax),
                None => {
                    self.partial.extend_from_slice(bytes);
                    return;
                }
            };
            if self.partial.is_empty() {
                each(line, how);
            } else {
                self.partial.extend_from_slice(line);
                each(&self.partial, how);
                self.partial.clear();
            }
            bytes = rest;
        }
    }

    /// Gives what waits.
    pub fn end(&mut self, how: Break, each: impl FnOnce(&[u8], Break)) {
        if !self.partial.is_empty() {
            each(&std::mem::take(&mut self.partial), how);
        }
    }
}

/// Cuts `<N>` off a line (sd-daemon(3)).
pub fn split_level(line: &[u8], default: u8) -> (u8, &[u8]) {
    match line {
        [b'<', level @ b'0'..=b'7', b'>', rest @ ..] => (level - b'0', rest),
        _ => (default, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_in_any_pieces() {
        let header = Header {
            identifier: "sh".into(),
            unit: "a.service".into(),
            priority: 6,
            level_prefix: true,
            console: true,
        };
        let bytes = [header.encode(), b"line".to_vec()].concat();
        for end in 0..bytes.len() - 4 {
            assert_eq!(Header::parse(&bytes[..end]), Progress::Partial, "{end}");
        }
        assert_eq!(Header::parse(&bytes), Progress::Whole(header, bytes.len() - 4));
        for bad in ["a\nb\nsix\n1\n0\n0\n0\n", "a\nb\n6\n2\n0\n0\n0\n", "a\nb\n200\n1\n0\n0\n0\n"] {
            assert_eq!(Header::parse(bad.as_bytes()), Progress::Bad, "{bad}");
        }
        assert_eq!(Header::parse(&[b'x'; 1025]), Progress::Bad);
    }

    #[test]
    fn lines_in_any_pieces() {
        let text = b"one\ntwo\0\n12345678\n123456789abc\nlast";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                lines.feed(piece, 8, |line, how| {
                    found.push((String::from_utf8_lossy(line).into_owned(), how));
                });
            }
            lines.end(Break::Eof, |line, how| found.push((String::from_utf8_lossy(line).into_owned(), how)));
            let text: Vec<&str> =
                found.iter().map(|(line, _)| line.as_str()).filter(|line| !line.is_empty()).collect();
            assert_eq!(text, ["one", "two", "12345678", "12345678", "9abc", "last"], "pieces of {size}");
            assert_eq!((found[1].1, found.last().unwrap().1), (Break::Nul, Break::Eof));
        }
        assert_eq!(split_level(b"<3>x", 6), (3, &b"x"[..]));
        assert_eq!(split_level(b"<8>x", 6), (6, &b"<8>x"[..]));
    }
}
