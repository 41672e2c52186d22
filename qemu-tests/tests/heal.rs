//! `kill -9` of every service that runs, one after the other: each comes back with another main
//! process, and everything works afterwards.
//!
//! Which services there are is asked from the machine, so that a new one is killed as well.

use qemu_tests::{Boot, Disk, Image, LONG, Ssh, add_disk, document, give, oneshot};
use std::fs::File;
use std::time::Instant;

const ONLINE: &str = "Wants=network-online.target\nAfter=network-online.target";
/// What every service is for: a name resolves, the address is there and kept by the service, a
/// device is noticed, the clock's keeper answers; that it is said at all is the journal's part.
const PROBE: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nTimeoutStartSec=120\n\
    ExecStart=/usr/bin/busybox sh -ec \"\
    until busybox nslookup db.example | busybox grep -q 10.9.9.9; do busybox usleep 100000; done; \
    until networkctl list | busybox grep -q 'eth0 .*routable .*configured'; do busybox usleep 100000; done; \
    busybox ip -4 -o address show eth0 | busybox grep -q 10.0.2.15/24; \
    echo >> /run/probes; count=`busybox wc -l < /run/probes`; busybox mke2fs -L probe$$count /dev/vdb > /dev/null 2>&1; \
    until busybox test -e /dev/disk/by-label/probe$$count; do busybox usleep 100000; done; \
    udevadm settle; until timedatectl timesync-status; do busybox usleep 100000; done; \
    echo probe $$count is good\"\n";

/// Names and main processes of the services that run.
fn running(ssh: &Ssh) -> Vec<(String, i64)> {
    let list = ssh.good("systemctl list-units --type=service --json");
    let list: serde_json::Value =
        serde_json::from_str(&list).unwrap_or_else(|error| panic!("{error}: {list}"));
    let number = |unit: &serde_json::Value| unit["main_pid"].as_i64().unwrap();
    let units = list.as_array().unwrap().iter();
    units
        .filter(|unit| unit["active_state"] == "active" && number(unit) != 0)
        .map(|unit| (unit["id"].as_str().unwrap().to_owned(), number(unit)))
        .collect()
}

#[test]
fn every_service_heals_after_kill_9() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let ssh = Ssh::new(&disk);
    let mut user_data = document(&[("online.service", &oneshot(ONLINE, "echo the network is up"))]);
    user_data = user_data.replace("\nunits:\n", &format!("\n{}units:\n", ssh.users(&[])));
    user_data += "  - name: probe.service\n    content: |\n";
    user_data.extend(PROBE.lines().map(|line| format!("      {line}\n")));
    user_data += "write_files:\n  - path: /etc/hosts\n    content: |\n      127.0.0.1 localhost\n      10.9.9.9 db.example\n";
    let data = disk.folder().join("data.raw");
    File::create_new(&data).unwrap().set_len(2 << 20).unwrap();
    let mut spec = Boot::direct(&disk, &image);
    add_disk(&mut spec, &data);
    ssh.forward(&mut spec);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    boot.wait_for_all(&["the network is up", "slipway: ready"]);

    let mut count = 0;
    let mut probe = |after: &str| {
        count += 1;
        let done = ssh.run("core", "systemctl start probe.service");
        assert!(done.status.success(), "after {after}: {done:?}\n{}", ssh.good("journalctl -n 60"));
        let said = ssh.good("journalctl -u probe.service -n 3 -o cat");
        assert!(said.contains(&format!("probe {count} is good")), "after {after}: {said}");
    };
    probe("boot");
    let services = running(&ssh);
    for wanted in ["journald", "udevd", "networkd", "resolved", "timesyncd", "sshd"] {
        let there = services.iter().any(|(name, _)| name.contains(wanted));
        assert!(there, "{wanted} does not run: {services:?}");
    }
    for (name, pid) in &services {
        // With sshd goes the connection over which it was killed.
        let _ = ssh.run("core", &format!("systemctl kill -s KILL --kill-whom=main {name}"));
        let since = Instant::now();
        let fresh = loop {
            let found = running(&ssh).into_iter().find(|(other, fresh)| other == name && fresh != pid);
            if let Some((_, fresh)) = found {
                break fresh;
            }
            assert!(since.elapsed() < LONG, "{name} does not come back");
        };
        println!("{name}: {pid} was killed, {fresh} runs, {:.1} s", since.elapsed().as_secs_f64());
        probe(name);
    }
    let failed = ssh.good("systemctl list-units --failed");
    assert!(failed.contains("\n0 loaded units"), "{failed}");
}
