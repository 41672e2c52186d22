//! NTP messages (RFC 5905 section 7.3), as a client sees them (RFC 4330).

/// Bytes of a message without extensions.
pub const SIZE: usize = 48;
/// Seconds from 1900 to 1970.
const UNIX_OFFSET: i64 = 2_208_988_800;
/// Times before this (2025-01-01) do not come from a server that is right: a second counter below
/// it has wrapped around (RFC 5905 section 6, eras).
const PIVOT: i64 = 1_735_689_600;

/// A kiss-o'-death (RFC 5905 section 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kiss {
    /// `RATE`: ask less often.
    Rate,
    /// `DENY`, `RSTR`: do not ask again.
    Deny,
    /// Another code: no answer, as good as none.
    Other([u8; 4]),
}

/// Why a message is not a usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Too short.
    #[error("has {0} bytes instead of {SIZE}")]
    Short(usize),
    /// Not an answer of a server to a client, of version 3 or 4.
    #[error("has mode {mode} and version {version}, not a server's")]
    NoReply {
        /// Mode.
        mode: u8,
        /// Version.
        version: u8,
    },
    /// It does not repeat our transmit timestamp: late, or somebody guesses.
    #[error("belongs to no question of ours")]
    Origin,
    /// The server sends us away.
    #[error("is a kiss-o'-death")]
    Kiss(Kiss),
    /// The server's own clock is not right: leap indicator 3, or a stratum of 0 or 16 and more.
    #[error("says that the server is not synchronized (leap {leap}, stratum {stratum})")]
    Unsynchronized {
        /// Leap indicator.
        leap: u8,
        /// Stratum.
        stratum: u8,
    },
    /// Its times contradict each other.
    #[error("has times that contradict each other")]
    Times,
}

/// A server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Leap indicator, 0 to 2.
    pub leap: u8,
    /// 1 to 15.
    pub stratum: u8,
    /// Delay to the primary clock, nanoseconds.
    pub root_delay_ns: i64,
    /// Dispersion of it, nanoseconds.
    pub root_dispersion_ns: i64,
    /// The server's own source.
    pub reference: [u8; 4],
    /// When our question reached it, nanoseconds since 1970 (T2).
    pub receive_ns: i64,
    /// When its answer left, nanoseconds since 1970 (T3).
    pub transmit_ns: i64,
}

impl Reply {
    /// How far the server may be from the truth, nanoseconds (RFC 5905 appendix A.5.5.2).
    pub fn root_distance_ns(&self) -> i64 {
        self.root_delay_ns / 2 + self.root_dispersion_ns
    }
}

/// A question. `cookie` stands where the transmit timestamp would: the server only repeats it,
/// our time is nobody's concern, and a random number is harder to guess.
pub fn request(cookie: u64) -> [u8; SIZE] {
    let mut packet = [0; SIZE];
    // Leap 0, version 4, mode 3 (client).
    packet[0] = 4 << 3 | 3;
    packet[40..48].copy_from_slice(&cookie.to_be_bytes());
    packet
}

/// Reads the answer to the question with this cookie.
///
/// # Errors
/// See [`PacketError`].
pub fn reply(packet: &[u8], cookie: u64) -> Result<Reply, PacketError> {
    let packet = packet.get(..SIZE).ok_or(PacketError::Short(packet.len()))?;
    let word = |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
    let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
    let (leap, version, mode) = (packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7);
    if mode != 4 || !(3..=4).contains(&version) {
        return Err(PacketError::NoReply { mode, version });
    }
    if long(24) != cookie {
        return Err(PacketError::Origin);
    }
    let stratum = packet[1];
    let reference = [packet[12], packet[13], packet[14], packet[15]];
    if stratum == 0 && reference.iter().all(u8::is_ascii_graphic) {
        return Err(PacketError::Kiss(match &reference {
            b"RATE" => Kiss::Rate,
            b"DENY" | b"RSTR" => Kiss::Deny,
            _ => Kiss::Other(reference),
        }));
    }
    if leap == 3 || stratum == 0 || stratum >= 16 {
        return Err(PacketError::Unsynchronized { leap, stratum });
    }
    let (receive, transmit) = (long(32), long(40));
    if receive == 0 || transmit == 0 {
        return Err(PacketError::Times);
    }
    let reply = Reply {
        leap,
        stratum,
        root_delay_ns: short_ns(word(4)),
        root_dispersion_ns: short_ns(word(8)),
        reference,
        receive_ns: unix_ns(receive),
        transmit_ns: unix_ns(transmit),
    };
    if reply.transmit_ns < reply.receive_ns {
        return Err(PacketError::Times);
    }
    Ok(reply)
}

