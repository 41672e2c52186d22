//! A server with a root folder, a user and a network of its own.

use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// A running server. Dropped, it is killed, and its log is shown when the test failed.
pub struct Machine {
    folder: TempDir,
    /// The user's number: its own, for its cgroups are in the tree that all tests share.
    pub uid: u32,
    server: Option<Child>,
}

/// Runs a program that must be there.
pub fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}; see the head of main.rs for the packages"))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Machine {
    /// A server with this sshd.conf, with user `tester`, whose key opens.
    pub fn start(config: &str) -> Self {
        let machine = Self::prepare(config);
        machine.authorize("tester", &machine.public_key("id"));
        machine.up()
    }

    /// The same, not started yet and without an authorized key.
    pub fn prepare(config: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        unshare(CloneFlags::CLONE_NEWNET).expect("run as root");
        assert!(run(Command::new("ip").args(["link", "set", "lo", "up"])).status.success());
        let folder = tempfile::Builder::new().prefix("sshd").tempdir_in("/tmp").unwrap();
        let uid = 0x1000_0000 + (std::process::id() << 6) + COUNT.fetch_add(1, Ordering::Relaxed);
        let machine = Self { folder, uid, server: None };
        let root = machine.root();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(root.join("etc/ssh/authorized_keys.d")).unwrap();
        fs::write(root.join("etc/ssh/sshd.conf"), config).unwrap();
        let home = machine.home();
        let users = [
            format!("root:x:0:0::{}:/bin/sh", root.join("root").display()),
            format!("tester:x:{uid}:{uid}::{}:/bin/sh", home.display()),
            format!("plain:x:{uid}:{uid}::{}:/none/shell", home.display()),
            format!("closed:x:{uid}:{uid}::{}:/usr/sbin/nologin", home.display()),
        ];
        fs::write(root.join("etc/passwd"), users.join("\n") + "\n").unwrap();
        fs::write(root.join("etc/group"), format!("tester:x:{uid}:\nextra:x:{}:tester\n", uid + 7)).unwrap();
        fs::create_dir_all(&home).unwrap();
        chown(&home, Some(uid), Some(uid)).unwrap();
        // Where the user can run it, wherever it was built.
        fs::copy(env!("CARGO_BIN_EXE_ssh"), root.join("ssh")).unwrap();
        machine.new_key("id", "ed25519");
        machine
    }

    /// Starts the server.
    pub fn up(mut self) -> Self {
        self.restart();
        self
    }

    /// Starts the server, again if it runs; gives when it says that it is ready.
    pub fn restart(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
        let socket = self.root().join("notify");
        let _ = fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.root().join("log")).unwrap();
        let server = Command::new(self.root().join("ssh"))
            .args(["sshd", "--root"])
            .arg(self.root())
            .env("NOTIFY_SOCKET", &socket)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        let mut message = [0; 64];
        let length =
            notify.recv(&mut message).unwrap_or_else(|error| panic!("not ready: {error}\n{}", self.log()));
        assert_eq!(&message[..length], b"READY=1");
        let public = fs::read_to_string(self.root().join("var/lib/ssh/ssh_host_ed25519_key.pub")).unwrap();
        fs::write(self.root().join("known"), format!("127.0.0.1,127.0.0.2,::1,localhost {public}")).unwrap();
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn home(&self) -> PathBuf {
        self.root().join("home/tester")
    }

    pub fn pid(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    /// Tells the server to end, and waits until it has.
    pub fn down(&mut self) {
        let mut server = self.server.take().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(server.id() as i32), nix::sys::signal::SIGTERM)
            .unwrap();
        assert!(server.wait().unwrap().success(), "{}", self.log());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.root().join("log")).unwrap_or_default()
    }

    /// Waits until the log has a line with this.
    pub fn wait_log(&self, needle: &str) {
        wait(needle, || self.log().contains(needle).then_some(()));
    }

    /// Makes a key pair.
    pub fn new_key(&self, name: &str, kind: &str) {
        let path = self.root().join(name);
        let made = run(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f"]).arg(path));
        assert!(made.status.success(), "{made:?}");
    }

    pub fn public_key(&self, name: &str) -> String {
        fs::read_to_string(self.root().join(format!("{name}.pub"))).unwrap().trim().to_owned()
    }

    /// Writes a user's authorized keys.
    pub fn authorize(&self, user: &str, lines: &str) {
        let path = self.root().join("etc/ssh/authorized_keys.d").join(user);
        fs::write(path, format!("{lines}\n")).unwrap();
    }

    /// The options that every client needs.
    pub fn options(&self) -> Vec<String> {
        let root = self.root().display();
        let mut options = vec!["-F".to_owned(), "none".to_owned()];
        for option in [
            format!("UserKnownHostsFile={root}/known"),
            format!("IdentityFile={root}/id"),
            "StrictHostKeyChecking=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
        ] {
            options.extend(["-o".to_owned(), option]);
        }
        options
    }

    /// `ssh` with more options, not started. The user is `tester` unless they say otherwise.
    pub fn client(&self, more: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(more).args(self.options()).args(["-l", "tester", "127.0.0.1"]);
        command.stdin(Stdio::null()).env_remove("SSH_AUTH_SOCK");
        command
    }

    /// Runs a command line by ssh.
    pub fn ssh(&self, more: &[&str], line: &str) -> Output {
        run(self.client(more).arg(line))
    }

    /// The same, which must succeed; gives its stdout.
    pub fn good(&self, more: &[&str], line: &str) -> String {
        let output = self.ssh(more, line);
        assert!(output.status.success(), "{output:?}\n{}", self.log());
        text(&output.stdout)
    }

    /// Runs `loginctl`.
    pub fn loginctl(&self, arguments: &[&str]) -> Output {
        run(Command::new(self.root().join("ssh"))
            .arg("loginctl")
            .arg("--root")
            .arg(self.root())
            .args(arguments))
    }

    /// The server's resident memory in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The cgroups of the user's sessions.
    pub fn scopes(&self) -> Vec<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = ssh::cgroup::mount_point(&mounts).expect("mount a cgroup v2 hierarchy");
        let slice = root.join(format!("user.slice/user-{}.slice", self.uid));
        let entries = fs::read_dir(slice).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        for scope in self.scopes() {
            let _ = ssh::cgroup::kill(&scope);
        }
        if std::thread::panicking() {
            eprintln!("--- log\n{}---", self.log());
        }
    }
}

/// Waits, up to a minute, for what nothing announces.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1200 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("in vain: {what}");
}

/// Reads until a text comes; gives all that came.
pub fn read_until(reader: &mut impl Read, needle: &str) -> String {
    let mut all = Vec::new();
    let mut byte = [0; 1];
    while !text(&all).contains(needle) {
        match reader.read(&mut byte) {
            Ok(1) => all.push(byte[0]),
            other => panic!("`{needle}` never came: {other:?} after {}", text(&all)),
        }
    }
    text(&all)
}
