//! The whole state as a stream, for a member that lags, a backup, or a later redb
//! (docs/FORMATS.md, "The store's snapshot"). It is the tables' entries, not redb's
//! pages, so that it can be read by a program with another version of redb, and is
//! free of what the file no longer needs.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use redb::{ReadableDatabase, StorageBackend, WriteTransaction};

use crate::auth;
use crate::error::{At, Error};
use crate::meta::{FORMAT, Meta};
use crate::place;
use crate::record::{number, push};
use crate::state::{Options, State, file_backend};
use crate::tables::Tables;
use crate::view::View;

const MAGIC: &[u8; 8] = b"kvsnap\r\n";
/// Entries are written once they fill this; one entry is never divided.
const CHUNK_BYTES: usize = 64 << 10;
/// No chunk is longer: one entry's key and value, which the server bounds far below.
const CHUNK_LIMIT: u32 = 1 << 30;
const READING: &str = "reading it for a snapshot";
const RESTORING: &str = "restoring a snapshot";

/// What the entries of a chunk belong to.
const NOW: u8 = 1;
const PAST: u8 = 2;
const CHANGES: u8 = 3;
const LEASES: u8 = 4;
const LEASE_KEYS: u8 = 5;
const ALARMS: u8 = 6;
const SIDE: u8 = 7;
const STATE: u8 = 8;
/// `auth`, and behind it `auth_users` and `auth_roles`.
const AUTH: u8 = 9;
const AUTH_LAST: u8 = 11;
const END: u8 = 0;

impl View {
    /// Writes the whole state down. What was written must end up whole: the last chunk says so.
    ///
    /// # Errors
    /// The writer's, and what the database fails with.
    pub fn snapshot_to(&self, writer: &mut impl Write) -> Result<(), Error> {
        let mut out = Chunks { writer, crc: 0, buffer: Vec::new(), entries: 0 };
        out.begin()?;
        let tables = self.tables();
        out.entry(STATE, &[], &self.meta().encode())?;
        for entry in tables.now.range::<&[u8]>(..).at(READING)? {
            let (key, record) = entry.at(READING)?;
            out.entry(NOW, key.value(), record.value())?;
        }
        for entry in tables.past.range::<(&[u8], u64, u64)>(..).at(READING)? {
            let (key, record) = entry.at(READING)?;
            let (key, main, sub) = key.value();
            out.entry(PAST, &[key, &main.to_be_bytes(), &sub.to_be_bytes()].concat(), record.value())?;
        }
        for entry in tables.changes.range::<(u64, u64)>(..).at(READING)? {
            let (at, change) = entry.at(READING)?;
            let (main, sub) = at.value();
            out.entry(CHANGES, &[main.to_be_bytes(), sub.to_be_bytes()].concat(), change.value())?;
        }
        for lease in self.leases()? {
            let value = [lease.ttl_s.to_be_bytes(), lease.remaining_s.to_be_bytes()].concat();
            out.entry(LEASES, &lease.id.to_be_bytes(), &value)?;
        }
        for entry in tables.lease_keys.range::<(i64, &[u8])>(..).at(READING)? {
            let entry = entry.at(READING)?;
            let (lease, key) = entry.0.value();
            out.entry(LEASE_KEYS, &[&lease.to_be_bytes(), key].concat(), &[])?;
        }
        for alarm in self.alarms()? {
            let key = [alarm.member.to_be_bytes().as_slice(), &alarm.kind.to_be_bytes()].concat();
            out.entry(ALARMS, &key, &[])?;
        }
        for (key, value) in self.side_all(&[])? {
            out.entry(SIDE, &key, &value)?;
        }
        for (table, entries) in (AUTH..).zip(self.policy()?.entries()) {
            for (key, value) in entries {
                out.entry(table, key.as_bytes(), &value)?;
            }
        }
        out.end()
    }
}

