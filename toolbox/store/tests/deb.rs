//! dpkg-deb builds packages, we unpack them as dpkg does over a merged /usr.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{keep, run};
use std::fs;
use toolbox_store::{Source, Store, StoreError};

#[test]
fn packages_go_over_one_another_below_a_merged_usr() {
    let folder = tempfile::tempdir().unwrap();
    let script = r"
        set -e
        for name in a b; do
            mkdir -p $name/DEBIAN $name/bin $name/lib $name/usr/bin
            printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n' $name > $name/DEBIAN/control
            printf '#!/bin/sh\ntouch /ran\n' > $name/DEBIAN/postinst; chmod 755 $name/DEBIAN/postinst
            echo $name > $name/bin/$name; echo $name > $name/usr/bin/usr-$name; echo $name > $name/lib/both
        done
        dpkg-deb -Zxz -b a a.deb >/dev/null; dpkg-deb -Zzstd -b b b.deb >/dev/null
    ";
    run("sh", &["-c", script], folder.path());
    let path = |name: &str| folder.path().join(name);
    let store = Store::open(&path("store")).unwrap();
    let source = Source::Debs(vec![path("a.deb"), path("b.deb")]);
    let held = store.get(&source, &keep(), &mut |_| ()).unwrap();
    let tree = &held.image.tree;
    assert_eq!(fs::read_link(tree.join("bin")).unwrap().to_str(), Some("usr/bin"));
    for name in ["a", "b", "usr-a", "usr-b"] {
        assert!(tree.join("usr/bin").join(name).is_file(), "{name}");
    }
    assert_eq!(fs::read_to_string(tree.join("usr/lib/both")).unwrap(), "b\n");
    assert!(!tree.join("ran").exists() && !std::path::Path::new("/ran").exists());
    // One alone, told by its content.
    let alone = store.get(&Source::Path(path("a.deb")), &keep(), &mut |_| ()).unwrap();
    assert_ne!(alone.image.id, held.image.id);
    fs::write(path("bad.deb"), "!<arch>\nnonsense").unwrap();
    let error = store.get(&Source::Path(path("bad.deb")), &keep(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Deb { .. }), "{error}");
}
