//! `timedated`: sets the clock and the time zone, for `timedatectl`.
//!
//! PID 1 holds its socket and starts it for the first question; it ends when nobody asks.

use crate::demand::{self, Refusal};
use crate::timesyncd;
use crate::zone::{self, FOLDER, LOCALTIME, Zone};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

/// The service's socket.
pub const SOCKET: &str = "/run/systemd/timedate/control";
/// Why there may be no zones.
pub(crate) const NO_ZONES: &str =
    "this image has no time zones, only UTC; list the package tzdata in image.yaml";

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Sets the clock to seconds since 1970-01-01 00:00:00 UTC.
    SetTime(i64),
    /// Sets the time zone by its name.
    SetZone(String),
}

/// The service; `arguments` must be empty. Exit code: 0 nobody asks any more, 1 failed, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    demand::main("timedated", SOCKET, arguments, "set time and time zone", |request| match request {
        Request::SetTime(seconds) => set_time(seconds),
        Request::SetZone(name) => set_zone(&name),
    })
}

fn set_time(seconds: i64) -> Result<(), Refusal> {
    if timesyncd::runs() {
        let why = "the clock is being synchronized";
        return Err(Refusal::with_hint(why, "`timedatectl set-ntp no` ends that"));
    }
    let nanoseconds = seconds.checked_mul(1_000_000_000).filter(|time| *time >= 0);
    let time = nanoseconds.ok_or_else(|| Refusal::new(format!("{seconds} s is no time of a clock")))?;
    sys::clock::set(time).map_err(|error| Refusal::new(format!("the clock cannot be set: {error}")))
}

fn set_zone(name: &str) -> Result<(), Refusal> {
    let path = zone::file_of(name, Path::new(FOLDER))
        .ok_or_else(|| Refusal::new(format!("`{name}` is not a zone's name")))?;
    let in_place =
        |result: io::Result<()>| result.map_err(|error| Refusal::new(format!("{LOCALTIME}: {error}")));
    match fs::read(&path) {
        Ok(bytes) if Zone::parse(&bytes).is_some() => {
            let fresh = format!("{LOCALTIME}.new");
            let _ = fs::remove_file(&fresh);
            in_place(std::os::unix::fs::symlink(format!("..{}", path.display()), &fresh))?;
            in_place(fs::rename(&fresh, LOCALTIME))
        }
        // What there is without any zone.
        Err(_) if name == "UTC" => match fs::remove_file(LOCALTIME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => in_place(removed),
        },
        Ok(_) => {
            let why = format!("{} is not a compiled zone", path.display());
            Err(Refusal::with_hint(why, "see `timedatectl list-timezones`"))
        }
        Err(error) => {
            let hint = if Path::new(FOLDER).is_dir() { "see `timedatectl list-timezones`" } else { NO_ZONES };
            Err(Refusal::with_hint(format!("{}: {error}", path.display()), hint))
        }
    }
}
