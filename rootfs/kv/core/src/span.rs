//! The keys that a key and a range end name together (etcd v3 API: `RangeRequest.range_end`).

use std::ops::Bound;

use bytes::Bytes;

/// A key alone, a range, or all keys from one on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'k> {
    pub start: &'k [u8],
    pub end: End<'k>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'k> {
    /// The start alone.
    Here,
    /// Up to, without, this key.
    Before(&'k [u8]),
    /// All that follow.
    Open,
}

impl<'k> Span<'k> {
    pub fn new(key: &'k Bytes, range_end: &'k Bytes) -> Self {
        let end = match range_end.as_ref() {
            [] => End::Here,
            [0] => End::Open,
            end => End::Before(end),
        };
        Self { start: key, end }
    }

    /// Whether no key can lie in it.
    pub fn is_empty(&self) -> bool {
        matches!(self.end, End::Before(end) if end <= self.start)
    }

    /// Whether every key lies in it; no key is empty.
    pub fn is_all(&self) -> bool {
        matches!(self.end, End::Open) && self.start <= [0].as_slice()
    }

    pub fn bounds(&self) -> (Bound<&'k [u8]>, Bound<&'k [u8]>) {
        let end = match self.end {
            End::Here => Bound::Included(self.start),
            End::Before(end) => Bound::Excluded(end),
            End::Open => Bound::Unbounded,
        };
        (Bound::Included(self.start), end)
    }
}
