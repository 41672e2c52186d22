//! Debian's `etcdctl` and ours, verb by verb against Debian's etcd: for each a fresh server, the
//! same steps, and then standard output, standard error and exit code compared, with ids, times
//! and sizes masked. Steps that differ are in [`DIFFERENCES`], each with its reason; one that no
//! longer differs is reported as well, so that the table stays true.
//!
//! Needs the packages etcd-server and etcd-client.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Steps whose results differ, and why. The words are those of the step.
const DIFFERENCES: &[(&str, &str)] = &[
    ("version", "each says its own name and version"),
    (
        "lease grant 100 -w protobuf",
        "etcdctl cannot write its own lease types as protobuf; ours writes etcd's message",
    ),
    ("lease revoke {LEASE} -w protobuf", "as with lease grant"),
    (
        "snapshot status {DIR}/snap",
        "etcd's file is a bbolt database, which etcdutl reads; ours reads its own store's",
    ),
    ("get a --nope", "both name the flag; etcdctl prints its manual as well"),
    ("nope", "both name the command; etcdctl says it twice and guesses"),
    ("get a --limit=abc", "both refuse the value in the same words; etcdctl prints its manual as well"),
    ("get a --command-timeout=nonsense", "both refuse the value; etcdctl prints its manual as well"),
    ("txn-flag", "both refuse the line; etcdctl prints a manual as well"),
    ("alarm list -w fields", "etcdctl panics; ours prints a header of zeros, as etcd's client gives it none"),
    ("txn-unknown-operator", "etcdctl 3.4 panics; ours refuses the comparison with exit code 3"),
    ("txn-lease", "etcdctl 3.4 drops the key of a lease comparison and panics"),
    ("get a --count-only", "a flag of etcdctl 3.5 and later, which only -w fields can show"),
    ("auth status", "a verb of etcdctl 3.5 and later"),
    ("get a --discovery-srv=nowhere.invalid", "ours has no SRV records, and says so by the flag's name"),
];

/// One step: its words, and what it reads.
struct Step {
    words: &'static str,
    input: &'static str,
    /// For steps whose words are not enough to tell them apart.
    name: Option<&'static str>,
}

const fn step(words: &'static str) -> Step {
    Step { words, input: "", name: None }
}

const fn reads(name: &'static str, words: &'static str, input: &'static str) -> Step {
    Step { words, input, name: Some(name) }
}

const KEYS: &[Step] = &[
    step("put a one"),
    step("put b two"),
    step("put c 3"),
    step("put a four --prev-kv"),
    step("put a five --prev-kv -w json"),
    step("put a six --prev-kv -w fields"),
    step("put a seven -w protobuf"),
    step("put a x -w table"),
    step("put a x -w nonsense"),
    step("put"),
    step("put a b --ignore-value"),
    step("put a --ignore-value"),
    step("put nothere --ignore-value"),
    step("put a x --lease=zz"),
    step("put a x --lease=1234"),
    reads("put-stdin", "put s", "from input\n"),
    step("put s"),
    step("get s"),
    step("put d -- -dash"),
    step("get d"),
    step("get"),
    step("get a"),
    step("get a --hex"),
    step("get a -w json"),
    step("get a -w fields"),
    step("get a -w protobuf"),
    step("get a -w table"),
    step("get a c"),
    step("get a --prefix"),
    step("get --prefix="),
    step("get b --from-key"),
    step("get a b c --prefix"),
    step("get a --prefix --from-key"),
    step("get a z --sort-by=value --order=descend"),
    step("get a z --sort-by=MODIFY"),
    step("get a z --sort-by=nonsense"),
    step("get a z --order=sideways"),
    step("get a z --limit=2 -w fields"),
    step("get a z --keys-only"),
    step("get a z --print-value-only"),
    step("get a --print-value-only -w json"),
    step("get a --rev=2"),
    step("get a --rev=9999"),
    step("get a --consistency=s"),
    step("get a --consistency=x"),
    step("get zzz"),
    step("get zzz -w json"),
    step("get zzz -w fields"),
    step("get a --count-only"),
    step("get a --nope"),
    step("get a --limit=abc"),
    step("get a --command-timeout=nonsense"),
    step("nope"),
    step("get a --discovery-srv=nowhere.invalid"),
    step("del"),
    step("del a b c"),
    step("del b c --prefix"),
    step("del zzz"),
    step("del b --prev-kv"),
    step("del c -w json --prev-kv"),
    step("del d --prev-kv -w fields"),
    step("del a --prefix --from-key"),
    step("del s --from-key"),
    step("compaction"),
    step("compaction abc"),
    step("compaction 3"),
    step("compaction 3"),
    step("compaction 99999"),
    step("compaction 5 --physical"),
    step("get a --rev=2"),
    step("watch"),
    step("watch a b --prefix"),
    step("watch a --"),
    step("watch a --rev=2"),
];

