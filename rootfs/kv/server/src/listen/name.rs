//! The common name in a certificate: X.509 in DER (RFC 5280, section 4.1), of which only the way to
//! the subject is read. The certificate was verified before, and its bytes are checked here all the same.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
/// `[0]`, in which the version stands.
const VERSION: u8 = 0xa0;
/// id-at-commonName: 2.5.4.3.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The subject's common name; the last one, if there are several, as etcd takes it.
pub fn common_name(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = within(certificate, SEQUENCE)?;
    let (mut fields, _) = within(certificate, SEQUENCE)?;
    if let Some((_, rest)) = within(fields, VERSION) {
        fields = rest;
    }
    // Serial number, signature, issuer, validity.
    for _ in 0..4 {
        fields = element(fields)?.2;
    }
    let (mut names, _) = within(fields, SEQUENCE)?;
    let mut found = None;
    while !names.is_empty() {
        let (mut parts, rest) = within(names, SET)?;
        names = rest;
        while !parts.is_empty() {
            let (part, rest) = within(parts, SEQUENCE)?;
            parts = rest;
            let (kind, value) = within(part, OBJECT)?;
            if kind == COMMON_NAME {
                found = text(value);
            }
        }
    }
    found.filter(|name| !name.is_empty())
}

fn text(value: &[u8]) -> Option<String> {
    let (tag, content, _) = element(value)?;
    let known = matches!(tag, UTF8 | PRINTABLE | TELETEX | IA5);
    String::from_utf8(content.to_vec()).ok().filter(|_| known)
}

/// The content of an element that must have this tag, and what follows it.
fn within(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        // Longer than that, or of a length that is not given, is no certificate.
        if !(1..=4).contains(&count) {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "o");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_name_is_found_and_damage_is_none() {
        let good = certificate("someone");
        assert_eq!(common_name(&good).as_deref(), Some("someone"));
        assert_eq!(common_name(&certificate("")), None);
        for end in 0..200 {
            assert_eq!(common_name(&good[..end]), None);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            // Anything but a panic.
            let _ = common_name(&bad);
        }
    }
}
