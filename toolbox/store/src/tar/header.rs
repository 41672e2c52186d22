//! One header block (POSIX.1-2017 `pax`, "ustar Interchange Format"; GNU tar manual, "Standard").

use super::Problem;

/// Bytes in a block.
pub(super) const BLOCK: usize = 512;

/// A header block whose checksum was right.
pub(super) struct Header<'b>(pub(super) &'b [u8; BLOCK]);

impl<'b> Header<'b> {
    /// Checks the sum, which counts its own field as spaces.
    pub(super) fn new(block: &'b [u8; BLOCK]) -> Result<Self, Problem> {
        let header = Self(block);
        let stored = header.number(148..156, "checksum").map_err(|_| Problem::Checksum)?;
        let spaces = 8 * u64::from(b' ');
        let unsigned =
            block.iter().map(|byte| u64::from(*byte)).sum::<u64>() - header.field_sum(148..156) + spaces;
        if stored == unsigned {
            return Ok(header);
        }
        // Some old writers summed signed bytes.
        let signed = block.iter().map(|byte| i64::from(*byte as i8)).sum::<i64>()
            - block[148..156].iter().map(|byte| i64::from(*byte as i8)).sum::<i64>()
            + spaces as i64;
        if i64::try_from(stored) == Ok(signed) { Ok(header) } else { Err(Problem::Checksum) }
    }

    fn field_sum(&self, range: std::ops::Range<usize>) -> u64 {
        self.0[range].iter().map(|byte| u64::from(*byte)).sum()
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// A field's text up to its first NUL byte.
    fn text(&self, range: std::ops::Range<usize>) -> &'b [u8] {
        let field = &self.0[range];
        &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
    }

    /// The name; ustar's prefix, which the GNU format uses for other things, before it.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = self.text(0..100);
        let prefix = if &self.0[257..263] == b"ustar\0" { self.text(345..500) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.text(157..257).to_vec()
    }

    pub(super) fn size(&self) -> Result<u64, Problem> {
        self.number(124..136, "size")
    }

    pub(super) fn mode(&self) -> Result<u32, Problem> {
        Ok((self.number(100..108, "mode")? & 0o7777) as u32)
    }

    pub(super) fn id(&self, range: std::ops::Range<usize>, what: &'static str) -> Result<u32, Problem> {
        u32::try_from(self.number(range, what)?).map_err(|_| Problem::Number(what))
    }

    /// Seconds since 1970.
    pub(super) fn mtime(&self) -> Result<i64, Problem> {
        let field = &self.0[136..148];
        if field[0] == 0xff {
            // Base 256, negative: the last eight bytes are all that a time has.
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&field[4..]);
            return Ok(i64::from_be_bytes(bytes));
        }
        i64::try_from(self.number(136..148, "time")?).map_err(|_| Problem::Number("time"))
    }

    pub(super) fn device(&self) -> Result<(u32, u32), Problem> {
        Ok((self.id(329..337, "device number")?, self.id(337..345, "device number")?))
    }

    /// Octal digits, or GNU's base 256 when the top bit of the first byte is set. Blank is 0.
    pub(super) fn number(&self, range: std::ops::Range<usize>, what: &'static str) -> Result<u64, Problem> {
        let field = &self.0[range];
        if field[0] & 0x80 != 0 {
            let (first, rest) = (u64::from(field[0] & 0x7f), &field[1..]);
            return rest.iter().try_fold(first, |value, byte| {
                let shifted = value.checked_mul(256).ok_or(Problem::Number(what))?;
                Ok(shifted | u64::from(*byte))
            });
        }
        let is_blank = |byte: &u8| matches!(*byte, b' ' | 0);
        let start = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
        let digits = &field[start..];
        let end = digits.iter().position(is_blank).unwrap_or(digits.len());
        digits[..end].iter().try_fold(0_u64, |value, digit| match digit {
            b'0'..=b'7' => {
                value.checked_mul(8).map(|value| value | u64::from(digit - b'0')).ok_or(Problem::Number(what))
            }
            _ => Err(Problem::Number(what)),
        })
    }
}