const TXNS: &[Step] = &[
    step("put a one"),
    reads("txn", "txn", "mod(\"a\") > \"0\"\n\nput a \"two words\"\nget a\ndel zz\n\nget b\n\n"),
    reads("txn-interactive", "txn -i", "value(\"a\") = \"two words\"\n\nget a\n\n\n"),
    reads(
        "txn-failure",
        "txn",
        "ver(\"a\") = \"99\"\nc(\"a\") != \"0\"\n\nput a x\n\nget a\nput b 'q r'\n\n",
    ),
    reads("txn-json", "txn -w json", "create(\"a\") > \"0\"\n\nput a y\nget a\ndel b\n\n\n"),
    reads(
        "txn-fields",
        "txn -w fields",
        "val(\"a\") < \"zzz\"\n\nput a z --prev-kv\nget a\ndel b --prev-kv\n\n\n",
    ),
    reads("txn-protobuf", "txn -w protobuf", "\nget a\n\n\n"),
    reads("txn-table", "txn -w table", "\nget a\n\n\n"),
    reads("txn-nothing", "txn", ""),
    reads("txn-cut", "txn", "mod(\"a\") > \"0\"\n"),
    reads("txn-not-a-compare", "txn", "hello\n\n\n\n"),
    reads("txn-target", "txn", "size(\"a\") > \"0\"\n\n\n\n"),
    reads("txn-number", "txn", "mod(\"a\") > \"x\"\n\n\n\n"),
    reads("txn-verb", "txn", "\nputt a b\n\n\n"),
    reads("txn-one-word", "txn", "\nget\n\n\n"),
    reads("txn-flag", "txn", "\nget a --nope\n\n\n"),
    reads("txn-twice", "txn", "\nput a 1\nput a 2\n\n\n"),
    reads("txn-unknown-operator", "txn", "mod(\"a\") ! \"0\"\n\n\n\n"),
    reads("txn-lease", "txn", "lease(\"a\") = \"0\"\n\nget a\n\n\n"),
    step("txn more"),
];

const LEASES: &[Step] = &[
    step("lease grant"),
    step("lease grant abc"),
    step("lease grant 100"),
    step("lease grant 100 -w json"),
    step("lease grant 100 -w fields"),
    step("lease grant 100 -w table"),
    step("lease grant 100 -w protobuf"),
    step("put held x --lease={LEASE}"),
    step("put held --ignore-lease y"),
    step("lease list"),
    step("lease list -w json"),
    step("lease list -w fields"),
    step("lease timetolive {LEASE}"),
    step("lease timetolive {LEASE} --keys"),
    step("lease timetolive {LEASE} --keys -w json"),
    step("lease timetolive {LEASE} -w json"),
    step("lease timetolive {LEASE} --keys -w fields"),
    step("lease timetolive 123"),
    step("lease timetolive 123 -w json"),
    step("lease timetolive xyz"),
    step("lease timetolive"),
    step("lease keep-alive --once {LEASE}"),
    step("lease keep-alive --once {LEASE} -w json"),
    step("lease keep-alive --once {LEASE} -w fields"),
    step("lease keep-alive --once 123"),
    step("lease keep-alive 123"),
    step("lease revoke 123"),
    step("lease revoke"),
    step("lease revoke {LEASE} -w json"),
    step("get held"),
    step("lock"),
    step("lock name true"),
    step("lock name false"),
    step("lock name -- sh -c 'exit 3'"),
    step("elect"),
    step("elect name"),
    step("elect name value -l"),
];

