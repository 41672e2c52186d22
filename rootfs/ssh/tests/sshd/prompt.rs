//! The prompt where no shell is, as somebody at a terminal has it.

use crate::machine::{Machine, text};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A terminal on the machine, typed into by a test.
struct Session {
    child: Child,
    keys: ChildStdin,
    screen: Receiver<u8>,
}

impl Session {
    fn open(machine: &Machine, term: &str) -> Self {
        machine.authorize("plain", &machine.public_key("id"));
        let mut client = machine.client(&["-tt", "-l", "plain"]);
        client.env("TERM", term).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = client.spawn().unwrap();
        let (keys, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            std::io::BufReader::new(output)
                .bytes()
                .map_while(Result::ok)
                .all(|byte| sender.send(byte).is_ok())
        });
        let mut session = Self { child, keys, screen };
        session.until("> ");
        session
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the terminal shows something.
    fn until(&mut self, needle: &str) {
        let mut shown = Vec::new();
        while !shown.ends_with(needle.as_bytes()) {
            match self.screen.recv_timeout(Duration::from_secs(30)) {
                Ok(byte) => shown.push(byte),
                Err(error) => panic!("{error}: `{needle}` never came after {:?}", text(&shown)),
            }
        }
    }

    /// Types a line and waits for what it shows.
    fn line(&mut self, keys: &str, shows: &str) {
        self.press(keys);
        self.press("\r");
        self.until(shows);
        self.until("> ");
    }

    fn ends(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn lines_are_edited_and_come_back() {
    let machine = Machine::start("");
    let mut session = Session::open(&machine, "xterm");
    session.line("printf 'b-%s-e|' one", "\nb-one-e|");
    // Up, and the last word is another.
    session.line("\x1b[A\x17two", "\nb-two-e|");
    session.line("\x1b[A\x1b[A", "\nb-one-e|");
    // In the middle of the line, by Home and by arrows.
    session.line("rintf x | y\x01p", "needs a shell");
    session.line("printf x-%s yz\x1b[Dw", "\nx-ywz");
    session.line("no-such-program", "error: there is no program `no-such-program`");
    session.line("sudo id", "hint: members of the group wheel");
    session.line("cd /\rpwd", "\n/\r\n");
    session.line("cd ~\rpwd", &format!("\n{}\r\n", machine.home().display()));
    // A program gets the terminal as it was: with echo, lines and signals.
    session.line("stty -a", "icanon");
    session.press("sh -c 'echo in; cat'\r");
    session.until("\nin\r\n");
    session.press("typed\r");
    session.until("typed\r\ntyped\r\n");
    session.press("\x04");
    session.until("> ");
    // Tab: the rest of the name.
    session.line("printen\tHOME", &machine.home().display().to_string());
    session.press("\x04");
    assert_eq!(session.ends(), Some(0));
}

#[test]
fn keys_that_are_signals_stop_the_program_and_not_the_prompt() {
    let machine = Machine::start("");
    let mut session = Session::open(&machine, "xterm");
    session.press("sh -c 'echo going; exec sleep 1000'\r");
    session.until("\ngoing\r\n");
    session.press("\x1a\x03");
    session.until("> ");
    session.press("half a line\x03");
    session.until("^C\r\n");
    session.line("printf %s,there still", "\nstill,there");
    session.line("sh -c 'kill -9 $$'", "sh: signal: 9 (SIGKILL)");
    session.line("sh -c 'exit 3'", "sh: exit status: 3");
    session.press("exit\r");
    assert_eq!(session.ends(), Some(3));
    machine.wait_log("Session 1 of plain closed");
}

#[test]
fn a_terminal_without_abilities_has_plain_lines() {
    let machine = Machine::start("");
    let mut session = Session::open(&machine, "dumb");
    session.press("printf %s-b a\n");
    session.until("\na-b");
    session.press("half\x03");
    session.until("> ");
    session.press("exit 4\n");
    assert_eq!(session.ends(), Some(4));
}

#[test]
fn a_command_in_a_terminal_ends_with_its_code() {
    let machine = Machine::start("");
    machine.authorize("plain", &machine.public_key("id"));
    let output = machine.ssh(&["-tt", "-l", "plain"], "sh -c 'tty; exit 3'");
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).starts_with("/dev/pts/"), "{output:?}");
}

#[test]
fn lines_from_a_pipe_leave_the_rest_to_the_program() {
    let machine = Machine::start("");
    machine.authorize("plain", &machine.public_key("id"));
    let mut child =
        machine.client(&["-l", "plain"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"cat\nall of\nthis\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("all of\nthis\n", Some(0)));
}
