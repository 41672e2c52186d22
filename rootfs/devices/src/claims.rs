//! Which device a link leads to when several want it: the one of the highest priority, and of
//! those the one whose name comes first (`vda` before `vdb` before `vda1`). So the outcome does
//! not depend on the order in which devices appear.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// All claims.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// By link: who wants it, and how much.
    wanted: BTreeMap<String, BTreeMap<String, i32>>,
    /// By node: its links.
    of: BTreeMap<String, BTreeSet<String>>,
}

/// What is to be done to a link below /dev.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The link.
    pub link: String,
    /// The node that it leads to from now on; `None`: it goes.
    pub target: Option<String>,
}

impl Claims {
    /// Replaces the claims of a node, by none when it is gone. Gives every link that may have to
    /// change, also those that stay: a link may have been removed by hand.
    pub fn set(&mut self, node: &str, links: &BTreeSet<String>, priority: i32) -> Vec<Change> {
        let old = self.of.remove(node).unwrap_or_default();
        for link in old.difference(links) {
            if let Some(nodes) = self.wanted.get_mut(link) {
                nodes.remove(node);
            }
        }
        for link in links {
            self.wanted.entry(link.clone()).or_default().insert(node.to_owned(), priority);
        }
        if !links.is_empty() {
            self.of.insert(node.to_owned(), links.clone());
        }
        let changes = old.union(links).map(|link| Change { link: link.clone(), target: self.winner(link) });
        let changes = changes.collect();
        self.wanted.retain(|_, nodes| !nodes.is_empty());
        changes
    }

    /// The node that a link leads to.
    pub fn winner(&self, link: &str) -> Option<String> {
        let nodes = self.wanted.get(link)?;
        let best =
            nodes.iter().max_by_key(|(node, priority)| (**priority, Reverse((node.len(), (*node).clone()))));
        best.map(|(node, _)| node.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_link_goes_on_to_the_next_when_its_device_goes() {
        let mut claims = Claims::default();
        let to = |target: Option<&str>| {
            vec![Change { link: "disk/by-label/a".to_owned(), target: target.map(str::to_owned) }]
        };
        let label = links(&["disk/by-label/a"]);
        assert_eq!(claims.set("vdb", &label, 0), to(Some("vdb")));
        assert_eq!(claims.set("vda1", &label, 0), to(Some("vdb")));
        assert_eq!(claims.set("vda", &label, 0), to(Some("vda")));
        assert_eq!(claims.set("dm-0", &label, 50), to(Some("dm-0")));
        assert_eq!(claims.set("dm-0", &links(&[]), 0), to(Some("vda")));
        assert_eq!(claims.set("vda", &links(&[]), 0), to(Some("vdb")));
        assert_eq!(claims.set("vdb", &links(&["x"]), 0)[0], to(Some("vda1"))[0]);
        assert_eq!(claims.set("vda1", &links(&[]), 0), to(None));
    }

    proptest! {
        #[test]
        fn the_order_of_appearance_does_not_matter(order in Just(vec!["vda", "vdb", "sda1", "dm-1", "nvme0n1p10", "nvme0n1p2"]).prop_shuffle(), gone in 0_usize..6) {
            let mut claims = Claims::default();
            for node in &order {
                claims.set(node, &links(&["l"]), i32::from(node.starts_with("dm")));
            }
            prop_assert_eq!(claims.winner("l").unwrap(), "dm-1");
            claims.set("dm-1", &links(&[]), 0);
            claims.set(order[gone], &links(&[]), 0);
            let expected = if order[gone] == "vda" { "vdb" } else { "vda" };
            prop_assert_eq!(claims.winner("l").unwrap(), expected);
        }
    }
}
