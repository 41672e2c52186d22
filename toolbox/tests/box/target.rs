//! Boxes in the namespaces of another process.

use super::*;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

/// A process apart: one line of it has been read, so it is as it will be.
struct Apart(Child);

impl Apart {
    fn start(options: &[&str], user: u32) -> Self {
        let script = "hostname apart; mount -t tmpfs none /mnt; echo inside > /mnt/file; mkdir /mnt/etc; echo ready; \
                      exec sleep 1000";
        let mut child = Command::new("unshare")
            .args(options)
            .args(["--kill-child", "sh", "-c", script])
            .uid(user)
            .gid(user)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    /// The process within: the child of unshare(1).
    fn pid(&self) -> String {
        let own = self.0.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
        children.split_whitespace().next().unwrap().to_owned()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const ALL: [&str; 6] = ["--net", "--uts", "--ipc", "--pid", "--fork", "--mount"];
const LOOK: &str = "hostname; cat /media/target/mnt/file; echo x 2>/dev/null > /media/target/mnt/file || echo kept; \
                    tr '\\0' ' ' < /proc/1/cmdline; echo; ls /sys/class/net; readlink /proc/1/root >/dev/null && echo traced; \
                    ls -d /media/root/etc";

const SEEN: &str = "apart\ninside\nkept\nsleep 1000 \nlo\ntraced\n/media/root/etc\n";

#[test]
fn a_process_is_joined_with_ones_own_tools_at_hand() {
    let root = Root::new();
    let apart = Apart::start(&ALL, 0);
    let pid = apart.pid();
    assert_eq!(root.says(&["--target", &pid], LOOK), SEEN);
    // Each namespace by itself.
    let names = root.says(&["--target", &pid, "--share", "uts"], "hostname");
    assert_eq!(names.trim(), nix::unistd::gethostname().unwrap().to_str().unwrap());
    let own = root.says(&["--target", &pid, "--unshare", "pid"], "echo $$");
    assert_eq!(own, "2\n");
    let files = root.says(
        &["--target", &pid, "--profile", "all"],
        "echo y > /media/target/mnt/new; cat /media/target/mnt/new",
    );
    assert_eq!(files, "y\n");
    // Nothing of the box is left among the process's own.
    let listed = root.says(&["--target", &pid], "ls -d /proc/[0-9]*");
    assert!(listed.lines().count() < 8, "{listed}");
}

#[test]
fn a_unit_is_joined_by_its_name() {
    let root = Root::new();
    let apart = Apart::start(&ALL, 0);
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let cgroups = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let target = fields.nth(1)?;
        (fields.next() == Some("cgroup2")).then(|| PathBuf::from(target))
    });
    let unit = format!("toolbox-test-{}", std::process::id());
    let slice = cgroups.expect("cgroup v2 is not mounted").join(format!("{unit}.slice"));
    let folder = slice.join(format!("{unit}.service"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("cgroup.procs"), apart.pid()).unwrap();
    let said = root.run(&["--target", &unit], &["sh", "-c", LOOK]);
    drop(apart);
    while fs::remove_dir(&folder).is_err_and(|error| error.raw_os_error() == Some(nix::libc::EBUSY)) {
        std::thread::yield_now();
    }
    fs::remove_dir(&slice).unwrap();
    assert_eq!(super::said(&said), SEEN);
    let output = root.run(&["--target", &unit], &["true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(complaint(&output).contains(&format!("systemctl status {unit}.service")), "{output:?}");
}

#[test]
fn a_user_joins_what_is_its_own() {
    let root = Root::new();
    let options = [&["--user", "--map-root-user"], &ALL[..]].concat();
    let apart = Apart::start(&options, NOBODY);
    let pid = apart.pid();
    assert_eq!(root.says_to_user(&["--target", &pid], LOOK), SEEN);
    // Root too is root of it, by the same way.
    assert_eq!(root.says(&["--target", &pid], LOOK), SEEN);
    let output = root.run(&["--target", &pid, "--unshare", "pid"], &["true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(complaint(&output).contains("leave out --unshare pid"), "{output:?}");

    let plain = Apart::start(&ALL, 0);
    let output =
        root.command(&["--target", &plain.pid()], &["true"]).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(complaint(&output).contains("not yours to see"), "{output:?}");
    drop(plain);

    // One's own process in the host's namespaces: those are shared.
    let mut own = Command::new("sleep").arg("1000").uid(NOBODY).gid(NOBODY).spawn().unwrap();
    let pid = own.id().to_string();
    let said =
        root.command(&["--target", &pid], &["sh", "-c", "ls -d /media/target/etc; cat /proc/$0/comm", &pid]);
    let said = { said }.uid(NOBODY).gid(NOBODY).output().unwrap();
    own.kill().unwrap();
    own.wait().unwrap();
    assert_eq!(super::said(&said), "/media/target/etc\nsleep\n");
}