/// 16.16 seconds.
fn short_ns(raw: u32) -> i64 {
    (i64::from(raw) * 1_000_000_000) >> 16
}

/// 32.32 seconds since 1900, in the era that puts it after [`PIVOT`].
fn unix_ns(raw: u64) -> i64 {
    let mut seconds = (raw >> 32) as i64 - UNIX_OFFSET;
    if seconds < PIVOT {
        seconds += 1 << 32;
    }
    let nanoseconds = ((raw & 0xffff_ffff) * 1_000_000_000) >> 32;
    seconds * 1_000_000_000 + nanoseconds as i64
}

/// Nanoseconds since 1970 as 32.32 seconds, for servers in tests and fuzzers.
pub fn timestamp(unix_ns: i64) -> u64 {
    let seconds = (unix_ns.div_euclid(1_000_000_000) + UNIX_OFFSET) as u64 & 0xffff_ffff;
    let fraction = ((unix_ns.rem_euclid(1_000_000_000) as u64) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_123_456_789;

    /// A good answer of stratum 2.
    fn good(cookie: u64) -> [u8; SIZE] {
        let mut packet = [0; SIZE];
        packet[0] = 4 << 3 | 4;
        packet[1] = 2;
        packet[4..8].copy_from_slice(&(1u32 << 15).to_be_bytes());
        packet[8..12].copy_from_slice(&(1u32 << 14).to_be_bytes());
        packet[24..32].copy_from_slice(&cookie.to_be_bytes());
        packet[32..40].copy_from_slice(&timestamp(NOW).to_be_bytes());
        packet[40..48].copy_from_slice(&timestamp(NOW + 1000).to_be_bytes());
        packet
    }

    fn poke(at: usize, value: u8) -> Result<Reply, PacketError> {
        let mut packet = good(7);
        packet[at] = value;
        reply(&packet, 7)
    }

    #[test]
    fn a_good_answer() {
        let reply = reply(&good(7), 7).unwrap();
        assert!(
            (reply.receive_ns - NOW).abs() <= 1 && (reply.transmit_ns - NOW - 1000).abs() <= 1,
            "{reply:?}"
        );
        assert_eq!(reply.root_distance_ns(), 500_000_000);
        assert_eq!(request(7)[0], 0x23);
    }

    #[test]
    fn each_fault_by_its_name() {
        assert_eq!(reply(&good(7), 8), Err(PacketError::Origin));
        assert_eq!(reply(&good(7)[..47], 7), Err(PacketError::Short(47)));
        assert_eq!(poke(0, 4 << 3 | 3), Err(PacketError::NoReply { mode: 3, version: 4 }));
        assert_eq!(poke(0, 2 << 3 | 4), Err(PacketError::NoReply { mode: 4, version: 2 }));
        assert_eq!(poke(0, 3 << 6 | 4 << 3 | 4), Err(PacketError::Unsynchronized { leap: 3, stratum: 2 }));
        assert_eq!(poke(1, 16), Err(PacketError::Unsynchronized { leap: 0, stratum: 16 }));
        assert_eq!(poke(1, 0), Err(PacketError::Unsynchronized { leap: 0, stratum: 0 }));
        assert_eq!(poke(35, 0xff), Err(PacketError::Times), "it left before it came");
        let mut kiss = good(7);
        kiss[1] = 0;
        for (code, meaning) in [
            (b"RATE", Kiss::Rate),
            (b"DENY", Kiss::Deny),
            (b"RSTR", Kiss::Deny),
            (b"STEP", Kiss::Other(*b"STEP")),
        ] {
            kiss[12..16].copy_from_slice(code);
            assert_eq!(reply(&kiss, 7), Err(PacketError::Kiss(meaning)));
        }
        let mut blank = good(7);
        blank[40..48].fill(0);
        assert_eq!(reply(&blank, 7), Err(PacketError::Times));
    }

    #[test]
    fn the_era_of_2036_is_read() {
        let then = 2_090_000_000_000_000_000; // 2036-03-24
        assert_eq!(unix_ns(timestamp(then)), then);
        assert!(timestamp(then) >> 32 < 10_000_000);
    }
}
