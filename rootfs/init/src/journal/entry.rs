//! One entry.

use serde::{Deserialize, Serialize};

/// A line that somebody said (systemd.journal-fields(7)). Numbers are strings, as in `journalctl -o json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Wall clock, microseconds since 1970.
    #[serde(rename = "__REALTIME_TIMESTAMP", with = "text")]
    pub realtime_us: u64,
    /// Microseconds since boot.
    #[serde(rename = "__MONOTONIC_TIMESTAMP", with = "text")]
    pub monotonic_us: u64,
    /// Boot id, 32 hexadecimal digits.
    #[serde(rename = "_BOOT_ID")]
    pub boot_id: String,
    /// The unit.
    #[serde(rename = "_SYSTEMD_UNIT", default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// The process that said it; 1 for PID 1 itself.
    #[serde(rename = "_PID", with = "text")]
    pub pid: u32,
    /// 0 (emergency) to 7 (debug).
    #[serde(rename = "PRIORITY", with = "text")]
    pub priority: u8,
    /// Name of the program.
    #[serde(rename = "SYSLOG_IDENTIFIER", default)]
    pub identifier: String,
    /// The text.
    #[serde(rename = "MESSAGE")]
    pub message: String,
}

/// Numbers as JSON strings.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|_| D::Error::custom("not a number"))
    }
}
