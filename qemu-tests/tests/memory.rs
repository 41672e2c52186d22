//! What the host services take of an idle machine's memory. `scripts/bench memory` shows it.

use qemu_tests::{BLESSED, Boot, Disk, Image, Ssh, document, give, oneshot};

/// All services together, PID 1 not among them, KiB.
const SERVICES_MAX: u64 = 48 << 10;
/// PID 1's bound, KiB.
const PID_1_MAX: u64 = 8 << 10;

const ONLINE: &str = "Wants=network-online.target\nAfter=network-online.target";
/// A line for each process that is no kernel thread: number, cgroup, then proc(5)'s `smaps_rollup` in
/// KiB. Rss counts a page that several processes share in each of them, Pss divides it among them.
const MEASURE: &str = "[Service]\nType=oneshot\nExecStart=/usr/bin/busybox sh -c \"\
    cd /proc; for pid in [0-9]*; do busybox grep -q . $$pid/cmdline 2> /dev/null || continue; \
    echo process $$pid `busybox cut -d: -f3 $$pid/cgroup` \
    `busybox awk '/^(Rss|Pss|Pss_Anon):/ { printf $$1 $$2 FS }' $$pid/smaps_rollup`; done; echo measured\"\n";

#[derive(Debug)]
struct Process {
    unit: String,
    rss: u64,
    pss: u64,
    anonymous: u64,
}

fn process(line: &str) -> Option<Process> {
    let mut words = line.strip_prefix("process ")?.split(' ');
    let (_, cgroup) = (words.next()?, words.next()?);
    let figures: Vec<&str> = words.collect();
    let figure = |name: &str| figures.iter().find_map(|word| word.strip_prefix(name)?.parse().ok());
    let unit = cgroup.rsplit('/').next()?.to_owned();
    Some(Process { unit, rss: figure("Rss:")?, pss: figure("Pss:")?, anonymous: figure("Pss_Anon:")? })
}

#[test]
fn an_idle_machine_keeps_its_memory_for_others() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let ssh = Ssh::new(&disk);
    let mut user_data = document(&[("online.service", &oneshot(ONLINE, "echo the network is up"))]);
    user_data += "  - name: measure.service\n    content: |\n";
    user_data.extend(MEASURE.lines().map(|line| format!("      {line}\n")));
    user_data += &ssh.users(&[]);
    let mut spec = Boot::direct(&disk, &image);
    ssh.forward(&mut spec);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    boot.wait_for_all(&["the network is up", "slipway: ready", BLESSED]);
    // With an operator logged in, so that the SSH server is among those that run.
    ssh.good("systemctl start measure.service");
    let said = ssh.good("journalctl -u measure.service -o cat");
    assert!(said.contains("\nmeasured\n"), "{said}");
    let all: Vec<Process> = said.lines().filter_map(process).collect();
    let services = all.iter().filter(|it| it.unit.ends_with(".service") && it.unit != "measure.service");
    let services: Vec<&Process> = services.collect();
    let pid_1 = all.iter().find(|it| !it.unit.contains('.') || it.unit == "init.scope");
    let pid_1 = pid_1.unwrap_or_else(|| panic!("no PID 1: {said}"));
    println!("idle memory in KiB\n  {:<36} {:>7} {:>7} {:>7}", "", "RSS", "PSS", "anon");
    let row = |name: &str, it: &Process| {
        println!("  {name:<36} {:>7} {:>7} {:>7}", it.rss, it.pss, it.anonymous);
    };
    row("PID 1", pid_1);
    let mut sum = Process { unit: String::new(), rss: 0, pss: 0, anonymous: 0 };
    for service in &services {
        row(&service.unit, service);
        sum.rss += service.rss;
        sum.pss += service.pss;
        sum.anonymous += service.anonymous;
    }
    row("services together", &sum);
    for wanted in ["journald", "udevd", "networkd", "resolved", "timesyncd", "sshd"] {
        assert!(services.iter().any(|it| it.unit.contains(wanted)), "{wanted} is not among {services:?}");
    }
    // The stricter sum, in which shared pages are counted again and again.
    assert!(sum.rss < SERVICES_MAX, "{} KiB", sum.rss);
    assert!(pid_1.rss < PID_1_MAX, "PID 1: {} KiB", pid_1.rss);
}
