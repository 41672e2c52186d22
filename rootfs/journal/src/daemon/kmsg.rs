//! The kernel's messages, from `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg).

use super::syslog;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub sequence: u64,
    /// Microseconds since boot.
    pub monotonic_us: u64,
    /// Its fields, `NAME=value`, without those that all entries have.
    pub fields: Vec<Vec<u8>>,
}

/// Takes a record apart: `PRI,SEQ,TIME,FLAGS[,…];text`, then lines ` KEY=value`. `None` if it
/// is none.
pub fn parse(bytes: &[u8]) -> Option<Record> {
    let at = bytes.iter().position(|byte| *byte == b';')?;
    let head = std::str::from_utf8(&bytes[..at]).ok()?;
    let mut numbers = head.split(',');
    let mut number = || numbers.next()?.parse::<u64>().ok();
    let (level, sequence, monotonic_us) = (number()?, number()?, number()?);
    let mut lines = bytes[at + 1..].split(|byte| *byte == b'\n');
    let text = unescape(lines.next()?);
    let mut fields = vec![
        format!("PRIORITY={}", level & 7).into_bytes(),
        format!("SYSLOG_FACILITY={}", (level >> 3).min(23)).into_bytes(),
        format!("_SOURCE_MONOTONIC_TIMESTAMP={monotonic_us}").into_bytes(),
    ];
    if level >> 3 == 0 {
        fields.push(b"_TRANSPORT=kernel".to_vec());
        fields.push(b"SYSLOG_IDENTIFIER=kernel".to_vec());
        fields.push([b"MESSAGE=", text.as_slice()].concat());
    } else {
        // A process wrote it, with a syslog tag if it is polite.
        let parsed = syslog::parse(&text);
        fields.push(b"_TRANSPORT=kernel".to_vec());
        if let Some(identifier) = parsed.identifier {
            fields.push([b"SYSLOG_IDENTIFIER=", identifier].concat());
        }
        if let Some(pid) = parsed.pid {
            fields.push([b"SYSLOG_PID=", pid].concat());
        }
        fields.push([b"MESSAGE=", parsed.message].concat());
    }
    for line in lines.filter_map(|line| line.strip_prefix(b" ")) {
        for (key, name) in [(&b"SUBSYSTEM="[..], "_KERNEL_SUBSYSTEM"), (b"DEVICE=", "_KERNEL_DEVICE")] {
            if let Some(value) = line.strip_prefix(key) {
                fields.push(crate::field::join(name, unescape(value)));
            }
        }
    }
    Some(Record { sequence, monotonic_us, fields })
}

/// `\xHH` to the byte.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|hex| hex.get(..2));
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> Option<String> {
        let Record { sequence, fields, .. } = parse(bytes)?;
        let fields: Vec<String> =
            fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
        Some(format!("{sequence} {}", fields.join("|")))
    }

    #[test]
    fn records() {
        assert_eq!(
            shown(b"4,339,5140900,-;NET: one\\x0atwo\n SUBSYSTEM=net\n DEVICE=n2\n").unwrap(),
            "339 PRIORITY=4|SYSLOG_FACILITY=0|_SOURCE_MONOTONIC_TIMESTAMP=5140900|_TRANSPORT=kernel|\
             SYSLOG_IDENTIFIER=kernel|MESSAGE=NET: one\ntwo|_KERNEL_SUBSYSTEM=net|_KERNEL_DEVICE=n2"
        );
        assert_eq!(
            shown(b"30,1,2,-,caller=T1;init[1]: hello\n").unwrap(),
            "1 PRIORITY=6|SYSLOG_FACILITY=3|_SOURCE_MONOTONIC_TIMESTAMP=2|_TRANSPORT=kernel|\
             SYSLOG_IDENTIFIER=init|SYSLOG_PID=1|MESSAGE=hello"
        );
        for bad in [&b""[..], b"1,2;x", b"a,b,c,-;x", b"1,2,3,-"] {
            assert_eq!(parse(bad), None);
        }
        assert_eq!(unescape(b"\\x4\\x41\\"), b"\\x4A\\");
    }
}
