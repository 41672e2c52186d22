//! Time zone files (`TZif`, RFC 8536): seconds between UTC and local time at any moment.

use super::posix::Rule;

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// From this moment (seconds since 1970, UTC) the offset holds; ascending.
    changes: Vec<(i64, i64)>,
    first: i64,
    /// Behind the last change.
    rule: Option<Rule>,
}

/// Why bytes are no time zone file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// It does not begin with `TZif`.
    #[error("no time zone file: it does not begin with TZif")]
    Magic,
    /// It ends within what its header announces.
    #[error("time zone file is cut: {0} bytes wanted behind its header")]
    Short(u64),
    /// A change has a type that is not there.
    #[error("time zone file has a change of type {0} of {1}")]
    Type(u8, u32),
    /// No local time type at all, or an offset of more than a week.
    #[error("time zone file has no usable offset")]
    Offset,
    /// Changes do not ascend.
    #[error("time zone file has changes out of order")]
    Order,
    /// The last line is no rule.
    #[error("time zone file ends with a rule that is not known")]
    Rule,
}

struct Header {
    version: u8,
    /// isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt.
    counts: [u32; 6],
}

const HEADER_BYTES: usize = 44;
const MAX_OFFSET: i64 = 7 * 86_400;

fn header(bytes: &[u8]) -> Result<Header, ZoneError> {
    if bytes.len() < HEADER_BYTES || &bytes[..4] != b"TZif" {
        return Err(ZoneError::Magic);
    }
    let mut counts = [0; 6];
    for (count, raw) in counts.iter_mut().zip(bytes[20..HEADER_BYTES].chunks_exact(4)) {
        *count = u32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]);
    }
    Ok(Header { version: bytes[4], counts })
}

