//! One QEMU machine: its command line as data, then the running thing.
//!
//! [`MachineSpec`] says what machine is wanted and gives QEMU's arguments (pure);
//! [`Machine::start`] runs it. The console, QEMU's end and the guest's resets are told apart,
//! and the child dies with the thread that started it.

mod accel;
mod console;
mod firmware;
mod kernel;
mod qmp;
mod run;
mod seed;

pub use accel::{Accel, prove_kvm};
pub use console::{Console, NotSeen};
pub use firmware::{Firmware, find_firmware};
pub use kernel::{KernelError, vmlinux};
pub use run::{Ending, Event, Machine, MachineError};
pub use seed::write_seed;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How the machine starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// UEFI firmware, boot loader, UKI: the whole chain.
    Firmware(Firmware),
    /// QEMU loads the kernel itself.
    Direct {
        /// An ELF kernel or a bzImage.
        kernel: PathBuf,
        /// The initramfs.
        initrd: PathBuf,
        /// The kernel's command line.
        command_line: String,
    },
}

/// A disk beside the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Image file.
    pub path: PathBuf,
    /// `raw` or `qcow2`.
    pub format: &'static str,
    /// Whether writes go to a temporary file instead.
    pub snapshot: bool,
}

/// The machine that is wanted.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// QEMU's program.
    pub qemu: PathBuf,
    /// How it starts.
    pub start: Start,
    /// The appliance's disk.
    pub disk: Disk,
    /// Further virtio disks.
    pub more_disks: Vec<Disk>,
    /// How instructions are run.
    pub accel: Accel,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// TCP ports of the host's loopback address forwarded to ports of the guest; none: no network card.
    pub forwards: Vec<(u16, u16)>,
    /// A user-data document, given by fw_cfg.
    pub user_data: Option<PathBuf>,
    /// Whether a guest's reset ends QEMU.
    pub no_reboot: bool,
    /// Further arguments, as QEMU takes them.
    pub more: Vec<OsString>,
}

impl MachineSpec {
    /// A machine with the usual 256 MiB and one processor, its disk unchanged by what it does.
    pub fn new(start: Start, disk: &Path) -> Self {
        Self {
            qemu: PathBuf::from("qemu-system-x86_64"),
            start,
            disk: Disk { path: disk.to_owned(), format: format_of(disk), snapshot: true },
            more_disks: Vec::new(),
            accel: Accel::Tcg,
            memory_mib: 256,
            cpus: 1,
            forwards: Vec::new(),
            user_data: None,
            no_reboot: false,
            more: Vec::new(),
        }
    }

    /// QEMU's arguments; its control socket will be at `qmp`.
    pub fn arguments(&self, qmp: &Path) -> Vec<OsString> {
        let mut all: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| all.extend(words.iter().map(OsString::from));
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35"]);
        match self.accel {
            Accel::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
            // A kernel that sees ERMS copies and clears bytewise, which TCG does byte by byte: a tenth of a boot.
            Accel::Tcg => add(&["-accel", "tcg", "-cpu", "max,erms=off"]),
        }
        add(&["-m", &self.memory_mib.to_string(), "-smp", &self.cpus.to_string()]);
        add(&["-chardev", "stdio,id=console,mux=on,signal=off", "-serial", "chardev:console"]);
        // The escape (Ctrl-A) must work for a person at the console.
        add(&["-mon", "chardev=console,mode=readline"]);
        add(&["-device", "virtio-rng-pci"]);
        if self.no_reboot {
            add(&["-no-reboot"]);
        }
        all.extend(["-qmp".into(), joined("unix:", qmp)]);
        for (index, disk) in std::iter::once(&self.disk).chain(&self.more_disks).enumerate() {
            let snapshot = if disk.snapshot { "on" } else { "off" };
            let format = disk.format;
            // A power cut is played by ending QEMU: what the guest flushed is in the host's cache.
            let options =
                format!("if=none,id=disk{index},format={format},snapshot={snapshot},cache=writeback,file=");
            all.extend(["-drive".into(), joined(&options, &disk.path)]);
            let boot =
                if index == 0 && matches!(self.start, Start::Firmware(_)) { ",bootindex=0" } else { "" };
            all.extend(["-device".into(), format!("virtio-blk-pci,drive=disk{index}{boot}").into()]);
        }
        match &self.start {
            Start::Firmware(firmware) => {
                let code = "if=pflash,format=raw,unit=0,readonly=on,file=";
                all.extend(["-drive".into(), joined(code, &firmware.code)]);
                // Writes to the variables go to a temporary copy of QEMU's.
                let vars = "if=pflash,format=raw,unit=1,snapshot=on,file=";
                all.extend(["-drive".into(), joined(vars, &firmware.vars)]);
            }
            Start::Direct { kernel, initrd, command_line } => {
                all.extend(["-kernel".into(), kernel.into(), "-initrd".into(), initrd.into()]);
                all.extend(["-append".into(), command_line.into()]);
            }
        }
        if self.forwards.is_empty() {
            all.extend(["-nic".into(), "none".into()]);
        } else {
            let rules: String = self
                .forwards
                .iter()
                .map(|(host, guest)| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"))
                .collect();
            all.extend(["-netdev".into(), format!("user,id=net0{rules}").into()]);
            all.extend(["-device".into(), "virtio-net-pci,netdev=net0,romfile=".into()]);
        }
        if let Some(path) = &self.user_data {
            all.extend(["-fw_cfg".into(), joined("name=opt/slipway/user-data,file=", path)]);
        }
        all.extend(self.more.iter().cloned());
        all
    }
}

/// `qcow2` by the file's name, else `raw`.
fn format_of(path: &Path) -> &'static str {
    if path.extension().is_some_and(|extension| extension == "qcow2") { "qcow2" } else { "raw" }
}

/// An option's value that ends in a path; QEMU's option syntax doubles a comma.
fn joined(before: &str, path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    let mut value = before.as_bytes().to_vec();
    for byte in path.as_os_str().as_bytes() {
        value.push(*byte);
        if *byte == b',' {
            value.push(b',');
        }
    }
    OsString::from_vec(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_machine() {
        let start = Start::Direct { kernel: "k".into(), initrd: "i".into(), command_line: "a b".into() };
        let mut spec = MachineSpec::new(start, Path::new("/tmp/a,b.raw"));
        spec.forwards = vec![(2222, 22)];
        let arguments: Vec<String> =
            spec.arguments(Path::new("/q")).iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let text = arguments.join(" ");
        for part in [
            "-accel tcg -cpu max",
            "-m 256 -smp 1",
            "-drive if=none,id=disk0,format=raw,snapshot=on,cache=writeback,file=/tmp/a,,b.raw",
            "-kernel k -initrd i -append a b",
            "-netdev user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("pflash") && !text.contains("bootindex"));
    }
}
