//! A plan into files: the slot first, for its root hash goes into the UKI; the UKI into the ESP;
//! then the table around them, and the other forms from the finished disk. A root alone is an archive.

use super::archive;
use super::manifest::{Facts, OutputFile, companions, manifest, root_manifest};
use super::outputs;
use super::plan::{BootPlan, Plan};
use super::root::largest;
use super::sbom::sbom;
use super::sink::FileSink;
use super::sparse::SparseReader;
use super::{BuildError, Context};
use crate::inputs::cache::{Hash, hash_of};
use crate::spec::{Output, Spec};
use document::Problem;
use formats::ext4;
use formats::gpt::{self, GptLayout, PartitionSpec};
use formats::tree::{Content, Tree};
use formats::verity::{self, VerityInfo, VerityWriter};
use formats::{cpio, esp, qcow2, uki};
use serde_json::Value;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Labels of the partitions, in their order.
const LABELS: [&str; 4] = ["ESP", "SLOT-A", "SLOT-B", "STATE"];
const MIB: u64 = 1 << 20;

/// Writes all outputs of an image into a folder, under their final names, and gives the manifest.
///
/// # Errors
/// See [`BuildError`].
pub fn write(spec: &Spec, plan: &Plan, folder: &Path, context: &Context<'_>) -> Result<Value, BuildError> {
    match &plan.boot {
        Some(boot) => machine(spec, plan, boot, folder, context),
        None => {
            let stem = format!("{}-{}", spec.name, spec.version);
            let written = vec![archive_output(&plan.root, folder, &stem, context)?];
            let manifest = root_manifest(spec, plan, &written);
            companion_files(spec, plan, folder, manifest)
        }
    }
}

/// A machine's disk and its forms.
fn machine(
    spec: &Spec,
    plan: &Plan,
    start: &BootPlan,
    folder: &Path,
    context: &Context<'_>,
) -> Result<Value, BuildError> {
    let io = |doing| move |source| BuildError::Io { doing, source };
    let ids = spec.ids();
    let layout = disk(spec)?;
    let stem = format!("{}-{}", spec.name, spec.version);
    let raw_path = folder.join(format!("{stem}.raw"));
    let raw = File::options().read(true).write(true).create_new(true).open(&raw_path).map_err(io("image"))?;
    raw.set_len(layout.disk_size).map_err(io("image"))?;

    let [boot, slot] = [&layout.partitions[0], &layout.partitions[1]];
    let (verity, slot_used) = root(spec, plan, &raw, slot, context)?;
    let root_hash = verity::to_hex(&verity.root_hash);
    let command_line = format!("{} roothash={root_hash}", start.command_line.join(" "));

    let mut initramfs = Vec::new();
    cpio::write(&start.initramfs, &mut initramfs)?;
    let sections = [
        (".osrel", Content::bytes(plan.os_release.as_bytes())),
        (".uname", Content::bytes(start.kernel_release.as_bytes())),
        (".cmdline", Content::bytes(command_line.as_bytes())),
        (".initrd", Content::bytes(initramfs)),
        (".linux", start.kernel.clone()),
    ];
    let planned = uki::Uki::assemble(&bytes_of(&start.stub).map_err(io("stub"))?, &sections)?;
    let mut uki = Vec::with_capacity(usize::try_from(planned.size()).unwrap_or_default());
    planned.write(&mut uki)?;
    let uki_size = uki.len() as u64;
    let entry = format!("{}_{}+{}.efi", spec.name, spec.version, start.tries);
    let loader = format!("timeout {}\n", start.timeout_s);
    let files = [
        ("EFI/BOOT/BOOTX64.EFI".to_owned(), start.loader.clone()),
        (format!("EFI/Linux/{entry}"), Content::bytes(uki)),
        ("loader/loader.conf".to_owned(), Content::bytes(loader.into_bytes())),
    ];
    let options = esp::Options {
        size: boot.size,
        volume_id: ids.volume_id("esp-fs"),
        label: "ESP".into(),
        hidden_sectors: (boot.offset / gpt::SECTOR_SIZE) as u32,
    };
    {
        let stage = context.progress.stage("boot files", Some(boot.size));
        let volume = esp::Esp::plan(&files, &options).map_err(|error| match error {
            esp::EspError::Full { size, needed } => BuildError::Document {
                file: spec.file.clone(),
                problems: vec![Problem {
                    place: spec.sizes.esp_place,
                    message: format!(
                        "partition ESP is {} MiB but the boot files need {} MiB",
                        size / MIB,
                        needed.div_ceil(MIB)
                    ),
                }],
                hints: vec!["make `partitions: {esp: …}` larger; an update needs room for two more UKIs"],
            },
            error => BuildError::Esp(error),
        })?;
        FileSink::new(&raw, boot.offset, boot.size, &stage, context.interrupt)
            .and_then(|mut sink| volume.write(&mut sink).and_then(|()| sink.finish()))
            .map_err(io("EFI system partition"))?;
    }
    raw.write_all_at(&layout.head_bytes()?, 0).map_err(io("partition table"))?;
    let tail = layout.tail_bytes()?;
    raw.write_all_at(&tail, layout.disk_size - tail.len() as u64).map_err(io("partition table"))?;

    let written = all_outputs(spec, &plan.root, &raw, folder, &stem, context)?;
    if !spec.outputs.contains(&Output::Raw) {
        fs::remove_file(&raw_path).map_err(io("image"))?;
    }
    let facts = Facts {
        spec,
        disk_guid: layout.disk_guid.to_string(),
        disk_size: layout.disk_size,
        partitions: &layout.partitions,
        verity: &verity,
        slot_used,
        uki_size,
        entry,
        kernel_release: &start.kernel_release,
        tries: start.tries,
        command_line: &command_line,
        root: &plan.root,
        packages: &plan.packages,
        files: &plan.files,
        outputs: &written,
    };
    companion_files(spec, plan, folder, manifest(&facts))
}

