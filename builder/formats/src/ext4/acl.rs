//! POSIX access control lists: `getxattr(2)` and the disk have two forms of one list.
//!
//! Sources: `include/uapi/linux/posix_acl_xattr.h` (version 2, 8 bytes an entry) and
//! `fs/ext4/acl.h` (version 1, 4 bytes where there is no id).

use super::bytes::{get16, get32};

/// `ACL_USER`: the entry names a user.
const USER: u16 = 0x02;
/// `ACL_GROUP`: the entry names a group.
const GROUP: u16 = 0x08;
/// The tags without an id: `ACL_USER_OBJ`, `ACL_GROUP_OBJ`, `ACL_MASK`, `ACL_OTHER`.
const WITHOUT_ID: [u16; 4] = [0x01, 0x04, 0x10, 0x20];

/// The disk's form of a list as `getxattr(2)` gives it; `None` when it is no such list.
pub(super) fn to_disk(list: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = list.split_at_checked(4)?;
    if version != [2, 0, 0, 0] || entries.len() % 8 != 0 {
        return None;
    }
    let mut disk = vec![1, 0, 0, 0];
    for entry in entries.chunks_exact(8) {
        match get16(entry, 0)? {
            USER | GROUP => disk.extend_from_slice(entry),
            tag if WITHOUT_ID.contains(&tag) => disk.extend_from_slice(&entry[..4]),
            _ => return None,
        }
    }
    Some(disk)
}

/// A list as `getxattr(2)` gives it from the disk's form; `None` when it is no such list.
pub(super) fn from_disk(disk: &[u8]) -> Option<Vec<u8>> {
    if get32(disk, 0)? != 1 {
        return None;
    }
    let mut list = vec![2, 0, 0, 0];
    let mut rest = disk.get(4..)?;
    while !rest.is_empty() {
        let tag = get16(rest, 0)?;
        let length = match tag {
            USER | GROUP => 8,
            tag if WITHOUT_ID.contains(&tag) => 4,
            _ => return None,
        };
        let (entry, after) = rest.split_at_checked(length)?;
        list.extend_from_slice(entry);
        if length == 4 {
            list.extend_from_slice(&[0xff; 4]);
        }
        rest = after;
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: u16, permissions: u16, id: u32) -> Vec<u8> {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    }

    #[test]
    fn goes_to_the_disk_and_back() {
        let list = [
            vec![2, 0, 0, 0],
            entry(1, 7, !0),
            entry(2, 6, 1000),
            entry(4, 5, !0),
            entry(8, 4, 100_000),
            entry(0x10, 7, !0),
            entry(0x20, 0, !0),
        ]
        .concat();
        let disk = to_disk(&list).unwrap();
        assert_eq!(disk.len(), 4 + 4 * 4 + 2 * 8);
        assert_eq!(from_disk(&disk), Some(list));
    }

    #[test]
    fn refuses_what_is_no_list() {
        assert_eq!(to_disk(b""), None);
        assert_eq!(to_disk(&[1, 0, 0, 0]), None);
        assert_eq!(to_disk(&[2, 0, 0, 0, 1]), None);
        assert_eq!(to_disk(&[vec![2, 0, 0, 0], entry(3, 7, 0)].concat()), None);
        assert_eq!(from_disk(&[1, 0, 0, 0, 2, 0, 7, 0]), None);
        assert_eq!(from_disk(&[1, 0, 0, 0, 3, 0, 7, 0]), None);
    }
}
