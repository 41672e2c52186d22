//! `critical-chain`: from a unit back along what it was ordered after, always to what was up last.

use super::super::UnitStatus;
use super::super::usage::span;
use super::{names, took_us};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The chain of a unit, a line each: when it was up, and how long it took itself.
pub(super) fn render(units: &[UnitStatus], root: &str) -> Result<String, String> {
    let find = |name: &str| units.iter().find(|unit| names(unit, name));
    let mut unit = find(root).ok_or_else(|| format!("unit {root} is not loaded"))?;
    if unit.times.active_enter_us == 0 {
        return Err(format!("unit {} was never up in this boot", unit.id));
    }
    let mut out = "Behind @ is when a unit was up, behind + how long it took to start.\n\n".to_owned();
    let mut seen = BTreeSet::new();
    let mut depth = 0;
    loop {
        let indent = if depth == 0 { String::new() } else { format!("{}└─", "  ".repeat(depth - 1)) };
        let took = took_us(unit).map_or(String::new(), |us| format!(" +{}", span(us)));
        // Writing into a string does not fail.
        let _ = writeln!(out, "{indent}{} @{}{took}", unit.id, span(unit.times.active_enter_us));
        seen.insert(unit.id.as_str());
        let after = unit.relations.iter().filter(|(key, _)| key == "After").flat_map(|(_, names)| names);
        // One that came up later was not waited for: it was started again, or another time.
        let limit = unit.times.active_enter_us;
        let waited = |other: &&UnitStatus| {
            let at = other.times.active_enter_us;
            at > 0 && at <= limit && !seen.contains(other.id.as_str())
        };
        let next = after
            .filter_map(|name| find(name))
            .filter(waited)
            .max_by_key(|other| other.times.active_enter_us);
        match next {
            Some(next) => unit = next,
            None => return Ok(out),
        }
        depth += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::unit;
    use super::*;

    #[test]
    fn the_chain_follows_what_was_up_last() {
        let units = [
            unit("default.target", 0, 1000, &["a.service", "b.service"]),
            unit("a.service", 100, 300, &["sysinit.target"]),
            unit("b.service", 100, 900, &["sysinit.target", "late.service"]),
            unit("late.service", 1000, 2000, &[]),
            unit("sysinit.target", 90, 90, &["default.target"]),
        ];
        let expected = "default.target @1.000s\n└─b.service @900ms +800ms\n  └─sysinit.target @90ms\n";
        assert!(render(&units, "default.target").unwrap().ends_with(expected));
        assert!(render(&units, "gone.target").is_err());
    }
}
