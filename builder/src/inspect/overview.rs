//! `stat` without a path: the disk, its partitions, and what is in each.

use super::error::InspectError;
use super::image::{Content, OpenImage, place};
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
            "partitions": facts,
        }))?;
        return Ok(Verdict::Done);
    }
    out.line(&format!("{} disk of {} bytes, {}", image.format(), gpt.disk_size, gpt.disk_guid))?;
    for facts in facts {
        out.line("")?;
        for (key, value) in facts {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            out.line(&format!("{:<12} {text}", format!("{key}:")))?;
        }
    }
    Ok(Verdict::Done)
}

/// A type of partition by name, or its GUID.
pub(super) fn type_name(partition: &Partition) -> String {
    let known = [(gpt::ESP, "EFI system"), (gpt::ROOT_X86_64, "root x86-64"), (gpt::VAR, "/var")];
    let found = known.iter().find(|(guid, _)| *guid == partition.type_guid);
    found.map_or_else(|| partition.type_guid.to_string(), |(_, name)| (*name).to_owned())
}

/// What is known of a partition, in the order for a reader. What its content says of itself is
/// the same as what `diff` compares.
fn facts(image: &OpenImage, partition: &Partition) -> Result<Map<String, Value>, InspectError> {
    let content = image.content(partition)?;
    let mut facts = Map::new();
    let mut put = |key: &str, value: Value| facts.insert(key.to_owned(), value);
    put("number", json!(partition.number));
    put("label", json!(shown::name(partition.label.as_bytes())));
    put("type", json!(type_name(partition)));
    put("guid", json!(partition.unique_guid.to_string()));
    put("offset", json!(partition.offset));
    put("size", json!(partition.size));
    put("content", json!(content.word()));
    for (key, value) in content_facts(image, partition)? {
        put(key, json!(value));
    }
    Ok(facts)
}

/// What a partition's file system and verity superblock say of themselves.
pub(super) fn content_facts(
    image: &OpenImage,
    partition: &Partition,
) -> Result<Vec<(&'static str, String)>, InspectError> {
    let reader = image.partition(partition);
    let place = || place(partition);
    match image.content(partition)? {
        Content::Empty | Content::Unknown => Ok(Vec::new()),
        Content::Fat => {
            let fat = Fat::open(&reader).map_err(|source| InspectError::Fat { place: place(), source })?;
            let fat::BootSector { label, volume_id, cluster_size, .. } = fat.boot_sector();
            Ok(vec![
                ("name", shown::name(label.as_bytes())),
                ("serial", format!("{volume_id:08x}")),
                ("cluster", cluster_size.to_string()),
            ])
        }
        Content::Ext4 => {
            let opened = ext4::superblock::read(&reader);
            let superblock = opened.map_err(|source| InspectError::Ext4 { place: place(), source: source.into() })?;
            let mut facts = vec![
                ("name", shown::name(&superblock.label)),
                ("uuid", shown::uuid(superblock.uuid)),
                ("blocks", format!("{} of {} bytes", superblock.blocks, superblock.block_size)),
                ("free", superblock.free_blocks.to_string()),
                ("inodes", superblock.inodes.to_string()),
            ];
            let mut raw = [0; SUPERBLOCK_SIZE];
            // A file system that fills its partition, or has other bytes behind it, has no tree.
            let behind = reader.read_exact_at(&mut raw, superblock.size_bytes());
            if let (Ok(()), Ok(verity)) = (behind, Superblock::decode(&raw)) {
                facts.push(("verity", format!("{} data blocks", verity.data_blocks)));
                facts.push(("salt", to_hex(&verity.salt)));
                facts.push(("verity-uuid", shown::uuid(verity.uuid)));
            }
            Ok(facts)
        }
    }
}
