//! Plans of options and facts, without any I/O.

use super::*;
use crate::facts::{CgroupPlace, Facts, Image, Range};
use crate::options::{Cli, Options, Profile};
use clap::{CommandFactory, Parser};
use std::collections::BTreeSet;
use std::path::Path;

fn host() -> Facts {
    Facts {
        uid: 0,
        gid: 0,
        user: Some("root".to_owned()),
        ranges: None,
        host_name: "machine.example.org".to_owned(),
        environment: [("TERM", "xterm"), ("LC_ALL", "C.UTF-8"), ("SECRET", "x"), ("TZ", "UTC")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        terminal: false,
        cgroup: Ok(CgroupPlace {
            parent: "/sys/fs/cgroup".into(),
            controllers: ["cpu", "memory", "pids"].map(str::to_owned).into(),
        }),
        unified_cgroups: true,
        files: [
            ("hosts", b"127.0.0.1 localhost\n".to_vec()),
            ("resolv.conf", b"nameserver 1.1.1.1\n".to_vec()),
        ]
        .into(),
        trees: vec!["/var".into()],
        target: Some(Target {
            name: "web".to_owned(),
            pid: 100,
            start_ticks: 5,
            others: vec![Namespace::Mount, Namespace::Net],
            root: "/".into(),
            resolv_conf: Some(b"nameserver 10.0.0.1\n".to_vec()),
        }),
    }
}

fn user() -> Facts {
    let cgroup = Err("the cgroup /x is not delegated to this user".to_owned());
    Facts { uid: 1000, gid: 1000, user: Some("anna".to_owned()), cgroup, ..host() }
}

fn image() -> Image {
    Image {
        name: "/images/tools".to_owned(),
        tree: "/images/tools".into(),
        owner: 1000,
        is_host: false,
        shell: Some("/bin/bash".to_owned()),
        environment: vec![("PATH".to_owned(), "/opt/bin:/bin".to_owned())],
        working_dir: None,
        layer: None,
    }
}

fn options(line: &[&str]) -> Options {
    Cli::try_parse_from([&["toolbox"], line].concat()).unwrap_or_else(|error| panic!("{error}")).options
}

fn plan(line: &[&str], facts: &Facts) -> Result<Plan, Refusal> {
    decide(&options(line), &[], facts, &image())
}

/// Each option, and a use of it that must change the plan or be refused.
const USES: [(&str, &[&str]); 16] = [
    ("profile", &["--profile", "net"]),
    ("share", &["--share", "pid"]),
    ("unshare", &["--unshare", "net"]),
    ("cap_add", &["--cap-add", "net_raw"]),
    ("cap_drop", &["--cap-drop", "chown"]),
    ("mount", &["--mount", "/srv:/srv"]),
    ("memory", &["--memory", "1G"]),
    ("cpus", &["--cpus", "1.5"]),
    ("pids", &["--pids", "100"]),
    ("read_only", &["--read-only"]),
    ("seccomp", &["--seccomp", "off"]),
    ("env", &["--env", "SECRET"]),
    ("workdir", &["--workdir", "/tmp"]),
    ("mount", &["--mount", "/srv:/srv:ro"]),
    ("target", &["--target", "web"]),
    ("report", &["--report"]),
];

/// Those that choose the image, or what is done with the plan: `tests/box` tries them.
const OTHERS: [&str; 5] = ["from", "insecure_registry", "explain", "json", "keep"];

#[test]
fn every_option_changes_the_plan_or_is_refused() {
    for facts in [host(), user()] {
        let plain = plan(&[], &facts).unwrap();
        for (name, line) in USES {
            let changed = plan(line, &facts);
            assert_ne!(changed.as_ref().ok(), Some(&plain), "--{name} is accepted and ignored");
        }
    }
    let tried: BTreeSet<&str> = USES.iter().map(|(name, _)| *name).chain(OTHERS).collect();
    let command = Cli::command();
    let all: BTreeSet<&str> = command.get_arguments().map(|argument| argument.get_id().as_str()).collect();
    assert_eq!(tried, all.into_iter().filter(|name| !["help", "version"].contains(name)).collect());
}

#[test]
fn a_plain_box_sees_and_does_not_touch() {
    let plan = plan(&[], &host()).unwrap();
    assert_eq!(
        plan.namespaces,
        [Namespace::Mount, Namespace::Uts, Namespace::Cgroup, Namespace::Ipc, Namespace::Pid]
    );
    assert!(plan.steps.contains(&Step::Host { target: "/media/root".into(), read_only: true }));
    assert!(!plan.capabilities.has(rustix::thread::CapabilitySet::SYS_ADMIN));
    assert_eq!(
        (plan.host_name.as_str(), plan.command.as_slice()),
        ("machine-toolbox", &["/bin/bash".to_owned()][..])
    );
    assert_eq!(plan.environment.get("LC_ALL").map(String::as_str), Some("C.UTF-8"));
    assert_eq!(plan.environment.get("SECRET"), None);
    assert_eq!(plan.environment.get("PATH").map(String::as_str), Some("/opt/bin:/bin"), "the image's");
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
}

#[test]
fn profiles_give_what_their_task_needs() {
    for (name, profile) in [
        ("view", Profile::View),
        ("net", Profile::Net),
        ("disk", Profile::Disk),
        ("process", Profile::Process),
        ("all", Profile::All),
    ] {
        let plan = plan(&["--profile", name], &host()).unwrap();
        let has = |text: &str| plan.capabilities.names().contains(&text.to_owned());
        let all = profile == Profile::All;
        assert_eq!(has("CAP_NET_ADMIN"), all || profile == Profile::Net, "{name}");
        assert_eq!(has("CAP_SYS_ADMIN"), all || profile == Profile::Disk, "{name}");
        assert_eq!(has("CAP_SYS_PTRACE"), all || profile == Profile::Process, "{name}");
        assert_eq!(!plan.namespaces.contains(&Namespace::Pid), all || profile == Profile::Process, "{name}");
        let devices = plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::Bind { source, .. } if source == Path::new("/dev")));
        assert_eq!(devices, all || profile == Profile::Disk, "{name}");
        assert!(plan.steps.contains(&Step::Host { target: "/media/root".into(), read_only: !all }), "{name}");
    }
}

