//! The EFI system partition: a FAT32 volume, planned in memory and streamed once.
//!
//! Crate `hadris-fat` makes everything but the files' content: it writes zeros in their
//! place on a device that keeps only pages that are not zero. Where the content belongs is
//! then read off the finished allocation table by [`crate::fat`], and the content itself is
//! put in while the image streams out. So a partition of any size takes some hundred KiB.
//!
//! Every time stamp is 1980-01-01, the first that FAT knows.

mod pages;

use std::collections::BTreeSet;
use std::io;

use hadris_fat::format::{FatFormatOptions, FatTypeSelection, FatVolumeFormatter, OemName};
use hadris_fat::time::EpochTimeProvider;
use hadris_fat::{FatVolume, FatVolumeWriteExt};
use pages::{PAGE_SIZE, Pages};

use crate::fat::{Extent, Fat, FatError};
use crate::stream::ImageSink;
use crate::tree::Content;

/// What the volume does not take from its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the volume, a multiple of 4096.
    pub size: u64,
    /// Serial number.
    pub volume_id: u32,
    /// Label: at most 11 of `A-Z 0-9` and the signs that FAT allows.
    pub label: String,
    /// Sectors of 512 bytes before the partition on its disk.
    pub hidden_sectors: u32,
}

/// Why there is no volume.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// The size is no multiple of a page.
    #[error("ESP of {size} bytes is not a multiple of {PAGE_SIZE}")]
    Unaligned {
        /// The size.
        size: u64,
    },
    /// FAT32 needs at least 65,525 clusters.
    #[error("ESP of {size} bytes is outside of what FAT32 can be, 33 MiB to 128 GiB")]
    Size {
        /// The size.
        size: u64,
    },
    /// The label cannot be stored as it is.
    #[error("\"{label}\" is no FAT volume label (up to 11 of A-Z, 0-9 and some signs)")]
    Label {
        /// The label.
        label: String,
    },
    /// A path cannot be stored as it is.
    #[error("\"{path}\" is no path of FAT file names")]
    Path {
        /// The path.
        path: String,
    },
    /// Two files have the same path but for upper and lower case.
    #[error("ESP has two entries {path}")]
    Duplicate {
        /// The second one's path.
        path: String,
    },
    /// FAT stores sizes in 32 bits.
    #[error("{path} of {size} bytes is larger than a FAT file can be")]
    FileTooLarge {
        /// Its path.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// The files do not fit.
    #[error("ESP of {size} bytes is too small for files of {needed} bytes")]
    Full {
        /// Bytes of the volume.
        size: u64,
        /// Bytes of all files, without folders and rounding.
        needed: u64,
    },
    /// Crate hadris-fat refused.
    #[error("cannot make {what}: {source}")]
    Make {
        /// What was being made.
        what: String,
        /// Why not.
        source: hadris_fat::Error,
    },
    /// What was made cannot be read back.
    #[error("the ESP just made is not sound: {0}")]
    Unsound(#[from] FatError),
}

/// A volume that is ready to be written.
pub struct Esp {
    size: u64,
    pages: Pages,
    /// Content by its place, ascending.
    pieces: Vec<(Extent, Content)>,
}

impl Esp {
    /// Makes the volume of these files; folders are made where paths name them
    /// (`EFI/Linux/slipway_0.1.0+3.efi`). The order of the files is that on disk.
    ///
    /// # Errors
    /// See [`EspError`]. No content is read.
    pub fn plan(files: &[(String, Content)], options: &Options) -> Result<Self, EspError> {
        check_label(&options.label)?;
        for (path, content) in files {
            check_path(path)?;
            let size = content.len();
            if size > u64::from(u32::MAX) {
                return Err(EspError::FileTooLarge { path: path.clone(), size });
            }
        }
        let pages = make(files, options)?;
        let mut pieces = Vec::new();
        let fat = Fat::open(&pages)?;
        for (path, content) in files {
            let file = fat.open_file(&fat.find(path)?)?;
            pieces.extend(file.extents().iter().map(|extent| (*extent, content.clone())));
        }
        pieces.sort_by_key(|(extent, _)| extent.offset);
        Ok(Self { size: options.size, pages, pieces })
    }

    /// Bytes of the volume.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Streams the volume.
    ///
    /// # Errors
    /// A file's content cannot be read (or became shorter), or the sink refuses.
    pub fn write(&self, sink: &mut dyn ImageSink) -> io::Result<()> {
        let mut position = 0;
        let mut buffer = vec![0; 1 << 20];
        for (extent, content) in &self.pieces {
            self.pages.write(position, extent.offset, sink)?;
            let source = content.open()?;
            let length = extent.length.min(content.len() - extent.position);
            let mut done = 0;
            while done < length {
                let now = (length - done).min(buffer.len() as u64) as usize;
                source.read_exact_at(&mut buffer[..now], extent.position + done)?;
                sink.write(&buffer[..now])?;
                done += now as u64;
            }
            position = extent.offset + length;
        }
        self.pages.write(position, self.size, sink)
    }
}

/// The volume with zeros for content.
fn make(files: &[(String, Content)], options: &Options) -> Result<Pages, EspError> {
    let made = |what: &str| {
        let what = what.to_owned();
        move |source| EspError::Make { what, source }
    };
    let size = options.size;
    if !size.is_multiple_of(PAGE_SIZE as u64) {
        return Err(EspError::Unaligned { size });
    }
    let mut format = FatFormatOptions::new(size)
        .fat_type(FatTypeSelection::Fat32)
        .sectors_per_cluster(sectors_per_cluster(size)?)
        .hidden_sectors(options.hidden_sectors)
        .volume_id(options.volume_id)
        .volume_label(&options.label);
    format.oem_name = OemName::new("SLIPWAY");
    let mut pages = FatVolumeFormatter::format(Pages::new(size), format).map_err(made("ESP"))?.into_inner();
    let root = Fat::open(&pages)?.boot_sector().data_offset;
    set_label_times(&mut pages, root);
    // A volume is opened where its device stands.
    pages.rewind();

    let needed = files.iter().map(|(_, content)| content.len()).sum();
    let volume = FatVolume::builder(pages).time_provider(&EpochTimeProvider).open().map_err(made("ESP"))?;
    let mut folders = BTreeSet::new();
    for (path, content) in files {
        let failed = |source| match source {
            hadris_fat::Error::AlreadyExists => EspError::Duplicate { path: path.clone() },
            hadris_fat::Error::NoFreeSpace => EspError::Full { size, needed },
            source => EspError::Make { what: path.clone(), source },
        };
        let mut folder = volume.root_dir();
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut so_far = String::new();
        for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
            so_far.push('/');
            so_far.push_str(&parent.to_uppercase());
            folder = if folders.insert(so_far.clone()) {
                volume.create_dir(&folder, parent).map_err(failed)?
            } else {
                folder.open_dir(parent).map_err(failed)?
            };
        }
        let entry = volume.create_file(&folder, name).map_err(failed)?;
        let mut writer = volume.write_file(&entry).map_err(failed)?;
        let zeros = [0; 16 << 10];
        let mut left = content.len();
        while left > 0 {
            let now = left.min(zeros.len() as u64);
            writer.write(&zeros[..now as usize]).map_err(failed)?;
            left -= now;
        }
        writer.finish().map_err(failed)?;
    }
    volume.sync().map_err(made("ESP"))?;
    Ok(volume.into_inner())
}

