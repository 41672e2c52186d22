//! A machine's serial console: kept whole, searched, waited on.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of console kept; the oldest half goes when it is full.
const KEPT_MAX: usize = 16 << 20;

#[derive(Debug, Default)]
struct Kept {
    text: Vec<u8>,
    /// Bytes that were dropped before `text`.
    dropped: usize,
    ended: bool,
}

/// What a machine has said so far.
#[derive(Debug, Clone, Default)]
pub struct Console(Arc<(Mutex<Kept>, Condvar)>);

/// How a wait ended without what was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSeen {
    /// The machine's console was closed: QEMU ended.
    Ended,
    /// The time is over.
    TimedOut,
}

impl Console {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the end, copying to `echo`. Runs on a thread of its own.
    pub fn follow(&self, mut from: impl Read, mut echo: Option<Box<dyn Write + Send>>) {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if let Some(out) = &mut echo
                && out.write_all(&buffer[..count]).and_then(|()| out.flush()).is_err()
            {
                // A closed terminal is no reason to stop listening.
                echo = None;
            }
            let mut kept = self.lock();
            if kept.text.len() + count > KEPT_MAX {
                let half = kept.text.len() / 2;
                kept.text.drain(..half);
                kept.dropped += half;
            }
            kept.text.extend_from_slice(&buffer[..count]);
            self.0.1.notify_all();
        }
        self.lock().ended = true;
        self.0.1.notify_all();
    }

    /// The place behind what was said so far, for [`Console::wait_from`].
    pub fn position(&self) -> usize {
        let kept = self.lock();
        kept.dropped + kept.text.len()
    }

    /// Everything said, with what is not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().text).into_owned()
    }

    /// The last lines that are not empty, without control characters.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let text = self.text();
        let shown = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
        let all: Vec<String> = text.lines().map(shown).filter(|line| !line.trim().is_empty()).collect();
        all[all.len().saturating_sub(lines)..].to_vec()
    }

    /// Waits until `needle` is said, anywhere from `position` on; gives the whole line it is on
    /// and the position behind it.
    ///
    /// # Errors
    /// The console ends, or the time is over, first.
    pub fn wait_from(
        &self,
        position: usize,
        needle: &str,
        within: Duration,
    ) -> Result<(String, usize), NotSeen> {
        let deadline = Instant::now() + within;
        let mut kept = self.lock();
        loop {
            let start = position.saturating_sub(kept.dropped).min(kept.text.len());
            let found = find(&kept.text[start..], needle.as_bytes()).map(|at| start + at);
            // The line must have ended, so that all of it can be given.
            let line =
                found.and_then(|at| Some((at, at + kept.text[at..].iter().position(|byte| *byte == b'\n')?)));
            if let Some((at, end)) = line {
                let begin =
                    kept.text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
                let line = String::from_utf8_lossy(&kept.text[begin..end]).trim_end().to_owned();
                return Ok((line, kept.dropped + end));
            }
            if kept.ended {
                return Err(NotSeen::Ended);
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return Err(NotSeen::TimedOut);
            };
            kept = self.0.1.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// As [`Console::wait_from`] the start.
    ///
    /// # Errors
    /// As there.
    pub fn wait(&self, needle: &str, within: Duration) -> Result<String, NotSeen> {
        self.wait_from(0, needle, within).map(|(line, _)| line)
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len().max(1)).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_and_the_end_is_told() {
        let console = Console::default();
        console.follow("one\r\ntwo ready x=1\r\nthr".as_bytes(), None);
        let (line, position) = console.wait_from(0, "ready", Duration::from_secs(9)).unwrap();
        assert_eq!(line, "two ready x=1");
        assert_eq!(console.wait_from(position, "ready", Duration::from_secs(9)), Err(NotSeen::Ended));
        assert_eq!(console.wait("thr", Duration::from_secs(9)), Err(NotSeen::Ended));
        assert_eq!(console.tail(2), ["two ready x=1", "thr"]);
    }
}
