//! Our qcow2 images by qemu-img, and qemu-img's by our reader.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use formats::qcow2::{self, ClusterError, HeaderError, Qcow2, Qcow2Error, WriteError};
use formats::read_at::ReadAt;
use formats::sparse;
use support::{noise, run, succeed};

const MIB: u64 = 1 << 20;

/// A sparse disk with text, noise and zeros, aligned to nothing.
fn disk(path: &Path, size: u64) -> File {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(size).unwrap();
    let text = b"all work and no play makes a dull image ".repeat(60_000);
    file.write_all_at(&text, 12_345).unwrap();
    file.write_all_at(&noise(1, 3_000_000), size / 2 + 77).unwrap();
    file.write_all_at(&noise(2, 700), size - 700).unwrap();
    file
}

fn same(one: &dyn ReadAt, other: &dyn ReadAt) {
    assert_eq!(one.size(), other.size());
    let (mut left, mut right) = (vec![0; 300_001], vec![0; 300_001]);
    let mut at = 0;
    while at < one.size() {
        let length = (one.size() - at).min(left.len() as u64) as usize;
        one.read_exact_at(&mut left[..length], at).unwrap();
        other.read_exact_at(&mut right[..length], at).unwrap();
        assert!(left[..length] == right[..length], "they differ near byte {at}");
        at += length as u64;
    }
    assert!(one.read_exact_at(&mut [0], one.size()).is_err());
    assert!(other.read_exact_at(&mut [0], one.size()).is_err());
}

#[test]
fn qemu_img_accepts_ours_and_we_read_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, image) = (folder.path().join("raw"), folder.path().join("qcow2"));
    for size in [8 * MIB + 512, 64 * MIB, 5000 * MIB] {
        let source = disk(&raw, size);
        let ranges = sparse::data_ranges(&source).unwrap();
        qcow2::write(&source, &ranges, &mut File::create(&image).unwrap()).unwrap();
        let said = succeed("qemu-img", "qemu-utils", &["check", image.to_str().unwrap()]);
        assert!(said.starts_with("No errors were found on the image."), "{said}");
        let compare = ["compare", "-f", "raw", "-F", "qcow2", raw.to_str().unwrap(), image.to_str().unwrap()];
        let said = succeed("qemu-img", "qemu-utils", &compare);
        assert!(said.contains("Images are identical."), "{said}");
        let opened = Qcow2::open(File::open(&image).unwrap()).unwrap();
        if size < 100 * MIB {
            same(&opened, &source);
            // Knowing nothing of the holes gives the same image.
            let mut whole = std::io::Cursor::new(Vec::new());
            qcow2::write(&source, std::slice::from_ref(&(0..100 * MIB)), &mut whole).unwrap();
            assert!(whole.into_inner() == fs::read(&image).unwrap());
        } else {
            let mut bytes = [0; 700];
            opened.read_exact_at(&mut bytes, size - 700).unwrap();
            assert_eq!(bytes[..], noise(2, 700));
        }
        assert!(fs::metadata(&image).unwrap().len() < 4 * MIB);
    }
}

#[test]
fn images_of_qemu_img_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, image) = (folder.path().join("raw"), folder.path().join("qcow2"));
    let source = disk(&raw, 40 * MIB + 1024);
    for options in [
        &["-o", "compat=0.10"][..],
        &["-o", "compat=1.1"],
        &["-c", "-o", "compat=0.10"],
        &["-c", "-o", "compression_type=zstd"],
        &["-c", "-o", "cluster_size=512"],
        &["-o", "cluster_size=2M,preallocation=full"],
        &["-c", "-o", "cluster_size=2M,compression_type=zlib"],
    ] {
        let mut arguments = vec!["convert", "-f", "raw", "-O", "qcow2"];
        arguments.extend(options);
        arguments.extend([raw.to_str().unwrap(), image.to_str().unwrap()]);
        succeed("qemu-img", "qemu-utils", &arguments);
        same(&Qcow2::open(File::open(&image).unwrap()).unwrap(), &source);
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("qcow2");
    let create = |options: &[&str]| {
        let mut arguments = vec!["create", "-q", "-f", "qcow2"];
        arguments.extend(options);
        arguments.extend([image.to_str().unwrap(), "10M"]);
        succeed("qemu-img", "qemu-utils", &arguments);
        match Qcow2::open(File::open(&image).unwrap()).err().unwrap() {
            Qcow2Error::Header(error) => error,
            other @ Qcow2Error::Read(_) => panic!("{other}"),
        }
    };
    let unsupported = |what| HeaderError::Unsupported { what };
    let data = format!("data_file={}", folder.path().join("data").display());
    assert_eq!(create(&["-u", "-b", "other.raw", "-F", "raw"]), unsupported("a backing file"));
    assert_eq!(create(&["-o", &data]), unsupported("an external data file"));
    assert_eq!(create(&["-o", "extended_l2=on"]), unsupported("sub-clusters"));
    // Set by hand: qemu-img measures the processor for its key, which a busy machine spoils.
    let mut image = std::io::Cursor::new(Vec::new());
    qcow2::write(&vec![0; 1 << 20], &[], &mut image).unwrap();
    let mut image = image.into_inner();
    image[0x20..0x24].copy_from_slice(&2u32.to_be_bytes());
    let Err(Qcow2Error::Header(error)) = Qcow2::open(image) else { panic!("an encrypted image was opened") };
    assert_eq!(error, unsupported("encryption"));
}

