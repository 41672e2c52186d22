//! Appending: a thread of its own, behind a bounded queue.

use super::{CURRENT, Entry};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A file that reaches this size is closed.
    pub file_bytes: u64,
    /// Files kept, the current one among them.
    pub files: u32,
    /// Entries that may wait for the disk.
    pub queue: usize,
}

impl Limits {
    /// For a journal in `folder`: a tenth of its file system, and at most [`Self::default`].
    pub fn of(folder: &Path) -> Self {
        let most = Self::default();
        let size = nix::sys::statvfs::statvfs(folder)
            .map_or(u64::MAX, |found| found.blocks().saturating_mul(found.fragment_size()));
        let file_bytes = (size / 10 / u64::from(most.files)).clamp(256 << 10, most.file_bytes);
        Self { file_bytes, ..most }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, files: 4, queue: 4096 }
    }
}

/// How long an entry waits for others to be written with it, when none is waiting already.
const GATHER: Duration = Duration::from_millis(20);

enum Message {
    Entry(Box<Entry>),
    /// Make all before it durable and close the file, then answer.
    Flush(SyncSender<()>),
}

/// The writing end. Dropping it ends the thread once the queue is written.
#[derive(Debug)]
pub struct Journal {
    queue: Option<SyncSender<Message>>,
    /// Bytes of messages in the queue.
    waiting: Arc<AtomicUsize>,
    dropped: u64,
}

/// Bytes that may wait for the disk.
const WAITING_MAX: usize = 2 << 20;

impl Journal {
    /// Starts the thread that appends to files in `folder`, which is made when it is absent.
    /// Errors of the disk never come back: an entry that cannot be written is lost.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(folder: PathBuf, limits: Limits) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(limits.queue);
        let waiting = Arc::<AtomicUsize>::default();
        let written = Arc::clone(&waiting);
        thread::Builder::new()
            .name("journal".into())
            .stack_size(128 << 10)
            .spawn(move || run(&folder, limits, &receiver, &written))?;
        Ok(Self { queue: Some(sender), waiting, dropped: 0 })
    }

    /// A journal that keeps nothing: for a machine without STATE.
    pub fn nowhere() -> Self {
        Self { queue: None, waiting: Arc::default(), dropped: 0 }
    }

    /// Hands an entry over; never waits. If the queue is full it is counted instead, and the
    /// count is an entry as soon as there is room.
    pub fn send(&mut self, entry: Entry) {
        let Some(queue) = &self.queue else { return };
        if self.dropped > 0 {
            let message = format!("{} entries were dropped: the disk is too slow", self.dropped);
            let lost = Entry {
                message,
                priority: 4,
                pid: 1,
                unit: String::new(),
                identifier: "journal".into(),
                ..entry.clone()
            };
            if queue.try_send(Message::Entry(Box::new(lost))).is_ok() {
                self.dropped = 0;
            }
        }
        let bytes = entry.message.len();
        if self.waiting.load(Ordering::Relaxed) + bytes > WAITING_MAX {
            self.dropped += 1;
            return;
        }
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        match queue.try_send(Message::Entry(Box::new(entry))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.waiting.fetch_sub(bytes, Ordering::Relaxed);
                self.dropped += 1;
            }
            Err(TrySendError::Disconnected(_)) => self.queue = None,
        }
    }

    /// Waits until all that was sent is on disk, at most for `patience`. True if it is.
    /// Only for the very end, when nothing else is left to be done.
    pub fn flush(&mut self, patience: Duration) -> bool {
        let Some(queue) = self.queue.take() else { return true };
        let (done, answer) = sync_channel(1);
        // A full queue is being written: the thread takes the next message when it has room.
        let sent = match queue.try_send(Message::Flush(done.clone())) {
            Err(TrySendError::Full(message)) => {
                thread::Builder::new().stack_size(64 << 10).spawn(move || queue.send(message).is_ok()).is_ok()
            }
            other => other.is_ok(),
        };
        drop(done);
        sent && matches!(answer.recv_timeout(patience), Ok(()) | Err(RecvTimeoutError::Disconnected))
    }
}

