//! Makes the seed corpus, `seeds/TARGET/NAME`: small good inputs that every target starts from.
//!
//! `cargo run --release --manifest-path fuzz/Cargo.toml --example seeds` writes the same bytes
//! each time; run it after a format has changed. ext4 is also made by `mke2fs` (package e2fsprogs).

use formats::esp::{self, Esp};
use formats::ext4::{Layout, Options, Size};
use formats::gpt::{self, GptLayout, PartitionSpec};
use formats::qcow2;
use formats::stream::ImageSink as _;
use formats::tree::{Content, Entry, Kind, Tree};
use formats::uki::Uki;
use formats::verity::{self, VerityWriter};
use fuzz::Disk;
use std::error::Error;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let keep = |target: &str, name: &str, bytes: &[u8]| -> Result<()> {
        let folder = root.join("seeds").join(target);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(name), bytes)?)
    };
    for (name, sizes) in [("one", &[1][..]), ("four", &[1 << 20, 2 << 20, 2 << 20, 1 << 20])] {
        keep("gpt", name, &Disk::to_input(&table(sizes)?))?;
    }
    keep("fat", "esp", &Disk::to_input(&volume()?))?;
    let ext4 = ext4()?;
    keep("ext4", "ours", &Disk::to_input(&ext4))?;
    keep("ext4", "ours-no-sums", &Disk::to_input(&without_sums(ext4.clone())))?;
    let theirs = mke2fs()?;
    keep("ext4", "mke2fs", &Disk::to_input(&theirs))?;
    keep("ext4", "mke2fs-no-sums", &Disk::to_input(&without_sums(theirs)))?;
    for (name, blocks) in [("small", 5), ("one-block", 1), ("two-levels", 130)] {
        let mut data = vec![0; blocks * verity::BLOCK_SIZE as usize];
        data[..100].copy_from_slice(&text(100));
        let mut image = Vec::new();
        let mut writer = VerityWriter::new(&mut image, verity::Options { salt: vec![5; 32], uuid: [6; 16] })?;
        writer.write(&data)?;
        writer.finish()?;
        let mut input = (data.len() as u64).to_le_bytes().to_vec();
        input.extend(Disk::to_input(&image));
        keep("verity", name, &input)?;
    }
    let stub = stub();
    let mut uki = Vec::new();
    let sections = [(".cmdline", Content::bytes(*b"quiet")), (".linux", Content::bytes(text(700)))];
    Uki::assemble(&stub, &sections)?.write(&mut uki)?;
    keep("uki", "stub", &stub)?;
    keep("uki", "uki", &uki)?;
    for (name, image) in qcow2_images()? {
        keep("qcow2", name, &Disk::to_input(&image))?;
    }
    for (name, member, packed) in packages()? {
        keep("deb", name, &deb(member, &packed))?;
    }
    keep("deb", "data.tar", &data_archive()?)?;
    for (target, name, from) in [
        ("spec", "default", "rootfs/image.yaml"),
        ("spec", "test", "qemu-tests/image.yaml"),
        ("lock", "default", "rootfs/image.lock"),
        ("unit", "bless", "rootfs/tree/usr/lib/systemd/system/slipway-bless.service"),
        ("unit", "target", "rootfs/tree/usr/lib/systemd/system/sysinit.target"),
    ] {
        keep(target, name, &fs::read(root.join("..").join(from))?)?;
    }
    for (name, text) in UNITS {
        keep("unit", name, text.as_bytes())?;
    }
    keep(
        "calendar",
        "fields",
        b"Mon..Fri,Sun 2026/2-*~1..7/2 9..17/2:00,30:1.5/7.25 Europe/Berlin\n",
    )?;
    let mut zone = b"*-*-* 02:30\n".to_vec();
    zone.extend(fs::read("/usr/share/zoneinfo/Europe/Berlin")?); // package tzdata
    keep("calendar", "zone", &zone)?;
    Ok(())
}

/// Units of types other than the tree's, each with its name as the first line.
const UNITS: [(&str, &str); 4] = [
    (
        "socket",
        "a@x.socket\n[Socket]\nListenStream=[::1]:80\nListenFIFO=/run/x\nAccept=no\nSymlinks=/run/y\n\
         BindIPv6Only=both\nKeepAliveTimeSec=5min\nFileDescriptorName=web\nExecStartPre=/bin/x %i\nMemoryMax=1G\n",
    ),
    (
        "timer",
        "a.timer\n[Timer]\nOnCalendar=Mon *-*~1 02:30 UTC\nOnBootSec=1h 5min\nRandomizedDelaySec=30s\n\
         Unit=b.target\nPersistent=yes\n",
    ),
    (
        "mount",
        "mnt-my\\x2ddata.mount\n[Mount]\nWhat=LABEL=my data\nWhere=/mnt/my-data\nOptions=ro,noatime\n\
         TimeoutSec=5\n[Install]\nWantedBy=local-fs.target\n",
    ),
    (
        "path",
        "a.path\n[Path]\nPathExistsGlob=/srv/*.[ab]\nDirectoryNotEmpty=/var/spool/%N\nMakeDirectory=yes\n",
    ),
];

