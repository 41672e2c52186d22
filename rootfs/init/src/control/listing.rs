//! Tables of `systemctl`: units in memory, unit files, what depends on what.

use super::Request;
use super::UnitStatus;
use super::call::Call;
use super::systemctl::{Failure, loader, units};
use crate::unit::condition::glob;
use crate::unit::load::Loader;
use crate::unit::preset::{Presets, Verdict};
use crate::unit::{Relation, UnitName, install};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;

/// Whether a name is one of those asked for: any, if none is.
fn named(call: &Call, name: &str) -> bool {
    let whole =
        |word: &String| if word.contains(['.', '*', '?']) { word.clone() } else { format!("{word}.service") };
    call.operands.is_empty() || call.operands.iter().any(|word| glob(whole(word).as_bytes(), name.as_bytes()))
}

fn of_kind(call: &Call, name: &str) -> bool {
    let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
    call.kinds.is_empty() || call.kinds.iter().any(|wanted| wanted == kind)
}

/// Whether `list-units` shows a unit (systemctl(1): `--state` is of any of the three states).
fn wanted(call: &Call, unit: &UnitStatus) -> bool {
    let states = [&unit.load_state, &unit.active_state, &unit.sub_state];
    let shown = match call.states.as_slice() {
        [] => {
            call.all
                || !call.operands.is_empty()
                || !unit.job.is_empty()
                || (unit.active_state != "inactive" && unit.load_state != "not-found")
        }
        wanted => wanted.iter().any(|state| states.contains(&state)),
    };
    shown && named(call, &unit.id) && of_kind(call, &unit.id)
}

pub(super) fn list_units(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let mut found = units(call, &Request::List)?;
    found.retain(|unit| wanted(call, unit));
    found.sort_by(|a, b| a.id.cmp(&b.id));
    if call.json {
        serde_json::to_writer_pretty(&mut *out, &found)?;
        writeln!(out)?;
        return Ok(0);
    }
    out.extend_from_slice(table_of_units(call, &found).as_bytes());
    Ok(0)
}

fn table_of_units(call: &Call, found: &[UnitStatus]) -> String {
    let cells = |unit: &UnitStatus| {
        [&unit.id, &unit.load_state, &unit.active_state, &unit.sub_state].map(Clone::clone)
    };
    let mut rows: Vec<_> = found.iter().map(cells).collect();
    if call.legend && !found.is_empty() {
        rows.insert(0, ["UNIT", "LOAD", "ACTIVE", "SUB"].map(str::to_owned));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let first = usize::from(call.legend && !found.is_empty());
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        let unit = number.checked_sub(first).map(|number| &found[number]);
        let description = unit.map_or("DESCRIPTION", |unit| unit.description.as_str());
        if !call.plain {
            let mark = match unit {
                Some(unit) if unit.active_state == "failed" => "● ",
                Some(unit) if !matches!(unit.load_state.as_str(), "loaded" | "") => "● ",
                _ => "  ",
            };
            out.push_str(mark);
        }
        for (cell, width) in row.iter().zip(widths) {
            // Writing into a string does not fail.
            let _ = write!(out, "{cell:width$} ");
        }
        let _ = writeln!(out, "{description}");
    }
    if call.legend {
        let more = if call.all { "" } else { " Pass --all to see loaded but inactive units, too." };
        let _ = writeln!(out, "\n{} loaded units listed.{more}", found.len());
    }
    out
}

pub(super) fn list_unit_files(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    let loader = loader(call);
    let presets = Presets::system();
    let mut rows = Vec::new();
    for name in loader.names() {
        if !named(call, name.as_str()) || !of_kind(call, name.as_str()) {
            continue;
        }
        let loaded = loader.load(&name);
        let state = if loaded.alias.is_some() { "alias" } else { install::state(&loader, &loaded.unit) };
        if !call.states.is_empty() && !call.states.iter().any(|wanted| wanted == state) {
            continue;
        }
        let preset = match (state, presets.of(&name)) {
            ("enabled" | "disabled" | "enabled-runtime", Verdict::Enable(_)) => "enabled",
            ("enabled" | "disabled" | "enabled-runtime", Verdict::Disable) => "disabled",
            ("enabled" | "disabled" | "enabled-runtime", Verdict::Ignore) => "ignored",
            _ => "-",
        };
        rows.push([name.to_string(), state.to_owned(), preset.to_owned()]);
    }
    if call.json {
        let row = |[name, state, preset]: &[String; 3]| serde_json::json!({"unit_file": name, "state": state, "preset": preset});
        serde_json::to_writer_pretty(&mut *out, &rows.iter().map(row).collect::<Vec<_>>())?;
        writeln!(out)?;
        return Ok(0);
    }
    let count = rows.len();
    if call.legend {
        rows.insert(0, ["UNIT FILE", "STATE", "PRESET"].map(str::to_owned));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    for [name, state, preset] in &rows {
        writeln!(out, "{name:first$} {state:second$} {preset}")?;
    }
    if call.legend {
        writeln!(out, "\n{count} unit files listed.")?;
    }
    Ok(0)
}

pub(super) fn list_dependencies(call: &Call, out: &mut Vec<u8>) -> Result<u8, Failure> {
    if call.after && call.before || (call.after || call.before) && call.reverse {
        return Err(Failure::Usage("only one of --after, --before and --reverse can be given".into()));
    }
    let names = match call.operands.as_slice() {
        [] => vec!["default.target".to_owned()],
        names => names.to_vec(),
    };
    let loader = loader(call);
    let mut tree = Tree { call, loader: &loader, seen: BTreeSet::new(), text: String::new() };
    for name in names {
        let name = UnitName::from_user(&name)?;
        tree.seen.clear();
        // Writing into a string does not fail.
        let _ = writeln!(tree.text, "{name}");
        tree.below(&name, "");
    }
    out.extend_from_slice(tree.text.as_bytes());
    Ok(0)
}

struct Tree<'a> {
    call: &'a Call,
    loader: &'a Loader,
    seen: BTreeSet<UnitName>,
    text: String,
}

