//! The host name: user-data's, else the image's default.

use crate::setup::SetupError;
use std::fs;
use std::path::Path;

/// Host name of an image that names none.
const FALLBACK: &str = "slipway";
const OS_RELEASE: &str = "/usr/lib/os-release";

/// `DEFAULT_HOSTNAME=` of os-release(5).
pub(super) fn default() -> String {
    let text = fs::read_to_string(OS_RELEASE).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix("DEFAULT_HOSTNAME="));
    let name = found.unwrap_or_default().trim_matches(['"', '\'']);
    if name.is_empty() { FALLBACK.to_owned() } else { name.to_owned() }
}

/// Tells the kernel and hostname(5).
pub(super) fn set(name: &str) -> Result<(), SetupError> {
    nix::unistd::sethostname(name)
        .map_err(|cause| SetupError::Hostname { name: name.to_owned(), cause: cause.into() })?;
    let path = Path::new("/etc/hostname");
    SetupError::writing(path, fs::write(path, format!("{name}\n")))
}
