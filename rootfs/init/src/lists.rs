//! Lists by key, in as little memory as they need.

use std::ops::Range;

/// Values by key, and of one key in the order in which they came. Two plain arrays: PID 1 has one of
/// these for every unit, and each page of its memory is one more to copy whenever it forks.
#[derive(Clone, Debug)]
pub struct Lists<K, V> {
    /// Ascending.
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K, V> Default for Lists<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }
}

impl<K: Copy + Ord, V> Lists<K, V> {
    fn range(&self, key: K) -> Range<usize> {
        let first = self.keys.partition_point(|other| *other < key);
        first..first + self.keys[first..].partition_point(|other| *other == key)
    }

    /// The values of a key.
    pub fn of(&self, key: K) -> &[V] {
        &self.values[self.range(key)]
    }

    /// Adds a value behind those that the key has.
    pub fn push(&mut self, key: K, value: V) {
        let end = self.range(key).end;
        self.keys.insert(end, key);
        self.values.insert(end, value);
    }

    /// The same, unless the key has that value already.
    pub fn push_new(&mut self, key: K, value: V)
    where
        V: PartialEq,
    {
        if !self.of(key).contains(&value) {
            self.push(key, value);
        }
    }

    /// Takes a key's values away.
    pub fn remove(&mut self, key: K) {
        let range = self.range(key);
        self.keys.drain(range.clone());
        self.values.drain(range);
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The values of all keys.
    pub fn values(&self) -> &[V] {
        &self.values
    }

    /// Gives memory back that is not needed.
    pub fn shrink(&mut self) {
        self.keys.shrink_to_fit();
        self.values.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_order_within_their_key() {
        let mut lists = Lists::default();
        for (key, value) in [(2, "c"), (1, "b"), (2, "a"), (3, "d"), (1, "a")] {
            lists.push(key, value);
        }
        lists.push_new(2, "c");
        lists.push_new(2, "d");
        assert_eq!(lists.of(1), ["b", "a"]);
        assert_eq!(lists.of(2), ["c", "a", "d"]);
        assert_eq!((lists.of(0), lists.of(4)), (&[][..], &[][..]));
        lists.remove(2);
        lists.remove(4);
        assert_eq!(lists.values(), ["b", "a", "d"]);
        assert_eq!(lists.of(3), ["d"]);
        lists.clear();
        assert!(lists.values().is_empty());
    }
}
