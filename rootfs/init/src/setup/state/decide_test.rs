use super::*;
use crate::setup::state::format::tests::options;
use formats::ext4::Layout;
use formats::tree::Tree;

const SIZE: u64 = 300 << 20;

/// A formatted partition: large enough to have a backup superblock (in group 1, at 128 MiB).
fn formatted() -> Vec<u8> {
    let mut image = Vec::new();
    Layout::plan(&Tree::default(), &options(SIZE)).unwrap().write(&mut image).unwrap();
    image.resize(SIZE as usize, 0);
    image
}

#[test]
fn a_partition_never_used_is_formatted() {
    assert!(matches!(decide(&vec![0; 4 << 20]).unwrap(), Action::Format));
}

#[test]
fn a_file_system_is_taken() {
    let mut image = formatted();
    assert!(matches!(decide(&image).unwrap(), Action::Take { errors: false, unfinished: false }));
    image[..MARKER.len()].copy_from_slice(MARKER);
    assert!(matches!(decide(&image).unwrap(), Action::Take { errors: false, unfinished: true }));
}

#[test]
fn an_unfinished_formatting_is_begun_anew() {
    let mut image = formatted();
    image[..MARKER.len()].copy_from_slice(MARKER);
    image[1024..2048].fill(0);
    assert!(matches!(decide(&image).unwrap(), Action::Format));
}

#[test]
fn a_damaged_superblock_is_restored_not_formatted() {
    let mut image = formatted();
    let good = image[1024..2048].to_vec();
    image[1024 + 0x04] ^= 1;
    let Action::Restore(backup) = decide(&image).unwrap() else { panic!("not restored") };
    image[1024..2048].copy_from_slice(&backup.bytes);
    assert!(matches!(decide(&image).unwrap(), Action::Take { .. }));
    assert_eq!(
        superblock::read(&image).unwrap().uuid,
        superblock::Superblock::decode(good.as_slice().try_into().unwrap()).unwrap().uuid
    );
}

#[test]
fn what_may_be_data_is_refused() {
    for at in [0, 510, 1024, (1 << 20) - 1] {
        let mut image = vec![0; 4 << 20];
        image[at] = 1;
        assert!(matches!(decide(&image).unwrap(), Action::Refuse(_)), "byte {at}");
    }
}
