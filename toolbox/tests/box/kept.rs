//! Kept boxes: what stays of them, who is in them, and what may happen to them meanwhile.

use super::terminal::Person;
use super::*;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Who has the boxes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Root,
    /// With one id.
    User,
    /// With a thousand more, by newuidmap.
    Ranges,
}

const EVERYBODY: [Who; 3] = [Who::Root, Who::User, Who::Ranges];

/// A root, and a store of the test's own.
struct Shop {
    root: Root,
    who: Who,
}

impl Shop {
    fn new(who: Who) -> Self {
        let shop = Self { root: Root::new(), who };
        let top = shop.top();
        fs::create_dir(top.join("store")).unwrap();
        if who != Who::Root {
            // Files of others cannot be changed in a user's box.
            let owner = format!("{NOBODY}:{NOBODY}");
            let folders = [top.join("store"), top.join("root")];
            said(&Command::new("chown").args(["-hR", &owner]).args(folders).output().unwrap());
        }
        // A folder of its own: a file that is bound above another goes when somebody replaces that one.
        fs::create_dir(top.join("etc")).unwrap();
        for (name, text) in [
            ("passwd", format!("root:x:0:0::/root:/bin/sh\ntester:x:{NOBODY}:{NOBODY}::/:/bin/sh\n")),
            ("group", format!("root:x:0:\ntester:x:{NOBODY}:\n")),
            ("nsswitch.conf", "passwd: files\ngroup: files\nsubid: files\n".to_owned()),
            ("resolv.conf", "nameserver 192.0.2.1\n".to_owned()),
        ] {
            fs::write(top.join("etc").join(name), text).unwrap();
        }
        shop.gives_ranges();
        shop
    }

    fn gives_ranges(&self) {
        for name in ["subuid", "subgid"] {
            fs::write(self.top().join("etc").join(name), format!("{NOBODY}:700000:1000\n")).unwrap();
        }
    }

    fn top(&self) -> PathBuf {
        self.root.0.path().to_owned()
    }

    fn store(&self) -> PathBuf {
        let store = self.top().join("store");
        if self.who == Who::Root { store } else { store.join("toolbox") }
    }

    /// A program of the test's user, `before` done by root in a mount namespace of its own.
    fn program(&self, before: &str, words: &[&str]) -> Command {
        let top = self.top().display().to_string();
        let user = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --");
        let ranges = format!("mount --bind {top}/etc /etc;");
        let (mounts, user) = match self.who {
            Who::Root => (
                format!("mkdir -p /var/lib/toolbox; mount --bind {top}/store /var/lib/toolbox;"),
                String::new(),
            ),
            Who::User => (String::new(), user),
            Who::Ranges => (ranges, user),
        };
        let script = format!("set -e; {mounts} {before}\nexec {user} \"$@\"");
        let mut command = Command::new("env");
        command
            .args(["--default-signal", "unshare", "--mount", "sh", "-c", &script, "sh"])
            .args(words)
            .env("XDG_DATA_HOME", self.top().join("store"))
            .current_dir(self.top());
        command
    }

    fn command(&self, words: &[&str]) -> Command {
        let program = self.top().join("toolbox").display().to_string();
        self.program("", &[&[program.as_str()], words].concat())
    }