#[test]
fn a_user_gets_a_namespace_with_one_id_or_with_ranges() {
    let single = plan(&[], &user()).unwrap();
    let one = |outside| vec![IdMap { inside: 0, outside, count: 1 }];
    assert_eq!(single.ids, Some(Ids { users: one(1000), groups: one(1000), by_tools: false }));
    assert!(single.notes.iter().any(|note| note.contains("/etc/subuid")), "{:?}", single.notes);
    assert!(single.notes.iter().any(|note| note.contains("not delegated")), "{:?}", single.notes);
    let foreign = |image: &Image| {
        let plan = decide(&options(&[]), &[], &user(), image).unwrap();
        plan.notes.iter().any(|note| note.contains("belongs to another user"))
    };
    assert!(!foreign(&image()) && foreign(&Image { owner: 0, ..image() }));
    let range = Range { first: 100_000, count: 65_536 };
    let ranged = plan(&[], &Facts { ranges: Some((range, range)), ..user() }).unwrap();
    let ids = ranged.ids.unwrap();
    assert!(ids.by_tools);
    assert_eq!(ids.users[1], IdMap { inside: 1, outside: 100_000, count: 65_536 });
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let text = |line: &[&str], facts: &Facts| plan(line, facts).unwrap_err().to_string();
    assert!(text(&["--share", "net", "--unshare", "net"], &host()).contains("contradict"));
    assert!(text(&["--share", "mount"], &host()).contains("mount namespace"));
    assert!(text(&["--share", "user"], &user()).contains("--share user"));
    assert!(text(&["--profile", "disk"], &user()).contains("block devices"));
    assert!(text(&["--memory", "1G"], &user()).contains("--memory cannot be kept to"));
    assert!(text(&["--mount", "/srv:/proc"], &host()).contains("/proc"));
    assert!(text(&["--workdir", "tmp"], &host()).contains("tmp"));
    let bare = Facts {
        cgroup: Ok(CgroupPlace { parent: "/sys/fs/cgroup".into(), controllers: Vec::new() }),
        ..host()
    };
    assert!(text(&["--pids", "5"], &bare).contains("no controller `pids`"));
    let shellless = Image { shell: None, ..image() };
    let refusal = decide(&options(&[]), &[], &host(), &shellless).unwrap_err();
    assert!(refusal.to_string().contains("toolbox run --from /images/tools --"));
}

