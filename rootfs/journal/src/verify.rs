//! `journalctl --verify`: every byte of every segment looked at.

use crate::folder;
use crate::segment::record::Kind;
use crate::segment::{
    Damage, Directory, HEADER, Header, Indexer, Item, RawEntry, Scan, SegmentError, offsets,
};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be read at all.
    Unreadable(String),
    /// Bytes that are no record.
    Damage(Damage),
    /// An entry or set refers to what is not there.
    Reference {
        /// Where the record is.
        offset: u32,
    },
    /// The index is not the one of these entries.
    Index,
}

/// What was found in a segment.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The file.
    pub path: PathBuf,
    /// Entries that are whole.
    pub entries: u64,
    /// Whether it was closed. An open one may end within a record.
    pub closed: bool,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "{why}"),
            Self::Damage(Damage { offset, bytes, at_end }) => {
                let what = if *at_end { "at its end" } else { "amid good ones" };
                write!(f, "{bytes} bytes {what} are no record, at offset {offset}")
            }
            Self::Reference { offset } => write!(f, "the record at offset {offset} refers to a damaged one"),
            Self::Index => write!(f, "the index does not fit its entries"),
        }
    }
}

/// Looks at all segments of a journal.
///
/// # Errors
/// The folder cannot be read.
pub fn verify(folder: &Path) -> io::Result<Vec<Verdict>> {
    let verdicts = folder::segments(folder)?.into_iter().map(|path| {
        verify_segment(&path).unwrap_or_else(|error| Verdict {
            path,
            entries: 0,
            closed: false,
            faults: vec![Fault::Unreadable(error.to_string())],
        })
    });
    Ok(verdicts.collect())
}

fn verify_segment(path: &Path) -> Result<Verdict, SegmentError> {
    let closed = folder::open(path)?.is_closed();
    let bytes = crate::segment::whole(&File::open(path)?)?;
    let header = Header::parse(&bytes)?;
    let mut faults = Vec::new();
    let mut indexer = Indexer::default();
    let mut known = HashSet::new();
    let mut index = (None, None);
    for item in Scan::new(&bytes[HEADER..], HEADER as u32, header.id) {
        let (offset, kind, payload) = match item {
            Item::Record { offset, kind, payload } => (offset, kind, payload),
            // That is what is being written.
            Item::Damage(Damage { at_end: true, .. }) if !closed => continue,
            Item::Damage(damage) => {
                faults.push(Fault::Damage(damage));
                continue;
            }
        };
        let references = match kind {
            Kind::Field => {
                indexer.field(offset, payload);
                Some(Vec::new())
            }
            Kind::Set => offsets(payload).inspect(|fields| indexer.set(offset, fields.clone())),
            Kind::Entry => RawEntry::parse(payload).map(|entry| {
                indexer.entry(offset, entry.sequence, entry.realtime_us, &entry.references);
                entry.references
            }),
            Kind::Postings => {
                index.0 = Some(payload);
                continue;
            }
            Kind::Directory => {
                index.1 = Some(payload);
                continue;
            }
            Kind::Synced | Kind::End => continue,
        };
        known.insert(offset);
        if references.is_none_or(|all| all.iter().any(|one| !known.contains(one))) {
            faults.push(Fault::Reference { offset });
        }
    }
    if closed && faults.is_empty() {
        let (postings, directory) = indexer.encode();
        let fits = index == (Some(postings.as_slice()), Some(directory.as_slice()));
        if !fits || Directory::parse(directory).is_none() {
            faults.push(Fault::Index);
        }
    }
    Ok(Verdict { path: path.to_owned(), entries: indexer.entries(), closed, faults })
}
