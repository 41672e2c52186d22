//! The forms that show fields: verbose, JSON, export.

use super::{Look, blob, is_printable, keep_lines};
use crate::entry::Entry;
use crate::field::split;
use crate::time::Civil;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use serde_json::{Map, Value};
use std::io::{self, Write};

fn wanted<'a>(look: &'a Look, entry: &'a Entry) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    entry.fields.iter().map(|field| split(field)).filter(|(name, _)| look.wants(name))
}

/// The time and the cursor, then a line a field.
pub(super) fn verbose(look: &Look, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let source = entry.text("_SOURCE_REALTIME_TIMESTAMP").parse().ok();
    let time = Civil::from_us(source.unwrap_or(entry.realtime_us));
    writeln!(out, "{} [{}]", time.full_precise(), entry.cursor())?;
    for (name, value) in wanted(look, entry) {
        let name = String::from_utf8_lossy(name);
        write!(out, "    {name}=")?;
        if look.all || is_printable(value, true) {
            keep_lines(value, name.len() + 5, out)?;
        } else {
            writeln!(out, "{}", blob(value.len()))?;
        }
    }
    Ok(())
}

/// The values of the wanted fields, a line each.
pub(super) fn cat(look: &Look, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let mut put = |value: &[u8]| {
        let first = value.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let value = if look.truncate { first } else { value };
        out.write_all(value)?;
        writeln!(out)
    };
    match &look.fields {
        None => entry.get("MESSAGE").map_or(Ok(()), put),
        Some(names) => names.iter().filter_map(|name| entry.get(name)).try_for_each(&mut put),
    }
}

/// On one line.
pub(super) fn json(look: &Look, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    Ok(serde_json::to_writer(out, &object(look, entry))?)
}

/// Indented as systemd does it.
pub(super) fn json_pretty(look: &Look, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let format = Indented(PrettyFormatter::with_indent(b"\t"));
    object(look, entry).serialize(&mut Serializer::with_formatter(&mut *out, format))?;
    writeln!(out)
}

/// A space on both sides of a colon.
struct Indented(PrettyFormatter<'static>);

impl Formatter for Indented {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b" : ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

/// As `journalctl -o json`: numbers are strings, a value that is no printable text is a list of bytes, a
/// field that occurs more than once a list of values.
fn object(look: &Look, entry: &Entry) -> Value {
    let mut object = Map::new();
    for (name, value) in [
        ("__CURSOR", entry.cursor().to_string()),
        ("__REALTIME_TIMESTAMP", entry.realtime_us.to_string()),
        ("__MONOTONIC_TIMESTAMP", entry.monotonic_us.to_string()),
    ] {
        object.insert(name.into(), Value::String(value));
    }
    let own = |(name, _): &(&[u8], &[u8])| look.wants(name) || *name == b"_BOOT_ID";
    for (name, value) in entry.fields.iter().map(|field| split(field)).filter(own) {
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
pub(super) fn export(look: &Look, entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "__CURSOR={}", entry.cursor())?;
    writeln!(out, "__REALTIME_TIMESTAMP={}", entry.realtime_us)?;
    writeln!(out, "__MONOTONIC_TIMESTAMP={}", entry.monotonic_us)?;
    if let Some(boot) = entry.get("_BOOT_ID") {
        writeln!(out, "_BOOT_ID={}", String::from_utf8_lossy(boot))?;
    }
    for (name, value) in wanted(look, entry).filter(|(name, _)| *name != b"_BOOT_ID") {
        out.write_all(name)?;
        if std::str::from_utf8(value).is_ok_and(|text| text.chars().all(|c| c == '\t' || !c.is_control())) {
            out.write_all(b"=")?;
        } else {
            out.write_all(b"\n")?;
            out.write_all(&(value.len() as u64).to_le_bytes())?;
        }
        out.write_all(value)?;
        out.write_all(b"\n")?;
    }
    writeln!(out)
}
