//! One machine from one image, for a person: prepared, watched, and its end explained.

use crate::inputs::cache::{Cache, hash_of};
use crate::inspect::image::{OpenImage, UkiParts};
use crate::machine::{
    Accel, Disk, Firmware, Machine, MachineError, MachineSpec, NotSeen, Start, find_firmware, prove_kvm,
    vmlinux, write_seed,
};
use crate::user_data::{self, Target};
use cloudconfig::Facts;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// What the console says once a machine is ready.
pub const READY: &str = "slipway: ready";
/// What it says when its boot has proven good.
pub const BLESSED: &str = "slipway: blessed";
/// With less, OVMF ends in an exception.
const FIRMWARE_MEMORY_MIB: u32 = 160;
/// Larger user-data goes onto a disk: fw_cfg is read through sysfs in time that grows with the
/// square of the size.
const FW_CFG_MAX: usize = 64 << 10;
/// Console lines shown when a boot stopped.
const TAIL: usize = 20;
/// How often a machine that runs on is looked at for its end.
const LOOK: Duration = Duration::from_millis(500);

/// Why an image was not booted.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum BootError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("no UEFI firmware for QEMU is installed; looked for {}", list(.0))]
    NoFirmware(Vec<PathBuf>),
    #[error("{}", .0.join("\nerror: "))]
    UserData(Vec<String>),
    #[error("{0} MiB of memory are not enough for the firmware, which needs {FIRMWARE_MEMORY_MIB}")]
    Memory(u32),
    #[error("{0}")]
    Image(#[from] crate::inspect::InspectError),
    #[error("KVM was asked for, but a kernel does not start under it here")]
    NoKvm,
    #[error("{0}")]
    Machine(#[from] MachineError),
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: io::Error },
}

impl BootError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoFirmware(_) => Some("apt-get install ovmf, or start without firmware: --direct"),
            Self::Machine(MachineError::NoQemu { .. }) => Some("apt-get install qemu-system-x86"),
            Self::NoKvm => Some("use --accel tcg"),
            Self::Memory(_) => Some("give it more with --memory, or start without firmware: --direct"),
            _ => None,
        }
    }

    /// Whether what was given is at fault.
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::File { .. } | Self::UserData(_) | Self::Memory(_) | Self::Image(_))
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The machine that is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image, raw or qcow2.
    pub image: PathBuf,
    /// A user-data document.
    pub user_data: Option<PathBuf>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// TCP ports, host to guest.
    pub forwards: Vec<(u16, u16)>,
    /// Whether the image file stays as it is.
    pub snapshot: bool,
    /// Whether to start the kernel without firmware.
    pub direct: bool,
    /// How instructions are run; none: KVM when it is proven to work.
    pub accel: Option<Accel>,
}

/// A machine that is ready to start.
#[derive(Debug)]
pub struct Prepared {
    /// The machine.
    pub spec: MachineSpec,
}

impl Prepared {
    /// What it is, for a person.
    pub fn describe(&self) -> String {
        let accel = match self.spec.accel {
            Accel::Kvm => "KVM",
            Accel::Tcg => "TCG",
        };
        let start = match self.spec.start {
            Start::Firmware(_) => "firmware",
            Start::Direct { .. } => "a direct kernel start",
        };
        format!("{start} under {accel}")
    }
}

/// Checks everything that a start needs and makes the machine's description.
///
/// # Errors
/// A file is missing or broken, there is no firmware, or KVM was asked for and does not work.
pub fn prepare(request: &Request, cache: &Cache) -> Result<Prepared, BootError> {
    if !request.direct && request.memory_mib < FIRMWARE_MEMORY_MIB {
        return Err(BootError::Memory(request.memory_mib));
    }
    let image = OpenImage::open(&request.image)?;
    let user_data = match &request.user_data {
        Some(path) => Some(read_user_data(path, &image)?),
        None => None,
    };
    let needs_kernel = request.direct || request.accel != Some(Accel::Tcg);
    let kernel = if needs_kernel { Some(kernel_files(&image.uki()?, cache)?) } else { None };
    let start = match (request.direct, &kernel) {
        (true, Some(files)) => Start::Direct {
            kernel: files.kernel.clone(),
            initrd: files.initrd.clone(),
            command_line: files.command_line.clone(),
        },
        _ => Start::Firmware(firmware()?),
    };
    let mut spec = MachineSpec::new(start, &request.image);
    spec.accel = match (request.accel, &kernel) {
        (Some(Accel::Tcg), _) | (None, None) => Accel::Tcg,
        (asked, Some(files)) => {
            let memory = cache.folder("builds").join("accel");
            let proven = prove_kvm(&spec.qemu, &files.image, &memory).map_err(|source| {
                MachineError::NoQemu { program: spec.qemu.display().to_string(), source }
            })?;
            if asked == Some(Accel::Kvm) && proven != Accel::Kvm {
                return Err(BootError::NoKvm);
            }
            proven
        }
        (Some(Accel::Kvm), None) => return Err(BootError::NoKvm),
    };
    spec.disk = Disk { path: request.image.clone(), format: image.format(), snapshot: request.snapshot };
    spec.memory_mib = request.memory_mib;
    spec.cpus = request.cpus;
    spec.forwards.clone_from(&request.forwards);
    match user_data {
        Some(document) if document.len() > FW_CFG_MAX => {
            let seed = cache.add(|file| write_seed(file, &document));
            let (_, path) = seed.map_err(|source| BootError::Io { doing: "disk for user-data", source })?;
            spec.more_disks.push(Disk { path, format: "raw", snapshot: true });
        }
        _ => spec.user_data.clone_from(&request.user_data),
    }
    Ok(Prepared { spec })
}

