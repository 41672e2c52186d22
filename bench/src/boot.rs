//! From the kernel's start to "ready" under TCG, beside the same kernel with an empty init on the
//! same machine with the same command line.
//!
//! The appliance boots quietly, so that its kernel's first line is not seen; the time until then
//! (QEMU's own start and its firmware) is measured on a machine that is not quiet, and taken off.

use crate::measure::median;
use crate::{Bench, Result};
use formats::cpio;
use formats::tree::{Content, Entry, Kind, Tree};
use slipway::boot::{READY, kernel_files};
use slipway::inputs::cache::Cache;
use slipway::inspect::image::OpenImage;
use slipway::machine::{Accel, Machine, MachineSpec, Start};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Ready over empty init, with all services and with none.
const RATIO_MAX: f64 = 1.6;
const BARE_RATIO_MAX: f64 = 1.3;
/// No start takes as long; it only ends a run that hangs.
const DEADLINE: Duration = Duration::from_mins(2);

/// What a start took until its line: seconds of the host's clock, and of QEMU's CPU time.
#[derive(Debug, Clone, Copy)]
struct Took {
    wall_s: f64,
    cpu_s: f64,
}

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let out = bench.folder.join("boot");
    let built = Command::new(&bench.slipway)
        .args(["--quiet", "build", "rootfs/image.yaml", "-o"])
        .arg(&out)
        .status()?;
    if !built.success() {
        return Err("the default image was not built".into());
    }
    let image = fs::read_dir(&out)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "raw"))
        .ok_or("the build left no raw image")?;
    let cache = Cache::open(&bench.folder.join("cache"))?;
    let parts = OpenImage::open(&image)?.uki()?;
    let kernel = kernel_files(&parts, &cache)?;

    let direct = |initrd: &Path, command_line: &str| {
        let start = Start::Direct {
            kernel: kernel.kernel.clone(),
            initrd: initrd.to_owned(),
            command_line: command_line.to_owned(),
        };
        MachineSpec { accel: Accel::Tcg, ..MachineSpec::new(start, &image) }
    };
    let empty_initrd = bench.folder.join("empty.cpio");
    fs::write(&empty_initrd, empty_initramfs()?)?;
    let loud = format!("{} earlyprintk=ttyS0", kernel.command_line.replace("quiet", ""));
    let first_line = direct(&empty_initrd, &loud);
    let empty = direct(&empty_initrd, &kernel.command_line);
    let first = direct(&kernel.initrd, &kernel.command_line);
    let kept = bench.folder.join("kept.raw");
    let mut second = first.clone();
    second.disk.path.clone_from(&kept);
    let table = keep_state(&image, &second)?;

    // PID 1 and nothing beside it.
    let mut bare = direct(&kernel.initrd, &format!("{} systemd.unit=slices.target", kernel.command_line));
    bare.disk.path.clone_from(&kept);

    let starts = [
        (&first_line, "Linux version"),
        (&empty, "bench: init"),
        (&first, READY),
        (&second, READY),
        (&bare, READY),
    ];
    let mut took: [Vec<Took>; 5] = Default::default();
    for _ in 0..bench.runs {
        for ((spec, line), runs) in starts.iter().zip(&mut took) {
            runs.push(time(spec, line)?);
        }
    }
    let [before, empty, first, second, bare] = took.map(|runs| Took {
        wall_s: median(runs.iter().map(|run| run.wall_s)),
        cpu_s: median(runs.iter().map(|run| run.cpu_s)),
    });
    println!("\nboot under TCG, QEMU's direct start, from the kernel's first line");
    println!("  {:<44} {:>8} {:>8} {:>10} {:>10}", "", "wall s", "CPU s", "ratio wall", "ratio CPU");
    println!("  {:<44} {:>8.2} {:>8.2}", "(QEMU and firmware, taken off)", before.wall_s, before.cpu_s);
    let net = |took: Took| Took { wall_s: took.wall_s - before.wall_s, cpu_s: took.cpu_s - before.cpu_s };
    let empty = net(empty);
    for (name, took, bound) in [
        ("the kernel with an empty init", empty, None),
        ("first boot until ready (STATE formatted)", net(first), Some(RATIO_MAX)),
        ("second boot until ready (STATE kept)", net(second), Some(RATIO_MAX)),
        ("the same without services", net(bare), Some(BARE_RATIO_MAX)),
    ] {
        let (wall, cpu) = (took.wall_s / empty.wall_s, took.cpu_s / empty.cpu_s);
        let judge = |bound| format!("  at most {bound}: {}", bench.verdict(cpu <= bound));
        let verdict = bound.map(judge).unwrap_or_default();
        println!("  {name:<44} {:>8.2} {:>8.2} {wall:>10.2} {cpu:>10.2}{verdict}", took.wall_s, took.cpu_s);
    }
    println!("\nwhat the first boot says of itself:\n{table}");
    Ok(())
}

/// Boots once on a copy of the image and ends in order, so that STATE is there and clean; gives
/// the console's words.
fn keep_state(image: &Path, second: &MachineSpec) -> Result<String> {
    let kept = &second.disk.path;
    if !Command::new("cp").arg("--sparse=always").args([image, kept]).status()?.success() {
        return Err("the image was not copied".into());
    }
    let mut spec = second.clone();
    spec.disk.snapshot = false;
    let mut machine = Machine::start(&spec, None, false)?;
    let said = |machine: &Machine| machine.console().text();
    if machine.wait_for(READY, DEADLINE).is_err() {
        return Err(format!("the first boot did not get ready:\n{}", said(&machine)).into());
    }
    let table = said(&machine);
    machine.shut_down()?;
    let ending = machine.wait()?;
    if !ending.status.success() {
        return Err(format!("QEMU: {}: {}", ending.status, ending.stderr).into());
    }
    Ok(table)
}

/// Starts a machine and waits for a line.
fn time(spec: &MachineSpec, line: &str) -> Result<Took> {
    let start = Instant::now();
    let machine = Machine::start(spec, None, false)?;
    let seen = machine.wait_for(line, DEADLINE);
    let wall_s = start.elapsed().as_secs_f64();
    let cpu_s = cpu_seconds(machine.pid())?;
    if seen.is_err() {
        return Err(format!("`{line}` was not said:\n{}", machine.console().text()).into());
    }
    machine.quit()?;
    Ok(Took { wall_s, cpu_s })
}

/// CPU time of all threads of a process (proc(5), `schedstat`).
fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while it is looked at.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanoseconds as f64 / 1e9)
}

fn empty_initramfs() -> Result<Vec<u8>> {
    let program = std::env::current_exe()?.with_file_name("empty-init");
    let init = fs::read(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    let mut tree = Tree::default();
    let entries = [
        ("", Kind::Directory),
        ("dev", Kind::Directory),
        ("dev/console", Kind::CharDevice { major: 5, minor: 1 }),
        ("init", Kind::File(Content::bytes(init))),
    ];
    for (path, kind) in entries {
        tree.entries.insert(path.into(), Entry::new(kind, 0o755));
    }
    let mut archive = Vec::new();
    cpio::write(&tree, &mut archive)?;
    Ok(archive)
}
