//! What happened, with its simulated time.

use std::fmt::{Arguments, Write};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::machine::lock;

/// A record of a run. Its clones are the same record.
#[derive(Clone, Debug)]
pub struct Trace {
    started: Instant,
    record: Arc<Mutex<Record>>,
}

#[derive(Debug)]
struct Record {
    hash: u64,
    lines: u64,
    text: Option<String>,
    line: String,
}

impl Trace {
    /// An empty one, from now on. It keeps a hash, and the text too where `text` says so.
    pub fn new(text: bool) -> Self {
        let text = text.then(String::new);
        let record = Record { hash: 0xcbf2_9ce4_8422_2325, lines: 0, text, line: String::new() };
        Self { started: Instant::now(), record: Arc::new(Mutex::new(record)) }
    }

    /// Writes a line of now.
    pub fn line(&self, what: Arguments<'_>) {
        let micros = self.started.elapsed().as_micros();
        let record = &mut *lock(&self.record);
        record.line.clear();
        // Writing into a string does not fail.
        let _ = writeln!(record.line, "{micros:>9} {what}");
        // FNV-1a, 64 bits.
        for byte in record.line.bytes() {
            record.hash = (record.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        record.lines += 1;
        if let Some(text) = &mut record.text {
            text.push_str(&record.line);
        }
    }

    /// The hash of all lines.
    pub fn hash(&self) -> u64 {
        lock(&self.record).hash
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        lock(&self.record).lines
    }

    /// The lines, where they are kept.
    pub fn text(&self) -> String {
        lock(&self.record).text.clone().unwrap_or_default()
    }
}
