//! A part of the image file as the target of a stream.

use crate::progress::Stage;
use formats::stream::ImageSink;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes gathered before a write.
const BUFFER: usize = 1 << 20;

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

/// Writes at a place of a fresh, sparse file; zeros are left out.
#[derive(Debug)]
pub struct FileSink<'a> {
    file: &'a File,
    stage: &'a Stage,
    interrupt: &'a Interrupt,
    /// Where `buffer` belongs.
    position: u64,
    end: u64,
    buffer: Vec<u8>,
}

impl<'a> FileSink<'a> {
    /// A sink for the `length` bytes at `offset`.
    pub fn new(file: &'a File, offset: u64, length: u64, stage: &'a Stage, interrupt: &'a Interrupt) -> Self {
        Self {
            file,
            stage,
            interrupt,
            position: offset,
            end: offset + length,
            buffer: Vec::with_capacity(BUFFER),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.interrupt.check()?;
        self.file.write_all_at(&self.buffer, self.position)?;
        self.position += self.buffer.len() as u64;
        self.stage.advance(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }

    fn room(&self, count: u64) -> io::Result<()> {
        if self.position + self.buffer.len() as u64 + count > self.end {
            return Err(io::Error::other("the partition is full"));
        }
        Ok(())
    }

    /// Writes what is still held.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()
    }
}

impl ImageSink for FileSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.room(bytes.len() as u64)?;
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            self.interrupt.check()?;
            self.file.write_all_at(bytes, self.position)?;
            self.position += bytes.len() as u64;
            self.stage.advance(bytes.len() as u64);
        } else {
            self.buffer.extend_from_slice(bytes);
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
