//! umoci and skopeo make images, we unpack them: the tree is what umoci unpacks. And images of
//! our own making that contradict themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{Tar, dump, keep, run, unused};
use std::fs;
use std::path::Path;
use toolbox_store::{OciError, Source, Store, StoreError};

/// A layout of two layers with tag `two`, the upper one with whiteouts, and one of the lower alone.
fn sample(folder: &Path) {
    let script = r"
        set -e
        umoci init --layout layout
        umoci new --image layout:one
        umoci unpack --image layout:one bundle
        cd bundle/rootfs
        mkdir -p etc gone opaque/old usr/bin
        echo 1 > etc/one; echo 1 > gone/file; echo 1 > opaque/old/file; echo 1 > usr/bin/tool; chmod 4755 usr/bin/tool
        ln -s usr/bin bin; ln usr/bin/tool usr/bin/again; chown 12:34 etc/one
        cd ../..
        umoci repack --image layout:one bundle
        rm -rf bundle
        umoci unpack --image layout:one bundle
        cd bundle/rootfs
        rm -rf gone opaque; mkdir opaque; echo 2 > opaque/new; rm etc/one; echo 2 > etc/two
        cd ../..
        umoci repack --image layout:two bundle
        umoci config --image layout:two --config.env A=b --config.env PATH=/bin --config.entrypoint /bin/tool \
            --config.cmd -x --config.workingdir /etc --config.user 12:34 --config.label a.b=c
        rm -rf bundle
        umoci unpack --image layout:two expected
    ";
    run("sh", &["-c", script], folder);
}

/// Without the root itself, whose time is that of the unpacking.
fn below(tree: &Path) -> String {
    dump(tree).lines().filter(|line| !line.starts_with(' ')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn layouts_and_docker_archives_give_the_tree_that_umoci_gives() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let script = r"
        set -e
        tar -cf layout.tar -C layout .
        tar --zstd -cf layout.zst -C layout .
        skopeo --insecure-policy copy -q oci:layout:two docker-archive:saved.tar:registry.example/some/tools:two
        gzip -k saved.tar
        skopeo --insecure-policy copy -q --dest-compress-format zstd --dest-compress oci:layout:two oci:zstd:two
    ";
    run("sh", &["-c", script], folder.path());
    let expected = below(&folder.path().join("expected/rootfs"));
    let store = Store::open(&folder.path().join("store")).unwrap();
    let mut ids = Vec::new();
    for source in [
        "oci:layout:two",
        "oci:layout.tar:two",
        "oci:layout.zst:two",
        "docker-archive:saved.tar:some/tools:two",
        "docker-archive:saved.tar",
        "saved.tar",
        "saved.tar.gz",
        "oci:zstd",
    ] {
        let (kind, rest) = source.split_once(':').map_or(("", source), |(kind, rest)| (kind, rest));
        let colon = if kind.is_empty() { "" } else { ":" };
        let text = format!("{kind}{colon}{}/{rest}", folder.path().display());
        let held = store.get(&Source::parse(&text).unwrap(), &keep(), &mut |_| ()).unwrap();
        let found = below(&held.image.tree);
        let differs = found.lines().zip(expected.lines()).find(|(one, other)| one != other);
        assert!(found == expected, "{source}: {differs:?}");
        let config = held.image.config;
        assert_eq!(config.env, ["A=b", "PATH=/bin"]);
        assert_eq!((config.entrypoint, config.cmd), (vec!["/bin/tool".into()], vec!["-x".into()]));
        assert_eq!((config.working_dir.as_deref(), config.user.as_deref()), (Some("/etc"), Some("12:34")));
        assert_eq!(config.labels.get("a.b").map(String::as_str), Some("c"));
        ids.push(held.image.id.unwrap());
    }
    assert!(ids[..3].windows(2).all(|pair| pair[0] == pair[1]), "one manifest, one image");
    let error =
        store.get(&Source::Oci(folder.path().join("layout"), None), &keep(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().ends_with("there are several images: one, two"), "{error}");
    assert_eq!(error.hint(), Some("name one of them: oci:PATH:NAME"));
}

#[test]
fn blobs_that_are_not_what_their_digest_says_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let store = Store::open(&folder.path().join("store")).unwrap();
    let blobs = folder.path().join("layout/blobs/sha256");
    for entry in fs::read_dir(&blobs).unwrap() {
        let path = entry.unwrap().path();
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        // Spaces behind a document keep it readable; a layer's compressed bytes break.
        if good.first() == Some(&b'{') {
            bad.push(b' ');
        } else {
            *bad.last_mut().unwrap() ^= 1;
        }
        fs::write(&path, bad).unwrap();
        let result =
            store.get(&Source::Oci(folder.path().join("layout"), Some("two".into())), &keep(), &mut |_| ());
        match result {
            Err(
                StoreError::Oci { source: OciError::Mismatch { .. }, .. } | StoreError::Decompress { .. },
            ) => {}
            // Parts of the other image.
            Ok(held) => {
                let id = held.image.id.clone().unwrap();
                drop(held);
                assert!(unused(|| store.remove(id.as_str())));
            }
            Err(other) => panic!("{other}"),
        }
        fs::write(&path, good).unwrap();
    }
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn documents_that_lead_elsewhere_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let hex = "0".repeat(64);
    let long = "x".repeat(5 << 20);
    for (what, files, cause) in [
        ("no index", vec![("oci-layout", "{}")], "has no `index.json`"),
        (
            "a path as a digest",
            vec![
                ("oci-layout", "{}"),
                ("index.json", r#"{"manifests":[{"digest":"sha256:../../../../etc/passwd"}]}"#),
            ],
            "64 lower-case",
        ),
        (
            "an unknown algorithm",
            vec![("oci-layout", "{}"), ("index.json", r#"{"manifests":[{"digest":"sha512:00"}]}"#)],
            "only algorithm",
        ),
        (
            "nothing there",
            vec![
                ("oci-layout", "{}"),
                ("index.json", &format!(r#"{{"manifests":[{{"digest":"sha256:{hex}"}}]}}"#)),
            ],
            "has no `blobs/sha256/000",
        ),
        ("a huge index", vec![("oci-layout", "{}"), ("index.json", &long)], "more than 4194304"),
        ("no JSON", vec![("oci-layout", "{}"), ("index.json", "[")], "`index.json`: EOF"),
        (
            "a configuration elsewhere",
            vec![("manifest.json", r#"[{"Config":"../../../etc/passwd","Layers":[]}]"#)],
            "has no `../../../etc/passwd`",
        ),
        (
            "a layer too many",
            vec![("manifest.json", r#"[{"Config":"c","Layers":["x"]}]"#), ("c", "{}")],
            "1 layers, the configuration 0",
        ),
    ] {
        let archive = files.iter().fold(Tar::default(), |tar, (name, content)| tar.file(name, content));
        let path = folder.path().join("a.tar");
        fs::write(&path, archive.end()).unwrap();
        let source = if files[0].0 == "oci-layout" {
            Source::Oci(path, None)
        } else {
            Source::DockerArchive(path, None)
        };
        let error = store.get(&source, &keep(), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains(cause), "{what}: {error}");
    }
}
