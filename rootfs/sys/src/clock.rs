//! The kernel's clock: adjtimex(2), clock_settime(2).

use std::io;

/// How the clock is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// At once, by nanoseconds.
    Step(i64),
    /// Slowly, by the kernel's phase-locked loop.
    Slew {
        /// What the clock lags behind, nanoseconds, less than half a second.
        offset_ns: i64,
        /// The loop's time constant, 0 to 10: log2 of the poll interval in seconds, minus 4.
        constant: i64,
    },
}

/// A leap second at the end of the day (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leap {
    /// None.
    None,
    /// 23:59:60 comes.
    Insert,
    /// 23:59:59 does not come.
    Delete,
}

/// What the kernel says of its clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// Nobody has set it right for long.
    pub unsynchronized: bool,
    /// How wrong it may be, microseconds.
    pub max_error_us: i64,
    /// What the loop has yet to make good, nanoseconds.
    pub offset_ns: i64,
    /// How much faster than the oscillator it runs, parts per million.
    pub frequency_ppm: f64,
}

fn adjtimex(timex: &mut libc::timex) -> io::Result<State> {
    // int adjtimex(struct timex *buf)
    // SAFETY: `timex` is a whole, initialized struct timex of our own that outlives the call. No
    // safe crate in the tree has this call.
    if unsafe { libc::adjtimex(timex) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let nano = timex.status & libc::STA_NANO != 0;
    Ok(State {
        unsynchronized: timex.status & libc::STA_UNSYNC != 0,
        max_error_us: timex.maxerror,
        offset_ns: if nano { timex.offset } else { timex.offset * 1000 },
        // Scaled by 2^16.
        frequency_ppm: timex.freq as f64 / 65536.0,
    })
}

fn blank() -> libc::timex {
    // SAFETY: struct timex is numbers only, for which all zeroes is a value.
    unsafe { std::mem::zeroed() }
}

/// Reads the state.
///
/// # Errors
/// The kernel's.
pub fn state() -> io::Result<State> {
    adjtimex(&mut blank())
}

/// Adjusts the clock and says that it is right now, but for `error_us` microseconds.
///
/// # Errors
/// The kernel's: without `CAP_SYS_TIME`, `EPERM`.
pub fn adjust(adjustment: Adjustment, leap: Leap, error_us: i64) -> io::Result<State> {
    let mut timex = blank();
    timex.modes = libc::ADJ_STATUS | libc::ADJ_NANO | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR;
    timex.status = match leap {
        Leap::None => 0,
        Leap::Insert => libc::STA_INS,
        Leap::Delete => libc::STA_DEL,
    };
    timex.maxerror = error_us;
    timex.esterror = error_us;
    match adjustment {
        Adjustment::Step(offset_ns) => {
            timex.modes |= libc::ADJ_SETOFFSET;
            timex.time.tv_sec = offset_ns.div_euclid(1_000_000_000);
            // With ADJ_NANO this field has nanoseconds.
            timex.time.tv_usec = offset_ns.rem_euclid(1_000_000_000);
        }
        Adjustment::Slew { offset_ns, constant } => {
            timex.modes |= libc::ADJ_OFFSET | libc::ADJ_TIMECONST;
            timex.status |= libc::STA_PLL;
            timex.offset = offset_ns;
            timex.constant = constant;
        }
    }
    adjtimex(&mut timex)
}

/// Sets the clock, nanoseconds since 1970.
///
/// # Errors
/// The kernel's.
pub fn set(time_ns: i64) -> io::Result<()> {
    let time = rustix::time::Timespec {
        tv_sec: time_ns.div_euclid(1_000_000_000),
        tv_nsec: time_ns.rem_euclid(1_000_000_000),
    };
    Ok(rustix::time::clock_settime(rustix::time::ClockId::Realtime, time)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_state_can_be_read() {
        let state = super::state().unwrap();
        assert!(state.max_error_us >= 0 && state.frequency_ppm.abs() <= 500.0, "{state:?}");
    }
}
