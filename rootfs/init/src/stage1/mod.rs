//! Stage 1: from the kernel's first process to the slot as its root.
//!
//! The slot is found by content: the kernel command line carries the root hash, and whatever
//! root partition of the boot disk has the verity tree with that hash is the slot. So one UKI
//! boots from either slot, and one whose root is absent or damaged fails at once.
//!
//! Every failure here, a hang and a panic included, ends in a reboot, so that boot counting
//! falls back to another version; see [`end`] for the one exception.

mod cmdline;
pub mod disk;
mod end;
mod report;
mod slot;

pub use cmdline::CommandLine;
pub use report::Report;
pub use slot::{Slot, SlotError};

use disk::{Disk, Partition};
use nix::time::{ClockId, clock_gettime};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sys::dm::DmError;
use sys::modules::ModuleError;
use sys::mount::{Flags, Mount, MountError};
use sys::uevent::UeventSocket;

/// All of stage 1 must be done in this time.
const DEADLINE: Duration = Duration::from_mins(1);

/// Until the slot is blessed: a boot reads pages here and there, and whatever is read is hashed.
const READ_AHEAD_BYTES: u32 = 16 << 10;
/// How long to wait for the disk that the firmware booted from: it is there, only slow.
const BOOT_DISK_WAIT: Duration = Duration::from_secs(30);
/// How long to wait for a slot on any disk, when nobody says which is the boot disk.
const ANY_DISK_WAIT: Duration = Duration::from_secs(10);
/// Where the slot is mounted before it is the root.
const NEW_ROOT: &str = "/sysroot";

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum Stage1Error {
    /// A file of the initramfs or of the kernel cannot be read or written.
    #[error("cannot {verb} {path}: {cause}")]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// The command line carries no usable root hash.
    #[error("kernel command line has no roothash= of 64 hexadecimal digits")]
    NoRootHash,
    /// A module cannot be loaded.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// Something cannot be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// Nobody has the content.
    #[error("no slot has root hash {root_hash}: {}", if tried.is_empty() { "there is no disk with a root partition".to_owned() } else { tried.join("; ") })]
    NoSlot {
        /// The hash asked for.
        root_hash: String,
        /// Every partition that was looked at, with the reason for which it is not the slot.
        tried: Vec<String>,
    },
    /// dm-verity cannot be set up.
    #[error(transparent)]
    DeviceMapper(#[from] DmError),
}

/// Makes the slot the root of this process, which goes on as PID 1; comes back only if it could.
pub fn run() -> Report {
    let armed = end::arm(DEADLINE);
    let report = boot().unwrap_or_else(|error| end::fail(&error.to_string()));
    armed.disarm();
    report
}

fn boot() -> Result<Report, Stage1Error> {
    let kernel_ms = now_ms();
    for mount in api_mounts() {
        mount.mount()?;
    }
    let command_line = CommandLine::parse(&read("/proc/cmdline")?);
    let root_hash = command_line.root_hash.ok_or(Stage1Error::NoRootHash)?;
    let root_hash_hex = formats::verity::to_hex(&root_hash);

    end::doing("loading modules");
    // Opened before the drivers are, so that no disk can appear unseen.
    let events = UeventSocket::open().map_err(|cause| Stage1Error::File {
        verb: "open",
        path: "uevent socket".to_owned(),
        cause,
    })?;
    let firmware_is_uefi = Path::new("/sys/firmware/efi").exists();
    for module in read("/modules")?.lines() {
        // Loading what can only say that it is not needed takes time all the same.
        if firmware_is_uefi || !module.ends_with("/efivarfs.ko") {
            sys::modules::insert(Path::new(module), c"")?;
        }
    }
    let modules_ms = now_ms();

    end::doing("looking for the slot");
    let (partition, slot) = find_slot(&root_hash, boot_partition().as_deref(), &events)?;
    let slot_ms = now_ms();

    end::doing("mapping and mounting the slot");
    let device = sys::dm::map_read_only("root", &slot.verity_target(&partition.device, &root_hash))?;
    // Only speed depends on it.
    let _ = fs::File::open(&device).and_then(|file| sys::block::set_read_ahead(&file, READ_AHEAD_BYTES));
    Mount::new(device, NEW_ROOT, "ext4").flags(Flags::MS_RDONLY | Flags::MS_NODEV).mount()?;
    let report = Report {
        slot: partition.entry.label,
        device: partition.device.to_string_lossy().into_owned(),
        disk: partition.disk.to_string_lossy().into_owned(),
        root_hash: root_hash_hex,
        kernel_ms,
        modules_ms,
        slot_ms,
        verity_ms: now_ms(),
    };

    end::doing("switching root");
    for mount in ["/dev", "/proc", "/sys", "/run"] {
        sys::mount::move_mount(Path::new(mount), &Path::new(NEW_ROOT).join(&mount[1..]))?;
    }
    // The initramfs lives in memory for as long as its files do.
    empty_initramfs().map_err(|cause| Stage1Error::File { verb: "empty", path: "/".to_owned(), cause })?;
    sys::mount::switch_root(Path::new(NEW_ROOT))?;
    Ok(report)
}

fn api_mounts() -> [Mount; 4] {
    let locked = Flags::MS_NOSUID | Flags::MS_NODEV | Flags::MS_NOEXEC;
    [
        Mount::new("devtmpfs", "/dev", "devtmpfs").flags(Flags::MS_NOSUID).options("mode=0755"),
        Mount::new("proc", "/proc", "proc").flags(locked),
        Mount::new("sysfs", "/sys", "sysfs").flags(locked),
        Mount::new("tmpfs", "/run", "tmpfs").flags(Flags::MS_NOSUID | Flags::MS_NODEV).options("mode=0755"),
    ]
}

/// The partition that systemd-boot was started from. When that cannot be known, every disk is
/// as good as another: what is booted is proven by its content, not by its place.
fn boot_partition() -> Option<String> {
    if !Path::new("/sys/firmware/efi").exists() {
        return None;
    }
    let read = Mount::new("efivarfs", sys::efivar::MOUNT_POINT, "efivarfs")
        .flags(Flags::MS_NOSUID | Flags::MS_NODEV | Flags::MS_NOEXEC)
        .mount()
        .map_err(|error| error.to_string())
        .and_then(|()| sys::efivar::read_loader("LoaderDevicePartUUID").map_err(|error| error.to_string()));
    read.unwrap_or_else(|error| {
        end::say(&format!("looking for the slot on every disk: {error}"));
        None
    })
}

/// Looks at every candidate, again after each new disk, until one fits or waiting is in vain.
fn find_slot(
    root_hash: &formats::verity::Digest32,
    boot_partition: Option<&str>,
    events: &UeventSocket,
) -> Result<(Partition, Slot), Stage1Error> {
    let wait = if boot_partition.is_some() { BOOT_DISK_WAIT } else { ANY_DISK_WAIT };
    let deadline = Instant::now() + wait;
    loop {
        let devices = disk::devices().map_err(|cause| Stage1Error::File {
            verb: "read",
            path: "/sys/block".to_owned(),
            cause,
        })?;
        let mut tried = Vec::new();
        let mut disks = Vec::new();
        for device in devices {
            match Disk::read(&device) {
                Ok(disk) => disks.push(disk),
                Err(error) => tried.push(error.to_string()),
            }
        }
        let candidates = disk::candidates(&disks, boot_partition);
        for partition in candidates.partitions {
            match Slot::examine_device(&partition.device, root_hash) {
                Ok(slot) => return Ok((partition.clone(), slot)),
                Err(error) => {
                    let (label, device) = (&partition.entry.label, partition.device.display());
                    tried.push(format!("{label} ({device}): {error}"));
                }
            }
        }
        if !candidates.may_grow || !next_disk(events, deadline) {
            return Err(Stage1Error::NoSlot { root_hash: formats::verity::to_hex(root_hash), tried });
        }
    }
}

/// Waits for a new block device; false at the deadline.
fn next_disk(events: &UeventSocket, deadline: Instant) -> bool {
    loop {
        match events.receive(deadline) {
            Ok(Some(event)) if event.subsystem == "block" && event.action == "add" => return true,
            Ok(Some(_)) => {}
            Ok(None) => return false,
            // Events were lost: look again, one of them may have been it.
            Err(_) => return Instant::now() < deadline,
        }
    }
}

/// Deletes all of the root file system that is not another mount.
fn empty_initramfs() -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let root = fs::symlink_metadata("/")?.dev();
    for entry in fs::read_dir("/")? {
        let path: PathBuf = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        match (metadata.dev() == root, metadata.is_dir()) {
            (false, _) => {}
            (true, true) => fs::remove_dir_all(&path)?,
            (true, false) => fs::remove_file(&path)?,
        }
    }
    Ok(())
}

fn read(path: &str) -> Result<String, Stage1Error> {
    fs::read_to_string(path).map_err(|cause| Stage1Error::File { verb: "read", path: path.to_owned(), cause })
}

/// Milliseconds since the kernel started its clock (`CLOCK_BOOTTIME`).
pub fn now_ms() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(0, |time| time.tv_sec() as u64 * 1000 + time.tv_nsec() as u64 / 1_000_000)
}
