//! `slipway build` as a person runs it: what it refuses and how, that its bytes depend on nothing
//! but its inputs, and that a build which does not end well leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

const SLIPWAY: &str = env!("CARGO_BIN_EXE_slipway");
/// Debian's package systemd-boot-efi.
const BOOT_FILES: &str = "/usr/lib/systemd/boot/efi";

/// A folder with a spec of small inputs that need no package client.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        fs::set_permissions(project.path("."), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, from) in [("loader.efi", "systemd-bootx64.efi"), ("stub.efi", "linuxx64.efi.stub")] {
            let from = Path::new(BOOT_FILES).join(from);
            fs::copy(&from, project.path(name)).unwrap_or_else(|error| {
                panic!("{}: {error}; apt-get install systemd-boot-efi", from.display())
            });
        }
        fs::create_dir_all(project.path("modules/6.1.0-test")).unwrap();
        fs::write(project.path("modules/6.1.0-test/modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        fs::write(project.path("vmlinuz"), b"kernel ".repeat(9000)).unwrap();
        fs::write(project.path("init"), b"init").unwrap();
        fs::create_dir_all(project.path("tree/usr/share")).unwrap();
        fs::write(project.path("tree/usr/share/text"), "hello\n").unwrap();
        std::os::unix::fs::symlink("text", project.path("tree/usr/share/link")).unwrap();
        let noise = (0..3_000_000u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes());
        fs::write(project.path("blob"), noise.collect::<Vec<_>>()).unwrap();
        project.spec("");
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spec(&self, more: &str) {
        let text = format!(
            "name: t
version: 1.0.0
kernel: {{image: vmlinuz, modules: modules/6.1.0-test}}
boot_loader: {{loader: loader.efi, stub: stub.efi}}
modules: {{initramfs: [ext4], root: []}}
init: init
trees: [tree]
files:
  - {{path: /usr/share/blob, source: blob, mode: 0600, owner: 7:8, capabilities: [cap_net_raw]}}
partitions: {{esp: 34M, slot: 32M, state: 16M}}
{more}"
        );
        fs::write(self.path("image.yaml"), text).unwrap();
    }

    /// Changes the spec's text.
    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("image.yaml")).unwrap();
        assert!(text.contains(from));
        fs::write(self.path("image.yaml"), text.replace(from, to)).unwrap();
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(SLIPWAY);
        command.arg(verb).arg(self.path("image.yaml")).env("SLIPWAY_CACHE", self.path("cache"));
        command.stdin(Stdio::null());
        command
    }

    fn build(&self, out: &str) -> Output {
        self.command("build").arg("--quiet").arg("-o").arg(self.path(out)).output().unwrap()
    }

    fn lock(&self) {
        assert_done(&self.command("lock").output().unwrap());
    }

    /// stderr of a build that must fail with this code and leave nothing, the project's folder cut out.
    fn refusal(&self, code: i32) -> String {
        let output = self.build("out");
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(listing(&self.path("out")), [""; 0], "a refused build left files");
        String::from_utf8(output.stderr).unwrap().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn listing(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// SHA-256 of every file in a folder, by the system's own tool.
fn hashes(folder: &Path) -> BTreeMap<String, String> {
    let output = Command::new("sha256sum").args(listing(folder)).current_dir(folder).output().unwrap();
    assert_done(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|line| line.split_once("  ").unwrap());
    rows.map(|(hash, name)| (name.to_owned(), hash.to_owned())).collect()
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_problem_of_a_spec_is_told_at_once() {
    let project = Project::new();
    project.lock();
    project.spec("outputs: [raw, iso]\npackges: []\nlinks: [{path: relative, target: x}]\nusers: [{name: Root, uid: -1}]\nunits: [{name: a.service, content: x, enabled: yes}]\n");
    assert_eq!(
        project.refusal(2),
        "error: image.yaml:11:16: unknown output `iso`; known: raw, qcow2, raw.zst, raw.xz, tar.zst
error: image.yaml:12:1: unknown key `packges`; did you mean `packages`?
error: image.yaml:13:16: `relative` is not absolute: paths of the image start with /
error: image.yaml:14:16: `Root` is no account name: use a-z, 0-9, `-`, `_`, at most 32
error: image.yaml:14:27: expected a whole number within bounds, found `-1`
error: image.yaml:15:39: unknown key `enabled`; did you mean `enable`?
"
    );
}

#[test]
fn what_the_world_lacks_has_a_place() {
    let project = Project::new();
    project.lock();
    project.spec("units: [{name: a.service, content: \"[Service]\\nExecStart=/x\\n\", enable: true}]\n");
    fs::remove_file(project.path("init")).unwrap();
    fs::create_dir(project.path("tree/usr/share/text.d")).unwrap();
    project.edit("path: /usr/share/blob", "path: /usr/share/text.d");
    project.edit("[ext4]", "[ext4, floppy]");
    assert_eq!(
        project.refusal(2),
        "error: image.yaml:5:29: no module of this kernel is called or answers to `floppy`
error: image.yaml:6:7: init: No such file or directory (os error 2)
error: image.yaml:9:5: /usr/share/text.d is a directory in an earlier layer and something else here
error: image.yaml:11:9: unit a.service is to be enabled but has no [Install] section
"
    );
}

#[test]
fn outputs_do_not_grow_in_a_tree() {
    let project = Project::new();
    project.lock();
    std::os::unix::fs::symlink("tree/usr", project.path("elsewhere")).unwrap();
    for out in ["tree", "tree/usr/out", "elsewhere/new/out"] {
        let output = project.build(out);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        let wanted =
            format!("image.yaml:7:9: the output folder {} lies in tree", project.path(out).display());
        assert!(said.contains(&wanted), "{said}");
    }
    assert_eq!(listing(&project.path("tree")), ["usr"]);
    assert_eq!(listing(&project.path("tree/usr")), ["share"]);
    assert_done(&project.build("trees"));
}

#[test]
fn the_root_has_one_usr_and_no_file_twice() {
    let project = Project::new();
    project.lock();
    fs::create_dir_all(project.path("tree/usr/bin")).unwrap();
    fs::write(project.path("tree/usr/bin/tool"), "tool").unwrap();
    assert_done(&project.build("out"));
    let out = project.path("out");
    let raw = listing(&out).into_iter().find(|name| name.ends_with(".raw")).unwrap();
    let stat = Command::new(SLIPWAY)
        .args(["inspect", "stat", out.join(raw).to_str().unwrap(), "/bin"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&stat.stdout).into_owned();
    assert!(said.contains("usr/bin"), "{said}");
    fs::remove_dir_all(&out).unwrap();

    project.edit("partitions:", "  - {path: /usr/share/blob, content: again}\npartitions:");
    assert_eq!(
        project.refusal(2),
        "error: image.yaml:10:5: file /usr/share/blob stands twice, first at 9:5\n"
    );
    assert!(!out.exists(), "nothing was written, so there is no folder either");
}

#[test]
fn inputs_must_be_those_that_are_locked() {
    let project = Project::new();
    assert_eq!(
        project.refusal(2),
        "error: no lock file image.lock\nhint: run `slipway lock SPEC`, with this spec, to pin the inputs\n"
    );
    project.lock();
    fs::write(project.path("vmlinuz"), "another kernel").unwrap();
    let text = project.refusal(2);
    assert!(text.starts_with("error: image.yaml:3:17: file `vmlinuz` has the SHA-256 "), "{text}");
    assert!(text.ends_with("else find out who changed it\n"), "{text}");

    // A lock that fails leaves the old one.
    project.spec("packages: [{path: other.deb}]\n");
    let before = fs::read(project.path("image.lock")).unwrap();
    let output = project.command("lock").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("other.deb: No such file"));
    assert_eq!(fs::read(project.path("image.lock")).unwrap(), before);
}

#[test]
fn a_root_larger_than_its_slot_is_refused_with_what_fills_it() {
    let project = Project::new();
    project.lock();
    project.edit("slot: 32M", "slot: 8M");
    let text = project.refusal(2);
    let expected = "error: image.yaml:10:30: partition SLOT-A is 8 MiB but the root image needs 12 MiB; its largest files: /usr/share/blob 11.4 MiB, ";
    assert!(text.starts_with(expected), "{text}");
    assert!(
        text.ends_with("\nhint: make `partitions: {slot: …}` larger, or leave something out\n"),
        "{text}"
    );
}

/// Two users, umasks, time zones, folders, moments, and times and modes of the source files.
#[test]
fn the_bytes_depend_on_nothing_but_the_inputs() {
    assert!(nix::unistd::geteuid().is_root(), "run this test as root: it builds as a second user");
    let (first, second) = (Project::new(), Project::new());
    for project in [&first, &second] {
        project.spec("outputs: [raw, qcow2, raw.zst, raw.xz]\n");
        project.lock();
    }
    assert_done(&first.build("out"));

    for name in ["tree/usr/share/text", "blob", "image.yaml", "vmlinuz"] {
        let file = File::options().append(true).open(second.path(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30)).unwrap();
    }
    fs::set_permissions(second.path("tree/usr/share/text"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::set_permissions(second.path("tree/usr"), fs::Permissions::from_mode(0o705)).unwrap();
    let program = second.path("slipway");
    fs::copy(SLIPWAY, &program).unwrap();
    let chown = Command::new("chown").args(["-R", "65534:65534"]).arg(second.folder.path()).status().unwrap();
    assert!(chown.success());
    let shell = format!("umask 077; exec {} --quiet build image.yaml -o another", program.display());
    let mut command = Command::new("sh");
    command.args(["-c", &shell]).current_dir(second.folder.path()).uid(65534).gid(65534);
    command.env("SLIPWAY_CACHE", second.path("cache")).env("TZ", "Pacific/Chatham");
    assert_done(&command.output().unwrap());

    let expected: Vec<String> = ["manifest.json", "qcow2", "raw", "raw.xz", "raw.zst", "spdx.json"]
        .iter()
        .map(|suffix| format!("t-1.0.0.{suffix}"))
        .collect();
    assert_eq!(listing(&first.path("out")), expected);
    let real = hashes(&first.path("out"));
    assert_eq!(real, hashes(&second.path("another")));

    // The manifest tells the truth, and all forms hold one disk.
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(first.path("out/t-1.0.0.manifest.json")).unwrap()).unwrap();
    let outputs = manifest["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 4);
    for output in outputs {
        assert_eq!(real[output["file"].as_str().unwrap()], output["sha256"]);
    }
    for compare in [
        "qemu-img compare t-1.0.0.raw t-1.0.0.qcow2",
        "qemu-img check t-1.0.0.qcow2",
        "zstd -dc t-1.0.0.raw.zst | cmp - t-1.0.0.raw",
        "xz -dc t-1.0.0.raw.xz | cmp - t-1.0.0.raw",
    ] {
        let output =
            Command::new("sh").args(["-c", compare]).current_dir(first.path("out")).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{compare}: {stderr} (apt-get install qemu-utils zstd xz-utils)");
    }
}

#[test]
fn a_second_build_finds_nothing_changed_until_something_is() {
    let project = Project::new();
    project.lock();
    let build = || {
        let output = project.command("build").arg("-o").arg(project.path("out")).output().unwrap();
        assert_done(&output);
        String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
    };
    // At the first build the inputs may be as young as it is; then nothing is remembered.
    build();
    build();
    assert_eq!(build(), "unchanged");
    let before = hashes(&project.path("out"));
    fs::write(project.path("tree/usr/share/more"), "more").unwrap();
    assert_eq!(build(), "built");
    assert_ne!(hashes(&project.path("out")), before);
    build();
    assert_eq!(build(), "unchanged");
    fs::remove_file(project.path("out/t-1.0.0.raw")).unwrap();
    assert_eq!(build(), "built");
}

/// Starts a build and sends it a signal when its outputs grow; gives its exit code.
fn interrupted(project: &Project, signal: nix::sys::signal::Signal) -> Option<i32> {
    let mut command = project.command("build");
    command.arg("-o").arg(project.path("out")).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if line.contains("boot files") {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            nix::sys::signal::kill(pid, signal).unwrap();
        }
    }
    child.wait().unwrap().code()
}

#[test]
fn an_interrupted_build_leaves_nothing_under_a_final_name() {
    let project = Project::new();
    // Slow enough to be caught in the middle.
    project.spec("outputs: [raw, raw.xz]\n");
    project.lock();
    assert_eq!(interrupted(&project, nix::sys::signal::Signal::SIGINT), Some(1));
    assert_eq!(listing(&project.path("out")), [""; 0]);
    assert_eq!(interrupted(&project, nix::sys::signal::Signal::SIGKILL), None);
    let left = listing(&project.path("out"));
    assert!(left.len() == 1 && left[0].starts_with(".t-1.0.0.build-"), "{left:?}");
    // The next build clears up what the killed one left.
    assert_done(&project.build("out"));
    assert!(listing(&project.path("out")).iter().all(|name| name.starts_with("t-1.0.0.")));
}

#[test]
fn a_full_disk_ends_the_build_and_leaves_nothing() {
    let project = Project::new();
    project.lock();
    fs::create_dir(project.path("small")).unwrap();
    // A file system of 4 MiB, mounted in a namespace of its own.
    let script = format!(
        "mount -t tmpfs -o size=4m none {small} && {SLIPWAY} --quiet build {spec} -o {small}/out; code=$?; ls -A {small}/out; exit $code",
        small = project.path("small").display(),
        spec = project.path("image.yaml").display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).env("SLIPWAY_CACHE", project.path("cache"));
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(stderr.contains("hint: make room"), "{stderr}");
    assert!(output.stdout.is_empty(), "left: {}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn two_builds_at_once_share_a_cache() {
    let project = Project::new();
    project.lock();
    let start = |out: &str| {
        let mut command = project.command("build");
        command.arg("--quiet").arg("-o").arg(project.path(out)).spawn().unwrap()
    };
    let mut both = [start("one"), start("two")];
    for build in &mut both {
        assert!(build.wait().unwrap().success());
    }
    assert_eq!(hashes(&project.path("one")), hashes(&project.path("two")));
}
