//! A machine of its own for a test: fresh network, mount and host name namespaces.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Namespaces, kept by a process that ends with the test.
pub struct Sandbox {
    keeper: Child,
    pid: u32,
    folder: tempfile::TempDir,
}

impl Sandbox {
    /// One with a host name, whose `/etc/hosts`, `/etc/systemd` and `/run` are its own.
    pub fn new(hostname: &str) -> Self {
        let sandbox = Self::asleep(hostname);
        sandbox.sh("ip link set lo up");
        sandbox
    }

    /// The same, with a loopback that never was up.
    pub fn asleep(hostname: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "run as root: the test makes namespaces");
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "set -e; mount -t tmpfs none /run; mount -t tmpfs none /etc/systemd; \
             echo '10.9.9.9 db.example db' >{0}/hosts; mount --bind {0}/hosts /etc/hosts; \
             hostname {hostname}; echo $$; exec sleep infinity",
            folder.path().display()
        );
        let unshare = ["--net", "--mount", "--uts"];
        let mut keeper = Command::new("unshare")
            .args(unshare)
            .args(["sh", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .expect("install util-linux");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // unshare and sh each become the next program: it is one process.
        let pid =
            line.trim().parse().expect("the namespaces could not be set up: install iproute2, hostname");
        Self { keeper, pid, folder }
    }

    /// A command inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid.to_string(), "-n", "-m", "-u", "--", program]);
        command
    }

    /// Runs a shell command inside; it must succeed. Its output.
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a shell command inside.
    pub fn try_sh(&self, script: &str) -> Output {
        let script =
            format!("resolvectl() {{ {} resolvectl \"$@\"; }}; {script}", env!("CARGO_BIN_EXE_resolve"));
        self.command("sh").args(["-c", &script]).output().unwrap()
    }

    /// A folder that both sides see.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The number of this machine's process 1, outside.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Starts the service with a configuration, and waits until it is ready.
    pub fn resolved(&self, config: &str) -> Service {
        fs::write(self.folder().join("resolved.conf"), format!("[Resolve]\n{config}")).unwrap();
        self.sh(&format!("cp {}/resolved.conf /etc/systemd/", self.folder().display()));
        let socket: PathBuf = self.folder().join("notify");
        let _ = fs::remove_file(&socket);
        let notified = UnixDatagram::bind(&socket).unwrap();
        notified.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let log = fs::File::create(self.folder().join("log")).unwrap();
        // With the capabilities of its unit.
        let mut command = self.command("setpriv");
        command.args(["--bounding-set=-all,+net_bind_service,+net_raw", "--", env!("CARGO_BIN_EXE_resolve")]);
        let child = command.arg("resolved").env("NOTIFY_SOCKET", &socket).stderr(log).spawn().unwrap();
        let mut service = Service(child);
        let mut text = [0; 256];
        let length = notified.recv(&mut text).unwrap_or_else(|error| {
            let _ = service.0.kill();
            panic!("not ready: {error}: {}", self.log())
        });
        assert!(text[..length].starts_with(b"READY=1"));
        service
    }

    /// What the service has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }

    /// Starts a program inside.
    pub fn spawn(&self, program: &str, arguments: &[&str]) -> Service {
        let mut command = self.command(program);
        Service(command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Starts Debian's dnsmasq on an address, and waits until it answers.
    pub fn dnsmasq(&self, address: &str, options: &[&str]) -> Service {
        let mut command = self.command("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
        ]);
        command
            .args(["--bind-interfaces", "--pid-file", &format!("--listen-address={address}")])
            .args(options);
        let service = Service(command.stdin(Stdio::null()).spawn().expect("install dnsmasq-base"));
        let ask = format!("dig +time=1 +tries=30 +short @{address} version.bind CHAOS TXT");
        let answer = self.try_sh(&format!("for i in 1 2 3 4 5 6 7 8 9; do {ask} && exit; done"));
        assert!(answer.status.success(), "install bind9-dnsutils, dnsmasq-base: {answer:?}");
        service
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A process that ends with the test.
pub struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
