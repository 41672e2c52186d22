//! Nothing of a box is left, however it ends.

use super::shop::{EVERYBODY, Shop, Who};
use super::*;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What the host has of a test, whose folder processes name on their command line or in their environment:
/// those processes, and mounts of a table.
fn remains(folder: &str, table: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten().filter(|entry| entry.file_name() != *own) {
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let text = [read("cmdline"), read("environ")].concat();
        let text = String::from_utf8_lossy(&text).replace('\0', " ");
        if text.contains(folder) {
            found.push(format!("process {}: {text}", entry.file_name().display()));
        }
    }
    let mounts = fs::read_to_string(table).unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(folder)).map(str::to_owned));
    found
}

/// Waits for the monitor to have done its work.
pub(super) fn assert_gone(root: &Root) {
    let path = root.path().display().to_string();
    wait_for_none(|| remains(&path, "/proc/self/mountinfo"));
}

fn wait_for_none(found: impl Fn() -> Vec<String>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = found();
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

/// All cgroups of boxes, by name, wherever they are.
fn cgroups() -> Vec<String> {
    let mounts = sys::mount::mounts().unwrap();
    let mut open: Vec<PathBuf> =
        mounts.into_iter().filter(|mount| mount.fs_type == "cgroup2").map(|mount| mount.target).collect();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        // Others come and go meanwhile.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found
                    .extend(entry.file_name().into_string().ok().filter(|name| name.starts_with("toolbox-")));
                open.push(entry.path());
            }
        }
    }
    found
}

/// Every file below a folder, with its mode and, if it has content, its size.
fn listing(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let size = if meta.is_dir() { 0 } else { meta.len() };
        lines.push(format!("{} {:o} {size}", path.display(), meta.permissions().mode()));
        if meta.is_dir() {
            lines.extend(listing(&path));
        }
    }
    lines.sort();
    lines
}

/// Of a host with images and a kept box; what is killed is never the first of its kind.
#[test]
fn boxes_killed_at_any_moment_leave_nothing() {
    let count = if std::env::var_os("SLIPWAY_NIGHTLY").is_some() { 10_000 } else { 150 };
    for who in EVERYBODY {
        kills(who, count / 3 + 1);
    }
}

fn kills(who: Who, count: usize) {
    let shop = Shop::new(who);
    let top = shop.top().display().to_string();
    let tree = shop.root.path().display().to_string();
    let archive = format!("{top}/a.tar");
    said(&Command::new("tar").args(["-C", &tree, "-cf", &archive, "."]).output().unwrap());
    let private = ["HOME", "TMPDIR", "XDG_RUNTIME_DIR"].map(|name| (name, format!("{top}/{name}")));
    for (_, folder) in &private {
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let place = shop.place();
    let mark = format!("MARK={top}");
    let command = |options: &[&str], script: &str| {
        let words = [&["run", "--env", &mark], options, &["--", "sh", "-c", script]].concat();
        let mut command = shop.command_in(&place, &words);
        command.envs(private.iter().map(|(name, folder)| (name, folder))).stdin(Stdio::null());
        command
    };
    shop.says(&["import", &archive, "--name", "tools"]);
    let kinds: [&[&str]; 5] = [
        &["--from", &tree],
        &["--from", &tree, "--profile", "process"],
        &["--from", "tools"],
        &["--from", "tools", "--profile", "process"],
        &["--from", "tools", "--keep", "leaks"],
    ];
    // All work, and take this long, the second time.
    let whole = kinds.map(|options| {
        let took = [(); 2].map(|()| {
            let begun = Instant::now();
            assert_eq!(said(&command(options, "echo in").output().unwrap()), "in\n", "{options:?}");
            begun.elapsed()
        });
        took[1]
    });
    // The kept one has ended.
    let mine = |line: &String| !line.contains(&format!("process {}:", place.pid()));
    wait_for_none(|| remains(&top, "/proc/self/mountinfo").into_iter().filter(mine).collect());
    let table = format!("/proc/{}/mountinfo", place.pid());
    let host = || remains(&top, "/proc/self/mountinfo");
    let boxes = || remains(&top, &table);
    let kept = fs::metadata(shop.store().join("boxes/leaks")).unwrap();
    let (hosts, places, files) = (host(), boxes(), listing(&shop.top()));

    let came_up = tempfile::tempfile().unwrap();
    let mut groups = vec![format!("toolbox-leaks-{:x}-{:x}", kept.dev(), kept.ino())];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..count {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let kind = number % kinds.len();
        let mut child = command(kinds[kind], "echo in; sleep 1000 & setsid sleep 1000 & sleep 1000")
            .stdout(came_up.try_clone().unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        groups.push(format!("toolbox-{}", child.id()));
        // The moments are spread from before there is a box until after its command has begun.
        std::thread::sleep(whole[kind].mul_f64((seed >> 40) as f64 / f64::from(1 << 24)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let new = |found: Vec<String>, before: &[String]| {
        found.into_iter().filter(|line| !before.contains(line)).collect::<Vec<_>>()
    };
    wait_for_none(|| [new(host(), &hosts), new(boxes(), &places)].concat());
    wait_for_none(|| cgroups().into_iter().filter(|name| groups.contains(name)).collect());
    let after = listing(&shop.top());
    let (more, less) = (new(after.clone(), &files), new(files, &after));
    assert!(more.is_empty() && less.is_empty(), "{who:?}: more: {more:#?}, less: {less:#?}");
    let up = came_up.metadata().unwrap().len() as usize / "in\n".len();
    println!("{who:?}: {up} of {count} boxes were up");
    assert!(up > count / 10 && up < count, "only {up} of {count} were up when they were killed, or all");
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
