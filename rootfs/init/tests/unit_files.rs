//! The search path in a scratch tree: precedence, drop-ins, templates, aliases, masks, links; and the
//! units that the root ships.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use init::unit::config::{BadSetting, Phase, Restart};
use init::unit::install::{self, Change, InstallError};
use init::unit::load::Loader;
use init::unit::preset::{self, Presets};
use init::unit::{Facts, Fault, LoadState, Relation, Unit, UnitName};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = tree.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("-> ") {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, text).unwrap(),
            }
        }
        tree
    }

    fn loader(&self) -> Loader {
        let folders = ["etc", "run", "lib"].map(|name| self.0.path().join(name)).into();
        Loader::new(folders, Facts { hostname: "node1".into(), ..Facts::default() })
    }

    fn load(&self, name: &str) -> Unit {
        self.loader().load(&name_of(name)).unit
    }
}

fn name_of(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

fn related(unit: &Unit, relation: Relation) -> Vec<&str> {
    unit.related(relation).iter().map(UnitName::as_str).collect()
}

#[test]
fn etc_wins_over_run_over_lib_and_drop_ins_apply_by_file_name() {
    let tree = Tree::new(&[
        ("lib/a.service", "[Unit]\nDescription=lib\n[Service]\nExecStart=/lib\nEnvironment=A=1\n"),
        (
            "run/a.service",
            "[Unit]\nDescription=run\nAfter=x.service\n[Service]\nExecStart=/run\nEnvironment=A=1\n",
        ),
        ("lib/a.service.d/20-b.conf", "[Service]\nEnvironment=B=lib\n"),
        ("etc/a.service.d/20-b.conf", "[Service]\nEnvironment=B=etc\n"),
        ("lib/service.d/10-all.conf", "[Service]\nEnvironment=\nEnvironment=ALL=1\n"),
        (
            "etc/a.service.d/30-c.conf",
            "[Unit]\nAfter=y.service\n[Service]\nExecStart=\nExecStart=/new\nRestart=always\n",
        ),
        ("lib/a.service.d/40-gone.conf", "[Service]\nUser=nobody\n"),
        ("etc/a.service.d/40-gone.conf", "-> /dev/null"),
        ("etc/a.service.d/50-no.txt", "[Service]\nUser=nobody\n"),
    ]);
    let unit = tree.load("a.service");
    assert_eq!((unit.description.as_str(), &unit.load_state), ("run", &LoadState::Loaded));
    assert_eq!(related(&unit, Relation::After), ["x.service", "y.service", "sysinit.target", "basic.target"]);
    let service = unit.service.as_ref().unwrap();
    assert_eq!(service.context.environment, [("ALL".into(), "1".into()), ("B".into(), "etc".into())]);
    assert_eq!(service.commands(Phase::Start)[0].program, "/new");
    assert_eq!((service.restart, &service.context.user), (Restart::Always, &None));
    assert_eq!(unit.drop_ins.len(), 3);
}

#[test]
fn templates_aliases_masks_and_wants_folders() {
    let tree = Tree::new(&[
        ("lib/web@.service", "[Unit]\nDescription=Web %I on %H\n[Service]\nExecStart=/web %i\n"),
        ("etc/web@.service.d/1.conf", "[Unit]\nAfter=template.target\n"),
        ("etc/web@a.service.d/1.conf", "[Unit]\nAfter=instance.target\n"),
        ("lib/ssh.service", "[Service]\nExecStart=/ssh\n"),
        ("etc/sshd.service", "-> ../lib/ssh.service"),
        ("etc/off.service", "-> /dev/null"),
        ("lib/off.service", "[Service]\nExecStart=/off\n"),
        ("run/empty.service", ""),
        ("lib/multi.target", "[Unit]\nWants=one.service\n"),
        ("etc/multi.target.wants/web@a.service", "-> /lib/web@.service"),
        ("lib/multi.target.requires/ssh.service", "-> ../ssh.service"),
    ]);
    let web = tree.load("web@a.service");
    assert_eq!(web.description, "Web a on node1");
    assert_eq!(web.service.as_ref().unwrap().commands(Phase::Start)[0].argv, ["/web", "a"]);
    // Of two drop-ins of one file name the more special one is taken.
    assert_eq!(related(&web, Relation::After)[0], "instance.target");
    let sshd = tree.loader().load(&name_of("sshd.service"));
    assert_eq!((sshd.unit.name.as_str(), sshd.alias), ("ssh.service", Some(name_of("sshd.service"))));
    for masked in ["off.service", "empty.service"] {
        assert_eq!(tree.load(masked).load_state, LoadState::Masked);
    }
    assert_eq!(tree.load("gone.service").load_state, LoadState::NotFound);
    let multi = tree.load("multi.target");
    assert_eq!(related(&multi, Relation::Wants), ["one.service", "web@a.service"]);
    assert_eq!(related(&multi, Relation::Requires), ["ssh.service"]);
}

#[test]
fn unknown_is_a_warning_unsupported_and_invalid_are_errors_with_their_lines() {
    let tree = Tree::new(&[(
        "lib/a.service",
        "[Unit]\nDescripton=typo\n[Service]\nExecStart=/a\nRootImage=/x\nRestartSec=soon\n[X-Fleet]\nGlobal=true\n[Nope]\nA=1\nB=2\n",
    )]);
    let unit = tree.load("a.service");
    let found: Vec<(u32, bool, String)> =
        unit.problems.iter().map(|p| (p.line, p.is_error(), p.fault.to_string())).collect();
    assert_eq!(
        found,
        [
            (2, false, "key `Descripton=` is not known in [Unit]".into()),
            (5, true, "key `RootImage=` of [Service] is not supported".into()),
            (6, true, "`RestartSec=soon` is not valid: want a time span such as 5min 20s".into()),
            (10, false, "section [Nope] is not known".into()),
        ]
    );
    assert_eq!(unit.load_state, LoadState::Loaded);
    // What decides how a process runs is never guessed.
    let tree = Tree::new(&[
        ("lib/b.service", "[Service]\nExecStart=/b \"open\n"),
        ("lib/c.swap", "[Swap]\nWhat=/dev/x\n"),
    ]);
    assert!(matches!(tree.load("b.service").load_state, LoadState::BadSetting(BadSetting::Line(_))));
    assert_eq!(tree.load("c.swap").load_state, LoadState::BadSetting(BadSetting::Kind("swap")));
}

#[test]
fn enable_and_disable_make_and_remove_links() {
    let tree = Tree::new(&[
        (
            "lib/a.service",
            "[Service]\nExecStart=/a\n[Install]\nWantedBy=multi.target\nAlias=b.service\nAlso=t@.service\n",
        ),
        ("lib/t@.service", "[Service]\nExecStart=/t\n[Install]\nRequiredBy=%p.target\nDefaultInstance=x\n"),
        ("lib/s.service", "[Service]\nExecStart=/s\n"),
    ]);
    let (loader, etc) = (tree.loader(), tree.0.path().join("etc"));
    let changes = install::enable(&loader, &name_of("a.service"), &etc).unwrap();
    let links = ["multi.target.wants/a.service", "b.service", "t.target.requires/t@x.service"];
    let created: Vec<_> = changes
        .iter()
        .map(|change| match change {
            Change::Created { link, .. } => link.strip_prefix(&etc).unwrap().to_str().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(created, links);
    assert_eq!(install::state(&loader, &tree.load("a.service")), "enabled");
    assert_eq!(related(&tree.load("multi.target"), Relation::Wants), ["a.service"]);
    let again = install::enable(&loader, &name_of("a.service"), &etc).unwrap();
    assert!(again.iter().all(|change| matches!(change, Change::Unchanged(_))));
    let removed = install::disable(&loader, &name_of("a.service"), &etc).unwrap();
    assert_eq!(removed.len(), 3);
    assert_eq!(install::state(&loader, &tree.load("a.service")), "disabled");
    assert_eq!(install::state(&loader, &tree.load("s.service")), "static");
    install::mask(&name_of("s.service"), &etc).unwrap();
    assert!(matches!(install::enable(&loader, &name_of("s.service"), &etc), Err(InstallError::Masked(_))));
    install::unmask(&name_of("s.service"), &etc).unwrap();
    assert_eq!(tree.load("s.service").load_state, LoadState::Loaded);
}

#[test]
fn presets_enable_and_disable() {
    let tree = Tree::new(&[
        ("lib/a.service", "[Service]\nExecStart=/a\n[Install]\nWantedBy=m.target\nUpheldBy=u.target\n"),
        ("lib/b.service", "[Service]\nExecStart=/b\n[Install]\nWantedBy=m.target\n"),
        ("lib/t@.service", "[Service]\nExecStart=/t\n[Install]\nWantedBy=m.target\n"),
        ("lib/s.service", "[Service]\nExecStart=/s\n"),
        ("etc/m.target.wants/b.service", "-> ../../lib/b.service"),
        ("preset/10-x.preset", "disable b.*\nenable t@.service x y\n"),
        ("preset-lib/10-x.preset", "enable b.*\n"),
        ("preset-lib/99-y.preset", "enable *\n"),
    ]);
    let (loader, etc) = (tree.loader(), tree.0.path().join("etc"));
    let presets = Presets::read(&["preset", "preset-lib"].map(|name| tree.0.path().join(name)));
    let names = preset::installable(&loader);
    assert_eq!(names, [name_of("a.service"), name_of("b.service")]);
    for name in names.iter().chain([&name_of("t@.service")]) {
        preset::apply(&loader, &presets, name, &etc).unwrap();
    }
    let multi = tree.load("m.target");
    assert_eq!(related(&multi, Relation::Wants), ["a.service", "t@x.service", "t@y.service"]);
    assert_eq!(related(&tree.load("u.target"), Relation::Upholds), ["a.service"]);
}

#[test]
fn every_type_has_its_dependencies() {
    let tree = Tree::new(&[
        ("lib/a.socket", "[Socket]\nListenStream=/run/a/b.sock\nAccept=no\n"),
        ("lib/b@.socket", "[Socket]\nListenStream=80\nAccept=yes\n"),
        ("lib/a.timer", "[Timer]\nOnCalendar=daily\nUnit=x.target\n"),
        ("lib/a.path", "[Path]\nPathExists=/srv/x\n"),
        ("lib/mnt-my\\x2ddata.mount", "[Mount]\nWhat=LABEL=my data\nWhere=/mnt/my-data\nType=ext4\n"),
        ("lib/net.mount", "[Mount]\nWhat=server:/x\nWhere=/net\nType=nfs\n"),
        ("lib/c.service", "[Service]\nExecStart=/c\nSlice=x-y.slice\nSockets=a.socket\n"),
        ("lib/bad.socket", "[Socket]\nListenStream=localhost:80\n"),
        ("lib/none.timer", "[Timer]\nOnCalendar=daily\nOnBootSec=\n"),
        ("lib/odd.timer", "[Timer]\nOnCalendar=sometimes\n"),
        ("lib/wake.timer", "[Timer]\nOnCalendar=daily\nWakeSystem=yes\n"),
    ]);
    let has = |name: &str, relation, other: &str| {
        assert!(related(&tree.load(name), relation).contains(&other), "{name} {relation:?} {other}");
    };
    has("a.socket", Relation::Triggers, "a.service");
    has("a.socket", Relation::Before, "a.service");
    has("a.socket", Relation::Before, "sockets.target");
    has("a.socket", Relation::RequiresMountsFor, "run-a.mount");
    assert_eq!(related(&tree.load("b@1.socket"), Relation::Triggers), [""; 0]);
    has("a.timer", Relation::Triggers, "x.target");
    has("a.timer", Relation::After, "time-sync.target");
    has("a.path", Relation::RequiresMountsFor, "srv.mount");
    has("mnt-my\\x2ddata.mount", Relation::BindsTo, "dev-disk-by\\x2dlabel-my\\x5cx20data.device");
    has("mnt-my\\x2ddata.mount", Relation::Before, "local-fs.target");
    has("mnt-my\\x2ddata.mount", Relation::Conflicts, "umount.target");
    has("net.mount", Relation::After, "network-online.target");
    has("c.service", Relation::Requires, "x-y.slice");
    has("c.service", Relation::TriggeredBy, "a.socket");
    has("x-y.slice", Relation::Requires, "x.slice");
    has("x.slice", Relation::After, "-.slice");
    let state = |name: &str| tree.load(name).load_state;
    assert!(matches!(state("bad.socket"), LoadState::BadSetting(BadSetting::Line(_))));
    assert!(matches!(state("none.timer"), LoadState::BadSetting(BadSetting::Incomplete(_))));
    assert!(matches!(state("odd.timer"), LoadState::BadSetting(BadSetting::Line(_))));
    let wake = tree.load("wake.timer");
    assert!(matches!(wake.problems[0].fault, Fault::Unsupported { .. }), "{:?}", wake.problems);
}

/// Names of paths against Debian's `systemd-escape`.
#[test]
fn names_are_escaped_as_systemd_does() {
    for path in ["/", "/mnt/my-data", "//a//b/", "/.hidden/x.y", "/srv/ä ö", "/a\\b", "/tmp/%i@:_x"] {
        let output =
            std::process::Command::new("systemd-escape").args(["--path", "--suffix=mount", path]).output();
        let theirs = output.expect("this test needs systemd-escape: apt-get install systemd").stdout;
        let ours = init::unit::mount::mount_name(Path::new(path)).unwrap();
        assert_eq!(ours.as_str(), String::from_utf8(theirs).unwrap().trim(), "{path}");
    }
}

#[test]
fn the_units_of_the_root_are_without_fault() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tree/usr/lib/systemd/system");
    let loader = Loader::new(vec![folder], Facts::default());
    let names = loader.names();
    assert!(names.contains(&name_of("multi-user.target")));
    for name in names {
        let unit = loader.load(&name).unit;
        assert_eq!((&unit.load_state, unit.problems.as_slice()), (&LoadState::Loaded, &[][..]), "{name}");
        for other in unit.related(Relation::Requires) {
            assert_eq!(loader.load(other).unit.load_state, LoadState::Loaded, "{name} requires {other}");
        }
    }
    assert_eq!(loader.load(&name_of("default.target")).unit.name.as_str(), "multi-user.target");
}

proptest::proptest! {
    /// Any bytes as a unit file give a unit and a list of faults, never a panic.
    #[test]
    fn any_bytes_are_a_unit_file(text in "(\\[(Unit|Service|Install|Socket|Timer|Path|Mount)\\]\n([A-Z][A-Za-z]{0,12}|ExecStart|Environment|After|LimitNOFILE|CPUQuota|KillSignal|CapabilityBoundingSet|ListenStream|OnCalendar|OnBootSec|PathExistsGlob|Where|Options)=[ -~]{0,24}\n){0,12}") {
        for kind in ["service", "socket", "timer", "path", "mount"] {
        let mut unit = Unit::new(name_of(&format!("f@x.{kind}")), LoadState::Loaded);
        let faults = init::unit::load::apply_text(&mut unit, Path::new("f"), text.as_bytes(), &Facts::default());
        unit.finish();
        proptest::prop_assert!(faults.iter().all(|p| !matches!(p.fault, Fault::Unit(_))));
        }
    }
}
