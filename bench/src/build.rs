//! The default image: built from a warm cache, built again unchanged, and its sizes.

use crate::measure::{self, Run, summary};
use crate::{Bench, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;

const MIB: f64 = (1 << 20) as f64;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let out = bench.folder.join("out").to_string_lossy().into_owned();
    let slipway = bench.slipway.to_string_lossy().into_owned();
    let words = [slipway.as_str(), "--quiet", "build", "rootfs/image.yaml", "-o", &out];
    let mut all: [Vec<Run>; 2] = Default::default();
    for _ in 0..=bench.runs {
        let _ = fs::remove_dir_all(&out);
        all[0].push(measure::run(Path::new("."), &words)?);
        all[1].push(measure::run(Path::new("."), &words)?);
    }
    let [build, unchanged] = all.map(|runs| summary(&runs[1..]));
    println!("\nslipway build rootfs/image.yaml, warm cache");
    println!("  {:<44} {:>8} {:>8} {:>9}", "", "wall s", "CPU s", "peak MiB");
    for (name, run, wall_max, peak_max) in
        [("everything", build, 3.0, 128.0), ("nothing changed", unchanged, 0.3, 128.0)]
    {
        let met = bench.verdict(run.wall_s < wall_max && run.peak_mib < peak_max);
        let target = format!("below {wall_max} s and {peak_max} MiB: {met}");
        println!("  {name:<44} {:>8.2} {:>8.2} {:>9.1}  {target}", run.wall_s, run.cpu_s, run.peak_mib);
    }
    sizes(bench, Path::new(&out))
}

fn sizes(bench: &mut Bench, out: &Path) -> Result<()> {
    let manifest = fs::read_dir(out)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().ends_with(".manifest.json"))
        .ok_or("the build left no manifest")?;
    let manifest: Value = serde_json::from_slice(&fs::read(manifest)?)?;
    let compressed = manifest["outputs"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|output| output["file"].as_str().is_some_and(|file| file.ends_with(".raw.zst")));
    println!("\nsizes of the default image");
    for (name, value, max) in [
        ("UKI", &manifest["boot"]["uki_size"], 20.0),
        ("slot, with its verity tree", &manifest["slot"]["used"], 64.0),
        ("raw.zst", compressed.map_or(&Value::Null, |output| &output["size"]), 45.0),
    ] {
        let mib =
            value.as_f64().ok_or_else(|| format!("the manifest does not say the size of: {name}"))? / MIB;
        println!("  {name:<44} {mib:>8.1} MiB, at most {max} MiB: {}", bench.verdict(mib <= max));
    }
    let files = &manifest["slot"]["entries"];
    println!("  {:<44} {:>8}  ({files})", "files in the slot", files["files"]);
    Ok(())
}
