//! What services say on stdout and stderr: lines from pipes into the journal.

use super::poll::Source;
use super::{Manager, now};
use crate::engine::UnitId;
use crate::journal::Entry;
use nix::errno::Errno;
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

/// A longer line is cut (systemd's `LineMax=`).
const MAX_LINE_BYTES: usize = 48 << 10;

/// One pipe.
pub(super) struct Output {
    fd: OwnedFd,
    token: u64,
    unit: UnitId,
    pid: i32,
    identifier: String,
    priority: u8,
    level_prefix: bool,
    console: bool,
    partial: Vec<u8>,
}

/// What is known of a pipe before its process is.
pub(super) struct Pending {
    pub(super) fd: OwnedFd,
    pub(super) identifier: String,
    pub(super) priority: u8,
    pub(super) level_prefix: bool,
    pub(super) console: bool,
}

/// Cuts `<N>` off a line (sd-daemon(3)).
pub(super) fn split_level(line: &[u8], default: u8) -> (u8, &[u8]) {
    match line {
        [b'<', level @ b'0'..=b'7', b'>', rest @ ..] => (level - b'0', rest),
        _ => (default, line),
    }
}

impl Manager {
    pub(super) fn watch_output(&mut self, unit: UnitId, pid: i32, pending: Pending) {
        let Pending { fd, identifier, priority, level_prefix, console } = pending;
        let id = self.outputs.keys().max().map_or(0, |last| last + 1);
        if let Ok(token) = self.poll.add(&fd, Source::Output(id)) {
            let partial = Vec::new();
            let output =
                Output { fd, token, unit, pid, identifier, priority, level_prefix, console, partial };
            self.outputs.insert(id, output);
        }
    }

    /// Reads once what is there: a unit that talks all the time does not keep the others waiting.
    pub(super) fn output_ready(&mut self, id: u64) {
        let Some(mut output) = self.outputs.remove(&id) else { return };
        let mut buffer = [0_u8; 16 << 10];
        let ended = match nix::unistd::read(&output.fd, &mut buffer) {
            Ok(0) => true,
            Ok(count) => {
                output.partial.extend_from_slice(&buffer[..count]);
                false
            }
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            Err(_) => true,
        };
        let mut rest = std::mem::take(&mut output.partial);
        let mut start = 0;
        while start < rest.len() {
            let window = &rest[start..rest.len().min(start + MAX_LINE_BYTES)];
            let (line, used) = match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&window[..end], end + 1),
                None if ended || window.len() == MAX_LINE_BYTES => (window, window.len()),
                None => break,
            };
            self.unit_said(&output, line);
            start += used;
        }
        output.partial = rest.split_off(start);
        if ended {
            self.poll.remove(&output.fd, output.token);
        } else {
            self.outputs.insert(id, output);
        }
    }

    /// Reads what a unit said until now, so that its last words come before the news of its end.
    pub(super) fn hear_out(&mut self, unit: UnitId) {
        let outputs = self.outputs.iter().filter(|(_, output)| output.unit == unit);
        let ids: Vec<u64> = outputs.map(|(id, _)| *id).collect();
        for id in ids {
            self.output_ready(id);
        }
    }

    fn unit_said(&mut self, output: &Output, line: &[u8]) {
        let (priority, line) =
            if output.level_prefix { split_level(line, output.priority) } else { (output.priority, line) };
        let message = String::from_utf8_lossy(line).trim_end().to_owned();
        if message.is_empty() {
            return;
        }
        if output.console {
            self.console.line(&format!("{}[{}]: {message}", output.identifier, output.pid));
        }
        let unit = self.engine.unit(output.unit).name.as_str().to_owned();
        self.record(Entry {
            unit,
            pid: output.pid as u32,
            priority,
            identifier: output.identifier.clone(),
            message,
            ..Entry::default()
        });
    }

    /// Stamps an entry and hands it to the journal.
    pub(super) fn record(&mut self, entry: Entry) {
        let realtime = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.journal.send(Entry {
            realtime_us: realtime.as_micros() as u64,
            monotonic_us: now().as_micros() as u64,
            boot_id: self.boot_id.clone(),
            ..entry
        });
    }
}
