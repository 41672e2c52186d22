//! `systemctl` and `systemd-analyze` against PID 1 in a namespace: what they print, and their exit codes.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod machine;

use init::control::{Ending, Request, Response};
use machine::Machine;
use std::fs;
use std::process::Command;

/// Runs an applet against the machine; gives its exit code and what it printed.
fn run(machine: &Machine, applet: &str, words: &[&str]) -> (i32, String) {
    let socket = format!("--socket={}", machine.path("run/private").display());
    let output =
        Command::new(machine::scratch_pid1()).args(["applet", applet, &socket]).args(words).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

#[test]
fn verbs_of_systemctl() {
    let mut machine = Machine::boot(
        &[
            ("web-1.service", "[Service]\nType=exec\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n"),
            ("web-2.service", "[Service]\nExecStart=/bin/sleep infinity\n"),
            ("job.service", "[Service]\nType=exec\nExecStart=/bin/sh -c 'echo $$COLOUR; exit $$CODE'\n"),
        ],
        None,
    );
    machine.until("slipway: ready");
    let systemctl = |words: &[&str]| run(&machine, "systemctl", words);
    assert_eq!(systemctl(&["start", "web-1", "web-2"]), (0, String::new()));
    assert_eq!(systemctl(&["is-active", "web-*"]), (0, "active\nactive\n".into()));
    assert_eq!(systemctl(&["stop", "web-?.service"]), (0, String::new()));
    assert_eq!(systemctl(&["is-active", "web-1"]), (3, "inactive\n".into()));
    assert_eq!(systemctl(&["stop", "nothing-*"]).0, 1);

    assert_eq!(systemctl(&["set-environment", "COLOUR=blue", "CODE=0"]), (0, String::new()));
    assert_eq!(systemctl(&["show-environment"]), (0, "CODE=0\nCOLOUR=blue\n".into()));
    assert_eq!(systemctl(&["set-environment", "9=x"]).0, 1);
    assert_eq!(systemctl(&["start", "--wait", "job"]), (0, String::new()));
    assert_eq!(systemctl(&["set-environment", "CODE=3"]), (0, String::new()));
    assert_eq!(systemctl(&["start", "--wait", "job"]).0, 1);
    assert_eq!(systemctl(&["unset-environment", "CODE"]), (0, String::new()));
    assert_eq!(systemctl(&["show-environment"]), (0, "COLOUR=blue\n".into()));
    assert_eq!(systemctl(&["is-system-running"]), (1, "degraded\n".into()));
    assert_eq!(systemctl(&["reset-failed"]).0, 0);
    assert_eq!(systemctl(&["is-system-running"]), (0, "running\n".into()));

    assert_eq!(systemctl(&["start", "web-1"]).0, 0);
    let (code, status) = systemctl(&["status", "web-1"]);
    assert_eq!(code, 0);
    for part in [
        "● web-1.service",
        "Loaded: loaded (",
        "Active: active (running) since ",
        " ago",
        "Main PID: ",
        "CGroup: /system.slice/web-1.service",
        "/bin/sleep infinity",
    ] {
        assert!(status.contains(part), "{part}: {status}");
    }
    for refused in [&["kexec"][..], &["edit", "x"], &["-H", "host", "start", "x"], &["frobnicate", "x"]] {
        assert_eq!(systemctl(refused).0, 2, "{refused:?}");
    }
    machine.end(Ending::Reboot);
    assert_eq!(machine.said_by("job.service"), ["blue", "blue"]);
}

/// What systemctl(1) says of exit codes, and the tables as people and scripts ask for them.
#[test]
fn codes_and_tables_of_systemctl() {
    let mut machine = Machine::boot(
        &[
            ("a.service", "[Unit]\nDescription=The first\n[Service]\nExecStart=/bin/sleep infinity\n"),
            ("bad.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'exit 3'\n"),
            (
                "needs.service",
                "[Unit]\nRequires=bad.service\nAfter=bad.service\n[Service]\nExecStart=/bin/true\n",
            ),
            ("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 0.5\n"),
            ("late.target", "[Unit]\nRequires=slow.service\nAfter=slow.service\n"),
            ("once.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ],
        None,
    );
    let path = format!("--unit-path={}", machine.path("units").display());
    let systemctl = |machine: &Machine, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        run(machine, "systemctl", &[&[path.as_str()], words.as_slice()].concat())
    };
    machine.until("slipway: ready");
    assert_eq!(systemctl(&machine, "start --no-block late.target"), (0, String::new()));
    assert_eq!(systemctl(&machine, "is-system-running"), (1, "starting\n".into()));
    assert_eq!(systemctl(&machine, "is-system-running --wait"), (0, "running\n".into()));
    assert_eq!(systemctl(&machine, "is-active late.target"), (0, "active\n".into()));
    for (words, code) in [
        ("start a once", 0),
        ("start bad", 1),
        ("start needs", 1),
        ("start nothing", 5),
        ("stop nothing", 5),
        ("is-active a", 0),
        ("is-active once", 3),
        ("is-active bad a", 0),
        ("is-active nothing", 4),
        ("is-failed bad", 0),
        ("is-failed a", 1),
        ("status a", 0),
        ("status once", 3),
        ("status bad", 3),
        ("status nothing", 4),
        ("try-reload-or-restart once", 0),
        ("-q is-active nothing", 4),
        ("kill -s9 --kill-whom=main nothing", 1),
        ("is-enabled nothing", 4),
        ("cat nothing", 1),
        ("poweroff now", 2),
        ("--failed --user", 2),
    ] {
        let (found, said) = systemctl(&machine, words);
        assert_eq!(found, code, "{words}: {said}");
    }
    let text = |words: &str| systemctl(&machine, words).1;
    assert_eq!(
        text("list-units --no-legend --plain a once bad -a --state=active"),
        "a.service loaded active running The first\n"
    );
    assert_eq!(text("--failed --no-legend"), "● bad.service loaded failed failed bad.service\n");
    assert_eq!(text("list-units -t socket --no-legend nothing*"), "");
    assert_eq!(text("show -P ExecMainStatus bad"), "3\n");
    assert_eq!(text("show -p ExecMainCode,ActiveState bad"), "ActiveState=failed\nExecMainCode=1\n");
    assert!(
        text("list-dependencies --plain needs")
            .starts_with("needs.service\n  bad.service\n  sysinit.target\n    ")
    );
    assert!(text("list-dependencies --after needs").contains("\n├─bad.service\n"));
    assert_eq!(text("list-dependencies --reverse bad"), "bad.service\n└─needs.service\n");
    assert!(
        text("list-unit-files --state=static --no-legend once*").starts_with("once.service static "),
        "list-unit-files"
    );
    assert!(text("status bad").contains("Main PID: (code=exited, status=3)"), "{}", text("status bad"));
    assert_eq!(machine.end(Ending::Reboot), "Reboot");

    // What others look for in the journal: sd-messages.h, systemd.journal-fields(7).
    let journal = machine.journal();
    let of = |unit: &str, id: &str| {
        let found = journal.iter().find(|entry| entry.text("UNIT") == unit && entry.text("MESSAGE_ID") == id);
        let found = found.unwrap_or_else(|| panic!("{unit} {id}"));
        ["MESSAGE", "JOB_TYPE", "JOB_RESULT", "EXIT_CODE", "EXIT_STATUS", "COMMAND"]
            .map(|name| found.text(name))
    };
    let started = "39f53479d3a045ac8e11786248231fbf";
    assert_eq!(of("a.service", started), ["Started a.service - The first.", "start", "done", "", "", ""]);
    assert_eq!(of("once.service", started)[..3], ["Finished once.service.", "start", "done"]);
    assert_eq!(
        of("once.service", "7d4958e842da4a758f6c1cdc7b36dcc5")[..3],
        ["Starting once.service...", "start", ""]
    );
    let failed = "be02cf6855d2428ba40df7e9d022f03d";
    assert_eq!(of("bad.service", failed)[..3], ["Failed to start bad.service.", "start", "failed"]);
    assert_eq!(
        of("needs.service", failed)[..3],
        ["Dependency failed for needs.service.", "start", "dependency"]
    );
    assert_eq!(
        of("a.service", "9d1aaa27d60140bd96365438aad20286")[..3],
        ["Stopped a.service - The first.", "stop", "done"]
    );
    let exited = of("bad.service", "98e322203f7a4ed290d09fe03c09fe15");
    assert_eq!(
        exited,
        [
            "bad.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED",
            "",
            "",
            "exited",
            "3",
            "ExecStart"
        ]
    );
    assert!(
        journal
            .iter()
            .filter(|entry| !entry.text("JOB_TYPE").is_empty())
            .all(|entry| !entry.text("JOB_ID").is_empty())
    );
}

/// A drop-in made by set-property is read, and changes the limits of a unit that runs.
#[test]
fn properties_take_effect_at_once() {
    let mut machine = Machine::boot(&[("a.service", "[Service]\nExecStart=/bin/sleep infinity\n")], None);
    machine.until("slipway: ready");
    let path = format!("--unit-path={}", machine.path("etc").display());
    assert_eq!(run(&machine, "systemctl", &["start", "a"]).0, 0);
    let (code, said) =
        run(&machine, "systemctl", &[&path, "set-property", "a", "Description=Other words", "TasksMax=7"]);
    assert_eq!(code, 0, "{said}");
    let text = fs::read_to_string(machine.path("etc/a.service.d/50-TasksMax.conf")).unwrap();
    assert!(text.ends_with("[Service]\nTasksMax=7\n"), "{text}");
    machine.ask(&Request::Reload);
    assert_eq!(machine.show("a.service").description, "Other words");
    assert_eq!(machine.ask(&Request::ApplyLimits("a".into())), Response::Done(vec![]));
    // Where the tree has the controller, the limit is there; where not, PID 1 says so.
    let limit = machine.cgroup.join("system.slice/a.service/pids.max");
    match fs::read_to_string(&limit) {
        Ok(text) => assert_eq!(text, "7\n"),
        Err(_) => _ = machine.until("limit not set: pids.max = 7"),
    }
    assert_eq!(run(&machine, "systemctl", &[&path, "set-property", "a", "TasksMax=many"]).0, 1);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn analyze_shows_where_the_time_went() {
    let mut machine = Machine::boot(
        &[
            ("+slow.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 0.3\n"),
            ("multi-user.target.d/after.conf", "[Unit]\nAfter=slow.service\n"),
        ],
        None,
    );
    machine.until("slipway: ready");
    let analyze = |words: &[&str]| run(&machine, "analyze", words);
    let (code, blame) = analyze(&["blame"]);
    let first = blame.lines().next().unwrap_or("").to_owned();
    assert!(code == 0 && first.ends_with("ms slow.service") && first.trim() >= "300ms", "{blame}");
    let (code, chain) = analyze(&["critical-chain"]);
    assert!(
        code == 0 && chain.contains("multi-user.target @") && chain.contains("└─slow.service @"),
        "{chain}"
    );
    let (code, time) = analyze(&[]);
    assert!(code == 0 && time.contains("multi-user.target reached after"), "{time}");
    let (code, plot) = analyze(&["plot"]);
    assert!(code == 0 && plot.starts_with("<?xml") && plot.contains(">slow.service ("), "{plot}");
    assert_eq!(analyze(&["dump"]).0, 2);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}
