//! `login-shell`: what a user gets where no shell is. It runs the programs of the host by name,
//! with arguments and quotes, and nothing else: no scripts, no variables, no pipes.

use crate::words;
use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::{env, fs};

/// A line that is longer is refused, in bytes.
const LINE_MAX: u64 = 64 << 10;

const HELP: &str = "\
Words run programs: systemctl status sshd.service. '…' and \"…\" keep spaces together.
There is no shell here: no pipes, no variables, no scripts.
  help          this text and the names of the programs
  cd [FOLDER]   change the folder
  exit [CODE]   leave";

/// The applet: `login-shell`, or `login-shell -c LINE` as sshd runs it.
pub(crate) fn main(_: &str, arguments: &[String]) -> u8 {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => prompt(),
        ["-c", line] => single(line),
        _ => {
            eprintln!("error: unknown arguments\nhint: login-shell [-c LINE]");
            2
        }
    }
}

/// Becomes the program of one line.
fn single(line: &str) -> u8 {
    match words::split(line) {
        Err(error) => {
            eprintln!("error: {error}");
            2
        }
        Ok(words) => match words.split_first() {
            None => 0,
            Some((name, _)) if name == "help" => {
                help();
                0
            }
            Some((name, rest)) => {
                let error = Command::new(name).args(rest).exec();
                cannot(name, &error)
            }
        },
    }
}

/// The exit code of what cannot be run (sh(1): 127 when it is not there, else 126).
fn cannot(name: &str, error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::NotFound {
        eprintln!("error: there is no program `{name}`\nhint: `help` names them");
        if name == "scp" {
            eprintln!("hint: scp of OpenSSH 9 and newer needs no program here; older ones do so with -s");
        }
        127
    } else {
        eprintln!("error: {name}: {error}");
        126
    }
}

/// What a line leads to.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    Nothing,
    Help,
    Leave(Option<u8>),
    Folder(Option<String>),
    Run(Vec<String>),
}

fn act(line: &str) -> Result<Act, String> {
    let words = words::split(line).map_err(|error| error.to_string())?;
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(match texts.as_slice() {
        [] => Act::Nothing,
        ["help" | "?"] => Act::Help,
        ["exit" | "logout"] => Act::Leave(None),
        ["exit", code] => {
            Act::Leave(Some(code.parse().map_err(|_| format!("`{code}` is not a code of 0 to 255"))?))
        }
        ["cd"] => Act::Folder(None),
        ["cd", folder] => Act::Folder(Some((*folder).to_owned())),
        ["exit" | "cd" | "logout", ..] => return Err("too many words".to_owned()),
        _ => Act::Run(words),
    })
}

/// Lines until the end. At a terminal the kernel edits them (termios(3): canonical mode).
fn prompt() -> u8 {
    // What a terminal's keys send goes to the program that runs; this process stays. A handler,
    // and not to ignore them: programs would inherit that.
    let stay = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [nix::libc::SIGINT, nix::libc::SIGQUIT] {
        if let Err(error) = signal_hook::flag::register(signal, stay.clone()) {
            return crate::applets::fail(&error);
        }
    }
    let terminal = io::stdin().is_terminal();
    let name = nix::unistd::gethostname()
        .map_or_else(|_| "host".to_owned(), |name| name.to_string_lossy().into_owned());
    let user = env::var("USER").unwrap_or_default();
    if terminal {
        println!("{HELP}");
    }
    let mut code = 0;
    let mut input = io::stdin().lock();
    loop {
        if terminal {
            print!("{user}@{name}> ");
            let _ = io::stdout().flush();
        }
        let mut line = Vec::new();
        match (&mut input).take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) if line.len() as u64 == LINE_MAX => {
                eprintln!("error: the line is too long");
                return 2;
            }
            Ok(_) => {}
            Err(error) => return crate::applets::fail(&error),
        }
        code = match act(&String::from_utf8_lossy(&line)) {
            Err(why) => {
                eprintln!("error: {why}");
                2
            }
            Ok(Act::Nothing) => code,
            Ok(Act::Help) => {
                println!("{HELP}");
                help();
                0
            }
            Ok(Act::Leave(given)) => return given.unwrap_or(code),
            Ok(Act::Folder(folder)) => {
                let folder = folder.or_else(|| env::var("HOME").ok()).unwrap_or_else(|| "/".to_owned());
                env::set_current_dir(&folder).map_or_else(
                    |error| {
                        eprintln!("error: {folder}: {error}");
                        1
                    },
                    |()| 0,
                )
            }
            Ok(Act::Run(words)) => run(&words),
        };
    }
    if terminal {
        println!();
    }
    code
}

fn run(words: &[String]) -> u8 {
    let Some((name, rest)) = words.split_first() else { return 0 };
    match Command::new(name).args(rest).status() {
        Ok(status) => {
            let code = code(status);
            if code != 0 {
                eprintln!("{name}: {status}");
            }
            code
        }
        Err(error) => cannot(name, &error),
    }
}

/// As sh(1): 128 and the number for a signal.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Names the programs on `PATH`.
fn help() {
    let path = env::var("PATH").unwrap_or_default();
    let mut names = BTreeSet::new();
    for folder in path.split(':') {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if fs::metadata(entry.path()).is_ok_and(|about| about.is_file()) {
                names.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    println!("programs: {}", names.join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(act(" \n"), Ok(Act::Nothing));
        assert_eq!(act("help\n"), Ok(Act::Help));
        assert_eq!(act("exit 3\n"), Ok(Act::Leave(Some(3))));
        assert_eq!(act("exit"), Ok(Act::Leave(None)));
        assert!(act("exit 256").is_err() && act("exit 1 2").is_err() && act("a | b").is_err());
        assert_eq!(act("cd '/a b'"), Ok(Act::Folder(Some("/a b".to_owned()))));
        assert_eq!(act("ls -l"), Ok(Act::Run(vec!["ls".to_owned(), "-l".to_owned()])));
    }
}
