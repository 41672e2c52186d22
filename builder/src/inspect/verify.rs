//! `verify`: every structure of an image, each with its own verdict.
//!
//! A slot is judged as stage 1 judges it: by the root hash in a boot entry's UKI. What no root
//! hash covers (the EFI system partition, STATE) is checked as far as its own structure goes.

use super::error::{InspectError, chain};
use super::image::{Content, OpenImage, PartitionReader};
use super::volume::{Volume, Walk};
use super::{Output, Verdict, shown};
use formats::ext4;
use formats::fat::Fat;
use formats::gpt::{self, Partition};
use formats::read_at::ReadAt;
use formats::verity::{self, Digest32, SUPERBLOCK_SIZE, Superblock, VerifyError};
use serde_json::{Value, json};
use std::error::Error;

/// Hash blocks behind a superblock's 512 bytes are zero up to the first of the tree.
const PADDING: usize = verity::BLOCK_SIZE as usize - SUPERBLOCK_SIZE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Nothing is wrong, but a reader should know.
    Note,
    Damaged,
}

/// The verdict on one structure.
struct Finding {
    state: State,
    what: String,
    detail: String,
}

/// A boot entry, and whether a slot with its root hash was found.
struct Rooted {
    entry: String,
    root_hash: Digest32,
    found: bool,
}

pub(super) fn verify(image: &OpenImage, json: bool, out: &mut Output<'_>) -> Result<Verdict, InspectError> {
    let mut report = Report::default();
    report.table(image);
    let mut rooted = report.boot(image);
    for partition in &image.gpt().partitions {
        report.partition(image, partition, &mut rooted);
    }
    for Rooted { entry, root_hash, .. } in rooted.iter().filter(|rooted| !rooted.found) {
        let detail = format!("no slot has its root hash {}", verity::to_hex(root_hash));
        report.add(State::Damaged, format!("boot entry {entry}"), detail);
    }

    let Report(findings) = report;
    let damaged = findings.iter().filter(|finding| finding.state == State::Damaged).count();
    if json {
        let value = |Finding { state, what, detail }: &Finding| json!({ "state": word(*state), "what": what, "detail": detail });
        out.json(
            &json!({ "damaged": damaged, "findings": findings.iter().map(value).collect::<Vec<Value>>() }),
        )?;
    } else {
        for Finding { state, what, detail } in &findings {
            out.line(&format!("{:<8} {what}: {detail}", word(*state)))?;
        }
        out.line(&match damaged {
            0 => "no damage".to_owned(),
            1 => "1 structure is damaged".to_owned(),
            count => format!("{count} structures are damaged"),
        })?;
    }
    Ok(if damaged == 0 { Verdict::Done } else { Verdict::Damaged })
}

fn word(state: State) -> &'static str {
    match state {
        State::Good => "good",
        State::Note => "note",
        State::Damaged => "DAMAGED",
    }
}

