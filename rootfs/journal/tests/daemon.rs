//! The daemon as a process, spoken to by Debian's own programs and by hostile ones; what it wrote
//! is read by Debian's journal tools. Needs root, systemd-cat (systemd), logger (bsdutils) and
//! systemd-journal-remote; without them it fails and says so.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

use journal::daemon::control::{Request, ask};
use journal::daemon::stream::Header;
use journal::sockets::{Purpose, make_one};
use journal::{Entry, Query, Span, read};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use sys::process::{Plan, Stream as ChildStream};

/// The example beside this test binary.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let program = own.parent().unwrap().parent().unwrap().join("examples/journald");
    assert!(program.exists(), "{} is missing: cargo test builds it", program.display());
    program
}

/// A daemon with a folder; dropping it kills it.
struct Journal {
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Journal {
    fn start(config: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root: run it with sudo");
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("conf"), config).unwrap();
        let mut journal = Self { folder, child: None };
        journal.again();
        journal
    }

    /// Starts the daemon, and waits until it is ready.
    fn again(&mut self) {
        let ready = self.path("notify");
        let _ = fs::remove_file(&ready);
        let socket = UnixDatagram::bind(&ready).unwrap();
        let child =
            Command::new(program()).args(self.arguments()).env("NOTIFY_SOCKET", &ready).spawn().unwrap();
        self.child = Some(child);
        let mut buffer = [0; 64];
        let count = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"READY=1");
        fs::remove_file(ready).unwrap();
    }

    fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).to_string_lossy().into_owned();
        let [runtime, folder, config, console] = ["run", "log", "conf", "console"].map(path);
        if !Path::new(&console).exists() {
            File::create(&console).unwrap();
        }
        let named = ["--runtime", &runtime, "--folder", &folder, "--config", &config, "--console", &console];
        named.iter().map(|text| (*text).to_owned()).chain(["--no-kmsg".into()]).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All that was sent until now is in the files.
    fn sync(&self) {
        ask(&self.path("run"), Request::Sync).unwrap();
    }

    fn find(&self, query: &Query) -> Vec<Entry> {
        self.sync();
        read(&self.path("log"), query, Span::default(), false).unwrap().collect()
    }

    fn texts(&self, query: &Query) -> Vec<String> {
        self.find(query).iter().map(|entry| entry.text("MESSAGE")).collect()
    }

    /// A stream as PID 1 makes it.
    fn stream(&self, unit: &str, console: bool) -> UnixStream {
        let mut stream = UnixStream::connect(self.path("run/stdout")).unwrap();
        let header =
            Header { identifier: "test".into(), unit: unit.into(), priority: 6, level_prefix: true, console };
        stream.write_all(&header.encode()).unwrap();
        stream
    }

    /// Runs a shell script in a namespace where this daemon is the machine's.
    fn as_machine(&self, script: &str) -> String {
        let script = format!(
            "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind {} /run/systemd/journal && {script}",
            self.path("run").display()
        );
        let output = Command::new("unshare").args(["--mount", "sh", "-ec", &script]).output();
        let output = output.expect("this test needs unshare (util-linux)");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn end(&mut self) {
        let mut child = self.child.take().unwrap();
        sys::process::kill(child.id().cast_signed(), 15).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn journalctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program());
        command.args(["journalctl", "-q", "-D"]).arg(self.path("log")).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A file in memory, as `sd_journal_sendv(3)` passes a large entry.
fn memory_file(bytes: &[u8]) -> OwnedFd {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let fd = memfd_create(c"entry", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC).unwrap();
    File::from(fd.try_clone().unwrap()).write_all(bytes).unwrap();
    fd
}

fn pass(socket: &Path, fds: &[&OwnedFd]) {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(socket).unwrap();
    let raw: Vec<i32> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    sendmsg::<()>(sender.as_raw_fd(), &[IoSlice::new(b"")], &control, MsgFlags::empty(), None).unwrap();
}

#[test]
fn debians_programs_are_heard_and_debians_tools_read_what_they_said() {
    let mut journal = Journal::start("");
    journal.as_machine(
        "systemd-cat -t cat -p warning printf 'by systemd-cat\\n<3>urgent\\n'; \
         printf 'MESSAGE=by logger\\nMESSAGE_ID=0123456789abcdef0123456789abcdef\\nMY_FIELD=x\\n' | logger --journald; \
         logger --socket /run/systemd/journal/dev-log -t tagged -i -p daemon.notice by syslog",
    );
    let large =
        [b"MESSAGE=large\nBIG\n".as_slice(), &(1_u64 << 20).to_le_bytes(), &vec![7; 1 << 20], b"\n"].concat();
    pass(&journal.path("run/socket"), &[&memory_file(&large)]);
    drop(journal.stream("said.service", false).write_all(b"of a unit\nbinary \x01\xff"));

    let found = |journal: &Journal, name: &str, value: &str| {
        let mut found = journal.find(&Query::field(name, value));
        assert_eq!(found.len(), 1, "{name}={value}: {found:#?}");
        found.remove(0)
    };
    let entry = found(&journal, "MESSAGE", "by systemd-cat");
    let fields = ["PRIORITY", "SYSLOG_IDENTIFIER", "_TRANSPORT", "_UID"].map(|name| entry.text(name));
    assert_eq!(fields, ["4", "cat", "stdout", "0"]);
    for name in ["_PID", "_GID", "_BOOT_ID", "_MACHINE_ID", "_HOSTNAME"] {
        assert!(entry.get(name).is_some_and(|value| !value.is_empty()), "{name}: {entry:?}");
    }
    assert_eq!(found(&journal, "MESSAGE", "urgent").text("PRIORITY"), "3");
    let entry = found(&journal, "MESSAGE_ID", "0123456789abcdef0123456789abcdef");
    assert_eq!(
        ["MY_FIELD", "_TRANSPORT", "MESSAGE"].map(|name| entry.text(name)),
        ["x", "journal", "by logger"]
    );
    let entry = found(&journal, "SYSLOG_IDENTIFIER", "tagged");
    let fields = ["PRIORITY", "SYSLOG_FACILITY", "_TRANSPORT", "MESSAGE"].map(|name| entry.text(name));
    assert_eq!(fields, ["5", "3", "syslog", "by syslog"]);
    assert!(entry.text("SYSLOG_PID").parse::<u32>().unwrap() > 1);
    let entry = found(&journal, "MESSAGE", "large");
    assert_eq!(entry.get("BIG").unwrap(), vec![7; 1 << 20]);
    // This process speaks for itself and lives: everything is known of it.
    let entry = found(&journal, "MESSAGE", "of a unit");
    assert_eq!(entry.text("_SYSTEMD_UNIT"), "said.service");
    assert!(!entry.text("_COMM").is_empty() && entry.text("_EXE").contains("daemon"), "{entry:?}");
    assert_eq!(entry.text("_PID"), std::process::id().to_string());

    assert_eq!(
        journal.journalctl(&["-u", "said", "-n1", "-o", "json"]).matches("\"_LINE_BREAK\":\"eof\"").count(),
        1
    );
    assert_eq!(journal.journalctl(&["-t", "cat", "-o", "cat", "-p", "err"]), "urgent\n");
    assert_eq!(
        journal.journalctl(&["MY_FIELD=x", "+", "SYSLOG_IDENTIFIER=tagged", "-r", "-o", "cat"]),
        "by syslog\nby logger\n"
    );
    journal.end();
    assert_eq!(journal.journalctl(&["--verify"]).matches("PASS").count(), 1);

    // The second opinion.
    let (export, theirs) = (journal.path("export"), journal.path("theirs.journal"));
    fs::write(&export, journal.journalctl_bytes(&["-o", "export"])).unwrap();
    let remote =
        Command::new("/lib/systemd/systemd-journal-remote").arg("-o").arg(&theirs).arg(&export).output();
    let remote =
        remote.expect("this test needs systemd-journal-remote: apt-get install systemd-journal-remote");
    assert!(remote.status.success(), "{}", String::from_utf8_lossy(&remote.stderr));
    let back = Command::new("journalctl")
        .args(["-q", "--all", "-o", "json", "--file"])
        .arg(&theirs)
        .output()
        .unwrap();
    let parse = |text: &[u8]| -> Vec<serde_json::Value> {
        let mut all: Vec<serde_json::Value> =
            String::from_utf8_lossy(text).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for entry in &mut all {
            entry.as_object_mut().unwrap().remove("__CURSOR");
        }
        all
    };
    let (ours, theirs) = (parse(journal.journalctl(&["-o", "json"]).as_bytes()), parse(&back.stdout));
    assert!(ours.len() >= 8);
    assert!(ours == theirs, "ours and theirs differ");
}

impl Journal {
    fn journalctl_bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new(program());
        command.args(["journalctl", "-q", "-D"]).arg(self.path("log")).args(arguments);
        command.output().unwrap().stdout
    }
}

