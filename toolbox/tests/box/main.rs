//! Real boxes, as root and as a user, of a root that has only busybox in it.
//!
//! Needs root, and Debian's busybox-static, uidmap and zstd.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod config;
mod escapes;
mod failures;
mod flags;
mod kept;
mod kept_faults;
mod leaks;
mod peers;
mod report;
mod setid;
mod shop;
mod sight;
mod sources;
mod streams;
mod target;
mod terminal;
mod tmux;
mod tools;
mod users;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A user without name, ranges or rights.
const NOBODY: u32 = 54_321;

/// A root with busybox, and beside it the program, where every user can start it.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "run as root");
        let folder = tempfile::Builder::new().prefix("toolbox-test-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_toolbox"), folder.path().join("toolbox")).unwrap();
        let bin = folder.path().join("root/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).expect("install busybox-static");
        let applets = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
        for applet in String::from_utf8(applets).unwrap().lines().filter(|name| *name != "busybox") {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("root")
    }

    /// `toolbox run OPTIONS --from ROOT -- COMMAND`.
    fn command(&self, options: &[&str], command: &[&str]) -> Command {
        // nohup, or a shell in the background, makes its programs ignore signals.
        let mut run = Command::new("env");
        run.arg("--default-signal")
            .arg(self.0.path().join("toolbox"))
            .arg("run")
            .args(options)
            // What whoever runs the tests has set down for itself is not theirs.
            .env("TOOLBOX_CONFIG", "")
            .arg("--from")
            .arg(self.path())
            .arg("--")
            .args(command);
        run
    }

    fn run(&self, options: &[&str], command: &[&str]) -> Output {
        self.command(options, command).output().unwrap()
    }

    /// What a shell script in the box says; it must end well.
    fn says(&self, options: &[&str], script: &str) -> String {
        said(&self.run(options, &["sh", "-c", script]))
    }

    /// The same as a user who is not root.
    fn says_to_user(&self, options: &[&str], script: &str) -> String {
        said(&self.command(options, &["sh", "-c", script]).uid(NOBODY).gid(NOBODY).output().unwrap())
    }
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
