use super::*;
use formats::stream::ImageSink;
use formats::verity::{Options, VerityWriter};

const BLOCKS: usize = 300;

/// A partition with a slot in it, and its root hash.
fn slot() -> (Vec<u8>, Digest32) {
    let mut data: Vec<u8> = (0..BLOCKS * 4096).map(|index| (index / 4096) as u8).collect();
    data[1024..2048].fill(0);
    let mut put = |at: usize, bytes: &[u8]| data[1024 + at..1024 + at + bytes.len()].copy_from_slice(bytes);
    put(0x4, &(BLOCKS as u32).to_le_bytes());
    put(0x18, &2_u32.to_le_bytes());
    put(0x38, &[0x53, 0xef]);
    put(0x60, &0x80_u32.to_le_bytes());
    let mut image = Vec::new();
    let options = Options { salt: vec![0xab; 32], uuid: [1; 16] };
    let mut writer = VerityWriter::new(&mut image, options).unwrap();
    writer.write(&data).unwrap();
    let root_hash = writer.finish().unwrap().root_hash;
    image.resize(image.len() + 8192, 0);
    (image, root_hash)
}

#[test]
fn a_slot_with_the_root_hash_is_found_and_mapped() {
    let (image, root_hash) = slot();
    let target = Slot::examine(&image, &root_hash).unwrap().verity_target(Path::new("/dev/vda2"), &root_hash);
    assert_eq!(target.sectors, 2400);
    let hash = verity::to_hex(&root_hash);
    let salt = "ab".repeat(32);
    assert_eq!(
        target.parameters,
        format!("1 /dev/vda2 /dev/vda2 4096 4096 300 301 sha256 {hash} {salt} 1 panic_on_corruption")
    );
}

#[test]
fn each_poked_structure_has_its_own_reason() {
    let poke = |at: usize, byte: u8| {
        let (mut image, root_hash) = slot();
        image[at] = byte;
        Slot::examine(&image, &root_hash).unwrap_err()
    };
    let behind = BLOCKS * 4096;
    assert!(matches!(poke(1024 + 0x38, 0), SlotError::NoFileSystem));
    assert!(matches!(poke(1024 + 0x18, 255), SlotError::NoFileSystem));
    assert!(matches!(poke(1024 + 0x18, 6), SlotError::Size { .. }));
    assert!(matches!(poke(1024 + 0x153, 255), SlotError::Size { .. }));
    assert!(matches!(poke(1024 + 0x4, 43), SlotError::Superblock(SuperblockError::Magic { .. })));
    assert!(matches!(poke(behind, 0), SlotError::Superblock(SuperblockError::Magic { .. })));
    assert!(matches!(poke(behind + 0x48, 43), SlotError::Coverage { .. }));
    assert!(matches!(poke(behind + 0x58, 0), SlotError::RootHash));
    assert!(matches!(poke(behind + 4096, 0), SlotError::RootHash));
}

#[test]
fn other_content_and_short_partitions_are_refused() {
    let (image, root_hash) = slot();
    assert!(matches!(Slot::examine(&image, &[0; 32]), Err(SlotError::RootHash)));
    let cut = |length: usize| Slot::examine(&image[..length].to_vec(), &root_hash).unwrap_err();
    assert!(matches!(cut(1000), SlotError::Read { what: "the ext4 superblock", .. }));
    assert!(matches!(cut(BLOCKS * 4096), SlotError::Size { .. }));
    assert!(matches!(cut((BLOCKS + 1) * 4096), SlotError::Read { what: "the top of the verity tree", .. }));
    assert!(matches!(Slot::examine(&vec![0; 1 << 20], &root_hash), Err(SlotError::NoFileSystem)));
}
