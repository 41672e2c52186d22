//! A machine for tests: the manager as PID 1 of a pid and mount namespace of its own. Needs root, a
//! cgroup v2 tree and util-linux; without them it fails and says so.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]
#![allow(dead_code, reason = "each test binary uses its part")]

use init::control::{Ending, Request, Response, UnitStatus, Verb, client};
use journal::{Entry, Query, Span, read};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A machine in a namespace; dropping it kills it.
pub struct Machine {
    pub folder: tempfile::TempDir,
    pub cgroup: PathBuf,
    pub child: Child,
    console: BufReader<ChildStdout>,
    pub said: Vec<String>,
}

/// The example beside this test binary.
pub fn scratch_pid1() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let program = deps.parent().unwrap().parent().unwrap().join("examples/scratch_pid1");
    assert!(program.exists(), "{} is missing: cargo test builds it", program.display());
    program
}

/// A mounted cgroup v2 tree: the appliance's, or the hybrid one of an older host.
pub fn cgroup_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let found = mounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        (fields.get(2) == Some(&"cgroup2")).then(|| PathBuf::from(fields[1]))
    });
    found.expect("this test needs a cgroup v2 tree: mount -t cgroup2 none /sys/fs/cgroup/unified")
}

const TARGETS: [(&str, &str); 9] = [
    (
        "systemd-journald.service",
        "[Unit]\nDefaultDependencies=no\nIgnoreOnIsolate=yes\n[Service]\nType=notify\nFileDescriptorStoreMax=4096\nStandardOutput=null\nRestart=always\nRestartSec=0\nExecStart=@PID1@ journald --runtime @DIR@/run/journal \\\n --folder @DIR@/journal --config /nonexistent --console /dev/null --no-kmsg\n",
    ),
    (
        "sysinit.target",
        "[Unit]\nWants=systemd-journald.service\nDefaultDependencies=no\nConflicts=shutdown.target\nBefore=shutdown.target\n",
    ),
    ("basic.target", "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n"),
    ("boot-complete.target", "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n"),
    ("multi-user.target", "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"),
    ("default.target", "-> multi-user.target"),
    ("shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
    ("reboot.target", "[Unit]\nDefaultDependencies=no\nRequires=shutdown.target\nAfter=shutdown.target\n"),
    ("poweroff.target", "[Unit]\nDefaultDependencies=no\nRequires=shutdown.target\nAfter=shutdown.target\n"),
];

impl Machine {
    /// Boots with `units` besides the usual targets; those whose name begins with `+` hang in
    /// multi-user.target.
    pub fn boot(units: &[(&str, &str)], ready_timeout: Option<u32>) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test needs root (namespaces, cgroups): run it with sudo"
        );
        // Not in /tmp, which PrivateTmp= hides, and the notification socket with it.
        let folder = tempfile::tempdir_in("/var/lib").unwrap();
        // Services of other users must reach the sockets and files in it.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let place = folder.path().join("units");
        let wants = place.join("multi-user.target.wants");
        fs::create_dir_all(&wants).unwrap();
        fs::create_dir_all(folder.path().join("etc")).unwrap();
        for (name, text) in TARGETS.iter().chain(units) {
            let (name, wanted) = name.strip_prefix('+').map_or((*name, false), |name| (name, true));
            let text = text.replace("@DIR@", &folder.path().to_string_lossy());
            let text = text.replace("@PID1@", &scratch_pid1().to_string_lossy());
            if let Some(parent) = Path::new(name).parent() {
                fs::create_dir_all(place.join(parent)).unwrap();
            }
            match text.strip_prefix("-> ") {
                Some(other) => std::os::unix::fs::symlink(other, place.join(name)).unwrap(),
                None => fs::write(place.join(name), text).unwrap(),
            }
            if wanted {
                std::os::unix::fs::symlink(place.join(name), wants.join(name)).unwrap();
            }
        }
        let id = folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
        let cgroup = cgroup_root().join(format!("slipway-{id}"));
        fs::create_dir(&cgroup).unwrap();
        // A limit on the whole, so that a machine that hangs fails its test.
        let mut command = Command::new("timeout");
        command.args([
            "-s",
            "KILL",
            "50",
            "unshare",
            "--fork",
            "--pid",
            "--mount",
            "--mount-proc",
            "--kill-child",
        ]);
        command.args(["sh", "-c", "mount -t tmpfs none /run && exec \"$@\"", "sh"]);
        command
            .arg(scratch_pid1())
            .arg(folder.path())
            .arg(&cgroup)
            .args(ready_timeout.map(|s| s.to_string()));
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test needs timeout (coreutils) and unshare (util-linux)");
        let console = BufReader::new(child.stdout.take().unwrap());
        Self { folder, cgroup, child, console, said: Vec::new() }
    }

    /// Reads the console until a line has the text.
    pub fn until(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let count = self.console.read_line(&mut line).unwrap();
            assert!(count > 0, "the machine ended without saying {text:?}; it said {:#?}", self.said);
            self.said.push(line.trim_end().to_owned());
            if line.contains(text) {
                return line.trim_end().to_owned();
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn ask(&self, request: &Request) -> Response {
        client::ask(&self.path("run/private"), request).unwrap()
    }

    pub fn jobs(&self, verb: Verb, unit: &str) -> Vec<(String, String)> {
        match self.ask(&Request::Jobs { verb, units: vec![unit.into()], no_block: false }) {
            Response::Jobs(failed) => failed,
            other => panic!("{verb:?} {unit}: {other:?}"),
        }
    }

    pub fn show(&self, unit: &str) -> UnitStatus {
        match self.ask(&Request::Show(unit.into())) {
            Response::Units(mut units) => units.pop().unwrap(),
            other => panic!("show {unit}: {other:?}"),
        }
    }

    pub fn state(&self, unit: &str) -> String {
        let UnitStatus { active_state, sub_state, .. } = self.show(unit);
        format!("{active_state} ({sub_state})")
    }

    /// Ends the machine and gives how it ended.
    pub fn end(&mut self, how: Ending) -> String {
        self.ask(&Request::End { how, force: false });
        self.outcome()
    }

    pub fn outcome(&mut self) -> String {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}; console: {:#?}", self.said);
        fs::read_to_string(self.path("outcome")).unwrap()
    }

    pub fn journal(&self) -> Vec<Entry> {
        read(&self.path("journal"), &Query::All, Span::default(), false).unwrap().collect()
    }

    /// What a unit said itself.
    pub fn said_by(&self, unit: &str) -> Vec<String> {
        let query = Query::field("_SYSTEMD_UNIT", unit);
        let entries = read(&self.path("journal"), &query, Span::default(), false).unwrap();
        entries.map(|entry| entry.text("MESSAGE")).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for entry in self.journal() {
                eprintln!("{}", entry.text("MESSAGE"));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        remove_cgroups(&self.cgroup);
    }
}

fn remove_cgroups(folder: &Path) {
    let _ = fs::write(folder.join("cgroup.kill"), "1");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
