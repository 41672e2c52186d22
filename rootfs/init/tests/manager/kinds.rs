//! Units that are no services, with real sockets, clocks, files and mounts.

use super::Machine;
use init::control::{Ending, Request, Verb};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

/// Waits until something is so; fails when it takes a minute.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(40);
    while !is_so() {
        assert!(Instant::now() < end, "{what} is still to come");
        std::thread::yield_now();
    }
}

fn all(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A TCP port that nobody has now.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn sockets_start_services_and_pass_what_they_listen_on() {
    let port = free_port();
    let tcp = format!(
        "[Socket]\nListenStream=127.0.0.1:{port}\nFileDescriptorName=web\nNoDelay=yes\nKeepAlive=yes\n"
    );
    let mut machine = Machine::boot(
        &[
            (
                "+one.socket",
                "[Socket]\nListenStream=@DIR@/s/one\nSocketMode=0600\nSocketUser=nobody\nDirectoryMode=0711\n\
                 Symlinks=@DIR@/link\nRemoveOnStop=yes\nExecStartPre=/bin/echo before\nExecStopPost=/bin/echo after\n",
            ),
            ("one.service", "[Service]\nExecStart=@PID1@ serve 1\n"),
            ("+web.socket", &tcp),
            ("web.service", "[Service]\nSockets=web.socket extra.socket\nExecStart=@PID1@ serve 1\n"),
            ("extra.socket", "[Socket]\nListenDatagram=@slipway-extra-@DIR@\nService=web.service\n"),
            ("+cat.socket", "[Socket]\nListenStream=@DIR@/cat\nAccept=yes\nMaxConnections=2\n"),
            (
                "cat@.service",
                "[Service]\nExecStart=/bin/sh -c 'echo %i; cat'\nStandardInput=socket\nStandardOutput=socket\n",
            ),
            (
                "+fail.socket",
                "[Socket]\nListenStream=@DIR@/fail\nTriggerLimitIntervalSec=10\nTriggerLimitBurst=3\n",
            ),
            ("fail.service", "[Unit]\nConditionPathExists=/nonexistent\n[Service]\nExecStart=/bin/true\n"),
            ("+fifo.socket", "[Socket]\nListenFIFO=@DIR@/fifo\n"),
            (
                "fifo.service",
                "[Service]\nType=oneshot\nStandardInput=socket\nExecStart=/bin/sh -c 'read x; echo got $x'\n",
            ),
        ],
        None,
    );
    machine.until("slipway: ready");
    assert_eq!(machine.state("one.socket"), "active (listening)");
    assert_eq!(machine.show("web.socket").listen, [format!("127.0.0.1:{port}")]);
    let path = machine.path("s/one");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(machine.path("s")).unwrap().permissions().mode() & 0o777, 0o711);
    // Each answer ends the service, and the socket listens again.
    let first = all(UnixStream::connect(&path).unwrap());
    let second = all(UnixStream::connect(machine.path("link")).unwrap());
    assert!(first.starts_with("one.socket ") && second.starts_with("one.socket "), "{first}{second}");
    assert_ne!(first, second);
    assert!(all(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).starts_with("web extra.socket "));

    let mut connections: Vec<UnixStream> = Vec::new();
    for _ in 0..2 {
        let mut stream = UnixStream::connect(machine.path("cat")).unwrap();
        stream.write_all(b"hello").unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"\nhello") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            said.push(byte[0]);
        }
        connections.push(stream);
    }
    assert_eq!(machine.show("cat.socket").n_connections, 2);
    assert_eq!(all(UnixStream::connect(machine.path("cat")).unwrap()), "", "a third is closed");
    drop(connections);
    until("no connection", || machine.show("cat.socket").n_connections == 0);
    let init::control::Response::Units(units) = machine.ask(&Request::List) else { panic!() };
    assert!(!units.iter().any(|unit| unit.id.starts_with("cat@")), "instances are forgotten");

    let _knock = UnixStream::connect(machine.path("fail")).unwrap();
    until("failed (failed)", || machine.state("fail.socket") == "failed (failed)");
    assert_eq!(machine.show("fail.socket").result, "trigger-limit-hit");

    fs::OpenOptions::new().write(true).open(machine.path("fifo")).unwrap().write_all(b"word\n").unwrap();
    until("its line", || !machine.said_by("fifo.service").is_empty());
    assert_eq!(machine.said_by("fifo.service"), ["got word"]);

    assert_eq!(machine.jobs(Verb::Stop, "one.socket"), []);
    assert!(!path.exists() && !machine.path("link").exists(), "RemoveOnStop= removes them");
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
    assert_eq!(machine.said_by("one.socket"), ["before", "after"]);
}

