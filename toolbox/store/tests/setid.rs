//! Programs of root's images that would give their user more rights: nobody else reaches them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{Tar, keep};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use toolbox_store::{Source, Store};

/// `cap_net_raw+ep` as `security.capability` has it (`include/uapi/linux/capability.h`, `vfs_cap_data`).
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A program as a user without rights.
fn other(words: &[&str]) -> Output {
    // setpriv itself still has root's capabilities, when it looks for a program; a shell has not.
    let user = ["--reuid=54321", "--regid=54321", "--clear-groups", "--", "sh", "-c", "exec \"$0\" \"$@\""];
    Command::new("setpriv").args(user).args(words).current_dir("/").output().unwrap()
}

fn assert_closed(tree: &Path) {
    for name in ["id", "cat"] {
        let path = tree.join(name).display().to_string();
        let output = other(&[&path]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(126) && said.contains("Permission denied"), "{output:?}");
    }
}

#[test]
fn other_users_do_not_reach_programs_with_setuid_or_capabilities() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    set_mode(folder.path(), 0o755);
    let program = |name: &str| fs::read(Path::new("/usr/bin").join(name)).unwrap();
    let archive = Tar::default()
        .raw(b'0', b"id", b"", 0o4755, &program("id"))
        .pax(&[("SCHILY.xattr.security.capability", &NET_RAW)])
        .raw(b'0', b"cat", b"", 0o755, &program("cat"));
    let path = folder.path().join("a.tar");
    fs::write(&path, archive.end()).unwrap();
    // A folder that an administrator made, and all may enter.
    let root = folder.path().join("store");
    fs::create_dir(&root).unwrap();
    set_mode(&root, 0o755);
    let store = Store::open(&root).unwrap();
    let held = store.get(&Source::Tar(path), &keep(), &mut |_| ()).unwrap();
    let tree = &held.image.tree;
    assert_closed(tree);

    // Elsewhere they would give rights: with the same bits, where all may enter.
    let copy = folder.path().join("copy");
    let script = format!("cp -a --preserve=all {} {}", tree.display(), copy.display());
    common::run("sh", &["-c", &script], folder.path());
    set_mode(&copy, 0o755);
    let place = copy.display();
    assert_eq!(other(&[&format!("{place}/id"), "-u"]).stdout, b"0\n", "/var/tmp is mounted with nosuid");
    let status = other(&[&format!("{place}/cat"), "/proc/self/status"]).stdout;
    assert!(String::from_utf8_lossy(&status).contains("CapEff:\t0000000000002000\n"));

    // A store that was left open is closed when it is opened next.
    for folder in ["images", "tmp", "index"] {
        set_mode(&root.join(folder), 0o755);
    }
    for above in tree.ancestors().take_while(|above| *above != folder.path()) {
        set_mode(above, 0o755);
    }
    let path = tree.join("id").display().to_string();
    assert_eq!(other(&[&path, "-u"]).stdout, b"0\n", "the way to it is open");
    Store::open(&root).unwrap();
    assert_closed(tree);
}
