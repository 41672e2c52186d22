//! Files with mistakes, by user-data: each mistake is told with file and line, and the machine
//! comes up all the same and lets its operator in, but nobody whom a wrong line may have forbidden.

use qemu_tests::{Boot, Disk, Image, Ssh, document, give, oneshot};

const ONLINE: &str = "Wants=network-online.target\nAfter=network-online.target";
const FILES: &str = "write_files:
  - path: /etc/systemd/system/wrong.service
    content: |
      [Unit]
      Description=Wrong
      this is no line of a unit
      [Service]
      ExecStart=relative/path
      Restart=now and then
      Frobnicate=yes
  - path: /etc/systemd/system/broken.timer
    content: |
      [Timer]
      OnCalendar=the 40th of never
  - path: /etc/systemd/system/sshd.service.d/10-wrong.conf
    content: |
      [Service]
      Nice=very
      Environmen=A=b
  - path: /etc/systemd/network/05-wrong.network
    content: |
      [Match]
      Name=eth7
      [Network]
      Address=300.1.2.3/24
      nonsense
      Frobnicate=yes
  - path: /etc/ssh/sshd.conf
    content: |
      MaxSessions 7
      PasswordAuthentication yes
  - path: /etc/systemd/resolved.conf
    content: |
      [Resolve]
      DNS=not an address
      nonsense
      LLMNR=perhaps
  - path: /etc/systemd/timesyncd.conf
    content: |
      [Time]
      PollIntervalMinSec=soon
      nonsense
  - path: /etc/systemd/journald.conf
    content: |
      [Journal]
      SystemMaxUse=a lot
      nonsense
";

#[test]
fn malformed_files_are_told_and_the_operator_gets_in() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let ssh = Ssh::new(&disk);
    let mut user_data = document(&[("online.service", &oneshot(ONLINE, "echo the network is up"))]);
    user_data += &ssh.users(&[("guest", "")]);
    user_data += FILES;
    let mut spec = Boot::direct(&disk, &image);
    ssh.forward(&mut spec);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    boot.wait_for_all(&["the network is up", "slipway: ready"]);

    ssh.good("busybox true");
    assert_eq!(ssh.run("guest", "busybox true").status.code(), Some(255));
    let started = ssh.run("core", "systemctl start wrong.service");
    assert_eq!(started.status.code(), Some(1), "{started:?}");
    let started = ssh.run("core", "systemctl start broken.timer");
    assert_eq!(started.status.code(), Some(1), "{started:?}");
    let log = ssh.good("journalctl -b -n 5000 -o cat");
    for place in [
        "/etc/systemd/system/wrong.service:3: ",
        "/etc/systemd/system/wrong.service:5: ",
        "/etc/systemd/system/wrong.service:6: ",
        "/etc/systemd/system/wrong.service:7: ",
        "/etc/systemd/system/broken.timer:2: ",
        "/etc/systemd/system/sshd.service.d/10-wrong.conf:2: ",
        "/etc/systemd/system/sshd.service.d/10-wrong.conf:3: ",
        "/etc/systemd/network/05-wrong.network:4: ",
        "/etc/systemd/network/05-wrong.network:5: ",
        "/etc/systemd/network/05-wrong.network:6: ",
        "/etc/ssh/sshd.conf:2: ",
        "/etc/systemd/resolved.conf:2: ",
        "/etc/systemd/resolved.conf:3: ",
        "/etc/systemd/resolved.conf:4: ",
        "/etc/systemd/timesyncd.conf:2: ",
        "/etc/systemd/timesyncd.conf:3: ",
        "/etc/systemd/journald.conf:2: ",
        "/etc/systemd/journald.conf:3: ",
    ] {
        assert!(log.lines().any(|line| line.contains(place)), "nothing is said of {place}\n{log}");
    }
    // What was right in the files holds, and so does everything else.
    let links = ssh.good("networkctl list");
    assert!(links.contains("eth0 ether    routable    configured"), "{links}");
    for service in ["journald", "networkd", "resolved", "timesyncd", "udevd"] {
        ssh.good(&format!("systemctl is-active systemd-{service}.service"));
    }
}
