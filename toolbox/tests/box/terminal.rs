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
struct Person {
    outer: File,
    inner: OwnedFd,
    child: Child,
    seen: String,
}

impl Person {
    fn start(root: &Root) -> Self {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&outer).unwrap();
        let inner = ioctl_tiocgptpeer(&outer, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .unwrap();
        let size = Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&outer, size).unwrap();
        let stream = || Stdio::from(inner.try_clone().unwrap());
        // util-linux's setsid gives the terminal to its program.
        let child = Command::new("env")
            .args(["--default-signal", "setsid", "--ctty", "--wait", env!("CARGO_BIN_EXE_toolbox"), "--from"])
            .arg(root.path())
            .env("PS1", "ignored")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        Self { outer: outer.into(), inner, child, seen: String::new() }
    }

    fn types(&mut self, text: &str) {
        self.outer.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until a text has come; what came behind it stays to be seen.
    fn sees(&mut self, text: &str) {
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

    fn is_cooked(&self) -> bool {
        let flags = tcgetattr(self.inner.as_fd()).unwrap().local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }
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
