//! Terminals: size, its changes, modes, the end.

use crate::machine::{Machine, read_until, run, text};
use std::process::{Command, Stdio};

/// Runs ssh -tt inside a terminal of its own, which script(1) makes.
fn in_terminal(machine: &Machine, line: &str, setup: &str) -> Command {
    let ssh: Vec<String> = ["ssh", "-tt"]
        .iter()
        .map(|&word| word.to_owned())
        .chain(machine.options())
        .chain(["tester@127.0.0.1".to_owned(), format!("'{line}'")])
        .collect();
    let mut command = Command::new("script");
    command.args(["-qfec", &format!("{setup}; {}", ssh.join(" ")), "/dev/null"]);
    command.env("TERM", "vt220").stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

#[test]
fn a_terminal_has_the_clients_size_modes_and_name() {
    let machine = Machine::start("");
    let line = "stty size; stty -a; echo $TERM; tty; echo $SSH_TTY; stat -c %U:%a $SSH_TTY; exit 3";
    let output = run(in_terminal(&machine, line, "stty rows 33 cols 77 -ixon erase ^H").stdin(Stdio::null()));
    let out = text(&output.stdout).replace('\r', "");
    assert!(out.contains("33 77\n"), "{out}");
    assert!(
        out.contains("-ixon") && out.contains("erase = ^H") && out.contains("\nvt220\n/dev/pts/"),
        "{out}"
    );
    let tail: Vec<&str> = out.lines().skip_while(|line| !line.starts_with("/dev/pts/")).collect();
    assert_eq!(tail[0], tail[1], "{out}");
    assert!(tail[2].ends_with(":620"), "{out}");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_change_of_the_window_reaches_the_program() {
    let machine = Machine::start("");
    // The window is changed by a process beside ssh, on the same terminal, once told to.
    let setup = "stty rows 10 cols 20; (read line < fifo; stty rows 44 cols 55 < $(tty)) & true";
    let setup = setup.replace("fifo", machine.root().join("fifo").to_str().unwrap());
    assert!(run(Command::new("mkfifo").arg(machine.root().join("fifo"))).status.success());
    let line = "trap \"stty size; exit\" WINCH; echo ready now; while :; do sleep 0.1; done";
    let setup = setup.replace("$(tty)", "/proc/$$/fd/0");
    let mut child = in_terminal(&machine, line, &setup).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    read_until(&mut output, "ready now");
    std::fs::write(machine.root().join("fifo"), "go\n").unwrap();
    read_until(&mut output, "44 55");
    child.wait().unwrap();
}

#[test]
fn a_terminal_ends_with_its_program_and_hangs_up_on_the_rest() {
    let machine = Machine::start("");
    let out = machine.good(&["-tt"], "sleep 1000 & echo started; exit");
    assert_eq!(out.replace('\r', ""), "started\n");
    machine.wait_log("Session 1 of tester closed");
    assert!(machine.scopes().is_empty());
}

#[test]
fn a_terminal_is_refused_when_the_key_or_the_server_says_so() {
    let machine = Machine::start("PermitTTY no\n");
    let refused = |machine: &Machine| {
        let output = machine.ssh(&["-tt", "-o", "LogLevel=INFO"], "tty");
        assert!(text(&output.stderr).contains("PTY allocation request failed"), "{output:?}");
        assert!(!text(&output.stdout).contains("/dev/"), "{output:?}");
    };
    refused(&machine);
    let machine = Machine::start("");
    machine.authorize("tester", &format!("no-pty {}", machine.public_key("id")));
    refused(&machine);
}
