//! Boxes with a terminal.

use super::*;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::termios::{LocalFlags, tcgetattr};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};

/// A person at a terminal.
pub(super) struct Person {
    outer: File,
    inner: OwnedFd,
    child: Child,
    seen: String,
}

impl Person {
    fn start(root: &Root) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_toolbox"));
        Self::at(program.arg("--from").arg(root.path()))
    }

    /// Before a program of the toolbox.
    pub(super) fn at(program: &Command) -> Self {
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(program.get_program()).args(program.get_args());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::of(command.env("PS1", "ignored").env("TOOLBOX_CONFIG", ""))
    }

    /// Starts a command at a terminal of 33 lines.
    pub(super) fn of(command: &Command) -> Self {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&outer).unwrap();
        let inner = ioctl_tiocgptpeer(&outer, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .unwrap();
        let size = Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&outer, size).unwrap();
        let stream = || Stdio::from(inner.try_clone().unwrap());
        // util-linux's setsid gives the terminal to its program.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        Self { outer: outer.into(), inner, child, seen: String::new() }
    }

    /// Changes the window.
    pub(super) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.outer, size).unwrap();
    }

    pub(super) fn types(&mut self, text: &str) {
        self.outer.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until a text has come; what came behind it stays to be seen.
    pub(super) fn sees(&mut self, text: &str) {
        let end = loop {
            if let Some(at) = self.seen.find(text) {
                break at + text.len();
            }
            let mut fds = [PollFd::new(self.outer.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, 30_000_u16), Ok(1), "`{text}` never came: {}", self.seen);
            let mut buffer = [0; 4096];
            let count = self.outer.read(&mut buffer).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        };
        self.seen.drain(..end);
    }

    /// Waits for the end, and tells the exit code.
    pub(super) fn leaves(&mut self) -> i32 {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap();
            }
            let mut fds = [PollFd::new(self.outer.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, 50_u16) == Ok(1) {
                let mut buffer = [0; 4096];
                let count = self.outer.read(&mut buffer).unwrap_or(0);
                self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
            assert!(std::time::Instant::now() < deadline, "it does not end: {:?}", self.seen);
        }
    }

    pub(super) fn is_cooked(&self) -> bool {
        let flags = tcgetattr(self.inner.as_fd()).unwrap().local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }
}

#[test]
fn a_shell_has_a_terminal_with_size_jobs_and_signals() {
    let root = Root::new();
    let mut person = Person::start(&root);
    // Each line is typed at a prompt: a shell may drop what is typed ahead.
    person.sees("# ");
    assert!(!person.is_cooked(), "the outer terminal is raw meanwhile");
    person.types("tty; stty size\n");
    person.sees("/dev/pts/0\r\n33 111\r\n");
    person.sees("# ");
    person.types("sh -c 'trap \"stty size; exit\" WINCH; echo V$((1+1))V; while :; do sleep 0.1; done'\n");
    person.sees("V2V");
    person.resize(20, 70);
    person.sees("20 70\r\n");
    person.sees("# ");
    // Ctrl-C ends the command and not the shell.
    person.types("sh -c 'echo W$((1+1))W; sleep 1000'\n");
    person.sees("W2W");
    person.types("\x03");
    person.sees("# ");
    person.types("echo X$?X\n");
    person.sees("X130X");
    person.sees("# ");
    // Ctrl-Z stops a job, and it goes on in the foreground.
    let job = "trap \"echo C$((1+1))C; exit\" CONT; echo Y$((1+1))Y; while :; do sleep 0.1; done";
    person.types(&format!("sh -c '{job}'\n"));
    person.sees("Y2Y");
    person.types("\x1a");
    person.sees("Stopped");
    person.sees("# ");
    person.types("fg\n");
    person.sees("C2C");
    person.sees("# ");
    person.types("exit 9\n");
    assert_eq!(person.leaves(), 9);
    assert!(person.is_cooked());
}

#[test]
fn the_terminal_is_as_it_was_whatever_kills_the_front() {
    let root = Root::new();
    let mut person = Person::start(&root);
    person.types("echo A$((1+1))A\n");
    person.sees("A2A");
    assert!(!person.is_cooked());
    let waiting = person.child.id();
    let front: i32 = fs::read_to_string(format!("/proc/{waiting}/task/{waiting}/children"))
        .unwrap()
        .trim()
        .parse()
        .unwrap_or(waiting as i32);
    sys::process::kill(front, nix::libc::SIGKILL).unwrap();
    person.child.wait().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !person.is_cooked() {
        assert!(std::time::Instant::now() < deadline, "the terminal is still raw");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_dropped_connection_ends_the_box() {
    let root = Root::new();
    let mut person = Person::start(&root);
    person.types("trap '' HUP; echo A$((1+1))A; (trap '' HUP; sleep 1000) & sleep 1000\n");
    person.sees("A2A");
    let Person { outer, inner, mut child, .. } = person;
    drop((outer, inner));
    child.wait().unwrap();
    let name = root.path().to_str().unwrap().to_owned();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let lives = || {
        fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(&name)
        })
    };
    while lives() {
        assert!(std::time::Instant::now() < deadline, "the box is still there");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
