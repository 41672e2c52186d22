//! Commands: exit codes, signals, streams, environment, the prompt.

use crate::machine::{Machine, read_until, run, text};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

#[test]
fn a_command_runs_as_its_user_and_tells_how_it_ended() {
    let machine = Machine::start("");
    let uid = machine.uid;
    let line = "id -u; id -G; pwd; echo $USER $HOME; cat /proc/self/cgroup; echo err >&2; exit 7";
    let output = machine.ssh(&[], line);
    let home = machine.home().display().to_string();
    let out = text(&output.stdout);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..2], [uid.to_string(), format!("{uid} {}", uid + 7)]);
    assert_eq!(lines[2..4], [home.clone(), format!("tester {home}")]);
    assert!(
        lines.iter().any(|line| line.ends_with(&format!("/user.slice/user-{uid}.slice/session-1.scope"))),
        "{out}"
    );
    assert_eq!(text(&output.stderr), "err\n");
    assert_eq!(output.status.code(), Some(7));
    // ssh(1) itself ends with 255 when the program ended by a signal, and says which with -v.
    let killed = machine.ssh(&["-v", "-o", "LogLevel=DEBUG1"], "kill -TERM $$");
    assert_eq!(killed.status.code(), Some(255));
    assert!(text(&killed.stderr).contains("exit-signal"), "{killed:?}");
    let missing = machine.ssh(&[], "/no/such/program");
    assert_eq!(missing.status.code(), Some(127));
}

#[test]
fn a_hundred_megabytes_go_in_and_come_out() {
    let machine = Machine::start("");
    let sum = |line: &str, input: &str| {
        let mut shell = Command::new("sh");
        let ssh = format!("{:?}", machine.client(&[]).arg(line)).replace("LC_ALL", "");
        run(shell.args(["-ec", &format!("{input} | {ssh} | sha256sum")]))
    };
    let zeros = "head -c 100000000 /dev/zero";
    let expected = run(Command::new("sh").args(["-c", &format!("{zeros} | sha256sum")])).stdout;
    // In and out at once: neither direction may wait for the other.
    assert_eq!(text(&sum("cat", zeros).stdout), text(&expected));
    // In alone, out alone.
    assert!(text(&sum("sha256sum", zeros).stdout).len() == expected.len());
    assert_eq!(text(&sum(zeros, "true").stdout), text(&expected));
}

#[test]
fn a_program_that_writes_more_than_it_reads_does_not_stand_still() {
    let machine = Machine::start("");
    // 20 MB in become 200 MB out: the client's window for them arrives behind its own data.
    let line = "while read -r line; do :; done < /dev/null; exec sed s/0/0123456789/g";
    let mut child =
        machine.client(&[]).arg(line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let block = "0000000\n".repeat(16 << 10);
        for _ in 0..160 {
            input.write_all(block.as_bytes()).unwrap();
        }
    });
    let mut output = child.stdout.take().unwrap();
    let mut total = 0_u64;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match output.read(&mut buffer).unwrap() {
            0 => break,
            length => total += length as u64,
        }
    }
    writer.join().unwrap();
    assert_eq!(total, 160 * (16 << 10) * 71);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_environment_has_what_is_allowed_and_no_more() {
    let machine = Machine::start("");
    let mut client = machine.client(&["-o", "SendEnv=LC_TEST EVIL LANG HOME"]);
    let client = client.env("LC_TEST", "a b").env("EVIL", "1").env("LANG", "C.UTF-8").env("HOME", "/tmp");
    let out = text(&run(client.arg("env")).stdout);
    let has = |line: &str| out.lines().any(|found| found == line);
    assert!(has("LC_TEST=a b") && has("LANG=C.UTF-8") && has("USER=tester"), "{out}");
    assert!(has(&format!("HOME={}", machine.home().display())), "{out}");
    assert!(!out.contains("EVIL") && !out.contains("NOTIFY_SOCKET"), "{out}");
    assert!(out.contains("SSH_CONNECTION=127.0.0.1 ") && out.contains(" 127.0.0.1 22\n"), "{out}");
}

#[test]
fn without_a_shell_words_run_programs_and_nothing_else() {
    let machine = Machine::start("");
    machine.authorize("plain", &machine.public_key("id"));
    let plain = |line: &str| machine.ssh(&["-l", "plain"], line);
    assert_eq!(text(&plain("printf '%s|' \"a b\" c\\ d").stdout), "a b|c d|");
    assert_eq!(plain("sh -c 'exit 5'").status.code(), Some(5));
    let piped = plain("id | cat");
    assert_eq!(piped.status.code(), Some(2));
    assert!(text(&piped.stderr).starts_with("error: `|` needs a shell"), "{piped:?}");
    assert_eq!(plain("no-such-program").status.code(), Some(127));
    assert!(text(&plain("help").stdout).contains(" ls "));
    // The prompt, by lines from a pipe.
    let mut client = machine.client(&["-l", "plain"]);
    let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    input.write_all(b"printf one:\ncd /\npwd\n").unwrap();
    assert_eq!(read_until(&mut output, "\n"), "one:/\n");
    input.write_all(b"false\nexit\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn what_runs_on_is_ended_with_the_connection() {
    let machine = Machine::start("");
    let mut child = machine
        .client(&[])
        .arg("setsid -f sleep 1000; trap '' HUP; echo on; sleep 1000")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    read_until(child.stdout.as_mut().unwrap(), "on");
    let scopes = machine.scopes();
    assert_eq!(scopes.len(), 1);
    assert!(ssh::cgroup::processes(&scopes[0]).unwrap().len() >= 2);
    child.kill().unwrap();
    child.wait().unwrap();
    machine.wait_log("Session 1 of tester closed");
    assert!(machine.scopes().is_empty());
    assert!(text(&machine.loginctl(&[]).stdout).contains("No sessions."));
}
