//! SSH into a real machine with Debian's client, by a key from user-data.

use qemu_tests::{Boot, Disk, Image, document, give, oneshot};
use std::net::TcpListener;
use std::process::{Command, Output};

/// The machine's own network service has an address.
const ONLINE: &str = "Wants=network-online.target\nAfter=network-online.target";

fn ssh(disk: &Disk, port: u16, checking: &str, user: &str, line: &str) -> Output {
    let folder = disk.folder();
    Command::new("ssh")
        .args(["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-p", &port.to_string()])
        .args(["-o", &format!("StrictHostKeyChecking={checking}")])
        .args(["-o", &format!("UserKnownHostsFile={}", folder.join("known").display())])
        .args(["-o", "HostKeyAlias=machine", "-i"])
        .arg(folder.join("id"))
        .args(["-l", user, "127.0.0.1", line])
        .output()
        .unwrap_or_else(|error| panic!("{error}: apt-get install openssh-client"))
}

fn good(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_operator_logs_in_with_a_key_from_user_data() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let made = Command::new("ssh-keygen")
        .args(["-qt", "ed25519", "-N", "", "-f"])
        .arg(disk.folder().join("id"))
        .status();
    assert!(made.expect("apt-get install openssh-client").success());
    let key = std::fs::read_to_string(disk.folder().join("id.pub")).unwrap();
    let mut user_data = document(&[("online.service", &oneshot(ONLINE, "echo the network is up"))]);
    user_data += "write_files:\n  - path: /etc/ssh/authorized_keys.d/core\n    content: |\n      ";
    user_data += &key;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut spec = Boot::direct(&disk, &image);
    spec.forwards = vec![(port, 22)];
    give(&mut spec, &disk, &user_data);
    for checking in ["accept-new", "yes"] {
        // The second boot has the first one's host key.
        let mut boot = Boot::start(&spec);
        boot.wait("the network is up");
        boot.ready();
        let run = |line: &str| good(&ssh(&disk, port, checking, "core", line));
        let about = run("busybox sh -c 'id -un; pwd; cat /proc/self/cgroup'");
        let scope = "/user.slice/user-500.slice/session-1.scope";
        assert_eq!(about, format!("core\n/var/home/core\n0::{scope}\n"));
        let sessions = run("loginctl list-sessions");
        assert!(sessions.contains("500 core -   10.0.2.2 active"), "{sessions}");
        let forbidden = ssh(&disk, port, checking, "core", "busybox cat /var/lib/ssh/ssh_host_ed25519_key");
        assert_eq!(forbidden.status.code(), Some(1), "{forbidden:?}");
        let memory = run("busybox sh -c 'busybox grep VmRSS /proc/$PPID/status'");
        let kib: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
        println!("sshd's VmRSS is {kib} KiB");
        assert!(kib < 12 << 10, "{memory}");
        let root = ssh(&disk, port, checking, "root", "busybox id");
        assert_eq!(root.status.code(), Some(255), "{root:?}");
        boot.cut();
    }
}
