//! `loginctl`: shows sessions and ends them. Lists are read from the records; sshd is asked to end.

use crate::applets::fail;
use crate::cgroup;
use crate::registry::{self, Record};
use crate::server::{Answer, Question, SOCKET};
use serde_json::{Value, json};
use service::call;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const USAGE: &str = "loginctl [--json=short|pretty] [--root DIR] \
    [list-sessions | session-status [ID…] | show-session [-p NAME] ID… | list-users | terminate-session ID… | \
    terminate-user USER… | kill-session [-s SIGNAL] [--kill-whom=leader|all] ID…]";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Short,
    Pretty,
}

#[derive(Debug, PartialEq, Eq)]
struct Call {
    form: Form,
    root: PathBuf,
    properties: Vec<String>,
    signal: i32,
    leader: bool,
    verb: String,
    names: Vec<String>,
}

/// What becomes of a command that fails.
#[derive(Debug)]
enum Failure {
    Usage(String),
    Failed(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The applet.
pub(crate) fn main(arguments: &[String]) -> u8 {
    let outcome = parse(arguments).and_then(|call| run(&call));
    match outcome {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&error),
            _ => 0,
        },
        Err(Failure::Failed(why)) => fail(&why),
        Err(Failure::Usage(why)) => {
            eprintln!("error: {why}\nhint: {USAGE}");
            2
        }
    }
}

fn parse(arguments: &[String]) -> Result<Call, Failure> {
    let usage = |why: String| Failure::Usage(why);
    let mut call = Call {
        form: Form::Text,
        root: PathBuf::from("/"),
        properties: vec![],
        signal: nix::libc::SIGTERM,
        leader: false,
        verb: String::new(),
        names: vec![],
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, given) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let mut value = || {
            let value = given.clone().or_else(|| rest.next().cloned());
            value.ok_or_else(|| usage(format!("{name} needs a value")))
        };
        match name {
            "--json" => {
                call.form = match value()?.as_str() {
                    "short" => Form::Short,
                    "pretty" => Form::Pretty,
                    "off" => Form::Text,
                    other => return Err(usage(format!("--json takes short, pretty or off, not `{other}`"))),
                }
            }
            "-p" | "--property" => call.properties.extend(value()?.split(',').map(str::to_owned)),
            "--root" => call.root = PathBuf::from(value()?),
            "-s" | "--signal" => {
                let text = value()?;
                call.signal = signal(&text).ok_or_else(|| usage(format!("there is no signal `{text}`")))?;
            }
            "--kill-whom" => {
                call.leader = match value()?.as_str() {
                    "leader" => true,
                    "all" => false,
                    other => return Err(usage(format!("--kill-whom takes leader or all, not `{other}`"))),
                }
            }
            // There never is a pager.
            "--no-pager" if given.is_none() => {}
            _ if name.starts_with('-') => return Err(usage(format!("`{argument}` is not an option"))),
            _ if call.verb.is_empty() => call.verb.clone_from(argument),
            _ => call.names.push(argument.clone()),
        }
    }
    if call.verb.is_empty() {
        "list-sessions".clone_into(&mut call.verb);
    }
    Ok(call)
}

fn signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    name.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

