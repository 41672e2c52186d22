//! The end of the machine: reboot(2).

use nix::sys::reboot::{RebootMode, reboot};
use std::convert::Infallible;
use std::io;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// `LINUX_REBOOT_CMD_RESTART`
    Reboot,
    /// `LINUX_REBOOT_CMD_POWER_OFF`
    Off,
    /// `LINUX_REBOOT_CMD_HALT`
    Halt,
}

/// Ends the machine at once: nothing is stopped, written or unmounted.
///
/// # Errors
/// Comes back only when the kernel refuses.
pub fn end(power: Power) -> io::Result<Infallible> {
    let mode = match power {
        Power::Reboot => RebootMode::RB_AUTOBOOT,
        Power::Off => RebootMode::RB_POWER_OFF,
        Power::Halt => RebootMode::RB_HALT_SYSTEM,
    };
    reboot(mode).map_err(io::Error::from)
}
