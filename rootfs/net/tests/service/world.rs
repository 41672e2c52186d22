//! A machine and its network: two network namespaces with a pair of links between them. The
//! machine has folders of its own for what the service reads and writes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything takes, on a machine with other work.
pub const LONG: Duration = Duration::from_secs(40);

/// Namespaces, kept by a process that ends with the test.
pub struct Space {
    pid: String,
    child: Child,
    _end: ChildStdin,
}

impl Space {
    fn new(prepare: &str) -> Self {
        let script = format!("set -e\n{prepare}\nip link set lo up\necho ready\nexec cat");
        let mut child = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare: apt-get install util-linux");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "namespaces need root, and ip: apt-get install iproute2");
        Self { pid: child.id().to_string(), _end: child.stdin.take().unwrap(), child }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid, "--net", "--mount", "--uts", "--"]).args(words);
        command
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program whose lines are waited for.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: String,
}

impl Program {
    fn start(mut command: Command, stream: fn(&mut Child) -> Box<dyn Read + Send>) -> Self {
        // nsenter becomes the program: it makes no process of its own here.
        let mut child = command.process_group(0).spawn().unwrap();
        let (send, lines) = channel();
        let stream = stream(&mut child);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: String::new() }
    }

    /// Waits for a line with this text, behind the last one that was waited for.
    pub fn wait(&mut self, text: &str) -> String {
        let end = Instant::now() + LONG;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            let _ = writeln!(self.seen, "{line}");
            if line.contains(text) {
                return line;
            }
        }
        panic!("it never says `{text}`:\n{}", self.seen);
    }

    /// Everything that it has said so far.
    pub fn said(&mut self) -> &str {
        for line in self.lines.try_iter() {
            let _ = writeln!(self.seen, "{line}");
        }
        &self.seen
    }

    /// Ends it out of order.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Has it read its files again.
    pub fn hang_up(&self) {
        let done = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        let done = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(done.success());
        assert!(self.child.wait().unwrap().success(), "{}", self.said());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---\n{}", self.said());
        }
    }
}

pub struct World {
    machine: Space,
    network: Space,
    folder: tempfile::TempDir,
}

