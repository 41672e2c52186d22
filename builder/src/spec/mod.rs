//! What an image is to be: the YAML file in, typed and placed.
//!
//! [`Spec::read`] decides everything that the text alone can tell and reports all problems
//! at once. What needs the world (a missing file, a package not locked, a root larger than
//! its slot) is found by the planner, which uses the [`Place`]s kept here.

mod path;
mod read;
mod version;

pub use path::image_path;
pub use version::Version;

use document::Place;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A whole specification. Field for field what `docs/FORMATS.md` lists under "Image specification".
#[derive(Debug, Clone)]
pub struct Spec {
    /// The file that it came from.
    pub file: PathBuf,
    /// Image name: `[a-z0-9][a-z0-9.-]*`.
    pub name: String,
    /// Image version.
    pub version: Version,
    /// Time of every file and file system in the image, seconds since 1970.
    pub epoch: i64,
    /// What makes it a machine's image; without it, there is a root and nothing to boot.
    pub boot: Option<Boot>,
    /// Words of the kernel command line, without the root hash, which the builder adds.
    pub command_line: Vec<String>,
    /// Modules that stage 1 loads, by name or alias.
    pub initramfs_modules: Vec<Placed<String>>,
    /// Modules laid into the root, by name or alias.
    pub root_modules: Vec<Placed<String>>,
    /// The program of the initramfs.
    pub init: Placed<Source>,
    /// Packages unpacked into the root.
    pub packages: Vec<Package>,
    /// Whether and how the packages' dependencies follow.
    pub dependencies: Option<Dependencies>,
    /// Roots of other specs, laid below a folder of this one.
    pub images: Vec<ImageSource>,
    /// Folders of the host laid into the root.
    pub trees: Vec<TreeSource>,
    /// Single files.
    pub files: Vec<FileSpec>,
    /// Directories with their own mode or owner.
    pub directories: Vec<DirectorySpec>,
    /// Symbolic and hard links.
    pub links: Vec<LinkSpec>,
    /// Groups added to `/etc/group`.
    pub groups: Vec<GroupSpec>,
    /// Users added to `/etc/passwd`.
    pub users: Vec<UserSpec>,
    /// Units laid into `/usr/lib/systemd/system`.
    pub units: Vec<UnitSpec>,
    /// Partition sizes.
    pub sizes: Sizes,
    /// What is written beside the manifest and the SBOM.
    pub outputs: Vec<Output>,
    /// Default user-data of the image.
    pub user_data: Option<Placed<Source>>,
}

/// A value with the place where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// Where.
    pub place: Place,
    /// What.
    pub value: T,
}

/// Bytes that the spec points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path; relative ones start at the spec's folder.
    Path(PathBuf),
    /// `@NAME`: a program installed beside the `slipway` program.
    Program(String),
    /// Written in the spec itself.
    Inline(String),
    /// The files of earlier layers that match this pattern, one behind the other by their paths; the result
    /// stands in their place.
    Joined(String),
}

/// What a machine starts from.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Where the kernel and its modules come from.
    pub kernel: KernelInput,
    /// Where the boot loader and the stub come from.
    pub loader: BootLoader,
}

/// Packages that those of the spec depend on.
#[derive(Debug, Clone, Default)]
pub struct Dependencies {
    /// Names of packages that do not follow.
    pub without: Vec<String>,
    /// Paths that match one of these patterns are left out, of what follows and of the spec's own packages.
    pub exclude: Vec<String>,
}

/// The root of another spec, which has no kernel.
#[derive(Debug, Clone)]
pub struct ImageSource {
    /// Where it stands in the spec.
    pub place: Place,
    /// The other spec's file.
    pub spec: PathBuf,
    /// Where its root goes.
    pub path: Vec<u8>,
}

/// The kernel.
#[derive(Debug, Clone)]
pub enum KernelInput {
    /// A Debian package, or a meta-package that depends on one.
    Package(Placed<String>),
    /// Files of the host.
    Paths {
        /// A bzImage.
        image: Placed<PathBuf>,
        /// The folder `…/lib/modules/RELEASE`; its last part is the kernel's release.
        modules: Placed<PathBuf>,
    },
}

/// systemd-boot and its stub.
#[derive(Debug, Clone)]
pub struct BootLoader {
    /// Where the two come from.
    pub input: LoaderInput,
    /// Seconds that the menu is shown.
    pub timeout_s: u32,
    /// Boot attempts of a fully armed entry (UAPI.1 boot counting).
    pub tries: u32,
}

