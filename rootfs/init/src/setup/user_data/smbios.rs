//! Values in an SMBIOS "OEM strings" structure: `slipway.user-data=…`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BASE64: &[u8] = b"base64:";

/// The value after `key` in a structure of type 11 (SMBIOS 3.7, sections 6.1.3 and 7.12), as
/// `/sys/firmware/dmi/entries/11-*/raw` gives it. A value that begins with `base64:` is decoded.
///
/// `None`: there is none. An error: its base64 is broken.
pub(super) fn value(raw: &[u8], key: &str) -> Option<Result<Vec<u8>, base64::DecodeError>> {
    let strings = raw.get(usize::from(*raw.get(1)?)..)?;
    let value = strings.split(|byte| *byte == 0).find_map(|string| string.strip_prefix(key.as_bytes()))?;
    Some(match value.strip_prefix(BASE64) {
        Some(packed) => STANDARD.decode(packed.trim_ascii()),
        None => Ok(value.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(raw: &[u8]) -> Option<Result<Vec<u8>, base64::DecodeError>> {
        value(raw, "slipway.user-data=")
    }

    fn structure(strings: &[&[u8]]) -> Vec<u8> {
        let mut raw = vec![11, 5, 0, 1, strings.len() as u8];
        for string in strings {
            raw.extend_from_slice(string);
            raw.push(0);
        }
        raw.push(0);
        raw
    }

    #[test]
    fn the_string_is_found_among_others_raw_or_packed() {
        let raw = structure(&[b"a=b", b"slipway.user-data=#cloud-config\n"]);
        assert_eq!(document(&raw).unwrap().unwrap(), b"#cloud-config\n");
        let packed = structure(&[b"slipway.user-data=base64:I2Nsb3VkLWNvbmZpZwo="]);
        assert_eq!(document(&packed).unwrap().unwrap(), b"#cloud-config\n");
        assert!(document(&structure(&[b"slipway.user-data=base64:%"])).unwrap().is_err());
    }

    #[test]
    fn other_structures_have_none() {
        assert!(document(&structure(&[b"a=b"])).is_none());
        assert!(document(&[]).is_none());
        assert!(document(&[11, 200, 0]).is_none());
    }
}