#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, state: State, what: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Finding { state, what: what.into(), detail: detail.into() });
    }

    /// The verdict that a result is.
    fn judge<E: Error + 'static>(&mut self, what: impl Into<String>, result: Result<String, E>) {
        match result {
            Ok(detail) => self.add(State::Good, what, detail),
            Err(error) => self.add(State::Damaged, what, chain(&error)),
        }
    }

    fn table(&mut self, image: &OpenImage) {
        let gpt = image.gpt();
        let count = format!("{} partitions", gpt.partitions.len());
        let protective = gpt.protective_mbr.as_ref().map(|()| "covers the disk".to_owned());
        self.judge("protective MBR", protective.map_err(Clone::clone));
        for (what, copy) in [("GPT primary", &gpt.primary), ("GPT backup", &gpt.backup)] {
            match copy {
                Ok(()) => self.add(State::Good, what, count.clone()),
                Err(error) => self.add(State::Damaged, what, chain(error)),
            }
        }
    }

    /// The EFI system partition and its entries; gives those that name a root hash.
    fn boot(&mut self, image: &OpenImage) -> Vec<Rooted> {
        let partition = match image.esp() {
            Ok(partition) => partition,
            Err(error) => {
                self.add(State::Damaged, "EFI system partition", error.detail());
                return Vec::new();
            }
        };
        let reader = image.partition(partition);
        let checked = Fat::open(&reader).and_then(|fat| {
            fat.check()?;
            Ok(format!("{} entries", fat.walk()?.len()))
        });
        self.judge(format!("{} FAT32", image.place(partition).partition()), checked);
        let entries = match image.entries() {
            Ok(entries) => entries,
            // Most likely what the check has said already; but not to have them is damage, too.
            Err(error) => {
                self.add(State::Damaged, "boot entries", error.detail());
                return Vec::new();
            }
        };
        if entries.is_empty() {
            self.add(State::Damaged, "boot entries", "none in /EFI/Linux");
        }
        let mut rooted = Vec::new();
        for entry in &entries {
            let name = shown::name(entry.file_name.as_bytes());
            let parts = image.with_uki(entry, |uki| {
                uki.has(".linux")?;
                uki.has(".initrd")?;
                uki.has(".osrel")?;
                uki.verify_checksum()?;
                uki.root_hash()
            });
            match parts {
                Ok(root_hash) => {
                    let detail = format!("root hash {}", verity::to_hex(&root_hash));
                    self.add(State::Good, format!("boot entry {name}"), detail);
                    rooted.push(Rooted { entry: name, root_hash, found: false });
                }
                Err(error) => self.add(State::Damaged, format!("boot entry {name}"), error.detail()),
            }
        }
        rooted
    }

    fn partition(&mut self, image: &OpenImage, partition: &Partition, rooted: &mut [Rooted]) {
        let what = image.place(partition).partition();
        let is_slot = partition.type_guid == gpt::ROOT_X86_64;
        match image.content(partition) {
            Err(error) => self.add(State::Damaged, what, error.detail()),
            // Was judged with the boot entries.
            Ok(_) if image.esp().is_ok_and(|esp| esp.number == partition.number) => {}
            Ok(Content::Empty) => self.add(State::Note, what, "empty"),
            Ok(Content::Ext4) => {
                let reader = image.partition(partition);
                match ext4::superblock::read(&reader) {
                    Err(error) => self.add(State::Damaged, format!("{what} ext4 superblock"), chain(&error)),
                    Ok(superblock) => {
                        if is_slot {
                            self.slot(&what, &reader, superblock.size_bytes(), rooted);
                        }
                        self.file_system(image, partition, &superblock);
                    }
                }
            }
            Ok(Content::Fat | Content::Unknown) if is_slot => {
                self.add(State::Damaged, what, "has content, but no ext4 superblock at byte 1024");
            }
            Ok(Content::Fat | Content::Unknown) => {
                self.add(State::Note, what, "unknown content, not checked");
            }
        }
    }

    /// The tree of a slot whose file system has `size` bytes, and all data under it.
    fn slot(&mut self, what: &str, reader: &PartitionReader, size: u64, rooted: &mut [Rooted]) {
        let what_superblock = format!("{what} verity superblock");
        let superblock = match superblock(reader, size) {
            Ok(superblock) => superblock,
            Err(problem) => return self.add(State::Damaged, what_superblock, problem),
        };
        if superblock.data_size() != size {
            let detail =
                format!("at byte {size}: covers {} bytes, but the ext4 has {size}", superblock.data_size());
            return self.add(State::Damaged, what_superblock, detail);
        }
        let mut top = [0; verity::BLOCK_SIZE as usize];
        if let Err(error) = reader.read_exact_at(&mut top, superblock.top_block_offset()) {
            let detail =
                format!("cannot read its top block at byte {}: {error}", superblock.top_block_offset());
            return self.add(State::Damaged, format!("{what} verity tree"), detail);
        }
        let mut names = Vec::new();
        let mut root_hash = None;
        for rooted in rooted {
            if verity::top_matches(&superblock, &top, &rooted.root_hash) {
                rooted.found = true;
                root_hash = Some(rooted.root_hash);
                names.push(rooted.entry.clone());
            }
        }
        // Nobody says what the top should be; that the tree agrees with itself can be seen all the same.
        let own = || match verity::verify(reader, 0, size, &[0; 32]) {
            Err(VerifyError::RootHash { found, .. }) => found,
            _ => [0; 32],
        };
        let checked = root_hash.unwrap_or_else(own);
        match verity::verify(reader, 0, size, &checked) {
            Err(error) => self.add(State::Damaged, format!("{what} verity"), chain(&error)),
            Ok(superblock) if names.is_empty() => {
                let hash = verity::to_hex(&checked);
                let detail = format!(
                    "{} data blocks are sound, but no boot entry has root hash {hash}",
                    superblock.data_blocks
                );
                self.add(State::Note, format!("{what} verity"), detail);
            }
            Ok(superblock) => {
                let detail = format!(
                    "{} data blocks have the root hash of {}",
                    superblock.data_blocks,
                    names.join(", ")
                );
                self.add(State::Good, format!("{what} verity"), detail);
            }
        }
    }

    /// Every name, inode and attribute block of an ext4.
    fn file_system(
        &mut self,
        image: &OpenImage,
        partition: &Partition,
        superblock: &ext4::superblock::Superblock,
    ) {
        let what = format!("{} ext4", image.place(partition).partition());
        if superblock.needs_recovery() {
            return self.add(State::Note, what, "its journal holds changes, so its files are not checked");
        }
        if superblock.errors {
            let detail = format!("the kernel has met {} errors in it", superblock.error_count);
            self.add(State::Damaged, what.clone(), detail);
        }
        let count = || {
            let volume = Volume::open(image, partition)?;
            let mut count = 0_u64;
            for node in Walk::new(&volume, volume.root()?) {
                volume.xattrs(&node?)?;
                count += 1;
            }
            Ok::<_, InspectError>(count)
        };
        match count() {
            Ok(count) => self.add(State::Good, what, format!("{count} entries")),
            Err(error) => self.add(State::Damaged, what, error.detail()),
        }
    }
}

/// The verity superblock at byte `offset`, with the zeros behind it.
fn superblock(reader: &PartitionReader, offset: u64) -> Result<Superblock, String> {
    let mut raw = [0; SUPERBLOCK_SIZE + PADDING];
    reader
        .read_exact_at(&mut raw, offset)
        .map_err(|error| format!("cannot read at byte {offset}: {error}"))?;
    let superblock = Superblock::decode(&raw).map_err(|error| format!("at byte {offset}: {error}"))?;
    match raw[SUPERBLOCK_SIZE..].iter().position(|byte| *byte != 0) {
        Some(at) => Err(format!("byte {} behind it is not zero", offset + (SUPERBLOCK_SIZE + at) as u64)),
        None => Ok(superblock),
    }
}
