//! Appending sections to a stub.

use std::io::{self, Write};
use std::ops::Range;

use object::LittleEndian as LE;
use object::pe::{
    IMAGE_DIRECTORY_ENTRY_SECURITY, IMAGE_SCN_CNT_INITIALIZED_DATA, IMAGE_SCN_MEM_READ, ImageDosHeader,
    ImageNtHeaders64, ImageSectionHeader,
};
use object::pod::{bytes_of, from_bytes, from_bytes_mut, slice_from_bytes};
use object::read::pe::ImageNtHeaders;

use super::checksum::Checksum;
use crate::tree::Content;

/// Sections are loaded at multiples of a page, whatever the stub's own are aligned to.
const PAGE: u64 = 4096;
const SECTION_HEADER: usize = size_of::<ImageSectionHeader>();
const COPY_SIZE: usize = 1 << 20;

/// Why there is no UKI.
#[derive(Debug, thiserror::Error)]
pub enum UkiError {
    /// The stub is no 64-bit PE file.
    #[error("stub is no PE program: {0}")]
    Stub(#[from] object::read::Error),
    /// A field of the stub has a value that cannot be appended to.
    #[error("stub's {field} is {found:#x}")]
    StubField {
        /// The field as the PE specification names it.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// The section table has no place left before the first section's bytes.
    #[error("stub has room for {room} more sections but {wanted} are wanted")]
    NoRoom {
        /// Free places.
        room: usize,
        /// Sections to append.
        wanted: usize,
    },
    /// A name that is empty, longer than 8 bytes, or not plain ASCII.
    #[error("\"{}\" is no section name", .name.escape_default())]
    Name {
        /// The name.
        name: String,
    },
    /// The stub, or the list, has it already.
    #[error("section {name} is there twice")]
    Duplicate {
        /// Its name.
        name: String,
    },
    /// PE places and sizes have 32 bits.
    #[error("section {name} ends beyond 4 GiB")]
    TooLarge {
        /// Its name.
        name: String,
    },
    /// A section's content cannot be read.
    #[error("cannot read section {name}: {source}")]
    Read {
        /// Its name.
        name: String,
        /// Why not.
        source: io::Error,
    },
}

/// A UKI that is ready to be written.
#[derive(Debug)]
pub struct Uki {
    /// The stub with its headers changed, up to the first appended section.
    stub: Vec<u8>,
    sections: Vec<Appended>,
    size: u64,
}

#[derive(Debug)]
struct Appended {
    name: String,
    content: Content,
    /// Bytes in the file, content and zeros behind it.
    raw_size: u64,
}

impl Uki {
    /// Appends sections in this order: `.osrel`, `.uname`, `.cmdline`, `.initrd`, and `.linux`
    /// last, as ukify(1) does. Reads each content once for the checksum.
    ///
    /// # Errors
    /// See [`UkiError`].
    pub fn assemble(stub: &[u8], sections: &[(&str, Content)]) -> Result<Self, UkiError> {
        let old = Stub::parse(stub)?;
        if old.room < sections.len() {
            return Err(UkiError::NoRoom { room: old.room, wanted: sections.len() });
        }
        let mut names = old.names;
        let mut headers = Vec::new();
        let mut appended = Vec::new();
        let mut file_end = (stub.len() as u64).next_multiple_of(old.file_alignment);
        let (stub_size, mut memory_end, mut added) = (file_end, old.memory_end, 0);
        for (name, content) in sections {
            let name = (*name).to_owned();
            let fits = (1..=8).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
            let Some(raw_name) = fits.then(|| raw_name(&name)) else {
                return Err(UkiError::Name { name });
            };
            if names.contains(&raw_name) {
                return Err(UkiError::Duplicate { name });
            }
            names.push(raw_name);
            // The sums stay far from 64 bits, since every place and size is kept below 32.
            let size = u64::from(fit(content.len(), &name)?);
            let raw_size = size.next_multiple_of(old.file_alignment);
            let address = memory_end.next_multiple_of(PAGE.max(old.section_alignment));
            let mut header: ImageSectionHeader = *from_bytes(&[0; SECTION_HEADER]).map_err(malformed)?.0;
            header.name = raw_name;
            header.virtual_size.set(LE, size as u32);
            header.virtual_address.set(LE, fit(address, &name)?);
            header.size_of_raw_data.set(LE, fit(raw_size, &name)?);
            header.pointer_to_raw_data.set(LE, fit(file_end, &name)?);
            header.characteristics.set(LE, IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ);
            headers.extend_from_slice(bytes_of(&header));
            file_end += raw_size;
            memory_end = address + size;
            added += raw_size;
            fit(file_end.max(memory_end), &name)?;
            appended.push(Appended { name, content: content.clone(), raw_size });
        }

        let mut stub = stub.to_vec();
        stub.resize(stub_size as usize, 0);
        stub[old.free_headers.start..old.free_headers.start + headers.len()].copy_from_slice(&headers);
        let mut uki = Self { stub, sections: appended, size: file_end };
        let nt = uki.nt_headers(old.nt_offset)?;
        nt.file_header.number_of_sections.set(LE, old.section_count + sections.len() as u16);
        let optional = &mut nt.optional_header;
        let image_size = memory_end.next_multiple_of(old.section_alignment);
        optional.size_of_image.set(LE, fit(image_size, "table")?);
        let initialized = u64::from(optional.size_of_initialized_data.get(LE)) + added;
        optional.size_of_initialized_data.set(LE, fit(initialized, "table")?);
        optional.check_sum.set(LE, 0);
        let mut checksum = Checksum::default();
        uki.each_piece(|piece| {
            checksum.take_in(piece);
            Ok(())
        })?;
        uki.nt_headers(old.nt_offset)?.optional_header.check_sum.set(LE, checksum.finish());
        Ok(uki)
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`UkiError::Read`], which is also what a failed write is.
    pub fn write(&self, out: &mut dyn Write) -> Result<(), UkiError> {
        self.each_piece(|piece| out.write_all(piece))
    }

    fn nt_headers(&mut self, offset: usize) -> Result<&mut ImageNtHeaders64, UkiError> {
        let bytes = self.stub.get_mut(offset..).ok_or(()).map_err(malformed)?;
        Ok(from_bytes_mut(bytes).map_err(malformed)?.0)
    }

    /// The file in pieces; each but the last has an even length.
    fn each_piece(&self, mut visit: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), UkiError> {
        let failed = |name: &str| {
            let name = name.to_owned();
            move |source| UkiError::Read { name, source }
        };
        visit(&self.stub).map_err(failed("stub"))?;
        let mut buffer = vec![0; COPY_SIZE];
        for Appended { name, content, raw_size } in &self.sections {
            let source = content.open().map_err(failed(name))?;
            for start in (0..*raw_size).step_by(COPY_SIZE) {
                let piece = &mut buffer[..(raw_size - start).min(COPY_SIZE as u64) as usize];
                let filled = content.len().saturating_sub(start).min(piece.len() as u64) as usize;
                source.read_exact_at(&mut piece[..filled], start).map_err(failed(name))?;
                piece[filled..].fill(0);
                visit(piece).map_err(failed(name))?;
            }
        }
        Ok(())
    }
}

/// What appending needs to know of a stub.
struct Stub {
    nt_offset: usize,
    section_count: u16,
    file_alignment: u64,
    section_alignment: u64,
    names: Vec<[u8; 8]>,
    /// Where the table of sections has room.
    free_headers: Range<usize>,
    room: usize,
    /// Where its last section ends in memory.
    memory_end: u64,
}

impl Stub {
    fn parse(stub: &[u8]) -> Result<Self, UkiError> {
        let nt_offset = u64::from(ImageDosHeader::parse(stub)?.nt_headers_offset());
        let mut table = nt_offset;
        let (nt, directories) = ImageNtHeaders64::parse(stub, &mut table)?;
        let optional = &nt.optional_header;
        let section_count = nt.file_header.number_of_sections.get(LE);
        let table = usize::try_from(table).map_err(malformed)?;
        let after = stub.get(table..).ok_or(()).map_err(malformed)?;
        let (sections, _) =
            slice_from_bytes::<ImageSectionHeader>(after, section_count.into()).map_err(malformed)?;

        let (section_alignment, file_alignment) =
            (u64::from(optional.section_alignment.get(LE)), u64::from(optional.file_alignment.get(LE)));
        let certificate = directories
            .get(IMAGE_DIRECTORY_ENTRY_SECURITY)
            .map_or(0, |directory| u64::from(directory.virtual_address.get(LE)));
        let alignments = 2..=1 << 16;
        let fields = [
            (
                "Machine",
                nt.file_header.machine.get(LE).0.into(),
                nt.file_header.machine.get(LE) == object::pe::IMAGE_FILE_MACHINE_AMD64,
            ),
            (
                "SectionAlignment",
                section_alignment,
                section_alignment.is_power_of_two() && alignments.contains(&section_alignment),
            ),
            (
                "FileAlignment",
                file_alignment,
                file_alignment.is_power_of_two() && alignments.contains(&file_alignment),
            ),
            // A signature covers the whole file, and is the last thing in it.
            ("certificate table", certificate, certificate == 0),
        ];
        if let Some((field, found, _)) = fields.into_iter().find(|(_, _, good)| !good) {
            return Err(UkiError::StubField { field, found });
        }

        // What lies beyond the end would come to lie in what is appended.
        let padded = (stub.len() as u64).next_multiple_of(file_alignment);
        let ends = sections.iter().map(|section| {
            u64::from(section.pointer_to_raw_data.get(LE)) + u64::from(section.size_of_raw_data.get(LE))
        });
        if let Some(found) = ends.filter(|end| *end > padded).max() {
            return Err(UkiError::StubField { field: "section end", found });
        }
        let in_file =
            sections.iter().map(|section| section.pointer_to_raw_data.get(LE)).filter(|at| *at != 0);
        let headers_end = in_file.chain([optional.size_of_headers.get(LE)]).min().unwrap_or(0) as usize;
        let first_free = table + size_of_val(sections);
        let free = stub.get(first_free..headers_end).unwrap_or_default();
        // What is not zero behind the table is not ours to overwrite.
        let zeros = free.iter().position(|byte| *byte != 0).unwrap_or(free.len());
        let memory_ends = sections.iter().map(|section| {
            u64::from(section.virtual_address.get(LE))
                + u64::from(section.virtual_size.get(LE).max(section.size_of_raw_data.get(LE)))
        });
        Ok(Self {
            nt_offset: usize::try_from(nt_offset).map_err(malformed)?,
            section_count,
            file_alignment,
            section_alignment,
            names: sections.iter().map(|section| section.name).collect(),
            free_headers: first_free..first_free + zeros,
            room: zeros / SECTION_HEADER,
            memory_end: memory_ends.max().unwrap_or(0).max(optional.size_of_headers.get(LE).into()),
        })
    }
}

fn raw_name(name: &str) -> [u8; 8] {
    let mut raw = [0; 8];
    raw[..name.len()].copy_from_slice(name.as_bytes());
    raw
}

fn fit(value: u64, name: &str) -> Result<u32, UkiError> {
    u32::try_from(value).map_err(|_| UkiError::TooLarge { name: name.to_owned() })
}

/// A structure that lies beyond the stub's end.
fn malformed<E>(_: E) -> UkiError {
    UkiError::StubField { field: "section table beyond its end", found: 0 }
}
