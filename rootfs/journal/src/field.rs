//! Fields: `NAME=value`, the value being any bytes (systemd.journal-fields(7)).

/// The longest name (systemd's bound).
pub const NAME_MAX: usize = 64;

/// Fields that the index knows. Others are found by reading, which is slower.
///
/// Values of these repeat a lot, so they are also stored once a segment and referred to.
const INDEXED: [&[u8]; 21] = [
    b"COREDUMP_UNIT",
    b"JOB_RESULT",
    b"JOB_TYPE",
    b"MESSAGE_ID",
    b"OBJECT_SYSTEMD_UNIT",
    b"PRIORITY",
    b"SYSLOG_FACILITY",
    b"SYSLOG_IDENTIFIER",
    b"UNIT",
    b"USER_UNIT",
    b"_BOOT_ID",
    b"_COMM",
    b"_EXE",
    b"_GID",
    b"_HOSTNAME",
    b"_MACHINE_ID",
    b"_PID",
    b"_SYSTEMD_CGROUP",
    b"_SYSTEMD_UNIT",
    b"_TRANSPORT",
    b"_UID",
];

/// Longer values are never indexed; so says the format.
const INDEXED_VALUE_MAX: usize = 512;

/// Whether a field of this name and value is in the index.
pub fn indexed(name: &[u8], value: &[u8]) -> bool {
    value.len() <= INDEXED_VALUE_MAX && INDEXED.binary_search(&name).is_ok()
}

/// Cuts a field at its first `=`; one without has an empty value.
pub fn split(field: &[u8]) -> (&[u8], &[u8]) {
    match field.iter().position(|byte| *byte == b'=') {
        Some(at) => (&field[..at], &field[at + 1..]),
        None => (field, &[]),
    }
}

/// Puts a field together.
pub fn join(name: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    [name.as_bytes(), b"=", value.as_ref()].concat()
}

/// Whether a client may send a field of this name: upper case, digits and underscores, not
/// beginning with a digit, at most 64 bytes. Names with `_` in front are the journal's own.
pub fn valid_name(name: &[u8], trusted: bool) -> bool {
    let first = match name.first() {
        Some(b'_') => trusted,
        Some(byte) => byte.is_ascii_uppercase(),
        None => false,
    };
    let byte = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    first && name.len() <= NAME_MAX && name.iter().all(byte)
}

/// The index's hash of a field or a name: 64 bit FNV-1a. A forged collision costs a reader time
/// and nothing else, for what the index finds is compared with what was asked for.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(INDEXED.is_sorted());
        for (name, client, trusted) in [
            ("MESSAGE", true, true),
            ("A1_B", true, true),
            ("_PID", false, true),
            ("1A", false, false),
            ("a", false, false),
            ("", false, false),
            ("A-B", false, false),
        ] {
            assert_eq!(valid_name(name.as_bytes(), false), client, "{name}");
            assert_eq!(valid_name(name.as_bytes(), true), trusted, "{name}");
        }
        assert!(!valid_name(&[b'A'; 65], true));
        assert_eq!(split(b"A=b=c"), (&b"A"[..], &b"b=c"[..]));
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8, "the FNV authors' test vector");
    }
}
