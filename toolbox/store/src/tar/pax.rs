//! Extended headers (POSIX.1-2017 `pax`, "pax Extended Header"): records `LENGTH KEY=VALUE\n`.

use super::{MAX_PIECES, Problem};

/// What an extended header says of the entry behind it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Sparse,
}

/// `GNU.sparse.*` (GNU tar manual, "Sparse Formats").
#[derive(Debug, Clone, Default)]
pub(super) struct Sparse {
    pub(super) major: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Of version 0: offsets and lengths in turn.
    pub(super) map: Vec<u64>,
    /// Whether anything at all is said.
    pub(super) any: bool,
}

impl Pax {
    /// Adds the records of `bytes`; the later of two wins.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Problem> {
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or(Problem::Pax)?;
            let length = decimal(&bytes[..space]).ok_or(Problem::Pax)?;
            let length = usize::try_from(length).ok().filter(|length| *length > space + 1);
            let record = length.and_then(|length| bytes.get(space + 1..length)).ok_or(Problem::Pax)?;
            bytes = &bytes[space + 1 + record.len()..];
            let record = record.strip_suffix(b"\n").ok_or(Problem::Pax)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(Problem::Pax)?;
            self.record(&record[..equals], &record[equals + 1..])?;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let number = |what| decimal(value).ok_or(Problem::Number(what));
        let id = |what| u32::try_from(number(what)?).map_err(|_| Problem::Number(what));
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(number("size")?),
            b"uid" => self.uid = Some(id("uid")?),
            b"gid" => self.gid = Some(id("gid")?),
            b"mtime" => self.mtime = Some(time(value).ok_or(Problem::Number("time"))?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.record(key, value)?;
                }
            }
        }
        Ok(())
    }
}

impl Sparse {
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let number = || decimal(value).ok_or(Problem::Sparse);
        self.any = true;
        match key {
            b"major" => self.major = Some(number()?),
            b"name" => self.name = Some(name(value)?),
            b"size" | b"realsize" => self.real_size = Some(number()?),
            b"offset" | b"numbytes" => self.map.push(number()?),
            b"map" => {
                self.map = value
                    .split(|byte| *byte == b',')
                    .filter(|number| !number.is_empty())
                    .map(|number| decimal(number).ok_or(Problem::Sparse))
                    .collect::<Result<_, _>>()?;
            }
            _ => {}
        }
        if self.map.len() > 2 * MAX_PIECES { Err(Problem::Sparse) } else { Ok(()) }
    }
}

/// A path, which has no NUL byte.
fn name(value: &[u8]) -> Result<Vec<u8>, Problem> {
    if value.contains(&0) { Err(Problem::Pax) } else { Ok(value.to_vec()) }
}

/// Digits alone.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Seconds with a fraction, possibly before 1970.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(value) => (true, value),
        None => (false, value),
    };
    let point = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let seconds = i64::try_from(decimal(&value[..point])?).ok()?;
    let fraction = value.get(point + 1..).unwrap_or_default();
    let mut nanoseconds = 0_u32;
    for place in 0..9 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    match (negative, nanoseconds) {
        (false, _) => Some((seconds, nanoseconds)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Pax, Problem> {
        let mut pax = Pax::default();
        pax.read(text.as_bytes()).map(|()| pax)
    }

    #[test]
    fn records_are_read_and_the_later_wins() {
        let pax = read("10 path=a\n10 path=b\n15 mtime=-1.25\n28 SCHILY.xattr.user.n=a=\nb\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"b"[..]));
        assert_eq!(pax.mtime, Some((-2, 750_000_000)));
        assert_eq!(pax.xattrs, [(b"user.n".to_vec(), b"a=\nb".to_vec())]);
    }

    #[test]
    fn malformed_records_are_refused() {
        for text in [
            "x",
            "0 path=a\n",
            "2 \n",
            "99 path=a\n",
            "10 path=a ",
            "9 path-a\n",
            "13 size=-12\n",
            "18446744073709551616 path=a\n",
            "11 path=\0a\n",
            "13 mtime=1.x\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
