//! Two network cards: DHCP on one without any configuration, on the other a fixed address and a
//! VLAN by files that user-data writes.

use qemu_tests::{Boot, Disk, Image, give};

const USER_DATA: &str = "#cloud-config
write_files:
  - path: /etc/systemd/network/10-fixed.network
    content: |
      [Match]
      MACAddress=52:54:00:00:00:02
      Type=ether
      [Network]
      Address=198.51.100.77/24
      DNS=198.51.100.3
      VLAN=vlan5
      IPv6AcceptRA=no
      [Route]
      Gateway=198.51.100.2
      Metric=9000
  - path: /etc/systemd/network/10-vlan5.netdev
    content: |
      [NetDev]
      Name=vlan5
      Kind=vlan
      [VLAN]
      Id=5
  - path: /etc/systemd/network/10-vlan5.network
    content: |
      [Match]
      Name=vlan5
      [Network]
      Address=203.0.113.5/24
      IPv6AcceptRA=no
units:
  - name: look.service
    enable: true
    content: |
      [Unit]
      Wants=network-online.target
      After=network-online.target
      [Service]
      Type=oneshot
      StandardOutput=journal+console
      StandardError=journal+console
      ExecStart=/usr/bin/busybox sh -c \"host networkd-wait-online -i eth0:routable -i eth1:routable -i vlan5:routable; \\
        busybox ip -4 -o address; busybox ip route; busybox ping -c 1 -W 9 10.0.2.2; busybox ping -c 1 -W 9 198.51.100.2; \\
        networkctl list; busybox cat /proc/net/vlan/config; busybox cat /run/systemd/netif/state; echo looked\"
      [Install]
      WantedBy=multi-user.target
";

#[test]
fn dhcp_on_one_card_and_a_fixed_address_on_the_other() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut spec = Boot::direct(&disk, &image);
    for (id, network) in [("01", ""), ("02", ",net=198.51.100.0/24")] {
        spec.more.extend(["-netdev".into(), format!("user,id=card{id}{network}").into()]);
        let card = format!("virtio-net-pci,netdev=card{id},mac=52:54:00:00:00:{id},romfile=");
        spec.more.extend(["-device".into(), card.into()]);
    }
    give(&mut spec, &disk, USER_DATA);
    let mut boot = Boot::start(&spec);
    boot.wait("looked");
    let console = boot.text();
    for line in [
        "inet 10.0.2.15/24 brd 10.0.2.255",
        "inet 198.51.100.77/24 brd 198.51.100.255",
        "inet 203.0.113.5/24 brd 203.0.113.255",
        "default via 10.0.2.2 dev eth0",
        "default via 198.51.100.2 dev eth1",
        "64 bytes from 10.0.2.2",
        "64 bytes from 198.51.100.2",
        "eth0  ether    routable    configured",
        "vlan5 vlan     routable    configured",
        "vlan5          | 5  | eth1",
        "OPER_STATE=routable",
        "ONLINE_STATE=online",
        "DNS=10.0.2.3 198.51.100.3",
    ] {
        assert!(console.contains(line), "{line} is not in\n{console}");
    }
}
