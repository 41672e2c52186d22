//! The end: everything durable, STATE clean, and the machine off or on again.

use super::{SetupError, Watchdog};
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;
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

/// Unmounts what [`run`](super::run) mounted and makes everything durable, then ends the machine.
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
    nix::unistd::sync();
    let var = Path::new("/var");
    let device = sys::mount::device_of(var);
    match sys::mount::unmount(var) {
        Ok(()) => {
            let released = device.and_then(|device| sys::mount::wait_released(&device, RELEASE));
            if let Err(error) = released {
                log(&format!("STATE may still be mounted: {error}"));
            }
        }
        Err(error) => {
            // Somebody still holds a file open. Read-only is as clean on the disk.
            log(&format!("{error}; remounting it read-only"));
            if let Err(error) = sys::mount::remount_read_only(var) {
                log(&format!("{error}; STATE will replay its journal"));
            }
        }
    }
    nix::unistd::sync();
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
