//! The applets and their names.

use init::bless::{self, Outcome, Proof};
use init::control::{Request, Response, SOCKET, analyze, client, systemctl};
use journal::journalctl;
use std::path::Path;
use std::process::ExitCode;

type Applet = fn(&str, &[String]) -> ExitCode;

const APPLETS: &[(&str, Applet)] = &[
    ("analyze", analyze),
    ("bless", bless),
    ("fetch-user-data", fetch_user_data),
    ("halt", power),
    ("hostnamectl", |_, arguments| ExitCode::from(clock::hostnamectl::main(arguments))),
    ("hostnamed", |_, arguments| ExitCode::from(clock::hostnamed::main(arguments))),
    ("import-ssh-keys", |_, arguments| ExitCode::from(userdata::import_main(arguments))),
    ("init", not_pid_1),
    ("journalctl", journalctl),
    ("journald", journald),
    ("login-shell", sessions),
    ("loginctl", sessions),
    ("modprobe", modprobe),
    ("networkctl", |_, arguments| ExitCode::from(net::command::networkctl(arguments))),
    ("networkd", |_, arguments| ExitCode::from(net::command::networkd(arguments))),
    ("networkd-wait-online", |_, arguments| ExitCode::from(net::command::wait_online(arguments))),
    ("poweroff", power),
    ("reboot", power),
    ("resolvectl", |_, arguments| ExitCode::from(resolve::resolvectl::main(arguments))),
    ("resolved", |_, arguments| ExitCode::from(resolve::daemon::main(arguments))),
    ("scp", sessions),
    ("sftp-server", sessions),
    ("shutdown", shutdown),
    ("ssh-listen", sessions),
    ("ssh-stream", sessions),
    ("sshd", sessions),
    ("status", status),
    ("systemctl", systemctl),
    ("systemd-analyze", analyze),
    ("time-wait-sync", |_, arguments| ExitCode::from(clock::wait::main(arguments))),
    ("timedatectl", |_, arguments| ExitCode::from(clock::timedatectl::main(arguments))),
    ("timedated", |_, arguments| ExitCode::from(clock::timedated::main(arguments))),
    ("timesyncd", |_, arguments| ExitCode::from(clock::timesyncd::main(arguments))),
    ("udevadm", udevadm),
    ("udevd", udevd),
];

/// The applet of a name.
pub(crate) fn find(name: &str) -> Option<Applet> {
    APPLETS.iter().find(|(known, _)| *known == name).map(|(_, applet)| *applet)
}

/// All names.
pub(crate) fn names() -> Vec<&'static str> {
    APPLETS.iter().map(|(name, _)| *name).collect()
}

/// The SSH server, and what runs in its sessions.
fn sessions(name: &str, arguments: &[String]) -> ExitCode {
    ssh::applets::find(name).map_or(ExitCode::from(2), |applet| ExitCode::from(applet(name, arguments)))
}

fn systemctl(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(systemctl::main(arguments))
}

fn fetch_user_data(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(userdata::main(arguments))
}

fn modprobe(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(devices::modprobe::main(arguments))
}

fn udevadm(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(devices::udevadm::main(arguments))
}

fn udevd(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(devices::daemon::main(arguments))
}

fn journalctl(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(journalctl::main(arguments))
}

fn analyze(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(analyze::main(arguments))
}

fn journald(_: &str, arguments: &[String]) -> ExitCode {
    ExitCode::from(journal::daemon::main(arguments))
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

/// `bless [--unread]`: the latter without reading the slot, and silent when nothing was to do.
fn bless(_: &str, arguments: &[String]) -> ExitCode {
    let proof = match arguments {
        [] => Proof::WholeSlot,
        [option] if option == "--unread" => Proof::BootOnly,
        _ => {
            eprintln!("error: bless takes --unread and nothing else\nhint: bless [--unread]");
            return ExitCode::from(2);
        }
    };
    match bless::run(proof) {
        Ok(Outcome::NotCounted | Outcome::Unchanged { .. }) if proof == Proof::BootOnly => ExitCode::SUCCESS,
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
