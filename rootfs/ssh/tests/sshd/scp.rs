//! The old scp protocol (`scp -O`): this server is the far end, with no scp of its own here.

use crate::machine::{Machine, run, text};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

/// Runs scp with words, as whoever has no shell here.
fn scp(machine: &Machine, words: &[&str]) -> Output {
    run(Command::new("scp").arg("-O").args(machine.options()).args(words))
}

fn good(machine: &Machine, words: &[&str]) {
    let output = scp(machine, words);
    assert!(output.status.success(), "{words:?}: {output:?}");
}

fn prepare() -> Machine {
    let machine = Machine::start("");
    machine.authorize("plain", &machine.public_key("id"));
    machine
}

/// What a tree is: names, modes, times and contents.
fn tree(path: &Path) -> Vec<String> {
    let out = run(Command::new("find").arg(".").args(["-printf", "%P %m %T@ %s\n"]).current_dir(path));
    let mut lines: Vec<String> = text(&out.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn trees_come_back_as_they_were() {
    let machine = prepare();
    let root = machine.root();
    let local = root.join("local");
    fs::create_dir_all(local.join("a b/empty")).unwrap();
    fs::write(local.join("a b/ü'\" name"), vec![7; 3_000_000]).unwrap();
    fs::write(local.join("a b/none"), "").unwrap();
    fs::write(local.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(local.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(local.join("a b/none"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(local.join("a b/empty"), fs::Permissions::from_mode(0o500)).unwrap();
    assert!(
        run(Command::new("touch").args(["-d", "2001-02-03 04:05:06"]).arg(local.join("a b")))
            .status
            .success()
    );
    let from = local.display().to_string();
    good(&machine, &["-rp", &from, "plain@127.0.0.1:copy"]);
    let there = machine.home().join("copy");
    assert_eq!(fs::metadata(there.join("a b/none")).unwrap().uid(), machine.uid);
    good(&machine, &["-rp", "plain@127.0.0.1:copy", root.join("back").to_str().unwrap()]);
    // A folder's own size is the file system's matter, and its microseconds the protocol's.
    let about = |path: &Path| {
        let line = |line: &String| line.split('.').next().unwrap_or_default().to_owned();
        tree(path).iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(about(&there), about(&local));
    assert_eq!(about(&root.join("back")), about(&local));
    let same = run(Command::new("diff").arg("-r").arg(&local).arg(root.join("back")));
    assert!(same.status.success(), "{same:?}");
}

#[test]
fn files_with_blanks_into_a_folder_and_over_another() {
    let machine = prepare();
    let root = machine.root();
    let (one, two) = (root.join("one"), root.join("two words"));
    fs::write(&one, "1").unwrap();
    fs::write(&two, "22").unwrap();
    fs::create_dir(machine.home().join("in to")).unwrap();
    std::os::unix::fs::chown(machine.home().join("in to"), Some(machine.uid), None).unwrap();
    good(&machine, &[one.to_str().unwrap(), two.to_str().unwrap(), "plain@127.0.0.1:'in to'"]);
    assert_eq!(fs::read_to_string(machine.home().join("in to/two words")).unwrap(), "22");
    good(&machine, &[one.to_str().unwrap(), "plain@127.0.0.1:in\\ to/two\\ words"]);
    assert_eq!(fs::read_to_string(machine.home().join("in to/two words")).unwrap(), "1");
    good(&machine, &["plain@127.0.0.1:in\\ to/two\\ words", root.join("back").to_str().unwrap()]);
    assert_eq!(fs::read_to_string(root.join("back")).unwrap(), "1");
    good(&machine, &["plain@127.0.0.1:~/in\\ to/one", root.join("from home").to_str().unwrap()]);
    assert_eq!(fs::read_to_string(root.join("from home")).unwrap(), "1");
}

#[test]
fn what_the_user_may_not_is_told_and_the_rest_is_copied() {
    let machine = prepare();
    let root = machine.root();
    let secret = root.join("secret");
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(machine.home().join("open"), "mine").unwrap();
    let into = root.join("into");
    fs::create_dir(&into).unwrap();
    let from = |path: &str| format!("plain@127.0.0.1:{path}");
    let three = [from(secret.to_str().unwrap()), from("open"), from("/etc"), into.display().to_string()];
    let output = scp(&machine, &three.each_ref().map(String::as_str));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("Permission denied") && said.contains("/etc: not a regular file"), "{said}");
    assert_eq!(tree(&into).len(), 2, "the folder and `open`");
    let output = scp(&machine, &["/etc/hostname", "plain@127.0.0.1:/etc/hostname"]);
    assert!(text(&output.stderr).contains("Permission denied"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
    let output = scp(&machine, &["/etc/hostname", "/etc/passwd", "plain@127.0.0.1:open"]);
    assert!(text(&output.stderr).contains("open: not a directory"), "{output:?}");
    // A full disk is told, and is not the end of it.
    let output = scp(&machine, &["/etc/hostname", "plain@127.0.0.1:/dev/full"]);
    assert!(text(&output.stderr).contains("No space left"), "{output:?}");
}

#[test]
fn links_that_go_round_end() {
    let machine = prepare();
    let there = machine.home().join("round");
    fs::create_dir(&there).unwrap();
    symlink(".", there.join("self")).unwrap();
    fs::write(there.join("file"), "x").unwrap();
    let back = machine.root().join("back");
    let output = scp(&machine, &["-r", "plain@127.0.0.1:round", back.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("Too many levels of symbolic links"));
    assert_eq!(fs::read_to_string(back.join("file")).unwrap(), "x");
}

#[test]
fn a_client_that_sends_bad_names_makes_no_file() {
    let machine = prepare();
    fs::create_dir(machine.home().join("t")).unwrap();
    std::os::unix::fs::chown(machine.home().join("t"), Some(machine.uid), None).unwrap();
    for line in ["C0644 1 ../x", "D0755 0 ..", "C0644 1 /tmp/x", "C9999 1 x", "C0644 99999999999999999999 x"]
    {
        let ssh = format!("{:?}", machine.client(&["-l", "plain"]).arg("scp -r -t t"));
        let output = run(Command::new("sh").args(["-c", &format!("printf '{line}\\nx\\0' | {ssh}")]));
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        assert!(text(&output.stderr).starts_with("error: protocol error: "), "{line}: {output:?}");
    }
    let left = tree(&machine.home());
    assert_eq!(left.len(), 2, "{left:?}");
    let output = machine.ssh(&["-l", "plain"], "scp a b:c");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
