//! One entry, as a reader sees it.

use crate::field::split;
use std::fmt;

/// An entry: its times and its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its number; counts on over segments and boots.
    pub sequence: u64,
    /// Wall clock, microseconds since 1970, when it was received.
    pub realtime_us: u64,
    /// Microseconds since boot (`CLOCK_BOOTTIME`), when it was received.
    pub monotonic_us: u64,
    /// Its fields, `NAME=value`; names may repeat.
    pub fields: Vec<Vec<u8>>,
}

impl Entry {
    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// All values of a field.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter_map(move |field| {
            let (own, value) = split(field);
            (own == name.as_bytes()).then_some(value)
        })
    }

    /// The first value of a field as text, what is not UTF-8 replaced; empty when it is absent.
    pub fn text(&self, name: &str) -> String {
        self.get(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }

    /// `PRIORITY`, 6 (info) when there is none.
    pub fn priority(&self) -> u8 {
        match self.get("PRIORITY") {
            Some([digit @ b'0'..=b'7']) => digit - b'0',
            _ => 6,
        }
    }

    /// Its place in the journal, in the form of systemd's cursors.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor(self)
    }
}

/// Shows a cursor.
pub struct Cursor<'a>(&'a Entry);

impl fmt::Display for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { sequence, realtime_us, monotonic_us, fields } = self.0;
        let boot = self.0.text("_BOOT_ID");
        let mut mix = fields.iter().fold(0, |sum, field| sum ^ crate::field::hash(field));
        mix ^= sequence.rotate_left(32);
        // systemd's reader wants 128 bit ids; the sequence is one journal's, the machine's.
        let machine = match self.0.text("_MACHINE_ID") {
            id if id.len() == 32 => id,
            _ => format!("{:032x}", 1),
        };
        write!(f, "s={machine};i={sequence:x};b={boot};m={monotonic_us:x};t={realtime_us:x};x={mix:x}")
    }
}