fn firmware() -> Result<Firmware, BootError> {
    find_firmware(Path::new("/")).map_err(BootError::NoFirmware)
}

/// A document with which the machine will have no trouble.
fn read_user_data(path: &Path, image: &OpenImage) -> Result<Vec<u8>, BootError> {
    let bytes = user_data::read(path).map_err(|source| BootError::File { path: path.to_owned(), source })?;
    // Nothing tells the machine its addresses.
    match Target::image(image)?.judge(&bytes, &Facts::default()) {
        Ok(_) => Ok(bytes),
        Err(errors) => {
            let shown = path.display();
            Err(BootError::UserData(
                errors.iter().map(|error| format!("user-data: {shown}:{error}")).collect(),
            ))
        }
    }
}

/// A UKI's parts as files.
#[derive(Debug, Clone)]
pub struct KernelFiles {
    /// The bzImage.
    pub image: PathBuf,
    /// The ELF kernel, or the bzImage when it holds none that can be cut out.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initrd: PathBuf,
    /// The command line.
    pub command_line: String,
}

/// Puts a UKI's parts into the cache as files.
///
/// # Errors
/// The cache cannot be written.
pub fn kernel_files(uki: &UkiParts, cache: &Cache) -> Result<KernelFiles, BootError> {
    let io = |source| BootError::Io { doing: "cache", source };
    let kept = |bytes: &[u8]| -> io::Result<PathBuf> {
        let hash = hash_of(bytes)?.0;
        match cache.blob(hash)? {
            Some(path) => Ok(path),
            None => Ok(cache.add::<io::Error>(|file| file.write_all(bytes))?.1),
        }
    };
    let image = kept(&uki.linux).map_err(io)?;
    let initrd = kept(&uki.initrd).map_err(io)?;
    let hash = hash_of(uki.linux.as_slice()).map_err(io)?.0;
    let kernel = match cache.unpacked(hash).map_err(io)? {
        Some(path) => path,
        None => match vmlinux(&uki.linux) {
            // QEMU starts a bzImage as well, only slower.
            Err(_) => image.clone(),
            Ok(elf) => {
                let (unpacked, path) = cache.add::<io::Error>(|file| file.write_all(&elf)).map_err(io)?;
                cache.set_unpacked(hash, unpacked).map_err(io)?;
                path
            }
        },
    };
    Ok(KernelFiles { image, kernel, initrd, command_line: uki.command_line.clone() })
}

/// How a watched machine ended.
#[derive(Debug)]
pub enum Outcome {
    /// It became ready, and that was all that was wanted.
    Ready,
    /// It was shut down, from inside or by a person.
    ShutDown,
    /// It did not get ready, or QEMU died.
    Stopped {
        /// What happened.
        error: String,
        /// The console's last lines.
        tail: Vec<String>,
    },
}

/// Starts a prepared machine and watches it: until it is ready, or until it ends. `timeout` is
/// for getting ready.
///
/// # Errors
/// QEMU is missing or refuses.
pub fn run(
    prepared: &Prepared,
    console: Box<dyn Write + Send>,
    interactive: bool,
    until_ready: bool,
    timeout: Option<Duration>,
) -> Result<Outcome, BootError> {
    let mut machine = Machine::start(&prepared.spec, Some(console), interactive)?;
    let start = Instant::now();
    let endless = Duration::from_secs(u64::from(u32::MAX));
    let stopped =
        |machine: &Machine, error: String| Outcome::Stopped { error, tail: machine.console().tail(TAIL) };
    match machine.wait_for(READY, timeout.unwrap_or(endless)) {
        Ok(_) if until_ready && prepared.spec.disk.snapshot => {
            machine.quit()?;
            return Ok(Outcome::Ready);
        }
        // What is kept shall be a good machine's: its try is given back, its file system unmounted.
        Ok(_) if until_ready => {
            let left = timeout.unwrap_or(endless).saturating_sub(start.elapsed());
            if machine.wait_for(BLESSED, left).is_err() {
                let outcome =
                    stopped(&machine, "the machine was ready, but its boot was not blessed".to_owned());
                machine.quit()?;
                return Ok(outcome);
            }
            machine.shut_down()?;
            machine.wait()?;
            return Ok(Outcome::Ready);
        }
        Ok(_) => {}
        Err(NotSeen::TimedOut) => {
            let resets =
                machine.events().iter().filter(|event| **event == crate::machine::Event::Reset).count();
            let seconds = start.elapsed().as_secs();
            let error = match resets {
                0 => format!("the boot stopped: not ready after {seconds} s"),
                _ => format!("the boot does not get ready: {resets} resets in {seconds} s"),
            };
            let outcome = stopped(&machine, error);
            machine.quit()?;
            return Ok(outcome);
        }
        Err(NotSeen::Ended) => return ended(machine, until_ready),
    }
    while !machine.has_ended()? {
        // The console ends with QEMU; anything it says only wakes this loop.
        let position = machine.console().position();
        let _ = machine.console().wait_from(position, "\u{0}never said\u{0}", LOOK);
    }
    ended(machine, false)
}

fn ended(machine: Machine, wanted_ready: bool) -> Result<Outcome, BootError> {
    let tail = machine.console().tail(TAIL);
    let shut_down = machine.events().iter().any(|event| matches!(event, crate::machine::Event::Shutdown(_)));
    let ending = machine.wait()?;
    if ending.status.success() && shut_down && !wanted_ready {
        return Ok(Outcome::ShutDown);
    }
    let error = if ending.status.success() {
        "the machine was shut down before it was ready".to_owned()
    } else {
        let words = ending.stderr.trim();
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        format!("QEMU died ({}){words}", ending.status)
    };
    Ok(Outcome::Stopped { error, tail })
}