#[test]
fn an_active_service_keeps_its_socket_down_and_datagrams_are_passed() {
    let mut machine = Machine::boot(
        &[
            ("busy.service", "[Service]\nExecStart=/bin/sleep infinity\n"),
            ("busy.socket", "[Socket]\nListenStream=@DIR@/busy\n"),
            ("+log.socket", "[Socket]\nListenDatagram=@DIR@/log\nPassCredentials=yes\n"),
            ("log.service", "[Service]\nType=oneshot\nStandardInput=socket\nExecStart=/usr/bin/head -c 5\n"),
        ],
        None,
    );
    machine.until("slipway: ready");
    assert_eq!(machine.jobs(Verb::Start, "busy.service"), []);
    assert_eq!(machine.jobs(Verb::Start, "busy.socket").len(), 1, "refused while its service runs");
    UnixDatagram::unbound().unwrap().send_to(b"12345", machine.path("log")).unwrap();
    until("its line", || !machine.said_by("log.service").is_empty());
    assert_eq!(machine.said_by("log.service"), ["12345"]);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn timers_elapse_and_persistent_ones_leave_a_stamp() {
    let mut machine = Machine::boot(
        &[
            ("+soon.timer", "[Timer]\nOnActiveSec=50ms\nAccuracySec=1us\n"),
            ("soon.service", "[Service]\nType=oneshot\nExecStart=/bin/echo soon\n"),
            (
                "+often.timer",
                "[Timer]\nOnBootSec=1us\nOnUnitInactiveSec=20ms\nAccuracySec=1us\nUnit=tick.service\n",
            ),
            ("tick.service", "[Service]\nType=oneshot\nExecStart=/bin/echo tick\n"),
            ("+second.timer", "[Timer]\nOnCalendar=*:*:*\nAccuracySec=1us\nPersistent=yes\n"),
            ("second.service", "[Service]\nType=oneshot\nExecStart=/bin/echo second\n"),
            ("+never.timer", "[Timer]\nOnCalendar=2012-01-01\n"),
            ("never.service", "[Service]\nType=oneshot\nExecStart=/bin/echo never\n"),
            ("+nowhere.timer", "[Timer]\nOnCalendar=daily Nowhere/Land\n"),
            ("nowhere.service", "[Service]\nType=oneshot\nExecStart=/bin/echo never\n"),
        ],
        None,
    );
    machine.until("slipway: ready");
    until("an elapse", || {
        let count = |unit| machine.said_by(unit).len();
        count("soon.service") >= 1 && count("tick.service") >= 3 && count("second.service") >= 2
    });
    assert_eq!(machine.said_by("soon.service"), ["soon"]);
    assert_eq!(machine.state("soon.timer"), "active (elapsed)");
    assert_eq!(machine.state("never.timer"), "active (elapsed)");
    assert_eq!(machine.state("nowhere.timer"), "failed (failed)");
    assert!(machine.show("second.timer").last_trigger_wall_us > 0);
    while !machine.path("stamps/stamp-second.timer").exists() {}
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn paths_start_units() {
    let mut machine = Machine::boot(
        &[
            ("+exists.path", "[Path]\nPathExists=@DIR@/deep/er/flag\n"),
            ("exists.service", "[Service]\nType=oneshot\nExecStart=/bin/rm @DIR@/deep/er/flag\n"),
            ("+glob.path", "[Path]\nPathExistsGlob=@DIR@/*.[jJ]ob\nUnit=work.service\n"),
            ("work.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'rm @DIR@/*ob'\n"),
            (
                "+spool.path",
                "[Path]\nDirectoryNotEmpty=@DIR@/spool/in\nMakeDirectory=yes\nDirectoryMode=0700\n",
            ),
            ("spool.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'rm @DIR@/spool/in/*'\n"),
            ("+file.path", "[Path]\nPathChanged=@DIR@/file\n"),
            ("file.service", "[Service]\nType=oneshot\nExecStart=/bin/echo changed\n"),
            ("+busy.path", "[Path]\nPathExists=/proc\nTriggerLimitBurst=4\nTriggerLimitIntervalSec=1h\n"),
            (
                "busy.service",
                "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/bin/echo busy\n",
            ),
        ],
        None,
    );
    machine.until("slipway: ready");
    assert_eq!(machine.state("exists.path"), "active (waiting)");
    for _ in 0..2 {
        fs::create_dir_all(machine.path("deep/er")).unwrap();
        fs::write(machine.path("deep/er/flag"), "").unwrap();
        until("the file goes", || !machine.path("deep/er/flag").exists());
        until("active (waiting)", || machine.state("exists.path") == "active (waiting)");
        fs::remove_dir_all(machine.path("deep")).unwrap();
    }
    fs::write(machine.path("a.Job"), "").unwrap();
    until("the file goes", || !machine.path("a.Job").exists());
    fs::write(machine.path("spool/in/x"), "").unwrap();
    until("the file goes", || !machine.path("spool/in/x").exists());
    for count in 1..=2 {
        until("active (waiting)", || machine.state("file.path") == "active (waiting)");
        fs::write(machine.path("file"), "text").unwrap();
        until("a change", || machine.said_by("file.service").len() >= count);
    }
    until("failed (failed)", || machine.state("busy.path") == "failed (failed)");
    assert_eq!(machine.said_by("busy.service").len(), 4);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn mounts_devices_and_slices() {
    let mut machine = Machine::boot(
        &[
            (
                "run-data.mount",
                "[Mount]\nWhat=tmpfs\nWhere=/run/data\nType=tmpfs\nOptions=size=1M,mode=0750,nosuid,x-own=1\n",
            ),
            (
                "use.service",
                "[Unit]\nRequiresMountsFor=/run/data/sub\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
                 ExecStart=/bin/sh -c 'grep \" /run/data \" /proc/self/mounts'\n",
            ),
            ("run-bad.mount", "[Mount]\nWhat=none\nWhere=/run/bad\nType=nosuchfs\n"),
            ("run-x.mount", "[Mount]\nWhat=none\nWhere=/run/other\nType=tmpfs\n"),
            (
                "by-hand.service",
                "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'mkdir -p /run/m; mount -t tmpfs none /run/m'\n",
            ),
            ("by-hand-off.service", "[Service]\nType=oneshot\nExecStart=/bin/umount /run/m\n"),
            (
                "need.service",
                "[Unit]\nBindsTo=run-node.device\nAfter=run-node.device\n[Service]\nExecStart=/bin/sleep infinity\n",
            ),
            ("touch.service", "[Service]\nType=oneshot\nExecStart=/bin/touch /run/node\n"),
            ("rm.service", "[Service]\nType=oneshot\nExecStart=/bin/rm /run/node\n"),
            ("big-small.slice", "[Slice]\nTasksMax=50\n"),
            ("sliced.service", "[Service]\nSlice=big-small.slice\nExecStart=/bin/sleep infinity\n"),
        ],
        None,
    );
    machine.until("slipway: ready");
    assert_eq!(machine.state("run.mount"), "active (mounted)", "the scratch machine's own tmpfs");
    assert_eq!(machine.jobs(Verb::Start, "use"), []);
    assert_eq!(machine.state("run-data.mount"), "active (mounted)");
    until("what it says", || !machine.said_by("use.service").is_empty());
    let said = machine.said_by("use.service");
    assert!(said[0].contains("nosuid") && said[0].contains("size=1024k,mode=750"), "{said:?}");
    // What needs the mount goes first.
    assert_eq!(machine.jobs(Verb::Stop, "run-data.mount"), []);
    assert_eq!(machine.state("use.service"), "inactive (dead)");
    assert_eq!(machine.state("run-data.mount"), "inactive (dead)");
    assert_eq!(machine.jobs(Verb::Start, "run-bad.mount").len(), 1);
    until("what it says", || !machine.said_by("run-bad.mount").is_empty());
    assert_eq!(machine.said_by("run-bad.mount"), ["cannot mount none on /run/bad: No such device"]);
    assert!(machine.show("run-x.mount").load_error.contains("Where= does not match"));

    assert_eq!(machine.jobs(Verb::Start, "by-hand"), []);
    until("active (mounted)", || machine.state("run-m.mount") == "active (mounted)");
    assert_eq!(machine.jobs(Verb::Start, "by-hand-off"), []);
    until("inactive (dead)", || machine.state("run-m.mount") == "inactive (dead)");

    let no_block = Request::Jobs { verb: Verb::Start, units: vec!["need".into()], no_block: true };
    machine.ask(&no_block);
    assert_eq!(
        (machine.show("run-node.device").job, machine.show("need.service").job),
        ("start".into(), "start".into())
    );
    assert_eq!(machine.jobs(Verb::Start, "touch"), []);
    until("active (running)", || machine.state("need.service") == "active (running)");
    assert_eq!(machine.state("run-node.device"), "active (plugged)");
    assert_eq!(machine.jobs(Verb::Start, "rm"), []);
    until("inactive (dead)", || machine.state("need.service") == "inactive (dead)");

    assert_eq!(machine.jobs(Verb::Start, "sliced"), []);
    let folder = machine.cgroup.join("big.slice/big-small.slice");
    assert_eq!(machine.state("big-small.slice"), "active (active)");
    assert!(folder.join("sliced.service").is_dir());
    assert_eq!(machine.jobs(Verb::Stop, "big.slice"), []);
    assert_eq!(machine.state("sliced.service"), "inactive (dead)");
    assert!(!folder.exists(), "an empty slice is removed");
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn idle_services_stored_descriptors_and_reloads() {
    let mut machine = Machine::boot(
        &[
            (
                "+last.service",
                "[Service]\nType=idle\nExecStart=/bin/sh -c 'echo idle; exec sleep infinity'\n",
            ),
            ("+work.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'sleep 0.3; echo work'\n"),
            (
                "keep.service",
                "[Service]\nType=notify\nFileDescriptorStoreMax=1\nRestart=always\nRestartSec=0\nExecStart=@PID1@ store\n",
            ),
            (
                "reload.service",
                "[Service]\nType=notify-reload\nNotifyAccess=all\n\
                 ExecStart=/bin/bash -c 'trap \"echo hup; @PID1@ notify RELOADING=1 READY=1 & \" HUP; @PID1@ notify READY=1 & while :; do sleep 0.05; done'\n",
            ),
        ],
        None,
    );
    machine.until("slipway: ready");
    until("its line", || !machine.said_by("last.service").is_empty());
    until("both", || {
        machine.journal().iter().filter(|e| ["work", "idle"].contains(&e.text("MESSAGE").as_str())).count()
            == 2
    });
    let journal = machine.journal();
    let at = |text: &str| journal.iter().position(|entry| entry.text("MESSAGE") == text).unwrap();
    assert!(at("work") < at("idle"));

    assert_eq!(machine.jobs(Verb::Start, "keep"), []);
    let first = machine.show("keep.service");
    assert_eq!(first.n_file_descriptor_store, 1);
    machine.ask(&Request::Kill { unit: "keep".into(), signal: 9, main_only: true });
    until("its line", || !machine.said_by("keep.service").is_empty());
    assert_eq!(machine.said_by("keep.service"), [format!("kept: from {}", first.main_pid)]);
    assert_eq!(machine.jobs(Verb::Stop, "keep"), []);
    assert_eq!(machine.show("keep.service").n_file_descriptor_store, 0);

    assert_eq!(machine.jobs(Verb::Start, "reload"), []);
    assert_eq!(machine.jobs(Verb::Reload, "reload"), []);
    until("what it says", || !machine.said_by("reload.service").is_empty());
    assert_eq!(machine.said_by("reload.service"), ["hup"]);
    assert_eq!(machine.state("reload.service"), "active (running)");
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn a_boot_waits_for_what_comes_up_at_its_second_start() {
    let mut machine = Machine::boot(
        &[
            (
                "need.service",
                "[Service]\nType=oneshot\nRemainAfterExit=yes\nRestart=on-failure\nRestartSec=0\n\
                 ExecStart=/bin/sh -c 'mkdir @DIR@/once && exit 1; true'\n",
            ),
            (
                "multi-user.target",
                "[Unit]\nRequires=basic.target need.service\nAfter=basic.target\nAllowIsolate=yes\n",
            ),
        ],
        Some(40),
    );
    machine.until("slipway: ready");
    assert_eq!(machine.state("need.service"), "active (exited)");
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}
