//! A disk larger than the image: STATE takes all of it, at first boot and at any later one.

use qemu_tests::{Boot, Disk, Image, POWER_OFF, document, give, oneshot, row};

const MIB: u64 = 1 << 20;

#[test]
fn state_grows_with_the_disk() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let user_data = document(&[
        ("size.service", &oneshot("", "echo size `busybox df -k /var | busybox tail -n 1`")),
        POWER_OFF,
    ]);
    let mut before = disk.size_of("STATE");
    for state in ["formatted", "kept, grown", "kept"] {
        if state != "kept" {
            disk.enlarge(200 * MIB);
        }
        let mut spec = Boot::direct(&disk, &image);
        give(&mut spec, &disk, &user_data);
        let mut boot = Boot::start(&spec);
        let console = boot.ready();
        assert_eq!(row(&console, "state"), state);
        let console = boot.ends_by("guest-shutdown");
        disk.assert_table_sound();
        disk.assert_state_clean();

        let partition = disk.size_of("STATE");
        let grown = if state == "kept" { 0 } else { 200 * MIB };
        assert_eq!(partition, before + grown);
        before = partition;
        assert_eq!(disk.state().size_bytes(), partition / 4096 * 4096, "the file system fills it");
        // df(1) leaves out what the file system needs for itself: inode tables and journal.
        let line = console.lines().find(|line| line.contains("size /dev/")).unwrap();
        let kib: u64 =
            line.split_once("/dev/").unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kib * 1024 < partition && kib * 1024 > partition / 10 * 8, "{line} of {partition}");
    }
}