#[test]
fn a_killed_daemon_comes_back_and_says_so() {
    let mut journal = Journal::start("");
    for round in 0..5 {
        journal.stream("a.service", false).write_all(format!("round {round}\n").as_bytes()).unwrap();
        assert_eq!(journal.texts(&Query::field("_SYSTEMD_UNIT", "a.service")).len(), round + 1);
        journal.kill();
        journal.again();
    }
    let told = journal.texts(&Query::field("SYSLOG_IDENTIFIER", "systemd-journald"));
    assert_eq!(told.iter().filter(|text| text.contains("was not closed")).count(), 5, "{told:#?}");
    journal.end();
    assert_eq!(journal.journalctl(&["--verify"]).matches("PASS").count(), 6);
}

#[test]
fn hostile_clients_get_nowhere() {
    let journal = Journal::start("[Journal]\nRateLimitBurst=0\n");
    let (stdout, native, dev_log) =
        (journal.path("run/stdout"), journal.path("run/socket"), journal.path("run/dev-log"));
    let mut open = Vec::new();
    for bytes in [
        &b""[..],
        b"half a hea",
        b"a\nb\nc\nd\ne\nf\ng\n",
        &[b'x'; 5000],
        b"\0\0\0\0",
        b"i\nu\n6\n1\n0\n0\n0\nno end",
    ] {
        let mut stream = UnixStream::connect(&stdout).unwrap();
        let _ = stream.write_all(bytes);
        open.push(stream);
    }
    // One line of a mebibyte, and a million empty ones.
    let mut long = journal.stream("long.service", false);
    long.write_all(&vec![b'y'; 1 << 20]).unwrap();
    long.write_all(&vec![b'\n'; 1 << 20]).unwrap();
    let datagram = UnixDatagram::unbound().unwrap();
    for bytes in [
        &b""[..],
        b"\n\n\n",
        b"=",
        b"MESSAGE",
        b"_PID=1\nMESSAGE=forged\n",
        b"A\n\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0; 1000],
    ] {
        for socket in [&native, &dev_log] {
            datagram.send_to(bytes, socket).unwrap();
        }
    }
    // Descriptors where none belong: a pipe would block whoever reads it.
    let (pipe, _end) = nix::unistd::pipe().unwrap();
    pass(&native, &[&pipe]);
    let many: Vec<OwnedFd> = (0..200).map(|_| pipe.try_clone().unwrap()).collect();
    pass(&native, &many.iter().collect::<Vec<_>>());
    pass(&native, &[&memory_file(&vec![b'z'; 5 << 20])]);
    // A user's connections: more than he may have.
    let mut greedy = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "perl", "-e", PERL])
        .arg(&stdout)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs setpriv (util-linux) and perl");
    greedy.stdout.take().unwrap().read_exact(&mut [0; 4]).unwrap();

    drop(journal.stream("good.service", false).write_all(b"still heard\n"));
    assert_eq!(journal.texts(&Query::field("_SYSTEMD_UNIT", "good.service")), ["still heard"]);
    let lines = journal.find(&Query::field("_SYSTEMD_UNIT", "long.service"));
    assert_eq!(lines.len(), (1_usize << 20).div_ceil(48 << 10));
    assert_eq!(lines[0].text("_LINE_BREAK"), "line-max");
    let forged = journal.find(&Query::field("MESSAGE", "forged"));
    assert_eq!(forged[0].text("_PID"), std::process::id().to_string());
    let told = journal.texts(&Query::field("SYSLOG_IDENTIFIER", "systemd-journald")).join("\n");
    for what in [
        "no stream header",
        "not a file in memory",
        "for no reason",
        "has 5242880 bytes",
        "too many connections",
    ] {
        assert!(told.contains(what), "{what}: {told}");
    }
    let pid = journal.child.as_ref().unwrap().id();
    drop(greedy.stdin.take());
    assert!(greedy.wait().unwrap().success());
    journal.sync();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert!(descriptors < 60, "{descriptors} descriptors are open");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 32 << 10, "the daemon came to {kib} KiB");
}

