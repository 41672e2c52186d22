//! The kernel's overlayfs changes a tree; what we say of the change, and what GNU tar, umoci and
//! skopeo make of what we write, is what the mount showed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{dump, keep, run};
use std::fs;
use std::path::{Path, PathBuf};
use toolbox_store::commit::{ChangeKind, CommitError, Overlay, Owners, write_layout};
use toolbox_store::layer::Whiteouts;
use toolbox_store::{Config, Source, Store};

/// A lower folder, an upper one that a mount filled, and a copy of what the mount showed.
fn sample(folder: &Path, options: &str) {
    let script = format!(
        r#"
        set -e
        mkdir -p lower/etc lower/gone/deep lower/opaque/old lower/kept lower/file-to-folder lower/mode upper work merged
        echo 1 > lower/etc/one; echo 1 > lower/etc/two; echo 1 > lower/gone/deep/file; echo 1 > lower/opaque/old/file
        echo 1 > lower/opaque/both; echo 1 > lower/removed; echo 1 > lower/touched; echo 1 > lower/becomes-folder
        echo 1 > lower/file-to-folder/x; ln lower/etc/one lower/hard; ln -s etc lower/link; chown 7:8 lower/etc/two
        setfattr -n user.note -v v lower/etc/two
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work{options} none merged
        trap 'umount merged' EXIT
        cd merged
        rm removed; rm -r gone; rm -r opaque; mkdir opaque; echo 2 > opaque/new; echo 2 > opaque/both
        echo 2 >> etc/one; : >> touched; chmod 700 mode; rm becomes-folder; mkdir becomes-folder; echo 2 > becomes-folder/y
        rm -r file-to-folder; echo 2 > file-to-folder; ln -sfn opaque link; mkdir added; echo 2 > added/file; ln added/file added/hard
        long=$(printf 'n%.0s' $(seq 150)); mkdir "$long"; echo x > "$long/$long"; mkfifo pipe; truncate -s 1M hole
        touch -d '1960-01-01 00:00:00.25' added/file
        cd ..
        cp -a --sparse=always merged expected
        "#
    );
    run("sh", &["-c", &script], folder);
}

/// Without sockets there is nothing that a tar could not have; times of folders change as they are filled.
fn tree(path: &Path) -> String {
    dump(path).lines().filter(|line| !line.starts_with(' ')).map(|line| format!("{line}\n")).collect()
}

fn check(found: &Path, expected: &Path, what: &str) {
    let (found, expected) = (tree(found), tree(expected));
    let differs = found.lines().zip(expected.lines()).find(|(one, other)| one != other);
    assert!(found == expected, "{what}: {differs:?}");
}

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("lower"), folder.join("upper"))
}

#[test]
fn changes_are_told_as_the_kernel_made_them() {
    for options in ["", ",userxattr"] {
        let folder = tempfile::tempdir().unwrap();
        sample(folder.path(), options);
        let (lower, upper) = paths(folder.path());
        let changes = Overlay { lower: &lower, upper: Some(&upper) }.diff().unwrap();
        let long = "n".repeat(150);
        let found: Vec<String> = changes
            .iter()
            .map(|change| {
                let letter = match change.kind {
                    ChangeKind::Added => 'A',
                    ChangeKind::Changed => 'C',
                    ChangeKind::Removed => 'D',
                };
                format!("{letter} {}", String::from_utf8_lossy(&change.path).replace(&long, "LONG"))
            })
            .collect();
        let expected = [
            "A added",
            "A added/file",
            "A added/hard",
            "C becomes-folder",
            "A becomes-folder/y",
            "C etc/one",
            "C file-to-folder",
            "D gone",
            "A hole",
            "C link",
            "C mode",
            "A LONG",
            "A LONG/LONG",
            "C opaque/both",
            "A opaque/new",
            "D opaque/old",
            "A pipe",
            "D removed",
        ];
        assert_eq!(found, expected, "{options}");
    }
}

