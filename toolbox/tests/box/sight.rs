//! What a box sees and may change.

use super::*;

#[test]
fn the_host_is_seen_and_not_changed() {
    let root = Root::new();
    let host = fs::read_to_string("/etc/passwd").unwrap();
    assert_eq!(root.says(&[], "cat /media/root/etc/passwd"), host);
    assert_eq!(root.says(&[], "cat /run/host/etc/passwd"), host);
    let name = format!("/var/tmp/toolbox-test-{}", std::process::id());
    let attempts = format!(
        "touch /media/root{name}; mount -o remount,rw /media/root; umount -l /media/root; umount /media/root/proc; \
         mount -t tmpfs none /tmp; mknod /b b 254 0; echo 1 > /proc/sys/kernel/panic; hostname x; \
         chroot /media/root touch {name}; ls {name} /media/root{name}"
    );
    let output = root.run(&[], &["sh", "-c", &attempts]);
    assert_ne!(output.status.code(), Some(0));
    for refused in
        ["touch: /media/root", "mount: ", "umount: ", "mknod: ", "/proc/sys/kernel/panic", "sethostname"]
    {
        assert!(complaint(&output).contains(refused), "{refused}: {}", complaint(&output));
    }
    assert!(!Path::new(&name).exists());
}

#[test]
fn changes_of_the_root_are_gone_with_it() {
    let root = Root::new();
    let script = "echo new > /bin/new; rm /bin/true; ls /bin/new; ls /bin/true 2>/dev/null || echo gone";
    assert_eq!(root.says(&[], script), "/bin/new\ngone\n");
    assert_eq!(root.says(&[], "ls /bin/true; ls /bin/new 2>/dev/null || echo none"), "/bin/true\nnone\n");
    let output = root.run(&["--read-only"], &["touch", "/x"]);
    assert!(complaint(&output).contains("Read-only file system"), "{output:?}");
    // Nothing has been made in the image itself.
    let names: Vec<_> = fs::read_dir(root.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["bin"]);
}

#[test]
fn names_and_processes_are_its_own() {
    let root = Root::new();
    let name = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert_eq!(root.says(&[], "hostname"), format!("{}-toolbox\n", name.split('.').next().unwrap()));
    assert_eq!(root.says(&[], "echo $$; ls /proc | grep -c '^[0-9]'"), "2\n4\n");
    let own = nix::unistd::Pid::this();
    assert_eq!(root.says(&["--profile", "process"], &format!("grep -c . /proc/{own}/stat")), "1\n");
    for (option, kind, same) in [
        ("--share", "net", true),
        ("--unshare", "net", false),
        ("--share", "uts", true),
        ("--unshare", "ipc", false),
        ("--share", "pid", true),
    ] {
        let inside = root.says(&[option, kind], &format!("readlink /proc/self/ns/{kind}"));
        let outside = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_eq!(inside.trim_end() == outside.to_str().unwrap(), same, "{option} {kind}");
    }
    assert_eq!(
        root.says(
            &["--unshare", "net", "--cap-add", "net_raw"],
            "ping -c 1 -W 5 127.0.0.1 >/dev/null && echo up"
        ),
        "up\n"
    );
}

#[test]
fn trees_of_the_host_are_where_they_are_asked_for() {
    let root = Root::new();
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("file"), "text\n").unwrap();
    let folder = host.path().display().to_string();
    let writable = format!("{folder}:/data/in/depth");
    assert_eq!(
        root.says(&["--mount", &writable], "cat /data/in/depth/file; touch /data/in/depth/made"),
        "text\n"
    );
    assert!(host.path().join("made").exists());
    let read_only = format!("{folder}/file:/one:ro");
    assert_eq!(
        root.says(&["--mount", &read_only], "cat /one; touch /one 2>/dev/null || echo kept"),
        "text\nkept\n"
    );
}

