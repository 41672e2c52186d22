//! Root tree to disk image (ext4, verity, ESP, GPT) beside the public tools, and beside `cp -a`.

use crate::measure::{self, Run, summary};
use crate::{Bench, Result, tree};
use std::fs;
use std::path::Path;

const MIB: u64 = 1 << 20;
/// Of ours, in MiB, whatever the tree.
const PEAK_MAX: f64 = 64.0;
/// Ours over the public tools.
const RATIO_MAX: f64 = 0.5;

/// The public tools as a person chains them: each format in a file of its own, then into place.
const PEERS: &str = r#"set -e
PATH=$PATH:/usr/sbin:/sbin
rm -rf peers; mkdir peers; cd peers
mke2fs -q -t ext4 -b 4096 -m 0 -O ^has_journal -d ../tree root.img "$1"M
blocks=$(($1 * 256))
veritysetup format --salt=$(printf '%064d' 7) --uuid=00000000-0000-0000-0000-000000000001 \
    --data-blocks=$blocks --hash-offset=$((blocks * 4096)) root.img root.img >verity.txt
mkfs.vfat -F 32 -C esp.img $((34 * 1024)) >/dev/null
mmd -i esp.img ::EFI ::EFI/BOOT ::EFI/Linux ::loader
mcopy -i esp.img ../loader.efi ::EFI/BOOT/BOOTX64.EFI
mcopy -i esp.img ../vmlinuz ::EFI/Linux/bench_1.0.0+3.efi
truncate -s $((34 + 2 * $2 + 16 + 2))M disk.img
start=$EPOCHREALTIME
sgdisk -n 1:2048:+34M -t 1:ef00 -n 2:0:+"$2"M -t 2:8304 -n 3:0:+"$2"M -t 3:8304 -n 4:0:+15M disk.img >/dev/null
echo "sgdisk $start $EPOCHREALTIME" >&2
dd if=esp.img of=disk.img bs=1M seek=1 conv=notrunc,sparse status=none
dd if=root.img of=disk.img bs=1M seek=35 conv=notrunc,sparse status=none
rm root.img esp.img
"#;

/// Both sizes of the promise.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    compare(bench, 60)?;
    compare(bench, 600)
}

fn compare(bench: &mut Bench, megabytes: u64) -> Result<()> {
    let folder = bench.folder.join(format!("image-{megabytes}"));
    let made = prepare(&folder, megabytes)?;
    println!(
        "\nroot tree of {} files, {:.0} MB, to an image of ext4 + verity + ESP + GPT",
        made.files,
        made.bytes as f64 / 1e6
    );
    // The peers' file system needs room for inodes and slack that nobody knows beforehand.
    let data = megabytes * 1_000_000 / MIB * 112 / 100 + 16;
    let (data, slot) = (data.to_string(), (data * 102 / 100 + 4).to_string());
    let slipway = bench.slipway.to_string_lossy().into_owned();
    let program = ["env", "SLIPWAY_CACHE=cache", &slipway];
    measure::run(&folder, &[&program[..], &["lock", "image.yaml"]].concat())?;
    // Ours, the tools, cp; then what ours and the tools do beside making the image.
    let mut all: [Vec<Run>; 5] = Default::default();
    for _ in 0..=bench.runs {
        let build = [&program[..], &["build", "image.yaml", "-o", "out"]].concat();
        let clear = |old: &str| {
            let _ = fs::remove_dir_all(folder.join(old));
        };
        let (ours, said) = measure::told(&folder, &build)?;
        let hash = Run { wall_s: seconds_hashed(&said)?, ..ours };
        clear("out");
        let (peers, said) = measure::told(&folder, &["bash", "-c", PEERS, "peers", &data, &slot])?;
        let sgdisk = Run { wall_s: seconds_of_sgdisk(&said)?, ..peers };
        clear("peers");
        let copy = measure::run(&folder, &["cp", "-a", "tree", "copy"])?;
        clear("copy");
        for (runs, run) in all.iter_mut().zip([ours, peers, copy, hash, sgdisk]) {
            runs.push(run);
        }
    }
    // The first round fills the page cache.
    let [ours, peers, copy, hash, sgdisk] = all.map(|runs| summary(&runs[1..]));
    println!("  {:<44} {:>8} {:>8} {:>9}", "", "wall s", "CPU s", "peak MiB");
    for (name, run) in [
        ("slipway build (raw)", ours),
        ("mke2fs + veritysetup + mtools + sgdisk + dd", peers),
        ("cp -a of the tree", copy),
    ] {
        println!("  {name:<44} {:>8.2} {:>8.2} {:>9.1}", run.wall_s, run.cpu_s, run.peak_mib);
    }
    println!("  {:<44} {:>8.2}", "of ours: SHA-256 of the finished raw", hash.wall_s);
    println!("  {:<44} {:>8.2}", "of the tools: sgdisk, which sleeps", sgdisk.wall_s);
    let ratio = ours.wall_s / peers.wall_s;
    println!(
        "  ours / tools: {ratio:.2}, at most {RATIO_MAX}: {}; CPU {:.2}",
        bench.verdict(ratio <= RATIO_MAX),
        ours.cpu_s / peers.cpu_s
    );
    let image_s = ours.wall_s - hash.wall_s;
    println!(
        "  the same without that SHA-256 and without sgdisk: {:.2}",
        image_s / (peers.wall_s - sgdisk.wall_s)
    );
    let ratio = ours.wall_s / copy.wall_s;
    println!(
        "  ours / cp -a: {ratio:.2}, below 1: {}; without that SHA-256 {:.2}",
        bench.verdict(ratio < 1.0),
        image_s / copy.wall_s
    );
    on_disk(bench, &folder, &program)?;
    println!(
        "  peak {:.1} MiB, below {PEAK_MAX} MiB: {}",
        ours.peak_mib,
        bench.verdict(ours.peak_mib < PEAK_MAX)
    );
    fs::remove_dir_all(folder)?;
    Ok(())
}

