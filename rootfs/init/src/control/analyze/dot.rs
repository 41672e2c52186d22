//! `systemd-analyze dot`: units and how they hang together, for dot(1) of Graphviz.

use super::UnitStatus;
use std::fmt::Write as _;

/// Relations with the colours that systemd gives them; the last one is order, the others requirements.
const COLOURS: [(&str, &str); 6] = [
    ("Requires", "black"),
    ("Requisite", "darkblue"),
    ("BindsTo", "gold"),
    ("Wants", "grey66"),
    ("Conflicts", "red"),
    ("After", "green"),
];

/// Which edges are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edges {
    All,
    Order,
    Requirement,
}

/// The graph of the units whose name fits a pattern at one end of an edge; of all without patterns.
pub(super) fn render(units: &[UnitStatus], edges: Edges, patterns: &[&str]) -> String {
    let fits = |name: &str| {
        patterns.is_empty()
            || patterns
                .iter()
                .any(|pattern| crate::unit::condition::glob(pattern.as_bytes(), name.as_bytes()))
    };
    let mut out = "digraph systemd {\n".to_owned();
    for unit in units {
        for (relation, colour) in COLOURS {
            let drawn = match edges {
                Edges::All => true,
                Edges::Order => relation == "After",
                Edges::Requirement => relation != "After",
            };
            let others = unit.relations.iter().filter(|(name, _)| drawn && name == relation);
            for other in others.flat_map(|(_, others)| others) {
                if fits(&unit.id) || fits(other) {
                    // Writing into a string does not fail.
                    let _ = writeln!(out, "\t\"{}\"->\"{other}\" [color=\"{colour}\"];", unit.id);
                }
            }
        }
    }
    out.push_str("}\n");
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;

    #[test]
    fn edges_have_the_colours_of_systemd() {
        let mut a = unit("a.service", 0, 1, &["b.service"]);
        a.relations.push(("Wants".into(), vec!["b.service".into(), "c.service".into()]));
        let units = [a, unit("b.service", 0, 1, &[])];
        let all = "digraph systemd {\n\t\"a.service\"->\"b.service\" [color=\"grey66\"];\n\
                   \t\"a.service\"->\"c.service\" [color=\"grey66\"];\n\
                   \t\"a.service\"->\"b.service\" [color=\"green\"];\n}\n";
        assert_eq!(render(&units, Edges::All, &[]), all);
        let order = "digraph systemd {\n\t\"a.service\"->\"b.service\" [color=\"green\"];\n}\n";
        assert_eq!(render(&units, Edges::Order, &[]), order);
        assert_eq!(render(&units, Edges::Requirement, &["c*"]).lines().count(), 3);
        assert_eq!(render(&units, Edges::All, &["z*"]), "digraph systemd {\n}\n");
    }
}
