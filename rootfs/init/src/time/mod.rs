//! Wall-clock time: calendar expressions (systemd.time(7)) and time zones (RFC 8536). Pure: no clock
//! is read and no file opened here.

pub mod calendar;
mod civil;
mod posix;
pub mod zone;

pub use calendar::{Calendar, CalendarError, ZoneName};
pub use civil::Civil;
pub use zone::{Zone, ZoneError};
