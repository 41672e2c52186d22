//! Setuid in images gives nothing in a box, whoever has it.
//!
//! Needs Debian's libcap2-bin.

use super::shop::{EVERYBODY, Shop, Who};
use super::*;
use std::os::unix::fs::MetadataExt;

#[test]
fn layers_of_kept_boxes_are_closed_to_others_too() {
    let shop = Shop::new(Who::Root);
    shop.keeps("one", "cp /bin/busybox /bin/busybox-set; chmod 4755 /bin/busybox-set");
    shop.assert_ended("one");
    let boxes = shop.store().join("boxes");
    let program = boxes.join("one/upper/bin/busybox-set");
    assert_eq!(program.metadata().unwrap().mode() & 0o7777, 0o4755);
    // Everything above it is open, as an older version or a person may have left it.
    for folder in [shop.store(), boxes.clone(), boxes.join("one"), boxes.join("one/upper")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let reached = || Command::new(&program).arg("true").uid(NOBODY).gid(NOBODY).status();
    assert!(reached().unwrap().success());
    shop.says(&["ls"]);
    assert_eq!(reached().unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
fn setuid_and_capabilities_of_an_image_give_nothing_in_a_box() {
    for who in EVERYBODY {
        let shop = Shop::new(who);
        let (root, archive) = (shop.root.path(), shop.top().join("a.tar").display().to_string());
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\ntester:x:42:42::/:/bin/sh\n").unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\ntester:x:42:\n").unwrap();
        // su(1) of busybox says so when it has no rights; it looks at the name that it is called by.
        fs::copy("/bin/busybox", root.join("bin/busybox-set")).unwrap();
        fs::copy("/bin/busybox", root.join("bin/capable")).unwrap();
        let make = format!(
            "set -e; chown -R 0:0 {0}; chmod 4755 {0}/bin/busybox-set; setcap cap_net_raw+ep {0}/bin/capable; \
             tar --xattrs --xattrs-include='*' -C {0} -cf {archive} .",
            root.display()
        );
        said(
            &Command::new("sh")
                .args(["-c", &make])
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .output()
                .unwrap(),
        );
        let output = shop.toolbox(&["import", &archive, "--name", "tools"]);
        said(&output);
        let image: serde_json::Value = serde_json::from_str(&shop.says(&["images", "--json"])).unwrap();
        let tree = shop.store().join("images").join(image[0]["id"].as_str().unwrap()).join("tree/bin");
        let keeps = who == Who::Root;
        assert_eq!(tree.join("busybox-set").metadata().unwrap().mode() & 0o7000 != 0, keeps, "{who:?}");
        let mut getcap = Command::new("getcap");
        getcap.arg(tree.join("capable")).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let capability = said(&getcap.output().expect("install libcap2-bin"));
        assert_eq!(!capability.is_empty(), keeps, "{who:?}: {capability}");
        assert_eq!(!complaint(&output).contains("1 files lost setuid or setgid"), keeps, "{output:?}");
        // As another user of the box, where it can have one.
        let script = "busybox-set su root -c id 2>&1 </dev/null; grep -E 'NoNewPrivs' /proc/self/status";
        let script = match who {
            Who::User => script.to_owned(),
            _ => format!("su -s /bin/sh tester -c \"{script}\""),
        };
        let text = shop.says(&["run", "--from", "tools", "--", "sh", "-c", &script]);
        assert!(text.contains("NoNewPrivs:\t1"), "{who:?}: {text}");
        // A user with one id is root within, and nobody else can be.
        assert_eq!(text.contains("must be suid"), who != Who::User, "{who:?}: {text}");
    }
}
