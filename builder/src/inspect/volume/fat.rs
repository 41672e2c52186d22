//! The EFI system partition's FAT32.

use super::super::error::{InspectError, Place};
use super::super::image::PartitionReader;
use super::{Kind, Node, join};
use formats::fat::{DirEntry, Fat, FatError};
use formats::read_at::ReadAt;
use std::io::{self, Read};

/// An open FAT32 volume.
pub(in super::super) struct FatVolume {
    place: Place,
    reader: PartitionReader,
}

impl FatVolume {
    pub(super) fn open(reader: PartitionReader, place: Place) -> Result<Self, InspectError> {
        let volume = Self { place, reader };
        volume.fat().map(|_| ()).map_err(|source| volume.failed(source))?;
        Ok(volume)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn size(&self) -> u64 {
        self.reader.size()
    }

    pub(super) fn root() -> Node {
        // Its cluster is asked for when it is listed; cluster 0 is nobody's.
        Node { path: Vec::new(), kind: Kind::Directory, size: 0, unix: None, cluster: 0 }
    }

    pub(super) fn list(&self, directory: &Node) -> Result<Vec<Node>, InspectError> {
        let entries = self.entries(directory).map_err(|source| self.failed(source))?;
        Ok(entries.iter().map(|entry| node(directory, entry)).collect())
    }

    /// Case does not matter to FAT.
    pub(super) fn find(&self, directory: &Node, name: &[u8]) -> Result<Option<Node>, InspectError> {
        let wanted = String::from_utf8_lossy(name).to_lowercase();
        let entries = self.entries(directory).map_err(|source| self.failed(source))?;
        let found = entries.iter().find(|entry| entry.name.to_lowercase() == wanted);
        Ok(found.map(|entry| node(directory, entry)))
    }

    pub(super) fn open_file(&self, file: &Node) -> Result<Box<dyn Read + '_>, InspectError> {
        let open = || self.fat()?.open_file(&entry(file));
        let content = open().map_err(|source| self.failed(source))?;
        Ok(Box::new(FileContent { content, position: 0 }))
    }

    fn entries(&self, directory: &Node) -> Result<Vec<DirEntry>, FatError> {
        let fat = self.fat()?;
        if directory.path.is_empty() { fat.root() } else { fat.list(&entry(directory)) }
    }

    fn fat(&self) -> Result<Fat<'_>, FatError> {
        Fat::open(&self.reader)
    }

    fn failed(&self, source: FatError) -> InspectError {
        InspectError::Fat { place: self.place.clone(), source }
    }
}

fn node(directory: &Node, entry: &DirEntry) -> Node {
    Node {
        path: join(&directory.path, entry.name.as_bytes()),
        kind: if entry.is_directory { Kind::Directory } else { Kind::File },
        size: entry.size.into(),
        unix: None,
        cluster: entry.first_cluster,
    }
}

fn entry(node: &Node) -> DirEntry {
    DirEntry {
        name: String::from_utf8_lossy(&node.path).into_owned(),
        is_directory: node.kind == Kind::Directory,
        attributes: 0,
        size: node.size as u32,
        first_cluster: node.cluster,
    }
}

struct FileContent<'a> {
    content: formats::fat::FatFile<'a>,
    position: u64,
}

impl Read for FileContent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.content.size().saturating_sub(self.position);
        let count = left.min(buffer.len() as u64) as usize;
        self.content.read_exact_at(&mut buffer[..count], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
