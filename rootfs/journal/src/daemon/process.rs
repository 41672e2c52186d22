//! Who said it: the fields about a process that the journal itself adds.

use crate::field::join;
use crate::write::Shared;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

/// How long what was read of a process is believed.
const FRESH: Duration = Duration::from_secs(1);
/// Processes remembered.
const PROCESSES_MAX: usize = 1024;
/// The longest command line kept, in bytes.
const COMMAND_MAX: u64 = 2048;

/// Credentials as the kernel gives them with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Process.
    pub pid: i32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What is known of a process.
#[derive(Clone, Debug)]
pub struct Known {
    /// `_PID`, `_UID`, `_GID`, and what /proc told: `_COMM`, `_EXE`, `_CMDLINE`, `_SYSTEMD_CGROUP`.
    pub process: Rc<Shared>,
    /// `_SYSTEMD_UNIT`, with its name.
    pub unit: Option<(String, Rc<Shared>)>,
}

/// The processes that spoke lately.
#[derive(Debug, Default)]
pub struct Processes {
    known: HashMap<Credentials, (Duration, Known)>,
}

impl Processes {
    /// What is known of a process; read from /proc when that is a second ago. One that has ended
    /// already keeps what was known of it before.
    pub fn get(&mut self, who: Credentials, now: Duration) -> Known {
        if let Some((when, known)) = self.known.get(&who)
            && now < *when + FRESH
        {
            return known.clone();
        }
        if self.known.len() >= PROCESSES_MAX {
            self.known.retain(|_, (when, _)| now < *when + FRESH);
            if self.known.len() >= PROCESSES_MAX {
                self.known.clear();
            }
        }
        let facts = Facts::read(who.pid);
        let old = self.known.remove(&who).map(|(_, known)| known);
        let known = match old {
            Some(old) if facts.is_none() => old,
            old => made(who, &facts.unwrap_or_default(), old),
        };
        self.known.insert(who, (now, known.clone()));
        known
    }
}

/// Keeps what is equal, so that it is stored once.
fn made(who: Credentials, facts: &Facts, old: Option<Known>) -> Known {
    let mut fields = vec![
        join("_PID", who.pid.to_string()),
        join("_UID", who.uid.to_string()),
        join("_GID", who.gid.to_string()),
    ];
    for (name, value) in [
        ("_COMM", &facts.name),
        ("_EXE", &facts.program),
        ("_CMDLINE", &facts.command),
        ("_SYSTEMD_CGROUP", &facts.cgroup),
    ] {
        if !value.is_empty() {
            fields.push(join(name, value));
        }
    }
    let unit = unit_of(&facts.cgroup).map(|unit| {
        let field = vec![join("_SYSTEMD_UNIT", &unit)];
        (unit, field)
    });
    let (old_process, old_unit) = old.map_or((None, None), |old| (Some(old.process), old.unit));
    Known {
        process: old_process
            .filter(|old| old.fields() == fields)
            .unwrap_or_else(|| Rc::new(Shared::new(fields))),
        unit: unit.map(|(unit, field)| match old_unit {
            Some((name, shared)) if name == unit => (name, shared),
            _ => (unit, Rc::new(Shared::new(field))),
        }),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    name: String,
    program: String,
    command: String,
    cgroup: String,
}

impl Facts {
    /// Reads /proc; `None` if the process is gone.
    fn read(pid: i32) -> Option<Self> {
        let read = |name: &str| {
            let mut text = Vec::new();
            let file = File::open(format!("/proc/{pid}/{name}")).ok()?;
            file.take(COMMAND_MAX).read_to_end(&mut text).ok()?;
            Some(String::from_utf8_lossy(&text).into_owned())
        };
        let program = std::fs::read_link(format!("/proc/{pid}/exe"));
        let cgroup = read("cgroup").unwrap_or_default();
        let cgroup = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
        Some(Self {
            name: read("comm")?.trim_end().to_owned(),
            program: program.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
            command: read("cmdline").unwrap_or_default().trim_end_matches('\0').replace('\0', " "),
            cgroup: cgroup.to_owned(),
        })
    }
}

/// The unit that a cgroup belongs to: the first part of its path that is one and no slice.
fn unit_of(cgroup: &str) -> Option<String> {
    let kinds = [".service", ".scope", ".socket", ".mount", ".swap"];
    let mut parts = cgroup.split('/');
    parts.find(|part| part.len() < 256 && kinds.iter().any(|kind| part.ends_with(kind))).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_process_and_of_one_that_is_gone() {
        let mut processes = Processes::default();
        let pid = std::process::id().cast_signed();
        let who = Credentials { pid, uid: 0, gid: 0 };
        let known = processes.get(who, Duration::ZERO);
        let names: Vec<String> = known
            .process
            .fields()
            .iter()
            .map(|field| String::from_utf8_lossy(crate::field::split(field).0).into_owned())
            .collect();
        assert!(
            names.starts_with(&["_PID".into(), "_UID".into(), "_GID".into(), "_COMM".into()]),
            "{names:?}"
        );
        let again = processes.get(who, Duration::from_secs(5));
        assert!(Rc::ptr_eq(&known.process, &again.process), "the same, so stored once");
        let gone = processes.get(Credentials { pid: i32::MAX, ..who }, Duration::ZERO);
        assert_eq!(gone.process.fields().len(), 3);
    }

    #[test]
    fn units_of_cgroups() {
        for (cgroup, unit) in [
            ("/system.slice/a.service", Some("a.service")),
            ("/a.slice/a-b.slice/x@1.service/sub", Some("x@1.service")),
            ("/init.scope", Some("init.scope")),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(unit_of(cgroup).as_deref(), unit);
        }
    }
}
