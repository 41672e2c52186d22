//! `login-shell`: what a user gets where no shell is. It runs the programs of the host by name,
//! with arguments and quotes, and nothing else: no scripts, no variables, no pipes.

use crate::screen::{Screen, Typed};
use crate::words;
use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::{env, fs};

/// A line that is longer is refused, in bytes.
const LINE_MAX: usize = 64 << 10;

const HELP: &str = "\
Words run programs: systemctl status sshd.service. '…' and \"…\" keep spaces together.
There is no shell here: no pipes, no variables, no scripts. Tab completes, the arrows edit.
toolbox opens a shell with tools, which sees this machine and leaves nothing behind.
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
    match words::split(line, &home()) {
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
            // The far end of a copy is this program's own, whatever else has the name.
            Some((name, rest)) if name == "scp" => crate::scp::main(rest),
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
        eprintln!("error: there is no program `{name}`\nhint: {}", hint(name));
        127
    } else {
        eprintln!("error: {name}: {error}");
        126
    }
}

/// What to do in place of a program that is not here.
fn hint(name: &str) -> &'static str {
    match name {
        "sudo" | "su" | "doas" => "members of the group wheel use systemctl and journalctl without it",
        "ls" | "cat" | "cp" | "mv" | "rm" | "mkdir" | "less" | "more" | "vi" | "vim" | "nano" => {
            "`toolbox` opens a shell that has it, with this machine's files at /media/root; sftp copies files"
        }
        "service" => "systemctl does that: systemctl restart NAME",
        "ps" | "top" | "htop" => {
            "systemctl status shows what runs; `toolbox --profile process` opens a shell that has it"
        }
        "ip" | "ifconfig" => {
            "networkctl status shows the network; `toolbox --profile net` opens a shell that has it"
        }
        "dmesg" => "journalctl -k shows the kernel's messages",
        _ => "`help` names them",
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
    let words = words::split(line, &home()).map_err(|error| error.to_string())?;
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

/// Where lines come from.
enum Input {
    /// Someone who types, and can edit.
    Screen(Screen),
    /// A pipe, or a terminal that can do nothing (`TERM=dumb`), with a prompt there.
    Plain(bool),
}

impl Input {
    fn new() -> Self {
        let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        let able = env::var("TERM").is_ok_and(|term| !matches!(term.as_str(), "" | "dumb"));
        match Screen::new().filter(|_| terminal && able) {
            Some(screen) => Self::Screen(screen),
            None => Self::Plain(terminal),
        }
    }

    fn next(&mut self, prompt: &str) -> io::Result<Typed> {
        match self {
            Self::Screen(screen) => screen.line(prompt, &candidates),
            Self::Plain(shown) => {
                if *shown {
                    print!("{prompt}");
                    io::stdout().flush()?;
                }
                plain_line()
            }
        }
    }
}

/// A line, byte by byte: what follows it belongs to the program that it runs.
fn plain_line() -> io::Result<Typed> {
    let mut line = Vec::new();
    let mut byte = [0];
    let stdin = io::stdin();
    loop {
        match rustix::io::read(&stdin, &mut byte) {
            Ok(0) if line.is_empty() => return Ok(Typed::End),
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() >= LINE_MAX => return Err(io::Error::other("the line is too long")),
            Ok(_) => line.push(byte[0]),
            // A key of the terminal that is a signal: the line is dropped.
            Err(rustix::io::Errno::INTR) => return Ok(Typed::Dropped),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Typed::Line(String::from_utf8_lossy(&line).into_owned()))
}

/// Lines until the end.
fn prompt() -> u8 {
    // What a terminal's keys send goes to the program that runs; this process stays. A handler,
    // and not to ignore them: programs would inherit that.
    let stay = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [nix::libc::SIGINT, nix::libc::SIGQUIT] {
        if let Err(error) = signal_hook::flag::register(signal, stay.clone()) {
            return crate::applets::fail(&error);
        }
    }
    let name = nix::unistd::gethostname()
        .map_or_else(|_| "host".to_owned(), |name| name.to_string_lossy().into_owned());
    let user = env::var("USER").unwrap_or_default();
    let mut input = Input::new();
    let shown = !matches!(input, Input::Plain(false));
    if shown {
        println!("{HELP}");
    }
    let mut code = 0;
    loop {
        let line = match input.next(&format!("{user}@{name}> ")) {
            Ok(Typed::Line(line)) => line,
            Ok(Typed::Dropped) => {
                code = 130;
                continue;
            }
            Ok(Typed::End) => break,
            Err(error) => return crate::applets::fail(&error),
        };
        code = match act(&line) {
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
                let folder = folder.unwrap_or_else(home);
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
    if shown {
        println!();
    }
    code
}

fn home() -> String {
    env::var("HOME").unwrap_or_else(|_| "/".to_owned())
}

fn run(words: &[String]) -> u8 {
    let Some((name, rest)) = words.split_first() else { return 0 };
    match Command::new(name).args(rest).status() {
        // Whoever pressed the key knows.
        Ok(status) if status.signal() == Some(nix::libc::SIGINT) => {
            println!();
            code(status)
        }
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

/// What a word may become: a program for the first one, a file for any other.
fn candidates(word: &str, first: bool) -> Vec<String> {
    if first && !word.contains('/') {
        let own = ["cd", "exit", "help", "logout"].map(str::to_owned);
        return programs().into_iter().chain(own).filter(|name| name.starts_with(word)).collect();
    }
    let (folder, start) =
        word.rsplit_once('/').map_or(("", word), |(folder, start)| (&word[..=folder.len()], start));
    let path = match folder.strip_prefix("~/") {
        Some(rest) => format!("{}/{rest}", home()),
        None if folder.is_empty() => ".".to_owned(),
        None => folder.to_owned(),
    };
    let mut found: Vec<String> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let wanted = name.starts_with(start) && (start.starts_with('.') || !name.starts_with('.'));
            let slash = if fs::metadata(entry.path()).is_ok_and(|about| about.is_dir()) { "/" } else { "" };
            (wanted && !name.contains(char::is_control)).then(|| format!("{folder}{name}{slash}"))
        })
        .collect();
    found.sort();
    found
}

/// As sh(1): 128 and the number for a signal.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The programs on `PATH`.
fn programs() -> BTreeSet<String> {
    let path = env::var("PATH").unwrap_or_default();
    let mut names = BTreeSet::new();
    for folder in path.split(':') {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if fs::metadata(entry.path()).is_ok_and(|about| about.is_file()) {
                names.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names
}

/// Names the programs on `PATH`.
fn help() {
    println!("programs: {}", programs().into_iter().collect::<Vec<_>>().join(" "));
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