/// Bytes that compress well and are not zero.
fn text(length: usize) -> Vec<u8> {
    b"0123456789abcdef".iter().copied().cycle().take(length).collect()
}

fn table(sizes: &[u64]) -> Result<Vec<u8>> {
    let specs: Vec<_> = (1..)
        .zip(sizes)
        .map(|(number, size)| PartitionSpec {
            label: format!("P{number}"),
            type_guid: gpt::ROOT_X86_64,
            unique_guid: uuid::Uuid::from_u128(number),
            size: *size,
            attributes: 0,
        })
        .collect();
    let layout = GptLayout::plan(&specs, &gpt::Options { disk_guid: uuid::Uuid::from_u128(9) })?;
    let mut disk = layout.head_bytes()?;
    disk.resize((layout.disk_size - gpt::TAIL_SIZE) as usize, 0);
    disk.extend(layout.tail_bytes()?);
    Ok(disk)
}

fn volume() -> Result<Vec<u8>> {
    let files = [
        ("EFI/Linux/slipway_0.1.0+3.efi".to_owned(), Content::bytes(text(3000))),
        ("EFI/BOOT/BOOTX64.EFI".to_owned(), Content::bytes(text(100))),
        ("loader/loader.conf".to_owned(), Content::bytes(*b"timeout 0\n")),
    ];
    let options = esp::Options { size: 33 << 20, volume_id: 1, label: "ESP".into(), hidden_sectors: 0 };
    let mut volume = Vec::new();
    Esp::plan(&files, &options)?.write(&mut volume)?;
    Ok(volume)
}

fn ext4() -> Result<Vec<u8>> {
    let mut tree = Tree::default();
    let mut put = |path: &str, kind: Kind| {
        let mut entry = Entry::new(kind, 0o755);
        if path.ends_with("file") {
            entry.xattrs.insert(b"security.capability".to_vec(), [vec![1, 0, 0, 2], vec![0; 16]].concat());
            entry.xattrs.insert(b"user.long".to_vec(), text(300));
        }
        tree.entries.insert(path.into(), entry);
    };
    put("", Kind::Directory);
    put("file", Kind::File(Content::bytes(text(5000))));
    put("hard", Kind::HardLink(b"file".to_vec()));
    put("short", Kind::Symlink(b"file".to_vec()));
    put("slow", Kind::Symlink(text(100)));
    put("null", Kind::CharDevice { major: 1, minor: 3 });
    put("wide", Kind::Directory);
    // Enough for an index.
    for number in 0..60 {
        put(&format!("wide/{number:0200}"), Kind::Fifo);
    }
    let options = Options {
        size: Size::Minimal,
        uuid: [3; 16],
        hash_seed: [4; 16],
        label: "seed".into(),
        created: 1_700_000_000,
        journal_blocks: None,
        resizable: false,
    };
    let mut image = Vec::new();
    Layout::plan(&tree, &options)?.write(&mut image)?;
    Ok(image)
}

/// Takes the feature `metadata_csum` away (superblock, `s_feature_ro_compat`), so that changes
/// elsewhere are not stopped by a sum.
fn without_sums(mut image: Vec<u8>) -> Vec<u8> {
    image[1024 + 0x65] &= !0x04;
    image
}

fn mke2fs() -> Result<Vec<u8>> {
    let folder = std::env::temp_dir().join(format!("slipway-seeds-{}", std::process::id()));
    fs::create_dir_all(folder.join("tree/folder"))?;
    fs::write(folder.join("tree/folder/file"), text(100))?;
    std::os::unix::fs::symlink("folder/file", folder.join("tree/link"))?;
    let image: PathBuf = folder.join("image");
    let status = Command::new("/usr/sbin/mke2fs")
        .args(["-q", "-t", "ext4", "-b", "1024", "-O", "^has_journal,^resize_inode", "-N", "32"])
        .args(["-U", "00000000-0000-0000-0000-000000000001"])
        .args(["-E", "hash_seed=00000000-0000-0000-0000-000000000002,root_owner=0:0"])
        .arg("-d")
        .arg(folder.join("tree"))
        .arg(&image)
        .arg("256k")
        .env("E2FSPROGS_FAKE_TIME", "1700000000")
        .status()?;
    assert!(status.success(), "mke2fs: {status}");
    let bytes = fs::read(&image)?;
    fs::remove_dir_all(folder)?;
    Ok(bytes)
}