/// Where the boot loader and the stub come from.
#[derive(Debug, Clone)]
pub enum LoaderInput {
    /// The Debian package `systemd-boot-efi` or one built like it.
    Package(Placed<String>),
    /// Files of the host.
    Paths {
        /// `systemd-bootx64.efi`.
        loader: Placed<PathBuf>,
        /// `linuxx64.efi.stub`.
        stub: Placed<PathBuf>,
    },
}

/// A package for the root.
#[derive(Debug, Clone)]
pub struct Package {
    /// Where it stands in the spec.
    pub place: Place,
    /// Its name in the archive, or a `.deb` file of the host.
    pub input: PackageInput,
    /// When not empty, only paths that match one of these patterns are unpacked.
    pub include: Vec<String>,
    /// Paths that match one of these patterns are left out.
    pub exclude: Vec<String>,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PackageInput {
    /// By name, from the host's package client.
    Name(String),
    /// A `.deb` file of the host.
    Path(PathBuf),
}

/// Owner and mode, when given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Option<u16>,
    /// User and group.
    pub owner: (u32, u32),
}

/// A folder of the host whose content is laid into the root. Files are 0755 when their
/// owner may execute them, else 0644; folders 0755; owner root: the host's other bits do not count.
#[derive(Debug, Clone)]
pub struct TreeSource {
    /// Where it stands in the spec.
    pub place: Place,
    /// The folder.
    pub source: PathBuf,
    /// Where it goes.
    pub path: Vec<u8>,
}

/// A file.
#[derive(Debug, Clone)]
pub struct FileSpec {
    /// Where it stands in the spec.
    pub place: Place,
    /// Path in the root.
    pub path: Vec<u8>,
    /// Its bytes.
    pub source: Source,
    /// Owner and mode; 0644, or 0755 for an executable source.
    pub attributes: Attributes,
    /// Extended attributes; `security.capability` is made from `capabilities`.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A directory.
#[derive(Debug, Clone)]
pub struct DirectorySpec {
    /// Where it stands in the spec.
    pub place: Place,
    /// Path in the root.
    pub path: Vec<u8>,
    /// Owner and mode; 0755.
    pub attributes: Attributes,
}

/// A link.
#[derive(Debug, Clone)]
pub struct LinkSpec {
    /// Where it stands in the spec.
    pub place: Place,
    /// Path in the root.
    pub path: Vec<u8>,
    /// What a symbolic link says, or the path of a hard link's other name.
    pub target: Vec<u8>,
    /// Whether it is a hard link.
    pub hard: bool,
}

/// A group.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// Where it stands in the spec.
    pub place: Place,
    /// Name.
    pub name: String,
    /// Number.
    pub gid: u32,
}

/// A user. Its password is locked: a key or a password comes with user-data only.
#[derive(Debug, Clone)]
pub struct UserSpec {
    /// Where it stands in the spec.
    pub place: Place,
    /// Name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Primary group's number.
    pub gid: u32,
    /// Comment field.
    pub gecos: String,
    /// Home folder.
    pub home: String,
    /// Shell.
    pub shell: String,
    /// Names of further groups.
    pub groups: Vec<String>,
}

/// A unit.
#[derive(Debug, Clone)]
pub struct UnitSpec {
    /// Where it stands in the spec.
    pub place: Place,
    /// File name with its suffix.
    pub name: String,
    /// Its text; none when it only enables, masks or extends a unit that is there.
    pub source: Option<Source>,
    /// Whether the targets of its `[Install]` section want it.
    pub enable: bool,
    /// Whether it is masked.
    pub mask: bool,
    /// Drop-ins: file name and text.
    pub drop_ins: Vec<(String, Source)>,
}

/// Partition sizes in bytes, multiples of 1 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// EFI system partition.
    pub esp: u64,
    /// Each of the two slots.
    pub slot: u64,
    /// STATE as it is in the image file; it grows at first boot.
    pub state: u64,
    /// Where the slot's size was written.
    pub slot_place: Place,
    /// Where the ESP's size was written.
    pub esp_place: Place,
}

/// A form of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Output {
    /// The disk, sparse.
    Raw,
    /// The disk as qcow2 with compressed clusters.
    Qcow2,
    /// The disk compressed with zstd.
    RawZst,
    /// The disk compressed with xz.
    RawXz,
    /// The root alone, as a tar archive compressed with zstd.
    TarZst,
}

impl Output {
    /// Every form with its suffix.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Raw, "raw"),
        (Self::Qcow2, "qcow2"),
        (Self::RawZst, "raw.zst"),
        (Self::RawXz, "raw.xz"),
        (Self::TarZst, "tar.zst"),
    ];

    /// The suffix of its file name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::RawZst => "raw.zst",
            Self::RawXz => "raw.xz",
            Self::TarZst => "tar.zst",
        }
    }
}