fn run(call: &Call) -> Result<String, Failure> {
    let records = registry::list(&registry::folder(&call.root))?;
    let numbers = || -> Result<Vec<u64>, Failure> {
        if call.names.is_empty() {
            return Err(Failure::Usage(format!("{} needs a session", call.verb)));
        }
        let number = |name: &String| {
            name.parse().map_err(|_| Failure::Failed(format!("there is no session `{name}`")))
        };
        call.names.iter().map(number).collect()
    };
    let record = |number: u64| {
        let found = records.iter().find(|record| record.session == number);
        found.ok_or_else(|| Failure::Failed(format!("there is no session `{number}`")))
    };
    match call.verb.as_str() {
        "list-sessions" => Ok(match call.form {
            Form::Text => sessions(&records),
            form => json_text(&records.iter().map(session_json).collect(), form),
        }),
        "list-users" => {
            let mut users: BTreeMap<u32, (&str, usize)> = BTreeMap::new();
            for record in &records {
                users.entry(record.uid).or_insert((&record.user, 0)).1 += 1;
            }
            Ok(match call.form {
                Form::Text => {
                    let rows = users.iter().map(|(uid, (user, count))| {
                        vec![uid.to_string(), (*user).to_owned(), count.to_string()]
                    });
                    table(&["UID", "USER", "SESSIONS"], rows.collect(), "users")
                }
                form => {
                    let users = users
                        .iter()
                        .map(|(uid, (user, count))| json!({"uid": uid, "user": user, "sessions": count}));
                    json_text(&users.collect(), form)
                }
            })
        }
        "session-status" => {
            let shown: Vec<&Record> = if call.names.is_empty() {
                records.iter().collect()
            } else {
                numbers()?.into_iter().map(record).collect::<Result<_, _>>()?
            };
            Ok(shown.iter().map(|record| status(record)).collect::<Vec<_>>().join("\n"))
        }
        "show-session" => {
            let shown = numbers()?.into_iter().map(record).collect::<Result<Vec<_>, _>>()?;
            Ok(match call.form {
                Form::Text => shown
                    .iter()
                    .map(|record| properties(record, &call.properties))
                    .collect::<Vec<_>>()
                    .join("\n"),
                form => json_text(&shown.into_iter().map(session_json).collect(), form),
            })
        }
        "terminate-session" => {
            for session in numbers()? {
                ask(&call.root, &Question::Terminate { session }, &session.to_string())?;
            }
            Ok(String::new())
        }
        "kill-session" => {
            for session in numbers()? {
                let question = Question::Kill { session, signal: call.signal, leader: call.leader };
                ask(&call.root, &question, &session.to_string())?;
            }
            Ok(String::new())
        }
        "terminate-user" => {
            if call.names.is_empty() {
                return Err(Failure::Usage("terminate-user needs a user".to_owned()));
            }
            for name in &call.names {
                let known = records.iter().find(|record| record.user == *name).map(|record| record.uid);
                let uid = known
                    .or_else(|| name.parse().ok())
                    .ok_or_else(|| Failure::Failed(format!("no session of `{name}`")))?;
                ask(&call.root, &Question::TerminateUser { uid }, name)?;
            }
            Ok(String::new())
        }
        other => Err(Failure::Usage(format!("there is no command `{other}`"))),
    }
}

fn ask(root: &Path, question: &Question, what: &str) -> Result<(), Failure> {
    match call::ask(&root.join(SOCKET), question) {
        Ok(Answer::Done(_)) => Ok(()),
        Ok(Answer::NoSuch) => Err(Failure::Failed(format!("there is no session of `{what}`"))),
        Ok(Answer::Denied(why) | Answer::Failed(why)) => Err(Failure::Failed(why)),
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}

fn json_text(values: &Vec<Value>, form: Form) -> String {
    let value = json!(values);
    if form == Form::Pretty { format!("{value:#}\n") } else { format!("{value}\n") }
}

/// As systemd's: a session, and no seat.
fn session_json(record: &Record) -> Value {
    json!({
        "session": record.session.to_string(),
        "uid": record.uid,
        "user": record.user,
        "seat": null,
        "leader": record.leader,
        "tty": record.tty,
        "state": record.state,
        "service": record.service,
        "remote_host": record.remote_host,
        "since": record.since_us,
    })
}

fn sessions(records: &[Record]) -> String {
    let rows = records.iter().map(|record| {
        let tty = record.tty.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            record.session.to_string(),
            record.uid.to_string(),
            record.user.clone(),
            tty,
            record.remote_host.clone(),
            record.state.clone(),
        ]
    });
    table(&["SESSION", "UID", "USER", "TTY", "REMOTE", "STATE"], rows.collect(), "sessions")
}

fn table(head: &[&str], rows: Vec<Vec<String>>, what: &str) -> String {
    if rows.is_empty() {
        return format!("No {what}.\n");
    }
    let count = rows.len();
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    let lines: Vec<String> = rows.iter().map(line).collect();
    format!("{}\n\n{count} {what} listed.\n", lines.join("\n"))
}

