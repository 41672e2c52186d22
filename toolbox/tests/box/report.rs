//! What is told at the end of a session.

use super::*;

/// The report's lines, sorted.
fn report(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    let text = complaint(output);
    let (before, report) = text.split_once("toolbox: report: ").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(before, "");
    let mut lines: Vec<String> = report.lines().map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

const SCRIPT: &str = "cd /work; echo x > new; echo y >> old; rm gone; mkdir folder; mv old moved; ln -s new link; echo z > link; \
                      touch passing; rm passing; cat kept > /dev/null; chmod 600 kept; echo w > sub/../up; \
                      touch /root-only /tmp/x; mkdir -p /etc/own";

#[test]
fn files_of_the_host_are_told_as_they_are_at_the_end() {
    let root = Root::new();
    for user in [0, NOBODY] {
        let work = tempfile::tempdir_in("/var/tmp").unwrap();
        for name in ["old", "gone", "kept"] {
            fs::write(work.path().join(name), "").unwrap();
        }
        fs::create_dir(work.path().join("sub")).unwrap();
        said(&Command::new("chown").args(["-R", &user.to_string()]).arg(work.path()).output().unwrap());
        // Times of files are those of the clock's last tick.
        let old = std::time::SystemTime::now();
        while old.elapsed().unwrap().as_millis() < 50 {
            std::thread::yield_now();
        }
        let mount = format!("{}:/work", work.path().display());
        let mut command = root.command(&["--report", "--mount", &mount], &["sh", "-c", SCRIPT]);
        let output = command.uid(user).gid(user).output().unwrap();
        let at = |what: &str, name: &str| format!("{what:<9} {}/{name}", work.path().display());
        let mut expected = vec![
            "what was done outside of the box".to_owned(),
            at("made", "new"),
            at("removed", "gone"),
            at("made", "folder"),
            at("removed", "old"),
            at("made", "moved"),
            at("made", "link"),
            at("changed", "kept"),
            at("made", "up"),
        ];
        expected.sort();
        assert_eq!(report(&output), expected, "as user {user}");
        let output = root.run(
            &["--report", "--mount", &mount],
            &["sh", "-c", "cat /work/kept /work/new > /tmp/all; touch /x"],
        );
        assert_eq!(report(&output), ["nothing was done outside of the box"]);
    }
}

#[test]
fn sockets_mounts_and_processes_are_told() {
    let root = Root::new();
    let script = "mkdir /m; mount -t tmpfs none /m; sleep 1000 & nc -l -p 0 127.0.0.1 & \
                  until grep -q 0100007F /proc/net/tcp; do :; done";
    let namespace = |options: &[&str], command: &[&str]| {
        let toolbox = root.command(options, command);
        let mut run = Command::new("unshare");
        run.args(["--net", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"]).arg(toolbox.get_program());
        run.args(toolbox.get_args()).env("TOOLBOX_CONFIG", "").output().unwrap()
    };
    let lines = report(&namespace(&["--report", "--cap-add", "sys_admin"], &["sh", "-c", script]));
    for line in [
        "mount     /m in the box, gone with it",
        "process   nc, ended with the box",
        "process   sleep, ended with the box",
        "socket    127.0.0.1, a port of the kernel's choice, closed with the box",
    ] {
        assert!(lines.iter().any(|told| told == line), "{line}: {lines:#?}");
    }
    // The exit code is the command's as ever, and the streams are as they were.
    let output = root.run(&["--report"], &["sh", "-c", "echo out; exit 7"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(7), &b"out\n"[..]));
    assert_eq!(complaint(&output), "toolbox: report: nothing was done outside of the box\n");
}

#[test]
fn a_file_of_the_host_that_profile_all_changes_is_told() {
    let root = Root::new();
    let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
    let script = format!("echo x > /media/root{}", file.path().display());
    let output = root.run(&["--report", "--profile", "all"], &["sh", "-c", &script]);
    assert!(report(&output).contains(&format!("changed   {}", file.path().display())), "{output:?}");
}
