//! Layers that use what the layers below them have, or had: links, hard links and whiteouts across.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{Tar, dump, keep, limited};
use std::fs;
use std::path::Path;
use toolbox_store::{Digest, Policy, Source, Store};

/// A docker archive of these layers, the lowest first.
fn image(layers: &[Tar]) -> Vec<u8> {
    let (mut names, mut digests, mut archive) = (Vec::new(), Vec::new(), Tar::default());
    for (number, layer) in layers.iter().enumerate() {
        let bytes = [layer.0.as_slice(), &[0; 1024]].concat();
        names.push(format!("\"{number}\""));
        digests.push(format!("\"{}\"", Digest::of(&bytes)));
        archive = archive.raw(b'0', number.to_string().as_bytes(), b"", 0o644, &bytes);
    }
    let manifest = format!(r#"[{{"Config":"c","Layers":[{}]}}]"#, names.join(","));
    let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#, digests.join(","));
    archive.file("manifest.json", &manifest).file("c", &config).end()
}

/// The paths of the tree, those of the way to `above` apart, with the sizes of files; or why there is none.
fn paths(folder: &Path, layers: &[Tar], policy: &Policy) -> Result<Vec<String>, String> {
    let victim = folder.join("victim");
    let before = dump(&victim);
    let path = folder.join("a.tar");
    fs::write(&path, image(layers)).unwrap();
    let store = Store::open(&folder.join("store")).unwrap();
    let got = store.get(&Source::DockerArchive(path, None), policy, &mut |_| ());
    assert_eq!(dump(&victim), before, "the bystander changed");
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    let held = got.map_err(|error| error.to_string())?;
    let size =
        |path: &Path| path.symlink_metadata().map_or(0, |meta| if meta.is_file() { meta.len() } else { 0 });
    let tree = dump(&held.image.tree);
    let names = tree.lines().map(|line| line.split(' ').next().unwrap()).filter(|name| !name.is_empty());
    Ok(names.map(|name| format!("{name} {}", size(&held.image.tree.join(name)))).collect())
}

fn tar() -> Tar {
    Tar::default()
}

#[test]
fn layers_reach_what_is_there_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "untouched").unwrap();
    let out = victim.display().to_string();
    let within = |name: &str| format!("{}/{name}", out.trim_start_matches('/'));
    let refused: [(&str, Vec<Tar>, &str); 8] = [
        (
            "a hard link to what a whiteout took",
            vec![tar().file("secret", "1"), tar().file(".wh.secret", "").hard("again", "secret")],
            "no file of the tree",
        ),
        (
            "to what a lower layer's whiteout took",
            vec![tar().file("secret", "1"), tar().file(".wh.secret", ""), tar().hard("again", "secret")],
            "no file of the tree",
        ),
        (
            "to what an opaque folder hides",
            vec![tar().file("d/x", "1"), tar().file("d/.wh..wh..opq", "").hard("again", "d/x")],
            "no file of the tree",
        ),
        (
            "to a folder of a lower layer",
            vec![tar().folder("d"), tar().hard("again", "d")],
            "no file of the tree",
        ),
        (
            "out, through a link of a lower layer",
            vec![tar().link("out", &out), tar().hard("again", "out/file")],
            "no file of the tree",
        ),
        (
            "out, through a folder that became a link",
            vec![tar().file("d/file", "1"), tar().link("d", &out), tar().hard("again", "d/file")],
            "no file of the tree",
        ),
        (
            "above, from a lower folder",
            vec![tar().folder("d"), tar().hard("again", "d/../../x")],
            "has a `..`",
        ),
        (
            "links in a circle across",
            vec![tar().link("a", "b"), tar().link("b", "a"), tar().file("a/x", "x")],
            "more than 40",
        ),
    ];
    for (what, layers, cause) in refused {
        let error = paths(folder.path(), &layers, &keep()).expect_err(what);
        assert!(error.contains(cause), "{what}: {error}");
    }
    let made: [(&str, Vec<Tar>, Vec<String>); 6] = [
        (
            "a hard link before the whiteout keeps the content",
            vec![tar().file("secret", "1"), tar().hard("again", "secret").file(".wh.secret", "")],
            vec!["again 1".into()],
        ),
        (
            "a file over a hard link does not write through it",
            vec![tar().file("a", "1"), tar().hard("b", "a"), tar().file("b", "longer")],
            vec!["a 1".into(), "b 6".into()],
        ),
        (
            "a file over a link out",
            vec![tar().link("file", &format!("{out}/file")), tar().file("file", "longer")],
            vec!["file 6".into()],
        ),
        (
            "a hard link to a link out is that link",
            vec![tar().link("l", &format!("{out}/file")), tar().hard("h", "l"), tar().file("l", "x")],
            vec!["h 0".into(), "l 1".into()],
        ),
        (
            "a whiteout through a link out",
            vec![tar().link("out", &out), tar().file("out/.wh.file", "").file("out/.wh..wh..opq", "")],
            vec!["out 0".into()],
        ),
        (
            "a whiteout of a link takes the link",
            vec![tar().link("out", &out), tar().file(".wh.out", "")],
            vec![],
        ),
    ];
    for (what, layers, expected) in made {
        assert_eq!(paths(folder.path(), &layers, &keep()), Ok(expected), "{what}");
    }
    // What is written through a link out comes to lie within.
    let layers = [tar().link("out", &out), tar().file("out/file", "longer")];
    let found = paths(folder.path(), &layers, &keep()).unwrap();
    assert!(found.contains(&format!("{} 6", within("file"))), "{found:?}");
}

#[test]
fn limits_are_of_all_layers_together() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("victim")).unwrap();
    let six =
        |name: &str| (0..6).fold(tar(), |tar, number| tar.file(&format!("{name}{number}"), "0123456789"));
    let layers = [six("a"), six("b")];
    for (policy, cause) in
        [(limited(100, 100, 5), "more than 100 bytes"), (limited(1000, 10, 5), "more than 10 entries")]
    {
        let error = paths(folder.path(), &layers, &policy).unwrap_err();
        assert!(error.contains(cause), "{error}");
    }
    assert_eq!(paths(folder.path(), &layers, &limited(120, 12, 5)).unwrap().len(), 12);
}
