//! Text of devices in names of files.

/// As blkid(8) and udev encode labels: what is not a letter, a digit, one of `#+-.:=@_` or a
/// whole character beyond ASCII becomes `\xNN`.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() {
            encoded.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                encoded.extend(["\\x".to_owned(), format!("{byte:02x}")]);
            }
        }
    }
    encoded
}

/// As udev makes words of serial numbers and models: white space at the ends goes, runs of it
/// become `_`, and so does what is not allowed in a name.
pub fn word(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join("_");
    joined
        .chars()
        .filter(|c| !c.is_control())
        .map(|c| if c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() { c } else { '_' })
        .collect()
}

/// Whether a path below /dev can be that of a link.
pub fn is_link(path: &str) -> bool {
    path.len() < 1024
        && path.split('/').all(|part| !matches!(part, "" | "." | "..") && part.len() <= 255)
        && !path.contains(['\0', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_encoded_as_blkid_does() {
        assert_eq!(encode("my disk/1"), "my\\x20disk\\x2f1");
        assert_eq!(encode("B\u{fc}cher-1_a.b"), "B\u{fc}cher-1_a.b");
        assert_eq!(encode("a\\b"), "a\\x5cb");
        assert_eq!(word("  QEMU  HARDDISK/1 "), "QEMU_HARDDISK_1");
    }

    #[test]
    fn links_stay_below_dev() {
        assert!(is_link("disk/by-label/a"));
        for path in ["disk/by-label/..", "disk/by-label/", "/x", "disk/by-label/a\n", "."] {
            assert!(!is_link(path), "{path}");
        }
    }
}
