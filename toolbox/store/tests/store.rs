//! The store under several processes, power cuts of processes (SIGKILL at any moment), and full disks.
//!
//! Fault model: an unpacker may die between any two system calls; the disk may be full at any write.
//! After either there is no image under a final name that is not whole, the next try works, and
//! `gc` takes away what is left.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is wrong")]

mod common;

use common::{Tar, dump, keep, run, soon, unused};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use toolbox_store::{Source, Store, StoreError};

/// Waits until changes of the files would show in their times.
fn settle(path: &Path) {
    let changed = path.metadata().unwrap().modified().unwrap();
    while changed.elapsed().is_ok_and(|age| age < Duration::from_millis(60)) {
        std::thread::yield_now();
    }
}

/// An archive of many small files and a few large ones.
fn archive(folder: &Path, files: usize) -> PathBuf {
    // Folders of their own, so that their times are not those of the unpacking.
    let mut tar = (0..37).fold(Tar::default().folder("./"), |tar, number| tar.folder(&format!("d{number}")));
    for number in 0..files {
        tar = tar.file(&format!("d{}/f{number}", number % 37), &format!("content of {number}"));
    }
    let large: Vec<u8> =
        (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for number in 0..3 {
        tar = tar.raw(b'0', format!("large{number}").as_bytes(), b"", 0o644, &large);
    }
    let path = folder.join("a.tar");
    fs::write(&path, tar.end()).unwrap();
    settle(&path);
    path
}

fn get(store: &Store, path: &Path) -> Result<toolbox_store::Held, StoreError> {
    store.get(&Source::Tar(path.to_owned()), &keep(), &mut |_| ())
}

/// Runs [`child`] in a process of its own: it says `begun`, unpacks, and says the image's inode.
fn start(store: &Path, archive: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "child"])
        .env("STORE", store)
        .env("ARCHIVE", archive)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The lines of a child up to one with this word, which is given.
fn wait_for(child: &mut Child, word: &str) -> String {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap());
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the child ended without `{word}`");
        if let Some(at) = line.find(word) {
            return line[at..].trim().to_owned();
        }
    }
}

#[test]
#[ignore = "a process for the other tests, not a test"]
fn child() {
    use std::os::unix::fs::MetadataExt;
    let variable = |name| PathBuf::from(std::env::var_os(name).expect("run by the other tests"));
    let store = Store::open(&variable("STORE")).unwrap();
    println!("begun");
    std::io::stdout().flush().unwrap();
    let policy = if std::env::var_os("OWN").is_some() { common::own() } else { keep() };
    let held = store.get(&Source::Tar(variable("ARCHIVE")), &policy, &mut |_| ()).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak {}", peak.trim());
    println!("inode {}", held.image.tree.metadata().unwrap().ino());
    if std::env::var_os("OWN").is_some() {
        let (tree, notes) = (held.image.tree.clone(), held.image.notes);
        let content = fs::read_to_string(tree.join("closed/file")).unwrap();
        drop(held);
        let freed = store.gc(&[]).unwrap();
        println!("user {content} {} {} {}", notes.set_id_dropped, freed.images.len(), freed.failures.len());
    }
}

#[test]
fn an_ordinary_user_reads_and_removes_what_the_archive_closed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    open(folder.path());
    let archive = Tar::default()
        .raw(b'5', b"closed", b"", 0, b"")
        .raw(b'0', b"closed/file", b"", 0o4000, b"content")
        .raw(b'3', b"null", b"", 0o666, b"")
        .folder("closed/deep");
    fs::write(folder.path().join("a.tar"), archive.end()).unwrap();
    // The user may not be able to enter where the test's program is.
    let program = folder.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    open(&program);
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    std::os::unix::fs::chown(&store, Some(65534), Some(65534)).unwrap();
    let mut child = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", "--ignored", "--nocapture", "child"])
        .env("STORE", &store)
        .env("ARCHIVE", folder.path().join("a.tar"))
        .env("OWN", "1")
        .current_dir("/")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(wait_for(&mut child, "user"), "user content 1 1 0");
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read_dir(store.join("images")).unwrap().count(), 0);
}

