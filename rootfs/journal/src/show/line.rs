//! The forms with a line an entry, as systemd's `output_short` writes them.

use super::{Form, Look, Previous, blob, is_printable, keep_lines};
use crate::entry::Entry;
use crate::time::Civil;
use std::io::{self, Write};

/// Longer host names and identifiers are left out; systemd's bound.
const NAME_MAX: usize = 300;

/// Writes an entry that has a message; others are not shown in these forms.
pub(super) fn write(
    look: &Look,
    entry: &Entry,
    previous: &mut Previous,
    out: &mut impl Write,
) -> io::Result<()> {
    let stamp = stamp(look.form, entry, previous);
    let Some(message) = entry.get("MESSAGE") else { return Ok(()) };
    let shown = |name: &str| {
        let value = entry.get(name)?;
        let fits = look.all || (value.len() < NAME_MAX && is_printable(value, false));
        fits.then(|| String::from_utf8_lossy(value).into_owned())
    };
    let mut head = stamp.into_bytes();
    let mut add = |text: &str| head.extend_from_slice(text.as_bytes());
    if let Some(host) = shown("_HOSTNAME").filter(|_| look.hostname) {
        add(" ");
        add(&host);
    }
    add(" ");
    let units = [shown("_SYSTEMD_UNIT"), shown("_SYSTEMD_USER_UNIT")];
    match units {
        [Some(unit), Some(user)] if look.form == Form::WithUnit => add(&format!("{unit}/{user}")),
        [Some(unit), None] | [None, Some(unit)] if look.form == Form::WithUnit => add(&unit),
        _ => add(&shown("SYSLOG_IDENTIFIER").or(shown("_COMM")).unwrap_or_else(|| "unknown".into())),
    }
    if let Some(pid) = shown("_PID").or(shown("SYSLOG_PID")) {
        add(&format!("[{pid}]"));
    }
    add(": ");
    out.write_all(&head)?;
    let plain;
    let mut message = message;
    if !look.all {
        plain = without_escapes(message);
        message = &plain;
    }
    if look.truncate {
        message = message.split(|byte| *byte == b'\n').next().unwrap_or_default();
    }
    if look.all || is_printable(message, true) {
        keep_lines(message, head.len(), out)
    } else {
        writeln!(out, "{}", blob(message.len()))
    }
}

/// The time in front. What the sender said of it counts more than when it came.
fn stamp(form: Form, entry: &Entry, previous: &mut Previous) -> String {
    let source = |name: &str| entry.text(name).parse::<u64>().ok();
    if matches!(form, Form::ShortMonotonic | Form::ShortDelta) {
        let us = source("_SOURCE_MONOTONIC_TIMESTAMP").unwrap_or(entry.monotonic_us);
        let seconds = |us: u64| format!("{:5}.{:06}", us / 1_000_000, us % 1_000_000);
        if form == Form::ShortMonotonic {
            return format!("[{}]", seconds(us));
        }
        let now = (us, entry.realtime_us, entry.text("_BOOT_ID"));
        let passed = match previous.replace(now) {
            None => " ".repeat(16),
            Some((_, before, boot)) if boot != entry.text("_BOOT_ID") => {
                format!(" <{}*>", seconds(entry.realtime_us.saturating_sub(before)))
            }
            Some((before, ..)) => format!(" <{} >", seconds(us.saturating_sub(before))),
        };
        return format!("[{}{passed}]", seconds(us));
    }
    let us = source("_SOURCE_REALTIME_TIMESTAMP").unwrap_or(entry.realtime_us);
    let time = Civil::from_us(us);
    match form {
        Form::ShortFull | Form::WithUnit => time.full(),
        Form::ShortIso => time.iso(),
        Form::ShortIsoPrecise => time.iso_precise(),
        Form::ShortPrecise => format!("{}.{:06}", time.short(), time.micro),
        Form::ShortUnix => format!("{:10}.{:06}", us / 1_000_000, us % 1_000_000),
        _ => time.short(),
    }
}

/// Text without ANSI sequences, tabs widened, as systemd's `strip_tab_ansi` does.
fn without_escapes(bytes: &[u8]) -> Vec<u8> {
    const TAB: &[u8] = b"        ";
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let skipped = match (first, after) {
            (0x1b, [b'[', sequence @ ..]) => {
                let end = sequence.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b';'));
                end.filter(|end| sequence[*end].is_ascii_alphabetic()).map(|end| end + 3)
            }
            (0x1b, [b']', sequence @ ..]) => {
                let end = sequence.iter().position(|byte| !(0x20..0x7f).contains(byte));
                match end.map(|end| (end, &sequence[end..])) {
                    Some((end, [0x07, ..])) => Some(end + 3),
                    Some((end, [0x1b, b'\\', ..])) => Some(end + 4),
                    _ => None,
                }
            }
            _ => None,
        };
        match skipped {
            Some(length) => rest = &rest[length..],
            None => {
                if *first == b'\t' {
                    out.extend_from_slice(TAB);
                } else {
                    out.push(*first);
                }
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_go_and_tabs_are_widened() {
        for (text, plain) in [
            (&b"a\x1b[1;31mred\x1b[0m"[..], &b"ared"[..]),
            (b"\x1b]8;;http://x\x07link\x1b]8;;\x1b\\", b"link"),
            (b"a\tb", b"a        b"),
            (b"\x1b", b"\x1b"),
            (b"\x1b[1", b"\x1b[1"),
            (b"\x1b[", b"\x1b["),
            (b"\x1b]never ends", b"\x1b]never ends"),
        ] {
            assert_eq!(without_escapes(text), plain, "{text:?}");
        }
    }
}
