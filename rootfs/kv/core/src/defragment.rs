//! A smaller file with the same state. All entries are copied into a new file,
//! which takes the old one's name once it is whole and on the disk. Reading goes on
//! meanwhile, writing waits. Whenever the power goes, one of the two files is there,
//! and each is good with the log behind its own place: the new one is only further.

use std::io::{self, Write};
use std::sync::Arc;

use redb::{StorageBackend, WriteTransaction};

use crate::auth;
use crate::error::{At, Error};
use crate::meta::Meta;
use crate::place::{self, Open};
use crate::snapshot::chunk_into;
use crate::state::{State, file_backend};
use crate::tables::Tables;
use crate::view::{Source, View};

const COPYING: &str = "defragmenting it";

/// What a defragmentation has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defragmented {
    /// Bytes of the file before.
    pub before: u64,
    /// Bytes of the file now.
    pub after: u64,
}

impl Source {
    /// What the database takes of the disk, bytes. redb makes the file longer than it needs, with
    /// holes in it, and writes some of it late.
    pub fn allocated_bytes(&self) -> u64 {
        self.place.allocated_bytes()
    }

    /// Bytes of the database's file now.
    pub fn file_bytes(&self) -> u64 {
        self.place.file_bytes()
    }

    /// Puts a copy of the database in place of its file, without what is free in it. It blocks
    /// until that is done, and so does whoever writes.
    ///
    /// # Errors
    /// [`Error::NoFile`], [`Error::Io`], and what a database fails with. The state then goes on with
    /// the old file, which is unchanged, except where the folder could not be synced with the new file
    /// in it: from then on all writing fails with [`Error::Unsure`].
    pub fn defragment(&self) -> Result<Defragmented, Error> {
        let _writing = self.place.writing()?;
        let path = self.place.open().path.ok_or(Error::NoFile)?;
        let new = place::beside(&path, place::COPIED);
        place::remove(&new)?;
        let before = self.place.file_bytes();
        let made = file_backend(&new).and_then(|backend| copy(&self.view()?, backend, self.place.options));
        let made = made.and_then(|state| place::rename(&new, &path).map(|()| state));
        let state = match made {
            Ok(state) => state,
            Err(error) => {
                place::remove(&new)?;
                return Err(error);
            }
        };
        let after = state.place.file_bytes();
        self.place.replace(Open { path: Some(path.clone()), ..state.place.open() });
        place::sync_folder(&path).inspect_err(|_| self.place.set_unsure())?;
        Ok(Defragmented { before, after })
    }
}

/// The state of a view in an empty backend, on its disk.
fn copy(view: &View, backend: impl StorageBackend, options: crate::Options) -> Result<State, Error> {
    let mut state = State::open_database(backend, options)?;
    let transaction = state.place.database().begin_write().at(COPYING)?;
    {
        let mut tables = Tables::open(&transaction)?;
        Meta::stamp(&mut tables.meta)?;
        let mut into = Into {
            transaction: &transaction,
            tables: &mut tables,
            buffer: Vec::new(),
            begun: false,
            entries: 0,
            failed: None,
        };
        let copied = view.snapshot_to(&mut into);
        if let Some(error) = into.failed {
            return Err(error);
        }
        copied?;
        state.meta = Meta::load(&tables.meta)?.ok_or(Error::NotAStore)?;
    }
    state.policy = Arc::new(auth::load_written(&transaction)?);
    State::commit_durable(transaction)?;
    state.trim()?;
    Ok(state)
}

impl State {
    /// Takes the free end off a file that nobody else has seen yet.
    fn trim(&mut self) -> Result<(), Error> {
        let Some(place) = Arc::get_mut(&mut self.place) else { return Ok(()) };
        place.compact()?;
        let transaction = self.place.database().begin_write().at(COPYING)?;
        Self::commit_durable(transaction)
    }
}

/// The length of a snapshot's head, and of a chunk's.
const HEAD_BYTES: usize = 12;
const CHUNK_HEAD_BYTES: usize = 8;

/// Takes a snapshot as it is written.
struct Into<'a, 't> {
    transaction: &'t WriteTransaction,
    tables: &'a mut Tables<'t>,
    buffer: Vec<u8>,
    begun: bool,
    entries: u64,
    failed: Option<Error>,
}

impl Into<'_, '_> {
    /// Takes what is whole.
    fn take(&mut self) -> Result<(), Error> {
        if !self.begun && self.buffer.len() >= HEAD_BYTES {
            self.begun = true;
            self.buffer.drain(..HEAD_BYTES);
        }
        while self.begun
            && let Some((head, rest)) = self.buffer.split_at_checked(CHUNK_HEAD_BYTES)
            && let Some(length) = head.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)
            && let Some(chunk) = rest.get(..length)
        {
            chunk_into(self.transaction, self.tables, chunk, (&mut self.entries, 0))?;
            self.buffer.drain(..CHUNK_HEAD_BYTES + length);
        }
        Ok(())
    }
}

impl Write for Into<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if let Err(error) = self.take() {
            self.failed = Some(error);
            return Err(io::Error::other("the copy has failed"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
