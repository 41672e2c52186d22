//! The end: everything durable, STATE clean, and the machine off or on again.

use super::{SetupError, Watchdog};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use sys::power::{Power, end};

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Start again through the firmware.
    Reboot,
    /// Switch off.
    PowerOff,
    /// Stop and stay.
    Halt,
}

/// How long mount namespaces may take to go after their last process.
const RELEASE: Duration = Duration::from_secs(5);
/// How long the last writes may take; the watchdog is petted meanwhile.
const WRITING: Duration = Duration::from_mins(30);
/// What is needed up to the last instruction.
const KEPT: [&str; 5] = ["/", "/dev", "/proc", "/run", "/sys"];

/// Unmounts all that can be and makes everything durable, then ends the machine.
///
/// To be called when all processes but PID 1 are gone. Every step is tried whatever the others
/// did; each failure is a line to `log`. The watchdog stays armed over a reboot, so that a
/// reboot that hangs is still one, and is disarmed otherwise.
///
/// # Errors
/// Comes back only when the kernel refuses to end the machine.
pub fn teardown(
    how: End,
    watchdog: Option<Watchdog>,
    log: &mut dyn FnMut(&str),
) -> Result<Infallible, SetupError> {
    let watchdog = petted(watchdog, || {
        nix::unistd::sync();
        unmount_all(log);
        nix::unistd::sync();
    });
    let power = match how {
        End::Reboot => Power::Reboot,
        End::PowerOff => Power::Off,
        End::Halt => Power::Halt,
    };
    if let Some(watchdog) = watchdog.filter(|_| how != End::Reboot)
        && let Err(error) = watchdog.disarm()
    {
        log(&format!("cannot disarm the watchdog: {error}"));
    }
    let Err(error) = end(power);
    Err(SetupError::End(error))
}

/// Does what may take long while another thread pets the watchdog, up to [`WRITING`].
fn petted(watchdog: Option<Watchdog>, work: impl FnOnce()) -> Option<Watchdog> {
    let Some(mut watchdog) = watchdog else {
        work();
        return None;
    };
    let (done, over) = channel::<()>();
    let deadline = Instant::now() + WRITING;
    let petting = thread::Builder::new().spawn(move || {
        let every = Duration::from_secs(u64::from(watchdog.timeout_s().max(3) / 3));
        while Instant::now() < deadline {
            // A failed pet is left to have its effect.
            let _ = watchdog.pet();
            if over.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                return watchdog;
            }
        }
        let _ = over.recv();
        watchdog
    });
    work();
    drop(done);
    petting.ok()?.join().ok()
}

/// Unmounts, the latest first, all but what is needed to the end; then no file system on a disk is
/// mounted any more, in no namespace.
fn unmount_all(log: &mut dyn FnMut(&str)) {
    let mounts = sys::mount::mounts().unwrap_or_else(|error| {
        log(&format!("cannot list the mounts: {error}"));
        Vec::new()
    });
    let devices: BTreeSet<PathBuf> = mounts
        .iter()
        .filter(|mount| mount.target != Path::new("/"))
        .filter_map(|mount| sys::mount::node_of(mount.device).ok())
        .collect();
    let root = sys::mount::device_of(Path::new("/")).ok();
    for mount in mounts.iter().rev() {
        let target = mount.target.as_path();
        let is_kernels = ["/dev", "/proc", "/sys"].iter().any(|kept| target.starts_with(kept));
        if is_kernels || KEPT.iter().any(|kept| target == Path::new(kept)) {
            continue;
        }
        if let Err(error) = sys::mount::unmount(target) {
            // Somebody still holds a file open. Read-only is as clean on the disk.
            log(&format!("{error}; remounting it read-only"));
            if let Err(error) = sys::mount::remount_read_only(target) {
                log(&format!("{error}; its journal will be replayed"));
            }
        }
    }
    let is_left = |device: &PathBuf| {
        sys::mount::mounts().is_ok_and(|left| {
            left.iter().any(|mount| sys::mount::node_of(mount.device).is_ok_and(|node| node == *device))
        })
    };
    for device in devices.iter().filter(|device| Some(*device) != root.as_ref()) {
        // One that had to stay mounted was told already.
        if !is_left(device)
            && let Err(error) = sys::mount::wait_released(device, RELEASE)
        {
            log(&format!("{} may still be mounted: {error}", device.display()));
        }
    }
}
