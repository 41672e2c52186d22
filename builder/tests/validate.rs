//! `slipway validate`: the verdict of the machine, on a laptop.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::fs;
use std::process::{Command, Output};
use tempfile::TempDir;

fn validate(folder: &TempDir, text: &str, more: &[&str]) -> (i32, String, String) {
    fs::write(folder.path().join("doc"), text).unwrap();
    let program = env!("CARGO_BIN_EXE_slipway");
    let run = Command::new(program).current_dir(folder.path()).args(["validate", "doc"]).args(more).output();
    let Output { status, stdout, stderr } = run.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn a_good_document_is_accepted_and_suspicion_said() {
    let folder = tempfile::tempdir().unwrap();
    let text = "#cloud-config\ncoreos:\n  units:\n    - name: etcd2.service\n      drop-ins:\n        - name: 10-x.conf\n          content: |\n            [Unit]\n            Novel=yes\n";
    let (code, stdout, stderr) = validate(&folder, text, &[]);
    assert_eq!((code, stdout.as_str()), (0, "accepted doc\n"), "{stderr}");
    assert_eq!(stderr, "warning: doc:9:13: etcd2.service: key `Novel=` is not known in [Unit]\n");
}

#[test]
fn every_fault_has_its_place_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let text = "#cloud-config\nhostnam: x\nwrite_files:\n  - path: /etc/x\n    owner: ghost\n";
    let (code, stdout, stderr) = validate(&folder, text, &[]);
    // Accounts are looked up when the document itself is right.
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert_eq!(stderr, "error: doc:2:1: unknown key `hostnam`; did you mean `hostname`?\n");
    let (_, _, stderr) = validate(&folder, &text.replace("hostnam:", "hostname:"), &[]);
    assert_eq!(stderr, "error: doc:5:12: no such user or group on this machine\n");
}

#[test]
fn addresses_are_those_of_the_machine_or_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let text = "#cloud-config\ncoreos:\n  etcd2:\n    name: $private_ipv4\n";
    let (code, _, stderr) = validate(&folder, text, &[]);
    assert_eq!(code, 2);
    assert!(stderr.starts_with("error: doc:4:11: $private_ipv4 is not known here"), "{stderr}");
    assert_eq!(validate(&folder, text, &["--set", "private_ipv4=10.0.0.1"]).0, 0);
    fs::write(folder.path().join("meta"), "{\"local-ipv4\": \"10.0.0.1\"}").unwrap();
    assert_eq!(validate(&folder, text, &["--metadata", "meta"]).0, 0);
    assert_eq!(validate(&folder, text, &["--set", "ipv4=1"]).0, 2);
}

#[test]
fn a_script_needs_its_interpreter() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = validate(&folder, "#!/bin/bash\necho\n", &[]);
    assert_eq!(code, 2);
    assert!(stderr.starts_with("error: doc:1:3: the image has no /bin/bash"), "{stderr}");
}
