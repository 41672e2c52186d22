//! Where a sparse file's data belongs: GNU's old headers, and the map in front of the data.

use super::header::{BLOCK, Header};
use super::{MAX_PIECES, Problem};

/// Pairs in a GNU header, and in each block behind it that goes on with the list.
const IN_HEADER: usize = 4;
const IN_EXTENSION: usize = 21;

/// Offset and length of each piece of data.
pub(super) type Pieces = Vec<(u64, u64)>;

/// The pieces in the header, its real size, and whether a block with more follows.
pub(super) fn gnu_header(header: &Header<'_>) -> Result<(Pieces, u64, bool), Problem> {
    let mut pieces = Vec::new();
    gnu_pairs(header, 386, IN_HEADER, &mut pieces)?;
    Ok((pieces, header.number(483..495, "size")?, header.0[482] != 0))
}

/// As [`gnu_header`], of a block that goes on with the list.
pub(super) fn gnu_extension(block: &[u8; BLOCK], pieces: &mut Pieces) -> Result<bool, Problem> {
    gnu_pairs(&Header(block), 0, IN_EXTENSION, pieces)?;
    if pieces.len() > MAX_PIECES { Err(Problem::Sparse) } else { Ok(block[504] != 0) }
}

fn gnu_pairs(block: &Header<'_>, start: usize, count: usize, pieces: &mut Pieces) -> Result<(), Problem> {
    for at in (start..).step_by(24).take(count) {
        if block.0[at..at + 24].iter().all(|byte| *byte == 0) {
            break;
        }
        pieces.push((block.number(at..at + 12, "offset")?, block.number(at + 12..at + 24, "length")?));
    }
    Ok(())
}

/// Pieces must ascend, stay in the file, and have as many bytes as the archive holds for them.
pub(super) fn check(pieces: &[(u64, u64)], real_size: u64, data: u64) -> Result<(), Problem> {
    let mut end = 0_u64;
    let mut sum = 0_u64;
    for (offset, length) in pieces {
        if *offset < end {
            return Err(Problem::Sparse);
        }
        end = offset.checked_add(*length).ok_or(Problem::Sparse)?;
        sum = sum.checked_add(*length).ok_or(Problem::Sparse)?;
    }
    if end > real_size || sum != data { Err(Problem::Sparse) } else { Ok(()) }
}

/// Numbers in turn as pairs.
pub(super) fn pairs(numbers: &[u64]) -> Result<Pieces, Problem> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Problem::Sparse);
    }
    Ok(pairs.iter().map(|[offset, length]| (*offset, *length)).collect())
}
