//! The unit files of Debian's packages, as they are: each is read without an error, and its service
//! starts under PID 1, comes back after a kill and stops.

mod machine;

use init::control::{Ending, Request, Verb};
use init::unit::load::Loader;
use init::unit::{Facts, UnitName};
use machine::Machine;
use std::fs;
use std::path::Path;

const FOLDER: &str = "/lib/systemd/system";

const UNITS: [(&str, &str); 10] = [
    ("nginx.service", "nginx"),
    ("redis-server.service", "redis-server"),
    ("redis-server@.service", "redis-server"),
    ("etcd.service", "etcd-server"),
    ("prometheus-node-exporter.service", "prometheus-node-exporter"),
    ("ssh.service", "openssh-server"),
    ("chrony.service", "chrony"),
    ("chrony-wait.service", "chrony"),
    ("chrony-dnssrv@.service", "chrony"),
    ("rescue-ssh.target", "openssh-server"),
];

fn text(unit: &str) -> String {
    let package = UNITS.iter().find(|(name, _)| *name == unit).map_or("", |(_, package)| package);
    fs::read_to_string(Path::new(FOLDER).join(unit))
        .unwrap_or_else(|error| panic!("{unit}: {error}: this test needs `apt-get install {package}`"))
}

#[test]
fn every_unit_file_is_read_without_an_error() {
    let loader = Loader::new(vec![FOLDER.into()], Facts::read());
    for (name, _) in UNITS {
        let _ = text(name); // or it says what to install
        let unit = loader.load(&UnitName::parse(name).unwrap()).unit;
        let errors: Vec<String> =
            unit.problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect();
        assert_eq!(errors, [""; 0], "{name}");
        for warning in &unit.problems {
            println!("{warning}");
        }
    }
}

/// Starts a service, kills its main process, sees it come back (or starts it again), stops it.
#[track_caller]
fn lives(machine: &mut Machine, unit: &str, restarts: bool) {
    started(machine, unit);
    let first = machine.show(unit);
    machine.ask(&Request::Kill { unit: unit.into(), signal: 9, main_only: true });
    if restarts {
        while machine.show(unit).n_restarts == 0 {}
    } else {
        while machine.show(unit).active_state == "active" {}
    }
    started(machine, unit);
    let second = machine.show(unit);
    assert_ne!(second.main_pid, first.main_pid);
    assert_eq!(machine.jobs(Verb::Stop, unit), []);
    assert_eq!(machine.show(unit).main_pid, 0);
}

#[track_caller]
fn started(machine: &mut Machine, unit: &str) {
    let failed = machine.jobs(Verb::Start, unit);
    let state = machine.show(unit);
    if failed.is_empty() && state.sub_state == "running" && state.main_pid > 0 {
        return;
    }
    machine.end(Ending::Reboot); // and with it, the journal is whole
    let said: Vec<_> = machine
        .journal()
        .into_iter()
        .map(|entry| {
            format!("{}{}: {}", entry.text("_SYSTEMD_UNIT"), entry.text("UNIT"), entry.text("MESSAGE"))
        })
        .collect();
    panic!("{unit} is {} ({}), {failed:?}: {said:#?}", state.active_state, state.sub_state);
}

/// A drop-in beside Debian's file, for what a machine without a network of its own cannot give.
fn boot(unit: &str, drop_in: &str) -> Machine {
    let text = text(unit);
    let drop_in = if drop_in.is_empty() { "[Unit]\n" } else { drop_in };
    // Not every build machine may raise the limit that some of them ask for.
    let drop_in = format!("{drop_in}[Service]\nLimitNOFILE=512\n");
    let mut machine = Machine::boot(&[(unit, &text), (&format!("{unit}.d/test.conf"), &drop_in)], None);
    machine.until("slipway: ready");
    machine
}

#[test]
fn redis_runs_in_its_whole_sandbox() {
    let drop_in = "[Service]\nExecStart=\nExecStart=/usr/bin/redis-server --port 0 --unixsocket /run/redis/s --supervised systemd --daemonize no --dir /var/lib/redis\n";
    let mut machine = boot("redis-server.service", drop_in);
    lives(&mut machine, "redis-server.service", true);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn chrony_starts_restarts_and_stops() {
    // -x: the clock of the machine that runs the test is not its to set. -F 1: its own filter.
    let config = "[Unit]\nConditionCapability=\n[Service]\nExecStart=\nExecStart=!/usr/sbin/chronyd -x -F 1 \
                  'port 0' 'cmdport 0' 'pidfile /run/chrony/chronyd.pid'\n";
    let mut machine = boot("chrony.service", config);
    lives(&mut machine, "chrony.service", false);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn node_exporter_starts_restarts_and_stops() {
    let drop_in = "[Service]\nEnvironment=ARGS=--web.listen-address=127.0.0.1:0\nEnvironmentFile=\n";
    let mut machine = boot("prometheus-node-exporter.service", drop_in);
    lives(&mut machine, "prometheus-node-exporter.service", true);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn etcd_starts_restarts_and_stops() {
    let drop_in = "[Service]\nPrivateNetwork=yes\nStateDirectory=etcd-of-test\nEnvironment=ETCD_DATA_DIR=/var/lib/etcd-of-test/d\n\
                   ExecStopPost=+/bin/rm -rf /var/lib/etcd-of-test/d\n";
    let mut machine = boot("etcd.service", drop_in);
    lives(&mut machine, "etcd.service", false);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}

#[test]
fn nginx_and_sshd_start_restart_and_stop() {
    let drop_in = "[Service]\nPrivateNetwork=yes\n";
    let mut machine = boot("nginx.service", drop_in);
    lives(&mut machine, "nginx.service", false);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
    let mut machine = boot("ssh.service", "[Service]\nPrivateNetwork=yes\n");
    lives(&mut machine, "ssh.service", true);
    assert_eq!(machine.end(Ending::Reboot), "Reboot");
}