/// Connects 400 times, says so, and keeps them all until its input ends.
const PERL: &str = "use Socket; for (1..400) { socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; \
                    connect($s, pack_sockaddr_un($ARGV[0])) or die; push @a, $s; } \
                    $| = 1; print 'done'; <STDIN>;";

/// 50 processes at once, 100 lines each.
#[test]
fn a_burst_of_loggers_loses_nothing() {
    let journal = Journal::start("[Journal]\nRateLimitBurst=0\n");
    journal.as_machine(
        "for n in $(seq 50); do seq 100 | logger --socket /run/systemd/journal/dev-log -t burst$n & done; wait",
    );
    for n in 1..=50 {
        let lines = journal.texts(&Query::field("SYSLOG_IDENTIFIER", format!("burst{n}")));
        assert_eq!(lines, (1..=100).map(|line| line.to_string()).collect::<Vec<_>>(), "burst{n}");
    }
}

#[test]
fn a_talkative_unit_is_limited_and_the_rest_counted() {
    let journal = Journal::start("[Journal]\nRateLimitIntervalSec=1s\nRateLimitBurst=100\n");
    let mut talker = journal.stream("talker.service", false);
    talker.write_all(&b"blah\n".repeat(1000)).unwrap();
    journal.stream("quiet.service", false).write_all(b"one word\n").unwrap();
    assert_eq!(journal.texts(&Query::field("_SYSTEMD_UNIT", "quiet.service")), ["one word"]);
    let said = journal.texts(&Query::field("_SYSTEMD_UNIT", "talker.service")).len();
    assert!((100..=300).contains(&said), "{said}");
    // The count comes when the interval is over, without another word of the unit.
    let counted = loop {
        let told = journal.find(&Query::unit("talker.service").and(Query::field("_TRANSPORT", "driver")));
        let sum: usize = told.iter().map(|entry| entry.text("N_DROPPED").parse::<usize>().unwrap()).sum();
        if sum + said >= 1000 {
            break sum;
        }
    };
    assert_eq!(counted + said, 1000);
}