/// Both again from memory onto a disk, until the bytes are on it: a build always ends so.
fn on_disk(bench: &mut Bench, folder: &Path, program: &[&str]) -> Result<()> {
    let disk = tempfile::Builder::new().prefix("slipway-bench-").tempdir_in(&bench.disk)?;
    let mut all: [Vec<Run>; 2] = Default::default();
    for round in 0..=bench.runs {
        // Nothing is deleted meanwhile: ext4 looks at each inode that went in the last minute
        // before it makes a new one, which would slow cp.
        let at = |name: &str| disk.path().join(format!("{name}-{round}")).to_string_lossy().into_owned();
        let (out, copy) = (at("out"), at("copy"));
        all[0].push(measure::run(folder, &[program, &["build", "image.yaml", "-o", &out]].concat())?);
        let script = "cp -a tree \"$1\" && sync -f \"$1\"";
        all[1].push(measure::run(folder, &["sh", "-c", script, "sh", &copy])?);
    }
    let [ours, copy] = all.map(|runs| summary(&runs[1..]));
    let ratio = ours.wall_s / copy.wall_s;
    println!(
        "  onto a disk and synced: ours {:.2} s, cp -a and sync {:.2} s, ours / cp -a: {ratio:.2}, below 1: {}",
        ours.wall_s,
        copy.wall_s,
        bench.verdict(ratio < 1.0)
    );
    Ok(())
}

/// How long ours hashed the finished raw for the manifest, as its progress says.
fn seconds_hashed(said: &str) -> Result<f64> {
    let line = said.lines().find(|line| line.contains("hash raw "));
    let seconds = line.and_then(|line| line.strip_suffix(" s")?.rsplit(' ').next()?.parse().ok());
    seconds.ok_or_else(|| format!("no time of `hash raw` in: {said}").into())
}

fn seconds_of_sgdisk(said: &str) -> Result<f64> {
    let times = said.lines().find_map(|line| line.strip_prefix("sgdisk ")?.split_once(' '));
    let seconds = times.and_then(|(start, end)| Some(end.parse::<f64>().ok()? - start.parse::<f64>().ok()?));
    seconds.ok_or_else(|| format!("no times of sgdisk in: {said}").into())
}

/// Room for the tree, its file system's metadata and its hashes.
fn slot_mib(megabytes: u64) -> u64 {
    // In MiB: 1.06 of the bytes, and 8 for the smallest file system.
    megabytes * 1_000_000 / MIB * 106 / 100 + 8
}

/// A tree, and a spec around it whose other inputs are stand-ins of the usual sizes.
fn prepare(folder: &Path, megabytes: u64) -> Result<tree::Made> {
    fs::create_dir_all(folder.join("modules/6.1.0-bench"))?;
    fs::write(folder.join("modules/6.1.0-bench/modules.builtin"), "kernel/fs/ext4/ext4.ko\n")?;
    for (name, from) in [("loader.efi", "systemd-bootx64.efi"), ("stub.efi", "linuxx64.efi.stub")] {
        let from = Path::new("/usr/lib/systemd/boot/efi").join(from);
        fs::copy(&from, folder.join(name))
            .map_err(|error| format!("{}: {error}; apt-get install systemd-boot-efi", from.display()))?;
    }
    fs::write(folder.join("vmlinuz"), b"kernel\n".repeat(2_000_000))?;
    fs::write(folder.join("init"), b"init".repeat(100_000))?;
    let made = tree::make(&folder.join("tree"), megabytes * 1_000_000)?;
    let slot = slot_mib(megabytes);
    let spec = format!(
        "name: bench
version: 1.0.0
kernel: {{image: vmlinuz, modules: modules/6.1.0-bench}}
boot_loader: {{loader: loader.efi, stub: stub.efi}}
modules: {{initramfs: [ext4], root: []}}
init: init
trees: [tree]
partitions: {{esp: 34M, slot: {slot}M, state: 16M}}
outputs: [raw]
"
    );
    fs::write(folder.join("image.yaml"), spec)?;
    Ok(made)
}
