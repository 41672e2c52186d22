//! `diff`: what changed between two images, from the disk down to a file's attributes.

mod bytes;
mod change;
mod files;
mod table;
mod ukis;

use super::error::InspectError;
use super::image::{Content, OpenImage};
use super::overview::{content_facts, text};
use super::volume::Volume;
use super::{Output, Verdict};
use bytes::{Unreadable, same};
use change::{Change, Changes, Field};
use formats::gpt::Partition;
use formats::window::Window;
use serde_json::Value;

pub(super) fn diff(
    a: &OpenImage,
    b: &OpenImage,
    json: bool,
    out: &mut Output<'_>,
) -> Result<Verdict, InspectError> {
    let mut changes = Changes::default();
    table::compare(a, b, &mut changes);
    for (label, a_partition, b_partition) in table::pairs(a, b) {
        partition((a, a_partition), (b, b_partition), &label, &mut changes)?;
    }
    if changes.is_empty() && !same_outside(a, b)? {
        changes.add("disk", "", vec![Field::named("bytes outside of the partitions")]);
    }

    if json {
        out.json(&changes.iter().map(Change::json).collect::<Value>())?;
    } else {
        for change in changes.iter() {
            out.line(&change.line())?;
        }
    }
    Ok(if changes.is_empty() { Verdict::Same } else { Verdict::Different })
}

/// The contents of a partition that both have.
fn partition(
    (a, a_partition): (&OpenImage, &Partition),
    (b, b_partition): (&OpenImage, &Partition),
    label: &str,
    changes: &mut Changes,
) -> Result<(), InspectError> {
    let (a_reader, b_reader) = (a.partition(a_partition), b.partition(b_partition));
    let unreadable = |failure: Unreadable| InspectError::Read {
        place: failure.of(a.place(a_partition), b.place(b_partition)),
        offset: failure.offset,
        source: failure.source,
    };
    if a_partition.size == b_partition.size && same(&a_reader, &b_reader).map_err(unreadable)? {
        return Ok(());
    }
    let before = changes.len();
    let (old, new) = (a.content(a_partition)?, b.content(b_partition)?);
    if old != new {
        changes.add(label, "", vec![Field::changed("content", old.word(), new.word())]);
        return Ok(());
    }
    if old == Content::Unknown {
        changes.add(label, "", vec![Field::named("content")]);
    }
    if matches!(old, Content::Ext4 | Content::Fat) {
        let facts = |image, partition| -> Result<Vec<_>, InspectError> {
            let facts = content_facts(image, partition)?.into_iter();
            Ok(facts.map(|(key, value)| (key, text(&value))).collect())
        };
        let fields = Field::compare_lists(&facts(a, a_partition)?, &facts(b, b_partition)?);
        changes.add(label, "", fields);
        files::compare(&Volume::open(a, a_partition)?, &Volume::open(b, b_partition)?, label, changes)?;
        if old == Content::Fat {
            ukis::compare(a, b, changes)?;
        }
        // A larger partition alone is not worth a line of its own.
        if changes.len() == before && a_partition.size == b_partition.size {
            changes.add(label, "", vec![Field::named("bytes that belong to no file")]);
        }
    }
    Ok(())
}

/// Whether the bytes between the partitions are the same; the tables are.
fn same_outside(a: &OpenImage, b: &OpenImage) -> Result<bool, InspectError> {
    let mut ranges =
        a.gpt().partitions.iter().map(|partition| (partition.offset, partition.end())).collect::<Vec<_>>();
    ranges.push((a.gpt().disk_size, 0));
    ranges.sort_unstable();
    let mut position = 0;
    for (start, end) in ranges {
        let size = start.saturating_sub(position);
        let windows = [a, b].map(|image| Window::new(image.reader(), position, size));
        let [one, other] = &windows;
        let read = |failure: Unreadable| InspectError::Disk {
            path: failure.of(a, b).path().to_owned(),
            offset: position.saturating_add(failure.offset),
            source: failure.source,
        };
        if !same(one, other).map_err(read)? {
            return Ok(false);
        }
        position = end;
    }
    Ok(true)
}
