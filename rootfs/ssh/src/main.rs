//! The applets as a program of their own, for tests and for trying the server out:
//! `ssh APPLET [ARGUMENT…]`, or by a name of its own as in the appliance's one program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let called = arguments.next().unwrap_or_default();
    let base = called.rsplit('/').next().unwrap_or_default().to_owned();
    let rest: Vec<String> = arguments.collect();
    let found = match ssh::applets::find(&base) {
        Some(applet) => Some(applet(&called, &rest)),
        None => rest.split_first().and_then(|(name, rest)| Some(ssh::applets::find(name)?(name, rest))),
    };
    found.map_or_else(|| ExitCode::from(2), ExitCode::from)
}
