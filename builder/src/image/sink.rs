//! A part of the image file as the target of a stream.

use crate::progress::Stage;
use formats::stream::ImageSink;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Bytes gathered before a write.
const BUFFER: usize = 1 << 20;
/// Writes that may wait for the disk.
const WAITING: usize = 4;

/// Set by a signal: the build is to end without a result.
#[derive(Debug, Default)]
pub struct Interrupt(pub std::sync::Arc<AtomicBool>);

impl Interrupt {
    /// An error once the build was told to end.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] would be retried by the standard library, so it is another one.
    pub fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::Error::other("interrupted")) } else { Ok(()) }
    }
}

/// Writes at a place of a fresh, sparse file; zeros are left out. The writing is another thread's,
/// so that the next bytes are made meanwhile.
#[derive(Debug)]
pub struct FileSink<'a> {
    stage: &'a Stage,
    interrupt: &'a Interrupt,
    /// Where `buffer` belongs.
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    writer: Writer,
}

/// The thread; it ends at its first error or when `jobs` is gone.
#[derive(Debug)]
struct Writer {
    jobs: Option<SyncSender<(u64, Vec<u8>)>>,
    /// Buffers that were written, emptied.
    free: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Writer {
    fn start(file: File) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<(u64, Vec<u8>)>(WAITING);
        let (give_back, free) = sync_channel(WAITING);
        let body = move || {
            for (position, mut bytes) in queue {
                file.write_all_at(&bytes, position)?;
                bytes.clear();
                // One too many is simply freed.
                let _ = give_back.try_send(bytes);
            }
            Ok(())
        };
        let thread = thread::Builder::new().name("write".into()).spawn(body)?;
        Ok(Self { jobs: Some(jobs), free, thread: Some(thread) })
    }

    fn submit(&mut self, position: u64, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send((position, bytes)).is_ok());
        if !sent {
            self.finish()?;
        }
        Ok(self.free.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER)))
    }

    /// Waits for all writes, and tells what became of them.
    fn finish(&mut self) -> io::Result<()> {
        self.jobs = None;
        let died = || Err(io::Error::other("the writing thread died"));
        self.thread.take().map_or_else(died, |thread| thread.join().unwrap_or_else(|_| died()))
    }
}

impl Drop for Writer {
    /// On an error path too the thread does not outlive its sink.
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.finish();
        }
    }
}

impl<'a> FileSink<'a> {
    /// A sink for the `length` bytes at `offset`.
    ///
    /// # Errors
    /// There is no thread or no descriptor left.
    pub fn new(
        file: &File,
        offset: u64,
        length: u64,
        stage: &'a Stage,
        interrupt: &'a Interrupt,
    ) -> io::Result<Self> {
        Ok(Self {
            stage,
            interrupt,
            position: offset,
            end: offset + length,
            buffer: Vec::with_capacity(BUFFER),
            writer: Writer::start(file.try_clone()?)?,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.interrupt.check()?;
        let bytes = std::mem::take(&mut self.buffer);
        let (position, length) = (self.position, bytes.len() as u64);
        self.position += length;
        self.stage.advance(length);
        self.buffer = self.writer.submit(position, bytes)?;
        Ok(())
    }

    fn room(&self, count: u64) -> io::Result<()> {
        if self.position + self.buffer.len() as u64 + count > self.end {
            return Err(io::Error::other("the partition is full"));
        }
        Ok(())
    }

    /// Writes what is still held, and waits until all is written.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.writer.finish()
    }
}

impl ImageSink for FileSink<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.room(bytes.len() as u64)?;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if self.buffer.len() == BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        self.room(count)?;
        if count < 4096 && self.buffer.len() + count as usize <= BUFFER {
            self.buffer.resize(self.buffer.len() + count as usize, 0);
            return Ok(());
        }
        self.flush()?;
        self.position += count;
        self.stage.advance(count);
        Ok(())
    }
}