#[test]
fn units_with_the_console_are_seen_there_at_once() {
    let journal = Journal::start("");
    let mut stream = journal.stream("seen.service", true);
    stream.write_all(b"shown\x1b[2J\nhalf").unwrap();
    journal.sync();
    let pid = std::process::id();
    assert_eq!(fs::read_to_string(journal.path("console")).unwrap(), format!("test[{pid}]: shown?[2J\r\n"));
}

/// This test is PID 1: it holds the sockets and stores the streams.
#[test]
fn streams_outlive_the_daemon_when_pid_1_keeps_them() {
    let mut journal = Journal::start("");
    journal.end();
    let (runtime, notify) = (journal.path("run"), journal.path("notify"));
    let names = [("stdout", Purpose::Stdout), ("socket", Purpose::Native), ("dev-log", Purpose::Syslog)];
    let sockets: Vec<OwnedFd> =
        names.map(|(name, purpose)| make_one(&runtime.join(name), purpose).unwrap()).into();
    let from_daemon = UnixDatagram::bind(&notify).unwrap();
    let mut receiver = sys::receive::Receiver::default();
    // Said before there is a daemon.
    let mut stream = journal.stream("kept.service", false);
    stream.write_all(b"early\n").unwrap();

    let mut stored: Vec<OwnedFd> = Vec::new();
    for round in 0..3 {
        let passed: Vec<OwnedFd> = sockets.iter().chain(&stored).map(|fd| fd.try_clone().unwrap()).collect();
        let child = start_with(&journal.arguments(), &notify, &passed);
        stream.write_all(format!("round {round}\n").as_bytes()).unwrap();
        // READY=1, and the first time the stream.
        let mut ready = false;
        while !ready || stored.is_empty() {
            let mut fds = [nix::poll::PollFd::new(from_daemon.as_fd(), nix::poll::PollFlags::POLLIN)];
            nix::poll::poll(&mut fds, 20_000_u16).unwrap();
            let mut buffer = [0; 256];
            let message = receiver.receive(&from_daemon, &mut buffer).expect("a message within 20 s");
            let text = String::from_utf8_lossy(&buffer[..message.count]).into_owned();
            ready |= text == "READY=1";
            if text.starts_with("FDSTORE=1\nFDNAME=stream-") {
                stored.extend(message.descriptors);
            }
        }
        assert_eq!(journal.texts(&Query::field("_SYSTEMD_UNIT", "kept.service")).len(), round + 2);
        sys::process::kill(child, 9).unwrap();
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None).unwrap();
    }
}

