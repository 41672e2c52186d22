//! `stat` without a path: the disk, its partitions, and what is in each.

use super::error::InspectError;
use super::image::{Content, OpenImage};
use super::{Output, Verdict, shown};
use formats::fat::Fat;
use formats::gpt::{self, Partition};
use formats::read_at::ReadAt;
use formats::verity::{SUPERBLOCK_SIZE, Superblock, to_hex};
use formats::{ext4, fat};
use serde_json::{Map, Value, json};

pub(super) fn show(
    image: &OpenImage,
    chosen: Option<&Partition>,
    json: bool,
    out: &mut Output<'_>,
) -> Result<Verdict, InspectError> {
    let gpt = image.gpt();
    let partitions = match chosen {
        Some(partition) => std::slice::from_ref(partition),
        None => &gpt.partitions,
    };
    let facts = partitions.iter().map(|partition| facts(image, partition)).collect::<Result<Vec<_>, _>>()?;
    if json {
        out.json(&json!({
            "format": image.format(),
            "size": gpt.disk_size,
            "guid": gpt.disk_guid.to_string(),
            "partitions": facts.into_iter().map(Map::from_iter).collect::<Vec<Map<_, _>>>(),
        }))?;
        return Ok(Verdict::Done);
    }
    out.line(&format!("{} disk of {} bytes, {}", image.format(), gpt.disk_size, gpt.disk_guid))?;
    for facts in facts {
        out.line("")?;
        for (key, value) in facts {
            out.line(&format!("{:<9} {}", format!("{key}:"), text(&value)))?;
        }
    }
    Ok(Verdict::Done)
}

/// A value as text: a string without quotes.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A type of partition by name, or its GUID.
pub(super) fn type_name(partition: &Partition) -> String {
    let known = [(gpt::ESP, "EFI system"), (gpt::ROOT_X86_64, "root x86-64"), (gpt::VAR, "/var")];
    let found = known.iter().find(|(guid, _)| *guid == partition.type_guid);
    found.map_or_else(|| partition.type_guid.to_string(), |(_, name)| (*name).to_owned())
}

/// Keys and values.
pub(super) type Facts = Vec<(String, Value)>;

/// What is known of a partition, in the order for a reader.
fn facts(image: &OpenImage, partition: &Partition) -> Result<Facts, InspectError> {
    let mut facts = [
        ("number", json!(partition.number)),
        ("label", json!(shown::name(partition.label.as_bytes()))),
        ("type", json!(type_name(partition))),
        ("guid", json!(partition.unique_guid.to_string())),
        ("offset", json!(partition.offset)),
        ("size", json!(partition.size)),
        ("content", json!(image.content(partition)?.word())),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec();
    facts.extend(content_facts(image, partition)?);
    Ok(facts)
}

/// What a partition's file system and verity superblock say of themselves.
pub(super) fn content_facts(image: &OpenImage, partition: &Partition) -> Result<Facts, InspectError> {
    let reader = image.partition(partition);
    let place = || image.place(partition);
    let mut facts = Vec::new();
    let mut put = |key: &str, value: Value| facts.push((key.to_owned(), value));
    match image.content(partition)? {
        Content::Empty | Content::Unknown => {}
        Content::Fat => {
            let fat = Fat::open(&reader).map_err(|source| InspectError::Fat { place: place(), source })?;
            let fat::BootSector { label, volume_id, cluster_size, .. } = fat.boot_sector();
            put("volume", json!(shown::name(label.as_bytes())));
            put("serial", json!(format!("{volume_id:08x}")));
            put("cluster", json!(cluster_size));
        }
        Content::Ext4 => {
            let opened = ext4::superblock::read(&reader);
            let superblock =
                opened.map_err(|source| InspectError::Ext4 { place: place(), source: source.into() })?;
            put("volume", json!(shown::name(&superblock.label)));
            put("uuid", json!(shown::uuid(superblock.uuid)));
            put("block", json!(superblock.block_size));
            put("blocks", json!(superblock.blocks));
            put("free", json!(superblock.free_blocks));
            put("inodes", json!(superblock.inodes));
            let mut raw = [0; SUPERBLOCK_SIZE];
            // A file system that fills its partition, or has other bytes behind it, has no tree.
            let behind = reader.read_exact_at(&mut raw, superblock.size_bytes());
            if let (Ok(()), Ok(verity)) = (behind, Superblock::decode(&raw)) {
                put("verity", json!(shown::uuid(verity.uuid)));
                put("salt", json!(to_hex(&verity.salt)));
            }
        }
    }
    Ok(facts)
}