#[test]
fn a_known_file_is_not_read_again_and_a_changed_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let path = archive(folder.path(), 10);
    let first = get(&store, &path).unwrap();
    let mut calls = 0;
    let second = store.get(&Source::Tar(path.clone()), &keep(), &mut |_| calls += 1).unwrap();
    assert_eq!((first.image, calls), (second.image, 0));
    // Same content under another name: read once more, and found to be the same.
    let copy = folder.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    let third = get(&store, &copy).unwrap();
    assert_eq!(third.image.id, get(&store, &path).unwrap().image.id);
    assert_eq!(store.images().unwrap().len(), 1);
    fs::write(&path, Tar::default().file("other", "").end()).unwrap();
    assert_ne!(get(&store, &path).unwrap().image.id, third.image.id);
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn directories_are_used_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    let held = store.get(&Source::parse(root.to_str().unwrap()).unwrap(), &keep(), &mut |_| ()).unwrap();
    assert_eq!((held.image.tree, held.image.id), (root.canonicalize().unwrap(), None));
    assert!(store.images().unwrap().is_empty());
}

#[test]
fn names_removal_and_collection() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let path = archive(folder.path(), 10);
    let held = get(&store, &path).unwrap();
    let id = held.image.id.clone().unwrap();
    store.name(&id, "tools").unwrap();
    store.name(&id, "docker.io/library/tools:1").unwrap();
    assert!(matches!(store.name(&id, "a b"), Err(StoreError::Name { .. })));
    assert_eq!(store.hold_named("tools").unwrap().image.names, ["docker.io/library/tools:1", "tools"]);
    assert_eq!(store.find(&id.as_str()[..12]).unwrap(), id);
    assert!(matches!(store.find("abc"), Err(StoreError::Unknown { .. })));
    // One of two names.
    assert!(!store.remove("tools").unwrap());
    // In use.
    assert!(matches!(store.remove("docker.io/library/tools:1"), Err(StoreError::InUse { .. })));
    assert_eq!(store.gc(&[]).unwrap(), toolbox_store::Freed::default());
    let tree = held.image.tree.clone();
    drop(held);
    assert_eq!(store.gc(&[]).unwrap().images, []);
    assert!(unused(|| store.remove("docker.io/library/tools:1")));
    assert!(!tree.exists());
    assert!(matches!(store.remove("tools"), Err(StoreError::Unknown { .. })));
    // Without a name, kept or not.
    drop(get(&store, &path).unwrap());
    assert_eq!(store.gc(std::slice::from_ref(&id)).unwrap().images, []);
    let freed = soon(|| Some(store.gc(&[]).unwrap()).filter(|freed| !freed.images.is_empty()));
    assert_eq!(freed.images, [id]);
    assert!(freed.bytes > 9_000_000, "{freed:?}");
    assert_eq!(fs::read_dir(store.root().join("index")).unwrap().count(), 0);
    assert!(get(&store, &path).unwrap().image.tree.join("large0").exists());
}

#[test]
fn two_at_once_unpack_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let path = archive(folder.path(), 3000);
    let mut children: Vec<Child> = (0..3).map(|_| start(&root, &path)).collect();
    let inodes: Vec<String> = children.iter_mut().map(|child| wait_for(child, "inode")).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(inodes[0], inodes[1]);
    assert_eq!(inodes[0], inodes[2]);
    // Had one of them unpacked for itself, the tree would have been made anew under another inode.
    let store = Store::open(&root).unwrap();
    assert_eq!(store.images().unwrap().len(), 1);
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
}

