//! `hostnamed`: sets what the machine is called, for `hostnamectl`.
//!
//! PID 1 holds its socket and starts it for the first question; it ends when nobody asks.

use crate::demand::{self, Refusal};
use crate::identity::{HOSTNAME, Identity, MACHINE_INFO, check_hostname, check_info, replace, with_value};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The service's socket.
pub const SOCKET: &str = "/run/systemd/hostname/control";
/// Keys of machine-info(5) that may be set, beside the pretty host name.
const KEYS: [&str; 4] = ["ICON_NAME", "CHASSIS", "DEPLOYMENT", "LOCATION"];

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Sets host names; an empty name unsets.
    SetName {
        /// Name.
        name: String,
        /// That of /etc/hostname.
        fixed: bool,
        /// The kernel's.
        transient: bool,
        /// That of /etc/machine-info.
        pretty: bool,
    },
    /// Sets a key of machine-info(5); an empty value unsets.
    SetInfo {
        /// Key.
        key: String,
        /// Value.
        value: String,
    },
}

/// The service; `arguments` must be empty. Exit code: 0 nobody asks any more, 1 failed, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    demand::main("hostnamed", SOCKET, arguments, "name the machine", |request: Request| {
        request.carry_out(Path::new("/"))
    })
}

impl Request {
    /// Sets it on the machine whose file tree starts at `root`. Values are checked here again:
    /// whoever connects may send anything.
    pub(crate) fn carry_out(self, root: &Path) -> Result<(), Refusal> {
        match self {
            Self::SetInfo { key, value } => {
                if !KEYS.contains(&key.as_str()) {
                    return Err(Refusal::new(format!("`{key}` is not a key that can be set")));
                }
                check_info(&key, &value)?;
                set_info(root, &key, &value)
            }
            Self::SetName { name, fixed, transient, pretty } => {
                // A pretty name that is the host name tells nothing.
                let pretty_name = if fixed && transient { "" } else { &name };
                if (fixed || transient) && !name.is_empty() {
                    check_hostname(&name)?;
                }
                check_info("PRETTY_HOSTNAME", pretty_name)?;
                if fixed {
                    let text = if name.is_empty() { String::new() } else { format!("{name}\n") };
                    write(&root.join(HOSTNAME), &text)?;
                }
                if transient {
                    // An empty transient name is the static one again.
                    let back = Identity::look(root).static_hostname.unwrap_or_else(|| "localhost".to_owned());
                    let name = if name.is_empty() { &back } else { &name };
                    nix::unistd::sethostname(name)
                        .map_err(|error| Refusal::new(format!("the host name cannot be set: {error}")))?;
                }
                if pretty { set_info(root, "PRETTY_HOSTNAME", pretty_name) } else { Ok(()) }
            }
        }
    }
}

fn set_info(root: &Path, key: &str, value: &str) -> Result<(), Refusal> {
    let path = root.join(MACHINE_INFO);
    let old = fs::read_to_string(&path).unwrap_or_default();
    write(&path, &with_value(&old, key, value))
}

fn write(path: &Path, text: &str) -> Result<(), Refusal> {
    replace(path, text).map_err(|error| Refusal::new(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_is_checked() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let info = |key: &str, value: &str| Request::SetInfo { key: key.into(), value: value.into() };
        let name = |name: &str, fixed, pretty| Request::SetName {
            name: name.into(),
            fixed,
            transient: false,
            pretty,
        };
        for wrong in [
            info("PATH", "x"),
            info("CHASSIS", "toaster"),
            info("LOCATION", "a\nb"),
            name("a b", true, false),
            name("../x", true, true),
            name("a\nCHASSIS=vm", false, true),
        ] {
            assert!(wrong.clone().carry_out(root.path()).is_err(), "{wrong:?}");
        }
        assert_eq!(fs::read_dir(root.path().join("etc")).unwrap().count(), 0);
        info("CHASSIS", "vm").carry_out(root.path()).unwrap();
        name("node7", true, false).carry_out(root.path()).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("etc/machine-info")).unwrap(), "CHASSIS=\"vm\"\n");
        assert_eq!(fs::read_to_string(root.path().join("etc/hostname")).unwrap(), "node7\n");
    }
}
