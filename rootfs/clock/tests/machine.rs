//! The services and commands on a machine of their own: fresh network, mount and host name
//! namespaces, Debian's chronyd as server. The clock has no namespace, so the service runs without
//! the capability to set it; what it does to a clock is shown on a simulated one (`client_test.rs`)
//! and on a booted machine.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use clock::packet::{self, timestamp};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const CLOCK: &str = env!("CARGO_BIN_EXE_clock");

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Namespaces, kept by a process.
struct Sandbox {
    keeper: Process,
    folder: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = "set -e; for it in /run /var/lib/systemd /etc/systemd; do mount -t tmpfs none $it; done; \
                      cp -a /etc $FOLDER/; mount --bind $FOLDER/etc /etc; hostname node1; ip link set lo up; \
                      echo ready; exec sleep infinity";
        let mut keeper = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "sh", "-c", script])
            .env("FOLDER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("install util-linux");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "run as root; install iproute2, hostname");
        Self { keeper: Process(keeper), folder }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.keeper.0.id().to_string(), "-n", "-m", "-u", "--", program]);
        command
    }

    fn try_sh(&self, script: &str) -> Output {
        let names =
            ["timedatectl", "hostnamectl"].map(|name| format!("{name}() {{ {CLOCK} {name} \"$@\"; }}; "));
        self.command("sh").args(["-c", &format!("{}{script}", names.concat())]).output().unwrap()
    }

    fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        assert!(output.status.success(), "{script}: {output:?}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts the service without the capability to set the clock, and waits until it is ready.
    fn timesyncd(&self, config: &str) -> Process {
        self.sh(&format!("printf '[Time]\\n{config}' >/etc/systemd/timesyncd.conf"));
        self.start(self.command("setpriv").args(["--bounding-set=-sys_time", "--", CLOCK, "timesyncd"]))
    }

    /// Starts a service, and waits until it is ready.
    fn start(&self, command: &mut Command) -> Process {
        let socket = self.folder.path().join("notify");
        let _ = fs::remove_file(&socket);
        let notified = UnixDatagram::bind(&socket).unwrap();
        notified.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        command.env("NOTIFY_SOCKET", &socket);
        command.stderr(fs::File::create(self.folder.path().join("log")).unwrap());
        let process = Process(command.spawn().expect("install util-linux"));
        let mut text = [0; 256];
        let length = notified.recv(&mut text).unwrap_or_else(|error| panic!("{error}: {}", self.log()));
        assert!(text[..length].starts_with(b"READY=1"));
        process
    }

    /// Waits until a line is in the service's log.
    fn wait_for(&self, line: &str) {
        let path = self.folder.path().join("log");
        self.sh(&format!(
            "for i in $(seq 1000); do grep -q '{line}' {} && exit; sleep 0.02; done; exit 1",
            path.display()
        ));
    }
}

#[test]
fn chronyd_is_followed() {
    let sandbox = Sandbox::new();
    let config = sandbox.folder.path().join("chrony.conf");
    fs::write(
        &config,
        "local stratum 3\nallow\nbindaddress 127.0.0.1\ncmdport 0\npidfile /run/chronyd.pid\nuser root\n",
    )
    .unwrap();
    let mut command = sandbox.command("chronyd");
    command.args(["-x", "-d", "-f"]).arg(&config).stderr(Stdio::null());
    let _server = Process(command.spawn().expect("install chrony"));
    // Debian's own client is content with it.
    let theirs =
        sandbox.sh("for i in $(seq 100); do ntpdig -t 1 127.0.0.1 && exit; sleep 0.05; done; exit 1");
    assert!(theirs.contains("127.0.0.1"), "install ntpsec-ntpdig: {theirs}");
    let _service = sandbox.timesyncd("NTP=127.0.0.1\\nFallbackNTP=\\n");
    // Its offset is microseconds, which it may not make good here.
    sandbox.wait_for("the clock cannot be adjusted: Operation not permitted");
    let report = sandbox.sh("timedatectl timesync-status");
    assert!(report.contains("Server: 127.0.0.1 (127.0.0.1)") && report.contains("Stratum: 3"), "{report}");
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.sh("timedatectl --json show-timesync")).unwrap();
    assert!(json["offset_ns"].as_i64().unwrap().abs() < 50_000_000, "{json}");
    assert_eq!((json["packets"].as_u64(), json["steps"].as_u64()), (Some(1), Some(0)), "{json}");
    let status = sandbox.sh("timedatectl");
    assert!(status.contains("NTP service: active"), "{status}");
    let _timedated = sandbox.start(sandbox.command(CLOCK).arg("timedated"));
    let refused = sandbox.try_sh("timedatectl set-time 12:00");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("set-ntp no"), "{refused:?}");
}

