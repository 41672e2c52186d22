//! Which of other members' proposals were seen, so that none is proposed twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::NodeId;

/// How far a proposal may come after later ones of its sender.
const WINDOW: usize = 16_384;

/// The numbers seen as the leader of one term.
#[derive(Debug, Default)]
pub(crate) struct Once {
    term: u64,
    senders: BTreeMap<(NodeId, u64), Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// All below count as seen.
    floor: u64,
    numbers: BTreeSet<u64>,
}

impl Once {
    /// Whether this is the first time that this number comes.
    pub(crate) fn first(&mut self, term: u64, from: NodeId, life: u64, number: u64) -> bool {
        if term < self.term {
            return false;
        }
        if term > self.term {
            *self = Self { term, ..Self::default() };
        }
        let seen = self.senders.entry((from, life)).or_default();
        if number < seen.floor || !seen.numbers.insert(number) {
            return false;
        }
        if seen.numbers.len() > WINDOW
            && let Some(least) = seen.numbers.pop_first()
        {
            seen.floor = least + 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_once_for_a_term_a_sender_and_its_life() {
        let mut once = Once::default();
        assert!(once.first(5, 1, 9, 0) && once.first(5, 1, 9, 2) && once.first(5, 1, 9, 1));
        assert!(!once.first(5, 1, 9, 2));
        assert!(once.first(5, 2, 9, 2) && once.first(5, 1, 8, 2));
        assert!(once.first(6, 1, 9, 2) && !once.first(6, 1, 9, 2));
        // A term that is over.
        assert!(!once.first(5, 1, 9, 77));
    }

    #[test]
    fn what_is_too_old_to_be_known_counts_as_seen() {
        let mut once = Once::default();
        for number in 10..10 + WINDOW as u64 + 5 {
            assert!(once.first(1, 1, 1, number));
        }
        assert!(!once.first(1, 1, 1, 9) && !once.first(1, 1, 1, 14));
        assert_eq!(once.senders[&(1, 1)].numbers.len(), WINDOW);
    }
}
