//! The start of `true` in a toolbox's box, beside bubblewrap, unshare, crun, systemd-nspawn and podman on the
//! same root.

use crate::measure::{self, median};
use crate::{Bench, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Starts of each for one of the other benchmarks' runs.
const ROUNDS: usize = 8;
/// Most MiB of one start.
const PEAK_MIB: f64 = 16.0;

/// A way to run `true`, and the bound of ours against it.
struct Way {
    name: &'static str,
    words: Vec<String>,
    /// Ours takes at most so many times as long.
    at_most: Option<f64>,
}

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let toolbox = bench.slipway.with_file_name("toolbox");
    let root = bench.disk.join(format!("slipway-bench-root-{}", std::process::id()));
    let made = make(&root).and_then(|()| compare(bench, &toolbox, &root));
    fs::remove_dir_all(&root)?;
    made
}

/// A root with busybox, and the mount points that the others need.
fn make(root: &Path) -> Result<()> {
    for folder in ["bin", "proc", "sys", "dev", "media/root", "etc", "usr/bin", "tmp", "run", "root", "var"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    symlink("busybox", root.join("bin/true"))?;
    symlink("busybox", root.join("bin/sh"))?;
    // systemd-nspawn asks for it.
    fs::write(root.join("etc/os-release"), "ID=bench\n")?;
    Ok(())
}

fn compare(bench: &mut Bench, toolbox: &Path, root: &Path) -> Result<()> {
    let at = root.display();
    let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let bundles =
        [("crun", false), ("crun-alike", true)].map(|(name, alike)| (bench.folder.join(name), alike));
    for (bundle, alike) in &bundles {
        fs::create_dir_all(bundle)?;
        fs::write(bundle.join("config.json"), config(bundle, root, *alike)?)?;
    }
    let crun = |bundle: &Path| {
        words(format!("crun --cgroup-manager=cgroupfs run --bundle {} bench", bundle.display()))
    };
    let ways = [
        Way {
            name: "toolbox run",
            words: words(format!("{} run --from {at} -- true", toolbox.display())),
            at_most: None,
        },
        Way {
            name: "bubblewrap, the root writable, own PIDs",
            words: words(format!(
                "bwrap --unshare-pid --unshare-uts --unshare-ipc --bind {at} / --proc /proc --dev /dev \
                 --ro-bind / /media/root true"
            )),
            at_most: Some(1.2),
        },
        Way {
            name: "unshare and chroot",
            words: words(format!("unshare --mount --uts --ipc --pid --fork chroot {at} true")),
            at_most: None,
        },
        Way { name: "crun, with what `crun spec` asks for", words: crun(&bundles[0].0), at_most: None },
        Way { name: "crun, with what ours does and no more", words: crun(&bundles[1].0), at_most: Some(0.5) },
        Way {
            name: "systemd-nspawn with a volatile overlay",
            words: words(format!(
                "systemd-nspawn --quiet --register=no --keep-unit --volatile=overlay -D {at} /bin/true"
            )),
            at_most: Some(0.1),
        },
        Way {
            name: "podman",
            words: words(format!(
                "podman --cgroup-manager=cgroupfs run --rm --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network none --cgroups=disabled --rootfs {at}:O /bin/true"
            )),
            at_most: Some(1.0 / 30.0),
        },
    ];
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
    let mut faults: Vec<Option<String>> = vec![None; ways.len()];
    let mut order: Vec<usize> = (0..ways.len()).collect();
    let mut chance = fastrand::Rng::with_seed(1);
    for round in 0..=bench.runs * ROUNDS {
        // The kernel still clears away after one that has ended, at the cost of the next.
        chance.shuffle(&mut order);
        for &index in &order {
            let way = &ways[index];
            // Those that take long are started less often.
            if faults[index].is_some() || index > 4 && round % ROUNDS != 0 {
                continue;
            }
            match once(&way.words) {
                Ok(_) if round == 0 => {}
                Ok(time) => times[index].push(time),
                Err(error) => faults[index] = Some(error.to_string()),
            }
        }
    }
    println!("\nthe start of `true` until its end, in a root on disk");
    let ours = median(times[0].iter().copied());
    for (index, way) in ways.iter().enumerate() {
        if let Some(fault) = &faults[index] {
            if index == 0 {
                return Err(fault.clone().into());
            }
            println!("  {:<44} cannot be run here: {}", way.name, fault.trim());
            bench.good = false;
            continue;
        }
        let theirs = median(times[index].iter().copied());
        let ratio = ours / theirs;
        match way.at_most {
            Some(bound) => {
                let verdict = bench.verdict(ratio <= bound);
                println!(
                    "  {:<44} {theirs:>8.2} ms   ours {ratio:.3} of it, at most {bound:.3}: {verdict}",
                    way.name
                );
            }
            None => println!("  {:<44} {theirs:>8.2} ms   ours {ratio:.3} of it", way.name),
        }
    }
    let words: Vec<&str> = ways[0].words.iter().map(String::as_str).collect();
    let peak = measure::run(&bench.folder, &words)?.peak_mib;
    let verdict = bench.verdict(peak <= PEAK_MIB);
    println!("  {:<44} {peak:>8.1} MiB  at most {PEAK_MIB}: {verdict}", "peak memory of ours");
    Ok(())
}

/// One start, in milliseconds.
fn once(words: &[String]) -> Result<f64> {
    let begin = Instant::now();
    let child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", words[0]))?;
    let output = child.wait_with_output()?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    if output.status.success() {
        return Ok(took);
    }
    Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no message").to_owned().into())
}

/// What crun runs: its own default, without the limits and the policy of devices, which need rights that not every
/// machine gives; and `alike`: with what ours has and no more, the host's root and network, and a namespace of cgroups.
fn config(bundle: &Path, root: &Path, alike: bool) -> Result<String> {
    let done = Command::new("crun").arg("spec").current_dir(bundle).status()?;
    if !done.success() {
        return Err("crun spec failed".into());
    }
    let path = bundle.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    fs::remove_file(&path)?;
    config["process"]["args"] = serde_json::json!(["/bin/true"]);
    config["process"]["terminal"] = false.into();
    config["process"]["rlimits"] = serde_json::json!([]);
    config["root"] = serde_json::json!({ "path": root, "readonly": false });
    config["linux"].as_object_mut().ok_or("crun spec has no linux")?.remove("resources");
    if !alike {
        return Ok(config.to_string());
    }
    let host = serde_json::json!({ "destination": "/media/root", "source": "/", "options": ["rbind", "ro"] });
    config["mounts"].as_array_mut().ok_or("crun spec has no mounts")?.push(host);
    let namespaces = config["linux"]["namespaces"].as_array_mut().ok_or("crun spec has no namespaces")?;
    namespaces.retain(|one| one["type"] != "network" && one["type"] != "cgroup");
    namespaces.push(serde_json::json!({ "type": "cgroup" }));
    Ok(config.to_string())
}