impl State {
    /// Makes the database in an empty backend from a snapshot. All of it is on the disk when this
    /// returns, or, on an error, nothing.
    ///
    /// # Errors
    /// [`Error::SnapshotDamaged`], [`Error::SnapshotFormat`], [`Error::NotEmpty`], the reader's,
    /// and what the database fails with.
    pub fn restore(
        backend: impl StorageBackend,
        options: Options,
        reader: &mut impl Read,
    ) -> Result<Self, Error> {
        let mut state = Self::open_database(backend, options)?;
        let transaction = state.place.database().begin_read().at(RESTORING)?;
        if transaction.list_tables().at(RESTORING)?.next().is_some() {
            return Err(Error::NotEmpty);
        }
        drop(transaction);
        let transaction = state.place.database().begin_write().at(RESTORING)?;
        {
            let mut tables = Tables::open(&transaction)?;
            fill(&transaction, &mut tables, reader)?;
            state.meta = Meta::load(&tables.meta)?.ok_or(Error::NotAStore)?;
        }
        state.policy = Arc::new(auth::load_written(&transaction)?);
        Self::commit_durable(transaction)?;
        Ok(state)
    }

    /// The same into a file, which is made beside `path` and takes its place only when it
    /// is whole. A state that is open on the old file goes on with that until it is dropped.
    ///
    /// # Errors
    /// As [`State::restore`], and [`Error::Io`].
    pub fn restore_file(path: &Path, options: Options, reader: &mut impl Read) -> Result<Self, Error> {
        let new = place::beside(path, place::RESTORED);
        place::remove(&new)?;
        let state = match Self::restore(file_backend(&new)?, options, reader) {
            Ok(state) => state,
            Err(error) => {
                place::remove(&new)?;
                return Err(error);
            }
        };
        place::put_in_place(&new, path)?;
        state.place.set_path(path);
        Ok(state)
    }
}

/// Chunks on their way out: length, CRC-32C chained over all before, payload.
struct Chunks<'w, W> {
    writer: &'w mut W,
    crc: u32,
    buffer: Vec<u8>,
    entries: u64,
}

impl<W: Write> Chunks<'_, W> {
    fn begin(&mut self) -> Result<(), Error> {
        let head = [MAGIC.as_slice(), &FORMAT.to_le_bytes()].concat();
        self.crc = crc32c::crc32c(&head);
        self.write(&head)
    }

    fn entry(&mut self, table: u8, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.buffer.push(table);
        push(key.len() as u64, &mut self.buffer);
        self.buffer.extend_from_slice(key);
        push(value.len() as u64, &mut self.buffer);
        self.buffer.extend_from_slice(value);
        self.entries += 1;
        if self.buffer.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), Error> {
        self.buffer.push(END);
        push(self.entries, &mut self.buffer);
        self.flush()?;
        self.writer.flush().map_err(writing)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let length = (self.buffer.len() as u32).to_le_bytes();
        self.crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, &length), &self.buffer);
        let head = [length, self.crc.to_le_bytes()].concat();
        self.write(&head)?;
        self.writer.write_all(&self.buffer).map_err(writing)?;
        self.buffer.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write_all(bytes).map_err(writing)
    }
}

fn writing(source: io::Error) -> Error {
    Error::Io { doing: "cannot write the snapshot".to_owned(), source }
}

/// Reads a whole snapshot into empty tables.
fn fill(
    transaction: &WriteTransaction,
    tables: &mut Tables<'_>,
    reader: &mut impl Read,
) -> Result<(), Error> {
    let mut head = [0; 12];
    let mut offset = 0;
    read(reader, &mut head, offset)?;
    if &head[..8] != MAGIC {
        return Err(Error::SnapshotDamaged { offset: 0, what: "not a snapshot of the store" });
    }
    let found = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if found != FORMAT {
        return Err(Error::SnapshotFormat { found, known: FORMAT });
    }
    Meta::stamp(&mut tables.meta)?;
    let mut crc = crc32c::crc32c(&head);
    offset += head.len() as u64;
    let mut entries = 0;
    let mut chunk = Vec::new();
    loop {
        let mut head = [0; 8];
        read(reader, &mut head, offset)?;
        let [a, b, c, d, rest @ ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length > CHUNK_LIMIT {
            return Err(Error::SnapshotDamaged { offset, what: "a chunk's length" });
        }
        chunk.clear();
        // Grows with what comes, so that a wrong length asks for no memory.
        let came =
            reader.take(length.into()).read_to_end(&mut chunk).map_err(|source| reading(offset, source))?;
        if came < length as usize {
            return Err(Error::SnapshotDamaged { offset, what: "it ends too soon" });
        }
        crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, &[a, b, c, d]), &chunk);
        if crc != u32::from_le_bytes(rest) {
            return Err(Error::SnapshotDamaged { offset, what: "a chunk's checksum" });
        }
        if chunk_into(transaction, tables, &chunk, (&mut entries, offset))? {
            return Ok(());
        }
        offset += 8 + u64::from(length);
    }
}

