//! Two file trees, walked side by side.

use super::super::error::{EntryProblem, InspectError};
use super::super::shown;
use super::super::volume::{Kind, Node, Volume, Walk};
use super::change::{Changes, Field, What};
use std::cmp::Ordering;

const CHUNK: usize = 256 << 10;

/// Compares every entry of two file systems.
pub(super) fn compare(
    a: &Volume,
    b: &Volume,
    label: &str,
    changes: &mut Changes,
) -> Result<(), InspectError> {
    let mut bytes = 0;
    let (mut old, mut new) = (Walk::new(a, a.root()?), Walk::new(b, b.root()?));
    let (mut next_old, mut next_new) = (old.next().transpose()?, new.next().transpose()?);
    loop {
        let order = match (&next_old, &next_new) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => names(old).cmp(names(new)),
        };
        if let (Some(old), Some(new), Ordering::Equal) = (&next_old, &next_new, order) {
            let fields = entry((a, old), (b, new), &mut bytes)?;
            changes.add(label, &shown::path(&old.path), fields);
        } else if let (Some(old), Ordering::Less) = (&next_old, order) {
            changes.put(label, &shown::path(&old.path), What::Removed(describe(old)));
        } else if let (Some(new), Ordering::Greater) = (&next_new, order) {
            changes.put(label, &shown::path(&new.path), What::Added(describe(new)));
        }
        if order.is_le() {
            next_old = old.next().transpose()?;
        }
        if order.is_ge() {
            next_new = new.next().transpose()?;
        }
    }
}

/// The order of a walk.
fn names(node: &Node) -> impl Iterator<Item = &[u8]> {
    node.path.split(|byte| *byte == b'/')
}

fn describe(node: &Node) -> String {
    let name = node.kind.name();
    match &node.kind {
        Kind::File => format!("{name}, {} bytes", node.size),
        Kind::Symlink(target) => format!("{name} to {}", shown::name(target)),
        _ => name.to_owned(),
    }
}

/// What differs between two entries of one path; `bytes` counts what was read out so far.
fn entry(
    (a, old): (&Volume, &Node),
    (b, new): (&Volume, &Node),
    bytes: &mut u64,
) -> Result<Vec<Field>, InspectError> {
    let mut fields = Vec::new();
    match (&old.kind, &new.kind) {
        (Kind::File, Kind::File) => {
            fields.extend(Field::compare("size", old.size.to_string(), new.size.to_string()));
            *bytes += old.size.min(new.size);
            let limit = a.content_limit();
            if *bytes > limit {
                return Err(a.problem(&old.path, EntryProblem::ContentTooLarge { bytes: *bytes, limit }));
            }
            if old.size != new.size || !same_content((a, old), (b, new))? {
                fields.push(Field::named("content"));
            }
        }
        (Kind::Symlink(old), Kind::Symlink(new)) => {
            fields.extend(Field::compare("target", shown::name(old), shown::name(new)));
        }
        (old, new) => {
            fields.extend(Field::compare("type", old.name(), new.name()));
            if let (Some(old), Some(new)) = (old.device(), new.device()) {
                let text = |(major, minor)| format!("{major}:{minor}");
                fields.extend(Field::compare("device", text(old), text(new)));
            }
        }
    }
    let (Some(old_unix), Some(new_unix)) = (&old.unix, &new.unix) else { return Ok(fields) };
    let octal = |mode| format!("{mode:04o}");
    fields.extend(Field::compare("mode", octal(old_unix.mode), octal(new_unix.mode)));
    fields.extend(Field::compare("uid", old_unix.uid.to_string(), new_unix.uid.to_string()));
    fields.extend(Field::compare("gid", old_unix.gid.to_string(), new_unix.gid.to_string()));
    fields.extend(Field::compare(
        "mtime",
        crate::time::utc(old_unix.mtime),
        crate::time::utc(new_unix.mtime),
    ));
    // A directory's count says only how many directories are in it.
    if old.kind != Kind::Directory {
        fields.extend(Field::compare("links", old_unix.links.to_string(), new_unix.links.to_string()));
    }
    let xattrs = |volume: &Volume, node: &Node| -> Result<Vec<(String, String)>, InspectError> {
        let xattrs = volume.xattrs(node)?.into_iter();
        Ok(xattrs.map(|(name, value)| (shown::name(&name), shown::value(&value))).collect())
    };
    fields.extend(Field::compare_lists(&xattrs(a, old)?, &xattrs(b, new)?));
    Ok(fields)
}

/// Whether two files of one size have the same bytes.
fn same_content((a, old): (&Volume, &Node), (b, new): (&Volume, &Node)) -> Result<bool, InspectError> {
    let (mut old, mut new) = (a.open_file(old)?, b.open_file(new)?);
    let (mut one, mut other) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let count = old.read(&mut one)?;
        new.read(&mut other)?;
        if one[..count] != other[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}
