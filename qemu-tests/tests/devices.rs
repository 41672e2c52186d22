//! Devices: links of disks by label, name and id, their nodes' groups, udevadm, a disk that goes.

use qemu_tests::{Boot, Disk, Image, add_disk, document, give, oneshot, row, tool};
use std::fs::File;
use std::path::PathBuf;

fn blank(disk: &Disk, name: &str, mib: u64) -> PathBuf {
    let path = disk.folder().join(name);
    File::create_new(&path).unwrap().set_len(mib << 20).unwrap();
    path
}

#[test]
fn two_more_disks_have_their_links() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let ext4 = blank(&disk, "ext4.raw", 4);
    tool(
        "e2fsprogs",
        "mke2fs",
        &[&"-q", &"-t", &"ext4", &"-L", &"my data", &"-U", &"11111111-2222-4333-8444-555555555555", &ext4],
    );
    let gpt = blank(&disk, "gpt.raw", 8);
    tool(
        "gdisk",
        "sgdisk",
        &[&"-n", &"1:0:+4M", &"-c", &"1:scratch", &"-u", &"1:AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE", &gpt],
    );
    tool(
        "dosfstools",
        "mkfs.vfat",
        &[&"--offset", &"2048", &"-n", &"FATTY", &"-i", &"1234abcd", &gpt, &"4096"],
    );
    let show = |path: &str| format!("echo {path} = `busybox readlink -f /dev/{path}`;");
    // `?` stands for a backslash, which would have to pass two pairs of quotes.
    let links = [
        "disk/by-label/my?x20data",
        "disk/by-uuid/11111111-2222-4333-8444-555555555555",
        "disk/by-label/FATTY",
        "disk/by-uuid/1234-ABCD",
        "disk/by-partlabel/scratch",
        "disk/by-partuuid/aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
        "disk/by-partlabel/STATE",
    ];
    let script: String = links.iter().map(|link| show(link)).collect();
    let script = format!(
        "{script} busybox stat -L -c 'group %%G mode %%a' /dev/vdb; \
         echo type `udevadm info -q property -n /dev/vdb | busybox grep ID_FS_TYPE`; \
         busybox mkdir -p /run/m; busybox mount -t vfat -o iocharset=ascii /dev/disk/by-label/FATTY /run/m && echo FATTY is mounted; \
         busybox umount /run/m; echo 1 > /sys/block/vdb/device/../remove; udevadm settle; \
         busybox ls /dev/disk/by-label | busybox grep -q data || echo the link is gone"
    );
    let unit = oneshot("Requires=systemd-udev-settle.service\nAfter=systemd-udev-settle.service", &script);
    let mut spec = Boot::direct(&disk, &image);
    add_disk(&mut spec, &ext4);
    add_disk(&mut spec, &gpt);
    give(&mut spec, &disk, &document(&[("show.service", &unit)]));
    let mut boot = Boot::start(&spec);
    let nodes = ["vdb", "vdb", "vdc1", "vdc1", "vdc1", "vdc1", "vda4"];
    for (link, node) in links.iter().zip(nodes) {
        boot.wait(&format!("{link} = /dev/{node}"));
    }
    boot.wait("group disk mode 660");
    boot.wait("type ID_FS_TYPE=ext4");
    boot.wait("FATTY is mounted");
    boot.wait("the link is gone");
    let console = boot.ready();
    assert!(row(&console, "units").ends_with(" 0 failed"), "{console}");
}

#[test]
fn cold_plug_loads_modules_and_a_killed_service_comes_back() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let data = blank(&disk, "data.raw", 2);
    let script = "busybox ls /sys/class/net; busybox readlink /dev/virtio-ports/org.example.port; \
         busybox ls -l /dev/mapper; busybox stat -c 'ttyS0 %%G %%a' /dev/ttyS0; \
         busybox ps -o pid,rss,args | busybox grep [u]devd; \
         systemctl kill -s KILL systemd-udevd.service; \
         systemctl start systemd-udevd.service; \
         busybox mke2fs -L later /dev/vdb >/dev/null 2>&1; udevadm settle; \
         echo later is `busybox readlink /dev/disk/by-label/later`; systemctl is-active systemd-udevd.service";
    let unit = oneshot("Requires=systemd-udev-settle.service\nAfter=systemd-udev-settle.service", script);
    let mut spec = Boot::direct(&disk, &image);
    add_disk(&mut spec, &data);
    let port = "virtserialport,name=org.example.port";
    spec.more.extend(
        ["-device", "virtio-serial-pci", "-device", port, "-nic", "user,model=virtio-net-pci"]
            .map(Into::into),
    );
    give(&mut spec, &disk, &document(&[("show.service", &unit)]));
    let mut boot = Boot::start(&spec);
    for line in ["eth0", "../vport", "ttyS0 dialout 660", "host udevd", "later is ../../vdb", "]: active"] {
        boot.wait(line);
    }
}
