//! The form of rtnetlink(7) messages: headers and attributes, in the machine's byte order.
//!
//! Some hundreds of attributes exist; the service needs about forty, so it reads those by hand
//! and passes over the rest, whatever a newer kernel puts there.

/// Header of a message: length, type, flags, sequence, port.
pub const HEADER: usize = 16;
/// The kernel's mask of the bits that mark nesting and byte order.
const TYPE_MASK: u16 = 0x3fff;

/// A request that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request(Vec<u8>);

impl Request {
    /// A request of this type and with these flags; `fixed` is the family's own header.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Self(bytes)
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a number of 32 bits.
    #[must_use]
    pub fn with_u32(self, kind: u16, value: u32) -> Self {
        self.with(kind, &value.to_ne_bytes())
    }

    /// Adds a text with its NUL.
    #[must_use]
    pub fn with_text(self, kind: u16, value: &str) -> Self {
        self.with(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Adds attributes within an attribute.
    #[must_use]
    pub fn with_nested(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        let mut all = inner(self);
        let length = u16::try_from(all.0.len() - start).unwrap_or(u16::MAX);
        all.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        all
    }

    /// Adds an attribute if there is a value.
    #[must_use]
    pub fn maybe<T>(self, value: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => add(self, value),
            None => self,
        }
    }

    /// Adds bytes that are no attribute.
    #[must_use]
    pub fn with_raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The whole message under this sequence number.
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// A message that came.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `RTM_NEWLINK` and so on.
    pub kind: u16,
    /// Number of the request that it answers.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages of one datagram; what is cut short ends the list.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let whole = bytes.get(..length).filter(|whole| whole.len() >= HEADER)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind: u16_at(whole, 4)?, sequence: u32_at(whole, 8)?, body: &whole[HEADER..] })
    })
}

/// Attributes: type and value; what is cut short ends the list.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let whole = bytes.get(..length).filter(|whole| whole.len() >= 4)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16_at(whole, 2)? & TYPE_MASK, &whole[4..]))
    })
}

/// A number of 16 bits at a place.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

/// A number of 32 bits at a place.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

/// A text up to its NUL.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let request = Request::new(16, 5, &[9; 16])
            .with_text(3, "eth0")
            .with_nested(18, |inner| {
                inner.with_text(1, "vlan").with_nested(2, |inner| inner.with(1, &[5, 0]))
            })
            .with_u32(4, 1500);
        let bytes = request.finish(7);
        let message = messages(&bytes).next().unwrap();
        assert_eq!((message.kind, message.sequence), (16, 7));
        let all: Vec<_> = attributes(&message.body[16..]).collect();
        assert_eq!(all[0], (3, &b"eth0\0"[..]));
        assert_eq!(all[2], (4, &1500_u32.to_ne_bytes()[..]));
        let inner: Vec<_> = attributes(all[1].1).collect();
        assert_eq!(attributes(inner[1].1).next(), Some((1, &[5, 0][..])));
    }

    proptest::proptest! {
        #[test]
        fn cut_messages_end(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                attributes(message.body).count();
            }
        }
    }
}
