//! Sets of capabilities(7), by name.

use rustix::thread::CapabilitySet;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(pub CapabilitySet);

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(CapabilitySet::empty());
    /// All that there are.
    pub const ALL: Self = Self(CapabilitySet::all());
    /// What a shell with tools needs to install packages, read all files and change owners in its own tree.
    /// Without `SYS_ADMIN` what is mounted read-only stays so, and nothing is unmounted.
    pub const BASE: Self = Self(
        CapabilitySet::CHOWN
            .union(CapabilitySet::DAC_OVERRIDE)
            .union(CapabilitySet::FOWNER)
            .union(CapabilitySet::FSETID)
            .union(CapabilitySet::KILL)
            .union(CapabilitySet::SETGID)
            .union(CapabilitySet::SETUID)
            .union(CapabilitySet::SETPCAP)
            .union(CapabilitySet::SETFCAP)
            .union(CapabilitySet::NET_BIND_SERVICE)
            .union(CapabilitySet::SYS_CHROOT)
            .union(CapabilitySet::AUDIT_WRITE),
    );

    /// Both sets' members.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    /// Whether all of the other's members are in it.
    pub fn has(self, other: CapabilitySet) -> bool {
        self.0.contains(other)
    }

    /// The names, as `CAP_CHOWN`.
    pub fn names(self) -> Vec<String> {
        self.0.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
    }
}

impl FromStr for Capabilities {
    type Err = String;

    /// `CAP_NET_ADMIN`, `net_admin` or `all`.
    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name == "ALL" {
            return Ok(Self::ALL);
        }
        CapabilitySet::from_name(name)
            .map(Self)
            .ok_or_else(|| format!("there is no capability `{text}`; capabilities(7) lists them"))
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => formatter.write_str("none"),
            Self::ALL => formatter.write_str("all"),
            set => formatter.write_str(&set.names().join(" ")),
        }
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in ["CAP_NET_RAW", "net_raw", "Net_Raw"] {
            assert_eq!(text.parse::<Capabilities>().unwrap().names(), ["CAP_NET_RAW"]);
        }
        assert_eq!("all".parse::<Capabilities>().unwrap(), Capabilities::ALL);
        assert!("cap_fly".parse::<Capabilities>().unwrap_err().contains("`cap_fly`"));
        assert!(!Capabilities::BASE.has(CapabilitySet::SYS_ADMIN));
    }
}