#[test]
fn the_servers_of_a_link_are_taken_when_the_network_service_names_them() {
    let sandbox = Sandbox::new();
    let _service = sandbox.timesyncd("FallbackNTP=\\n");
    assert!(sandbox.sh("timedatectl timesync-status").contains("Server: none"));
    // Nobody listens there: it is asked, and does not answer.
    sandbox.sh("echo NTP=127.0.0.1 >/run/systemd/netif/links/.new && mv /run/systemd/netif/links/.new /run/systemd/netif/links/2");
    let wait = "for i in $(seq 500); do timedatectl show-timesync | grep -q ServerName=127.0.0.1 && exit; sleep 0.02; done; exit 1";
    sandbox.sh(wait);
    sandbox.sh("rm /run/systemd/netif/links/2");
    sandbox.sh(&wait.replace("ServerName=127.0.0.1", "'ServerName=$'"));
}

#[test]
fn a_server_of_lies_is_left_for_an_honest_one_and_nonsense_is_passed_over() {
    let sandbox = Sandbox::new();
    // Servers of the test's own, in the sandbox's network.
    let script = "ip addr add 127.0.1.1/8 dev lo 2>/dev/null; exit 0";
    sandbox.sh(script);
    let pid = sandbox.keeper.0.id();
    let serve = |address: &'static str, answer: fn([u8; 48]) -> Vec<Vec<u8>>| {
        let (send, ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // A thread may have a network namespace of its own.
            let namespace = fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let socket = UdpSocket::bind((address, 123)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            send.send(()).unwrap();
            let mut packet = [0; 48];
            while let Ok((48, client)) = socket.recv_from(&mut packet) {
                for reply in answer(packet) {
                    socket.send_to(&reply, client).unwrap();
                }
            }
        });
        ready.recv().unwrap();
    };
    serve("127.0.0.1", |request| {
        vec![
            vec![],
            vec![0xff; 48],
            vec![0x24; 500],
            reply(request, 0, |it| it[24] ^= 1),
            reply(request, 0, |it| it[1] = 16),
        ]
    });
    serve("127.0.0.2", |request| vec![reply(request, 0, |it| it[8..12].copy_from_slice(&[0, 99, 0, 0]))]);
    serve("127.0.0.3", |request| {
        vec![vec![1, 2, 3], reply(request, 0, |it| it[24] ^= 1), reply(request, 7, |_| {})]
    });
    let _service = sandbox.timesyncd("NTP=127.0.0.1 127.0.0.2 127.0.0.3\\n");
    sandbox.wait_for("the clock cannot be adjusted");
    let log = sandbox.log();
    assert!(
        log.contains("127.0.0.1 sends says that the server is not synchronized (leap 0, stratum 16)"),
        "{log}"
    );
    assert!(log.contains("127.0.0.2 is 99000 ms from its primary clock: too far"), "{log}");
    // Whoever is late on a busy machine is so by half of that.
    let step =
        log.lines().find_map(|line| line.split_once("is stepped by ")?.1.strip_suffix(" ms")?.parse().ok());
    assert!(step.is_some_and(|step: i64| (6800..7200).contains(&step)), "{log}");
    let json = sandbox.sh("timedatectl --json timesync-status");
    assert!(json.contains("\"server\":\"127.0.0.3\""), "{json}");
}

