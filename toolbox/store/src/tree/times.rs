//! Times of folders, which making entries in them changes, are set at the end. Until then they
//! wait in a file, so that a million folders take no memory.

use super::root::{PathError, Root, io};
use rustix::fs::{AtFlags, Timespec, Timestamps};
use std::fs::File;
use std::io::{self as stdio, BufReader, BufWriter, Read, Seek, Write};

/// Folders and their times, in the order in which they were said.
pub(super) struct Times {
    file: BufWriter<File>,
}

impl Times {
    /// Waits in `file`, an empty one.
    pub(super) fn new(file: File) -> Self {
        Self { file: BufWriter::with_capacity(64 << 10, file) }
    }

    pub(super) fn add(&mut self, path: &[u8], (seconds, nanoseconds): (i64, u32)) -> stdio::Result<()> {
        self.file.write_all(&(path.len() as u32).to_le_bytes())?;
        self.file.write_all(&seconds.to_le_bytes())?;
        self.file.write_all(&nanoseconds.to_le_bytes())?;
        self.file.write_all(path)
    }

    /// Sets them; a folder that is gone by now is passed over.
    pub(super) fn apply(self, root: &mut Root) -> Result<(), PathError> {
        let wrap = |source| PathError::Io { what: "cannot keep the times of folders", source };
        let mut file = self.file.into_inner().map_err(|error| wrap(error.into_error()))?;
        let end = file.stream_position().map_err(wrap)?;
        file.rewind().map_err(wrap)?;
        let mut file = BufReader::with_capacity(64 << 10, file.take(end));
        let mut head = [0; 16];
        let mut path = Vec::new();
        loop {
            match file.read_exact(&mut head) {
                Err(error) if error.kind() == stdio::ErrorKind::UnexpectedEof => return Ok(()),
                read => read.map_err(wrap)?,
            }
            let [length, seconds, nanoseconds] = [&head[0..4], &head[4..12], &head[12..16]]
                .map(|bytes| bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)));
            path.resize(length as usize, 0);
            file.read_exact(&mut path).map_err(wrap)?;
            let parts = super::parts(&path, root.max_depth())?;
            if let Some(folder) = root.open(&parts, false)? {
                let times = timestamps((seconds as i64, nanoseconds as u32));
                // An empty path names the descriptor's own file, which here is open for its path alone.
                rustix::fs::utimensat(&*folder, "", &times, AtFlags::EMPTY_PATH)
                    .or_else(|_| rustix::fs::utimensat(&*folder, ".", &times, AtFlags::empty()))
                    .map_err(io("cannot set the time of a folder"))?;
            }
        }
    }
}

/// Modification time, the access time with it.
pub(super) fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
