//! Sessions: their list, their end, many on one connection, rekeying, restarts.

use crate::machine::{Machine, read_until, run, text, wait};
use std::process::{Command, Stdio};

#[test]
fn sessions_are_listed_and_terminated() {
    let machine = Machine::start("");
    let mut child =
        machine.client(&["-tt"]).arg("echo in; sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    read_until(child.stdout.as_mut().unwrap(), "in");
    let list = text(&machine.loginctl(&["list-sessions", "--json=short"]).stdout);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list[0]["session"], "1");
    assert_eq!(list[0]["user"], "tester");
    assert!(list[0]["tty"].as_str().unwrap().starts_with("pts/"), "{list}");
    let shown = text(&machine.loginctl(&["session-status", "1"]).stdout);
    assert!(shown.contains("sleep 1000") && shown.contains("Remote:  127.0.0.1"), "{shown}");
    let leader = text(&machine.loginctl(&["show-session", "1", "-p", "Leader"]).stdout);
    assert_eq!(leader.trim(), format!("Leader={}", list[0]["leader"]));
    // Another user may look, and not end it.
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(machine.root().join("ssh"));
    let other = run(other.args(["loginctl", "terminate-session", "1", "--root"]).arg(machine.root()));
    assert_eq!(
        text(&other.stderr),
        "error: nobody may not touch sessions of others: that is for root and the group wheel\nhint: log in as a member of the group wheel, or make this user one in user-data (`groups: [wheel]`)\n"
    );
    assert!(machine.loginctl(&["terminate-session", "1"]).status.success());
    assert_eq!(child.wait().unwrap().code(), Some(255));
    machine.wait_log("Session 1 of tester closed");
    assert!(machine.scopes().is_empty());
    assert_eq!(machine.loginctl(&["terminate-session", "1"]).status.code(), Some(1));
    // A signal to all that runs in one; all of one user.
    let mut child = machine
        .client(&[])
        .arg("trap 'echo got it' USR1; echo in; while :; do sleep 0.1; done")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    read_until(&mut output, "in");
    assert!(machine.loginctl(&["kill-session", "-s", "USR1", "--kill-whom=leader", "2"]).status.success());
    read_until(&mut output, "got it");
    assert!(machine.loginctl(&["terminate-user", "tester"]).status.success());
    child.wait().unwrap();
}

#[test]
fn twenty_sessions_share_a_connection() {
    let machine = Machine::start("");
    let control = format!("ControlPath={}/master", machine.root().display());
    let mut master = machine
        .client(&["-o", &control, "-o", "ControlMaster=yes"])
        .arg("echo up; sleep 1000")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    read_until(master.stdout.as_mut().unwrap(), "up");
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let mut client = machine.client(&["-o", &control]);
            client
                .arg(format!("head -c 1000000 /dev/zero | wc -c; sleep 0.2; echo {number}"))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        let output = client.wait_with_output().unwrap();
        assert_eq!(text(&output.stdout), format!("1000000\n{number}\n"), "{}", machine.log());
    }
    assert_eq!(machine.scopes().len(), 1);
    // A client that goes takes its program with it, and the others stay.
    let mut client =
        machine.client(&["-o", &control]).arg("echo in; sleep 1001").stdout(Stdio::piped()).spawn().unwrap();
    read_until(client.stdout.as_mut().unwrap(), "in");
    client.kill().unwrap();
    client.wait().unwrap();
    wait("its program has ended", || {
        let status = text(&machine.loginctl(&["session-status", "1"]).stdout);
        (!status.contains("sleep 1001") && status.contains("sleep 1000")).then_some(())
    });
    assert_eq!(machine.good(&["-o", &control], "echo still"), "still\n");
    master.kill().unwrap();
    master.wait().unwrap();
}

#[test]
fn keys_are_renewed_on_the_way() {
    let machine = Machine::start("");
    let sums = "head -c 30000000 /dev/zero | sha256sum";
    let expected = text(&run(Command::new("sh").args(["-c", sums])).stdout);
    for cipher in ["aes256-gcm@openssh.com", "aes256-ctr"] {
        let output = machine.ssh(
            &["-v", "-o", "LogLevel=DEBUG1", "-c", cipher, "-o", "RekeyLimit=2M"],
            "head -c 30000000 /dev/zero",
        );
        assert!(output.status.success(), "{cipher}");
        assert_eq!(output.stdout.len(), 30_000_000, "{cipher}");
        assert!(text(&output.stderr).matches("rekeying").count() > 5, "{cipher}");
    }
    let sum = "head -c 30000000 /dev/zero | ".to_owned()
        + &format!("{:?}", machine.client(&["-o", "RekeyLimit=2M"]).arg("sha256sum"));
    assert_eq!(text(&run(Command::new("sh").args(["-c", &sum])).stdout), expected);
}

#[test]
fn the_end_of_the_server_ends_its_sessions() {
    let mut machine = Machine::start("");
    let mut child =
        machine.client(&[]).arg("trap '' HUP; echo in; sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    read_until(child.stdout.as_mut().unwrap(), "in");
    machine.down();
    child.wait().unwrap();
    assert!(machine.scopes().is_empty());
    assert!(machine.log().contains("Session 1 of tester closed"));
}

#[test]
fn a_server_that_was_killed_finds_its_key_and_ends_what_was_left() {
    let mut machine = Machine::start("");
    let mut child =
        machine.client(&[]).arg("trap '' HUP; echo in; sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    read_until(child.stdout.as_mut().unwrap(), "in");
    machine.restart();
    child.wait().unwrap();
    machine.wait_log("session 1 of tester was left over, killed");
    // The known hosts of the client are those of before.
    assert_eq!(machine.good(&[], "echo $XDG_SESSION_ID"), "2\n");
}

#[test]
fn a_client_that_is_gone_is_noticed() {
    let machine = Machine::start("ClientAliveInterval 1\nClientAliveCountMax 2\n");
    let mut child = machine.client(&[]).arg("echo in; sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    read_until(child.stdout.as_mut().unwrap(), "in");
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGSTOP).unwrap();
    machine.wait_log("Session 1 of tester closed");
    assert!(machine.log().contains("Connection of session 1 from 127.0.0.1 port "), "{}", machine.log());
    child.kill().unwrap();
    child.wait().unwrap();
}
