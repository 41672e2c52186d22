//! The multi-call program: what it does depends on the name by which it is called.
//!
//! `host APPLET …` does the same without a link. This file only chooses; every applet is a library.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

mod applets;

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let called = arguments.next().unwrap_or_default();
    let name = base_name(&called);
    let rest: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    if let Some(applet) = applets::find(&name) {
        return applet(&name, &rest);
    }
    match rest.split_first() {
        Some((first, _)) if first == "--list" => {
            // A closed pipe is the reader's choice.
            let _ = writeln!(io::stdout(), "{}", applets::names().join("\n"));
            ExitCode::SUCCESS
        }
        Some((first, rest)) => match applets::find(first) {
            Some(applet) => applet(first, rest),
            None => usage(&format!("no applet `{first}`")),
        },
        None => usage("no applet is named"),
    }
}

fn base_name(called: &OsString) -> String {
    let base = Path::new(called).file_name().unwrap_or_default();
    base.to_string_lossy().trim_start_matches('-').to_owned()
}

fn usage(why: &str) -> ExitCode {
    eprintln!("error: {why}\nhint: host APPLET [ARGUMENT…]; `host --list` names them");
    ExitCode::from(2)
}
