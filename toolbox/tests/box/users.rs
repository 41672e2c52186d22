//! Users: with ranges of ids, without, and where they may have no namespace.
//!
//! Needs Debian's uidmap.

use super::*;
use std::io::Write;
use std::process::Stdio;

const RANGE: &str = "fresh:300000:65536\n";

/// A command of a user whom only a copy of /etc knows, with what that says of ranges.
fn fresh(root: &Root, ranges: &str, words: &[&str]) -> Output {
    let etc = root.0.path().join("etc");
    let script = format!(
        "set -e; rm -rf {etc}; cp -a /etc {etc}; echo 'fresh:x:{NOBODY}:{NOBODY}::/:/bin/sh' >> {etc}/passwd; \
         echo 'fresh:x:{NOBODY}:' >> {etc}/group; printf %s '{ranges}' | tee {etc}/subuid > {etc}/subgid; \
         mount --bind {etc} /etc; exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups \"$@\"",
        etc = etc.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(root.0.path().join("toolbox"));
    command.arg("run").args(words).output().unwrap()
}

#[test]
fn a_user_with_ranges_has_users_and_groups() {
    let root = Root::new();
    std::os::unix::fs::chown(root.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::write(root.path().join("theirs"), "").unwrap();
    std::os::unix::fs::chown(root.path().join("theirs"), Some(300_006), Some(300_007)).unwrap();
    let from = root.path().display().to_string();
    // apt gives its downloads to a user of its own, with setgroups(2) before.
    let script = "stat -c %u:%g /bin /theirs; touch /mine; chown 5:6 /mine; stat -c %u:%g /mine; \
                  echo 'apt:x:42:65534::/:/bin/sh' > /etc/passwd; echo 'more:x:100:apt' > /etc/group; \
                  su -s /bin/sh apt -c 'id -u; id -g; id -G'";
    let output = fresh(&root, RANGE, &["--from", &from, "--", "sh", "-c", script]);
    let text = said(&output);
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        ["65534:65534", "7:8", "5:6", "42", "65534", "65534 100"],
        "{text}"
    );
    let output = fresh(&root, "", &["--from", &from, "--explain", "--", "true"]);
    let text = said(&output);
    assert!(text.contains("newuidmap and a range in /etc/subuid and /etc/subgid are needed"), "{text}");
    let output = fresh(&root, RANGE, &["--from", &from, "--explain", "--", "true"]);
    assert!(!said(&output).contains("/etc/subuid"), "{output:?}");
}

#[test]
fn where_user_namespaces_are_forbidden_the_setting_and_the_cure_are_named() {
    let root = Root::new();
    // The limit of a user namespace of the test's own.
    // A program that is started when the ids are mapped has the namespace's capabilities.
    let script = format!(
        "echo made; read mapped; exec sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && \
         exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups \"$@\"' sh \"$@\""
    );
    let mut child = Command::new("unshare")
        .args(["--user", "sh", "-c", &script, "sh"])
        .arg(root.0.path().join("toolbox"))
        .args(["run", "--from"])
        .arg(root.path())
        .args(["--", "true"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 5]).unwrap();
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{file}", child.id()), "0 0 65536\n").unwrap();
    }
    child.stdin.take().unwrap().write_all(b"mapped\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    for part in
        ["user namespaces are forbidden, user.max_user_namespaces is 0\nhint: ", "sysctl user.max_user"]
    {
        assert!(complaint(&output).contains(part), "{output:?}");
    }
}
