//! A plan in words.

use super::{IdMap, Plan, Seccomp, Step};
use crate::namespace::Namespace;
use std::fmt::Write;

/// The whole plan, for people.
pub fn explain(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(plan, &mut text);
    text
}

/// The whole plan, for programs.
///
/// # Errors
/// Never for a plan that [`super::decide`] made.
pub fn json(plan: &Plan) -> serde_json::Result<String> {
    serde_json::to_string_pretty(plan)
}

fn write(plan: &Plan, text: &mut String) -> std::fmt::Result {
    writeln!(text, "image         {}", plan.image)?;
    for kind in Namespace::ALL {
        let whose = match &plan.target {
            Some(target) if plan.joined.contains(&kind) => {
                format!("that of {} (process {})", target.name, target.pid)
            }
            _ if plan.namespaces.contains(&kind) => "the box's own".to_owned(),
            _ => "the host's".to_owned(),
        };
        writeln!(text, "namespace     {kind:<7} {whose}")?;
    }
    if let Some(ids) = &plan.ids {
        let by = if ids.by_tools { "newuidmap, newgidmap" } else { "the kernel" };
        for (what, maps) in [("users", &ids.users), ("groups", &ids.groups)] {
            for map in maps {
                let IdMap { inside, outside, count } = map;
                writeln!(
                    text,
                    "{what:<13} {count} from {inside} in the box are those from {outside} outside, by {by}"
                )?;
            }
        }
    }
    for step in &plan.steps {
        writeln!(text, "root          {}", describe(step))?;
    }
    writeln!(text, "host name     {}", plan.host_name)?;
    writeln!(text, "capabilities  {}", plan.capabilities)?;
    writeln!(text, "privileges    no program gives more (no_new_privs)")?;
    match &plan.seccomp {
        Seccomp::Default => writeln!(text, "system calls  those that no tool needs are refused")?,
        Seccomp::Off => writeln!(text, "system calls  all")?,
        Seccomp::File(path) => writeln!(text, "system calls  as {} says", path.display())?,
    }
    match &plan.cgroup {
        Some(cgroup) => {
            writeln!(text, "cgroup        its own, in {}", cgroup.parent.display())?;
            for (file, value) in &cgroup.limits {
                writeln!(text, "limit         {file} {value}")?;
            }
        }
        None => writeln!(text, "cgroup        the caller's")?,
    }
    for (name, value) in &plan.environment {
        writeln!(text, "variable      {name}={value}")?;
    }
    writeln!(text, "folder        {}", plan.working_dir.display())?;
    writeln!(
        text,
        "terminal      {}",
        if plan.terminal { "the box's own" } else { "none; streams are passed through" }
    )?;
    writeln!(text, "command       {}", plan.command.join(" "))?;
    if plan.report {
        writeln!(text, "report        calls that change files, mount or bind wait until they are noted")?;
    }
    plan.notes.iter().try_for_each(|note| writeln!(text, "note          {note}"))
}

fn describe(step: &Step) -> String {
    let mode = |read_only: &bool| if *read_only { "read-only" } else { "writable" };
    match step {
        Step::Folder { path, mode } => format!("folder {} with mode {mode:o}", path.display()),
        Step::File { path, content } => format!("file {} of {} bytes", path.display(), content.len()),
        Step::Link { path, to } => format!("link {} to {}", path.display(), to.display()),
        Step::Root { source, layer: Some(layer), .. } => format!(
            "{} below those, and above all the layer in {}, which is kept",
            source.display(),
            layer.join("upper").display()
        ),
        Step::Root { source, read_only: true, .. } => format!("{} below those, read-only", source.display()),
        Step::Root { source, read_only: false, .. } => {
            format!("{} below those, and an ephemeral layer above all", source.display())
        }
        Step::Layer { path } => format!("{} of the host with an ephemeral layer above", path.display()),
        Step::Devices { nodes } => format!("/dev with {}, terminals and shared memory", nodes.join(", ")),
        Step::Bind { source, target, recursive, read_only } => {
            let below = if *recursive { " with what is mounted below" } else { "" };
            format!("the host's {}{below} at {}, {}", source.display(), target.display(), mode(read_only))
        }
        Step::Proc => "/proc of the box's processes".to_owned(),
        Step::Sys => "/sys of the box's network, read-only".to_owned(),
        Step::Cgroups => "/sys/fs/cgroup of the box, read-only".to_owned(),
        Step::Host { target, read_only } => {
            format!("the host's root with all that is mounted at {}, {}", target.display(), mode(read_only))
        }
        Step::Target { target, read_only } => {
            format!("the target's root with all that is mounted at {}, {}", target.display(), mode(read_only))
        }
        Step::Processes { target } => {
            format!("{} of the box's processes in place of the host's, read-only", target.display())
        }
        Step::Protect { path } => format!("{} read-only", path.display()),
    }
}
