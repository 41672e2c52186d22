//! The user-data document: a `#cloud-config` in YAML, parsed and validated as a whole.
//!
//! [`parse`] takes the document's bytes to a [`Plan`] or to *all* that is wrong with it, each
//! with line and column. Nothing here touches the machine, so that the verdict on a laptop is
//! the one at boot; the plan is carried out by crate `init`.
//!
//! Keys are coreos-cloudinit's, `-` and `_` are the same in them, and a key that nobody knows
//! is an error: what a document asks for is done or refused, never ignored.

mod encoding;
mod file;
mod hostname;
mod unit;

pub use document::{Place, Problem};
pub use file::{Account, File, Owner};
pub use unit::{DropIn, Unit, UnitCommand};

use document::{Node, Problems, Value};

/// The first line of a document.
const HEADER: &str = "#cloud-config";
/// Longest document in bytes. Those that come through `fw_cfg` are best far below: the kernel
/// reads them in quadratic time.
pub const SIZE_MAX: usize = 1 << 20;

/// What a document asks for, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// `hostname`
    pub hostname: Option<String>,
    /// `write_files`
    pub files: Vec<File>,
    /// `units` and `coreos.units`
    pub units: Vec<Unit>,
}

/// Parses and validates a document.
///
/// # Errors
/// Everything that is wrong with it, in the order of the document; never empty.
pub fn parse(bytes: &[u8]) -> Result<Plan, Vec<Problem>> {
    let problems = Problems::default();
    let plan = read(bytes, &problems);
    let found = problems.into_sorted();
    if found.is_empty() { Ok(plan) } else { Err(found) }
}

fn read(bytes: &[u8], problems: &Problems) -> Plan {
    let start = Place { line: 1, column: 1 };
    let Some(text) = text(bytes, problems) else { return Plan::default() };
    if text.lines().next().is_none_or(|line| line.trim_end() != HEADER) {
        problems.add(start, format!("the first line must be `{HEADER}`"));
        return Plan::default();
    }
    let root = match document::read(text) {
        Ok(root) => root,
        Err(problem) => {
            problems.add(problem.place, problem.message);
            return Plan::default();
        }
    };
    if root.value == Value::Null {
        return Plan::default();
    }
    let Some(fields) = root.fields(problems) else { return Plan::default() };
    let hostname = fields.get("hostname").and_then(|node| hostname::read(node, problems));
    let files = file::read(fields.items("write_files"), problems);
    let mut units: Vec<&Node> = fields.items("units").iter().collect();
    let coreos = fields.get("coreos").and_then(|node| node.fields(problems));
    if let Some(coreos) = coreos {
        units.extend(coreos.items("units"));
        coreos.finish();
    }
    fields.finish();
    Plan { hostname, files, units: unit::read(&units, problems) }
}

fn text<'a>(bytes: &'a [u8], problems: &Problems) -> Option<&'a str> {
    let start = Place { line: 1, column: 1 };
    if bytes.len() > SIZE_MAX {
        problems.add(start, format!("{} bytes are more than the {SIZE_MAX} allowed", bytes.len()));
        return None;
    }
    std::str::from_utf8(bytes)
        .map_err(|error| {
            let mut lines = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n');
            let line = lines.clone().count();
            let column = String::from_utf8_lossy(lines.next_back().unwrap_or_default()).chars().count() + 1;
            problems.add(Place { line, column }, "not UTF-8");
        })
        .ok()
}
