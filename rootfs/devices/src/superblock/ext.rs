//! ext2, ext3, ext4: kernel.org, "ext4 Data Structures and Algorithms", super block.

use super::{Probe, Source, text, u16_at, u32_at, uuid};

const JOURNAL: u32 = 0x4; // s_feature_compat
const JOURNAL_DEV: u32 = 0x8; // s_feature_incompat
/// What ext2 and ext3 know of `s_feature_incompat`: filetype, recover, `meta_bg`.
const OLD_INCOMPAT: u32 = 0x2 | 0x4 | 0x10;
/// The same of `s_feature_ro_compat`: `sparse_super`, `large_file`, `btree_dir`.
const OLD_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;

pub(super) fn probe(source: &dyn Source) -> Option<Probe> {
    let block = source.read(1024, 0x88)?;
    if u16_at(&block, 0x38) != 0xef53 {
        return None;
    }
    let [compat, incompat, ro_compat] = [0x5c, 0x60, 0x64].map(|at| u32_at(&block, at));
    let is_old = incompat & !OLD_INCOMPAT == 0 && ro_compat & !OLD_RO_COMPAT == 0;
    let mut found = if incompat & JOURNAL_DEV != 0 {
        Probe::new("jbd", "other")
    } else if !is_old {
        Probe::new("ext4", "filesystem")
    } else if compat & JOURNAL != 0 {
        Probe::new("ext3", "filesystem")
    } else {
        Probe::new("ext2", "filesystem")
    };
    found.label = text(&block[0x78..0x88]);
    found.uuid = uuid(&block[0x68..0x78]);
    found.version = format!("{}.{}", u32_at(&block, 0x4c), u16_at(&block, 0x3e));
    Some(found)
}