/// Writes the bill of materials and the manifest, which is given back.
fn companion_files(spec: &Spec, plan: &Plan, folder: &Path, manifest: Value) -> Result<Value, BuildError> {
    let io = |doing| move |source| BuildError::Io { doing, source };
    let bill = sbom(spec.ids(), spec.epoch, &plan.packages, &plan.files);
    for (name, value) in companions(spec).iter().zip([&bill, &manifest]) {
        let file = File::create_new(folder.join(name)).map_err(io("manifest"))?;
        file.write_all_at(format!("{value:#}\n").as_bytes(), 0).map_err(io("manifest"))?;
        file.sync_all().map_err(io("manifest"))?;
    }
    Ok(manifest)
}

fn disk(spec: &Spec) -> Result<GptLayout, BuildError> {
    let ids = spec.ids();
    let guid = |purpose: &str| uuid::Uuid::from_bytes(ids.uuid(purpose));
    let types = [gpt::ESP, gpt::ROOT_X86_64, gpt::ROOT_X86_64, gpt::VAR];
    let sizes = [spec.sizes.esp, spec.sizes.slot, spec.sizes.slot, spec.sizes.state];
    let partitions: Vec<PartitionSpec> = LABELS
        .iter()
        .zip(types)
        .zip(sizes)
        .map(|((label, type_guid), size)| PartitionSpec {
            label: (*label).to_owned(),
            type_guid,
            unique_guid: guid(label),
            size,
            attributes: 0,
        })
        .collect();
    Ok(GptLayout::plan(&partitions, &gpt::Options { disk_guid: guid("disk") })?)
}

/// Writes the root and its tree of hashes into a slot; gives the hash and the bytes used.
fn root(
    spec: &Spec,
    plan: &Plan,
    raw: &File,
    slot: &gpt::Partition,
    context: &Context<'_>,
) -> Result<(VerityInfo, u64), BuildError> {
    let ids = spec.ids();
    let options = ext4::Options {
        size: ext4::Size::Minimal,
        uuid: ids.uuid("root-fs"),
        hash_seed: ids.uuid("root-fs-hash"),
        label: "root".into(),
        created: spec.epoch,
        journal_blocks: None,
        resizable: false,
    };
    let layout = ext4::Layout::plan(&plan.root, &options)?;
    let data_blocks = layout.total_blocks();
    let used = (data_blocks + 1 + verity::hash_area_blocks(data_blocks)) * ext4::BLOCK_SIZE;
    if used > slot.size {
        let large: Vec<String> = largest(&plan.root, 5)
            .into_iter()
            .map(|(path, size)| format!("/{path} {:.1} MiB", size as f64 / MIB as f64))
            .collect();
        let message = format!(
            "partition {} is {} MiB but the root image needs {} MiB; its largest files: {}",
            slot.label,
            slot.size / MIB,
            used.div_ceil(MIB),
            large.join(", ")
        );
        return Err(BuildError::Document {
            file: spec.file.clone(),
            problems: vec![Problem { place: spec.sizes.slot_place, message }],
            hints: vec!["make `partitions: {slot: …}` larger, or leave something out"],
        });
    }
    let stage = context.progress.stage("root", Some(used));
    let io = |source| BuildError::Io { doing: "root", source };
    let mut sink = FileSink::new(raw, slot.offset, slot.size, &stage, context.interrupt).map_err(io)?;
    let options = verity::Options { salt: ids.salt("verity-salt").to_vec(), uuid: ids.uuid("verity") };
    let mut hashing = VerityWriter::new(&mut sink, options)?;
    layout.write(&mut hashing)?;
    let verity = hashing.finish()?;
    sink.finish().map_err(io)?;
    Ok((verity, used))
}

