//! `units`

use crate::text_place::Source;
use crate::{CheckUnit, Plan};
use document::{Node, Problem, Problems};

/// Kinds of units that may be given.
const KINDS: [&str; 11] = [
    "container",
    "link",
    "mount",
    "netdev",
    "network",
    "path",
    "service",
    "slice",
    "socket",
    "target",
    "timer",
];
/// Those that are files of systemd.network(5) and its kin: nothing starts or enables them.
const NETWORK_KINDS: [&str; 3] = ["link", "netdev", "network"];
/// Longest name of a unit, in bytes (systemd.unit(5)).
const NAME_MAX: usize = 255;

/// One unit to place, mask, enable or start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// Name with its kind (`hello.service`).
    pub name: String,
    /// Text of the unit file.
    pub content: Option<String>,
    /// Drop-ins, in the document's order.
    pub drop_ins: Vec<DropIn>,
    /// It shall not be started by anything.
    pub mask: bool,
    /// It shall be enabled as its `[Install]` section says.
    pub enable: bool,
    /// It shall be in /run, not /etc.
    pub runtime: bool,
    /// What to do with it at boot.
    pub command: Option<UnitCommand>,
}

impl Unit {
    /// Folder of the unit's file: `systemd/system`, or `systemd/network` for `.network`, `.netdev`
    /// and `.link`, in /etc or /run.
    pub fn folder(&self) -> String {
        let base = if self.runtime { "/run" } else { "/etc" };
        let kind = if self.is_network() { "network" } else { "system" };
        format!("{base}/systemd/{kind}")
    }

    fn is_network(&self) -> bool {
        self.name.rsplit_once('.').is_some_and(|(_, kind)| NETWORK_KINDS.contains(&kind))
    }
}

/// A drop-in file of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    /// File name (`10-limits.conf`).
    pub name: String,
    /// Its text.
    pub content: String,
}

/// What a document wants done with a unit at boot: the verbs of systemctl(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitCommand {
    /// `start`
    Start,
    /// `stop`
    Stop,
    /// `restart`
    Restart,
    /// `reload`
    Reload,
    /// `try-restart`
    TryRestart,
    /// `reload-or-restart`
    ReloadOrRestart,
    /// `reload-or-try-restart`
    ReloadOrTryRestart,
}

impl UnitCommand {
    const ALL: [(&'static str, Self); 7] = [
        ("start", Self::Start),
        ("stop", Self::Stop),
        ("restart", Self::Restart),
        ("reload", Self::Reload),
        ("try-restart", Self::TryRestart),
        ("reload-or-restart", Self::ReloadOrRestart),
        ("reload-or-try-restart", Self::ReloadOrTryRestart),
    ];

    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let text = node.text(problems)?;
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let known = Self::ALL.map(|(name, _)| name).join(", ");
            problems.add(node.place, format!("unknown command {text:?}; known: {known}"));
        }
        found.map(|(_, command)| *command)
    }
}

pub(crate) fn read(
    items: &[&Node],
    plan: &mut Plan,
    source: &Source<'_>,
    check: CheckUnit<'_>,
    problems: &Problems,
) {
    for item in items {
        let Some(fields) = item.fields(problems) else { continue };
        let name_node = fields.required("name");
        let flag = |name| fields.get(name).and_then(|node| node.boolean(problems)).unwrap_or(false);
        let unit = Unit {
            name: name_node.and_then(|node| name(node, problems)).unwrap_or_default(),
            content: fields.text("content").map(str::to_owned),
            drop_ins: drop_ins(fields.items("drop_ins"), problems),
            mask: flag("mask"),
            enable: flag("enable"),
            runtime: flag("runtime"),
            command: fields.get("command").and_then(|node| UnitCommand::read(node, problems)),
        };
        let place = name_node.map_or(item.place, |node| node.place);
        let command_place = fields.get("command").map(|node| node.place);
        if !unit.name.is_empty() {
            // What is wrong with the items themselves was said above.
            let quiet = Problems::default();
            let drop_ins =
                fields.items("drop_ins").iter().filter_map(|item| item.fields(&quiet)?.get("content"));
            for node in fields.get("content").into_iter().chain(drop_ins) {
                check_text(&unit.name, node, plan, source, check, problems);
            }
        }
        fields.finish();
        if unit.name.is_empty() {
            continue;
        }
        if unit.is_network() && (unit.enable || command_place.is_some()) {
            problems.add(
                place,
                format!(
                    "{} is read by the network service: it cannot be enabled or have a command",
                    unit.name
                ),
            );
        }
        if unit.mask && (unit.content.is_some() || !unit.drop_ins.is_empty() || unit.enable) {
            problems
                .add(place, format!("unit {} is masked, so it cannot have content or be enabled", unit.name));
        }
        if let Some(place) = command_place.filter(|_| unit.name.contains("@.")) {
            problems
                .add(place, format!("{} is a template: only its instances can have a command", unit.name));
        }
        if plan.units.iter().any(|other| other.name == unit.name) {
            problems.add(place, format!("unit {} stands twice", unit.name));
        }
        plan.units.push(unit);
    }
}

/// Judges the text of a unit or drop-in, and places what is wrong in the document.
fn check_text(
    name: &str,
    node: &Node,
    plan: &mut Plan,
    source: &Source<'_>,
    check: CheckUnit<'_>,
    problems: &Problems,
) {
    let Some(text) = node.text(&Problems::default()) else { return };
    for fault in check(name, text) {
        let place = source.line_of(node, fault.line);
        let message = format!("{name}: {}", fault.message);
        if fault.fatal {
            problems.add(place, message);
        } else {
            plan.warnings.push(Problem { place, message });
        }
    }
}

fn drop_ins(items: &[Node], problems: &Problems) -> Vec<DropIn> {
    let mut drop_ins: Vec<DropIn> = Vec::new();
    for item in items {
        let Some(fields) = item.fields(problems) else { continue };
        let name_node = fields.required("name");
        let content = fields.required("content").and_then(|node| node.text(problems));
        fields.finish();
        let Some(node) = name_node else { continue };
        let Some(name) = node.text(problems) else { continue };
        let stem = name.strip_suffix(".conf").unwrap_or_default();
        if stem.is_empty() || stem.starts_with('.') || name.len() > NAME_MAX || !is_name(stem) {
            problems.add(node.place, format!("drop-in {name:?} is not named NAME.conf"));
        } else if drop_ins.iter().any(|other| other.name == name) {
            problems.add(node.place, format!("drop-in {name} stands twice"));
        } else if let Some(content) = content {
            drop_ins.push(DropIn { name: name.to_owned(), content: content.to_owned() });
        }
    }
    drop_ins
}

/// Characters of a unit name: systemd.unit(5).
fn is_name(text: &str) -> bool {
    let is_ok = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\@-".contains(&byte);
    !text.is_empty() && text.bytes().all(is_ok)
}

fn name(node: &Node, problems: &Problems) -> Option<String> {
    let name = node.text(problems)?;
    let fault = match name.rsplit_once('.') {
        Some((stem, kind)) if is_name(stem) && !stem.starts_with(['.', '@']) && name.len() <= NAME_MAX => {
            if KINDS.contains(&kind) {
                return Some(name.to_owned());
            }
            format!("unit {name:?} is of no kind that can be given here; kinds: {}", KINDS.join(", "))
        }
        _ => format!("unit name {name:?} is not of the form NAME.KIND"),
    };
    problems.add(node.place, fault);
    None
}
