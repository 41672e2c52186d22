//! What the targets share: a place for trees, and a disk that a small input describes, holes included.
//!
//! A partition table has its second copy at the end of the disk, and a FAT32 volume has at least
//! 33 MiB. As plain bytes such images are too large to mutate, so the targets of disk formats
//! take a list of pieces instead; `examples/seeds.rs` makes those of good images.

mod place;

pub use place::Place;

use formats::read_at::ReadAt;
use std::io;

/// Bytes before a piece: where it is, and how long it is.
const PIECE_HEAD: usize = 12;
/// Zeros in a row that end a piece.
const HOLE: usize = 64;

/// A disk of any size whose bytes are zero except for some pieces.
#[derive(Clone)]
pub struct Disk {
    size: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Disk {
    /// Takes an input apart: the disk's size (8 bytes), then pieces, each its offset (8), its
    /// length (4) and its bytes; all little-endian. The last piece may be cut short.
    pub fn from_input(input: &[u8]) -> Option<Self> {
        let (size, mut rest) = input.split_first_chunk::<8>()?;
        let mut disk = Self { size: u64::from_le_bytes(*size), pieces: Vec::new() };
        while let Some((head, after)) = rest.split_first_chunk::<PIECE_HEAD>() {
            let offset = u64::from_le_bytes(*head.first_chunk()?);
            let length = u32::from_le_bytes(*head.last_chunk()?);
            let (bytes, after) = after.split_at(after.len().min(length as usize));
            disk.pieces.push((offset, bytes.to_vec()));
            rest = after;
        }
        Some(disk)
    }

    /// The input that describes an image.
    pub fn to_input(image: &[u8]) -> Vec<u8> {
        let mut input = (image.len() as u64).to_le_bytes().to_vec();
        let mut position = 0;
        while let Some(start) = image[position..].iter().position(|byte| *byte != 0).map(|at| position + at) {
            let mut end = start;
            let mut zeros = 0;
            for (at, byte) in image.iter().enumerate().skip(start) {
                zeros = if *byte == 0 { zeros + 1 } else { 0 };
                if zeros == HOLE {
                    break;
                }
                if *byte != 0 {
                    end = at + 1;
                }
            }
            input.extend((start as u64).to_le_bytes());
            input.extend(((end - start) as u32).to_le_bytes());
            input.extend(&image[start..end]);
            position = end;
        }
        input
    }

    /// Puts bytes over what is there, such as a checksum that fits.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) {
        self.pieces.push((offset, bytes.to_vec()));
    }
}

impl ReadAt for Disk {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.fill(0);
        for (start, bytes) in &self.pieces {
            let from = offset.max(*start);
            let to = end.min(start.saturating_add(bytes.len() as u64));
            if from < to {
                let piece = &bytes[(from - start) as usize..(to - start) as usize];
                buffer[(from - offset) as usize..][..piece.len()].copy_from_slice(piece);
            }
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.size
    }
}
