//! Images of the toolbox: an archive's unpacking beside GNU tar's, and the first start of an ext4 image.

use crate::measure::{self, Run, summary};
use crate::{Bench, Result};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Unpacking over tar's own.
const RATIO_MAX: f64 = 1.2;
/// Seconds of the first start of an ext4 image that no store has.
const FIRST_START_MAX: f64 = 0.5;
/// Most MiB of either.
const PEAK_MIB: f64 = 16.0;
/// Bytes of each file, as in a root of programs and their data.
const FILE_BYTES: usize = 50_000;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    println!("\nimages of the toolbox");
    for (where_, above, synced) in
        [("in memory", bench.folder.clone(), false), ("on disk, synced", bench.disk.clone(), true)]
    {
        let folder = above.join(format!("slipway-bench-unpack-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let done = unpack(bench, &folder, where_, synced).and_then(|()| first_start(bench, &folder, where_));
        fs::remove_dir_all(&folder)?;
        done?;
    }
    Ok(())
}

/// A tree of about so many MB, of which zstd takes nothing away.
fn tree(path: &Path, megabytes: usize) -> Result<()> {
    fs::create_dir_all(path.join("bin"))?;
    fs::copy("/bin/busybox", path.join("bin/busybox"))?;
    symlink("busybox", path.join("bin/true"))?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..megabytes * 1_000_000 / FILE_BYTES {
        let folder = path.join(format!("folder{}", number / 50));
        fs::create_dir_all(&folder)?;
        let mut bytes = Vec::with_capacity(FILE_BYTES);
        while bytes.len() < FILE_BYTES {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        fs::File::create(folder.join(format!("file{number}")))?.write_all(&bytes)?;
    }
    Ok(())
}

fn shell(folder: &Path, script: &str) -> Result<()> {
    let done = Command::new("sh").args(["-ec", script]).current_dir(folder).status()?;
    if done.success() { Ok(()) } else { Err(format!("`{script}`: {done}").into()) }
}

/// `toolbox WORDS` with a store that has nothing, in `folder`.
fn toolbox(bench: &Bench, folder: &Path, words: &[&str]) -> Result<Run> {
    shell(folder, "rm -rf store; mkdir store; sync -f .")?;
    let program = bench.slipway.with_file_name("toolbox");
    let mount = format!("mount --bind {}/store /var/lib/toolbox && exec \"$@\"", folder.display());
    fs::create_dir_all("/var/lib/toolbox")?;
    let program = program.display().to_string();
    let line = [&["unshare", "--mount", "sh", "-c", &mount, "sh", &program], words].concat();
    measure::run(folder, &line)
}

fn unpack(bench: &mut Bench, folder: &Path, where_: &str, synced: bool) -> Result<()> {
    tree(&folder.join("tree"), 100)?;
    shell(folder, "tar -C tree --zstd -cf a.tar.zst .; rm -r tree")?;
    let size = fs::metadata(folder.join("a.tar.zst"))?.len() as f64 / 1e6;
    let theirs = if synced {
        "tar --zstd -xf a.tar.zst -C out; sync -f out"
    } else {
        "tar --zstd -xf a.tar.zst -C out"
    };
    let (mut ours, mut tar) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        ours.push(toolbox(bench, folder, &["pull", "./a.tar.zst"])?);
        shell(folder, "rm -rf out; mkdir out; sync -f .")?;
        tar.push(measure::run(folder, &["unshare", "--mount", "sh", "-ec", theirs])?);
    }
    shell(folder, "rm -rf out store a.tar.zst")?;
    let (ours, tar) = (summary(&ours), summary(&tar));
    let ratio = ours.wall_s / tar.wall_s;
    let name = format!("a tar.zst of {size:.0} MB, {where_}");
    let verdict = bench.verdict(ratio <= RATIO_MAX);
    println!(
        "  {name:<44} {:>6.2} s, tar {:.2} s: {ratio:.2} of it, at most {RATIO_MAX}: {verdict}",
        ours.wall_s, tar.wall_s
    );
    peak(bench, ours.peak_mib);
    Ok(())
}

fn first_start(bench: &mut Bench, folder: &Path, where_: &str) -> Result<()> {
    tree(&folder.join("tree"), 60)?;
    shell(folder, "truncate -s 80M a.ext4; mkfs.ext4 -q -d tree a.ext4; rm -r tree")?;
    let mut runs = Vec::new();
    for _ in 0..bench.runs {
        runs.push(toolbox(bench, folder, &["run", "--from", "./a.ext4", "--", "true"])?);
    }
    shell(folder, "rm -rf store a.ext4")?;
    let ours = summary(&runs);
    let name = format!("the first start of 60 MB of ext4, {where_}");
    let verdict = bench.verdict(ours.wall_s <= FIRST_START_MAX);
    println!("  {name:<44} {:>6.2} s, at most {FIRST_START_MAX}: {verdict}", ours.wall_s);
    peak(bench, ours.peak_mib);
    Ok(())
}

fn peak(bench: &mut Bench, peak: f64) {
    let verdict = bench.verdict(peak <= PEAK_MIB);
    println!("  {:<44} {peak:>6.1} MiB, at most {PEAK_MIB}: {verdict}", "  peak memory");
}