const MEMBERS: &[Step] = &[
    step("member list"),
    step("member list -w json"),
    step("member list -w fields"),
    step("member list -w table"),
    step("member list -w protobuf"),
    step("member add"),
    step("member add x"),
    step("member add x http://127.0.0.1:1"),
    step("member add x --peer-urls=nonsense"),
    step("member remove"),
    step("member remove xyz"),
    step("member remove 12"),
    step("member update 12"),
    step("member update 12 --peer-urls=http://127.0.0.1:1"),
    step("member promote 12"),
    step("endpoint health"),
    step("endpoint health -w json"),
    step("endpoint health -w fields"),
    step("endpoint health -w table"),
    step("endpoint health --cluster"),
    step("endpoint status"),
    step("endpoint status -w json"),
    step("endpoint status -w fields"),
    step("endpoint status -w table"),
    step("endpoint status -w protobuf"),
    step("endpoint status --cluster"),
    step("endpoint hashkv"),
    step("endpoint hashkv -w json"),
    step("endpoint hashkv -w fields"),
    step("endpoint hashkv -w table"),
    step("endpoint hashkv --cluster --rev=1"),
    step("endpoint hashkv --rev=9999"),
    step("alarm list"),
    step("alarm list -w json"),
    step("alarm list -w fields"),
    step("alarm list more"),
    step("alarm disarm"),
    step("defrag"),
    step("defrag --cluster"),
    step("move-leader"),
    step("move-leader xyz"),
    step("move-leader 12"),
    step("snapshot save"),
    step("snapshot save {DIR}/snap"),
    step("snapshot save {DIR}/no/such/folder"),
    step("snapshot status"),
    step("snapshot status {DIR}/snap"),
    step("snapshot status {DIR}/none"),
    step("make-mirror"),
    step("make-mirror a --dest-prefix=x --no-dest-prefix"),
    step("check perf --load=none"),
    step("version"),
    step("member add second --peer-urls=http://127.0.0.1:{FREE}"),
];

const USERS: &[Step] = &[
    step("put a one"),
    step("user add"),
    step("user add ann:secret"),
    step("user add ann:secret"),
    step("user add :x"),
    step("user add bob --new-user-password=pass -w json"),
    step("user add cert --no-password"),
    reads("user-add-stdin", "user add eve --interactive=false", "word\n"),
    step("user list"),
    step("user list -w json"),
    step("user list -w fields"),
    step("user list more"),
    step("role add"),
    step("role add r1"),
    step("role add r1"),
    step("role add r2 -w fields"),
    step("role list"),
    step("role list -w json"),
    step("role list -w fields"),
    step("role grant-permission r1 read"),
    step("role grant-permission r1 some a"),
    step("role grant-permission r1 read a"),
    step("role grant-permission r1 readwrite b d"),
    step("role grant-permission r1 write pre --prefix"),
    step("role grant-permission r1 write from --from-key"),
    step("role grant-permission r1 write x y --prefix"),
    step("role grant-permission none read a"),
    step("role get r1"),
    step("role get r1 -w json"),
    step("role get r1 -w fields"),
    step("role get none"),
    step("role revoke-permission r1"),
    step("role revoke-permission r1 a"),
    step("role revoke-permission r1 a"),
    step("role revoke-permission r1 b d"),
    step("role revoke-permission r1 from --from-key"),
    step("user grant-role ann"),
    step("user grant-role ann r1"),
    step("user grant-role ann none"),
    step("user get ann"),
    step("user get ann --detail"),
    step("user get ann -w json"),
    step("user get ann -w fields"),
    step("user get none"),
    reads("user-passwd-stdin", "user passwd ann --interactive=false", "other\n"),
    step("user revoke-role ann r1"),
    step("user revoke-role ann r1"),
    step("role grant-permission r1 read a"),
    step("user grant-role ann r1"),
    step("auth status"),
    step("auth enable"),
    step("user add root:rootpass"),
    step("auth enable more"),
    step("auth enable"),
    step("get a"),
    step("get a --user=ann:other"),
    step("get a --user=ann --password=other"),
    step("get a --user=ann:wrong"),
    step("get b --user=ann:other"),
    step("put a x --user=ann:other"),
    step("user list --user=ann:other"),
    step("user list --user=root:rootpass"),
    step("endpoint health --user=ann:other"),
    step("member list --user=ann:other"),
    step("auth disable --user=ann:other"),
    step("auth disable --user=root:rootpass"),
    step("get a"),
    step("user delete bob"),
    step("user delete bob"),
    step("role delete r2"),
    step("role delete r2"),
];

