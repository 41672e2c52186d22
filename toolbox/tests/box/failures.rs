//! The ways in which sandboxes of this kind fail their users, one by one.

use super::*;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// `toolbox WORDS` of root with a store of its own, which a script prepares in a mount namespace of its own.
fn with_store(root: &Root, prepare: &str, words: &[&str]) -> Command {
    let store = root.0.path().join("store");
    fs::create_dir_all(&store).unwrap();
    let script = format!(
        "mkdir -p /var/lib/toolbox; mount --bind {} /var/lib/toolbox; {prepare} exec \"$@\"",
        store.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]).arg(root.0.path().join("toolbox")).args(words);
    command
}

/// An archive of the root and some MiB that do not compress.
fn archive(root: &Root, mib: usize) -> String {
    let path = root.0.path().join("a.tar").display().to_string();
    let make = format!(
        "head -c {mib}M /dev/urandom > {0}/large; tar -C {0} -cf {path} .; rm {0}/large",
        root.path().display()
    );
    said(&Command::new("sh").args(["-c", &make]).output().unwrap());
    path
}

#[test]
fn an_interrupted_unpack_is_made_good_by_the_next_start() {
    let root = Root::new();
    let path = archive(&root, 60);
    let words = ["run", "--from", path.as_str(), "--", "ls", "/large"];
    let temporary = root.0.path().join("store/tmp");
    let begun = || fs::read_dir(&temporary).is_ok_and(|mut entries| entries.next().is_some());
    for moment in 0..4 {
        let mut child = with_store(&root, "", &words).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !begun() {
            assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "it never began");
            std::thread::yield_now();
        }
        // Different moments of the unpacking, for which there is no event.
        std::thread::sleep(Duration::from_millis(moment * 7));
        child.kill().unwrap();
        child.wait().unwrap();
        leaks::assert_gone(&root);
        assert_eq!(said(&with_store(&root, "", &["images"]).output().unwrap()).lines().count(), 1);
    }
    for _ in 0..2 {
        assert_eq!(said(&with_store(&root, "", &words).output().unwrap()), "/large\n");
        assert_eq!(said(&with_store(&root, "", &["images"]).output().unwrap()).lines().count(), 2, "once");
    }
    said(&with_store(&root, "", &["pull", &path, "--name", "kept"]).output().unwrap());
    said(&with_store(&root, "", &["gc"]).output().unwrap());
    assert!(!begun(), "leftovers after gc");
}

#[test]
fn a_full_disk_is_said_and_a_start_with_room_works() {
    let root = Root::new();
    let path = archive(&root, 20);
    let words = ["run", "--from", path.as_str(), "--", "echo", "in"];
    let output =
        with_store(&root, "mount -t tmpfs -o size=8m none /var/lib/toolbox;", &words).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    for part in ["no space left for the image in /var/lib/toolbox", "\nhint: free space there"] {
        assert!(complaint(&output).contains(part), "{output:?}");
    }
    // The same store, first without room and then with it.
    let again = "mount -t tmpfs -o size=8m none /var/lib/toolbox; \"$@\" 2>/dev/null && exit 99; \
                 mount -o remount,size=64m /var/lib/toolbox;";
    assert_eq!(said(&with_store(&root, again, &words).output().unwrap()), "in\n");
}

#[test]
fn without_a_network_a_registry_is_named_and_the_store_serves() {
    let root = Root::new();
    let path = archive(&root, 1);
    said(&with_store(&root, "", &["pull", &path, "--name", "tools"]).output().unwrap());
    let alone = |words: &[&str]| with_store(&root, "set -- unshare --net \"$@\";", words).output().unwrap();
    // No name server and no route: a registry by number, so that no resolver's patience is waited for.
    let output = alone(&["run", "--from", "192.0.2.1/tools:1", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    for part in ["192.0.2.1", "unreachable", "\nhint: without a network, use an archive"] {
        assert!(complaint(&output).contains(part), "{output:?}");
    }
    assert_eq!(said(&alone(&["run", "--from", "tools", "--", "echo", "in"])), "in\n");
}

#[test]
fn a_read_only_store_serves_what_it_has_and_says_why_not_more() {
    let root = Root::new();
    let path = archive(&root, 1);
    said(&with_store(&root, "", &["pull", &path, "--name", "tools"]).output().unwrap());
    let fixed = |words: &[&str]| {
        with_store(&root, "mount -o remount,bind,ro /var/lib/toolbox;", words).output().unwrap()
    };
    assert_eq!(said(&fixed(&["run", "--from", "tools", "--", "echo", "in"])), "in\n");
    assert_eq!(said(&fixed(&["run", "--from", "tools", "--read-only", "--", "echo", "in"])), "in\n");
    let other = archive(&root, 2);
    let output = fixed(&["run", "--from", &other, "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    for part in ["/var/lib/toolbox", "Read-only file system", "\nhint: "] {
        assert!(complaint(&output).contains(part), "{output:?}");
    }
}

#[test]
fn an_unmount_inside_does_not_reach_the_host() {
    let root = Root::new();
    let mounted = root.0.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let script = format!(
        "mount --make-rshared /; mount -t tmpfs none {mounted}; touch {mounted}/file; \
         before=$(cat /proc/self/mountinfo); \
         \"$@\" -c 'umount /media/root{mounted} && ! ls /media/root{mounted}/file 2>/dev/null && \
         umount -l /media/root; umount -a -l 2>/dev/null; echo done'; \
         ls {mounted}/file; [ \"$before\" = \"$(cat /proc/self/mountinfo)\" ] && echo same",
        mounted = mounted.display()
    );
    for profile in ["disk", "all"] {
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script, "sh"])
            .arg(root.0.path().join("toolbox"))
            .args(["run", "--profile", profile, "--from"])
            .arg(root.path())
            .args(["--", "sh"])
            .output()
            .unwrap();
        assert_eq!(said(&output), format!("done\n{}/file\nsame\n", mounted.display()), "{profile}");
    }
}
