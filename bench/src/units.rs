//! A thousand trivial services started by PID 1, beside a bare loop of fork and exec of the same program.

use crate::measure::median;
use crate::{Bench, Result};
use init::control::{Ending, Request, Response, Verb, client};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const SERVICES: usize = 1000;
/// Most times the loop's time.
const TARGET: f64 = 1.5;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let program = std::env::current_exe()?.with_file_name("units-pid1");
    let mut all: [Vec<f64>; 3] = Default::default();
    for _ in 0..=bench.runs {
        all[0].push(bare_loop(&program, "fork")?);
        all[1].push(bare_loop(&program, "vfork")?);
        all[2].push(services(&program, &bench.folder)?);
    }
    // The first of each warms the caches.
    let [fork, vfork, ours] = all.map(|runs| median(runs.into_iter().skip(1)));
    let ratio = ours / vfork;
    println!("\n{SERVICES} services that run /bin/true, started by one transaction");
    println!("  {:<52} {fork:>8.0} ms", "fork and exec in a loop, then wait for all");
    println!("  {:<52} {vfork:>8.0} ms", "the same by vfork, which lends its memory");
    println!("  {:<52} {ours:>8.0} ms", "PID 1, each in a cgroup, its output in the journal");
    println!("  ours / vfork and exec: {ratio:.2}, at most {TARGET}: {}", bench.verdict(ratio <= TARGET));
    println!("  ours / fork and exec: {:.2}", ours / fork);
    Ok(())
}

fn bare_loop(program: &Path, how: &str) -> Result<f64> {
    let output = Command::new(program).args(["loop", how, &SERVICES.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .trim()
        .parse()
        .map_err(|_| format!("units-pid1 loop: {}", String::from_utf8_lossy(&output.stderr)))?)
}

/// One machine in a namespace; gives the time from the wish to the last service's end.
fn services(program: &Path, folder: &Path) -> Result<f64> {
    let folder = tempfile::tempdir_in(folder)?;
    let units = folder.path().join("units");
    fs::create_dir(&units)?;
    let write = |name: &str, text: &str| fs::write(units.join(name), text);
    for target in [
        "sysinit.target",
        "basic.target",
        "boot-complete.target",
        "default.target",
        "shutdown.target",
        "poweroff.target",
    ] {
        write(target, "[Unit]\nDefaultDependencies=no\n")?;
    }
    let names: Vec<String> = (0..SERVICES).map(|n| format!("trivial-{n}.service")).collect();
    for name in &names {
        write(name, "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n")?;
    }
    write(
        "many.target",
        &format!("[Unit]\nDefaultDependencies=no\nWants={0}\nAfter={0}\n", names.join(" ")),
    )?;
    let daemon = format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nStandardOutput=null\nExecStart={} journald \
         --runtime {1}/run/journal --folder {1}/journal --config /nonexistent --console /dev/null --no-kmsg\n",
        program.display(),
        folder.path().display()
    );
    write("systemd-journald.service", &daemon)?;
    write("sysinit.target", "[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service\n")?;
    let cgroup = cgroup_root()?.join(format!("slipway-bench-{}", std::process::id()));
    fs::create_dir(&cgroup)?;
    let mut child = Command::new("timeout")
        .args(["-s", "KILL", "120", "unshare", "--fork", "--pid", "--mount", "--mount-proc", "--kill-child"])
        .arg(program)
        .arg(folder.path())
        .arg(&cgroup)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut console = BufReader::new(child.stdout.take().ok_or("no console")?);
    let mut line = String::new();
    while !line.contains("slipway: ready") {
        line.clear();
        if console.read_line(&mut line)? == 0 {
            return Err(
                "PID 1 ended before it was ready; this needs root, unshare and a cgroup v2 tree".into()
            );
        }
    }
    let socket = folder.path().join("run/private");
    // Reading a thousand files is not what is compared.
    client::ask(&socket, &Request::Show("many.target".into()))?;
    let begin = Instant::now();
    let wish = Request::Jobs { verb: Verb::Start, units: vec!["many.target".into()], no_block: false };
    let answer = client::ask(&socket, &wish)?;
    let took_ms = begin.elapsed().as_secs_f64() * 1e3;
    let active = match client::ask(&socket, &Request::List)? {
        Response::Units(units) => units.iter().filter(|unit| unit.sub_state == "exited").count(),
        other => return Err(format!("{other:?}").into()),
    };
    client::ask(&socket, &Request::End { how: Ending::Poweroff, force: true })?;
    // Its console must not fill up while it ends.
    let _ = std::io::copy(&mut console, &mut std::io::sink());
    child.wait()?;
    remove(&cgroup);
    if answer != Response::Jobs(Vec::new()) || active != SERVICES {
        return Err(format!("{active} of {SERVICES} services ran: {answer:?}").into());
    }
    Ok(took_ms)
}

fn cgroup_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    // The last one: a mount may lie over an earlier one.
    let found = mounts.lines().rev().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        (fields.get(2) == Some(&"cgroup2")).then(|| PathBuf::from(fields[1]))
    });
    Ok(found.ok_or("no cgroup v2 tree: mount -t cgroup2 none /sys/fs/cgroup/unified")?)
}

fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
