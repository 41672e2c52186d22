//! Nothing of a box is left, however it ends.

use super::*;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What the host has of boxes whose command line names a root: processes; mounts and cgroups of all boxes.
fn remains(root: &Root) -> Vec<String> {
    let name = root.path().to_str().unwrap().to_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if entry.file_name() != *std::process::id().to_string()
            && String::from_utf8_lossy(&command).contains(&name)
        {
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(&name)).map(str::to_owned));
    found
}

/// Waits for the monitor to have done its work.
pub(super) fn assert_gone(root: &Root) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = remains(root);
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left: {found:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The cgroup of a front, when it has one.
fn cgroup(front: u32) -> Option<PathBuf> {
    let mounts = sys::mount::mounts().unwrap();
    let mount = mounts.iter().find(|mount| mount.fs_type == "cgroup2")?;
    Some(mount.target.join(format!("toolbox-{front}")))
}

#[test]
fn a_box_ends_with_its_command_and_all_that_it_started() {
    let root = Root::new();
    for options in [&[][..], &["--profile", "process"]] {
        root.says(
            options,
            "(setsid sleep 1000 &) ; (sleep 1000 & sleep 1000 &); setsid sh -c 'sleep 1000 & exit' & :",
        );
        assert_gone(&root);
    }
}

#[test]
fn boxes_killed_at_any_moment_leave_nothing() {
    let root = Root::new();
    let count = if std::env::var_os("SLIPWAY_NIGHTLY").is_some() { 10_000 } else { 150 };
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut cgroups = Vec::new();
    for number in 0..count {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let options: &[&str] = if number % 3 == 0 { &["--profile", "process"] } else { &[] };
        let mut child = root
            .command(options, &["sh", "-c", "sleep 1000 & setsid sleep 1000 & sleep 1000"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        cgroups.extend(cgroup(child.id()));
        std::thread::sleep(Duration::from_micros(seed >> 50));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_gone(&root);
    let left: Vec<_> = cgroups.iter().filter(|folder| folder.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_killed_monitor_ends_the_box_and_the_front_cleans_up() {
    let root = Root::new();
    let mut child =
        root.command(&[], &["sh", "-c", "echo up; sleep 1000"]).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 3]).unwrap();
    let front = child.id();
    let monitor: i32 =
        fs::read_to_string(format!("/proc/{front}/task/{front}/children")).unwrap().trim().parse().unwrap();
    sys::process::kill(monitor, nix::libc::SIGKILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert!(cgroup(front).is_none_or(|folder| !folder.exists()));
    assert_gone(&root);
}
