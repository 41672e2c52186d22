//! The watchdog timer, linux/watchdog.h: unless it is petted in time, it resets the machine.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

mod ioctl {
    // #define WDIOC_SETTIMEOUT _IOWR(WATCHDOG_IOCTL_BASE, 6, int)
    nix::ioctl_readwrite!(set_timeout, b'W', 6, libc::c_int);
}

/// An armed watchdog. Dropping it leaves it armed: the machine is reset after the timeout.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
    timeout_s: u32,
}

impl Watchdog {
    /// Opens and thereby arms the watchdog at `path`. The driver may round `timeout_s`
    /// (seconds); [`Self::timeout_s`] says what it took.
    ///
    /// # Errors
    /// There is no such device, it is open elsewhere (`EBUSY`), or it refuses the timeout.
    pub fn open(path: &Path, timeout_s: u32) -> io::Result<Self> {
        let device = OpenOptions::new().write(true).open(path)?;
        let mut seconds = libc::c_int::try_from(timeout_s).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the ioctl reads and writes one int, which outlives the call.
        unsafe { ioctl::set_timeout(device.as_raw_fd(), &raw mut seconds) }?;
        Ok(Self { device, timeout_s: u32::try_from(seconds).unwrap_or(timeout_s) })
    }

    /// Seconds without a pet after which the machine is reset.
    pub fn timeout_s(&self) -> u32 {
        self.timeout_s
    }

    /// Starts the countdown anew.
    ///
    /// # Errors
    /// The driver's.
    pub fn pet(&mut self) -> io::Result<()> {
        self.device.write_all(b".")
    }

    /// Stops the countdown for good: the "magic close" of Documentation/watchdog/watchdog-api.rst.
    ///
    /// # Errors
    /// The driver's; the watchdog is then still armed.
    pub fn disarm(mut self) -> io::Result<()> {
        self.device.write_all(b"V")
    }
}
