//! sftp and scp.

use crate::machine::{Machine, run, text};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

/// Runs sftp with a batch; gives its stdout.
fn sftp(machine: &Machine, batch: &str, good: bool) -> String {
    let mut child = Command::new("sftp")
        .args(machine.options())
        .args(["-b", "-", "tester@127.0.0.1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("apt-get install openssh-client");
    child.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.success(), good, "{output:?}");
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn sftp_puts_gets_lists_renames_and_links() {
    let machine = Machine::start("");
    let local = machine.root().join("local");
    fs::create_dir(&local).unwrap();
    let content: Vec<u8> =
        (0..3_000_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    fs::write(local.join("big"), &content).unwrap();
    fs::set_permissions(local.join("big"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(local.join("tree")).unwrap();
    fs::write(local.join("tree/ä ö"), "umlauts").unwrap();
    let here = local.display();
    let out = sftp(
        &machine,
        &format!(
            "lcd {here}\nput -p big\nget -p big back\nmkdir d\nrename big d/big2\nsymlink d/big2 link\nls -l\n\
             put -R tree\nln d/big2 hard\nchmod 600 d/big2\ndf\nls -l d\npwd\nrm link\nget -R tree tree2\nrmdir d2\n"
        ),
        false,
    );
    let home = machine.home();
    assert!(out.contains(&format!("Remote working directory: {}", home.display())), "{out}");
    assert!(out.contains("lrwxrwxrwx") && out.contains("12000000") && out.contains("%Capacity"), "{out}");
    assert!(out.contains("d2\": No such file"), "the last command fails: {out}");
    assert!(fs::read(local.join("back")).unwrap() == content);
    assert_eq!(fs::metadata(local.join("back")).unwrap().mode() & 0o777, 0o640);
    let times = |path: &std::path::Path| fs::metadata(path).unwrap().mtime();
    assert_eq!(times(&local.join("back")), times(&local.join("big")));
    let about = fs::metadata(home.join("d/big2")).unwrap();
    assert_eq!((about.mode() & 0o777, about.uid(), about.nlink()), (0o600, machine.uid, 2));
    assert!(home.join("link").symlink_metadata().is_err());
    assert_eq!(fs::read_to_string(local.join("tree2/ä ö")).unwrap(), "umlauts");
}

#[test]
fn sftp_has_the_rights_of_the_user() {
    let machine = Machine::start("");
    let secret = machine.root().join("secret");
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(
        sftp(&machine, &format!("get {} /dev/null\n", secret.display()), false).contains("Permission denied")
    );
    let key = machine.root().join("var/lib/ssh/ssh_host_ed25519_key");
    assert!(sftp(&machine, &format!("get {} /dev/null\n", key.display()), false).contains("not found"));
    assert!(sftp(&machine, "put /etc/hostname /etc/hostname\n", false).contains("Permission denied"));
}

#[test]
fn scp_copies_both_ways_without_a_program_of_that_name_here() {
    let machine = Machine::start("");
    machine.authorize("plain", &machine.public_key("id"));
    let local = machine.root().join("file");
    fs::write(&local, "copied").unwrap();
    let scp = |from: &str, to: &str| run(Command::new("scp").args(machine.options()).args([from, to]));
    let there = scp(local.to_str().unwrap(), "plain@127.0.0.1:there");
    assert!(there.status.success(), "{there:?}");
    assert_eq!(fs::read_to_string(machine.home().join("there")).unwrap(), "copied");
    let back = scp("plain@127.0.0.1:there", machine.root().join("back").to_str().unwrap());
    assert!(back.status.success(), "{back:?}");
    assert_eq!(fs::read_to_string(machine.root().join("back")).unwrap(), "copied");
}