    fn toolbox(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn says(&self, words: &[&str]) -> String {
        said(&self.toolbox(words))
    }

    /// The box is made, if need be, and does this.
    fn keeps(&self, name: &str, script: &str) -> String {
        let from = self.root.path().display().to_string();
        self.says(&["run", "--keep", name, "--from", &from, "--", "sh", "-c", script])
    }

    /// A session that says so when it is there, and ends when its input does.
    fn session(&self, name: &str, code: u8) -> Session {
        let script = format!("echo in; cat >/dev/null; exit {code}");
        let mut child = self
            .command(&["enter", name, "--", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        Session(child)
    }

    fn refuses(&self, words: &[&str], code: i32, text: &str) {
        let output = self.toolbox(words);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(complaint(&output).contains(text), "{}", complaint(&output));
    }

    fn row(&self, name: &str) -> serde_json::Value {
        let rows: serde_json::Value = serde_json::from_str(&self.says(&["ls", "--json"])).unwrap();
        rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
    }

    /// Nothing of a box is on the host but its folder.
    fn assert_ended(&self, name: &str) {
        let top = self.top().display().to_string();
        let found = || {
            let mut found = Vec::new();
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let command = String::from_utf8_lossy(&command).replace('\0', " ");
                if command.contains(&top) {
                    found.push(command);
                }
            }
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            found.extend(mounts.lines().filter(|line| line.contains(&top)).map(str::to_owned));
            for mount in sys::mount::mounts().unwrap().iter().filter(|mount| mount.fs_type == "cgroup2") {
                let folders = fs::read_dir(&mount.target).unwrap().flatten().map(|entry| entry.file_name());
                let mine = folders.filter_map(|folder| folder.into_string().ok());
                found.extend(mine.filter(|folder| folder.starts_with(&format!("toolbox-{name}-"))));
            }
            found
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !found().is_empty() {
            assert!(Instant::now() < deadline, "left: {:#?}", found());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

struct Session(Child);

impl Session {
    fn ends(mut self) -> Option<i32> {
        drop(self.0.stdin.take());
        self.0.wait().unwrap().code()
    }

    /// Ends by what happens to its box: its input stays open.
    fn dies(mut self) -> Option<i32> {
        let _input = self.0.stdin.take();
        self.0.wait().unwrap().code()
    }
}

#[test]
fn a_kept_box_has_its_files_again_and_only_those() {
    for who in EVERYBODY {
        let shop = Shop::new(who);
        let own = "echo new > /bin/new; rm /bin/df; mkdir -m 700 /secret; echo x > /secret/x; chmod 0 /secret/x; \
                   echo kept; cat /root/was 2>/dev/null; (setsid sleep 1000 &)";
        assert_eq!(shop.keeps("files", own), "kept\n", "{who:?}");
        shop.assert_ended("files");
        assert_eq!(
            shop.says(&["enter", "files", "--", "sh", "-c", "cat /bin/new; ls -d / /bin/df; true"]),
            "new\n/\n"
        );
        if who == Who::Ranges {
            shop.says(&["enter", "files", "--", "chown", "-R", "7:8", "/secret"]);
            let meta = fs::metadata(shop.store().join("boxes/files/upper/secret")).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (700_006, 700_007));
        }
        assert_eq!(
            shop.says(&["diff", "files"]),
            "D /bin/df\nA /bin/new\nA /secret\nA /secret/x\n",
            "{who:?}"
        );
        let row = shop.row("files");
        assert_eq!((&row["running"], &row["sessions"], &row["pid"]), (&false.into(), &0.into(), &().into()));
        assert!(
            row["size_bytes"].as_u64().unwrap() >= 8192 && row["created"].as_u64().unwrap() > 1_700_000_000
        );
        // Another box of the same image has nothing of it; neither has the image.
        assert_eq!(shop.keeps("other", "ls /bin/new 2>/dev/null || echo none"), "none\n");
        assert!(!shop.root.path().join("bin/new").exists());
        assert!(shop.says(&["rm", "files"]).contains("removed"), "{who:?}");
        let names: Vec<_> = fs::read_dir(shop.store().join("boxes")).unwrap().flatten().collect();
        assert_eq!(names.len(), 2, "{names:?}");
        shop.refuses(&["enter", "files"], 125, "there is no kept box `files`");
        shop.assert_ended("other");
    }
}

#[test]
fn a_box_is_committed_as_tar_layout_and_image() {
    for who in EVERYBODY {
        let shop = Shop::new(who);
        shop.keeps(
            "done",
            "echo text > /made; mkdir -m 700 /deep; echo x > /deep/x; chmod 0 /deep/x; rm /bin/df",
        );
        if who == Who::Ranges {
            shop.says(&["enter", "done", "--", "chown", "-R", "7:8", "/deep"]);
        }
        let out = shop.top().join("out");
        fs::create_dir(&out).unwrap();
        fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
        for name in ["a.tar", "a.tar.gz", "a.tar.zst"] {
            let path = out.join(name).display().to_string();
            shop.says(&["commit", "done", &path]);
            let listed =
                said(&Command::new("tar").args(["--numeric-owner", "-tvf", &path]).output().unwrap());
            assert!(listed.contains("made\n") && !listed.contains("bin/df\n"), "{listed}");
            let owner = if who == Who::Ranges { "7/8" } else { "0/0" };
            let deep = listed.lines().find(|line| line.ends_with(" deep/x")).unwrap();
            assert!(deep.starts_with("---------- ") && deep.contains(owner), "{deep}");
            shop.refuses(&["commit", "done", &path], 1, "is there already");
        }
        let layout = out.join("layout").display().to_string();
        assert!(shop.says(&["commit", "done", &format!("oci:{layout}:1")]).starts_with("sha256:"));
        let id = shop.says(&["commit", "done", "made:1"]);
        for source in
            [format!("oci:{layout}:1").as_str(), &format!("{layout}/../a.tar.zst"), "made:1", id.trim_end()]
        {
            assert_eq!(shop.says(&["run", "--from", source, "--", "cat", "/made"]), "text\n", "{source}");
        }
        shop.refuses(&["commit", "done", "./none/a.tar"], 1, "none");
        shop.refuses(&["commit", "done", "x/"], 1, "FILE.tar.zst");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 4, "nothing else is left there");
        assert_eq!(fs::read_dir(shop.store().join("tmp")).unwrap().count(), 0);
        shop.assert_ended("done");
    }
}

#[test]
fn an_archive_comes_in_by_standard_input() {
    for who in [Who::Root, Who::User] {
        let shop = Shop::new(who);
        let feed = |bytes: &[u8], words: &[&str]| {
            let mut child = shop
                .command(words)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(bytes).unwrap();
            child.wait_with_output().unwrap()
        };
        let pack = format!("tar -C {} -c . | zstd -q", shop.root.path().display());
        let archive = Command::new("sh").args(["-c", &pack]).output().unwrap().stdout;
        let id = said(&feed(&archive, &["import", "-", "--name", "tools"]));
        assert_eq!(shop.says(&["run", "--from", "tools", "--", "echo", "in"]), "in\n");
        let path = shop.top().join("b.tar.zst");
        fs::write(&path, &archive).unwrap();
        assert_eq!(shop.says(&["import", path.to_str().unwrap()]), id, "the same content is the same image");
        let output = feed(&archive[..archive.len() / 2], &["import", "-", "--name", "half"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let output = feed(b"no archive", &["import", "-"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let images = shop.says(&["images"]);
        assert!(images.lines().count() == 2 && images.contains("standard input"), "{images}");
        assert_eq!(fs::read_dir(shop.store().join("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn a_box_stays_until_its_last_session_ends() {
    for who in EVERYBODY {
        let shop = Shop::new(who);
        shop.keeps("shared", "true");
        let first = shop.session("shared", 3);
        let init = shop.row("shared")["pid"].clone();
        let second = shop.session("shared", 4);
        assert_eq!(shop.row("shared")["sessions"], 2, "{who:?}");
        shop.refuses(&["rm", "shared"], 1, "box `shared` runs, with 2 sessions");
        // They see each other, and are in the box's cgroup.
        let seen = shop.says(&[
            "enter",
            "shared",
            "--",
            "sh",
            "-c",
            "ls /proc | grep -c '^[0-9]'; cat /proc/self/cgroup",
        ]);
        assert!(seen.starts_with("11\n"), "init, three sessions, their shells, and what those run: {seen}");
        assert!(seen.contains("0::/\n") || who != Who::Root, "{seen}");
        assert_eq!(first.ends(), Some(3));
        let row = shop.row("shared");
        assert_eq!((&row["sessions"], &row["pid"]), (&1.into(), &init), "{who:?}");
        assert_eq!(second.ends(), Some(4));
        // As soon as the last has ended, and not a moment later.
        assert_eq!(shop.row("shared")["running"], false, "{who:?}");
        shop.says(&["rm", "shared"]);
        shop.assert_ended("shared");
    }
}

#[test]
fn sessions_have_signals_and_codes_of_their_own() {
    let shop = Shop::new(Who::Root);
    shop.keeps("signals", "true");
    let stays = shop.session("signals", 0);
    for (signal, code) in [("TERM", 143), ("INT", 130), ("USR1", 138)] {
        let mut child = shop
            .command(&["enter", "signals", "--", "sh", "-c", "echo in; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        let signal = format!("SIG{signal}").parse::<nix::sys::signal::Signal>().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
    for (command, code) in [("no-such", 127), ("/bin", 126), ("false", 1)] {
        assert_eq!(shop.toolbox(&["enter", "signals", "--", command]).status.code(), Some(code), "{command}");
    }
    assert_eq!(stays.ends(), Some(0));
    shop.assert_ended("signals");
}

#[test]
fn a_session_ends_with_its_front_and_the_others_stay() {
    for who in EVERYBODY {
        let shop = Shop::new(who);
        for profile in ["view", "process"] {
            let name = format!("killed-{profile}");
            let from = shop.root.path().display().to_string();
            shop.says(&["run", "--keep", &name, "--profile", profile, "--from", &from, "--", "true"]);
            let stays = shop.session(&name, 0);
            let script = "(setsid sleep 1111 &); echo in; exec sleep 1111";
            let mut child = shop
                .command(&["enter", &name, "--", "sh", "-c", script])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            while shop.row(&name)["sessions"] != 1 {
                assert!(Instant::now() < deadline, "the session is still there");
            }
            let left =
                shop.says(&["enter", &name, "--", "sh", "-c", "grep -l '111[1]' /proc/[0-9]*/cmdline; true"]);
            assert!(!left.contains("/proc/1"), "{who:?} {profile}: {left}");
            assert_eq!(stays.ends(), Some(0));
            shop.assert_ended(&name);
        }
    }
}

#[test]
fn terminals_are_each_sessions_own() {
    let shop = Shop::new(Who::Root);
    shop.keeps("terminals", "true");
    let [mut one, mut two] = [(); 2].map(|()| {
        let mut person = Person::at(&shop.command(&["enter", "terminals"]));
        person.sees("# ");
        person
    });
    for (person, name) in [(&mut one, "0"), (&mut two, "1")] {
        person.types("tty; stty size\n");
        person.sees(&format!("/dev/pts/{name}\r\n33 111\r\n"));
        person.sees("# ");
    }
    one.types("exit 5\n");
    assert_eq!(one.leaves(), 5);
    two.types("echo A$((1+1))A; exit 6\n");
    two.sees("A2A");
    assert_eq!(two.leaves(), 6);
    shop.assert_ended("terminals");
}

#[test]
fn of_many_at_once_one_makes_the_box_and_all_are_in_it() {
    for who in EVERYBODY {
        let shop = Shop::new(who);
        let from = shop.root.path().display().to_string();
        let script = "touch /in-$0; until [ $(ls -d /in-* | wc -l) = 6 ]; do sleep 0.02; done; cut -d' ' -f22 /proc/1/stat";
        let children: Vec<Child> = (0..6)
            .map(|number| {
                let number = number.to_string();
                let words = ["run", "--keep", "many", "--from", &from, "--", "sh", "-c", script, &number];
                shop.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let said: Vec<String> =
            children.into_iter().map(|child| said(&child.wait_with_output().unwrap())).collect();
        assert!(said.iter().all(|start| *start == said[0]), "{said:?}");
        assert_eq!(fs::read_dir(shop.store().join("boxes")).unwrap().count(), 2);
        shop.assert_ended("many");
        // As often as it may be: one ends just when the other comes.
        for _ in 0..20 {
            let (one, two) = (
                shop.command(&["enter", "many", "--", "true"]).spawn(),
                shop.toolbox(&["enter", "many", "--", "true"]),
            );
            assert!(one.unwrap().wait().unwrap().success() && two.status.success(), "{two:?}");
        }
        shop.assert_ended("many");
    }
}

#[test]
fn what_is_asked_for_otherwise_is_refused_by_name() {
    let shop = Shop::new(Who::Root);
    let from = shop.root.path().display().to_string();
    let make =
        ["run", "--keep", "limits", "--from", &from, "--env", "A=b", "--cap-drop", "chown", "--", "sh", "-c"];
    let script = "echo $A; grep CapEff /proc/self/status";
    let first = shop.says(&[&make[..], &[script]].concat());
    assert_eq!(shop.says(&["enter", "limits", "--", "sh", "-c", script]), first, "its options are the box's");
    assert_eq!(shop.says(&[&make[..], &[script]].concat()), first);
    for (words, text) in [
        (["--cap-drop", "kill"], "--cap-drop=kill (it was made with --cap-drop=chown)"),
        (["--profile", "net"], "--profile=net (it was made without --profile)"),
        (["--from", "/usr"], "--from dir:/usr (it was made with --from dir:"),
    ] {
        shop.refuses(&[&["run", "--keep", "limits"], &words[..], &["--", "true"]].concat(), 125, text);
    }
    shop.refuses(&["run", "--keep", "new", "--", "true"], 125, "no image is named");
    shop.refuses(
        &["run", "--keep", "new", "--from", &from, "--read-only", "--", "true"],
        125,
        "--read-only contradict",
    );
    shop.refuses(
        &["run", "--keep", "new", "--from", "host", "--", "true"],
        125,
        "the host's own root cannot be kept",
    );
    for wrong in ["../x", "", ".x", "A", "a/b", "a b"] {
        shop.refuses(&["run", "--keep", wrong, "--from", &from, "--", "true"], 2, "cannot be a box's name");
        shop.refuses(&["enter", wrong, "--", "true"], 125, "cannot be a box's name");
    }
    // What is only explained is not made; both ways show the layer.
    let layer = "/var/lib/toolbox/boxes/new/upper, which is kept";
    assert!(shop.says(&["run", "--keep", "new", "--from", &from, "--explain", "--", "true"]).contains(layer));
    assert_eq!(shop.says(&["ls"]).lines().count(), 2);
    let json = shop.says(&["enter", "limits", "--explain", "--json"]);
    assert!(json.contains("\"layer\": \"/var/lib/toolbox/boxes/limits\""), "{json}");
}

#[test]
fn a_killed_box_is_started_again_with_its_files() {
    for who in EVERYBODY {
        let shop = Shop::new(who);
        shop.keeps("again", "echo 1 > /count");
        for (number, which) in ["keeper", "pid", "keeper"].into_iter().enumerate() {
            let session = shop.session("again", 0);
            shop.says(&["enter", "again", "--", "sh", "-c", "echo 1 >> /count"]);
            let pid = shop.row("again")[which].as_i64().unwrap() as i32;
            sys::process::kill(pid, nix::libc::SIGKILL).unwrap();
            assert_eq!(session.dies(), Some(137), "{who:?} {which}");
            shop.assert_ended("again");
            assert_eq!(shop.row("again")["running"], false);
            assert_eq!(
                shop.says(&["enter", "again", "--", "sh", "-c", "wc -l < /count"]),
                format!("{}\n", number + 2)
            );
            shop.assert_ended("again");
        }
        // Told to, a keeper ends its box in order.
        let session = shop.session("again", 0);
        let keeper = shop.row("again")["keeper"].as_i64().unwrap() as i32;
        sys::process::kill(keeper, nix::libc::SIGTERM).unwrap();
        assert_eq!(session.dies(), Some(137));
        shop.assert_ended("again");
    }
}

#[test]
fn records_of_another_boot_or_process_lead_nowhere() {
    let shop = Shop::new(Who::Root);
    shop.keeps("stale", "echo kept > /file");
    let session = shop.session("stale", 0);
    let path = shop.store().join("boxes/stale/lock");
    let text = fs::read_to_string(&path).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    // While it runs, what is not exactly its first process is not joined.
    let own = std::process::id();
    for (key, value, why) in [
        ("boot", serde_json::json!("00000000-0000-0000-0000-000000000000"), "another boot"),
        ("start_ticks", 1.into(), "is not the one"),
        ("pid", own.into(), "is not the one"),
        ("pid_namespace", 1.into(), "another pid namespace"),
    ] {
        let before = record[key].clone();
        record[key] = value;
        fs::write(&path, record.to_string()).unwrap();
        shop.refuses(&["enter", "stale", "--", "true"], 125, why);
        record[key] = before;
    }
    fs::write(&path, &text).unwrap();
    assert_eq!(session.ends(), Some(0));
    shop.assert_ended("stale");
    // When it does not run, what the last boot left is not looked at.
    record["boot"] = "00000000-0000-0000-0000-000000000000".into();
    record["pid"] = own.into();
    for left in [record.to_string(), "{".to_owned(), String::new()] {
        fs::write(&path, left).unwrap();
        assert_eq!(shop.row("stale")["running"], false);
        assert_eq!(shop.says(&["enter", "stale", "--", "cat", "/file"]), "kept\n");
        shop.assert_ended("stale");
    }
    fs::write(&path, "{").unwrap();
    shop.says(&["rm", "stale"]);
}

#[test]
fn the_image_of_a_box_stays_whatever_becomes_of_its_name() {
    let shop = Shop::new(Who::Root);
    let archive = shop.top().join("a.tar").display().to_string();
    let pack = |more: &str| {
        let root = shop.root.path();
        fs::write(root.join("version"), more).unwrap();
        said(
            &Command::new("tar").args(["-C", root.to_str().unwrap(), "-cf", &archive, "."]).output().unwrap(),
        );
    };
    pack("one\n");
    let id = shop.says(&["import", &archive, "--name", "tools"]);
    let id = id.trim_end();
    shop.says(&["run", "--keep", "pinned", "--from", "tools", "--", "sh", "-c", "echo x > /x"]);
    shop.refuses(&["rm", "tools"], 1, "the kept box `pinned` needs image `tools`");
    pack("two\n");
    shop.says(&["import", &archive, "--name", "tools"]);
    assert!(shop.says(&["gc"]).starts_with("0 images"), "the box's image has no name, and stays");
    assert_eq!(shop.says(&["run", "--from", "tools", "--", "cat", "/version"]), "two\n");
    assert_eq!(shop.says(&["enter", "pinned", "--", "cat", "/version", "/x"]), "one\nx\n");
    // Gone all the same: from its source, if that gives the very same.
    toolbox_gone(&shop, id);
    shop.refuses(&["enter", "pinned", "--", "true"], 125, "is gone, and tools has another by now");
    pack("one\n");
    assert_eq!(shop.says(&["import", &archive]).len(), id.len() + 1);
    let restored = shop.toolbox(&["enter", "pinned", "--", "cat", "/version"]);
    // The archive's times make it another; with the very bytes it is the same.
    assert!(restored.status.success() || complaint(&restored).contains("toolbox import"), "{restored:?}");
    shop.assert_ended("pinned");
    shop.says(&["rm", "pinned"]);
}

/// As if somebody had removed it by hand.
fn toolbox_gone(shop: &Shop, id: &str) {
    fs::remove_dir_all(shop.store().join("images").join(id)).unwrap();
}

#[test]
fn the_host_may_change_under_a_box() {
    let shop = Shop::new(Who::Ranges);
    shop.keeps("moved", "mkdir /d; chown 7:8 /d");
    // Its name servers are the host's of now, and its mount points too.
    let host = "echo nameserver 192.0.2.7 > /etc/resolv.conf; mount -t tmpfs none /media;";
    let program = shop.top().join("toolbox").display().to_string();
    let enter = [program.as_str(), "enter", "moved", "--", "cat", "/etc/resolv.conf"];
    assert_eq!(said(&shop.program(host, &enter).output().unwrap()), "nameserver 192.0.2.7\n");
    // Without its ids it is refused, and not opened with files that belong to nobody.
    for change in
        [": > /etc/subuid;", "echo 54321:800000:1000 > /etc/subuid;", "echo 54321:700000:9 > /etc/subgid;"]
    {
        let output = shop.program(change, &enter).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        assert!(complaint(&output).contains("700000"), "{output:?}");
        shop.gives_ranges();
    }
    shop.says(&["enter", "moved", "--", "true"]);
    let path = shop.store().join("boxes/moved/box.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("54321", "54322").replace("\"uid\": 54322", "\"uid\": 7")).unwrap();
    shop.refuses(&["enter", "moved", "--", "true"], 125, "was made by user 7, and this is user 54321");
    fs::write(&path, text.replace("\"options\": []", "\"options\": [\"--of-tomorrow\"]")).unwrap();
    shop.refuses(&["enter", "moved", "--", "true"], 125, "options that this program does not know");
    fs::write(&path, "{").unwrap();
    shop.refuses(&["enter", "moved", "--", "true"], 125, "box.json");
    shop.refuses(&["ls"], 1, "box.json");
    fs::write(&path, text).unwrap();
    shop.says(&["rm", "moved"]);
    shop.assert_ended("moved");
}

#[test]
fn a_full_disk_costs_no_box_and_no_file() {
    let root = Root::new();
    let top = root.0.path().display().to_string();
    let script = format!(
        "set -e; mkdir -p /var/lib/toolbox; mount -t tmpfs -o size=4m,mode=700 none /var/lib/toolbox
        t={top}/toolbox
        $t run --keep full --from {top}/root -- sh -c 'echo kept > /kept; dd if=/dev/zero of=/big bs=64k 2>&1; true' > {top}/said
        grep -q 'No space left' {top}/said
        $t enter full -- sh -c 'cat /kept; echo new > /new || echo refused'
        if $t commit full /var/lib/toolbox/a.tar 2> {top}/said; then exit 7; fi
        grep -q 'nothing was left of it' {top}/said
        if $t commit full image 2> {top}/said; then exit 8; fi
        $t run --keep second --from {top}/root -- true 2> {top}/said || echo no room
        $t enter full -- sh -c 'rm /big; echo new > /new; cat /kept /new'
        $t gc > /dev/null
        ls -A /var/lib/toolbox /var/lib/toolbox/tmp"
    );
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    let said = said(&output);
    let lines: Vec<&str> = said.lines().filter(|line| !["refused", "no room"].contains(line)).collect();
    let listed = ["boxes", "format", "images", "index", "lock", "tmp", "", "/var/lib/toolbox/tmp:"];
    assert_eq!(lines, [&["kept", "kept", "new", "/var/lib/toolbox:"][..], &listed].concat(), "{said}");
}

#[test]
fn starts_and_kills_at_any_moment_leave_a_box_that_can_be_entered() {
    let shop = Shop::new(Who::Root);
    shop.keeps("storm", "echo kept > /file");
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let count = if std::env::var_os("SLIPWAY_NIGHTLY").is_some() { 3000 } else { 60 };
    for _ in 0..count {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = shop
            .command(&["enter", "storm", "--", "sh", "-c", "sleep 1000 & sleep 1000"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(seed >> 49));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(shop.says(&["enter", "storm", "--", "cat", "/file"]), "kept\n");
    shop.assert_ended("storm");
}