fn start_with(arguments: &[String], notify: &Path, passed: &[OwnedFd]) -> i32 {
    let c = |text: &str| CString::new(text).unwrap();
    let program = program().to_string_lossy().into_owned();
    let null = || ChildStream::Open(c("/dev/null"), 2);
    let plan = Plan {
        programs: vec![c(&program)],
        arguments: [program.as_str()]
            .into_iter()
            .chain(arguments.iter().map(String::as_str))
            .map(c)
            .collect(),
        environment: vec![
            c(&format!("NOTIFY_SOCKET={}", notify.display())),
            c(&format!("LISTEN_FDS={}", passed.len())),
        ],
        streams: [null(), null(), null()],
        folders: vec![],
        groups: None,
        user: None,
        owner: (0, 0),
        directory: None,
        umask: 0o022,
        limits: vec![],
        nice: None,
        oom_score_adjust: None,
        no_new_privileges: false,
        bounding_set: None,
        ambient: 0,
        ignore_sigpipe: true,
        isolation: sys::isolation::Isolation::default(),
    };
    let passed: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
    sys::process::spawn_passing(&plan, None, &passed).unwrap().pid
}

/// The library's reader and the program's agree while it is being written.
#[test]
fn a_follower_sees_what_comes() {
    let journal = Journal::start("");
    let mut command = Command::new(program());
    command
        .args(["journalctl", "-q", "-f", "-n0", "-u", "new.service", "-o", "cat", "-D"])
        .arg(journal.path("log"));
    journal.sync();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    // It begins some time from now: until something arrives, speak.
    let mut stream = journal.stream("new.service", false);
    let mut first = [0; 1];
    let reader = std::thread::spawn(move || {
        out.read_exact(&mut first).unwrap();
        first[0]
    });
    while !reader.is_finished() {
        stream.write_all(b"news\n").unwrap();
        journal.sync();
    }
    assert_eq!(reader.join().unwrap(), b'n');
    child.kill().unwrap();
    child.wait().unwrap();
}
