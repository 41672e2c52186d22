//! syslog(3) datagrams: `<PRI>Nov 22 18:05:09 name[pid]: text` (RFC 3164, as C libraries send it).

use super::stream::split_level;

/// A datagram taken apart. What is absent stays `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// 0 to 7.
    pub priority: u8,
    /// 0 to 23.
    pub facility: Option<u8>,
    /// `Nov 22 18:05:09 `, as it was sent.
    pub timestamp: Option<&'a [u8]>,
    /// The program.
    pub identifier: Option<&'a [u8]>,
    /// Its process, as it says.
    pub pid: Option<&'a [u8]>,
    /// The rest.
    pub message: &'a [u8],
}

/// The longest identifier.
const IDENTIFIER_MAX: usize = 64;

/// Takes a datagram apart; anything is one.
pub fn parse(bytes: &[u8]) -> Datagram<'_> {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | 0 | b' ')).map_or(0, |at| at + 1);
    let mut found = Datagram { priority: 6, message: &bytes[..end], ..Datagram::default() };
    if let Some((number, rest)) = number(found.message) {
        found.priority = (number & 7) as u8;
        found.facility = Some((number >> 3) as u8);
        found.message = rest;
    } else {
        (found.priority, found.message) = split_level(found.message, 6);
    }
    if stamped(found.message) {
        let (stamp, rest) = found.message.split_at(16);
        found.timestamp = Some(stamp);
        found.message = rest;
    }
    if let Some((identifier, pid, rest)) = tag(found.message) {
        found.identifier = Some(identifier);
        found.pid = pid;
        found.message = rest;
    }
    found
}

/// `<PRI>`: at most 191.
fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let end = bytes.iter().take(5).position(|byte| *byte == b'>')?;
    let digits = bytes.strip_prefix(b"<")?.get(..end - 1)?;
    let number = std::str::from_utf8(digits).ok()?.parse::<u16>().ok()?;
    (number < 192 && digits.iter().all(u8::is_ascii_digit)).then(|| (number, &bytes[end + 1..]))
}

/// Whether it begins with `Mmm dd hh:mm:ss `.
fn stamped(bytes: &[u8]) -> bool {
    let pattern = b"Aaa dd dd:dd:dd ";
    bytes.len() >= pattern.len()
        && bytes.iter().zip(pattern).all(|(byte, kind)| match kind {
            b'A' => byte.is_ascii_uppercase(),
            b'a' => byte.is_ascii_lowercase(),
            b'd' => byte.is_ascii_digit() || *byte == b' ',
            other => byte == other,
        })
}

/// Name, pid, rest.
type Tag<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

/// `name[pid]: ` or `name: `.
fn tag(bytes: &[u8]) -> Option<Tag<'_>> {
    let end = bytes.iter().take(IDENTIFIER_MAX + 16).position(|byte| matches!(byte, b':' | b' '))?;
    (bytes[end] == b':').then_some(())?;
    let tag = &bytes[..end];
    let rest = &bytes[end + 1..];
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let (name, pid) = match tag.strip_suffix(b"]").and_then(|tag| {
        let at = tag.iter().rposition(|byte| *byte == b'[')?;
        let pid = &tag[at + 1..];
        (!pid.is_empty() && pid.len() < 11 && pid.iter().all(u8::is_ascii_digit)).then_some((&tag[..at], pid))
    }) {
        Some((name, pid)) => (name, Some(pid)),
        None => (tag, None),
    };
    (!name.is_empty() && name.len() <= IDENTIFIER_MAX).then_some((name, pid, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_send() {
        let shown = |text: &str| {
            let found = parse(text.as_bytes());
            let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned();
            format!(
                "{} {:?} {}|{}|{}",
                found.priority,
                found.facility,
                text(found.identifier),
                text(found.pid),
                text(Some(found.message))
            )
        };
        for (sent, wanted) in [
            ("<30>Nov 22 18:05:09 sshd[12]: hello\n", "6 Some(3) sshd|12|hello"),
            ("<13>Nov  2 18:05:09 me: a b: c", "5 Some(1) me|-|a b: c"),
            ("<3>app: x", "3 Some(0) app|-|x"),
            ("no header", "6 None -|-|no header"),
            ("<999>a", "6 None -|-|<999>a"),
            ("<>a", "6 None -|-|<>a"),
            ("<1", "6 None -|-|<1"),
            ("a[b]: c", "6 None a[b]|-|c"),
            ("[1]: c", "6 None -|-|[1]: c"),
            ("", "6 None -|-|"),
            ("\n\0", "6 None -|-|"),
        ] {
            assert_eq!(shown(sent), wanted, "{sent}");
        }
        assert_eq!(parse(b"<30>Nov 22 18:05:09 a: b").timestamp, Some(&b"Nov 22 18:05:09 "[..]));
    }
}