fn run(folder: &Path, limits: Limits, queue: &Receiver<Message>, waiting: &AtomicUsize) {
    let mut file: Option<(File, u64)> = None;
    let mut buffer = Vec::with_capacity(16 << 10);
    while let Ok(first) = queue.recv() {
        let mut flushes = Vec::new();
        let mut next = Some(first);
        let mut gathered = false;
        while let Some(message) = next {
            match message {
                Message::Entry(entry) => {
                    waiting.fetch_sub(entry.message.len(), Ordering::Relaxed);
                    // Writing into a vector cannot fail, and the entry has string keys only.
                    let _ = serde_json::to_writer(&mut buffer, &*entry);
                    buffer.push(b'\n');
                }
                Message::Flush(done) => flushes.push(done),
            }
            next = if buffer.len() < 64 << 10 { queue.try_recv().ok() } else { None };
            if next.is_none() && buffer.len() < 64 << 10 && flushes.is_empty() && !gathered {
                gathered = true;
                thread::sleep(GATHER);
                next = queue.try_recv().ok();
            }
        }
        if let Err(error) = append(folder, limits, &mut file, &buffer) {
            file = None; // opened anew for the next batch: the folder may come later
            if error.kind() == io::ErrorKind::StorageFull {
                make_room(folder, limits);
            }
        }
        buffer.clear();
        if !flushes.is_empty()
            && let Some((file, _)) = file.take()
        {
            let _ = file.sync_data();
        }
        for done in flushes {
            let _ = done.try_send(());
        }
    }
    if let Some((file, _)) = &file {
        let _ = file.sync_data();
    }
}

fn append(folder: &Path, limits: Limits, file: &mut Option<(File, u64)>, bytes: &[u8]) -> io::Result<()> {
    let open_file = match file.take() {
        Some(open) => open,
        None => open(folder)?,
    };
    let (file, size) = if open_file.1 >= limits.file_bytes {
        open_file.0.sync_data()?;
        rotate(folder, limits.files)?;
        file.insert(open(folder)?)
    } else {
        file.insert(open_file)
    };
    file.write_all(bytes)?;
    *size += bytes.len() as u64;
    Ok(())
}

/// Gives up the oldest entries of a full disk. What fails is tried again with the next batch.
fn make_room(folder: &Path, limits: Limits) {
    let _ = match super::files(folder).first() {
        Some(oldest) if !oldest.ends_with(CURRENT) => fs::remove_file(oldest),
        _ => rotate(folder, limits.files.max(2)),
    };
}

/// Opens the current file; a line torn by a power cut is ended, so that the next is whole.
fn open(folder: &Path) -> io::Result<(File, u64)> {
    fs::create_dir_all(folder)?;
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(folder.join(CURRENT))?;
    let size = file.seek(SeekFrom::End(0))?;
    let mut last = [b'\n'];
    if size > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok((file, size))
}

fn rotate(folder: &Path, keep: u32) -> io::Result<()> {
    let name = |number: u32| match number {
        0 => folder.join(CURRENT),
        number => folder.join(format!("system.{number}.jsonl")),
    };
    for number in (0..keep.saturating_sub(1)).rev() {
        match fs::rename(name(number), name(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if keep <= 1 {
        fs::remove_file(name(0))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Filter, read};
    use super::*;

    fn entry(message: &str) -> Entry {
        Entry { message: message.into(), boot_id: "b".into(), pid: 7, priority: 6, ..Entry::default() }
    }

    #[test]
    fn what_is_sent_is_read_back_over_rotations_and_torn_lines() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { file_bytes: 200, files: 3, queue: 1000 };
        fs::write(folder.path().join(CURRENT), b"{\"torn\":").unwrap();
        let mut journal = Journal::start(folder.path().into(), limits).unwrap();
        for number in 0..50 {
            journal.send(entry(&format!("first {number}\n\"quoted\"")));
        }
        assert!(journal.flush(Duration::from_mins(1)));
        // Every start opens the file again, and sees that it is full.
        for round in 0..4 {
            let mut journal = Journal::start(folder.path().into(), limits).unwrap();
            journal.send(entry(&format!("round {round}")));
            journal.send(entry("x"));
            assert!(journal.flush(Duration::from_mins(1)));
        }
        assert_eq!(super::super::files(folder.path()).len(), 3);
        let all: Vec<Entry> = read(folder.path(), &Filter::default()).collect();
        assert!(all.iter().any(|entry| entry.message == "round 3"));
        assert_eq!(all.last().unwrap().message, "x");
        assert!(fs::read_dir(folder.path()).unwrap().count() <= 3);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (sender, receiver) = sync_channel(2);
        let mut journal = Journal { queue: Some(sender), waiting: Arc::default(), dropped: 0 };
        for number in 0..5 {
            journal.send(entry(&number.to_string()));
        }
        assert_eq!(journal.dropped, 3);
        let texts = || -> Vec<String> {
            receiver
                .try_iter()
                .filter_map(|message| match message {
                    Message::Entry(entry) => Some(entry.message),
                    Message::Flush(_) => None,
                })
                .collect()
        };
        assert_eq!(texts(), ["0", "1"]);
        journal.send(entry("after"));
        assert_eq!(texts(), ["3 entries were dropped: the disk is too slow", "after"]);
    }
}
