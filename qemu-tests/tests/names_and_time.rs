//! Names, time and identity on a booted machine: the stub answers busybox, a server sets the
//! clock, and the next start does not fall behind it.

use qemu_tests::{Boot, Disk, Image, document, give, oneshot, row};
use std::net::UdpSocket;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn the_stub_answers_and_the_machine_knows_its_name() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let after = "After=systemd-resolved.service systemd-timesyncd.service";
    let user_data = document(&[
        (
            "a.service",
            &oneshot(
                after,
                "busybox ip link set lo up; busybox cat /etc/resolv.conf; until busybox nslookup anna; do busybox usleep 100000; done; echo own name: found",
            ),
        ),
        (
            "b.service",
            &oneshot(
                "After=a.service",
                "busybox nslookup db.example | busybox grep 10.9.9.9 && echo hosts: found",
            ),
        ),
        (
            "c.service",
            &oneshot(
                "After=b.service",
                "resolvectl query localhost; resolvectl statistics; hostnamectl; timedatectl; echo all: shown",
            ),
        ),
    ]);
    let files = "hostname: anna\nwrite_files:\n  - path: /etc/hosts\n    content: |\n      127.0.0.1 localhost\n      10.9.9.9 db.example\n";
    let user_data = user_data.replacen("#cloud-config\n", &format!("#cloud-config\n{files}"), 1);
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    for line in
        ["nameserver 127.0.0.53", "own name: found", "hosts: found", "from local", "Static hostname: anna"]
    {
        boot.wait(line);
    }
    boot.wait("NTP service: active");
    boot.wait("all: shown");
    let console = boot.ready();
    assert!(row(&console, "units").ends_with(" 0 failed"), "{console}");
}

/// The server's clock is so far ahead of the machine's.
const AHEAD: Duration = Duration::from_secs(5000);

/// An NTP server for the guest, which sees the host's loopback as 10.0.2.2.
fn serve() {
    let socket = UdpSocket::bind("127.0.0.1:123")
        .unwrap_or_else(|error| panic!("port 123 of the loopback: {error}: no NTP server may run there"));
    std::thread::spawn(move || {
        let mut packet = [0; 48];
        while let Ok((48, client)) = socket.recv_from(&mut packet) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + AHEAD;
            // Seconds since 1900 and a fraction (RFC 5905 section 6).
            let seconds = (now.as_secs() + 2_208_988_800) as u32;
            let fraction = ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000) as u32;
            let cookie = packet[40..48].to_vec();
            packet = [0; 48];
            (packet[0], packet[1]) = (0x24, 2);
            packet[24..32].copy_from_slice(&cookie);
            for at in [32, 40] {
                packet[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
                packet[at + 4..at + 8].copy_from_slice(&fraction.to_be_bytes());
            }
            // A machine that was cut off meanwhile does not take it.
            let _ = socket.send_to(&packet, client);
        }
    });
}

#[test]
fn a_server_sets_the_clock_and_the_next_start_does_not_fall_behind_it() {
    serve();
    let image = Image::older();
    let disk = Disk::of(&image);
    let told = "timedatectl show -p NTPSynchronized; timedatectl timesync-status; echo time: told";
    let mut units = document(&[
        ("clock.service", &oneshot("After=systemd-timesyncd.service", "busybox date +date:%%s")),
        ("time.service", &oneshot("Wants=time-sync.target\nAfter=time-sync.target", told)),
    ]);
    units += "write_files:\n  - path: /etc/systemd/timesyncd.conf\n    content: |\n      [Time]\n      NTP=10.0.2.2\n";
    let mut spec = Boot::direct(&disk, &image);
    let alone = spec.clone();
    // Any forwarding gives the machine a network card.
    spec.forwards = vec![(0, 9)];
    give(&mut spec, &disk, &units);
    let mut boot = Boot::start(&spec);
    for line in ["NTPSynchronized=yes", "Server: 10.0.2.2", "Steps: 1"] {
        boot.wait(line);
    }
    let ahead = |line: &str| {
        let seconds: u64 = line.rsplit("date:").next().unwrap().trim().parse().unwrap();
        seconds.saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
    };
    boot.wait("time: told");
    boot.ready();
    boot.cut();

    // The machine's own clock is behind what was saved; nobody sets it right this time.
    let mut boot = Boot::start(&alone);
    let line = boot.wait("date:");
    assert!((4900..5300).contains(&ahead(&line)), "{line}");
    boot.cut();
}
