//! The text form shared by unit files, network files and drop-ins (systemd.syntax(7)): sections,
//! `Key=value`, comments, line continuation. Meaning is given elsewhere.

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The section it stands in, without brackets.
    pub section: String,
    /// Line of the section's header, from 1: network files have several sections of one name.
    pub header_line: u32,
    /// The key.
    pub key: String,
    /// The value, continuation lines joined by a space, outer white space removed.
    pub value: String,
    /// Line of the key, from 1.
    pub line: u32,
}

/// A line that means nothing; it is left out, as systemd does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Neither a section, an assignment nor a comment.
    #[error("`{0}` is neither a [Section] nor a Key=value")]
    NoAssignment(String),
    /// An assignment before the first section.
    #[error("`{0}=` stands before the first section")]
    OutsideSection(String),
    /// A section header without its bracket.
    #[error("section header `{0}` has no closing bracket")]
    Header(String),
    /// Bytes that are not UTF-8, or a NUL.
    #[error("the line is not UTF-8 text")]
    Encoding,
    /// Longer than [`MAX_LINE_BYTES`].
    #[error("the line has {0} bytes, more than {MAX_LINE_BYTES}")]
    TooLong(usize),
}

/// The longest line taken, continuation included (systemd: `LONG_LINE_MAX`).
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// What [`parse`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Assignments in the order of the file.
    pub entries: Vec<Entry>,
    /// Lines left out, with their numbers from 1.
    pub malformed: Vec<(u32, Malformed)>,
}

/// Reads the text of a unit file or drop-in. Never fails: lines that mean nothing are reported and left out.
pub fn parse(bytes: &[u8]) -> Document {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut document = Document::default();
    let mut section: Option<(String, u32)> = None;
    let mut joined: Option<(u32, Vec<u8>)> = None;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let start = line.trim_ascii_start();
        if matches!(start.first(), Some(b'#' | b';')) {
            continue; // also inside a continuation: systemd.syntax(7)
        }
        let (first, mut text) = joined.take().unwrap_or((number, Vec::new()));
        let continues = line.last() == Some(&b'\\');
        let body = if continues { &line[..line.len() - 1] } else { line };
        if text.len() + body.len() > MAX_LINE_BYTES {
            document.malformed.push((first, Malformed::TooLong(text.len() + body.len())));
            if continues {
                joined = Some((first, Vec::new()));
            }
            continue;
        }
        text.extend_from_slice(body);
        if continues {
            text.push(b' ');
            joined = Some((first, text));
        } else {
            take_line(&mut document, &mut section, first, &text);
        }
    }
    if let Some((first, text)) = joined {
        take_line(&mut document, &mut section, first, &text);
    }
    document
}

fn take_line(document: &mut Document, section: &mut Option<(String, u32)>, line: u32, text: &[u8]) {
    let mut report = |problem| document.malformed.push((line, problem));
    let text = match std::str::from_utf8(text) {
        Ok(text) if !text.contains('\0') => text.trim(),
        _ => return report(Malformed::Encoding),
    };
    if text.is_empty() {
        return;
    }
    if let Some(header) = text.strip_prefix('[') {
        match header.strip_suffix(']') {
            Some(name) => *section = Some((name.to_owned(), line)),
            None => report(Malformed::Header(shorten(text))),
        }
        return;
    }
    let Some((key, value)) = text.split_once('=') else {
        return report(Malformed::NoAssignment(shorten(text)));
    };
    let (key, value) = (key.trim(), value.trim());
    match section {
        None => report(Malformed::OutsideSection(shorten(key))),
        Some(_) if key.is_empty() => report(Malformed::NoAssignment(shorten(text))),
        Some((section, header_line)) => document.entries.push(Entry {
            section: section.clone(),
            header_line: *header_line,
            key: key.to_owned(),
            value: value.to_owned(),
            line,
        }),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, u32)> {
        parse(text.as_bytes()).entries.into_iter().map(|e| (e.key, e.value, e.line)).collect()
    }

    #[test]
    fn continuation_skips_comments_and_keeps_the_first_line_number() {
        let text = "[Service]\n# c\nExecStart=/bin/a \\\n; inner\n  b \\\n# x\n  c\nUser=u\r\n";
        assert_eq!(
            pairs(text),
            [("ExecStart".into(), "/bin/a    b    c".into(), 3), ("User".into(), "u".into(), 8)]
        );
    }

    #[test]
    fn bad_lines_are_reported_and_left_out() {
        let found = parse(b"A=1\n[X\n[Unit]\nnonsense\nB=2\n=3\nC=\xff\nD=x\\");
        assert_eq!(found.entries.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["B", "D"]);
        assert_eq!(found.malformed.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 4, 6, 7]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let found = parse(&bytes);
            proptest::prop_assert!(found.entries.len() <= bytes.len());
        }
    }
}
