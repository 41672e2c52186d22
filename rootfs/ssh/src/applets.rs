//! The applets: what the appliance's one program calls.

use crate::server::{self, Options};
use crate::{listen, loginctl, scp, sftp, shell, stream};
use service::notify::notify;
use std::io::Write;
use std::path::PathBuf;

/// An applet: takes the name by which it was called and its arguments, gives its exit code.
pub type Applet = fn(&str, &[String]) -> u8;

/// All of them.
pub const APPLETS: [(&str, Applet); 7] = [
    ("login-shell", |called, arguments| shell::main(called, arguments)),
    ("loginctl", |_, arguments| loginctl::main(arguments)),
    ("scp", |_, arguments| scp::main(arguments)),
    ("sftp-server", |_, arguments| sftp::main(arguments)),
    ("ssh-listen", |_, arguments| listen::main(arguments)),
    ("ssh-stream", |_, arguments| stream::main(arguments)),
    ("sshd", |_, arguments| sshd(arguments)),
];

/// The applet of a name; a login shell's begins with `-`.
pub fn find(name: &str) -> Option<Applet> {
    let name = name.trim_start_matches('-');
    APPLETS.iter().find(|(known, _)| *known == name).map(|(_, applet)| *applet)
}

/// `sshd [-t] [--root DIR]`: the server; `-t` only checks the configuration.
fn sshd(arguments: &[String]) -> u8 {
    let mut root = PathBuf::from("/");
    let mut check = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match (argument.as_str(), argument.as_str() == "--root") {
            ("-t", _) => check = true,
            (_, true) => match rest.next() {
                Some(folder) => root = PathBuf::from(folder),
                None => return usage("--root needs a folder"),
            },
            (other, _) => return usage(&format!("`{other}` is not an option")),
        }
    }
    if check {
        return match server::configuration(&root) {
            Ok(_) => 0,
            Err(error) => fail(&error),
        };
    }
    if let Err(error) = sys::process::reserve_standard_streams() {
        return fail(&error);
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return fail(&error),
    };
    let options = Options { root, program, log };
    let ready = || {
        log("listening");
        if let Err(error) = notify("READY=1") {
            log(&format!("cannot tell PID 1: {error}"));
        }
    };
    match server::run(&options, ready) {
        Ok(()) => 0,
        Err(error) => fail(&error),
    }
}

/// A line to the journal.
fn log(line: &str) {
    // With nobody to read it the server goes on.
    let _ = writeln!(std::io::stdout(), "{line}");
}

pub(crate) fn fail(error: &impl std::fmt::Display) -> u8 {
    eprintln!("error: {error}");
    1
}

fn usage(why: &str) -> u8 {
    eprintln!("error: {why}\nhint: sshd [-t] [--root DIR]");
    2
}
