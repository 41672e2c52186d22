//! The watchdog: hardware's when there is one, else softdog.

use super::SetupError;
use std::path::Path;
use sys::watchdog::Watchdog;

const DEVICE: &str = "/dev/watchdog0";
/// Seconds without a sign of life of PID 1 after which the machine is reset.
const TIMEOUT_S: u32 = 60;

pub(super) fn arm() -> Result<Watchdog, SetupError> {
    let device = Path::new(DEVICE);
    if !device.exists() {
        sys::modules::load("softdog")?;
    }
    Watchdog::open(device, TIMEOUT_S).map_err(SetupError::Watchdog)
}
