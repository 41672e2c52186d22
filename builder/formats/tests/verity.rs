//! Our tree, veritysetup's verdict; veritysetup's tree, our verdict; and both byte for byte.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use formats::stream::ImageSink;
use formats::verity::{self, BLOCK_SIZE, Options, Superblock, VerifyError, VerityInfo, VerityWriter};
use support::{noise, succeed};

const BLOCK: usize = BLOCK_SIZE as usize;

fn options() -> Options {
    Options { salt: (1..=32).collect(), uuid: *b"0123456789abcdef" }
}

/// Pieces of data (some zeros, in odd sizes) and the image that they make with its tree.
fn build(data: &[u8], options: Options) -> (Vec<u8>, VerityInfo) {
    let mut image = Vec::new();
    let mut writer = VerityWriter::new(&mut image, options).unwrap();
    let mut rest = data;
    for size in [1, 4095, 5000, 70_000, 4096, 1 << 20, 3].into_iter().cycle() {
        let (now, later) = rest.split_at(rest.len().min(size));
        match now.iter().all(|byte| *byte == 0) {
            true if size % 2 == 0 => writer.skip(now.len() as u64).unwrap(),
            true => writer.zeros(now.len() as u64).unwrap(),
            false => writer.write(now).unwrap(),
        }
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    let info = writer.finish().unwrap();
    (image, info)
}

/// Noise with a zero run in its middle third.
fn data(blocks: usize) -> Vec<u8> {
    let mut data = noise(blocks as u64, blocks * BLOCK);
    data[blocks / 3 * BLOCK..blocks * 2 / 3 * BLOCK].fill(0);
    data
}

fn arguments<'a>(image: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["--hash-offset"];
    arguments.extend_from_slice(more);
    arguments.insert(0, image);
    arguments.insert(0, image);
    arguments
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn veritysetup_accepts_ours_and_makes_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for blocks in [1, 2, 127, 128, 129, 700, 16_385] {
        let data = data(blocks);
        let (image, info) = build(&data, options());
        assert_eq!(image[..data.len()], data);
        assert_eq!(info.hash_start_block, blocks as u64 + 1);
        assert_eq!(image.len() as u64, (info.hash_start_block + info.tree_blocks) * BLOCK_SIZE);

        let ours = folder.path().join("ours");
        fs::write(&ours, &image).unwrap();
        let size = data.len().to_string();
        let root = verity::to_hex(&info.root_hash);
        let mut verify = vec!["verify"];
        let tail = [size.as_str()];
        verify.extend(arguments(text(&ours), &tail));
        verify.insert(3, &root);
        succeed("veritysetup", "cryptsetup-bin", &verify);

        let theirs = folder.path().join("theirs");
        fs::write(&theirs, &data).unwrap();
        let salt = verity::to_hex(&info.salt);
        let count = blocks.to_string();
        let uuid = "30313233-3435-3637-3839-616263646566";
        let mut format = vec!["format"];
        let tail = [size.as_str(), "--salt", &salt, "--uuid", uuid, "--data-blocks", &count];
        format.extend(arguments(text(&theirs), &tail));
        let said = succeed("veritysetup", "cryptsetup-bin", &format);
        assert!(said.contains(&root), "{blocks} blocks: {said}");
        assert!(fs::read(&theirs).unwrap() == image, "{blocks} blocks: the trees differ");
        let superblock = verity::verify(&image, 0, data.len() as u64, &info.root_hash).unwrap();
        assert_eq!(superblock.data_blocks, blocks as u64);
    }
}

#[test]
fn the_first_bad_block_is_named() {
    let data = data(40_000);
    let (image, info) = build(&data, options());
    let hash_offset = data.len() as u64;
    let verdict = |offset: usize| {
        let mut bad = image.clone();
        bad[offset] ^= 1;
        verity::verify(&bad, 0, hash_offset, &info.root_hash).unwrap_err()
    };
    for block in [0, 127, 128, 20_000, 39_999] {
        let error = verdict(block * BLOCK + 77);
        assert!(matches!(error, VerifyError::DataBlock { block: b, .. } if b == block as u64), "{error}");
    }
    // Levels: 313 blocks, 3 blocks, 1 block; in the image after the superblock, top first.
    let top = data.len() + BLOCK;
    assert!(matches!(verdict(top), VerifyError::RootHash { .. }));
    assert!(matches!(verdict(top + 2 * BLOCK), VerifyError::HashBlock { level: 1, block: 1, .. }));
    let error = verdict(top + (1 + 3 + 312) * BLOCK);
    assert!(matches!(error, VerifyError::HashBlock { level: 0, block: 312, .. }), "{error}");
    assert!(matches!(verdict(data.len()), VerifyError::Superblock { .. }));
    let two_bad = {
        let mut bad = image.clone();
        bad[30_000 * BLOCK] ^= 1;
        bad[2_000 * BLOCK] ^= 1;
        verity::verify(&bad, 0, hash_offset, &info.root_hash).unwrap_err().to_string()
    };
    assert_eq!(two_bad, "verity data block 2000 at byte 8192000 is corrupt");
    let short = &image[..image.len() - 1];
    let error = verity::verify(short, 0, hash_offset, &info.root_hash).unwrap_err();
    assert!(matches!(error, VerifyError::Bounds { what: "hash area", .. }), "{error}");
}

#[test]
fn a_slot_is_known_by_its_top_block() {
    for blocks in [1, 300] {
        let (image, info) = build(&data(blocks), options());
        let superblock = Superblock::decode(&image[blocks * BLOCK..]).unwrap();
        let top = superblock.top_block_offset() as usize;
        let top = &image[top..top + BLOCK];
        assert!(verity::top_matches(&superblock, top, &info.root_hash));
        assert!(!verity::top_matches(&superblock, top, &[0; 32]));
        assert!(!verity::top_matches(&superblock, &top[1..], &info.root_hash));
    }
}

#[test]
fn what_cannot_be_hashed_is_refused() {
    let salt = vec![0; 257];
    let error = VerityWriter::new(Vec::new(), Options { salt, uuid: [0; 16] }).err().unwrap();
    assert_eq!(error.to_string(), "verity salt of 257 bytes is longer than 256");
    let writer = VerityWriter::new(Vec::new(), options()).unwrap();
    assert!(matches!(writer.finish(), Err(verity::Error::NoData)));
    let mut writer = VerityWriter::new(Vec::new(), options()).unwrap();
    writer.zeros(5 * BLOCK_SIZE + 17).unwrap();
    assert!(matches!(writer.finish(), Err(verity::Error::Unaligned { length: 20_497 })));
}