/// Makes every output side by side: each reads the finished disk by itself.
fn all_outputs(
    spec: &Spec,
    tree: &Tree,
    raw: &File,
    folder: &Path,
    stem: &str,
    context: &Context<'_>,
) -> Result<Vec<OutputFile>, BuildError> {
    std::thread::scope(|scope| {
        let running: Vec<_> = spec
            .outputs
            .iter()
            .map(|output| scope.spawn(move || one_output(*output, tree, raw, folder, stem, context)))
            .collect();
        let joined = running.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined
            .map(|result| {
                let died = || BuildError::Io { doing: "output", source: io::Error::other("its thread died") };
                result.unwrap_or_else(|_| Err(died()))
            })
            .collect()
    })
}

fn one_output(
    output: Output,
    tree: &Tree,
    raw: &File,
    folder: &Path,
    stem: &str,
    context: &Context<'_>,
) -> Result<OutputFile, BuildError> {
    if output == Output::TarZst {
        return archive_output(tree, folder, stem, context);
    }
    let io = |doing| move |source| BuildError::Io { doing, source };
    let name = format!("{stem}.{}", output.suffix());
    let length = raw.metadata().map_err(io("image"))?.len();
    let made;
    let file = if output == Output::Raw {
        raw
    } else {
        let stage = context.progress.stage("compress", Some(length));
        stage.note(output.suffix());
        made = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(folder.join(&name))
            .map_err(io("output"))?;
        match output {
            Output::RawZst => outputs::zst(raw, &made, &stage, context.interrupt).map_err(io("raw.zst"))?,
            Output::RawXz => outputs::xz(raw, &made, &stage, context.interrupt).map_err(io("raw.xz"))?,
            Output::Qcow2 => {
                let data = formats::sparse::data_ranges(raw).map_err(io("image"))?;
                qcow2::write(raw, &data, &mut &made)?;
            }
            Output::Raw | Output::TarZst => {}
        }
        &made
    };
    let stage = context.progress.stage("hash", None);
    stage.note(output.suffix());
    let (sha256, size) = synced_and_hashed(file).map_err(io("output"))?;
    stage.advance(size);
    Ok(OutputFile { file: name, size, sha256: sha256.to_string() })
}

/// The root alone, as an archive.
fn archive_output(
    tree: &Tree,
    folder: &Path,
    stem: &str,
    context: &Context<'_>,
) -> Result<OutputFile, BuildError> {
    let io = |doing| move |source| BuildError::Io { doing, source };
    let name = format!("{stem}.{}", Output::TarZst.suffix());
    let made = File::options().read(true).write(true).create_new(true).open(folder.join(&name));
    let made = made.map_err(io("output"))?;
    let stage = context.progress.stage("archive", None);
    archive::tar_zst(tree, &made, &stage, context.interrupt).map_err(io("tar.zst"))?;
    let (sha256, size) = synced_and_hashed(&made).map_err(io("output"))?;
    Ok(OutputFile { file: name, size, sha256: sha256.to_string() })
}

/// Hashes a finished file from memory while its bytes go to the disk.
fn synced_and_hashed(file: &File) -> io::Result<(Hash, u64)> {
    std::thread::scope(|scope| {
        let synced = scope.spawn(|| file.sync_all());
        let hashed = SparseReader::new(file).and_then(hash_of);
        let died = || Err(io::Error::other("the thread that syncs died"));
        synced.join().unwrap_or_else(|_| died())?;
        hashed
    })
}

fn bytes_of(content: &Content) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(content.len()).map_err(|_| io::ErrorKind::OutOfMemory)?];
    content.open()?.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