/// The smallest PE file with a section and room in its headers for more (Microsoft "PE Format").
fn stub() -> Vec<u8> {
    let mut file = vec![0; 0x600];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(0x44, &0x8664u16.to_le_bytes());
    put(0x46, &1u16.to_le_bytes());
    put(0x54, &240u16.to_le_bytes());
    put(0x56, &0x0206u16.to_le_bytes());
    // The optional header: its magic, alignments, sizes, subsystem (EFI application), directories.
    put(0x58, &0x20bu16.to_le_bytes());
    put(0x58 + 16, &0x1000u32.to_le_bytes());
    put(0x58 + 32, &0x1000u32.to_le_bytes());
    put(0x58 + 36, &0x200u32.to_le_bytes());
    put(0x58 + 56, &0x2000u32.to_le_bytes());
    put(0x58 + 60, &0x400u32.to_le_bytes());
    put(0x58 + 68, &10u16.to_le_bytes());
    put(0x58 + 108, &16u32.to_le_bytes());
    let section = 0x58 + 240;
    put(section, b".text");
    put(section + 8, &0x200u32.to_le_bytes());
    put(section + 12, &0x1000u32.to_le_bytes());
    put(section + 16, &0x200u32.to_le_bytes());
    put(section + 20, &0x400u32.to_le_bytes());
    put(section + 36, &0x6000_0020u32.to_le_bytes());
    file
}

fn qcow2_images() -> Result<[(&'static str, Vec<u8>); 2]> {
    let mut disk = vec![0; 1 << 20];
    disk[100_000..300_000].copy_from_slice(&text(200_000));
    let mut ours = Cursor::new(Vec::new());
    qcow2::write(&disk, std::slice::from_ref(&(0..1 << 20)), &mut ours)?;
    // Version 2 with small plain clusters: header, one L1 table, one L2 table, one cluster.
    let mut plain = vec![0; 5 * 512];
    let mut put = |at: usize, bytes: &[u8]| plain[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &2u32.to_be_bytes());
    put(20, &9u32.to_be_bytes());
    put(24, &(64u64 * 512).to_be_bytes());
    put(36, &1u32.to_be_bytes());
    put(40, &512u64.to_be_bytes());
    put(48, &2048u64.to_be_bytes());
    put(56, &1u32.to_be_bytes());
    put(512, &(1024u64 | 1 << 63).to_be_bytes());
    put(1024, &(1536u64 | 1 << 63).to_be_bytes());
    put(1536, &text(512));
    Ok([("ours", ours.into_inner()), ("version-2", plain)])
}

fn data_archive() -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let header = |kind, size, mode| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(mode);
        header.set_mtime(1_600_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header
    };
    archive.append_data(&mut header(tar::EntryType::Directory, 0, 0o755), "./usr/bin/", &[][..])?;
    archive.append_pax_extensions([("SCHILY.xattr.user.a", &b"value"[..])])?;
    archive.append_data(&mut header(tar::EntryType::Regular, 6, 0o4755), "./usr/bin/tool", &b"binary"[..])?;
    archive.append_link(&mut header(tar::EntryType::Link, 0, 0o755), "./usr/bin/hard", "./usr/bin/tool")?;
    archive.append_link(&mut header(tar::EntryType::Symlink, 0, 0o777), "./bin/soft", "tool")?;
    let long = format!("./usr/{}", "long/".repeat(30));
    archive.append_data(&mut header(tar::EntryType::Directory, 0, 0o755), long, &[][..])?;
    Ok(archive.into_inner()?)
}

/// Names of seeds, ends of member names, and the two archives so packed.
fn packages() -> Result<Vec<(&'static str, &'static str, [Vec<u8>; 2])>> {
    let control = b"Package: tool\nVersion: 1:2.0-1\nArchitecture: amd64\nDepends: libc6 (>= 2.36),\n linux-image-6.1.0 | x\n";
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(control.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, "./control", &control[..])?;
    let inner = [archive.into_inner()?, data_archive()?];
    let mut xz = [const { Vec::new() }; 2];
    let mut zst = [const { Vec::new() }; 2];
    for (at, bytes) in inner.iter().enumerate() {
        let mut encoder = xz2::write::XzEncoder::new(&mut xz[at], 1);
        encoder.write_all(bytes)?;
        encoder.finish()?;
        zst[at] = zstd::encode_all(bytes.as_slice(), 3)?;
    }
    Ok(vec![("plain", "", inner), ("xz", ".xz", xz), ("zst", ".zst", zst)])
}

/// An `ar` archive as deb(5) wants it.
fn deb(suffix: &str, archives: &[Vec<u8>; 2]) -> Vec<u8> {
    let mut file = b"!<arch>\n".to_vec();
    let names = [format!("control.tar{suffix}"), format!("data.tar{suffix}")];
    let members =
        [("debian-binary", b"2.0\n".as_slice()), (&*names[0], &*archives[0]), (&*names[1], &*archives[1])];
    for (name, bytes) in members {
        file.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).bytes(),
        );
        file.extend(bytes);
        if bytes.len() % 2 == 1 {
            file.push(b'\n');
        }
    }
    file
}
