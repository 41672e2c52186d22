//! Whether KVM works here, proven by a start and not by the device's presence: there are hosts
//! whose `/dev/kvm` opens and whose guests hang at once.

use super::{Console, MachineSpec, Start};
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How QEMU runs a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// On the processor.
    Kvm,
    /// By translation.
    Tcg,
}

/// How long a kernel may take to say its first line under KVM; where that works it needs a tenth.
const PROOF: Duration = Duration::from_secs(4);

/// Starts the kernel at `kernel` under KVM until its first words, and remembers the answer in
/// the file `memory` for as long as this host is up.
///
/// # Errors
/// QEMU cannot be run.
pub fn prove_kvm(qemu: &Path, kernel: &Path, memory: &Path) -> io::Result<Accel> {
    if fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(Accel::Tcg);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let boot = boot.trim();
    match fs::read_to_string(memory).unwrap_or_default().trim().split_once(' ') {
        Some((then, "kvm")) if then == boot => return Ok(Accel::Kvm),
        Some((then, "tcg")) if then == boot => return Ok(Accel::Tcg),
        _ => {}
    }
    let accel = if starts(qemu, kernel)? { Accel::Kvm } else { Accel::Tcg };
    let word = if accel == Accel::Kvm { "kvm" } else { "tcg" };
    // A memory that cannot be written only costs the next start its proof.
    let _ = fs::write(memory, format!("{boot} {word}\n"));
    Ok(accel)
}

fn starts(qemu: &Path, kernel: &Path) -> io::Result<bool> {
    let mut command = Command::new(qemu);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "kvm"]);
    command.args(["-cpu", "host", "-m", "256", "-no-reboot", "-serial", "stdio", "-kernel"]).arg(kernel);
    command.args(["-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    sys::child::die_with_parent(&mut command);
    let mut child = command.spawn()?;
    let console = Console::default();
    if let Some(out) = child.stdout.take() {
        let follower = console.clone();
        std::thread::spawn(move || follower.follow(out, None));
    }
    let seen = console.wait("Linux version", PROOF).is_ok();
    // It may have ended by itself already.
    let _ = child.kill();
    child.wait()?;
    Ok(seen)
}

impl MachineSpec {
    /// The kernel of a direct start, which the proof of KVM can use.
    pub fn direct_kernel(&self) -> Option<&Path> {
        match &self.start {
            Start::Direct { kernel, .. } => Some(kernel),
            Start::Firmware(_) => None,
        }
    }
}
