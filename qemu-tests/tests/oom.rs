//! Limits of cgroups in a machine that has their controllers.

use qemu_tests::{Boot, Disk, Image, document, give};

#[test]
fn too_much_memory_ends_a_service_by_its_policy_and_boot_limits_end_with_the_boot() {
    let image = Image::older();
    let disk = Disk::of(&image);
    // The shell is the main process; what is killed is its child.
    let eater = |policy: &str, then: &str| {
        format!(
            "[Service]\nOOMPolicy={policy}\nMemoryMax=24M\nMemorySwapMax=0\n\
             StandardOutput=journal+console\nStandardError=null\n\
             ExecStart=/usr/bin/busybox sh -c \"busybox dd if=/dev/zero of=/dev/null bs=96M count=1; {then}\"\n\
             ExecStop=/usr/bin/busybox echo %p stops in order\n\
             ExecStopPost=/usr/bin/busybox echo %p ended with ${{SERVICE_RESULT}}\n\
             [Install]\nWantedBy=multi-user.target\n"
        )
    };
    // The boot waits for what is before a start. The kernel tells nobody of a changed weight, so the service
    // looks again.
    let weights = "[Service]\nCPUWeight=50\nStartupCPUWeight=900\nStandardOutput=journal+console\n\
                   Environment=f=/sys/fs/cgroup/system.slice/weights.service/cpu.weight\n\
                   ExecStartPre=/usr/bin/busybox sh -c \"echo weight `busybox cat $$f` at first\"\n\
                   ExecStart=/usr/bin/busybox sh -c \"while busybox grep -q 900 $$f; do busybox usleep 100000; done; \
                   echo weight `busybox cat $$f` then\"\n[Install]\nWantedBy=multi-user.target\n";
    let user_data = document(&[
        ("weights.service", weights),
        ("stop.service", &eater("stop", "exec busybox sleep 10000")),
        ("kill.service", &eater("kill", "exec busybox sleep 10000")),
        ("continue.service", &eater("continue", "echo it goes on; exec busybox sleep 10000")),
    ]);
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    boot.ready();
    let machine = boot.machine();
    let wait = |line: &str| {
        machine.console().wait_from(0, line, std::time::Duration::from_mins(2)).unwrap();
    };
    for line in [
        "stop stops in order",
        "stop ended with oom-kill",
        "kill.service: failed with result 'oom-kill'",
        "it goes on",
        "weight 900 at first",
        "weight 50 then",
    ] {
        wait(line);
    }
}
