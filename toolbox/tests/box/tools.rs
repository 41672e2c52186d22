//! The image of a box when nobody names one.

use super::*;

/// `toolbox run -- COMMAND`, in a mount namespace where /usr/share/toolbox and the store are the test's, so that
/// what this machine has does not count.
fn run(root: &Root, command: &[&str], image: Option<&str>) -> Output {
    let at = root.0.path().display();
    let script = format!(
        "mount -t tmpfs none /usr/share && mkdir -p /var/lib/toolbox {at}/store && \
         mount --bind {at}/store /var/lib/toolbox && exec \"$@\""
    );
    let mut run = Command::new("unshare");
    run.args(["--mount", "sh", "-c", &script, "sh", "env", "--default-signal"]);
    run.arg(root.0.path().join("toolbox")).args(["run", "--"]).args(command);
    run.env_remove("TOOLBOX_IMAGE");
    if let Some(image) = image {
        run.env("TOOLBOX_IMAGE", image);
    }
    run.output().unwrap()
}

#[test]
fn without_an_image_the_tools_are_found_where_they_are() {
    let root = Root::new();
    let none = run(&root, &["true"], None);
    assert_eq!(none.status.code(), Some(125), "{none:?}");
    let told = complaint(&none);
    let beside = root.0.path().join("tools.tar.zst");
    for words in ["$TOOLBOX_IMAGE", "/var/lib/toolbox", "/usr/share/toolbox/tools,", "hint: name an image"] {
        assert!(told.contains(words), "{told}");
    }
    assert!(told.contains(&*beside.to_string_lossy()), "{told}");
    let kept = fs::read_dir(root.0.path().join("store")).unwrap().count();
    assert_eq!(kept, 0, "to look for an image made a store");

    // Beside the program.
    let mut pack = Command::new("tar");
    pack.arg("-C").arg(root.path()).arg("--zstd").arg("-cf").arg(&beside).arg(".");
    said(&pack.output().unwrap());
    assert_eq!(said(&run(&root, &["echo", "beside"], None)), "beside\n");

    // What a person says comes first.
    let path = root.path();
    fs::write(path.join("mark"), "named").unwrap();
    assert_eq!(said(&run(&root, &["cat", "/mark"], path.to_str())), "named");
    let gone = run(&root, &["true"], Some("/nowhere/at/all"));
    assert!(complaint(&gone).contains("/nowhere/at/all"), "{gone:?}");
}
