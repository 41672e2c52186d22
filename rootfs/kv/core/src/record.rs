//! One version of one key, as the tables `now` and `past` hold it: five numbers
//! as LEB128, then the value. The key is the table's.

use bytes::Bytes;

use crate::error::Error;
use crate::reply::KeyValue;

/// The numbers of a version, and where its value starts in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub create: i64,
    pub main: u64,
    pub sub: u64,
    pub version: i64,
    pub lease: i64,
    pub value_at: usize,
}

impl Head {
    /// Reads a record's numbers; `None` where the bytes end too soon or a number is too long.
    pub fn read(record: &[u8]) -> Option<Self> {
        let mut at = 0;
        let create = number(record, &mut at)?;
        let main = number(record, &mut at)?;
        let sub = number(record, &mut at)?;
        let version = number(record, &mut at)?;
        let lease = number(record, &mut at)?;
        Some(Self {
            create: create as i64,
            main,
            sub,
            version: version as i64,
            lease: lease as i64,
            value_at: at,
        })
    }

    pub fn of(table: &'static str, key: &[u8], record: &[u8]) -> Result<Self, Error> {
        Self::read(record)
            .ok_or_else(|| Error::Damaged { table, key: String::from_utf8_lossy(key).into_owned() })
    }

    pub fn write(&self, value: &[u8], into: &mut Vec<u8>) {
        into.clear();
        for number in [self.create as u64, self.main, self.sub, self.version as u64, self.lease as u64] {
            push(number, into);
        }
        into.extend_from_slice(value);
    }

    pub fn key_value(&self, key: Bytes, value: Bytes) -> KeyValue {
        KeyValue {
            key,
            create_revision: self.create,
            mod_revision: self.main as i64,
            version: self.version,
            value,
            lease: self.lease,
        }
    }
}

/// The key and value of a record, copied.
pub(crate) fn key_value(table: &'static str, key: &[u8], record: &[u8]) -> Result<KeyValue, Error> {
    let head = Head::of(table, key, record)?;
    let value = Bytes::copy_from_slice(&record[head.value_at..]);
    Ok(head.key_value(Bytes::copy_from_slice(key), value))
}

/// Appends a number, seven bits a byte, low ones first.
pub(crate) fn push(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Reads a number at `at` and moves behind it.
pub(crate) fn number(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_short_records_do_not_read() {
        for lease in [0, 1, 127, 128, i64::MAX, i64::MIN, -1] {
            let head = Head { create: 5, main: u64::MAX, sub: 300, version: i64::MAX, lease, value_at: 0 };
            let mut bytes = Vec::new();
            head.write(b"value", &mut bytes);
            let read = Head::read(&bytes).unwrap();
            assert_eq!(read, Head { value_at: bytes.len() - 5, ..head });
            for end in 0..read.value_at {
                assert_eq!(Head::read(&bytes[..end]), None, "cut at {end}");
            }
        }
        assert_eq!(number(&[0xff; 10], &mut 0), None, "more than 64 bits");
    }
}
