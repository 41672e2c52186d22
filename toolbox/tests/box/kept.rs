//! Kept boxes: what stays of them, and who is in them.

use super::shop::{EVERYBODY, Shop, Who};
use super::terminal::Person;
use super::*;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

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
