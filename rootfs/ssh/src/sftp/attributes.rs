//! Attributes of files (draft-ietf-secsh-filexfer-02, section 5), and their line as `ls -l` has it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What is known, or is to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Bytes.
    pub size: Option<u64>,
    /// User and group.
    pub owner: Option<(u32, u32)>,
    /// Type and permissions, as `st_mode`.
    pub mode: Option<u32>,
    /// Last access and change, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

impl From<&Metadata> for Attributes {
    fn from(about: &Metadata) -> Self {
        let time = |seconds: i64| u32::try_from(seconds).unwrap_or(if seconds < 0 { 0 } else { u32::MAX });
        Self {
            size: Some(about.size()),
            owner: Some((about.uid(), about.gid())),
            mode: Some(about.mode()),
            times: Some((time(about.atime()), time(about.mtime()))),
        }
    }
}

/// The line of a file, with the numbers of its owners: the server has no names for them.
pub fn long_name(name: &[u8], about: &Metadata, now: i64) -> Vec<u8> {
    let mode = about.mode();
    let kind = match mode & 0o170_000 {
        0o140_000 => 's',
        0o120_000 => 'l',
        0o060_000 => 'b',
        0o040_000 => 'd',
        0o020_000 => 'c',
        0o010_000 => 'p',
        _ => '-',
    };
    let mut line = format!(
        "{kind}{}{}{} {:4} {:8} {:8} {:8} {} ",
        triple(mode >> 6, mode & 0o4000 != 0, 's'),
        triple(mode >> 3, mode & 0o2000 != 0, 's'),
        triple(mode, mode & 0o1000 != 0, 't'),
        about.nlink(),
        about.uid(),
        about.gid(),
        about.size(),
        date(about.mtime(), now),
    )
    .into_bytes();
    line.extend(name);
    line
}

fn triple(bits: u32, special: bool, letter: char) -> String {
    let last = match (bits & 1 != 0, special) {
        (true, true) => letter,
        (false, true) => letter.to_ascii_uppercase(),
        (true, false) => 'x',
        (false, false) => '-',
    };
    let bit = |mask: u32, letter: char| if bits & mask != 0 { letter } else { '-' };
    [bit(4, 'r'), bit(2, 'w'), last].iter().collect()
}

/// `Nov 24 07:30`, or `Nov 24  2025` for what is half a year away, in UTC.
fn date(seconds: i64, now: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March have their leap day last: 400 of them have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + era * 400 + i64::from(month >= 10), (month + 2) % 12);
    let name = MONTHS[month.unsigned_abs() as usize % 12];
    if (now - seconds).abs() > 182 * 86_400 {
        format!("{name} {day:2}  {year}")
    } else {
        format!("{name} {day:2} {:02}:{:02}", time / 3600, time / 60 % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_date_prints_them() {
        let now = 1_764_000_000; // date -u -d @1764000000
        assert_eq!(date(now, now), "Nov 24 16:00");
        assert_eq!(date(0, now), "Jan  1  1970");
        assert_eq!(date(951_782_400, now), "Feb 29  2000");
        assert_eq!(date(1_735_689_599, now), "Dec 31  2024");
        assert_eq!(date(-1, now), "Dec 31  1969");
    }

    #[test]
    fn permissions_as_ls_prints_them() {
        assert_eq!(triple(0o7, false, 's'), "rwx");
        assert_eq!(triple(0o4, true, 's'), "r-S");
        assert_eq!(triple(0o1, true, 't'), "--t");
    }
}
