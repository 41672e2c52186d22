//! Entries as text: the forms of `journalctl -o`.

use crate::entry::Entry;
use crate::field::split;
use crate::time::Civil;
use serde_json::{Map, Value};
use std::io::{self, Write};

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `Nov 22 18:05:09 host name[pid]: message`, as syslog writes.
    Short,
    /// The same with `2026-11-22T18:05:09+0000`.
    ShortIso,
    /// The same with microseconds.
    ShortPrecise,
    /// The same with seconds since boot.
    ShortMonotonic,
    /// All fields, a line each.
    Verbose,
    /// An object a line.
    Json,
    /// The same, indented.
    JsonPretty,
    /// systemd's export format.
    Export,
    /// The message alone.
    Cat,
}

impl Form {
    /// By the name that `-o` takes.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "short" => Self::Short,
            "short-iso" => Self::ShortIso,
            "short-precise" => Self::ShortPrecise,
            "short-monotonic" => Self::ShortMonotonic,
            "verbose" => Self::Verbose,
            "json" => Self::Json,
            "json-pretty" => Self::JsonPretty,
            "export" => Self::Export,
            "cat" => Self::Cat,
            _ => return None,
        })
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(self, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
        let time = Civil::from_us(entry.realtime_us);
        match self {
            Self::Short => line(&time.short(), entry, out),
            Self::ShortIso => line(&time.iso(), entry, out),
            Self::ShortPrecise => line(&format!("{}.{:06}", time.short(), time.micro), entry, out),
            Self::ShortMonotonic => {
                let us = entry.monotonic_us;
                line(&format!("[{:5}.{:06}]", us / 1_000_000, us % 1_000_000), entry, out)
            }
            Self::Verbose => {
                writeln!(out, "{} [{}]", time.full(), entry.cursor())?;
                for field in &entry.fields {
                    writeln!(out, "    {}", printable(field))?;
                }
                Ok(())
            }
            Self::Json => {
                serde_json::to_writer(&mut *out, &json(entry))?;
                writeln!(out)
            }
            Self::JsonPretty => {
                serde_json::to_writer_pretty(&mut *out, &json(entry))?;
                writeln!(out)
            }
            Self::Export => export(entry, out),
            Self::Cat => {
                out.write_all(entry.get("MESSAGE").unwrap_or_default())?;
                writeln!(out)
            }
        }
    }
}

/// A line in short form, without its end.
pub fn short(entry: &Entry) -> String {
    let mut out = Vec::new();
    // Writing into a vector does not fail.
    let _ = line(&Civil::from_us(entry.realtime_us).short(), entry, &mut out);
    String::from_utf8_lossy(&out).trim_end().to_owned()
}

fn line(stamp: &str, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let first = |names: [&str; 2]| names.iter().find_map(|name| entry.get(name)).map(printable);
    write!(out, "{stamp} ")?;
    if let Some(host) = first(["_HOSTNAME"; 2]) {
        write!(out, "{host} ")?;
    }
    write!(out, "{}", first(["SYSLOG_IDENTIFIER", "_COMM"]).unwrap_or_else(|| "unknown".into()))?;
    if let Some(pid) = first(["_PID", "SYSLOG_PID"]) {
        write!(out, "[{pid}]")?;
    }
    let message = printable(entry.get("MESSAGE").unwrap_or_default());
    // Further lines stand below the first.
    writeln!(out, ": {}", message.trim_end().replace('\n', "\n    "))
}

/// Text for a terminal: control characters and what is not UTF-8 replaced.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() && c != '\t' && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// As `journalctl -o json`: numbers are strings, a value that is no printable text is a list of bytes, a
/// field that occurs more than once a list of values.
fn json(entry: &Entry) -> Value {
    let mut object = Map::new();
    for (name, value) in [
        ("__CURSOR", entry.cursor().to_string()),
        ("__REALTIME_TIMESTAMP", entry.realtime_us.to_string()),
        ("__MONOTONIC_TIMESTAMP", entry.monotonic_us.to_string()),
    ] {
        object.insert(name.into(), Value::String(value));
    }
    for field in &entry.fields {
        let (name, value) = split(field);
        let value = match std::str::from_utf8(value) {
            Ok(text) if text.chars().all(|c| matches!(c, '\t' | '\n') || !c.is_control()) => {
                Value::from(text)
            }
            _ => Value::from(value),
        };
        match object.entry(String::from_utf8_lossy(name)) {
            serde_json::map::Entry::Vacant(place) => _ = place.insert(value),
            serde_json::map::Entry::Occupied(mut place) => match place.get_mut() {
                // A list of values, unless it is the one value's list of bytes.
                Value::Array(list) if !list.iter().all(Value::is_number) => list.push(value),
                one => *one = Value::Array(vec![one.take(), value]),
            },
        }
    }
    Value::Object(object)
}

/// systemd's "Journal Export Format".
fn export(entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "__CURSOR={}", entry.cursor())?;
    writeln!(out, "__REALTIME_TIMESTAMP={}", entry.realtime_us)?;
    writeln!(out, "__MONOTONIC_TIMESTAMP={}", entry.monotonic_us)?;
    for field in &entry.fields {
        let (name, value) = split(field);
        let text =
            std::str::from_utf8(value).is_ok_and(|text| text.chars().all(|c| c == '\t' || !c.is_control()));
        if text {
            out.write_all(field)?;
        } else {
            out.write_all(name)?;
            out.write_all(b"\n")?;
            out.write_all(&(value.len() as u64).to_le_bytes())?;
            out.write_all(value)?;
        }
        out.write_all(b"\n")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: &str, fields: &[&[u8]]) -> String {
        let fields = fields.iter().map(|field| field.to_vec()).collect();
        let entry = Entry { sequence: 1, realtime_us: 1_795_370_709_000_001, monotonic_us: 5, fields };
        let mut out = Vec::new();
        Form::by_name(form).unwrap().write(&entry, &mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn forms() {
        let fields: &[&[u8]] =
            &[b"MESSAGE=two\nlines\x1b", b"_PID=5", b"SYSLOG_IDENTIFIER=sh", b"_HOSTNAME=h"];
        assert_eq!(shown("short", fields), "Nov 22 18:05:09 h sh[5]: two\n    lines\u{fffd}\n");
        assert_eq!(shown("short-iso", &fields[1..3]), "2026-11-22T18:05:09+0000 sh[5]: \n");
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
