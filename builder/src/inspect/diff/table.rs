//! The disk and its partitions.

use super::super::image::{OpenImage, label};
use super::super::overview::type_name;
use super::change::{Changes, Field, What};
use formats::gpt::Partition;

/// Compares the disks and what the partition tables say.
pub(super) fn compare(a: &OpenImage, b: &OpenImage, changes: &mut Changes) {
    let disk = |image: &OpenImage| {
        let gpt = image.gpt();
        [("guid", gpt.disk_guid.to_string()), ("size", gpt.disk_size.to_string())]
    };
    changes.add("disk", "", Field::compare_lists(&disk(a), &disk(b)));
    let (old, new) = (keyed(a), keyed(b));
    let find = |list: &[(String, &Partition)], key: &str| {
        list.iter().find(|(other, _)| other == key).map(|(_, partition)| facts(partition))
    };
    let added = new.iter().map(|(key, _)| key).filter(|key| old.iter().all(|(other, _)| other != *key));
    for key in old.iter().map(|(key, _)| key).chain(added) {
        match (find(&old, key), find(&new, key)) {
            (Some(old), Some(new)) => changes.add("GPT", key, Field::compare_lists(&old, &new)),
            (Some(old), None) => changes.put("GPT", key, What::Removed(describe(&old))),
            (None, Some(new)) => changes.put("GPT", key, What::Added(describe(&new))),
            (None, None) => {}
        }
    }
}

/// The partitions that both have, by label, in the order of the first.
pub(super) fn pairs<'i>(a: &'i OpenImage, b: &'i OpenImage) -> Vec<(String, &'i Partition, &'i Partition)> {
    let new = keyed(b);
    let find = |key: &str| new.iter().find(|(other, _)| other == key).map(|(_, partition)| *partition);
    keyed(a).into_iter().filter_map(|(key, old)| find(&key).map(|new| (key, old, new))).collect()
}

/// Partitions by label; one with a label that was there before has its number with it.
fn keyed(image: &OpenImage) -> Vec<(String, &Partition)> {
    let mut keyed: Vec<(String, &Partition)> = Vec::new();
    for partition in &image.gpt().partitions {
        let mut key = label(partition);
        if keyed.iter().any(|(other, _)| *other == key) {
            key = format!("{key}#{}", partition.number);
        }
        keyed.push((key, partition));
    }
    keyed
}

fn facts(partition: &Partition) -> Vec<(&'static str, String)> {
    vec![
        ("attributes", format!("{:#x}", partition.attributes)),
        ("guid", partition.unique_guid.to_string()),
        ("number", partition.number.to_string()),
        ("offset", partition.offset.to_string()),
        ("size", partition.size.to_string()),
        ("type", type_name(partition)),
    ]
}

fn describe(facts: &[(&'static str, String)]) -> String {
    let wanted = facts.iter().filter(|(name, _)| ["offset", "size", "type"].contains(name));
    wanted.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}