/// Debian's etcd on ports of its own.
struct Etcd {
    child: Child,
    endpoint: String,
    folder: TempDir,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Etcd {
    fn start() -> Self {
        Self::on(free_port(), free_port())
    }

    /// The ids of a server come from its ports.
    fn on(client: u16, peer: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut child = Command::new("etcd")
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcd must be installed: apt-get install etcd-server etcd-client");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready to serve client requests") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "etcd ended before it served");
        }
        // It must not stop at a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, endpoint: client.trim_start_matches("http://").to_owned(), folder }
    }
}

/// What a step did.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Seen {
    code: Option<i32>,
    out: String,
    err: String,
}

struct Run<'a> {
    program: PathBuf,
    etcd: &'a Etcd,
    lease: String,
    free: u16,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Seen {
        let words = step
            .words
            .replace("{LEASE}", &self.lease)
            .replace("{DIR}", self.etcd.folder.path().to_str().unwrap())
            .replace("{FREE}", &self.free.to_string());
        let mut args: Vec<String> = Vec::new();
        for (index, part) in words.split('\'').enumerate() {
            if index % 2 == 1 {
                args.push(part.to_owned());
            } else {
                args.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        // Of the shell's empty argument.
        for arg in &mut args {
            if arg == "--prefix=" {
                "--prefix".clone_into(arg);
            }
        }
        if step.words == "get --prefix=" {
            args.push(String::new());
        }
        let mut child = Command::new(&self.program)
            .args(&args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", &self.etcd.endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcdctl must be installed: apt-get install etcd-client");
        // A program that has refused already reads no more.
        let _closed = child.stdin.take().unwrap().write_all(step.input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let out = match String::from_utf8(output.stdout) {
            Ok(text) => text,
            Err(error) => format!("{:02x?}", error.into_bytes()),
        };
        let granted = out.contains("granted with") && !out.contains("remaining");
        if let Some(id) =
            out.strip_prefix("lease ").and_then(|rest| rest.split(' ').next()).filter(|_| granted)
        {
            id.clone_into(&mut self.lease);
        }
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        // etcd's client logs there, in JSON; ours says the cause as a hint.
        let said = |line: &&str| !line.starts_with("{\"level\"") && !line.starts_with("hint: ");
        let err: String = err.lines().filter(said).map(|line| format!("{line}\n")).collect();
        Seen { code: output.status.code(), out: self.masked(&out), err: self.masked(&err) }
    }

    /// Ids, times, ports and sizes are each server's own.
    fn masked(&self, text: &str) -> String {
        let text = text.replace(&self.etcd.endpoint, "{ENDPOINT}");
        let text = text.replace(self.etcd.folder.path().to_str().unwrap(), "{DIR}");
        let mut masked = String::new();
        let mut word = String::new();
        for letter in text.chars().chain(['\0']) {
            if letter.is_ascii_alphanumeric() || matches!(letter, '.' | 'µ') {
                word.push(letter);
                continue;
            }
            masked.push_str(&mask(&word));
            word.clear();
            if letter != '\0' {
                masked.push(letter);
            }
        }
        masked.lines().map(|line| tidy(line) + "\n").collect()
    }
}

/// Long numbers are ids, hashes or ports; what ends in a unit of time is a time.
fn mask(word: &str) -> String {
    let hex = word.len() >= 14 && word.chars().all(|letter| letter.is_ascii_hexdigit());
    let digits = word.len() >= 5 && word.chars().all(|letter| letter.is_ascii_digit());
    let time = ["ms", "µs", "s"].iter().any(|unit| {
        word.strip_suffix(unit).is_some_and(|number| number.contains('.') && number.parse::<f64>().is_ok())
    });
    if hex || digits || time { "#".to_owned() } else { word.to_owned() }
}

/// Tables are as wide as what is masked in them; numbers beside some words are each server's own.
fn tidy(line: &str) -> String {
    let line = if line.starts_with("+-") {
        "+".to_owned()
    } else {
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let mut line = line;
    for unit in [" kB", " MB"] {
        if let Some((before, rest)) = line.clone().split_once(unit) {
            let before = before.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
            line = format!("{before}#{unit}{rest}");
        }
    }
    for name in ["remaining(", "\"TTL\" : ", "\"ttl\":", "\"dbSizeInUse\":", "\"compact_revision\":"] {
        if let Some((before, rest)) = line.clone().split_once(name) {
            let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '-');
            line = format!("{before}{name}#{rest}");
        }
    }
    line
}

fn compare(steps: &[Step]) {
    let ports = [free_port(), free_port(), free_port()];
    let run = |program: PathBuf| {
        let etcd = Etcd::on(ports[0], ports[1]);
        let mut run = Run { program, etcd: &etcd, lease: String::new(), free: ports[2] };
        steps.iter().map(|step| run.step(step)).collect::<Vec<_>>()
    };
    // One after the other, on the same ports.
    let (theirs, ours) = (run("etcdctl".into()), run(OURS.into()));
    let mut wrong = Vec::new();
    for (step, (expected, seen)) in steps.iter().zip(theirs.into_iter().zip(ours)) {
        let name = step.name.unwrap_or(step.words);
        let known = DIFFERENCES.iter().any(|(known, _)| *known == name);
        if (expected == seen) == known {
            let what = if known { "no longer differs: take it off the table" } else { "differs" };
            wrong.push(format!("{name}: {what}\n etcdctl {expected:?}\n kvctl   {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} steps:\n{}", wrong.len(), steps.len(), wrong.join("\n"));
}

#[test]
fn keys() {
    compare(KEYS);
}

#[test]
fn transactions() {
    compare(TXNS);
}

#[test]
fn leases_locks_elections() {
    compare(LEASES);
}

#[test]
fn members_and_maintenance() {
    compare(MEMBERS);
}

#[test]
fn users_and_roles() {
    compare(USERS);
}

/// Runs until it has printed this many lines, then ends it by SIGTERM or kills it.
fn lines_of(
    program: &str,
    etcd: &Etcd,
    args: &[&str],
    input: &str,
    count: usize,
    meanwhile: impl FnOnce(),
) -> Vec<String> {
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("ETCDCTL_API", "3")
        .env("ETCDCTL_ENDPOINTS", &etcd.endpoint)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    meanwhile();
    let lines: Vec<String> = (&mut lines).take(count).map(|line| line.unwrap()).collect();
    drop(stdin);
    child.kill().unwrap();
    child.wait().unwrap();
    lines
}

const OURS: &str = env!("CARGO_BIN_EXE_kvctl");

fn put(etcd: &Etcd, args: &[&str]) {
    let status = Command::new("etcdctl")
        .args(args)
        .env("ETCDCTL_API", "3")
        .env("ETCDCTL_ENDPOINTS", &etcd.endpoint)
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "{args:?}");
}

#[test]
fn watches_print_the_same() {
    let etcd = Etcd::start();
    put(&etcd, &["put", "w/a", "1"]);
    put(&etcd, &["put", "w/a", "2"]);
    put(&etcd, &["put", "w/b", "3"]);
    put(&etcd, &["del", "w/a"]);
    put(&etcd, &["put", "x", "y"]);
    let cases: &[(&[&str], usize)] = &[
        (&["watch", "w/", "--prefix", "--rev=2"], 12),
        (&["watch", "w/", "--prefix", "--rev=2", "--prev-kv"], 16),
        (&["watch", "w/a", "w/b", "--rev=2"], 9),
        (&["watch", "w/a", "--rev=3", "-w", "fields"], 18),
        (&["watch", "w/", "--prefix", "--rev=2", "-w", "json"], 1),
        (&["watch", "w/b", "--rev=2", "--hex"], 3),
        (&["watch", "w/b", "--rev=2", "--", "sh", "-c", "env | grep ^ETCD_WATCH | sort"], 7),
    ];
    for (args, count) in cases {
        let theirs = lines_of("etcdctl", &etcd, args, "", *count, || {});
        assert_eq!(lines_of(OURS, &etcd, args, "", *count, || {}), theirs, "{args:?}");
        assert_eq!(theirs.len(), *count, "{args:?}");
    }
    let lines = "watch w/b --rev=2\nprogress\n";
    let theirs = lines_of("etcdctl", &etcd, &["watch", "-i"], lines, 3, || {});
    assert_eq!(lines_of(OURS, &etcd, &["watch", "-i"], lines, 3, || {}), theirs);
}

/// Who holds a lock or leads keeps the other program waiting, in both directions.
#[test]
fn locks_and_elections_are_shared_with_etcdctl() {
    let etcd = Etcd::start();
    let start = |program: &str, args: &[&str]| {
        let mut child = Command::new(program)
            .args(args)
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", &etcd.endpoint)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    };
    let end = |mut child: Child| {
        let pid = child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        assert!(child.wait().unwrap().success());
    };
    // What each prints first once it has its turn: a lock's value is empty.
    for (verb, args, printed) in
        [("lock", &["lock", "name"][..], ""), ("elect", &["elect", "name", "me"][..], "me")]
    {
        for (first, second) in [("etcdctl", OURS), (OURS, "etcdctl")] {
            let (holder, mut held) = start(first, args);
            assert!(held.next().unwrap().unwrap().starts_with("name/"), "{verb} {first}");
            assert_eq!(held.next().unwrap().unwrap(), printed);
            let (waiter, mut waits) = start(second, args);
            // The second key under the name says that it is in the queue.
            let begun = Instant::now();
            loop {
                let keys = Command::new("etcdctl")
                    .args(["get", "name/", "--prefix", "--keys-only", "-w", "fields"])
                    .env("ETCDCTL_API", "3")
                    .env("ETCDCTL_ENDPOINTS", &etcd.endpoint)
                    .output()
                    .unwrap();
                if String::from_utf8(keys.stdout).unwrap().contains("\"Count\" : 2") {
                    break;
                }
                assert!(begun.elapsed() < Duration::from_mins(1), "{second} never came to the queue");
            }
            end(holder);
            assert!(waits.next().unwrap().unwrap().starts_with("name/"), "{verb} {second}");
            end(waiter);
        }
    }
}

#[test]
fn a_mirror_follows() {
    let (from, to) = (Etcd::start(), Etcd::start());
    put(&from, &["put", "m/a", "1"]);
    let mut mirror = Command::new(OURS)
        .args(["make-mirror", "--prefix=m/", "--dest-prefix=n/", &to.endpoint])
        .env("ETCDCTL_ENDPOINTS", &from.endpoint)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let seen = lines_of(OURS, &to, &["watch", "n/", "--prefix", "--rev=1"], "", 6, || {
        put(&from, &["put", "m/b", "2"]);
    });
    assert_eq!(seen, ["PUT", "n/a", "1", "PUT", "n/b", "2"]);
    mirror.kill().unwrap();
    mirror.wait().unwrap();
}

#[test]
fn a_flag_and_its_variable_conflict() {
    let output = Command::new(OURS)
        .args(["get", "a", "--endpoints=127.0.0.1:1"])
        .env("ETCDCTL_ENDPOINTS", "127.0.0.1:2")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("conflicting environment variable \"ETCDCTL_ENDPOINTS\""), "{text}");
}

#[test]
fn an_endpoint_that_does_not_answer_is_told_as_etcdctl_tells_it() {
    let args = ["get", "a", "--command-timeout=500ms", "--dial-timeout=200ms", "--endpoints=127.0.0.1:1"];
    let run = |program: &str| {
        let output = Command::new(program).args(args).env("ETCDCTL_API", "3").output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let error = text.lines().find(|line| line.starts_with("Error: ")).map(str::to_owned);
        (output.status.code(), error)
    };
    assert_eq!(run(OURS), run("etcdctl"));
}
