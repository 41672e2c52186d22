//! A spec without a kernel: its root as an archive, what follows its packages, and how it goes into the image of
//! a machine. dpkg-deb makes the packages, and tar reads the archives.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SLIPWAY: &str = env!("CARGO_BIN_EXE_slipway");

/// A folder with packages and specs.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Makes a package of one file, puts it into the cache, and gives its pin.
    fn package(&self, name: &str, depends: &[&str]) -> String {
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.invalid>\nDescription: a\n{}",
            if depends.is_empty() { String::new() } else { format!("Depends: {}\n", depends.join(", ")) }
        );
        self.write(&format!("{name}/DEBIAN/control"), &control);
        self.write(&format!("{name}/usr/lib/{name}"), name);
        self.write(&format!("{name}/usr/share/doc/{name}/copyright"), "words");
        let deb = self.path(&format!("{name}.deb"));
        let made = Command::new("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .arg(self.path(name))
            .arg(&deb)
            .output()
            .unwrap_or_else(|error| panic!("dpkg-deb: {error}; apt-get install dpkg"));
        assert_done(&made);
        let hash = run(Command::new("sha256sum").arg(&deb))[..64].to_owned();
        fs::create_dir_all(self.path("cache/sha256")).unwrap();
        let size = fs::copy(&deb, self.path("cache/sha256").join(&hash)).unwrap();
        let depends = if depends.is_empty() {
            String::new()
        } else {
            format!("    depends: [{}]\n", depends.join(", "))
        };
        format!(
            "  - requested: {name}\n    name: {name}\n    version: \"1\"\n    architecture: all\n    size: {size}\n    sha256: {hash}\n{depends}"
        )
    }

    fn lock(&self, name: &str, pins: &[String]) {
        self.write(name, &format!("packages:\n{}files: []\n", pins.concat()));
    }

    fn slipway(&self, verb: &str, spec: &str, more: &[&str]) -> Output {
        let mut command = Command::new(SLIPWAY);
        command.args([verb, "--quiet"]).arg(self.path(spec)).args(more).stdin(Stdio::null());
        command.env("SLIPWAY_CACHE", self.path("cache")).output().unwrap()
    }

    fn build(&self, spec: &str, out: &str) -> Output {
        let out = self.path(out);
        self.slipway("build", spec, &["--offline", "-o", out.to_str().unwrap()])
    }

    /// What is wrong with a spec, the project's folder cut out.
    fn refusal(&self, spec: &str) -> String {
        let output = self.build(spec, "refused");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_done(&output);
    String::from_utf8(output.stdout).unwrap()
}

