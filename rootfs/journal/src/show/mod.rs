//! Entries as text: the forms of `journalctl -o`.

mod fields;
mod line;

use crate::entry::Entry;
use std::io::{self, Write};

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `Nov 22 18:05:09 host name[pid]: message`, as syslog writes.
    Short,
    /// The same with `Sun 2026-11-22 18:05:09 UTC`.
    ShortFull,
    /// The same with `2026-11-22T18:05:09+0000`.
    ShortIso,
    /// The same, and microseconds.
    ShortIsoPrecise,
    /// As short, with microseconds.
    ShortPrecise,
    /// As short, with seconds since boot.
    ShortMonotonic,
    /// The same, and what passed since the entry before.
    ShortDelta,
    /// As short, with seconds since 1970.
    ShortUnix,
    /// As short-full, with units in place of identifiers.
    WithUnit,
    /// All fields, a line each.
    Verbose,
    /// systemd's export format.
    Export,
    /// An object a line.
    Json,
    /// An object over some lines.
    JsonPretty,
    /// Server-sent events.
    JsonSse,
    /// RFC 7464.
    JsonSeq,
    /// The message alone.
    Cat,
}

/// The forms with their names, in the order of `-o help`.
pub const FORMS: [(&str, Form); 16] = [
    ("short", Form::Short),
    ("short-full", Form::ShortFull),
    ("short-iso", Form::ShortIso),
    ("short-iso-precise", Form::ShortIsoPrecise),
    ("short-precise", Form::ShortPrecise),
    ("short-monotonic", Form::ShortMonotonic),
    ("short-delta", Form::ShortDelta),
    ("short-unix", Form::ShortUnix),
    ("verbose", Form::Verbose),
    ("export", Form::Export),
    ("json", Form::Json),
    ("json-pretty", Form::JsonPretty),
    ("json-sse", Form::JsonSse),
    ("json-seq", Form::JsonSeq),
    ("cat", Form::Cat),
    ("with-unit", Form::WithUnit),
];

impl Form {
    /// By the name that `-o` takes.
    pub fn by_name(name: &str) -> Option<Self> {
        FORMS.iter().find(|(known, _)| *known == name).map(|(_, form)| *form)
    }

    /// Whether a program reads it: nothing but entries belongs into it.
    pub fn is_for_programs(self) -> bool {
        matches!(
            self,
            Self::Export | Self::Json | Self::JsonPretty | Self::JsonSse | Self::JsonSeq | Self::Cat
        )
    }
}

/// How entries are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// In which form.
    pub form: Form,
    /// Only these fields, in the forms that show fields.
    pub fields: Option<Vec<String>>,
    /// With the host's name, in the forms with a line an entry.
    pub hostname: bool,
    /// Bytes as they are, even those that a terminal obeys.
    pub all: bool,
    /// Only the first line of a message.
    pub truncate: bool,
}

impl From<Form> for Look {
    fn from(form: Form) -> Self {
        Self { form, fields: None, hostname: true, all: false, truncate: false }
    }
}

/// What `short-delta` knows of the entry before: microseconds since boot, since 1970, the boot.
pub type Previous = Option<(u64, u64, String)>;

impl Look {
    fn wants(&self, name: &[u8]) -> bool {
        self.fields.as_ref().is_none_or(|names| names.iter().any(|own| own.as_bytes() == name))
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, entry: &Entry, previous: &mut Previous, out: &mut impl Write) -> io::Result<()> {
        match self.form {
            Form::Verbose => fields::verbose(self, entry, out),
            Form::Export => fields::export(self, entry, out),
            Form::Json => {
                fields::json(self, entry, out)?;
                writeln!(out)
            }
            Form::JsonPretty => fields::json_pretty(self, entry, out),
            Form::JsonSse => {
                write!(out, "data: ")?;
                fields::json(self, entry, out)?;
                write!(out, "\n\n")
            }
            Form::JsonSeq => {
                write!(out, "\u{1e}")?;
                fields::json(self, entry, out)?;
                writeln!(out)
            }
            Form::Cat => fields::cat(self, entry, out),
            _ => line::write(self, entry, previous, out),
        }
    }
}

/// A line in short form, without its end.
pub fn short(entry: &Entry) -> String {
    shown(entry, Form::Short)
}

/// An entry in any form, without the end of its last line.
pub fn shown(entry: &Entry, form: Form) -> String {
    let mut out = Vec::new();
    // Writing into a vector does not fail.
    let _ = Look::from(form).write(entry, &mut None, &mut out);
    String::from_utf8_lossy(&out).trim_end().to_owned()
}

/// Whether a terminal shows it and obeys nothing of it (systemd's `utf8_is_printable`).
fn is_printable(bytes: &[u8], newline: bool) -> bool {
    let good = |c: char| c == '\t' || if c == '\n' { newline } else { !c.is_control() };
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(good))
}

/// What stands for bytes that are not shown.
fn blob(length: usize) -> String {
    format!("[{} blob data]", size(length as u64))
}

/// `17B`, `1.5K`, `3.0G`, as systemd shows sizes: cut, not rounded.
pub fn size(bytes: u64) -> String {
    let units = [("E", 60), ("P", 50), ("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    match units.iter().find(|(_, shift)| bytes >> shift > 0) {
        None => format!("{bytes}B"),
        Some((unit, shift)) => {
            let tenths = ((u128::from(bytes) * 10) >> shift) % 10;
            format!("{}.{tenths}{unit}", bytes >> shift)
        }
    }
}

/// Text with its further lines below the first; a last line's end is left out.
fn keep_lines(text: &[u8], indent: usize, out: &mut impl Write) -> io::Result<()> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let indent = if number == 0 { 0 } else { indent };
        write!(out, "{:indent$}", "")?;
        out.write_all(line)?;
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn shown(form: &str, fields: &[&[u8]]) -> String {
        let fields = fields.iter().map(|field| field.to_vec()).collect();
        let entry = Entry { sequence: 1, realtime_us: 1_795_370_709_000_001, monotonic_us: 5, fields };
        let mut out = Vec::new();
        Look::from(Form::by_name(form).unwrap()).write(&entry, &mut None, &mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn forms() {
        let fields: &[&[u8]] =
            &[b"MESSAGE=two\nlines\x1b", b"_PID=5", b"SYSLOG_IDENTIFIER=sh", b"_HOSTNAME=h"];
        assert_eq!(shown("short", fields), "Nov 22 18:05:09 h sh[5]: [10B blob data]\n");
        assert_eq!(shown("short-iso", &fields[1..3]), "");
        assert_eq!(shown("cat", fields), "two\nlines\x1b\n");
        let json: Value =
            serde_json::from_str(&shown("json", &[b"A=1", b"A=2", b"A=3", b"B=\xff", b"B=\xfe", b"C=\xff"]))
                .unwrap();
        assert_eq!(json["A"], serde_json::json!(["1", "2", "3"]));
        assert_eq!(json["B"], serde_json::json!([[255], [254]]));
        assert_eq!(json["C"], serde_json::json!([255]));
        assert_eq!(json["__REALTIME_TIMESTAMP"], "1795370709000001");
        let export = shown("export", &[b"A=1", b"M=a\nb"]);
        assert!(export.ends_with("\nA=1\nM\n\x03\0\0\0\0\0\0\0a\nb\n\n"), "{export:?}");
    }
}