fn reply(request: [u8; 48], ahead_seconds: i64, change: fn(&mut [u8])) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    let time = timestamp(now + ahead_seconds * 1_000_000_000).to_be_bytes();
    let mut reply = vec![0; packet::SIZE];
    (reply[0], reply[1]) = (0x24, 2);
    reply[24..32].copy_from_slice(&request[40..48]);
    reply[32..40].copy_from_slice(&time);
    reply[40..48].copy_from_slice(&time);
    change(&mut reply);
    reply
}

#[test]
fn a_saved_clock_that_is_ahead_is_set_before_anything_else() {
    let sandbox = Sandbox::new();
    sandbox.sh("mkdir -p /var/lib/systemd/timesync && touch -d '2037-01-01' /var/lib/systemd/timesync/clock");
    let _service = sandbox.timesyncd("FallbackNTP=\\n");
    assert!(
        sandbox.log().contains("the saved clock cannot be set: Operation not permitted"),
        "{}",
        sandbox.log()
    );
}

#[test]
fn the_machine_is_named_and_its_zone_set() {
    let sandbox = Sandbox::new();
    let _services = ["hostnamed", "timedated"].map(|name| sandbox.start(sandbox.command(CLOCK).arg(name)));
    sandbox.sh("hostnamectl set-hostname node7.example");
    assert_eq!(sandbox.sh("hostname; cat /etc/hostname; hostnamectl hostname"), "node7.example\n".repeat(3));
    let hint = sandbox.try_sh("hostnamectl hostname node8").stderr;
    assert!(String::from_utf8_lossy(&hint).contains("until the next boot"), "{hint:?}");
    sandbox.sh("hostnamectl --pretty hostname 'Node Eight' && hostnamectl chassis server && hostnamectl location 'Rack 7'");
    let status = sandbox.sh("hostnamectl");
    for row in
        ["Static hostname: node8", "Pretty hostname: Node Eight", "Chassis: server", "Location: Rack 7"]
    {
        assert!(status.contains(row), "{status}");
    }
    // The shell reads what was written as it was meant.
    assert_eq!(sandbox.sh(". /etc/machine-info; echo $PRETTY_HOSTNAME, $CHASSIS"), "Node Eight, server\n");
    assert_eq!(sandbox.try_sh("hostnamectl hostname a_b").status.code(), Some(2));
    // Members of wheel may; others are told.
    let by = |groups: &str, call: &str| {
        sandbox.try_sh(&format!(
            "sed -i /^wheel:/d /etc/group; echo wheel:x:10: >>/etc/group; \
            setpriv --reuid 65534 --regid 65534 --groups {groups} {CLOCK} {call}"
        ))
    };
    assert!(by("20,10", "hostnamectl hostname node9").status.success());
    assert_eq!(sandbox.sh("hostname"), "node9\n");
    assert!(by("10", "timedatectl set-timezone Asia/Tokyo").status.success());
    for call in ["hostnamectl hostname node8", "timedatectl set-timezone UTC", "timedatectl set-time @0"] {
        let refused = by("20,11", call);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(
            told.starts_with("error: nobody may not ") && told.contains("the group wheel\nhint: "),
            "{told}"
        );
    }
    assert_eq!(sandbox.sh("hostname; timedatectl show -p Timezone --value"), "node9\nAsia/Tokyo\n");

    sandbox.sh("timedatectl set-timezone Asia/Kolkata");
    assert_eq!(sandbox.sh("date +%Z"), "IST\n");
    let (ours, theirs) =
        (sandbox.sh("timedatectl show -p Timezone --value"), sandbox.sh("readlink /etc/localtime"));
    assert_eq!((ours.as_str(), theirs.as_str()), ("Asia/Kolkata\n", "../usr/share/zoneinfo/Asia/Kolkata\n"));
    assert!(sandbox.sh("timedatectl").contains("Time zone: Asia/Kolkata (IST, +0530)"));
    assert_eq!(sandbox.try_sh("timedatectl set-timezone Nowhere/None").status.code(), Some(1));
    sandbox.sh("timedatectl set-timezone UTC");
    assert_eq!(sandbox.sh("date +%Z"), "UTC\n");
}