impl Header {
    /// Bytes of the block behind it, with times of so many bytes.
    fn block(&self, time: u64) -> u64 {
        let [utc, standard, leap, times, types, chars] = self.counts.map(u64::from);
        times * (time + 1) + types * 6 + chars + leap * (time + 4) + standard + utc
    }
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self { changes: Vec::new(), first: 0, rule: None }
    }

    /// Reads a file of /usr/share/zoneinfo.
    ///
    /// # Errors
    /// [`ZoneError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ZoneError> {
        let old = header(bytes)?;
        if old.version == 0 {
            return Self::block(&old, &bytes[HEADER_BYTES..], 4);
        }
        // Version 2 and later: the same again with times of eight bytes, and the rule behind it.
        let skip = HEADER_BYTES as u64 + old.block(4);
        let rest = usize::try_from(skip).ok().and_then(|skip| bytes.get(skip..));
        let rest = rest.ok_or(ZoneError::Short(old.block(4)))?;
        let new = header(rest)?;
        let mut zone = Self::block(&new, &rest[HEADER_BYTES..], 8)?;
        let footer = rest.get(HEADER_BYTES + new.block(8) as usize..).unwrap_or_default();
        let line = footer.strip_prefix(b"\n").and_then(|text| text.strip_suffix(b"\n"));
        zone.rule = match line {
            None | Some([]) => None,
            Some(line) => Some(Rule::parse(line).ok_or(ZoneError::Rule)?),
        };
        Ok(zone)
    }

    fn block(header: &Header, bytes: &[u8], width: usize) -> Result<Self, ZoneError> {
        let wanted = header.block(width as u64);
        if (bytes.len() as u64) < wanted {
            return Err(ZoneError::Short(wanted));
        }
        let [.., times, types, _] = header.counts;
        let count = times as usize;
        let (moments, rest) = bytes.split_at(count * width);
        let (indices, rest) = rest.split_at(count);
        let offset = |index: u8| -> Result<i64, ZoneError> {
            if u32::from(index) >= types {
                return Err(ZoneError::Type(index, types));
            }
            let raw = &rest[usize::from(index) * 6..];
            let offset = i64::from(i32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]));
            if offset.abs() > MAX_OFFSET { Err(ZoneError::Offset) } else { Ok(offset) }
        };
        if types == 0 {
            return Err(ZoneError::Offset);
        }
        let mut changes = Vec::with_capacity(count);
        for (moment, index) in moments.chunks_exact(width).zip(indices) {
            let negative = moment[0] & 0x80 != 0;
            let start = if negative { -1_i64 } else { 0 };
            let at = moment.iter().fold(start, |at, byte| (at << 8) | i64::from(*byte));
            if changes.last().is_some_and(|(last, _)| *last >= at) {
                return Err(ZoneError::Order);
            }
            changes.push((at, offset(*index)?));
        }
        Ok(Self { changes, first: offset(0)?, rule: None })
    }

    /// Seconds to add to UTC at a moment.
    pub fn offset_at(&self, utc: i64) -> i64 {
        let after = self.changes.partition_point(|(at, _)| *at <= utc);
        match (&self.rule, after) {
            (Some(rule), _) if after == self.changes.len() => rule.offset_at(utc),
            (_, 0) => self.first,
            _ => self.changes[after - 1].1,
        }
    }

    /// The moment at which clocks show `local`: the first of two, and an error with what they show
    /// instead if they skip it.
    ///
    /// # Errors
    /// The local seconds that a clock shows which went on by the offset before the gap.
    pub fn to_utc(&self, local: i64) -> Result<i64, i64> {
        let near = [self.offset_at(local - 86_400 - self.first), self.offset_at(local + 86_400 - self.first)];
        let mut found: Vec<i64> = near
            .iter()
            .map(|offset| local - offset)
            .filter(|utc| utc + self.offset_at(*utc) == local)
            .collect();
        found.sort_unstable();
        let skipped = local - near[0];
        found.first().copied().ok_or_else(|| skipped + self.offset_at(skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Zone {
        Zone { changes: Vec::new(), first: 3600, rule: Rule::parse(b"CET-1CEST,M3.5.0,M10.5.0/3") }
    }

    #[test]
    fn summer_time_by_rule() {
        let zone = berlin();
        assert_eq!(zone.offset_at(1_774_745_999), 3600, "2026-03-29 00:59:59 UTC");
        assert_eq!(zone.offset_at(1_774_746_000), 7200);
        assert_eq!(zone.offset_at(1_792_889_999), 7200, "2026-10-25 00:59:59 UTC");
        assert_eq!(zone.offset_at(1_792_890_000), 3600);
        // 02:30 is skipped in March and there twice in October.
        assert_eq!(zone.to_utc(1_774_751_400), Err(1_774_755_000));
        assert_eq!(zone.to_utc(1_792_895_400), Ok(1_792_888_200));
        let south = Rule::parse(b"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0").unwrap();
        assert_eq!((south.offset_at(1_767_225_600), south.offset_at(1_783_000_000)), (39_600, 37_800));
        for bad in [&b""[..], b"CET", b"CET-1CEST", b"CET-1CEST,M13.5.0,M10.5.0", b"CET-200", b"CET-1x"] {
            assert_eq!(Rule::parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn cut_and_bent_files_are_refused() {
        let mut bytes = b"TZif\0".to_vec();
        bytes.resize(20, 0);
        for count in [0_u32, 0, 0, 1, 1, 4] {
            bytes.extend(count.to_be_bytes());
        }
        bytes.extend([0, 0, 0, 100, 0, 0, 0, 14, 16, 0, 0]);
        bytes.extend(b"XYZ\0");
        let zone = Zone::parse(&bytes).unwrap();
        assert_eq!(zone.offset_at(0), 3600);
        for end in 0..bytes.len() {
            assert!(Zone::parse(&bytes[..end]).is_err(), "{end}");
        }
        bytes[48] = 9;
        assert_eq!(Zone::parse(&bytes), Err(ZoneError::Type(9, 1)));
    }
}
