//! Boxes in a real terminal: a shell in tmux, driven by keys and read from its screen.
//!
//! Needs Debian's tmux.

use super::leaks::assert_gone;
use super::*;
use nix::poll::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

/// A tmux server of the test's own, with one shell in it.
struct Tmux {
    folder: TempDir,
    /// A copy of all that the shell writes: the event after which its screen may have changed.
    written: File,
}

impl Tmux {
    /// A shell whose prompt is `out> `.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("written");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Both ends, so that it never ends and opening it does not wait.
        let written = File::options().read(true).write(true).open(&pipe).unwrap();
        let tmux = Self { folder, written };
        // dash puts no terminal right by itself, as bash does.
        tmux.tell(&["new-session", "-d", "-x", "100", "-y", "30", "env PS1='out> ' sh -i"]);
        tmux.tell(&["set-option", "-g", "status", "off"]);
        tmux.tell(&["resize-window", "-x", "100", "-y", "30"]);
        tmux.tell(&["pipe-pane", "-O", &format!("cat > {}", pipe.display())]);
        tmux
    }

    fn tell(&self, words: &[&str]) -> String {
        let mut command = Command::new("env");
        command.args(["--default-signal", "tmux", "-L", "box", "-f", "/dev/null"]).args(words);
        let output = command.env("TMUX_TMPDIR", self.folder.path()).env_remove("TMUX").output().unwrap();
        assert!(output.status.success(), "apt-get install tmux: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a line.
    fn line(&self, text: &str) {
        self.tell(&["send-keys", "-l", "--", text]);
        self.key("Enter");
    }

    fn key(&self, name: &str) {
        self.tell(&["send-keys", name]);
    }

    fn screen(&self) -> String {
        self.tell(&["capture-pane", "-p"])
    }

    /// Waits until a text is on the screen.
    fn sees(&mut self, text: &str) {
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return;
            }
            let mut fds = [PollFd::new(self.written.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, 30_000_u16), Ok(1), "`{text}` never came: {}\n{screen}", self.screen());
            let _ = self.written.read(&mut [0; 4096]).unwrap();
        }
    }

    /// The only child of the shell, or of another process.
    fn child(of: i32) -> i32 {
        let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
        children.trim().parse().unwrap_or_else(|error| panic!("{children:?}: {error}"))
    }

    fn shell(&self) -> i32 {
        self.tell(&["display-message", "-p", "#{pane_pid}"]).trim().parse().unwrap()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let _ = command.args(["-L", "box", "kill-server"]).env("TMUX_TMPDIR", self.folder.path()).output();
    }
}

fn toolbox(root: &Root) -> String {
    format!("{} --from {}", root.0.path().join("toolbox").display(), root.path().display())
}

#[test]
fn in_tmux_a_box_has_size_jobs_and_full_screen_programs() {
    let root = Root::new();
    let mut tmux = Tmux::start();
    tmux.sees("out>");
    let settings = tmux.folder.path().join("before").display().to_string();
    tmux.line(&format!("stty -a > {settings}; {}", toolbox(&root)));
    tmux.sees("/root #");
    tmux.line("stty size");
    tmux.sees("\n30 100\n");
    tmux.line("sh -c 'trap \"stty size; exit\" WINCH; echo A$((1+1))A; while :; do sleep 0.1; done'");
    tmux.sees("A2A");
    tmux.tell(&["resize-window", "-x", "70", "-y", "20"]);
    tmux.sees("\n20 70\n");
    // Jobs.
    tmux.line("sh -c 'echo D$((1+1))D; exec sleep 1000'");
    tmux.sees("D2D");
    tmux.key("C-z");
    tmux.sees("Stopped");
    tmux.line("jobs | wc -l; fg; echo F$?F");
    tmux.sees("\n1\n");
    tmux.key("C-c");
    tmux.line("echo G$?G$((1+1))");
    tmux.sees("G2");
    tmux.line("pidof sleep || echo H$((1+1))H");
    tmux.sees("H2H");
    // A program that draws the whole screen.
    tmux.line("vi /tmp/text");
    tmux.sees("\n~\n");
    tmux.key("i");
    tmux.tell(&["send-keys", "-l", "written in vi"]);
    tmux.sees("written in vi");
    tmux.key("Escape");
    // The escape key is told from an escape sequence by the pause after it.
    tmux.sees("- /tmp/text");
    tmux.line(":wq");
    tmux.line("clear; wc -w < /tmp/text; echo I$((1+1))I");
    tmux.sees("3\nI2I");
    tmux.line("exit");
    tmux.sees("out>");
    tmux.line(&format!("clear; stty rows 30 columns 100; stty -a | cmp - {settings} && echo J$((1+1))J"));
    tmux.sees("J2J");
    assert_gone(&root);
}

#[test]
fn in_tmux_the_shell_goes_on_after_any_part_of_a_box_is_killed() {
    let root = Root::new();
    let mut tmux = Tmux::start();
    tmux.sees("out>");
    let settings = tmux.folder.path().join("before").display().to_string();
    tmux.line(&format!("stty -a > {settings}"));
    for part in ["front", "monitor", "init", "command"] {
        tmux.line(&format!("clear; {}", toolbox(&root)));
        tmux.sees("/root #");
        tmux.line("echo K$((1+1))K");
        tmux.sees("K2K");
        let front = Tmux::child(tmux.shell());
        let monitor = Tmux::child(front);
        let init = Tmux::child(monitor);
        let victim = match part {
            "front" => front,
            "monitor" => monitor,
            "init" => init,
            _ => Tmux::child(init),
        };
        sys::process::kill(victim, nix::libc::SIGKILL).unwrap();
        tmux.sees("out>");
        // Typed blind if need be: whatever is typed after the prompt is read by a terminal as it was.
        tmux.line(&format!(
            "clear; until stty -a | cmp -s - {settings}; do sleep 0.1; done; echo L$((1+1))L"
        ));
        tmux.sees("L2L");
        tmux.line("echo typed and shown");
        tmux.sees("out> echo typed and shown\ntyped and shown\n");
        assert_gone(&root);
    }
}

#[test]
fn in_tmux_a_killed_server_takes_the_box_with_it() {
    let root = Root::new();
    let mut tmux = Tmux::start();
    tmux.sees("out>");
    tmux.line(&toolbox(&root));
    tmux.sees("/root #");
    tmux.line("trap '' HUP; (trap '' HUP; sleep 1000) & echo M$((1+1))M");
    tmux.sees("M2M");
    tmux.tell(&["kill-server"]);
    assert_gone(&root);
}
