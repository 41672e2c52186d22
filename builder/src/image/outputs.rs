//! The image in its compressed forms.

use super::sink::Interrupt;
use super::sparse::SparseReader;
use crate::progress::Stage;
use std::fs::File;
use std::io::{self, Read, Write};
use zstd::zstd_safe::CParameter;

/// Bytes given to a compressor at once.
const CHUNK: usize = 1 << 20;
/// zstd's level: past it, a build waits longer than the bytes are worth.
const ZSTD_LEVEL: i32 = 9;
const XZ_LEVEL: u32 = 6;
/// Bytes that a worker compresses at once. zstd's own choice is twice that, and 45 MiB more memory.
const ZSTD_JOB: u32 = 8 << 20;
/// Workers that compress side by side. The bytes do not depend on it, as long as it is not zero.
const WORKERS: u32 = 2;

fn copy(raw: &File, mut out: impl Write, stage: &Stage, interrupt: &Interrupt) -> io::Result<()> {
    let mut raw = SparseReader::new(raw)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        interrupt.check()?;
        let count = raw.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..count])?;
        stage.advance(count as u64);
    }
}

/// An encoder whose bytes depend on its input alone; `length` goes into its header.
pub(super) fn zstd_encoder(out: &File, length: Option<u64>) -> io::Result<zstd::Encoder<'static, &File>> {
    let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(length)?;
    encoder.multithread(WORKERS)?;
    encoder.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
    Ok(encoder)
}

/// Compresses `raw` with zstd.
///
/// # Errors
/// Reading, writing, or the build was interrupted.
pub fn zst(raw: &File, out: &File, stage: &Stage, interrupt: &Interrupt) -> io::Result<()> {
    let length = raw.metadata()?.len();
    let mut encoder = zstd_encoder(out, Some(length))?;
    copy(raw, &mut encoder, stage, interrupt)?;
    encoder.finish().map(drop)
}

/// Compresses `raw` with xz. The block size is fixed, so that the
/// bytes do not depend on how many threads there are.
///
/// # Errors
/// Reading, writing, or the build was interrupted.
pub fn xz(raw: &File, out: &File, stage: &Stage, interrupt: &Interrupt) -> io::Result<()> {
    let stream = xz2::stream::MtStreamBuilder::new()
        .preset(XZ_LEVEL)
        .threads(WORKERS)
        .block_size(24 << 20)
        .check(xz2::stream::Check::Crc64)
        .encoder()
        .map_err(io::Error::other)?;
    let mut encoder = xz2::write::XzEncoder::new_stream(out, stream);
    copy(raw, &mut encoder, stage, interrupt)?;
    encoder.finish().map(drop)
}
