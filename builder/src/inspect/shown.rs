//! Bytes of an image as text for a terminal. Names may be hostile: no control character, and
//! so no escape sequence, gets through.

use formats::ext4::PathBytes;

/// A name with control characters and bytes that are not UTF-8 escaped.
pub(super) fn name(bytes: &[u8]) -> String {
    // PathBytes does the same, with a slash before.
    path(bytes).split_off(1)
}

/// The same for a path without its first slash, which is added.
pub(super) fn path(bytes: &[u8]) -> String {
    PathBytes(bytes.to_vec()).to_string()
}

/// Text between quotes: control characters, quotes and backslashes escaped, the rest as it is.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::from("\"");
    for character in text.chars() {
        if character.is_control() || matches!(character, '"' | '\\') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown + "\""
}

/// The value of an extended attribute: quoted text where it is that, else hexadecimal.
pub(super) fn value(bytes: &[u8]) -> String {
    // Attributes such as SELinux labels end with a NUL byte.
    let text = str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok();
    match text.filter(|text| !text.is_empty() && !text.chars().any(char::is_control)) {
        Some(text) => quoted(text),
        None => format!("0x{}", formats::verity::to_hex(bytes)),
    }
}

/// Seconds since 1970 as `2026-01-31T12:00:00Z` (Howard Hinnant, `days_from_civil` reversed).
pub(super) fn time(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Type and permissions as ls(1) shows them; `mode` is that of an inode.
pub(super) fn mode(kind: char, mode: u16) -> String {
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A UUID from its bytes in the order of the text.
pub(super) fn uuid(bytes: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_would_move_its_cursor() {
        assert_eq!(name(b"a\x1b[2Jb\xff"), r"a\u{1b}[2Jb\xff");
        assert_eq!(path("späße".as_bytes()), "/späße");
        assert_eq!(quoted("a \"b\"\n"), r#""a \"b\"\n""#);
        assert_eq!(value(b"system_u:object_r\0"), "\"system_u:object_r\"");
        assert_eq!(value(&[1, 0, 0, 2]), "0x01000002");
    }

    #[test]
    fn times_and_modes_are_those_of_other_tools() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(time(-1), "1969-12-31T23:59:59Z");
        assert!(time(i64::MIN).starts_with('-') && time(i64::MAX).ends_with('Z'), "far away is no panic");
        assert_eq!(mode('-', 0o4755), "-rwsr-xr-x");
        assert_eq!(mode('d', 0o1777), "drwxrwxrwt");
        assert_eq!(mode('-', 0o2640), "-rw-r-S---");
    }
}