#[test]
fn an_unpacker_killed_at_any_moment_leaves_nothing_half_and_nothing_locked() {
    // In memory: the state of the disk is not what this looks at, and a busy one takes minutes.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let root = folder.path().join("store");
    let path = archive(folder.path(), 2000);
    let store = Store::open(&root).unwrap();
    let begun = Instant::now();
    let expected = dump(&get(&store, &path).unwrap().image.tree);
    let whole = begun.elapsed();
    let rounds = if std::env::var_os("SLIPWAY_NIGHTLY").is_some() { 300 } else { 12 };
    let mut interrupted = 0;
    for round in 0..rounds {
        store.gc(&[]).unwrap();
        assert!(store.images().unwrap().is_empty());
        let mut child = start(&root, &path);
        wait_for(&mut child, "begun");
        // The moments are spread over the whole of an unpacking.
        std::thread::sleep(whole * round / rounds);
        child.kill().unwrap();
        child.wait().unwrap();
        for image in store.images().unwrap() {
            assert!(dump(&image.tree) == expected, "half an image after {round} of {rounds}");
        }
        interrupted += u32::from(store.images().unwrap().is_empty());
        let left = fs::read_dir(root.join("tmp")).unwrap().count() as u64;
        assert_eq!(store.gc(&[]).unwrap().leftovers, left);
        assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
        assert!(dump(&get(&store, &path).unwrap().image.tree) == expected);
    }
    assert!(interrupted > rounds / 4, "only {interrupted} of {rounds} were interrupted");
}

/// A small file system of its own, gone with the value.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(path: PathBuf, options: &str) -> Self {
        fs::create_dir(&path).unwrap();
        run("mount", &["-t", "tmpfs", "-o", options, "none", path.to_str().unwrap()], Path::new("/"));
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = archive(folder.path(), 100);
    for options in ["size=4m", "size=64m,nr_inodes=60"] {
        let small = Mounted::tmpfs(folder.path().join("small"), options);
        let store = Store::open(&small.0.join("store")).unwrap();
        let error = get(&store, &path).unwrap_err();
        assert!(matches!(error, StoreError::NoSpace { .. }), "{options}: {error}");
        assert!(error.hint().unwrap().contains("toolbox gc"));
        assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
        assert!(store.images().unwrap().is_empty());
        // With room, the next try works.
        run("mount", &["-o", "remount,size=64m,nr_inodes=4000", small.0.to_str().unwrap()], Path::new("/"));
        assert!(get(&store, &path).unwrap().image.tree.join("large2").exists());
        drop(small);
        fs::remove_dir(folder.path().join("small")).unwrap();
    }
}

#[test]
fn a_source_that_changes_under_the_reader_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let path = archive(folder.path(), 10);
    let mut first = true;
    let error = store.get(&Source::Tar(path.clone()), &keep(), &mut |_| {
        if std::mem::take(&mut first) {
            let content = fs::read(&path).unwrap();
            fs::write(&path, content).unwrap();
        }
    });
    assert!(matches!(error, Err(StoreError::Changed { .. })));
    assert!(store.images().unwrap().is_empty());
}

#[test]
fn many_entries_take_bounded_memory() {
    let nightly = std::env::var_os("SLIPWAY_NIGHTLY").is_some();
    let count = if nightly { 1_000_000 } else { 50_000 };
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut file = std::io::BufWriter::new(fs::File::create(folder.path().join("a.tar")).unwrap());
    for number in 0..count {
        let tar = if number % 5 == 0 {
            Tar::default().folder(&format!("d{}/{number}", number % 101))
        } else {
            Tar::default().file(&format!("d{}/{number}", number % 101), "")
        };
        file.write_all(&tar.0).unwrap();
    }
    file.write_all(&[0; 1024]).unwrap();
    file.into_inner().unwrap();
    let mut child = start(&folder.path().join("store"), &folder.path().join("a.tar"));
    let peak = wait_for(&mut child, "peak");
    assert!(child.wait().unwrap().success());
    let kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 16 << 10, "{count} entries took {kib} KiB");
    let store = Store::open(&folder.path().join("store")).unwrap();
    let tree = store.images().unwrap().remove(0).tree;
    let made: usize = fs::read_dir(&tree)
        .unwrap()
        .map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count())
        .sum();
    assert_eq!(made, count);
}
