//! `NAME-VERSION.manifest.json`: what an image is, for programs.

use super::plan::Plan;
use crate::inputs::lock::{LockedFile, LockedPackage};
use crate::spec::Spec;
use formats::gpt::Partition;
use formats::tree::{Content, Kind, Tree};
use formats::verity::{VerityInfo, to_hex};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Names of the files beside the outputs; the manifest's is the last.
pub fn companions(spec: &Spec) -> [String; 2] {
    let Spec { name, version, .. } = spec;
    [format!("{name}-{version}.spdx.json"), format!("{name}-{version}.manifest.json")]
}

/// One output file.
#[derive(Debug)]
pub struct OutputFile {
    /// Its name.
    pub file: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its hash.
    pub sha256: String,
}

/// What the manifest says.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The spec.
    pub spec: &'a Spec,
    /// The disk's GUID.
    pub disk_guid: String,
    /// Bytes of the whole disk.
    pub disk_size: u64,
    /// The partitions.
    pub partitions: &'a [Partition],
    /// The slot's tree of hashes.
    pub verity: &'a VerityInfo,
    /// Bytes of the slot's content with the tree.
    pub slot_used: u64,
    /// Bytes of the UKI.
    pub uki_size: u64,
    /// Name of the UKI on the ESP.
    pub entry: String,
    /// The kernel's release.
    pub kernel_release: &'a str,
    /// Attempts of the boot entry.
    pub tries: u32,
    /// The whole command line.
    pub command_line: &'a str,
    /// The root.
    pub root: &'a Tree,
    /// Packages that went in.
    pub packages: &'a [LockedPackage],
    /// Pinned files that went in.
    pub files: &'a [LockedFile],
    /// The outputs.
    pub outputs: &'a [OutputFile],
}

/// Entries of a tree by kind, and the bytes of its files.
fn counted(root: &Tree) -> (BTreeMap<&'static str, u64>, u64) {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut bytes = 0;
    for entry in root.entries.values() {
        let kind = match &entry.kind {
            Kind::Directory => "directories",
            Kind::File(content) => {
                bytes += Content::len(content);
                "files"
            }
            Kind::Symlink(_) => "symlinks",
            Kind::HardLink(_) => "hard_links",
            Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket => "special",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    (kinds, bytes)
}

fn package_rows(packages: &[LockedPackage]) -> Vec<Value> {
    let row = |package: &LockedPackage| {
        json!({
            "name": package.name,
            "version": package.version,
            "architecture": package.architecture,
            "sha256": package.sha256.to_string(),
        })
    };
    packages.iter().map(row).collect()
}

fn file_rows(files: &[LockedFile]) -> Vec<Value> {
    files.iter().map(|file| json!({ "path": file.path, "sha256": file.sha256.to_string() })).collect()
}

fn output_rows(outputs: &[OutputFile]) -> Vec<Value> {
    let row =
        |output: &OutputFile| json!({ "file": output.file, "size": output.size, "sha256": output.sha256 });
    outputs.iter().map(row).collect()
}

/// The manifest of a root alone.
pub fn root_manifest(spec: &Spec, plan: &Plan, outputs: &[OutputFile]) -> Value {
    let (kinds, bytes) = counted(&plan.root);
    json!({
        "format": 1,
        "name": spec.name,
        "version": spec.version.as_str(),
        "epoch": spec.epoch,
        "root": { "content_bytes": bytes, "entries": kinds },
        "packages": package_rows(&plan.packages),
        "files": file_rows(&plan.files),
        "outputs": output_rows(outputs),
    })
}

/// The manifest of a machine's image.
pub fn manifest(facts: &Facts<'_>) -> Value {
    let Facts { spec, verity, .. } = facts;
    let (kinds, bytes) = counted(facts.root);
    json!({
        "format": 1,
        "name": spec.name,
        "version": spec.version.as_str(),
        "epoch": spec.epoch,
        "disk": {
            "guid": facts.disk_guid,
            "size": facts.disk_size,
            "partitions": facts.partitions.iter().map(|partition| json!({
                "number": partition.number,
                "label": partition.label,
                "type": partition.type_guid.to_string(),
                "guid": partition.unique_guid.to_string(),
                "offset": partition.offset,
                "size": partition.size,
            })).collect::<Vec<_>>(),
        },
        "slot": {
            "used": facts.slot_used,
            "content_bytes": bytes,
            "entries": kinds,
            "verity": {
                "root_hash": to_hex(&verity.root_hash),
                "salt": to_hex(&verity.salt),
                "data_blocks": verity.data_blocks,
                "hash_start_block": verity.hash_start_block,
            },
        },
        "boot": {
            "entry": facts.entry,
            "uki_size": facts.uki_size,
            "kernel": facts.kernel_release,
            "command_line": facts.command_line,
            "tries": facts.tries,
        },
        "packages": package_rows(facts.packages),
        "files": file_rows(facts.files),
        "outputs": output_rows(facts.outputs),
    })
}
