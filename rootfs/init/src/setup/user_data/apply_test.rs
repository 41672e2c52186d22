use super::*;
use cloudconfig::{Account, Content, DropIn, Owner, Place};

const PLACE: Place = Place { line: 3, column: 7 };

fn accounts() -> Accounts {
    Accounts::read("core:x:500:501::/home/core:/bin/false\n", "wheel:x:10:core\n", "")
}

fn owner(user: Account, group: Option<Account>) -> Owner {
    Owner { user, group, place: PLACE }
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

#[test]
fn accounts_homes_and_keys_have_their_modes_and_owners() {
    let root = tempfile::tempdir().unwrap();
    let home = Home { path: "/var/home/core".to_owned(), uid: 500, gid: 501 };
    for _ in 0..2 {
        write_accounts(root.path(), &accounts()).unwrap();
        make_home(root.path(), &home).unwrap();
        write_keys(root.path(), "core", &["ssh-ed25519 A".to_owned(), "ssh-ed25519 B".to_owned()]).unwrap();
    }
    let seen = |path: &str| {
        let metadata = fs::metadata(root.path().join(path)).unwrap();
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    };
    assert_eq!(seen("var/home/core"), (0o700, 500, 501));
    assert_eq!(seen("etc/shadow").0, 0o600);
    assert_eq!(seen("etc/passwd").0, 0o644);
    let keys = root.path().join("etc/ssh/authorized_keys.d/core");
    assert_eq!(fs::read_to_string(keys).unwrap(), "ssh-ed25519 A\nssh-ed25519 B\n");
    // What a user made of the home stays.
    chown(root.path().join("var/home/core"), Some(7), Some(7)).unwrap();
    make_home(root.path(), &home).unwrap();
    assert_eq!(seen("var/home/core"), (0o700, 7, 7));
    // A link in its place leads to nothing that is given away.
    symlink("../../etc", root.path().join("var/home/link")).unwrap();
    make_home(root.path(), &Home { path: "/var/home/link".to_owned(), uid: 9, gid: 9 }).unwrap();
    assert_eq!(seen("etc").1, 0);
}

#[test]
fn generated_files_are_merged_and_scripts_have_a_unit() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc/coreos")).unwrap();
    fs::write(root.path().join("etc/coreos/update.conf"), "GROUP=stable\nA=1\n").unwrap();
    let file = Generated {
        path: "/etc/coreos/update.conf".to_owned(),
        text: Content::Merged(vec![("GROUP".to_owned(), "beta".to_owned())]),
    };
    write_generated(root.path(), &file).unwrap();
    let text = fs::read_to_string(root.path().join("etc/coreos/update.conf")).unwrap();
    assert_eq!(text, "A=1\nGROUP=beta\n");
    let script = Script {
        number: 1,
        interpreter: "/bin/sh".to_owned(),
        argument: None,
        text: "#!/bin/sh\n".to_owned(),
        place: PLACE,
    };
    write_script(root.path(), &script).unwrap();
    assert!(root.path().join("run/systemd/system/user-data-script-1.service").exists());
    let mode = fs::metadata(root.path().join("run/slipway/scripts/1")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700);
}
