//! What may happen to kept boxes, and what may be asked of them wrongly.

use super::shop::{EVERYBODY, Shop, Who};
use super::*;
use std::process::Stdio;
use std::time::Duration;

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
