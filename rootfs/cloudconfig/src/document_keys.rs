//! The keys of one `#cloud-config`.

use crate::{Context, Plan, daemon, file, hostname, keys, substitute, text_place::Source, unit, user};
use document::{Fields, Node, Problems, Value};

pub(crate) fn read(text: &str, plan: &mut Plan, context: &Context<'_>, problems: &Problems) {
    let mut root = match document::read(text) {
        Ok(root) => root,
        Err(problem) => return problems.add(problem.place, problem.message),
    };
    let source = Source::new(text);
    substitute::apply(&mut root, &source, context.facts, problems);
    if root.value == Value::Null {
        return;
    }
    let Some(fields) = root.fields(problems) else { return };
    if let Some(node) = fields.get("hostname") {
        let name = hostname::read(node, problems);
        if plan.hostname.is_some() {
            problems.add(node.place, "key `hostname` stands in an earlier part, too");
        }
        plan.hostname = name.or(plan.hostname.take());
    }
    if let Some(node) = fields.get("manage_etc_hosts") {
        match node.text(problems) {
            Some("localhost") => plan.manage_etc_hosts = true,
            Some(other) => {
                problems
                    .add(node.place, format!("manage_etc_hosts can only be `localhost`, found `{other}`"));
            }
            None => {}
        }
    }
    let core = keys::read(fields.items("ssh_authorized_keys"), problems);
    user::read(fields.items("users"), &mut plan.users, &mut plan.warnings, problems);
    user::add_keys(&mut plan.users, "core", core);
    file::read(fields.items("write_files"), &mut plan.files, problems);
    let mut units: Vec<&Node> = fields.items("units").iter().collect();
    let coreos = fields.get("coreos").and_then(|node| node.fields(problems));
    if let Some(coreos) = coreos {
        units.extend(coreos.items("units"));
        misplaced(&coreos, problems);
        daemon::read(&coreos, plan, problems);
        coreos.finish();
    }
    fields.finish();
    unit::read(&units, plan, &source, context.check_unit, problems);
}

/// Keys that people put below `coreos` though they belong to the top.
fn misplaced(coreos: &Fields<'_>, problems: &Problems) {
    for name in ["hostname", "ssh_authorized_keys", "users", "write_files"] {
        if let Some(node) = coreos.get(name) {
            problems
                .add(node.place, format!("`{name}` belongs to the top of the document, not below `coreos`"));
        }
    }
}
