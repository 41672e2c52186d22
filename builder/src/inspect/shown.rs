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
    fn modes_are_those_of_other_tools() {
        assert_eq!(mode('-', 0o4755), "-rwsr-xr-x");
        assert_eq!(mode('d', 0o1777), "drwxrwxrwt");
        assert_eq!(mode('-', 0o2640), "-rw-r-S---");
    }
}
