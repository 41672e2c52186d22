//! Boxes of images that are unpacked first.

use super::*;

/// The same root in many forms; each store is the test's own.
#[test]
fn a_box_is_made_of_every_kind_of_source() {
    let root = Root::new();
    let work = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = work.path().display();
    let make = format!(
        "set -e; cd {at}; tar -C {root} -cf a.tar .; gzip -k a.tar; xz -k a.tar; zstd -q a.tar; \
         truncate -s 16M a.ext4; mkfs.ext4 -q -d {root} a.ext4; \
         truncate -s 20M a.raw; printf 'label: gpt\\nstart=2048, size=32768, name=SLOT-A\\n' | sfdisk -q a.raw; \
         dd if=a.ext4 of=a.raw bs=512 seek=2048 conv=notrunc status=none; qemu-img convert -O qcow2 a.raw a.qcow2",
        root = root.path().display()
    );
    said(
        &Command::new("sh")
            .args(["-c", &make])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap(),
    );
    let toolbox = |words: &[&str]| {
        // Root's store is /var/lib/toolbox: in a mount namespace, that is the test's.
        let script =
            format!("mkdir -p /var/lib/toolbox; mount --bind {at}/store /var/lib/toolbox && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_toolbox")]).args(words);
        command.current_dir(work.path()).output().unwrap()
    };
    fs::create_dir(work.path().join("store")).unwrap();
    for source in ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.zst", "a.ext4", "a.raw#SLOT-A", "a.qcow2#SLOT-A"] {
        let source = format!("./{source}");
        for _ in 0..2 {
            let output = toolbox(&["run", "--from", &source, "--", "sh", "-c", "echo in; touch /bin/new"]);
            assert_eq!(said(&output), "in\n", "{source}");
        }
    }
    assert_eq!(said(&toolbox(&["images"])).lines().count(), 1 + 5, "one for what is the same, unpacked once");
    let id = said(&toolbox(&["pull", "./a.tar", "--name", "tools"]));
    assert_eq!(said(&toolbox(&["run", "--from", "tools", "--", "echo", "named"])), "named\n");
    assert!(said(&toolbox(&["images", "--json"])).contains("\"names\":[\"tools\"]"));
    assert!(said(&toolbox(&["rm", id.trim_end()])).contains("removed"));
    assert!(said(&toolbox(&["gc"])).starts_with("4 images"));
    assert_eq!(said(&toolbox(&["images"])).lines().count(), 1);
    let output = toolbox(&["run", "--from", "./none.tar", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(complaint(&output).contains("none.tar"), "{output:?}");
}
