//! Who may change the machine: `core`, who is in wheel, with each command by SSH; a user who is
//! not is refused by name and told the cure.

use qemu_tests::{Boot, Disk, Image, Ssh, document, give, oneshot};
use std::io::Read as _;
use std::process::Stdio;

const ONLINE: &str = "Wants=network-online.target\nAfter=network-online.target";
const APP: &str = "[Service]\nExecStart=/usr/bin/busybox sh -c \"echo app speaks; exec busybox sleep 100000\"\n\
                   [Install]\nWantedBy=multi-user.target\n";
/// A zone file to remove: UTC is what there is without it.
const ZONE: &str = "write_files:\n  - path: /etc/localtime\n    content: a zone\n";

/// The number of a user's session.
fn session(ssh: &Ssh, user: &str) -> String {
    let list = ssh.good("loginctl list-sessions");
    let line = list.lines().find(|line| line.contains(user));
    line.and_then(|line| line.split_whitespace().next()).unwrap_or_else(|| panic!("{list}")).to_owned()
}

#[test]
fn members_of_wheel_administer_by_ssh_and_others_do_not() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let ssh = Ssh::new(&disk);
    let mut user_data =
        document(&[("app.service", APP), ("online.service", &oneshot(ONLINE, "echo the network is up"))]);
    user_data += &ssh.users(&[("guest", ""), ("ops", "wheel")]);
    user_data += ZONE;
    let mut spec = Boot::direct(&disk, &image);
    ssh.forward(&mut spec);
    spec.more.extend(["-nic", "user,net=198.51.100.0/24,model=virtio-net-pci"].map(Into::into));
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    boot.wait_for_all(&["the network is up", "slipway: ready"]);

    let mut guest = ssh.command("guest", "busybox sh -c 'echo in; exec busybox sleep 100000'");
    let mut guest = guest.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    guest.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();

    // Who is not in wheel may look, and change nothing but what is his own.
    let own = session(&ssh, "guest");
    for shown in ["networkctl list", "resolvectl dns", "hostnamectl", "loginctl list-sessions"] {
        let output = ssh.run("guest", shown);
        assert!(output.status.success(), "{shown}: {output:?}");
    }
    let mut core = ssh.command("core", "busybox sh -c 'echo in; exec busybox sleep 100000'");
    let mut core = core.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    core.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    let cores = session(&ssh, "core");
    for line in [
        "systemctl restart app.service",
        "networkctl renew eth1",
        "resolvectl flush-caches",
        "resolvectl dns eth1 192.0.2.53",
        "timedatectl set-timezone UTC",
        "timedatectl set-time @0",
        "timedatectl set-ntp no",
        "hostnamectl hostname nobodys",
        "hostnamectl location nowhere",
        "journalctl --rotate",
        "systemctl reboot",
        &format!("loginctl terminate-session {cores}"),
    ] {
        let output = ssh.run("guest", line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1), "{line}: {output:?}");
        assert!(
            told.contains("guest may not ") && told.contains("the group wheel\nhint: "),
            "{line}: {told}"
        );
    }

    // Another member of wheel, who is no user of the image, and core.
    assert!(ssh.run("ops", "hostnamectl hostname anna").status.success());
    assert_eq!(ssh.good("busybox hostname"), "anna\n");
    let pid = || ssh.good("systemctl show -p MainPID --value app.service");
    let before = pid();
    ssh.good("systemctl restart app.service");
    assert_ne!(before, pid());
    let log = ssh.good("journalctl -u app.service -n 5");
    assert!(log.contains("app speaks"), "{log}");
    ssh.good("journalctl --rotate");
    ssh.good("networkctl renew eth1");
    ssh.good("networkctl reconfigure eth1");
    ssh.good("resolvectl flush-caches");
    ssh.good("resolvectl dns eth1 192.0.2.53");
    let servers = ssh.good("resolvectl dns eth1");
    assert!(servers.contains("192.0.2.53"), "{servers}");
    assert_eq!(ssh.good("busybox sh -c 'busybox ls /etc/localtime'"), "/etc/localtime\n");
    ssh.good("timedatectl set-timezone UTC");
    assert_eq!(ssh.run("core", "busybox ls /etc/localtime").status.code(), Some(1));
    ssh.good("timedatectl set-ntp no");
    ssh.good("timedatectl set-time '2031-02-03 04:05:06'");
    let time = ssh.good("timedatectl show -p TimeUSec --value");
    assert!(time.contains("2031-02-03 04:0"), "{time}");
    ssh.good("timedatectl set-ntp yes");
    assert_eq!(ssh.good("timedatectl show -p NTP --value"), "yes\n");
    ssh.good("hostnamectl --pretty hostname 'Anna the First'");
    ssh.good("hostnamectl location 'Rack 7'");
    let about = ssh.good("hostnamectl");
    for row in ["Static hostname: anna", "Pretty hostname: Anna the First", "Location: Rack 7"] {
        assert!(about.contains(row), "{about}");
    }
    ssh.good(&format!("loginctl terminate-session {own}"));
    assert_eq!(guest.wait().unwrap().code(), Some(255));
    core.kill().unwrap();
    core.wait().unwrap();

    // The connection may end before the answer comes.
    let _ = ssh.run("core", "systemctl reboot");
    boot.wait("reboot: Restarting system");
    boot.ready();
    boot.cut();
}
