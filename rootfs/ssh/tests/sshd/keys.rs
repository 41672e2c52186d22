//! Who comes in, and with what rights.

use crate::machine::{Machine, run, text};
use std::process::Output;

/// ssh's own failure: the server let nobody in.
fn denied(output: &Output) {
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    assert!(text(&output.stderr).contains("Permission denied (publickey)"), "{output:?}");
}

#[test]
fn nobody_comes_in_without_an_authorized_key() {
    let machine = Machine::start("");
    machine.new_key("other", "ed25519");
    let other = format!("IdentityFile={}/other", machine.root().display());
    let with_other = |more: &[&str]| {
        let mut command = std::process::Command::new("ssh");
        command.args(["-i", &format!("{}/other", machine.root().display())]).args(more);
        let options: Vec<String> = machine
            .options()
            .into_iter()
            .map(|option| if option.starts_with("IdentityFile=") { other.clone() } else { option })
            .collect();
        run(command.args(options).args(["tester@127.0.0.1", "id"]).env_remove("SSH_AUTH_SOCK"))
    };
    denied(&with_other(&[]));
    denied(&machine.ssh(&["-l", "root"], "id"));
    denied(&machine.ssh(&["-l", "nobody-here"], "id"));
    denied(&machine.ssh(
        &["-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive"],
        "id",
    ));
    // A line that is removed, or is only a comment, opens nothing from then on.
    machine.good(&[], "true");
    machine.authorize("tester", &format!("# {}", machine.public_key("id")));
    denied(&machine.ssh(&[], "id"));
    // The drop-in folder opens as well.
    let folder = machine.root().join("etc/ssh/authorized_keys.d/tester.d");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("laptop"), machine.public_key("id") + "\n").unwrap();
    machine.good(&[], "true");
    let log = machine.log();
    assert!(log.contains("Failed publickey for root from 127.0.0.1 port "), "{log}");
    assert!(log.contains("root may not log in"), "{log}");
}

#[test]
fn ecdsa_keys_open_and_rsa_keys_are_named_as_unsupported() {
    let machine = Machine::start("");
    machine.new_key("ec", "ecdsa");
    machine.new_key("rsa", "rsa");
    machine.authorize("tester", &format!("{}\n{}", machine.public_key("ec"), machine.public_key("rsa")));
    machine.good(&["-i", &format!("{}/ec", machine.root().display())], "true");
    machine.wait_log("line 2: keys of the kind ssh-rsa are not supported, use ssh-ed25519");
}

#[test]
fn options_of_a_key_hold() {
    let machine = Machine::start("");
    let key = machine.public_key("id");
    let with = |options: &str| machine.authorize("tester", &format!("{options} {key}"));
    with("command=\"echo forced: $SSH_ORIGINAL_COMMAND\"");
    assert_eq!(machine.good(&[], "rm -rf /"), "forced: rm -rf /\n");
    with("environment=\"COLOR=blue\",environment=\"HOME=/\"");
    assert_eq!(machine.good(&[], "echo $COLOR $HOME"), "blue /\n");
    with("from=\"10.0.0.0/8\"");
    denied(&machine.ssh(&[], "id"));
    with("from=\"127.0.0.1,!10.0.0.0/8\"");
    machine.good(&[], "true");
    with("expiry-time=\"20200101\"");
    denied(&machine.ssh(&[], "id"));
    with("expiry-time=\"29990101\"");
    machine.good(&[], "true");
    with("cert-authority");
    denied(&machine.ssh(&[], "id"));
    machine.wait_log("line 1: the option `cert-authority` is not supported");
}

#[test]
fn users_are_allowed_and_denied_by_the_configuration() {
    let machine =
        Machine::start("AllowUsers test* root\nDenyUsers *er2\nPermitRootLogin prohibit-password\n");
    machine.authorize("root", &machine.public_key("id"));
    machine.authorize("plain", &machine.public_key("id"));
    assert_eq!(machine.good(&["-l", "root"], "id -u"), "0\n");
    machine.good(&[], "true");
    denied(&machine.ssh(&["-l", "plain"], "true"));
    let closed = Machine::start("");
    closed.authorize("closed", &closed.public_key("id"));
    let output = closed.ssh(&["-l", "closed"], "id");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr).trim(), "This account is currently not available.");
}

#[test]
fn a_wrong_configuration_is_told_and_only_members_of_wheel_get_in() {
    let wrong = "MaxSessions 7\nPasswordAuthentication yes\nDenyUser tester\n";
    let mut machine = Machine::prepare(wrong);
    let program = machine.root().join("ssh");
    let checked = run(std::process::Command::new(program).args(["sshd", "-t", "--root"]).arg(machine.root()));
    assert_eq!(checked.status.code(), Some(1));
    let told = text(&checked.stderr);
    assert!(told.ends_with("sshd.conf: line 2: unknown key `PasswordAuthentication`\n"), "{told}");
    machine.authorize("tester", &machine.public_key("id"));
    machine.restart();
    machine.wait_log("sshd.conf:2: unknown key `PasswordAuthentication`");
    machine.wait_log("sshd.conf:3: unknown key `DenyUser`");
    assert_eq!(machine.ssh(&[], "true").status.code(), Some(255));
    machine.wait_log("only members of wheel may while sshd.conf is wrong");
    let group = machine.root().join("etc/group");
    let groups = std::fs::read_to_string(&group).unwrap_or_default();
    std::fs::write(&group, format!("{groups}wheel:x:10:tester\n")).unwrap();
    assert_eq!(machine.good(&[], "echo in"), "in\n");
}

#[test]
fn x11_is_not_forwarded_and_an_agent_not_where_the_server_says_so() {
    let machine = Machine::start("AllowAgentForwarding no\n");
    let mut client = machine.client(&["-A", "-X"]);
    client.env("DISPLAY", ":7").env("SSH_AUTH_SOCK", machine.root().join("agent"));
    let output = run(client.arg("echo agent=$SSH_AUTH_SOCK display=$DISPLAY"));
    assert_eq!(text(&output.stdout), "agent= display=\n", "{output:?}");
}
