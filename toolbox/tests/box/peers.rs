//! The same commands in a box, in bubblewrap and in systemd-nspawn: what must be equal, and where ours differs
//! on purpose, as the tables say.
//!
//! Needs Debian's bubblewrap and systemd-container.

use super::terminal::Person;
use super::*;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ours,
    Bubblewrap,
    Nspawn,
}

const WAYS: [Way; 3] = [Way::Ours, Way::Bubblewrap, Way::Nspawn];

/// A root with the mount points that the others need.
fn root() -> Root {
    let root = Root::new();
    for folder in ["proc", "sys", "dev", "media/root", "etc", "usr/bin", "tmp", "run", "root", "var"] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    fs::write(root.path().join("etc/os-release"), "ID=test\n").unwrap();
    root
}

/// `interactive`: with a terminal, where there is one.
fn command(way: Way, root: &Root, interactive: bool, words: &[&str]) -> Command {
    let tree = root.path().display().to_string();
    let mut command = match way {
        Way::Ours => return root.command(&[], words),
        Way::Bubblewrap => {
            let mut command = Command::new("env");
            command.args(["--default-signal", "bwrap", "--die-with-parent", "--unshare-pid"]);
            command.args(["--bind", &tree, "/", "--proc", "/proc", "--dev", "/dev"]);
            command.args(["--ro-bind", "/", "/media/root", "--"]);
            command
        }
        Way::Nspawn => {
            // It wants cgroup v2 alone, and leaves a folder in /run/systemd: both are the test's own.
            let script = "mkdir -p /run/systemd && mount -t tmpfs none /run/systemd && \
                          mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", script, "sh", "env", "--default-signal", "systemd-nspawn"]);
            let console = if interactive { "--console=interactive" } else { "--console=pipe" };
            let name = format!(
                "--machine=t{}",
                tree.bytes().filter(u8::is_ascii_alphanumeric).map(char::from).collect::<String>()
            );
            command.args([
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--as-pid2",
                console,
                &name,
                "-D",
                &tree,
            ]);
            command
        }
    };
    command.args(words);
    command
}

/// As a shell tells it.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

#[test]
fn exit_codes_are_those_of_the_peers() {
    let root = root();
    fs::write(root.path().join("etc/text"), "text\n").unwrap();
    // Of ours, of bubblewrap, of systemd-nspawn. A signal's death is told as shells tell it (nspawn does not tell
    // it); what cannot be started has the codes of POSIX's shell, 2.8.2, so that it can be told from a command
    // that fails (both others say 1).
    let cases: [(&[&str], [i32; 3]); 10] = [
        (&["sh", "-c", "exit 0"], [0, 0, 0]),
        (&["sh", "-c", "exit 7"], [7, 7, 7]),
        (&["sh", "-c", "exit 127"], [127, 127, 127]),
        (&["sh", "-c", "exit 255"], [255, 255, 255]),
        (&["sh", "-c", "trap '' TERM; kill -TERM $$; exit 3"], [3, 3, 3]),
        (&["sh", "-c", "kill -TERM $$"], [143, 143, 255]),
        (&["sh", "-c", "kill -9 $$"], [137, 137, 255]),
        (&["no-such-command"], [127, 1, 1]),
        (&["/etc"], [126, 1, 1]),
        (&["/etc/text"], [126, 1, 1]),
    ];
    for (words, codes) in cases {
        for (way, expected) in WAYS.into_iter().zip(codes) {
            let output = command(way, &root, false, words).stdin(Stdio::null()).output().unwrap();
            assert_eq!(code(output.status), expected, "{way:?} {words:?}: {output:?}");
        }
    }
}

#[test]
fn streams_are_passed_as_by_the_peers() {
    let root = root();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    for way in WAYS {
        let mut child = command(way, &root, false, &["sh", "-c", "cat; echo error >&2"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut got = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                input.write_all(&sent).unwrap();
                drop(input);
            });
            output.read_to_end(&mut got).unwrap();
        });
        assert!(got == sent, "{way:?}: {} bytes of {}", got.len(), sent.len());
        let complaint = complaint(&child.wait_with_output().unwrap());
        assert!(complaint.lines().any(|line| line == "error"), "{way:?}: {complaint}");
        // A reader that goes away ends the writer, by SIGPIPE; nspawn does not tell which signal it was.
        let mut child =
            command(way, &root, false, &["yes"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0; 2]).unwrap();
        let expected = if way == Way::Nspawn { 255 } else { 141 };
        assert_eq!(code(child.wait().unwrap()), expected, "{way:?}");
        // Closed input: empty in ours, so that no file which the command opens is taken for it.
        let mut closed = Command::new("sh");
        let inner = command(way, &root, false, &["sh", "-c", "cat 2>/dev/null; echo $?"]);
        closed.args(["-c", "exec \"$@\" <&-", "sh"]).arg(inner.get_program()).args(inner.get_args());
        let expected = if way == Way::Ours { "0\n" } else { "1\n" };
        assert_eq!(said(&closed.output().unwrap()), expected, "{way:?}");
    }
}

/// Starts a script that says `ready`, sends its front a signal, and gives the code and what came after; at the
/// end of the output no process of the sandbox is left that could write to it.
fn signalled(way: Way, root: &Root, name: &str, script: &str) -> (i32, String) {
    let mut child = command(way, root, false, &["sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 6]).unwrap();
    let signal: nix::sys::signal::Signal = format!("SIG{name}").parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    (code(child.wait().unwrap()), rest)
}

#[test]
fn signals_end_a_front_and_all_behind_it_as_those_of_the_peers() {
    let root = root();
    // Of ours, of bubblewrap, of systemd-nspawn, which ends its container for SIGTERM and SIGINT and says 1; of
    // SIGHUP it dies itself and lets its container run on, so that it is not tried.
    for (name, codes) in [("TERM", &[143, 143, 1][..]), ("INT", &[130, 130, 1]), ("HUP", &[129, 129])] {
        for (way, expected) in WAYS.into_iter().zip(codes.iter().copied()) {
            let script = "(sleep 1000 &); echo ready; exec sleep 1000";
            assert_eq!(signalled(way, &root, name, script), (expected, String::new()), "{way:?} {name}");
            // In ours the command hears it, and may end in order; with the others it is killed.
            let script = format!("trap 'echo got; exit 5' {name}; echo ready; while :; do sleep 0.1; done");
            let handled = if way == Way::Ours { (5, "got\n".to_owned()) } else { (expected, String::new()) };
            assert_eq!(signalled(way, &root, name, &script), handled, "{way:?} {name}");
        }
    }
}

#[test]
fn terminals_are_as_those_of_the_peers() {
    let root = root();
    for way in WAYS {
        let mut person = Person::of(command(way, &root, true, &["sh"]).env("PS1", "# "));
        person.sees("# ");
        person.types("[ -t 0 ] && [ -t 2 ] && stty size\n");
        person.sees("33 111\r\n");
        person.sees("# ");
        person.resize(20, 70);
        person.types("while [ \"$(stty size)\" != '20 70' ]; do sleep 0.1; done; echo R$((1+1))R\n");
        person.sees("R2R");
        person.sees("# ");
        person.types("sh -c 'echo W$((1+1))W; sleep 1000'\n");
        person.sees("W2W");
        person.types("\x03");
        person.sees("# ");
        person.types("echo X$?X\n");
        person.sees("X130X");
        person.sees("# ");
        person.types("exit 9\n");
        assert_eq!(person.leaves(), 9, "{way:?}");
        assert!(person.is_cooked(), "{way:?}");
    }
}
