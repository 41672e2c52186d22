use super::*;
use cloudconfig::{DropIn, Place};
use std::os::unix::fs::MetadataExt;

const PLACE: Place = Place { line: 3, column: 7 };

fn accounts() -> Accounts {
    Accounts {
        passwd: "root:x:0:0:root:/root:/bin/false\ncore:x:500:501::/home/core:/bin/false\n".to_owned(),
        group: "root:x:0:\nwheel:x:10:core\n".to_owned(),
    }
}

fn owner(user: Account, group: Option<Account>) -> Owner {
    Owner { user, group, place: PLACE }
}

#[test]
fn owners_are_found_by_name_and_number() {
    let name = |name: &str| Account::Name(name.to_owned());
    let resolve = |user, group| accounts().resolve(&owner(user, group));
    assert_eq!(resolve(name("core"), None), Some((500, 501)));
    assert_eq!(resolve(name("core"), Some(name("wheel"))), Some((500, 10)));
    assert_eq!(resolve(Account::Id(500), None), Some((500, 501)));
    assert_eq!(resolve(Account::Id(7), None), Some((7, 7)));
    assert_eq!(resolve(Account::Id(7), Some(Account::Id(8))), Some((7, 8)));
    assert_eq!(resolve(name("nobody"), None), None);
    assert_eq!(resolve(name("core"), Some(name("nobody"))), None);
}

#[test]
fn an_unknown_owner_is_said_with_its_place() {
    let file = File {
        path: "/etc/x".to_owned(),
        content: vec![],
        mode: 0o644,
        owner: Some(owner(Account::Name("nobody".to_owned()), None)),
    };
    let plan = Plan { files: vec![file], ..Plan::default() };
    assert_eq!(accounts().unknown(&plan), ["3:7: no such user or group on this machine"]);
}

#[test]
fn files_have_their_content_mode_and_owner() {
    let root = tempfile::tempdir().unwrap();
    let file = File {
        path: "/etc/deep/er/x".to_owned(),
        content: b"hello".to_vec(),
        mode: 0o4750,
        owner: Some(owner(Account::Name("core".to_owned()), None)),
    };
    // Twice: rendering over what an earlier boot left is no failure.
    for _ in 0..2 {
        write_file(root.path(), &file, &accounts()).unwrap();
    }
    let path = root.path().join("etc/deep/er/x");
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o4750, 500, 501));
    assert_eq!(fs::read_dir(root.path().join("etc/deep/er")).unwrap().count(), 1);
}

#[test]
fn units_are_placed_masked_and_extended() {
    let root = tempfile::tempdir().unwrap();
    let unit = Unit {
        name: "a.service".to_owned(),
        content: Some("[Service]\n".to_owned()),
        drop_ins: vec![DropIn { name: "10-x.conf".to_owned(), content: "[Unit]\n".to_owned() }],
        ..Unit::default()
    };
    let masked = Unit { name: "b.service".to_owned(), mask: true, runtime: true, ..Unit::default() };
    for _ in 0..2 {
        write_unit(root.path(), &unit).unwrap();
        write_unit(root.path(), &masked).unwrap();
    }
    let read = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
    assert_eq!(read("etc/systemd/system/a.service"), "[Service]\n");
    assert_eq!(read("etc/systemd/system/a.service.d/10-x.conf"), "[Unit]\n");
    let link = fs::read_link(root.path().join("run/systemd/system/b.service")).unwrap();
    assert_eq!(link, Path::new("/dev/null"));
}
