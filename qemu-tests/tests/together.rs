//! Two disks, two networks, and everything at once, by user-data alone: a second disk that is
//! mounted, names by one network and by the other, SSH over the second, journal, timers.

use qemu_tests::{Boot, Disk, Image, Ssh, add_disk, document, give, oneshot, row, tool};
use std::fs::File;

const NETWORKS: &str = "write_files:
  - path: /etc/systemd/network/10-first.network
    content: |
      [Match]
      MACAddress=52:54:00:00:00:01
      [Network]
      DHCP=ipv4
      IPv6AcceptRA=no
      DNS=10.0.2.3
      Domains=~.
  - path: /etc/systemd/network/10-second.network
    content: |
      [Match]
      MACAddress=52:54:00:00:00:02
      [Network]
      Address=198.51.100.77/24
      DNS=198.51.100.3
      Domains=lab.example ~corp.example
      IPv6AcceptRA=no
  - path: /etc/hosts
    content: |
      127.0.0.1 localhost
      198.51.100.9 store.lab.example
";
const MOUNT: &str = "[Unit]\nDescription=Data\n[Mount]\nWhat=/dev/disk/by-label/data\nWhere=/var/lib/data\nType=ext4\n\
                     [Install]\nWantedBy=multi-user.target\n";
const TICK: &str = "[Service]\nType=oneshot\nExecStart=/usr/bin/busybox sh -c \"\
                    echo tick >> /var/lib/data/ticks; echo tick `busybox wc -l < /var/lib/data/ticks`\"\n";
const TIMER: &str = "[Unit]\nRequiresMountsFor=/var/lib/data\n[Timer]\nOnActiveSec=1\nOnUnitActiveSec=1\nAccuracySec=100ms\n\
                     [Install]\nWantedBy=timers.target\n";

#[test]
fn two_disks_and_two_networks_in_one_document() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let ssh = Ssh::new(&disk);
    let data = disk.folder().join("data.raw");
    File::create_new(&data).unwrap().set_len(8 << 20).unwrap();
    tool("e2fsprogs", "mke2fs", &[&"-q", &"-t", &"ext4", &"-L", &"data", &data]);
    let online = "Wants=network-online.target\nAfter=network-online.target systemd-resolved.service";
    let online = oneshot(
        online,
        "host networkd-wait-online -i eth0:routable -i eth1:routable; busybox ping -c 1 -W 9 10.0.2.2 && busybox ping -c 1 -W 9 198.51.100.2 && echo both are up",
    );
    let mut user_data =
        document(&[("var-lib-data.mount", MOUNT), ("online.service", &online), ("tick.timer", TIMER)]);
    user_data += "  - name: tick.service\n    content: |\n";
    user_data.extend(TICK.lines().map(|line| format!("      {line}\n")));
    user_data += "hostname: anna\n";
    user_data += &ssh.users(&[]);
    user_data += NETWORKS;
    let mut spec = Boot::direct(&disk, &image);
    add_disk(&mut spec, &data);
    // SSH comes by the second card, whose network has no DHCP here.
    let cards = [
        ("01", String::new()),
        ("02", format!(",net=198.51.100.0/24,hostfwd=tcp:127.0.0.1:{}-198.51.100.77:22", ssh.port())),
    ];
    for (id, network) in cards {
        spec.more.extend(["-netdev".into(), format!("user,id=card{id}{network}").into()]);
        let card = format!("virtio-net-pci,netdev=card{id},mac=52:54:00:00:00:{id},romfile=");
        spec.more.extend(["-device".into(), card.into()]);
    }
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    boot.wait_for_all(&["both are up", "slipway: ready"]);
    let console = boot.text();
    assert!(row(&console, "units").ends_with(" 0 failed"), "{console}");

    let shows = |line: &str, wanted: &[&str]| {
        let text = ssh.good(line);
        for wanted in wanted {
            assert!(text.contains(wanted), "{line}: no `{wanted}` in\n{text}");
        }
    };
    shows("hostnamectl", &["Static hostname: anna"]);
    shows("loginctl list-sessions", &["core", "198.51.100.2"]);
    shows("busybox mount", &[" on /var/lib/data type ext4"]);
    shows("systemctl status var-lib-data.mount", &["active"]);
    shows(
        "networkctl list",
        &["eth0 ether    routable    configured", "eth1 ether    routable    configured"],
    );
    shows("resolvectl dns", &["(eth0): 10.0.2.3", "(eth1): 198.51.100.3"]);
    shows("resolvectl domain", &["(eth0): ~.", "(eth1): lab.example ~corp.example"]);
    shows("busybox cat /etc/resolv.conf", &["nameserver 127.0.0.53", "search lab.example"]);
    // The search domain of the second network completes a name.
    shows("resolvectl query store", &["198.51.100.9"]);
    shows("busybox nslookup store.lab.example", &["198.51.100.9"]);
    ssh.good(
        "busybox sh -c 'until busybox grep -q tick /var/lib/data/ticks; do busybox usleep 100000; done'",
    );
    ssh.good("busybox sh -c 'until journalctl -u tick.service -o cat | busybox grep \"tick 3\"; do busybox usleep 200000; done'");
    shows("systemctl list-timers", &["tick.timer", "tick.service"]);
    shows("journalctl -u systemd-networkd.service -o short", &["eth1"]);
    shows("journalctl -k -n 5000", &["Linux version"]);
}
