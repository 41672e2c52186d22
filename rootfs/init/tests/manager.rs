//! The manager as PID 1 of a pid and mount namespace of its own, with real processes, cgroups,
//! sockets and signals. Needs root, a cgroup v2 tree and util-linux; without them it fails and says so.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

use init::control::{Ending, Request, Response, UnitStatus, Verb, client};
use journal::{Entry, Query, Span, read};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A machine in a namespace; dropping it kills it.
struct Machine {
    folder: tempfile::TempDir,
    cgroup: PathBuf,
    child: Child,
    console: BufReader<ChildStdout>,
    said: Vec<String>,
}

/// The example beside this test binary.
fn scratch_pid1() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let program = deps.parent().unwrap().parent().unwrap().join("examples/scratch_pid1");
    assert!(program.exists(), "{} is missing: cargo test builds it", program.display());
    program
}

/// A mounted cgroup v2 tree: the appliance's, or the hybrid one of an older host.
fn cgroup_root() -> PathBuf {
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
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nStandardOutput=null\nRestart=always\nRestartSec=0\nExecStart=@PID1@ journald --runtime @DIR@/run/journal \\\n --folder @DIR@/journal --config /nonexistent --console /dev/null --no-kmsg\n",
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
    fn boot(units: &[(&str, &str)], ready_timeout: Option<u32>) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test needs root (namespaces, cgroups): run it with sudo"
        );
        let folder = tempfile::tempdir().unwrap();
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
    fn until(&mut self, text: &str) -> String {
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ask(&self, request: &Request) -> Response {
        client::ask(&self.path("run/private"), request).unwrap()
    }

    fn jobs(&self, verb: Verb, unit: &str) -> Vec<(String, String)> {
        match self.ask(&Request::Jobs { verb, units: vec![unit.into()], no_block: false }) {
            Response::Jobs(failed) => failed,
            other => panic!("{verb:?} {unit}: {other:?}"),
        }
    }

    fn show(&self, unit: &str) -> UnitStatus {
        match self.ask(&Request::Show(unit.into())) {
            Response::Units(mut units) => units.pop().unwrap(),
            other => panic!("show {unit}: {other:?}"),
        }
    }

    fn state(&self, unit: &str) -> String {
        let UnitStatus { active_state, sub_state, .. } = self.show(unit);
        format!("{active_state} ({sub_state})")
    }

    /// Ends the machine and gives how it ended.
    fn end(&mut self, how: Ending) -> String {
        self.ask(&Request::End { how, force: false });
        self.outcome()
    }

    fn outcome(&mut self) -> String {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}; console: {:#?}", self.said);
        fs::read_to_string(self.path("outcome")).unwrap()
    }

    fn journal(&self) -> Vec<Entry> {
        read(&self.path("journal"), &Query::All, Span::default(), false).unwrap().collect()
    }

    /// What a unit said itself.
    fn said_by(&self, unit: &str) -> Vec<String> {
        let query = Query::field("_SYSTEMD_UNIT", unit);
        let entries = read(&self.path("journal"), &query, Span::default(), false).unwrap();
        entries.map(|entry| entry.text("MESSAGE")).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
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

#[test]
fn boots_runs_in_order_and_ends_in_reverse() {
    let mut machine = Machine::boot(
        &[
            (
                "+a.service",
                "[Unit]\nAfter=b.service\n[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/echo a stops\n",
            ),
            (
                "+b.service",
                "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStartPre=/bin/echo pre\n\
                 ExecStart=/bin/sh -c 'echo one; echo \"<3>two\" >&2'\nExecStart=-/bin/false\nExecStop=/bin/echo b stops\n",
            ),
        ],
        Some(40),
    );
    machine.until("slipway: ready");
    assert_eq!(machine.state("a.service"), "active (running)");
    assert_eq!(machine.state("b.service"), "active (exited)");
    assert_eq!(machine.show("default.target").id, "multi-user.target");
    assert_eq!(machine.end(Ending::Poweroff), "PowerOff");
    assert_eq!(machine.said_by("b.service"), ["pre", "one", "two", "b stops"]);
    let journal = machine.journal();
    let two = journal.iter().find(|entry| entry.text("MESSAGE") == "two").unwrap();
    assert_eq!(two.priority(), 3);
    assert_eq!((two.text("SYSLOG_IDENTIFIER").as_str(), two.text("_BOOT_ID").len()), ("sh", 32));
    let started = journal.iter().find(|entry| entry.text("UNIT") == "a.service").unwrap();
    assert_eq!(started.text("MESSAGE_ID"), "39f53479d3a045ac8e11786248231fbf");
    let at = |text: &str| journal.iter().position(|entry| entry.text("MESSAGE").contains(text)).unwrap();
    assert!(at("Started b.service") < at("Started a.service"), "start order");
    assert!(at("Stopped a.service") < at("Stopped b.service"), "stop order");
    assert!(at("a stops") < at("b stops"));
}

#[test]
fn notify_restart_forking_and_cgroup_kill() {
    let mut machine = Machine::boot(
        &[
            (
                "notify.service",
                "[Service]\nType=notify\nExecStart=@PID1@ notify STATUS=busy READY=1\nRestart=always\nRestartSec=0\n",
            ),
            (
                "liar.service",
                "[Service]\nType=notify\nNotifyAccess=main\nTimeoutStartSec=infinity\nExecStart=/bin/sh -c '@PID1@ notify READY=1 & exec sleep infinity'\n",
            ),
            (
                "fork.service",
                "[Service]\nType=forking\nPIDFile=@DIR@/fork.pid\nTimeoutStopSec=20\n\
                 ExecStart=/bin/sh -c '(sleep infinity & echo $! >@DIR@/tmp.pid; mv @DIR@/tmp.pid @DIR@/fork.pid; sleep infinity) &'\n",
            ),
        ],
        None,
    );
    machine.until("slipway: ready");
    assert_eq!(machine.jobs(Verb::Start, "notify"), []);
    let first = machine.show("notify.service");
    assert_eq!((first.status_text.as_str(), first.sub_state.as_str()), ("busy", "running"));
    machine.ask(&Request::Kill { unit: "notify".into(), signal: 9, main_only: true });
    // The start job waits for the automatic restart, if that is not over already.
    while machine.show("notify.service").n_restarts == 0 {
        assert_eq!(machine.jobs(Verb::Start, "notify"), []);
    }
    let second = machine.show("notify.service");
    assert!(second.main_pid > 0 && second.main_pid != first.main_pid);

    let no_block = Request::Jobs { verb: Verb::Start, units: vec!["liar".into()], no_block: true };
    assert_eq!(machine.ask(&no_block), Response::Jobs(vec![]));
    // Its main process is the child of a shell that lives on: killed alone, then stopped with it.
    assert_eq!(machine.jobs(Verb::Start, "fork"), []);
    machine.ask(&Request::Kill { unit: "fork".into(), signal: 9, main_only: true });
    while machine.show("fork.service").active_state == "active" {}
    assert_eq!(machine.jobs(Verb::Start, "fork"), []);
    let pid = fs::read_to_string(machine.path("fork.pid")).unwrap();
    assert_eq!(machine.show("fork.service").main_pid.to_string(), pid.trim());
    assert_eq!(machine.jobs(Verb::Stop, "fork"), []);
    assert_eq!(machine.state("fork.service"), "inactive (dead)");
    assert!(!machine.cgroup.join("system.slice/fork.service").exists(), "the cgroup is removed");
    assert_eq!(machine.state("liar.service"), "activating (start)");
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn processes_get_their_context_and_failures_name_the_step() {
    let mut machine = Machine::boot(
        &[
            (
                "context.service",
                "[Service]\nType=oneshot\nUser=nobody\nGroup=nogroup\nUMask=027\nLimitNOFILE=99\nWorkingDirectory=/usr\nNice=5\n\
                 Environment=A=one \"B=two words\"\nEnvironmentFile=@DIR@/env\nEnvironmentFile=-/nonexistent\nUnsetEnvironment=LANG\n\
                 RuntimeDirectory=ctx/sub\nRuntimeDirectoryMode=0710\nNoNewPrivileges=yes\nOOMScoreAdjust=100\n\
                 ExecStart=/bin/sh -c 'id -un; id -gn; umask; ulimit -n; pwd; nice; echo \"$A|$B|$C|$LANG|$RUNTIME_DIRECTORY\"; stat -c %%a:%%U $RUNTIME_DIRECTORY; cat /proc/self/oom_score_adj; grep NoNew /proc/self/status; cut -d: -f3 /proc/self/cgroup | grep -o system.slice/.*'\n\
                 ExecStart=+/bin/sh -c 'id -un; echo $1 $2' sh ${B} $B\n",
            ),
            ("noprogram.service", "[Service]\nExecStart=/nonexistent/program\nType=exec\n"),
            ("nouser.service", "[Service]\nExecStart=/bin/true\nUser=whoisthis\n"),
            ("bad.service", "[Service]\nType=oneshot\n"),
            ("memory.service", "[Service]\nType=oneshot\nExecStart=/bin/grep VmRSS /proc/1/status\n"),
        ],
        None,
    );
    fs::write(machine.path("env"), "C='three  3'\n").unwrap();
    machine.until("slipway: ready");
    assert_eq!(machine.jobs(Verb::Start, "context"), []);
    let failed = |result: &str, unit: &str| vec![(unit.to_owned(), result.to_owned())];
    assert_eq!(machine.jobs(Verb::Start, "noprogram"), failed("failed", "noprogram.service"));
    assert_eq!(machine.show("noprogram").exit_code, "exited 203");
    assert_eq!(machine.jobs(Verb::Start, "nouser"), failed("failed", "nouser.service"));
    let refused =
        machine.ask(&Request::Jobs { verb: Verb::Start, units: vec!["bad".into()], no_block: false });
    let why = "unit bad.service is the service has neither ExecStart= nor ExecStop=";
    assert_eq!(refused, Response::Refused(why.into()));
    assert_eq!(machine.jobs(Verb::Start, "memory"), []);
    machine.end(Ending::Reboot);
    assert_eq!(
        machine.said_by("context.service"),
        [
            "nobody",
            "nogroup",
            "0027",
            "99",
            "/usr",
            "5",
            "one|two words|three  3||/run/ctx/sub",
            "710:nobody",
            "100",
            "NoNewPrivs:\t1",
            "system.slice/context.service",
            "root",
            "two words two"
        ]
    );
    let journal = machine.journal();
    let has = |text: &str| journal.iter().any(|entry| entry.text("MESSAGE").contains(text));
    assert!(has("failed at step EXEC: No such file or directory"), "{journal:#?}");
    assert!(has("user whoisthis does not exist"));
    println!("PID 1 {}", machine.said_by("memory.service")[0]);
}

#[test]
fn a_boot_that_does_not_complete_reboots_and_names_the_cause() {
    let mut machine = Machine::boot(
        &[
            ("boot-complete.target", "[Unit]\nRequires=check.service\nAfter=check.service\n"),
            ("check.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
        ],
        Some(40),
    );
    machine.until("boot failed: boot-complete.target ended with result 'dependency'");
    machine.until("check.service is failed (exit-code)");
    machine.until("rebooting");
    assert_eq!(machine.outcome(), "Reboot");

    let mut machine = Machine::boot(
        &[
            ("boot-complete.target", "[Unit]\nRequires=slow.service\nAfter=slow.service\n"),
            ("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n"),
        ],
        Some(1),
    );
    machine.until("boot failed: boot-complete.target was not reached in time");
    machine.until("slow.service is activating");
    assert_eq!(machine.outcome(), "Reboot");
}

/// A folder of a service's own may hold anything when it is started again.
#[test]
fn hostile_files_of_a_service_neither_hang_nor_mislead() {
    let mut machine = Machine::boot(
        &[
            (
                "fifo.service",
                "[Service]\nType=forking\nTimeoutStartSec=1\nPIDFile=@DIR@/fifo.pid\n\
                 ExecStart=/bin/sh -c 'mkfifo @DIR@/fifo.pid; sleep infinity & true'\n",
            ),
            (
                "link.service",
                "[Service]\nType=oneshot\nUser=nobody\nRuntimeDirectory=own own/data\nRuntimeDirectoryPreserve=yes\n\
                 ExecStart=/bin/sh -c 'rmdir /run/own/data; ln -s /etc /run/own/data'\n",
            ),
        ],
        None,
    );
    machine.until("slipway: ready");
    assert_eq!(machine.jobs(Verb::Start, "fifo").len(), 1);
    assert_eq!(machine.state("fifo.service"), "failed (failed)");
    assert_eq!(machine.jobs(Verb::Start, "link"), []);
    assert_eq!(machine.jobs(Verb::Start, "link").len(), 1);
    assert_eq!(fs::metadata("/etc").unwrap().uid(), 0);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn a_retried_gate_pulls_in_what_comes_after_it() {
    let mut machine = Machine::boot(
        &[
            (
                "health.service",
                "[Unit]\nBefore=boot-complete.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
                 Restart=on-failure\nRestartSec=0\nExecStart=/bin/sh -c 'mkdir @DIR@/once && exit 1; true'\n",
            ),
            (
                "+bless.service",
                "[Unit]\nDefaultDependencies=no\nRequires=boot-complete.target\nAfter=boot-complete.target\n\
                 [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
            ),
            (
                "boot-complete.target",
                "[Unit]\nRequires=sysinit.target health.service\nAfter=sysinit.target\n",
            ),
        ],
        None,
    );
    machine.until("slipway: ready");
    while machine.state("bless.service") != "active (exited)" {}
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn five_hundred_units_stay_small_and_orphans_are_reaped() {
    let units: Vec<(String, String)> = (0..500)
        .map(|n| {
            let text = format!("[Unit]\nDescription=Unit {n} of many\n[Service]\nType=oneshot\nRemainAfterExit=yes\nEnvironment=N={n}\nExecStart=/bin/true\n");
            (format!("+many-{n}.service"), text)
        })
        .collect();
    let mut units: Vec<(&str, &str)> =
        units.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    units.push((
        "count.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'grep VmRSS /proc/1/status; cat /proc/[0-9]*/stat | grep -c \") Z \" || :'\n",
    ));
    let mut machine = Machine::boot(&units, None);
    // The journal may be ready before or after.
    machine.until("slipway: ready");
    let ready = machine.said.iter().any(|line| line.contains("504 active") || line.contains("505 active"));
    assert!(ready, "{:#?}", machine.said);
    assert_eq!(machine.jobs(Verb::Start, "count"), []);
    machine.end(Ending::Reboot);
    let said = machine.said_by("count.service");
    let kib: u64 = said[0].split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("PID 1 has {kib} KiB resident with 500 units");
    assert!(kib < 8 << 10, "PID 1 has {kib} KiB resident");
    assert_eq!(said[1], "0", "zombies");
}