#[test]
fn damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let source = disk(&folder.path().join("raw"), 8 * MIB);
    let mut image = std::io::Cursor::new(Vec::new());
    qcow2::write(&source, std::slice::from_ref(&(0..8 * MIB)), &mut image).unwrap();
    let good = image.into_inner();
    let open = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        Qcow2::open(bad)
    };
    let header = |at, bytes: &[u8]| match open(at, bytes).err().unwrap() {
        Qcow2Error::Header(error) => error,
        Qcow2Error::Read(error) => panic!("{error}"),
    };
    assert_eq!(header(0, b"x"), HeaderError::Magic);
    assert_eq!(header(7, &[4]), HeaderError::Version { found: 4 });
    assert_eq!(header(23, &[22]), HeaderError::Field { field: "cluster_bits", offset: 20, found: 22 });
    assert!(matches!(header(24, &[0xff]), HeaderError::Field { field: "size", .. }));
    assert!(matches!(header(24, &[0x7f]), HeaderError::Field { field: "l1_size", .. }));
    assert!(matches!(header(40, &[0xff]), HeaderError::Field { field: "l1_table_offset", .. }));
    assert_eq!(header(72, &[0x80]), HeaderError::Features { bits: 1 << 63 });
    assert!(matches!(header(104, &[2]), HeaderError::Field { field: "compression_type", found: 2, .. }));
    assert!(matches!(
        Qcow2::open(b"QFI\xfb\0\0\0\x03".to_vec()),
        Err(Qcow2Error::Header(HeaderError::Short { .. }))
    ));

    let cluster = |at: usize, bytes: &[u8]| {
        let error = open(at, bytes)
            .unwrap_or_else(|error| panic!("{error}"))
            .read_exact_at(&mut [0; 9], 0)
            .unwrap_err();
        error.get_ref().unwrap().downcast_ref::<ClusterError>().unwrap().clone()
    };
    let place = |at: usize| u64::from_be_bytes(good[at..at + 8].try_into().unwrap()) & 0x00ff_ffff_ffff_fe00;
    let l1 = place(40) as usize;
    let l2 = place(l1) as usize;
    assert!(matches!(cluster(l1, &[0x80, 0xff]), ClusterError::Place { what: "L2 table", .. }));
    assert!(matches!(cluster(l2, &[0x80, 0xff]), ClusterError::Place { what: "cluster", .. }));
    assert!(matches!(cluster(l2, &[0x40, 0, 0xff]), ClusterError::Place { what: "compressed cluster", .. }));
    let first = 0x10000;
    assert_eq!(cluster(first, b"bad!"), ClusterError::Corrupt { position: 0, offset: first as u64 });
    assert!(run("qemu-img", "qemu-utils", &["--version"]).status.success());
}

#[test]
fn disks_without_whole_sectors_are_refused() {
    let mut out = std::io::Cursor::new(Vec::new());
    assert!(matches!(qcow2::write(&vec![0; 513], &[], &mut out), Err(WriteError::Unaligned { size: 513 })));
    assert!(matches!(qcow2::write(&Vec::new(), &[], &mut out), Err(WriteError::Empty)));
}
