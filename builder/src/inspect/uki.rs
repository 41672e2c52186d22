//! The sections of one boot entry's UKI.

use super::error::{InspectError, Place, UkiProblem};
use super::image::MAX_TEXT;
use formats::read_at::ReadAt;
use formats::uki::{PeError, PeSection, section_bytes, sections, verify_checksum};
use formats::verity::{Digest32, digest_from_hex};
use formats::window::Window;
use std::io;

/// A UKI, its section table read.
pub(super) struct Uki<'a> {
    reader: &'a dyn ReadAt,
    place: &'a Place,
    entry: &'a str,
    sections: Vec<PeSection>,
}

impl<'a> Uki<'a> {
    /// Reads the section table; `place` and `entry` are for messages.
    pub(super) fn open(
        reader: &'a dyn ReadAt,
        place: &'a Place,
        entry: &'a str,
    ) -> Result<Self, InspectError> {
        let sections = sections(reader).map_err(|source| InspectError::Pe {
            place: place.clone(),
            entry: entry.to_owned(),
            source,
        })?;
        let this = Self { reader, place, entry, sections };
        // The stub would take one of two; which one is not ours to guess.
        let mut names = this.sections.iter().map(|section| section.name.as_str()).collect::<Vec<_>>();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(this.problem(UkiProblem::Duplicate(pair[0].to_owned()))),
            None => Ok(this),
        }
    }

    /// All sections, the stub's own as well, in the order of the table.
    pub(super) fn sections(&self) -> &[PeSection] {
        &self.sections
    }

    /// The bytes of a section of up to `limit`.
    pub(super) fn bytes(&self, name: &'static str, limit: u64) -> Result<Vec<u8>, InspectError> {
        let section = self.find(name)?;
        section_bytes(self.reader, section, limit).map_err(|source| self.pe(source))
    }

    /// A section of text, without the line ends and NUL bytes behind it.
    pub(super) fn text(&self, name: &'static str) -> Result<String, InspectError> {
        let offset = self.find(name)?.offset;
        let bytes = self.bytes(name, MAX_TEXT)?;
        let text =
            String::from_utf8(bytes).map_err(|_| self.problem(UkiProblem::NotUtf8 { name, offset }))?;
        Ok(text.trim_end_matches(['\n', '\0']).to_owned())
    }

    /// The root hash that the command line carries.
    pub(super) fn root_hash(&self) -> Result<Digest32, InspectError> {
        let command_line = self.text(".cmdline")?;
        // As stage 1 takes it: the last one counts.
        let hex = command_line.split_whitespace().rev().find_map(|word| word.strip_prefix("roothash="));
        let hex = hex.ok_or_else(|| self.problem(UkiProblem::NoRootHash))?;
        digest_from_hex(hex).ok_or_else(|| self.problem(UkiProblem::BadRootHash(hex.to_owned())))
    }

    /// A section's bytes, for comparing.
    pub(super) fn window(&self, section: &PeSection) -> Window<&'a dyn ReadAt> {
        Window::new(self.reader, section.offset, section.size)
    }

    /// Whether there is a section; its absence is the error.
    pub(super) fn has(&self, name: &'static str) -> Result<(), InspectError> {
        self.find(name).map(|_| ())
    }

    /// Compares the file with its checksum.
    pub(super) fn verify_checksum(&self) -> Result<(), InspectError> {
        verify_checksum(self.reader).map_err(|source| self.pe(source))
    }

    /// A failure to read its bytes.
    pub(super) fn unreadable(&self, offset: u64, source: io::Error) -> InspectError {
        self.pe(PeError::Read { offset, source })
    }

    fn find(&self, name: &'static str) -> Result<&PeSection, InspectError> {
        let found = self.sections.iter().find(|section| section.name == name);
        found.ok_or_else(|| self.problem(UkiProblem::NoSection(name)))
    }

    fn pe(&self, source: PeError) -> InspectError {
        InspectError::Pe { place: self.place.clone(), entry: self.entry.to_owned(), source }
    }

    fn problem(&self, problem: UkiProblem) -> InspectError {
        InspectError::Uki { place: self.place.clone(), entry: self.entry.to_owned(), problem }
    }
}
