//! The applets and their names.

use init::bless;
use init::control::{Request, Response, SOCKET, client, systemctl};
use journal::{daemon, journalctl};
use std::path::Path;
use std::process::ExitCode;

type Applet = fn(&str, &[String]) -> ExitCode;

const APPLETS: [(&str, Applet); 10] = [
    ("bless", bless),
    ("halt", power),
    ("init", not_pid_1),
    ("journalctl", journalctl),
    ("journald", journald),
    ("poweroff", power),
    ("reboot", power),
    ("shutdown", shutdown),
    ("status", status),
    ("systemctl", systemctl),
];

/// The applet of a name.
pub(crate) fn find(name: &str) -> Option<Applet> {
    APPLETS.iter().find(|(known, _)| *known == name).map(|(_, applet)| *applet)
}

/// All names.
pub(crate) fn names() -> Vec<&'static str> {
    APPLETS.iter().map(|(name, _)| *name).collect()
}

fn systemctl(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(systemctl::main(arguments))
}

fn journalctl(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(journalctl::main(arguments))
}

fn journald(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(daemon::main(arguments))
}

/// `reboot`, `poweroff`, `halt`, with `-f`.
fn power(name: &str, arguments: &[String]) -> ExitCode {
    let whole: Vec<String> = [name.to_owned()].into_iter().chain(arguments.iter().cloned()).collect();
    systemctl("systemctl", &whole)
}

/// `shutdown [-r|-h|-P|-H] [now]`: only at once, there is nobody to warn.
fn shutdown(_: &str, arguments: &[String]) -> ExitCode {
    let mut verb = "poweroff";
    for argument in arguments {
        verb = match argument.as_str() {
            "-r" | "--reboot" => "reboot",
            "-h" | "-P" | "--poweroff" => "poweroff",
            "-H" | "--halt" => "halt",
            "now" | "+0" => continue,
            other => {
                eprintln!("error: `{other}` is not supported\nhint: shutdown [-r|-P|-H] [now]");
                return ExitCode::from(2);
            }
        };
    }
    systemctl("systemctl", &[verb.to_owned()])
}

fn status(_: &str, _: &[String]) -> ExitCode {
    match client::ask(Path::new(SOCKET), &Request::Status) {
        Ok(Response::Status(table)) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Ok(other) => {
            eprintln!("error: PID 1 answered {other:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bless(_: &str, _: &[String]) -> ExitCode {
    match bless::run() {
        Ok(outcome) => {
            println!("slipway: blessed: {outcome}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn not_pid_1(_: &str, _: &[String]) -> ExitCode {
    eprintln!("error: init is PID 1's name, and this is not PID 1\nhint: `systemctl` talks to PID 1");
    ExitCode::from(2)
}