impl Tree<'_> {
    /// What a unit pulls in, or is ordered behind.
    fn named_by(&self, name: &UnitName) -> BTreeSet<UnitName> {
        use Relation::{After, Before, BindsTo, Requires, Requisite, Wants};
        let unit = self.loader.load(name).unit;
        let relations: &[Relation] = match (self.call.after, self.call.before) {
            (true, _) => &[After],
            (_, true) => &[Before],
            _ => &[Requires, Requisite, BindsTo, Wants],
        };
        relations.iter().flat_map(|relation| unit.related(*relation).to_vec()).collect()
    }

    fn next(&self, name: &UnitName) -> BTreeSet<UnitName> {
        if !self.call.reverse {
            return self.named_by(name);
        }
        let names = self.loader.names().into_iter();
        names.filter(|other| !other.is_template() && self.named_by(other).contains(name)).collect()
    }

    fn below(&mut self, name: &UnitName, indent: &str) {
        if !self.seen.insert(name.clone()) {
            return;
        }
        let next = self.next(name);
        let count = next.len();
        for (index, name) in next.iter().enumerate() {
            let last = index + 1 == count;
            let (branch, deeper) = if last { ("└─", "  ") } else { ("├─", "│ ") };
            let deeper = if self.call.plain { "  " } else { deeper };
            // Writing into a string does not fail.
            let _ = if self.call.plain {
                writeln!(self.text, "{indent}  {name}")
            } else {
                writeln!(self.text, "{indent}{branch}{name}")
            };
            // systemctl(1): targets are expanded, others with --all; order is shown one step deep.
            let order = self.call.after || self.call.before;
            if self.call.all || (!order && (self.call.reverse || name.as_str().ends_with(".target"))) {
                self.below(name, &format!("{indent}{deeper}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::call::parse;

    fn unit(id: &str, load: &str, active: &str, sub: &str) -> UnitStatus {
        UnitStatus {
            id: id.into(),
            load_state: load.into(),
            active_state: active.into(),
            sub_state: sub.into(),
            description: format!("what {id} is"),
            ..UnitStatus::default()
        }
    }

    #[test]
    fn units_are_chosen_by_state_kind_and_name() {
        let all = [
            unit("a.service", "loaded", "active", "running"),
            unit("b.service", "loaded", "failed", "failed"),
            unit("c.service", "loaded", "inactive", "dead"),
            unit("gone.service", "not-found", "inactive", "dead"),
            unit("t.target", "loaded", "active", "active"),
        ];
        let chosen = |words: &str| -> Vec<&str> {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            let call = parse(&[vec!["list-units".to_owned()], words].concat()).unwrap();
            all.iter().filter(|unit| wanted(&call, unit)).map(|unit| unit.id.as_str()).collect()
        };
        assert_eq!(chosen(""), ["a.service", "b.service", "t.target"]);
        assert_eq!(chosen("--all").len(), 5);
        assert_eq!(chosen("--failed"), ["b.service"]);
        assert_eq!(chosen("--state=running,dead"), ["a.service", "c.service", "gone.service"]);
        assert_eq!(chosen("--state=not-found"), ["gone.service"]);
        assert_eq!(chosen("-t target"), ["t.target"]);
        assert_eq!(chosen("c"), ["c.service"]);
        assert_eq!(chosen("?.service --state=active"), ["a.service"]);
    }

    #[test]
    fn the_table_is_for_people_or_for_programs() {
        let found = [
            unit("a.service", "loaded", "active", "running"),
            unit("bb.service", "loaded", "failed", "failed"),
        ];
        let shown = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            table_of_units(&parse(&words).unwrap(), &found)
        };
        assert_eq!(
            shown("list-units --all"),
            "  UNIT       LOAD   ACTIVE SUB     DESCRIPTION\n\
             \x20 a.service  loaded active running what a.service is\n\
             ● bb.service loaded failed failed  what bb.service is\n\n2 loaded units listed.\n"
        );
        assert_eq!(
            shown("list-units --plain --no-legend"),
            "a.service  loaded active running what a.service is\n\
             bb.service loaded failed failed  what bb.service is\n"
        );
    }
}
