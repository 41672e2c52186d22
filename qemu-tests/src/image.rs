//! The images: two versions of the test image, built once and again when something changed.

use formats::fat::Fat;
use formats::gpt::Gpt;
use formats::read_at::ReadAt;
use formats::uki;
use formats::window::Window;
use nix::fcntl::{Flock, FlockArg};
use slipway::machine::vmlinux;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version that [`Image::older`] has, which is what `image.yaml` says.
const OLD: &str = "0.1.0";
/// Bytes of a UKI's section at most.
const SECTION_MAX: u64 = 128 << 20;

/// An image file and what a start without firmware needs of it.
#[derive(Debug)]
pub struct Image {
    /// Its version.
    pub version: &'static str,
    /// The raw image. Not to be written to.
    pub raw: PathBuf,
    /// The UKI.
    pub uki: Vec<u8>,
    /// Root hash of its slot in hexadecimal.
    pub root_hash: String,
    /// The ELF kernel.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
}

impl Image {
    /// Version 0.1.0.
    pub fn older() -> Self {
        Self::build(OLD)
    }

    /// Version 0.2.0.
    pub fn newer() -> Self {
        Self::build("0.2.0")
    }

    /// The default image, which has more in its slot and skips nothing at its start.
    pub fn standard() -> Self {
        let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rootfs/image.yaml");
        Self::build_of(OLD, "standard", |_| spec)
    }

    /// Builds a version of the test image, unless it is there and nothing changed.
    fn build(version: &'static str) -> Self {
        Self::build_of(version, version, |folder| spec(version, folder))
    }

    fn build_of(version: &'static str, name: &str, spec: impl FnOnce(&Path) -> PathBuf) -> Self {
        let folder = work_folder().join(name);
        fs::create_dir_all(&folder).unwrap();
        // Several tests may want it at once.
        let lock = File::create(folder.join("lock")).unwrap();
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
        let spec = spec(&folder);
        let slipway = programs().join("slipway");
        assert!(slipway.is_file(), "no program {}: cargo build --release -p slipway", slipway.display());
        let built =
            Command::new(&slipway).args(["--quiet", "build"]).arg(&spec).arg("-o").arg(&folder).output();
        let built = built.unwrap_or_else(|error| panic!("{}: {error}", slipway.display()));
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Self::read(version, folder.join(format!("slipway-{version}.raw")), &folder)
    }

    fn read(version: &'static str, raw: PathBuf, folder: &Path) -> Self {
        let disk = File::open(&raw).unwrap();
        let gpt = Gpt::read(&disk).unwrap();
        let esp = gpt.by_label("ESP").unwrap();
        let uki = read_file(
            &Window::new(&disk, esp.offset, esp.size),
            &entry_path(&format!("slipway_{version}+3.efi")),
        );
        let sections = uki::sections(&uki).unwrap();
        let section = |name: &str| {
            let section = sections.iter().find(|section| section.name == name).unwrap();
            uki::section_bytes(&uki, section, SECTION_MAX).unwrap()
        };
        let command_line = String::from_utf8(section(".cmdline")).unwrap();
        let root_hash =
            command_line.split(' ').find_map(|word| word.strip_prefix("roothash=")).unwrap().to_owned();
        let kept = |name: &str, bytes: Vec<u8>| {
            let path = folder.join(name);
            if fs::read(&path).is_ok_and(|kept| kept == bytes) {
                return path;
            }
            fs::write(&path, bytes).unwrap();
            path
        };
        let kernel = kept("kernel", vmlinux(&section(".linux")).unwrap());
        let initrd = kept("initrd", section(".initrd"));
        Self { version, raw, uki, root_hash, kernel, initrd, command_line }
    }
}

/// The path of a boot entry on the ESP.
pub(crate) fn entry_path(name: &str) -> String {
    format!("EFI/Linux/{name}")
}

/// A file of the ESP.
pub(crate) fn read_file(esp: &dyn ReadAt, path: &str) -> Vec<u8> {
    let fat = Fat::open(esp).unwrap();
    let file = fat.open_file(&fat.find(path).unwrap()).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// `image.yaml` itself, or a copy of it with another version.
fn spec(version: &str, folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let original = source.join("image.yaml");
    if version == OLD {
        return original;
    }
    let text = fs::read_to_string(&original).unwrap();
    let tree = format!("  - {}/../rootfs/tree\n", source.display());
    let text = text.replace(&format!("version: {OLD}\n"), &format!("version: {version}\n"));
    let text = text.replace("  - ../rootfs/tree\n", &tree);
    let copies =
        [("image.yaml", text), ("image.lock", fs::read_to_string(source.join("image.lock")).unwrap())];
    for (name, text) in copies {
        let path = folder.join(name);
        // A spec that is written anew is built anew.
        if fs::read_to_string(&path).ok() != Some(text.clone()) {
            fs::write(&path, text).unwrap();
        }
    }
    folder.join("image.yaml")
}

/// Where cargo puts the programs of this build: two folders above this one.
fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// Where images and disks are.
pub(crate) fn work_folder() -> PathBuf {
    let folder = programs().join("qemu-tests");
    fs::create_dir_all(&folder).unwrap();
    folder
}
