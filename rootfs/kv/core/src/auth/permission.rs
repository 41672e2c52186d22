//! Ranges of keys that may be read or written. Permissions of several roles add up:
//! a range that two of them cover together is covered (etcd: `range_perm_cache.go`).

use bytes::Bytes;

/// What a permission lets do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermissionKind {
    /// Range and watch.
    Read,
    /// Put and delete.
    Write,
    /// Both.
    ReadWrite,
}

impl PermissionKind {
    /// Whether it lets read.
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// Whether it lets write.
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

/// What may be done with which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What may be done.
    pub kind: PermissionKind,
    /// The key, or the first of the range; not empty.
    pub key: Bytes,
    /// Empty for the key alone, `\0` for all keys from `key` on, else the first key behind the range.
    pub range_end: Bytes,
}

impl Permission {
    /// Whether it can be granted: a key, and a range that is not empty.
    pub fn is_valid(&self) -> bool {
        !self.key.is_empty() && (matches!(self.range_end.as_ref(), [] | [0]) || self.key < self.range_end)
    }
}

/// Keys from the first, included, to the second, excluded; `None` is behind all keys.
type Interval = (Bytes, Option<Bytes>);

/// Intervals that neither touch nor overlap, by their first key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Intervals(Vec<Interval>);

/// What a user may read and write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    read: Intervals,
    write: Intervals,
}

impl Granted {
    pub fn of<'p>(roles: &(impl Iterator<Item = &'p Vec<Permission>> + Clone)) -> Self {
        let all = |wanted: fn(PermissionKind) -> bool| {
            let permissions = roles.clone().flatten().filter(|permission| wanted(permission.kind));
            Intervals::of(permissions.map(|permission| interval(&permission.key, &permission.range_end)))
        };
        Self { read: all(PermissionKind::reads), write: all(PermissionKind::writes) }
    }

    pub fn reads(&self, key: &Bytes, range_end: &Bytes) -> bool {
        self.read.cover(&interval(key, range_end))
    }

    pub fn writes(&self, key: &Bytes, range_end: &Bytes) -> bool {
        self.write.cover(&interval(key, range_end))
    }
}

/// A key alone ends before the next that can be: itself and a zero byte.
fn interval(key: &Bytes, range_end: &Bytes) -> Interval {
    let end = match range_end.as_ref() {
        [] => Some([key.as_ref(), &[0]].concat().into()),
        [0] => None,
        _ => Some(range_end.clone()),
    };
    (key.clone(), end)
}

/// Whether one end lies before another, or at it.
fn up_to(end: Option<&Bytes>, other: Option<&Bytes>) -> bool {
    match (end, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(end), Some(other)) => end <= other,
    }
}

impl Intervals {
    fn of(intervals: impl Iterator<Item = Interval>) -> Self {
        let mut all: Vec<_> = intervals.collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let mut merged: Vec<Interval> = Vec::new();
        for (start, end) in all {
            match merged.last_mut() {
                Some((_, last)) if last.as_ref().is_none_or(|last| *last >= start) => {
                    if up_to(last.as_ref(), end.as_ref()) {
                        *last = end;
                    }
                }
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    /// Whether one of them holds all of an interval. An interval without keys is held where its
    /// two ends are, as in etcd.
    fn cover(&self, (start, end): &Interval) -> bool {
        let (first, last) = match end {
            Some(end) if end < start => (end, Some(start)),
            end => (start, end.as_ref()),
        };
        let after = self.0.partition_point(|(begin, _)| begin <= first);
        let Some((_, end)) = after.checked_sub(1).and_then(|at| self.0.get(at)) else { return false };
        up_to(last, end.as_ref()) && end.as_ref().is_none_or(|end| end > first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(key: &'static str, range_end: &'static str) -> Permission {
        Permission { kind: PermissionKind::Read, key: key.into(), range_end: range_end.into() }
    }

    #[test]
    fn what_touches_is_one_range() {
        let roles = [vec![permission("a", "c"), permission("x", "\0")], vec![permission("c", "")]];
        let granted = Granted::of(&roles.iter());
        for (key, end, may) in [
            ("a", "c", true),
            ("a", "c\0", true),
            ("a", "d", false),
            ("c", "", true),
            ("c\0", "", false),
            ("b", "\0", false),
            ("x", "\0", true),
            ("y", "z", true),
            ("A", "b", false),
            ("b", "a", true),
            ("d", "a", false),
        ] {
            assert_eq!(granted.reads(&key.into(), &end.into()), may, "{key:?} {end:?}");
            assert!(!granted.writes(&key.into(), &end.into()));
        }
    }

    #[test]
    fn a_range_without_keys_cannot_be_granted() {
        for (key, end, valid) in [
            ("a", "", true),
            ("a", "\0", true),
            ("a", "b", true),
            ("b", "a", false),
            ("a", "a", false),
            ("", "", false),
            ("", "\0", false),
            ("", "a", false),
        ] {
            assert_eq!(permission(key, end).is_valid(), valid, "{key:?} {end:?}");
        }
    }
}