/// The largest clusters, up to 4 KiB, of which FAT32's least number fits the volume: fewer
/// clusters would make firmware take it for FAT16.
fn sectors_per_cluster(size: u64) -> Result<u8, EspError> {
    const LEAST_CLUSTERS: u64 = 65_525;
    // hadris-fat reserves 32 sectors; each of two tables has 4 bytes a cluster.
    let clusters = |sectors: u64| (size / 512).saturating_sub(32 + 2) * 512 / (sectors * 512 + 8);
    let most = 128 << 30;
    [8, 4, 2, 1]
        .into_iter()
        .find(|sectors| clusters(u64::from(*sectors)) > LEAST_CLUSTERS + 16 && size <= most)
        .ok_or(EspError::Size { size })
}

/// hadris-fat 2.5.0 stamps the label, and only that, with the clock of the machine.
fn set_label_times(pages: &mut Pages, record: u64) {
    const JANUARY_1: [u8; 2] = [0x21, 0x00];
    // DIR_CrtTimeTenth, CrtTime, CrtDate, LstAccDate, then WrtTime, WrtDate.
    pages.put(record + 13, &[0, 0, 0]);
    pages.put(record + 16, &JANUARY_1);
    pages.put(record + 18, &JANUARY_1);
    pages.put(record + 22, &[0, 0]);
    pages.put(record + 24, &JANUARY_1);
}

fn check_label(label: &str) -> Result<(), EspError> {
    let fits =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~ ".contains(&byte);
    let good = (1..=11).contains(&label.len()) && label.bytes().all(fits);
    // Blanks at either end are lost, and "NO NAME" means that there is none.
    if good && label.trim() == label && label != "NO NAME" {
        Ok(())
    } else {
        Err(EspError::Label { label: label.to_owned() })
    }
}

/// Names that mean themselves to every reader of FAT.
fn check_path(path: &str) -> Result<(), EspError> {
    let good = |name: &str| {
        !name.is_empty()
            && name.encode_utf16().count() <= 255
            && !name.ends_with(['.', ' '])
            && !name.starts_with(' ')
            && !name.contains(|sign: char| sign.is_control() || "\"*:<>?\\|".contains(sign))
    };
    if path.split('/').all(good) { Ok(()) } else { Err(EspError::Path { path: path.to_owned() }) }
}
