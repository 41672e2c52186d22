//! The manager as PID 1 of a pid and mount namespace of its own, with real processes, cgroups,
//! sockets and signals.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "manager/kinds.rs"]
mod kinds;
mod machine;

use init::control::{Ending, Request, Response, Verb};
use machine::Machine;
use std::fs;
use std::os::unix::fs::MetadataExt;

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
    assert!(at("Finished b.service") < at("Started a.service"), "start order");
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

#[test]
fn a_panic_in_pid_1_ends_in_the_emergency_target_and_an_orderly_reboot() {
    let mut machine = Machine::boot(
        &[
            ("emergency.target", "[Unit]\nDefaultDependencies=no\nAllowIsolate=yes\n"),
            (
                "+kept.service",
                "[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/echo stopped in order\n",
            ),
            ("bad.service", "[Unit]\nDescription=a defect\n[Service]\nExecStart=/bin/sleep infinity\n"),
        ],
        None,
    );
    machine.until("slipway: ready");
    let no_block = Request::Jobs { verb: Verb::Start, units: vec!["bad".into()], no_block: true };
    machine.ask(&no_block);
    machine.until("PID 1 has a defect: a planted defect; rebooting in");
    // The loop goes on: it answers, and knows its units.
    while machine.state("emergency.target") != "active (active)" {}
    assert_eq!(machine.show("kept.service").load_state, "loaded");
    assert_eq!(machine.outcome(), "Reboot");
    assert_eq!(machine.said_by("kept.service"), ["stopped in order"]);
}

/// What is a FIFO where a file should be is refused at once, by PID 1 too.
#[test]
fn fifos_in_place_of_files_keep_nobody_waiting() {
    let mut machine = Machine::boot(
        &[("env.service", "[Service]\nType=oneshot\nExecStart=/bin/true\nEnvironmentFile=@DIR@/fifo\n")],
        None,
    );
    machine.until("slipway: ready");
    let fifo = |name: &str| nix::unistd::mkfifo(&machine.path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fifo("fifo");
    fifo("units/fifo.service");
    assert_eq!(machine.jobs(Verb::Start, "env").len(), 1);
    fs::create_dir(machine.path("units/env.service.d")).unwrap();
    fifo("units/env.service.d/x.conf");
    assert_eq!(machine.show("fifo.service").load_state, "bad-setting");
    machine.ask(&Request::Reload);
    assert_eq!(machine.show("env.service").load_state, "bad-setting");
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn what_a_unit_says_of_its_log_is_obeyed_by_the_journal() {
    let loud = "[Service]\nType=oneshot\nLogLevelMax=notice\nLogExtraFields=ZONE=east \"RACK=two words\"\n\
                ExecStart=/bin/sh -c 'echo \"<4>kept\"; echo \"<6>dropped\"; echo \"<5>kept too\"'\n";
    let many = "[Service]\nType=oneshot\nLogRateLimitIntervalSec=1h\nLogRateLimitBurst=3\n\
                ExecStart=/bin/sh -c 'for n in 1 2 3 4 5; do echo $$n; done'\n";
    let free = "[Service]\nType=oneshot\nLogRateLimitBurst=0\n\
                ExecStart=/bin/sh -c 'n=0; while [ $$n -lt 12000 ]; do echo $$n; n=$$((n+1)); done'\n";
    let units = [("loud.service", loud), ("many.service", many), ("free.service", free)];
    let mut machine = Machine::boot(&units, None);
    machine.until("slipway: ready");
    for (unit, _) in units {
        assert_eq!(machine.jobs(Verb::Start, unit), [], "{unit}");
    }
    // The keys are gone at the next start.
    fs::write(machine.path("units/loud.service"), loud.replace("LogLevelMax=notice", "")).unwrap();
    machine.ask(&Request::Reload);
    assert_eq!(machine.jobs(Verb::Start, "loud"), []);
    let link = fs::read_link(machine.path("run/units/log-rate-limit-burst:many.service")).unwrap();
    assert_eq!(link.to_str(), Some("3"));
    machine.end(Ending::Poweroff);
    let said = machine.said_by("loud.service");
    assert_eq!(said, ["kept", "kept too", "kept", "dropped", "kept too"]);
    let journal = machine.journal();
    let kept = journal.iter().find(|entry| entry.text("MESSAGE") == "kept").unwrap();
    assert_eq!((kept.text("ZONE").as_str(), kept.text("RACK").as_str()), ("east", "two words"));
    assert_eq!(machine.said_by("many.service"), ["1", "2", "3"]);
    let told = journal.iter().find(|entry| entry.text("MESSAGE").starts_with("Suppressed")).unwrap();
    assert_eq!(
        (told.text("N_DROPPED"), told.text("OBJECT_SYSTEMD_UNIT")),
        ("2".into(), "many.service".into())
    );
    assert_eq!(machine.said_by("free.service").len(), 12000, "over the journal's own limit of 10000");
}
