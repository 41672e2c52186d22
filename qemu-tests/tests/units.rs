//! Units that are no services, in a real machine.

use qemu_tests::{Boot, Disk, Image, add_disk, document, give, oneshot, row, tool};
use std::fs::File;

#[test]
fn units_of_every_kind() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let second = disk.folder().join("data.raw");
    File::create(&second).unwrap().set_len(16 << 20).unwrap();
    tool("e2fsprogs", "mkfs.ext4", &[&"-q", &second]);

    let show = "StandardOutput=journal+console\nStandardError=journal+console\n";
    let say = |what: &str| format!("[Service]\nType=oneshot\n{show}ExecStart=/usr/bin/busybox echo {what}\n");
    // Before the sockets, which come before the services' own first target.
    let loopback = "[Unit]\nDefaultDependencies=no\nBefore=web.socket\n[Service]\nType=oneshot\n\
                    RemainAfterExit=yes\nExecStart=/usr/bin/busybox ip link set lo up\n";
    let socket = "[Unit]\nRequires=lo.service\n[Socket]\nListenStream=127.0.0.1:8080\nAccept=yes\n\
                  [Install]\nWantedBy=sockets.target\n";
    let web = "[Service]\nStandardInput=socket\nStandardOutput=socket\n\
               ExecStart=/usr/bin/busybox echo answer from %p\n";
    let mount = "[Mount]\nWhat=/dev/vdb\nWhere=/var/mnt/data\nOptions=noatime\n\
                 [Install]\nWantedBy=local-fs.target\n";
    let timer = "[Timer]\nOnActiveSec=100ms\nAccuracySec=1ms\n[Install]\nWantedBy=timers.target\n";
    let path = "[Path]\nPathExists=/run/flag\n[Install]\nWantedBy=paths.target\n";
    let slice = "[Slice]\nTasksMax=100\n";
    let sliced = "[Service]\nType=oneshot\nSlice=own.slice\nStandardOutput=journal+console\n\
                  ExecStart=/usr/bin/busybox sh -c \"echo limit `busybox cat /sys/fs/cgroup/own.slice/pids.max`\"\n\
                  [Install]\nWantedBy=multi-user.target\n";
    let user_data = document(&[
        ("lo.service", loopback),
        ("web.socket", socket),
        ("web@.service", web),
        ("var-mnt-data.mount", mount),
        ("soon.timer", timer),
        ("soon.service", &say("the timer elapsed")),
        ("flag.path", path),
        ("flag.service", &format!("{}ExecStart=/usr/bin/busybox rm /run/flag\n", say("the path is there"))),
        ("own.slice", slice),
        ("sliced.service", sliced),
        (
            "client.service",
            &oneshot(
                "RequiresMountsFor=/var/mnt/data/x",
                "busybox nc 127.0.0.1 8080; busybox grep /var/mnt/data /proc/mounts; busybox touch /run/flag",
            ),
        ),
    ]);
    let mut spec = Boot::direct(&disk, &image);
    add_disk(&mut spec, &second);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    boot.wait("answer from web");
    boot.wait("/dev/vdb /var/mnt/data ext4 rw,noatime");
    let console = boot.ready();
    assert!(row(&console, "units").ends_with(" 0 failed"), "{console}");
    let machine = boot.machine();
    for line in ["the timer elapsed", "the path is there", "limit 100"] {
        machine.console().wait_from(0, line, std::time::Duration::from_mins(2)).unwrap();
    }
}