fn properties(record: &Record, wanted: &[String]) -> String {
    let all = [
        ("Id", record.session.to_string()),
        ("User", record.uid.to_string()),
        ("Name", record.user.clone()),
        ("Timestamp", format!("@{}", record.since_us / 1_000_000)),
        ("TTY", record.tty.clone().unwrap_or_default()),
        ("Remote", "yes".to_owned()),
        ("RemoteHost", record.remote_host.clone()),
        ("Service", record.service.clone()),
        ("Scope", record.scope.clone()),
        ("Leader", record.leader.unwrap_or(0).to_string()),
        ("State", record.state.clone()),
    ];
    let shown =
        all.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name));
    shown.map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// A session with its processes.
fn status(record: &Record) -> String {
    let mut lines = vec![
        format!("{} - {} ({})", record.session, record.user, record.uid),
        format!("  Since:   @{}", record.since_us / 1_000_000),
        format!("  Remote:  {}", record.remote_host),
        format!("  Service: {}", record.service),
        format!("  State:   {}", record.state),
    ];
    lines.extend(record.tty.iter().map(|tty| format!("  TTY:     {tty}")));
    lines.push(format!("  Scope:   {}", record.scope));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let path =
        cgroup::mount_point(&mounts).map(|root| root.join(cgroup::scope_path(record.uid, record.session)));
    for pid in path.and_then(|path| cgroup::processes(&path).ok()).unwrap_or_default() {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        lines.push(format!("    {pid} {}", command.trim_end().escape_debug()));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Call, Failure> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn record(session: u64, uid: u32, user: &str) -> Record {
        Record {
            session,
            uid,
            user: user.to_owned(),
            tty: (session == 1).then(|| "pts/0".to_owned()),
            remote_host: "10.0.2.2".to_owned(),
            state: "active".to_owned(),
            scope: format!("session-{session}.scope"),
            since_us: 5_000_000,
            ..Record::default()
        }
    }

    #[test]
    fn arguments() {
        assert_eq!(call("").unwrap().verb, "list-sessions");
        let kill = call("kill-session -s HUP --kill-whom=leader 4").unwrap();
        assert_eq!((kill.signal, kill.leader, kill.names), (1, true, vec!["4".to_owned()]));
        assert_eq!(call("kill-session --signal=SIGUSR1 4").unwrap().signal, 10);
        for wrong in ["--nonsense", "--json=xml", "kill-session -s NONE 1", "-s", "-s 65"] {
            assert!(matches!(call(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn lists_and_properties() {
        let root = tempfile::tempdir().unwrap();
        let of = |line: &str| run(&call(&format!("--root {} {line}", root.path().display())).unwrap());
        assert_eq!(of("list-sessions").unwrap(), "No sessions.\n");
        for record in [record(1, 500, "core"), record(12, 500, "core"), record(3, 501, "ops")] {
            registry::write(&registry::folder(root.path()), &record).unwrap();
        }
        assert_eq!(
            of("list-sessions").unwrap(),
            "SESSION UID USER TTY   REMOTE   STATE\n\
             1       500 core pts/0 10.0.2.2 active\n\
             3       501 ops  -     10.0.2.2 active\n\
             12      500 core -     10.0.2.2 active\n\n3 sessions listed.\n"
        );
        assert_eq!(
            of("list-users").unwrap(),
            "UID USER SESSIONS\n500 core 2\n501 ops  1\n\n2 users listed.\n"
        );
        let list: Value = serde_json::from_str(&of("list-sessions --json=short").unwrap()).unwrap();
        assert_eq!((list[1]["session"].as_str(), list[1]["tty"].as_str()), (Some("3"), None));
        assert_eq!(of("show-session 1 -p TTY,Name").unwrap(), "Name=core\nTTY=pts/0\n");
        assert!(of("session-status 3").unwrap().starts_with("3 - ops (501)\n"));
        assert!(matches!(of("show-session 2"), Err(Failure::Failed(_))));
        assert!(matches!(of("show-session"), Err(Failure::Usage(_))));
        assert!(matches!(of("terminate-session 1"), Err(Failure::Failed(_))), "nobody answers");
    }
}
