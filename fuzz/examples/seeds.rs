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
use journal::segment::record::{Kind as RecordKind, append};
use journal::segment::{Header, Indexer};
use net::dhcp4::Message;
use net::dhcp4::message::{Kind as Dhcp, code};
use ssh::server::replay;
use std::error::Error;
use std::fs;
use std::io::{Cursor, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A log of three segments as its target takes them.
fn kv_log() -> Result<Vec<u8>> {
    use kv_log::disk::{Disk as _, sim::SimDisk};
    let (disk, folder) = (SimDisk::new(0), Path::new("/log"));
    let options =
        kv_log::Options { mode: kv_log::Mode::Caller, segment_bytes: 4096, ..kv_log::Options::new(1) };
    let (log, _) = kv_log::Log::open(disk.clone(), folder, options)?;
    for index in 0..30 {
        let id = kv_log::LogId { term: 1, node: 1, index };
        let vote = (index % 10 == 0).then_some(kv_log::Vote { term: 1, node: 1, committed: true });
        log.append_and_wait(vec![kv_log::Entry { id, payload: vec![index as u8; 300].into() }], vote)?;
    }
    log.save_committed(kv_log::LogId { term: 1, node: 1, index: 9 });
    log.seal()?;
    let mut names = disk.list(folder)?;
    names.sort();
    let mut input = vec![names.len() as u8 - 1];
    for name in &names[1..] {
        let (_, index) = kv_log::format::parse_name(name).ok_or("a name")?;
        input.push(index as u8);
    }
    for name in names {
        input.extend(disk.bytes(&folder.join(name))?);
    }
    Ok(input)
}

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
    keep("superblock", "gpt", &Disk::to_input(&table(&[1])?))?;
    keep("superblock", "fat", &Disk::to_input(&volume()?))?;
    for (name, at, magic) in [
        ("btrfs", 0x1_0040, b"_BHRfS_M".as_slice()),
        ("iso9660", 32768, b"\x01CD001"),
        ("swap", 4086, b"SWAPSPACE2"),
        ("xfs", 0, b"XFSB"),
    ] {
        let mut device = vec![0; 128 << 10];
        device[at..at + magic.len()].copy_from_slice(magic);
        keep("superblock", name, &Disk::to_input(&device))?;
    }
    for (name, input) in [
        ("range", r#"!{"key":"Zm9v","rangeEnd":"AA==","limit":"2","sort_order":"DESCEND","keysOnly":null}"#),
        (
            "txn",
            r#""{"compare":[{"key":"YQ==","target":"CREATE","createRevision":"2"}],"success":[{"request_put":{"key":"YQ"}}]}"#,
        ),
        ("watch", "2{\"create_request\":{\"key\":\"Zm9v\"}}\n{\"cancelRequest\":{\"watchId\":7}}"),
        ("message", "!\x12\x09\x0a\x01a\x10\x02\x18\x02\x20\x01"),
    ] {
        keep("kv_json", name, input.as_bytes())?;
    }
    let event = b"add@/devices/vda\0ACTION=add\0DEVPATH=/devices/vda\0SUBSYSTEM=block\0DEVNAME=vda\0";
    keep("uevent", "add", event)?;
    keep("uevent", "entry", b"S:disk/by-label/a\nL:50\nI:1\nE:ID_FS_TYPE=ext4\nG:systemd\nQ:systemd\nV:1\n")?;
    keep(
        "uevent",
        "aliases",
        b"alias virtio:d00000001v* virtio_net\nalias usb:v*p[0-3]?x* r8152\n\0usb:v1p22x",
    )?;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvcLRmK4Jf8GuTgqh2vGkYBSXgx9oPE7DHxyQ+xJ7Eh";
    keep("ssh_import", "github", format!("[{{\"id\":1,\"key\":\"{key}\"}}]").as_bytes())?;
    keep("ssh_import", "lines", format!("# mine\n{key} me\n").as_bytes())?;
    keep("ssh_import", "wanted", b"core github octocat\ncore url https://a:b@c/d\n")?;
    let ext4 = ext4()?;
    keep("superblock", "ext4", &Disk::to_input(&ext4))?;
    keep("ext4", "ours", &Disk::to_input(&ext4))?;
    let bare = Disk::to_input(&without_sums(ext4.clone()));
    keep("ext4", "ours-no-sums", &bare)?;
    keep("ext4_unpack", "ours", &bare)?;
    let theirs = mke2fs()?;
    keep("ext4", "mke2fs", &Disk::to_input(&theirs))?;
    let bare = Disk::to_input(&without_sums(theirs));
    keep("ext4", "mke2fs-no-sums", &bare)?;
    keep("ext4_unpack", "mke2fs", &bare)?;
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
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ a comment";
    let options = "restrict,pty,command=\"a \\\"b\\\"\",from=\"10.0.0.0/8,!10.1.*\",expiry-time=\"20260101\",\
                   permitopen=\"[::1]:80\",permitlisten=\"8080\"";
    keep("ssh", "keys", format!("k# mine\n{key}\n{options} {key}\n").as_bytes())?;
    keep("ssh", "config", b"cPort 22\nListenAddress [::1]:22\nLoginGraceTime 1m\nAcceptEnv LANG \"LC_*\"\n")?;
    keep("ssh", "words", b"wsystemctl 'a b' \"c \\\"d\" e\\ f")?;
    keep("ssh", "sftp-open", b"s\x03\0\0\0\x01\0\0\0\x04/tmp\0\0\0\x1a\0\0\0\x04\0\0\x01\xa4")?;
    keep("ssh", "sftp-rename", b"s\xc8\0\0\0\x02\0\0\0\x18posix-rename@openssh.com\0\0\0\x01a\0\0\0\x01b")?;
    let whole = |messages: &[Vec<u8>]| replay::connection(messages.iter().map(Vec::as_slice));
    keep("ssh_connection", "real", &[b"r".to_vec(), whole(&replay::until_keys())].concat())?;
    keep("ssh_connection", "clear", &[b"c".to_vec(), whole(&replay::everything())].concat())?;
    let messages = replay::everything();
    let framed =
        messages.iter().map(|message| [&(message.len() as u16).to_be_bytes(), message.as_slice()].concat());
    keep("ssh_connection", "messages", &[b"m".to_vec(), framed.collect::<Vec<_>>().concat()].concat())?;
    for (name, image) in qcow2_images()? {
        keep("qcow2", name, &Disk::to_input(&image))?;
    }
    for (name, member, packed) in packages()? {
        keep("deb", name, &deb(member, &packed))?;
    }
    keep("deb", "data.tar", &data_archive()?)?;
    // The first byte is how it is unpacked: plainly, and as an upper layer by the walk.
    for (name, first) in [("plain", 0), ("layer", 9)] {
        keep("unpack", name, &[&[first][..], &hostile()?].concat())?;
    }
    let digest = format!("sha256:{}", "0".repeat(64));
    let index = format!(
        r#"{{"manifests":[{{"digest":"{digest}","size":2,"mediaType":"application/vnd.oci.image.index.v1+json","annotations":{{"org.opencontainers.image.ref.name":"latest"}},"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#
    );
    keep("oci", "index", index.as_bytes())?;
    let manifest =
        format!(r#"{{"config":{{"digest":"{digest}"}},"layers":[{{"digest":"{digest}","size":1}}]}}"#);
    keep("oci", "manifest", manifest.as_bytes())?;
    keep("oci", "saved", br#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l/layer.tar"]}]"#)?;
    keep("oci", "config", br#"{"config":{"Env":["A=b"],"Cmd":null},"rootfs":{"diff_ids":["x"]}}"#)?;
    keep("oci", "name", format!("localhost:5000/a/b:1@{digest}").as_bytes())?;
    for (name, packet) in dns()? {
        keep("dns", name, &packet)?;
    }
    for (name, packet) in ntp() {
        keep("ntp", name, &packet)?;
    }
    for (name, text) in [
        ("hosts", &b"127.0.0.1 localhost\n10.0.0.1 a.example a # c\n0.0.0.0 b\n"[..]),
        ("resolved", b"[Resolve]\nDNS=10.0.0.1 [fe80::1%eth0]:53\nDomains=a ~b ~.\nLLMNR=resolve\n"),
        ("link", b"DNS=10.0.0.1 fe80::1%2\nDOMAINS=a\nROUTE_DOMAINS=b .\nLLMNR=no\n"),
        ("timesyncd", b"[Time]\nNTP=a b\nPollIntervalMaxSec=1h 8min\n"),
        ("zone", &zone()),
    ] {
        keep("names_files", name, text)?;
    }
    keep("journal_segment", "open", &segment(false))?;
    keep("journal_segment", "closed", &segment(true))?;
    keep("kv_log", "three", &kv_log()?)?;
    let mut native = b"MESSAGE=one\nPRIORITY=3\nBINARY\n".to_vec();
    native.extend(3_u64.to_le_bytes());
    native.extend(b"a\nb\n\nMESSAGE=two\n");
    keep("journal_message", "native", &native)?;
    keep("journal_message", "syslog", b"<30>Nov 22 18:05:09 sshd[12]: hello\n")?;
    keep("journal_message", "kmsg", b"4,339,5140900,-;NET: one\\x0atwo\n SUBSYSTEM=net\n DEVICE=n2\n")?;
    keep("journal_message", "stream", b"sh\na.service\n6\n1\n0\n0\n1\n<3>line\nnext\0last")?;
    keep("journal_message", "config", b"[Journal]\nSystemMaxUse=16M\nMaxRetentionSec=1week 2d\n")?;
    keep("journal_message", "time", b"2026-11-22 18:05:09.5 UTC")?;
    for (target, name, from) in [
        ("spec", "default", "rootfs/image.yaml"),
        ("spec", "test", "qemu-tests/image.yaml"),
        ("lock", "default", "rootfs/image.lock"),
        ("unit", "bless", "rootfs/tree/usr/lib/systemd/system/slipway-bless.service"),
        ("unit", "target", "rootfs/tree/usr/lib/systemd/system/sysinit.target"),
        ("network", "default", "rootfs/tree/usr/lib/systemd/network/zz-default.network"),
    ] {
        keep(target, name, &fs::read(root.join("..").join(from))?)?;
    }
    for (target, name, bytes) in network() {
        keep(target, name, &bytes)?;
    }
    for (name, text) in UNITS {
        keep("unit", name, text.as_bytes())?;
    }
    keep("calendar", "fields", b"Mon..Fri,Sun 2026/2-*~1..7/2 9..17/2:00,30:1.5/7.25 Europe/Berlin\n")?;
    let mut zone = b"*-*-* 02:30\n".to_vec();
    zone.extend(fs::read("/usr/share/zoneinfo/Europe/Berlin")?); // package tzdata
    keep("calendar", "zone", &zone)?;
    Ok(())
}

/// What servers and routers say, an event each: its kind, its length in words of 4 bytes, its bytes.
fn network() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let event = |kind: u8, bytes: &[u8]| {
        let words = bytes.len().div_ceil(4);
        let mut event = vec![kind, words as u8];
        event.extend_from_slice(bytes);
        event.resize(2 + words * 4, 0);
        event
    };
    let server = |kind| Message {
        kind,
        from_client: false,
        transaction: 0,
        secs: 0,
        client: Ipv4Addr::UNSPECIFIED,
        yours: Ipv4Addr::new(192, 0, 2, 9),
        mac: net::config::value::Mac([2, 0, 0, 0, 0, 1]),
        options: [
            (code::SERVER_ID, vec![192, 0, 2, 1]),
            (code::LEASE_TIME, vec![0, 0, 14, 16]),
            (code::SUBNET_MASK, vec![255, 255, 255, 0]),
            (code::CLASSLESS_ROUTES, vec![24, 10, 17, 33, 192, 0, 2, 1]),
            (code::SEARCH, b"\x03eng\x05apple\x03com\0\x01a\xc0\x04".to_vec()),
        ]
        .into(),
    };
    let later = |seconds: u32| event(3, &seconds.to_be_bytes());
    let lease = [event(1, &server(Dhcp::Offer).encode()), event(1, &server(Dhcp::Ack).encode())].concat();
    let bound = [&lease[..], &later(1), &later(1), &later(1), &later(2000)].concat();
    let refused = [&bound[..], &event(1, &server(Dhcp::Nak).encode())].concat();
    let mut advertise = vec![2, 0, 0, 0, 0, 2, 0, 10];
    advertise.extend([2; 10]);
    advertise.extend([
        0, 7, 0, 1, 255, 0, 3, 0, 40, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24, 0x20, 1, 0x0d, 0xb8,
    ]);
    advertise.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 3, 232, 0, 0, 7, 208]);
    let mut reply = advertise.clone();
    reply[0] = 7;
    let six = [later(1), event(1, &advertise), event(1, &reply), later(600)].concat();
    let mut names = vec![134, 0, 0, 0, 64, 0xc0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 25, 3, 0, 0, 0, 0, 0, 100];
    names.extend([
        0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 31, 2, 0, 0, 0, 0, 0, 100, 1, b'a', 0, 0, 0,
        0, 0, 0,
    ]);
    vec![
        ("dhcp4", "bound", bound),
        ("dhcp4", "refused", refused),
        ("dhcp6", "bound", six),
        ("router", "names", names),
    ]
}

/// A segment of the journal with three entries.
fn segment(closed: bool) -> Vec<u8> {
    let header = Header { id: [1; 16], first_sequence: 1, created_us: 1 };
    let mut indexer = Indexer::default();
    let mut bytes = header.encode().to_vec();
    let mut add = |kind, payload: &[u8]| append(&mut bytes, 0, &header.id, kind, |out| out.extend(payload));
    let fields =
        [&b"_SYSTEMD_UNIT=a.service"[..], b"_BOOT_ID=00000000000000000000000000000001"].map(|field| {
            let offset = add(RecordKind::Field, field);
            indexer.field(offset, field);
            offset
        });
    let set = add(RecordKind::Set, &fields.map(u32::to_le_bytes).concat());
    indexer.set(set, fields.to_vec());
    for sequence in 1..4_u64 {
        let mut entry = [sequence, 1_790_000_000_000_000 + sequence, sequence].map(u64::to_le_bytes).concat();
        entry.extend([1, set, 9].map(u32::to_le_bytes).concat());
        entry.extend(b"MESSAGE=x");
        let offset = add(RecordKind::Entry, &entry);
        indexer.entry(offset, sequence, 1_790_000_000_000_000 + sequence, &[set]);
    }
    if closed {
        let (postings, directory) = indexer.encode();
        let (place, length) = (add(RecordKind::Postings, &postings), postings.len() as u32);
        let index = add(RecordKind::Directory, &directory);
        let end = [place, length, index, directory.len() as u32].map(u32::to_le_bytes).concat();
        add(RecordKind::End, &end);
    }
    bytes
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

/// Every kind of entry, and what leads out of a tree.
fn hostile() -> Result<Vec<u8>> {
    use tar::EntryType as Type;
    let mut archive = tar::Builder::new(Vec::new());
    for (kind, path, link) in [
        (Type::Directory, "a/", ""),
        (Type::Symlink, "out", "../victim"),
        (Type::Symlink, "abs", "/victim"),
        (Type::Regular, "out/file", ""),
        (Type::Link, "hard", "out/file"),
        (Type::Regular, "lower/.wh.file", ""),
        (Type::Regular, "lower/.wh..wh..opq", ""),
        (Type::Fifo, "pipe", ""),
        (Type::Char, "null", ""),
        (Type::Regular, "a", ""),
        (Type::Regular, "a/b", ""),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.as_gnu_mut().ok_or("a GNU header")?.name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().ok_or("a GNU header")?.linkname[..link.len()].copy_from_slice(link.as_bytes());
        let content: &[u8] = if kind == Type::Regular && !path.contains(".wh.") { b"content" } else { b"" };
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content)?;
    }
    archive.append_pax_extensions([("SCHILY.xattr.user.note", &b"v"[..]), ("mtime", b"1.5")])?;
    let sparse =
        [("GNU.sparse.major", &b"0"[..]), ("GNU.sparse.realsize", b"100"), ("GNU.sparse.map", b"2,3")];
    archive.append_pax_extensions(sparse)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    archive.append_data(&mut header, format!("{}/long", "n".repeat(120)), &b"abc"[..])?;
    Ok(archive.into_inner()?)
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

/// A question, an answer with a chain and a SOA, and a neighbour's question.
fn dns() -> Result<Vec<(&'static str, Vec<u8>)>> {
    use hickory_proto::op::{Message, MessageType};
    use hickory_proto::rr::rdata::{A, CNAME, SOA};
    use hickory_proto::rr::{RData, Record, RecordType};
    let name = |text| resolve::config::name(text).ok_or("a name");
    let question = resolve::wire::Question { name: name("www.example")?, kind: RecordType::A };
    let query = resolve::wire::query(&question, 7, true)?;
    let mut answer = Message::from_vec(&query)?;
    answer.metadata.message_type = MessageType::Response;
    answer.add_answer(Record::from_rdata(name("www.example")?, 60, RData::CNAME(CNAME(name("b.example")?))));
    answer.add_answer(Record::from_rdata(name("b.example")?, 60, RData::A(A::new(10, 0, 0, 1))));
    let soa = SOA::new(name("example")?, name("example")?, 1, 2, 3, 4, 5);
    answer.add_authority(Record::from_rdata(name("example")?, 60, RData::SOA(soa)));
    let neighbour = resolve::wire::Question { name: name("node1")?, kind: RecordType::ANY };
    let own = resolve::wire::Question { name: name("db")?, kind: RecordType::A };
    Ok(vec![
        ("query", query),
        ("answer", answer.to_vec()?),
        ("neighbour", resolve::llmnr::query(&neighbour, 9)?),
        ("own", resolve::wire::query(&own, 8, false)?),
    ])
}

/// Answers to the cookie that the target asks with: good ones, a wrong stratum, a kiss.
fn ntp() -> Vec<(&'static str, Vec<u8>)> {
    let good = |ahead: i64| {
        let mut packet = vec![0; clock::packet::SIZE];
        (packet[0], packet[1]) = (0x24, 2);
        packet[24..32].copy_from_slice(&0x0123_4567_89ab_cdef_u64.to_be_bytes());
        let time = clock::packet::timestamp(1_800_000_000_000_000_000 + ahead).to_be_bytes();
        packet[32..40].copy_from_slice(&time);
        packet[40..48].copy_from_slice(&time);
        packet
    };
    let mut kiss = good(0);
    kiss[1] = 0;
    kiss[12..16].copy_from_slice(b"RATE");
    vec![
        ("one", good(5_000_000)),
        ("three", [good(0), good(32_000_000_000), good(7_000_000_000_000)].concat()),
        ("kiss", kiss),
    ]
}

/// A compiled zone without transitions and with a rule.
fn zone() -> Vec<u8> {
    let mut header = b"TZif2".to_vec();
    header.resize(20, 0);
    for count in [0_u32, 0, 0, 0, 1, 4] {
        header.extend(count.to_be_bytes());
    }
    let block = [&[0, 0, 0x0e, 0x10, 0, 0][..], b"CET\0"].concat();
    [&header[..], &block, &header, &block, b"\nCET-1CEST,M3.5.0,M10.5.0/3\n"].concat()
}
