//! Links that are made by files, of kinds that the build machines' kernel does not have: a bond of
//! two ports, an IPVLAN on it, a bridge that keeps VLANs apart; sysfs is the judge.

use qemu_tests::{Boot, Disk, Image, give};

const USER_DATA: &str = "#cloud-config
write_files:
  - path: /etc/systemd/network/10-ports.netdev
    content: |
      [NetDev]
      Name=port0
      Kind=dummy
  - path: /etc/systemd/network/11-ports.netdev
    content: |
      [NetDev]
      Name=port1
      Kind=dummy
  - path: /etc/systemd/network/12-bond.netdev
    content: |
      [NetDev]
      Name=bond0
      Kind=bond
      [Bond]
      Mode=active-backup
      MIIMonitorSec=100ms
      UpDelaySec=200ms
      DownDelaySec=300ms
      FailOverMACPolicy=active
      PrimaryReselectPolicy=better
      ResendIGMP=3
  - path: /etc/systemd/network/13-ipvlan.netdev
    content: |
      [NetDev]
      Name=ipv0
      Kind=ipvlan
      [IPVLAN]
      Mode=L3
  - path: /etc/systemd/network/14-bridge.netdev
    content: |
      [NetDev]
      Name=br0
      Kind=bridge
      [Bridge]
      VLANFiltering=yes
      DefaultPVID=7
  - path: /etc/systemd/network/20-ports.network
    content: |
      [Match]
      Name=port*
      [Network]
      Bond=bond0
  - path: /etc/systemd/network/21-bond.network
    content: |
      [Match]
      Name=bond0
      Virtualization=yes
      [Network]
      Address=192.0.2.5/24
      IPVLAN=ipv0
      IPv6AcceptRA=no
  - path: /etc/systemd/network/22-ipvlan.network
    content: |
      [Match]
      Name=ipv0
      [Network]
      Address=198.51.100.5/24
      IPv6AcceptRA=no
units:
  - name: look.service
    enable: true
    content: |
      [Unit]
      After=systemd-networkd.service
      [Service]
      Type=oneshot
      StandardOutput=journal+console
      StandardError=journal+console
      ExecStart=/usr/bin/busybox sh -c \"host networkd-wait-online -i bond0:routable -i ipv0:routable -i port0:enslaved -i port1:enslaved; \\
        cd /sys/class/net/bond0/bonding; busybox grep . mode miimon updelay downdelay fail_over_mac primary_reselect resend_igmp slaves; \\
        cd /sys/class/net/br0/bridge; busybox grep . vlan_filtering default_pvid; busybox ip -4 -o address; networkctl list; echo looked\"
      [Install]
      WantedBy=multi-user.target
";

#[test]
fn a_bond_with_ports_an_ipvlan_and_a_bridge_with_vlans() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, USER_DATA);
    let mut boot = Boot::start(&spec);
    boot.wait("looked");
    let console = boot.text();
    for line in [
        "mode:active-backup 1",
        "miimon:100",
        "updelay:200",
        "downdelay:300",
        "fail_over_mac:active 1",
        "primary_reselect:better 1",
        "resend_igmp:3",
        "slaves:port",
        "vlan_filtering:1",
        "default_pvid:7",
        "inet 192.0.2.5/24 brd 192.0.2.255",
        "inet 198.51.100.5/24 brd 198.51.100.255",
        "bond0 bond     routable    configured",
    ] {
        assert!(console.contains(line), "{line} is not in\n{console}");
    }
}
