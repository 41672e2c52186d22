//! The stream: header blocks, what extends them, and content.

use super::header::{BLOCK, Header};
use super::pax::{self, Pax};
use super::{Entry, Kind, MAX_EXTENSION, MAX_PIECES, Problem, TarError, sparse};
use std::io::{self, BufRead};

/// Reads entries in the order of the archive.
pub struct Reader<R> {
    input: R,
    /// Bytes taken from `input`.
    position: u64,
    /// Most bytes that are taken.
    limit: u64,
    /// Bytes of content not yet taken, and of padding behind them.
    content: u64,
    padding: u64,
    /// Of the header last read.
    offset: u64,
    global: Pax,
}

impl<R: BufRead> Reader<R> {
    /// Reads an archive without compression, of at most `limit` bytes.
    pub fn new(input: R, limit: u64) -> Self {
        Self { input, position: 0, limit, content: 0, padding: 0, offset: 0, global: Pax::default() }
    }

    /// The input, wherever it is by now.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// Bytes of content that the archive holds for the entry last given and that were not read yet.
    pub fn remaining(&self) -> u64 {
        self.content
    }

    /// The first byte of content of the entry last given, in the archive without its compression.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next entry; what is left of the content of the last one is passed over.
    ///
    /// # Errors
    /// The archive is malformed, or the stream breaks.
    pub fn entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.next_entry().map_err(|problem| TarError { offset: self.offset, problem })
    }

    /// Takes up to `length` bytes of the entry's content in one piece as the stream has them, and
    /// gives them to `take`.
    ///
    /// # Errors
    /// The stream breaks or ends.
    pub fn content(&mut self, length: u64) -> Result<Piece<'_, R>, TarError> {
        let wanted = length.min(self.content);
        let offset = self.offset;
        let count = self.available(wanted).map_err(|problem| TarError { offset, problem })?;
        Ok(Piece { reader: self, count })
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, Problem> {
        self.skip(self.content)?;
        self.skip(self.padding)?;
        (self.content, self.padding) = (0, 0);
        let mut pax = self.global.clone();
        let (mut long_path, mut long_link) = (None, None);
        loop {
            self.offset = self.position;
            let Some(block) = self.block()? else { return Ok(None) };
            // A block of zeros ends the archive.
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let header = Header::new(&block)?;
            match header.type_flag() {
                b'x' | b'X' => pax.read(&self.extension(header.size()?)?)?,
                b'g' => {
                    let bytes = self.extension(header.size()?)?;
                    let mut all = Pax::default();
                    all.read(&bytes)?;
                    // A name or a size of all entries makes no sense.
                    self.global = Pax { uid: all.uid, gid: all.gid, mtime: all.mtime, ..Pax::default() };
                    pax.uid = pax.uid.or(all.uid);
                    pax.gid = pax.gid.or(all.gid);
                    pax.mtime = pax.mtime.or(all.mtime);
                }
                b'L' => long_path = Some(without_nul(self.extension(header.size()?)?)),
                b'K' => long_link = Some(without_nul(self.extension(header.size()?)?)),
                // A volume's label.
                b'V' => {
                    let _ = self.extension(header.size()?)?;
                }
                _ => {
                    // An extended header says more than a long name.
                    let path = pax.path.take().or(long_path).unwrap_or_else(|| header.path());
                    let link = pax.link.take().or(long_link).unwrap_or_else(|| header.link());
                    return self.member(&header, pax, path, link).map(Some);
                }
            }
        }
    }

    fn member(
        &mut self,
        header: &Header<'_>,
        mut pax: Pax,
        mut path: Vec<u8>,
        link: Vec<u8>,
    ) -> Result<Entry, Problem> {
        let flag = header.type_flag();
        let mut data = match pax.size {
            Some(size) => size,
            None => header.size()?,
        };
        let kind = match flag {
            // Before POSIX, a directory was a file whose name ends in a slash.
            0 | b'0' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink(link),
            b'2' => Kind::Symlink(link),
            b'3' => header.device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
            b'4' => header.device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
            // `D` is GNU's, with a list of names as its content.
            b'5' | b'D' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(Problem::Type(other)),
        };
        // Only these have content; of the others GNU tar and Go's archive/tar ignore the size.
        if matches!(kind, Kind::Symlink(_) | Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo)
            || (kind == Kind::Directory && flag == b'5')
        {
            data = 0;
        }
        let mut size = data;
        let mut pieces = None;
        self.padding = (BLOCK as u64 - data % BLOCK as u64) % BLOCK as u64;
        if flag == b'S' {
            let (mut found, real, mut more) = sparse::gnu_header(header)?;
            while more {
                let block = self.block()?.ok_or(Problem::Truncated)?;
                more = sparse::gnu_extension(&block, &mut found)?;
            }
            (size, pieces) = (real, Some(found));
        } else if pax.sparse.any && kind == Kind::File {
            if let Some(name) = pax.sparse.name.take() {
                path = name;
            }
            size = pax.sparse.real_size.ok_or(Problem::Sparse)?;
            let found = match pax.sparse.major {
                None | Some(0) => sparse::pairs(&pax.sparse.map)?,
                Some(1) => {
                    let (found, taken) = self.sparse_map()?;
                    data = data.checked_sub(taken).ok_or(Problem::Sparse)?;
                    found
                }
                Some(_) => return Err(Problem::Sparse),
            };
            pieces = Some(found);
        }
        if let Some(pieces) = &pieces {
            sparse::check(pieces, size, data)?;
        }
        self.content = data;
        Ok(Entry {
            path,
            kind,
            mode: header.mode()?,
            uid: pax.uid.map_or_else(|| header.id(108..116, "uid"), Ok)?,
            gid: pax.gid.map_or_else(|| header.id(116..124, "gid"), Ok)?,
            mtime: pax.mtime.map_or_else(|| header.mtime().map(|seconds| (seconds, 0)), Ok)?,
            xattrs: pax.xattrs,
            size,
            pieces,
        })
    }

    /// Version 1.0: decimal numbers, one a line, padded to a block; gives the bytes taken too.
    fn sparse_map(&mut self) -> Result<(sparse::Pieces, u64), Problem> {
        let mut numbers = Vec::new();
        let mut digits = Vec::new();
        let mut wanted = None;
        let mut taken = 0;
        loop {
            let block = self.block()?.ok_or(Problem::Truncated)?;
            taken += BLOCK as u64;
            for byte in block {
                if wanted == Some(numbers.len()) {
                    return Ok((sparse::pairs(&numbers)?, taken));
                }
                match byte {
                    b'\n' => {
                        let number = pax::decimal(&digits).ok_or(Problem::Sparse)?;
                        digits.clear();
                        if wanted.is_some() {
                            numbers.push(number);
                        } else {
                            let count = usize::try_from(number).ok().filter(|count| *count <= MAX_PIECES);
                            wanted = Some(2 * count.ok_or(Problem::Sparse)?);
                        }
                    }
                    digit if digits.len() < 20 => digits.push(digit),
                    _ => return Err(Problem::Sparse),
                }
            }
            if wanted == Some(numbers.len()) {
                return Ok((sparse::pairs(&numbers)?, taken));
            }
        }
    }

    /// The content of an extended header, with its padding.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Problem> {
        if size > MAX_EXTENSION {
            return Err(Problem::ExtensionSize(size));
        }
        let mut bytes = Vec::new();
        let padded = size.next_multiple_of(BLOCK as u64);
        while (bytes.len() as u64) < padded {
            let count = self.available(padded - bytes.len() as u64)?;
            bytes.extend_from_slice(&self.input.fill_buf().map_err(Problem::Io)?[..count]);
            self.consume(count);
        }
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    /// The next block; none where the stream ends between blocks.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Problem> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let count = match self.available((BLOCK - filled) as u64) {
                Err(Problem::Truncated) if filled == 0 => return Ok(None),
                count => count?,
            };
            block[filled..filled + count]
                .copy_from_slice(&self.input.fill_buf().map_err(Problem::Io)?[..count]);
            self.consume(count);
            filled += count;
        }
        Ok(Some(block))
    }

    fn skip(&mut self, mut count: u64) -> Result<(), Problem> {
        while count > 0 {
            let some = self.available(count)?;
            self.consume(some);
            count -= some as u64;
        }
        Ok(())
    }

    /// How many of the wanted bytes the stream has at hand: 0 only if none are wanted.
    fn available(&mut self, wanted: u64) -> Result<usize, Problem> {
        if wanted == 0 {
            return Ok(0);
        }
        if self.position >= self.limit {
            return Err(Problem::StreamLimit(self.limit));
        }
        let length = loop {
            match self.input.fill_buf() {
                Ok(bytes) => break bytes.len(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Problem::Io(error)),
            }
        };
        if length == 0 { Err(Problem::Truncated) } else { Ok(wanted.min(length as u64) as usize) }
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.position += count as u64;
    }
}

/// Some of an entry's content; dropped, it is taken from the stream.
pub struct Piece<'r, R: BufRead> {
    reader: &'r mut Reader<R>,
    count: usize,
}

impl<R: BufRead> Piece<'_, R> {
    /// The bytes; none at the content's end.
    ///
    /// # Errors
    /// The stream breaks; it has these bytes at hand, so that does not happen.
    pub fn bytes(&mut self) -> io::Result<&[u8]> {
        if self.count == 0 {
            return Ok(&[]);
        }
        Ok(&self.reader.input.fill_buf()?[..self.count])
    }
}

impl<R: BufRead> Drop for Piece<'_, R> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.reader.consume(self.count);
            self.reader.content -= self.count as u64;
        }
    }
}

fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}