impl World {
    /// A machine whose `eth0` is connected with `srv0` of the network; both are switched off.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["run", "network", "state"] {
            std::fs::create_dir(root.join(name)).unwrap();
        }
        let shown = root.display();
        let prepare = format!(
            "mkdir -p /etc/systemd/network /var/lib/systemd/network\n\
             mount --bind {shown}/network /etc/systemd/network\nmount --bind {shown}/state /var/lib/systemd/network\n\
             mount --bind {shown}/run /run\nmount -t sysfs sysfs /sys\n\
             mkdir -p /usr/lib/systemd/network /usr/local/lib/systemd/network\n\
             mount -t tmpfs none /usr/lib/systemd/network\nmount -t tmpfs none /usr/local/lib/systemd/network\n\
             touch /run/no-name\nmount --bind /run/no-name /etc/hostname\nhostname localhost"
        );
        let world = Self { machine: Space::new(&prepare), network: Space::new(""), folder };
        world.connect("eth0", "srv0");
        world
    }

    /// Another pair of links between the machine and the network, both off.
    pub fn connect(&self, near: &str, far: &str) {
        let there = self.network.pid.as_str();
        self.ip(&["link", "add", near, "type", "veth", "peer", "name", far, "netns", there]);
    }

    fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file of `/etc/systemd/network`.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file("network").join(name), text).unwrap();
    }

    /// A file of the service, below `/run/systemd/netif`.
    pub fn told(&self, name: &str) -> String {
        std::fs::read_to_string(self.file("run/systemd/netif").join(name)).unwrap_or_default()
    }

    /// The name of a link's file, for [`World::told`].
    pub fn link_file(&self, link: &str) -> String {
        let index = self.ip(&["-o", "link", "show", link]).split(':').next().unwrap().to_owned();
        format!("links/{index}")
    }

    /// A file of the service, below `/var/lib/systemd/network`.
    pub fn saved(&self, name: &str) -> String {
        std::fs::read_to_string(self.file("state").join(name)).unwrap_or_default()
    }

    /// Starts the service.
    pub fn service(&self) -> Program {
        let mut command = self.machine.command(&[env!("CARGO_BIN_EXE_net-applets"), "networkd"]);
        command.stderr(Stdio::piped());
        Program::start(command, |child| Box::new(child.stderr.take().unwrap()))
    }

    /// Runs a program on the machine; gives its output.
    pub fn run(&self, words: &[&str]) -> String {
        output(self.machine.command(words), words)
    }

    /// Runs a program in the network.
    pub fn far(&self, words: &[&str]) -> String {
        output(self.network.command(words), words)
    }

    /// `ip` on the machine.
    pub fn ip(&self, words: &[&str]) -> String {
        self.run(&[&["ip"], words].concat())
    }

    /// `networkctl`.
    pub fn ctl(&self, words: &[&str]) -> String {
        self.run(&[&[env!("CARGO_BIN_EXE_net-applets"), "networkctl"], words].concat())
    }

    /// Waits until a link is configured and has come so far.
    pub fn online(&self, wish: &str) {
        self.run(&[env!("CARGO_BIN_EXE_net-applets"), "networkd-wait-online", "-i", wish, "--timeout=40"]);
    }

    /// Waits until `ip` says this.
    pub fn wait_ip(&self, words: &[&str], holds: impl Fn(&str) -> bool) -> String {
        self.wait_for(|| self.ip(words), holds)
    }

    /// Waits until `ip` in the network says this.
    pub fn wait_far(&self, words: &[&str], holds: impl Fn(&str) -> bool) -> String {
        wait_in(&self.network, || self.far(words), holds)
    }

    fn wait_for(&self, say: impl Fn() -> String, holds: impl Fn(&str) -> bool) -> String {
        wait_in(&self.machine, say, holds)
    }

    /// Runs a program on the machine that may fail; gives its code and its errors.
    pub fn try_run(&self, words: &[&str]) -> (i32, String) {
        let output = self.machine.command(words).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs a program in the network that may fail; gives its code and its output.
    pub fn try_far(&self, words: &[&str]) -> (i32, String) {
        let output = self.network.command(words).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until `networkctl` says this.
    pub fn wait_ctl(&self, words: &[&str], holds: impl Fn(&str) -> bool) -> String {
        self.wait_for(|| self.ctl(words), holds)
    }

    /// Waits until a file of the service says this.
    pub fn wait_told(&self, name: &str, holds: impl Fn(&str) -> bool) -> String {
        self.wait_for(|| self.told(name), holds)
    }

    /// `dnsmasq` as the network's server, with addresses on `srv0` and further options.
    pub fn dnsmasq(&self, addresses: &[&str], options: &[&str]) -> Program {
        for address in addresses {
            self.far(&["ip", "address", "add", address, "dev", "srv0", "nodad"]);
        }
        self.far(&["ip", "link", "set", "srv0", "up"]);
        let leases = format!("--dhcp-leasefile={}", self.file("leases").display());
        let fixed = [
            "dnsmasq",
            "--keep-in-foreground",
            "--log-facility=-",
            "--conf-file=/dev/null",
            "--port=0",
            "--interface=srv0",
            "--bind-interfaces",
            "--log-dhcp",
            "--user=root",
            "--pid-file=",
            &leases,
        ];
        let mut command = self.network.command(&[&fixed[..], options].concat());
        command.stderr(Stdio::piped());
        let mut program = Program::start(command, |child| Box::new(child.stderr.take().unwrap()));
        program.wait("started");
        program
    }

    /// A server in the network, whose log is its standard error or, of those that have only that,
    /// its standard output; waits until it says that it is ready.
    pub fn server(&self, words: &[&str], ready: &str) -> Program {
        // Kea's locks and process files are of one place for all.
        let pids = format!("KEA_PIDFILE_DIR={}", self.folder.path().display());
        let all = [&["env", "KEA_LOCKFILE_DIR=none", &pids][..], words].concat();
        serve_in(&self.network, &all, ready)
    }

    /// A file of a server; gives its path.
    pub fn config(&self, name: &str, text: &str) -> String {
        let path = self.file(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A network behind the router that `srv0` belongs to: its link is `far0`, with the address
    /// 198.51.100.2/24, the router's is `out0`, with 198.51.100.1.
    pub fn beyond(&self) -> Space {
        let other = Space::new("");
        let words =
            ["ip", "link", "add", "out0", "type", "veth", "peer", "name", "far0", "netns", &other.pid];
        self.far(&words);
        self.far(&["ip", "address", "add", "198.51.100.1/24", "dev", "out0"]);
        self.far(&["ip", "link", "set", "out0", "up"]);
        self.far(&["sysctl", "-q", "net.ipv4.ip_forward=1"]);
        for words in [
            &["ip", "address", "add", "198.51.100.2/24", "dev", "far0"][..],
            &["ip", "link", "set", "far0", "up"],
            &["ip", "route", "add", "192.0.2.0/24", "via", "198.51.100.1"],
        ] {
            output(other.command(words), words);
        }
        other
    }

    /// Another machine in the network, with this address.
    pub fn neighbour(&self, address: &str) -> Space {
        let other = Space::new("");
        self.far(&[
            "ip", "link", "add", "link", "srv0", "name", "nbr0", "netns", &other.pid, "type", "macvlan",
            "mode", "bridge",
        ]);
        for words in
            [&["ip", "address", "add", address, "dev", "nbr0"][..], &["ip", "link", "set", "nbr0", "up"]]
        {
            output(other.command(words), words);
        }
        other
    }

    /// The network's namespace.
    pub fn network(&self) -> File {
        File::open(Path::new("/proc").join(&self.network.pid).join("ns/net")).unwrap()
    }
}

/// Starts a server in a namespace and waits until it says that it is ready.
pub fn serve_in(space: &Space, words: &[&str], ready: &str) -> Program {
    let all = [&["sh", "-c", "exec \"$@\" 2>&1", "sh"][..], words].concat();
    let mut command = space.command(&all);
    command.stdout(Stdio::piped());
    let mut program = Program::start(command, |child| Box::new(child.stdout.take().unwrap()));
    program.wait(ready);
    program
}

/// Waits for something that the kernel's news, or the passing of time, bring about.
fn wait_in(space: &Space, say: impl Fn() -> String, holds: impl Fn(&str) -> bool) -> String {
    let mut monitor = space.command(&["ip", "monitor", "link", "address", "route"]);
    monitor.stdout(Stdio::piped());
    let monitor = Program::start(monitor, |child| Box::new(child.stdout.take().unwrap()));
    let end = Instant::now() + LONG;
    loop {
        let said = say();
        if holds(&said) {
            return said;
        }
        assert!(Instant::now() < end, "it only says\n{said}");
        // The monitor may have begun after the change: look again now and then.
        let _ = monitor.lines.recv_timeout(Duration::from_millis(200));
    }
}

fn output(mut command: Command, words: &[&str]) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {}\n{text}{errors}", output.status);
    std::io::stderr().flush().unwrap();
    text
}