#[test]
fn links_in_an_image_lead_nowhere_outside() {
    let root = Root::new();
    let host = tempfile::tempdir().unwrap();
    for (number, to) in ["/host/var/tmp", "../../../../host/var/tmp", "/proc/self/cwd"].iter().enumerate() {
        symlink(to, root.path().join(format!("link{number}"))).unwrap();
        let name = format!("toolbox-escape-{}", std::process::id());
        let mount = format!("{}:/link{number}/{name}/x", host.path().display());
        let output = root.run(&["--mount", &mount], &["true"]);
        assert!(!Path::new("/var/tmp").join(&name).exists(), "{to}: {output:?}");
    }
    // Those that a box needs itself are folders above whatever the image has.
    for name in ["etc", "dev", "proc", "media"] {
        symlink("/host/var/tmp", root.path().join(name)).unwrap();
    }
    assert_eq!(root.says(&[], "ls -d /dev/null /media/root/etc"), "/dev/null\n/media/root/etc\n");
}

#[test]
fn the_hosts_own_root_can_be_worked_in() {
    let name = format!("/var/tmp/toolbox-test-{}", std::process::id());
    let script = format!("ls /etc/passwd && touch {name} /etc/new /usr/new && ls {name}");
    let output = Command::new(env!("CARGO_BIN_EXE_toolbox"))
        .args(["run", "--from", "host", "--", "sh", "-c", &script])
        .output();
    assert_eq!(said(&output.unwrap()), format!("/etc/passwd\n{name}\n"));
    for path in [name.as_str(), "/etc/new", "/usr/new"] {
        assert!(!Path::new(path).exists(), "{path}");
    }
}

#[test]
fn a_user_is_root_in_a_box_of_its_own() {
    let root = Root::new();
    let script = "id -u; id -g; touch /x && echo made; hostname >/dev/null; mount -t tmpfs none /tmp 2>&1; \
                  touch /media/root/var/tmp/toolbox-user 2>/dev/null || echo kept; echo $$";
    let said = root.says_to_user(&[], script);
    assert_eq!(
        said.lines().filter(|line| !line.contains("mount")).collect::<Vec<_>>(),
        ["0", "0", "made", "kept", "2"]
    );
    for (options, text) in [
        (["--profile", "net"], "--profile net needs root"),
        (["--profile", "disk"], "--profile disk needs root"),
        (["--share", "user"], "leave out --share user"),
    ] {
        let output = root.command(&options, &["true"]).uid(NOBODY).gid(NOBODY).output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        assert!(complaint(&output).contains(text), "{output:?}");
    }
}

#[test]
fn system_calls_that_no_tool_needs_are_refused() {
    let root = Root::new();
    let filter = |options: &[&str]| {
        root.says(options, "grep Seccomp: /proc/self/status; grep NoNewPrivs /proc/self/status")
    };
    assert_eq!(filter(&[]), "Seccomp:\t2\nNoNewPrivs:\t1\n");
    assert_eq!(filter(&["--seccomp", "off"]), "Seccomp:\t0\nNoNewPrivs:\t1\n");
    let effective = |options: &[&str]| root.says(options, "grep CapEff /proc/self/status");
    assert_eq!(effective(&["--cap-drop", "all"]), "CapEff:\t0000000000000000\n");
    assert_eq!(
        effective(&["--cap-drop", "all", "--cap-add", "chown,net_raw"]),
        "CapEff:\t0000000000002001\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28},
        {"names":["sethostname"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#;
    fs::write(file.path(), profile).unwrap();
    let option = ["--seccomp", file.path().to_str().unwrap()];
    let output = root.run(&option, &["mkdir", "/x"]);
    assert!(complaint(&output).contains("No space left"), "{output:?}");
    assert_eq!(root.run(&option, &["hostname", "x"]).status.code(), Some(128 + 31), "SIGSYS");
    fs::write(file.path(), "{}").unwrap();
    let output = root.run(&option, &["true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(complaint(&output).contains("defaultAction"), "{output:?}");
}