#[test]
fn a_merged_tree_a_layer_and_a_layout_give_what_the_mount_showed() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path(), "");
    let (lower, upper) = paths(folder.path());
    let expected = folder.path().join("expected");
    let overlay = Overlay { lower: &lower, upper: Some(&upper) };
    // Merged, by GNU tar.
    let tar = folder.path().join("merged.tar");
    overlay.write_tar(fs::File::create(&tar).unwrap(), Owners::Keep).unwrap();
    fs::create_dir(folder.path().join("by-tar")).unwrap();
    let arguments =
        ["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", "merged.tar", "-C", "by-tar"];
    run("tar", &arguments, folder.path());
    check(&folder.path().join("by-tar"), &expected, "tar");
    // Merged, by ourselves.
    let store = Store::open(&folder.path().join("store")).unwrap();
    let held = store.get(&Source::Tar(tar), &keep(), &mut |_| ()).unwrap();
    check(&held.image.tree, &expected, "own");
    // The lower folder, and the layer over it.
    let mine = folder.path().join("layers");
    fs::create_dir(&mine).unwrap();
    let base = Overlay { lower: &lower, upper: None }.write_tar(Vec::new(), Owners::Keep).unwrap();
    common::unpack(&base, &mine, keep(), Whiteouts::Lowest).unwrap();
    let layer = overlay.write_layer(Vec::new(), Owners::Keep).unwrap();
    common::unpack(&layer, &mine, keep(), Whiteouts::Upper).unwrap();
    check(&mine.join("tree"), &expected, "layers");
    // A layout, by umoci and skopeo.
    let config = Config { env: vec!["A=b".into()], cmd: vec!["/bin/sh".into()], ..Config::default() };
    let layout = folder.path().join("layout");
    let digest = write_layout(&overlay, &config, "box", &layout, Owners::Keep).unwrap();
    run("umoci", &["unpack", "--image", "layout:box", "bundle"], folder.path());
    check(&folder.path().join("bundle/rootfs"), &expected, "umoci");
    let inspected = run("skopeo", &["inspect", "oci:layout:box"], folder.path());
    assert!(inspected.contains(&digest.to_string()) && inspected.contains("\"A=b\""), "{inspected}");
    let held = store.get(&Source::Oci(layout.clone(), None), &keep(), &mut |_| ()).unwrap();
    check(&held.image.tree, &expected, "own layout");
    assert_eq!(held.image.config, config);
    // Nothing is replaced.
    let error = write_layout(&overlay, &config, "box", &layout, Owners::Keep).unwrap_err();
    assert!(matches!(error, CommitError::Output { .. }));
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().ends_with(".partial")));
}

#[test]
fn owners_become_root_when_told_so() {
    let folder = tempfile::tempdir().unwrap();
    run("sh", &["-c", "mkdir lower; echo 1 > lower/a; chown 7:8 lower/a"], folder.path());
    let lower = folder.path().join("lower");
    let tar = Overlay { lower: &lower, upper: None }.write_tar(Vec::new(), Owners::Root).unwrap();
    fs::write(folder.path().join("a.tar"), tar).unwrap();
    let listed = run("tar", &["--numeric-owner", "-tvf", "a.tar"], folder.path());
    assert!(listed.lines().all(|line| line.contains(" 0/0 ")), "{listed}");
}

#[test]
fn redirected_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let script = r"
        set -e
        mkdir -p lower/old upper work merged; echo 1 > lower/old/file
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work,redirect_dir=on none merged
        mv merged/old merged/new; umount merged
    ";
    run("sh", &["-c", script], folder.path());
    let (lower, upper) = paths(folder.path());
    let error = Overlay { lower: &lower, upper: Some(&upper) }.diff().unwrap_err();
    assert!(
        matches!(error, CommitError::Redirected { attribute: "trusted.overlay.redirect", .. }),
        "{error}"
    );
}
