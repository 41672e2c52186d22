//! Where the host keeps UEFI firmware for QEMU.

use std::path::{Path, PathBuf};

/// A firmware's two parts. The variables are never written: QEMU works on a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// The program.
    pub code: PathBuf,
    /// Its variables, as they are at first.
    pub vars: PathBuf,
}

/// Pairs as the distributions name them: Debian, Fedora, Arch, openSUSE.
const PLACES: [(&str, &str); 6] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
];

/// The host's firmware, below `root` (`/` for the host itself).
///
/// # Errors
/// The pairs that were looked for, when none is there.
pub fn find_firmware(root: &Path) -> Result<Firmware, Vec<PathBuf>> {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    for (code, vars) in PLACES {
        let found = Firmware { code: at(code), vars: at(vars) };
        if found.code.is_file() && found.vars.is_file() {
            return Ok(found);
        }
    }
    Err(PLACES.iter().map(|(code, _)| at(code)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_firmware_the_places_are_named() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(find_firmware(empty.path()).unwrap_err().len(), PLACES.len());
    }
}
