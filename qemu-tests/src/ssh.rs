//! Logging in with Debian's OpenSSH client, by a key of a disk's own.

use crate::Disk;
use slipway::machine::MachineSpec;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A client with its key, and the port of this host that leads to the machine's.
#[derive(Debug, Clone)]
pub struct Ssh {
    folder: PathBuf,
    port: u16,
}

impl Ssh {
    /// Makes a key beside the disk, and chooses a port.
    pub fn new(disk: &Disk) -> Self {
        let folder = disk.folder().to_owned();
        let made = Command::new("ssh-keygen")
            .args(["-qt", "ed25519", "-N", "", "-f"])
            .arg(folder.join("id"))
            .status();
        assert!(made.is_ok_and(|status| status.success()), "ssh-keygen: apt-get install openssh-client");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, port }
    }

    /// The port of this host.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Has the port lead to the machine's port 22.
    pub fn forward(&self, spec: &mut MachineSpec) {
        spec.forwards.push((self.port, 22));
    }

    /// `users:` of a document: `core`, and others with these groups, all with this key.
    pub fn users(&self, others: &[(&str, &str)]) -> String {
        let key = std::fs::read_to_string(self.folder.join("id.pub")).unwrap();
        let mut text = "users:\n".to_owned();
        for (name, groups) in [("core", "")].iter().chain(others) {
            let groups = if groups.is_empty() { String::new() } else { format!("    groups: [{groups}]\n") };
            // Writing into a string does not fail.
            let _ = write!(text, "  - name: {name}\n{groups}    ssh_authorized_keys:\n      - {key}");
        }
        text
    }

    /// The client for one command line, to be run or kept running.
    pub fn command(&self, user: &str, line: &str) -> Command {
        let mut command = Command::new("ssh");
        command
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "ConnectTimeout=60",
                "-p",
                &self.port.to_string(),
            ])
            .args(["-o", "StrictHostKeyChecking=accept-new", "-o", "HostKeyAlias=machine", "-o"])
            .arg(format!("UserKnownHostsFile={}", self.folder.join("known").display()))
            .arg("-i")
            .arg(self.folder.join("id"))
            .args(["-l", user, "127.0.0.1", line]);
        command
    }

    /// As [`Ssh::command`] of `core`, on a terminal of the machine's.
    pub fn on_terminal(&self, line: &str) -> Command {
        let plain = self.command("core", line);
        let mut command = Command::new(plain.get_program());
        command.arg("-tt").args(plain.get_args());
        command
    }

    /// Runs a command line.
    pub fn run(&self, user: &str, line: &str) -> Output {
        self.command(user, line)
            .output()
            .unwrap_or_else(|error| panic!("{error}: apt-get install openssh-client"))
    }

    /// Runs a command line of `core`, which must succeed; gives its stdout.
    pub fn good(&self, line: &str) -> String {
        let output = self.run("core", line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