fn names(archive: &Path) -> Vec<String> {
    let listed = run(Command::new("tar").arg("-tf").arg(archive));
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn a_root_alone_is_an_archive_that_tar_reads() {
    let project = Project::new();
    let long = "n".repeat(150);
    project.write("certificates/b.crt", "second\n");
    project.write("certificates/a.crt", "first");
    project.write(&format!("tree/usr/share/{long}"), "long");
    project.write(
        "root.yaml",
        "name: r\nversion: 1.0.0\ntrees: [tree, {source: certificates, path: /usr/share/parts/more}]
files:
  - {path: /etc/joined, join: /usr/share/parts/*.crt}
  - {path: /usr/bin/tool, content: run, mode: 04711, owner: 7:8, xattrs: {user.note: value}}
directories: [{path: /tmp, mode: 01777}]
links: [{path: /usr/bin/again, target: /usr/bin/tool, hard: true}, {folder: /usr/bin, names: [x, '['], target: tool}]\n",
    );
    project.lock("root.lock", &[]);
    project.write("root.lock", "packages: []\nfiles: []\n");
    assert_done(&project.build("root.yaml", "out"));
    let archive = project.path("out/r-1.0.0.tar.zst");
    let listed = run(Command::new("tar").args(["--numeric-owner", "--xattrs", "-tvvf"]).arg(&archive));
    for row in [
        "drwxrwxrwt  0/0               0 2026-01-01 00:00 ./tmp/",
        "-rws--x--x* 7/8               3 2026-01-01 00:00 ./usr/bin/tool",
        "./usr/bin/x -> tool",
        "./usr/bin/[ -> tool",
        "./usr/bin/again link to ./usr/bin/tool",
        &long,
    ] {
        assert!(listed.contains(row), "{row} is not in\n{listed}");
    }
    // The parts are in the whole, and no longer by themselves.
    let read = |path: &str| run(Command::new("tar").arg("-xOf").arg(&archive).arg(path));
    assert_eq!(read("./etc/joined"), "first\nsecond\n");
    assert_eq!(read(&format!("./usr/share/{long}")), "long");
    assert!(!listed.contains("parts"), "{listed}");

    // The bytes depend on the inputs alone.
    run(Command::new("touch").arg(project.path("certificates/a.crt")));
    assert_done(&project.build("root.yaml", "again"));
    for name in ["r-1.0.0.tar.zst", "r-1.0.0.manifest.json", "r-1.0.0.spdx.json"] {
        let [one, two] = ["out", "again"].map(|out| fs::read(project.path(out).join(name)).unwrap());
        assert!(one == two, "{name} differs");
    }
}

#[test]
fn what_packages_depend_on_follows_them() {
    let project = Project::new();
    let pins = [
        project.package("tool", &["library", "scripts"]),
        project.package("library", &["base", "tool"]),
        project.package("base", &[]),
        project.package("stray", &[]),
    ];
    project.lock("root.lock", &pins);
    let spec = |dependencies: &str| {
        project.write("root.yaml", &format!("name: r\nversion: 1.0.0\npackages: [tool]\n{dependencies}"));
    };
    spec("dependencies: {without: [scripts], exclude: ['/usr/share/doc*']}\n");
    assert_done(&project.build("root.yaml", "out"));
    let names = names(&project.path("out/r-1.0.0.tar.zst"));
    let files: Vec<&str> = names.iter().filter(|name| !name.ends_with('/')).map(String::as_str).collect();
    assert_eq!(
        files,
        ["./lib", "./usr/lib/base", "./usr/lib/library", "./usr/lib/os-release", "./usr/lib/tool"]
    );
    let bill = fs::read_to_string(project.path("out/r-1.0.0.spdx.json")).unwrap();
    assert!(bill.contains("pkg:deb/debian/library@1") && !bill.contains("stray"), "{bill}");
    assert_done(&project.slipway("fetch", "root.yaml", &[]));

    spec("dependencies: {}\n");
    assert_eq!(
        project.refusal("root.yaml"),
        "error: root.yaml:1:1: package `scripts` is not in the lock file\nhint: run `slipway lock` to pin what the spec asks for\n"
    );
    spec("");
    assert_done(&project.build("root.yaml", "alone"));
    assert!(!fs::read_to_string(project.path("alone/r-1.0.0.manifest.json")).unwrap().contains("library"));
}

#[test]
fn what_belongs_to_a_machine_is_refused_without_one() {
    let project = Project::new();
    project.write("root.lock", "packages: []\nfiles: []\n");
    let head = "name: r\nversion: 1.0.0\n";
    project.write(
        "root.yaml",
        &format!("{head}modules: {{root: [ext4]}}\npartitions: {{slot: 1M}}\noutputs: [tar.zst, raw]\n"),
    );
    assert_eq!(
        project.refusal("root.yaml"),
        "error: root.yaml:3:10: `modules` needs `kernel` and `boot_loader`: this is no machine's image
error: root.yaml:4:13: `partitions` needs `kernel` and `boot_loader`: this is no machine's image
error: root.yaml:5:20: output `raw` needs `kernel` and `boot_loader`; without them: tar.zst
"
    );
    project.write("root.yaml", &format!("{head}kernel: {{package: linux-image-cloud-amd64}}\n"));
    assert_eq!(
        project.refusal("root.yaml"),
        "error: root.yaml:1:1: `kernel` without `boot_loader`: a machine needs both\n"
    );
    project.write(
        "root.yaml",
        &format!("{head}files: [{{path: /a, join: /b*}}, {{path: /c, join: /d, content: e}}]\n"),
    );
    assert_eq!(
        project.refusal("root.yaml"),
        "error: root.yaml:3:49: `join` beside `content` or `source`: one is needed\n"
    );
    project.write("root.yaml", &format!("{head}files: [{{path: /a, join: /b*}}]\n"));
    assert_eq!(
        project.refusal("root.yaml"),
        "error: root.yaml:3:9: `/b*` matches no file of the packages and trees\n"
    );
}

#[test]
fn a_root_goes_into_the_image_of_a_machine() {
    let project = Project::new();
    let pin = project.package("tool", &[]);
    project.lock("tools/root.lock", &[pin]);
    project.write(
        "tools/root.yaml",
        "name: tools\nversion: 1.0.0\npackages: [tool]\nlinks: [{path: /usr/lib/second, target: /usr/lib/tool, hard: true}]\n",
    );
    for (name, from) in [("loader.efi", "systemd-bootx64.efi"), ("stub.efi", "linuxx64.efi.stub")] {
        let from = Path::new("/usr/lib/systemd/boot/efi").join(from);
        fs::copy(&from, project.path(name))
            .unwrap_or_else(|error| panic!("{}: {error}; apt-get install systemd-boot-efi", from.display()));
    }
    project.write("modules/6.1.0-test/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
    project.write("vmlinuz", &"kernel ".repeat(9000));
    project.write("init", "init");
    let spec = |path: &str| {
        let text = format!(
            "name: t
version: 1.0.0
kernel: {{image: vmlinuz, modules: modules/6.1.0-test}}
boot_loader: {{loader: loader.efi, stub: stub.efi}}
init: init
images: [{{spec: {path}, path: /usr/share/tools}}]
partitions: {{esp: 34M, slot: 32M, state: 16M}}
outputs: [raw, tar.zst]
"
        );
        project.write("image.yaml", &text);
    };
    spec("tools/root.yaml");
    assert_done(&project.slipway("lock", "image.yaml", &[]));
    assert_done(&project.build("image.yaml", "out"));
    let listed = run(Command::new("tar").arg("-tvf").arg(project.path("out/t-1.0.0.tar.zst")));
    assert!(listed.contains("./usr/share/tools/usr/share/doc/tool/copyright"), "{listed}");
    assert!(
        listed.contains("./usr/share/tools/usr/lib/second link to ./usr/share/tools/usr/lib/tool"),
        "{listed}"
    );
    let seen = run(Command::new(SLIPWAY)
        .args(["inspect", "tree"])
        .arg(project.path("out/t-1.0.0.raw"))
        .arg("/usr/share/tools/usr/lib"));
    assert!(seen.contains("second") && seen.contains("os-release"), "{seen}");
    let bill = fs::read_to_string(project.path("out/t-1.0.0.spdx.json")).unwrap();
    assert!(bill.contains("pkg:deb/debian/tool@1"), "{bill}");

    // A change of the other spec is noticed.
    let tools = fs::read_to_string(project.path("tools/root.yaml")).unwrap();
    project.write("tools/root.yaml", &format!("{tools}files: [{{path: /etc/new, content: new}}]\n"));
    assert_done(&project.build("image.yaml", "out"));
    let listed = names(&project.path("out/t-1.0.0.tar.zst"));
    assert!(listed.iter().any(|name| name == "./usr/share/tools/etc/new"), "{listed:?}");

    // What is wrong with it has its place in both.
    project.write("tools/root.yaml", &format!("{tools}packges: []\n"));
    assert_eq!(
        project.refusal("image.yaml"),
        "error: image.yaml:6:10: image tools/root.yaml: tools/root.yaml:5:1: unknown key `packges`; did you mean `packages`?\n"
    );
    spec("image.yaml");
    assert_eq!(
        project.refusal("image.yaml"),
        "error: image.yaml:6:10: image image.yaml is a machine's: it has a kernel\n"
    );
    spec("absent.yaml");
    assert_eq!(
        project.refusal("image.yaml"),
        "error: image.yaml:6:10: image absent.yaml: absent.yaml: No such file or directory (os error 2)\n"
    );
}
