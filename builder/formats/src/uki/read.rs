//! The sections of a PE file that may be hostile.

use std::io;

use object::LittleEndian as LE;
use object::pe::{ImageDosHeader, ImageNtHeaders64};
use object::read::pe::ImageNtHeaders;

use super::checksum::Checksum;
use crate::read_at::ReadAt;

/// Headers are read up to this many bytes; those of a stub have 1 KiB.
const MAX_HEADERS: u64 = 64 << 10;
/// Most sections of a file (PE specification: the Windows loader's limit).
const MAX_SECTIONS: usize = 96;

/// A section of a PE file. It lies within the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeSection {
    /// Its name, unprintable bytes escaped.
    pub name: String,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes of content: those in the file without the padding behind them.
    pub size: u64,
    /// Where it is loaded, from the image's base.
    pub virtual_address: u32,
    /// Bytes that it takes in memory.
    pub virtual_size: u32,
}

/// Why a file's sections cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PeError {
    /// The file cannot be read.
    #[error("cannot read PE file at byte {offset}: {source}")]
    Read {
        /// First byte wanted.
        offset: u64,
        /// Why not.
        source: io::Error,
    },
    /// The headers are malformed.
    #[error("no 64-bit PE file: {0}")]
    Headers(#[from] object::read::Error),
    /// More than any loader takes.
    #[error("PE file has {count} sections, more than {MAX_SECTIONS}")]
    TooManySections {
        /// How many.
        count: usize,
    },
    /// A section lies outside of the file.
    #[error("PE section {name} of {size} bytes at byte {offset} ends beyond the file's {file_size}")]
    Bounds {
        /// Its name.
        name: String,
        /// Its first byte.
        offset: u64,
        /// Its size.
        size: u64,
        /// Bytes of the file.
        file_size: u64,
    },
    /// Some byte of the file is not the one that was written.
    #[error("PE file has the checksum {computed:08x}, but its headers say {stored:08x}")]
    Checksum {
        /// As the optional header says.
        stored: u32,
        /// As the bytes say.
        computed: u32,
    },
    /// A section is larger than its reader wants.
    #[error("PE section {name} has {size} bytes, more than {limit}")]
    TooLarge {
        /// Its name.
        name: String,
        /// Its size.
        size: u64,
        /// The most that is read.
        limit: u64,
    },
}

fn headers(reader: &dyn ReadAt) -> Result<Vec<u8>, PeError> {
    let mut headers = vec![0; reader.size().min(MAX_HEADERS) as usize];
    reader.read_exact_at(&mut headers, 0).map_err(|source| PeError::Read { offset: 0, source })?;
    Ok(headers)
}

/// Compares the whole file with the checksum in its headers. One of 0 says that none was made.
///
/// # Errors
/// [`PeError::Checksum`], [`PeError::Read`], [`PeError::Headers`].
pub fn verify_checksum(reader: &dyn ReadAt) -> Result<(), PeError> {
    const PIECE: usize = 1 << 20;
    let headers = headers(reader)?;
    let mut offset = ImageDosHeader::parse(headers.as_slice())?.nt_headers_offset().into();
    // The signature and the file header (24 bytes) come first; CheckSum is at 64 of the optional header.
    let field = offset + 24 + 64;
    let (nt, _) = ImageNtHeaders64::parse(headers.as_slice(), &mut offset)?;
    let stored = nt.optional_header.check_sum.get(LE);
    if stored == 0 {
        return Ok(());
    }
    let mut checksum = Checksum::default();
    let mut piece = vec![0; PIECE];
    for position in (0..reader.size()).step_by(PIECE) {
        let piece = &mut piece[..(reader.size() - position).min(PIECE as u64) as usize];
        reader.read_exact_at(piece, position).map_err(|source| PeError::Read { offset: position, source })?;
        if position == 0 {
            piece[field as usize..][..4].fill(0);
        }
        checksum.take_in(piece);
    }
    let computed = checksum.finish();
    if stored == computed { Ok(()) } else { Err(PeError::Checksum { stored, computed }) }
}

/// Lists a PE file's sections in the order of their table.
///
/// # Errors
/// See [`PeError`].
pub fn sections(reader: &dyn ReadAt) -> Result<Vec<PeSection>, PeError> {
    let file_size = reader.size();
    let headers = headers(reader)?;
    let data = headers.as_slice();
    let mut offset = ImageDosHeader::parse(data)?.nt_headers_offset().into();
    let (nt, _) = ImageNtHeaders64::parse(data, &mut offset)?;
    let table = nt.sections(data, offset)?;
    if table.len() > MAX_SECTIONS {
        return Err(PeError::TooManySections { count: table.len() });
    }
    table
        .iter()
        .map(|header| {
            let name = header.name.split(|byte| *byte == 0).next().unwrap_or_default();
            let raw_size = header.size_of_raw_data.get(LE);
            let section = PeSection {
                name: name.escape_ascii().to_string(),
                offset: header.pointer_to_raw_data.get(LE).into(),
                size: raw_size.min(header.virtual_size.get(LE)).into(),
                virtual_address: header.virtual_address.get(LE),
                virtual_size: header.virtual_size.get(LE),
            };
            if section.offset + u64::from(raw_size) > file_size {
                let PeSection { name, offset, .. } = section;
                return Err(PeError::Bounds { name, offset, size: raw_size.into(), file_size });
            }
            Ok(section)
        })
        .collect()
}

/// The content of a section of up to `limit` bytes.
///
/// # Errors
/// [`PeError::TooLarge`], [`PeError::Read`].
pub fn section_bytes(reader: &dyn ReadAt, section: &PeSection, limit: u64) -> Result<Vec<u8>, PeError> {
    let PeSection { name, offset, size, .. } = section;
    if *size > limit {
        return Err(PeError::TooLarge { name: name.clone(), size: *size, limit });
    }
    let mut bytes = vec![0; *size as usize];
    reader.read_exact_at(&mut bytes, *offset).map_err(|source| PeError::Read { offset: *offset, source })?;
    Ok(bytes)
}