/// Takes a chunk's entries; `true` if it was the last.
pub(crate) fn chunk_into(
    transaction: &WriteTransaction,
    tables: &mut Tables<'_>,
    chunk: &[u8],
    (entries, offset): (&mut u64, u64),
) -> Result<bool, Error> {
    let mut at = 0;
    while at < chunk.len() {
        let damaged = |what| Error::SnapshotDamaged { offset: offset + 8 + at as u64, what };
        let table = chunk[at];
        let mut to = at + 1;
        if table == END {
            let counted = number(chunk, &mut to).ok_or_else(|| damaged("the count of entries"))?;
            if counted != *entries || to != chunk.len() {
                return Err(damaged("the count of entries"));
            }
            return Ok(true);
        }
        let key = field(chunk, &mut to).ok_or_else(|| damaged("an entry's key"))?;
        let value = field(chunk, &mut to).ok_or_else(|| damaged("an entry's value"))?;
        let taken = match table {
            AUTH..=AUTH_LAST => auth::restore(transaction, table - AUTH, key, value)?,
            table => entry_into(tables, table, key, value)?,
        };
        if !taken {
            return Err(damaged("an entry's form"));
        }
        *entries += 1;
        at = to;
    }
    Ok(false)
}

fn field<'c>(chunk: &'c [u8], at: &mut usize) -> Option<&'c [u8]> {
    let length = usize::try_from(number(chunk, at)?).ok()?;
    let bytes = chunk.get(*at..at.checked_add(length)?)?;
    *at += length;
    Some(bytes)
}

/// Puts one entry into its table; `false` if it does not have the table's form.
fn entry_into(tables: &mut Tables<'_>, table: u8, key: &[u8], value: &[u8]) -> Result<bool, Error> {
    match table {
        NOW => {
            tables.now.insert(key, value).at(RESTORING)?;
        }
        PAST => {
            let Some((key, [main, sub])) = tail::<2>(key) else { return Ok(false) };
            tables.past.insert((key, main, sub), value).at(RESTORING)?;
        }
        CHANGES => {
            let Some(([], [main, sub])) = tail::<2>(key) else { return Ok(false) };
            tables.changes.insert((main, sub), value).at(RESTORING)?;
        }
        LEASES => {
            let (Some(([], [id])), Some(([], [ttl, remaining]))) = (tail::<1>(key), tail::<2>(value)) else {
                return Ok(false);
            };
            tables.leases.insert(id as i64, (ttl as i64, remaining as i64)).at(RESTORING)?;
        }
        LEASE_KEYS => {
            let Some((id, key)) = key.split_first_chunk() else { return Ok(false) };
            tables.lease_keys.insert((i64::from_be_bytes(*id), key), ()).at(RESTORING)?;
        }
        ALARMS => {
            let Some((member, kind)) = key.split_first_chunk() else { return Ok(false) };
            let Ok(kind) = kind.try_into() else { return Ok(false) };
            tables
                .alarms
                .insert((u64::from_be_bytes(*member), u32::from_be_bytes(kind)), ())
                .at(RESTORING)?;
        }
        SIDE => {
            tables.side.insert(key, value).at(RESTORING)?;
        }
        STATE => {
            tables.meta.insert("state", value).at(RESTORING)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Takes big-endian numbers off the end.
fn tail<const N: usize>(bytes: &[u8]) -> Option<(&[u8], [u64; N])> {
    let (head, tail) = bytes.split_at_checked(bytes.len().checked_sub(N * 8)?)?;
    let mut numbers = [0; N];
    for (number, bytes) in numbers.iter_mut().zip(tail.as_chunks::<8>().0) {
        *number = u64::from_be_bytes(*bytes);
    }
    Some((head, numbers))
}

fn read(reader: &mut impl Read, into: &mut [u8], offset: u64) -> Result<(), Error> {
    reader.read_exact(into).map_err(|source| {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return Error::SnapshotDamaged { offset, what: "it ends too soon" };
        }
        reading(offset, source)
    })
}

fn reading(offset: u64, source: io::Error) -> Error {
    Error::Io { doing: format!("cannot read the snapshot at byte {offset}"), source }
}