#[test]
fn limits_are_files_of_a_cgroup() {
    let plan = plan(&["--memory", "512M", "--cpus", "1.5", "--pids", "64"], &host()).unwrap();
    let limits = [("memory.max", "536870912"), ("cpu.max", "150000 100000"), ("pids.max", "64")]
        .map(|(file, value)| (file.to_owned(), value.to_owned()));
    assert_eq!(plan.cgroup.unwrap().limits, limits);
}

#[test]
fn a_long_host_name_is_cut_between_letters() {
    let facts = Facts { host_name: "ü".repeat(60), ..host() };
    let name = plan(&[], &facts).unwrap().host_name;
    assert!(name.len() <= 64 && name.ends_with("ü-toolbox"), "{name}");
}

#[test]
fn a_plan_is_explained_whole() {
    let plan = plan(&["--unshare", "net", "--mount", "/srv:/data:ro", "--pids", "9"], &host()).unwrap();
    let text = explain(&plan);
    for line in [
        "namespace     net     the box's own\n",
        "namespace     user    the host's\n",
        "root          the host's /srv with what is mounted below at /data, read-only\n",
        "limit         pids.max 9\n",
        "host name     machine-toolbox\n",
        "variable      TERM=xterm\n",
        "command       /bin/bash\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let value: serde_json::Value = serde_json::from_str(&json(&plan).unwrap()).unwrap();
    assert_eq!(value["cgroup"]["limits"][0][1], "9");
    assert_eq!(value["steps"].as_array().unwrap().len(), plan.steps.len());
}

#[test]
fn a_targets_namespaces_are_joined_where_they_are_its_own() {
    let line = ["--target", "web"];
    let joined = plan(&line, &host()).unwrap();
    assert_eq!(joined.joined, [Namespace::Net]);
    assert_eq!(joined.namespaces, [Namespace::Mount, Namespace::Cgroup]);
    assert!(explain(&joined).contains("net     that of web (process 100)"));
    assert!(joined.steps.contains(&Step::Target { target: "/media/target".into(), read_only: true }));
    let resolv = |step: &Step| matches!(step, Step::File { path, content } if path.ends_with("resolv.conf") && content == b"nameserver 10.0.0.1\n");
    assert!(joined.steps.iter().any(resolv));
    assert_eq!(plan(&[&line[..], &["--share", "net"]].concat(), &host()).unwrap().joined, []);
    // A user: not without a user namespace of the target's.
    let refused = plan(&line, &user()).unwrap_err();
    assert_eq!(refused, Refusal::NotJoined("web".to_owned(), Namespace::Net));
    let shared = plan(&["--target", "web", "--share", "net"], &user()).unwrap();
    assert!(shared.notes.iter().any(|note| note.contains("/media/target")), "{:?}", shared.notes);
    let mut apart = user();
    apart.target.as_mut().unwrap().others.push(Namespace::User);
    let joined = plan(&line, &apart).unwrap();
    assert_eq!(joined.joined, [Namespace::Net, Namespace::User]);
    assert_eq!(joined.ids, None);
    // Without the option it is no part of the plan.
    assert_eq!(plan(&[], &host()).unwrap().target, None);
}

#[test]
fn a_session_of_a_kept_box_ends_with_no_report_and_has_no_target() {
    for (line, name) in [(["--report"].as_slice(), "--report"), (&["--target", "web"], "--target")] {
        let line = [&["--keep", "a"], line].concat();
        assert_eq!(plan(&line, &host()).unwrap_err(), Refusal::NotKept(name));
    }
}
