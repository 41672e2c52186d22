//! Superblocks and partition tables that Debian's tools write, in the opinion of blkid(8).

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use devices::encode::encode;
use devices::{probe, table};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn tool(package: &str, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: apt-get install {package}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A file of zeros.
fn image(folder: &TempDir, mib: u64) -> PathBuf {
    let path = folder.path().join("image");
    let file = File::create(&path).unwrap();
    file.set_len(mib << 20).unwrap();
    path
}

/// What blkid says, and what we say, as lines of udev's properties.
fn compare(path: &Path) -> String {
    let text = path.to_str().unwrap();
    let theirs = tool("util-linux", "blkid", &["-p", "-o", "udev", text]);
    let wanted = [
        "ID_FS_TYPE",
        "ID_FS_LABEL_ENC",
        "ID_FS_UUID_ENC",
        "ID_FS_UUID_SUB_ENC",
        "ID_FS_USAGE",
        "ID_FS_VERSION",
    ];
    let mut theirs: Vec<&str> =
        theirs.lines().filter(|line| wanted.contains(&line.split('=').next().unwrap_or_default())).collect();
    theirs.sort_unstable();
    let found = probe(&File::open(path).unwrap()).unwrap();
    let ours = [
        ("ID_FS_LABEL_ENC", encode(&found.label)),
        ("ID_FS_TYPE", found.kind.to_owned()),
        ("ID_FS_USAGE", found.usage.to_owned()),
        ("ID_FS_UUID_ENC", encode(&found.uuid)),
        ("ID_FS_UUID_SUB_ENC", encode(&found.uuid_sub)),
        ("ID_FS_VERSION", encode(&found.version)),
    ];
    let ours = ours.into_iter().filter(|(_, value)| !value.is_empty());
    let ours: Vec<String> = ours.map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(ours, theirs);
    ours.join("\n")
}

#[test]
fn ext_in_each_of_its_ages() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["ext2", "ext3", "ext4"] {
        let path = image(&folder, 8);
        tool("e2fsprogs", "mke2fs", &["-q", "-t", kind, "-L", "my disk/1", path.to_str().unwrap()]);
        let said = compare(&path);
        assert!(said.contains("my\\x20disk\\x2f1") && said.contains(&format!("ID_FS_TYPE={kind}")), "{said}");
    }
}

#[test]
fn fat_of_each_size() {
    let folder = tempfile::tempdir().unwrap();
    for (bits, mib) in [("12", 2), ("16", 32), ("32", 64)] {
        for label in ["A LABEL", ""] {
            let path = image(&folder, mib);
            let label = if label.is_empty() { vec![] } else { vec!["-n", label] };
            let arguments = [&["-F", bits], label.as_slice(), &[path.to_str().unwrap()]].concat();
            tool("dosfstools", "mkfs.vfat", &arguments);
            compare(&path);
        }
    }
}

#[test]
fn other_formats() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(&folder, 4);
    let text = path.to_str().unwrap();
    tool("util-linux", "mkswap", &["-L", "swap one", text]);
    assert!(compare(&path).contains("ID_FS_TYPE=swap"));
    let path = image(&folder, 128);
    tool("btrfs-progs", "mkfs.btrfs", &["-q", "-f", "-L", "b one", text]);
    compare(&path);
    let path = image(&folder, 320);
    tool("xfsprogs", "mkfs.xfs", &["-q", "-f", "-L", "x one", text]);
    compare(&path);
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("file"), "x").unwrap();
    std::fs::remove_file(&path).unwrap();
    tool("squashfs-tools", "mksquashfs", &[tree.to_str().unwrap(), text, "-quiet", "-no-progress"]);
    compare(&path);
    tool("xorriso", "xorrisofs", &["-quiet", "-V", "config-2", "-o", text, tree.to_str().unwrap()]);
    assert!(compare(&path).contains("ID_FS_LABEL_ENC=config-2"));
    let path = image(&folder, 32);
    let luks =
        ["-q", "luksFormat", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    let key = folder.path().join("key");
    std::fs::write(&key, "secret").unwrap();
    tool(
        "cryptsetup-bin",
        "cryptsetup",
        &[&luks[..], &["--label", "l", text, key.to_str().unwrap()]].concat(),
    );
    assert!(compare(&path).contains("ID_FS_TYPE=crypto_LUKS"));
}

#[test]
fn partitions_of_both_schemes() {
    let folder = tempfile::tempdir().unwrap();
    let path = image(&folder, 16);
    let text = path.to_str().unwrap();
    tool("gdisk", "sgdisk", &["-n", "1:0:+1M", "-c", "1:a name", "-n", "5:0:+1M", "-c", "5:b", text]);
    let check = |number: u32| {
        let said = tool("util-linux", "sfdisk", &["--part-uuid", text, &number.to_string()]);
        let entry = table::partition(&File::open(&path).unwrap(), 512, number).unwrap();
        assert_eq!(entry.uuid, said.trim().to_lowercase());
        entry
    };
    assert_eq!((check(1).name.as_str(), check(5).name.as_str()), ("a name", "b"));
    assert_eq!(table::partition(&File::open(&path).unwrap(), 512, 2), None);
    let disk = table::table(&File::open(&path).unwrap(), 512).unwrap();
    let said = tool("util-linux", "sfdisk", &["--disk-id", text]);
    assert_eq!((disk.scheme, disk.uuid), ("gpt", said.trim().to_lowercase()));

    std::fs::write(folder.path().join("layout"), "label: dos\nlabel-id: 0x1234abcd\n,1M,83\n,1M,c\n")
        .unwrap();
    let path = image(&folder, 16);
    let layout = format!("sfdisk -q {text} < {}/layout", folder.path().display());
    tool("fdisk", "sh", &["-c", &layout]);
    let disk = table::table(&File::open(&path).unwrap(), 512).unwrap();
    assert_eq!((disk.scheme, disk.uuid.as_str()), ("dos", "1234abcd"));
    let entry = table::partition(&File::open(&path).unwrap(), 512, 2).unwrap();
    let said = tool("util-linux", "blkid", &["-p", "-o", "value", "-s", "PTUUID", text]);
    assert_eq!(entry.uuid, format!("{}-02", said.trim()));
    assert_eq!(entry.kind, "0xc");
}
