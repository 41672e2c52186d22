//! PID 1 for the benchmark of starting units, in a pid namespace of its own:
//!
//!     unshare --fork --pid --mount --mount-proc units-pid1 DIR CGROUP
//!
//! It loads DIR/units, starts default.target, and answers on DIR/run/private.
//!
//! `units-pid1 loop fork|vfork COUNT` is the other side: it forks and executes /bin/true COUNT times,
//! then waits for all, and prints the milliseconds that took.

use init::manager::{Gate, Options, Paths, Table, run};
use init::unit::condition::Machine;
use init::unit::load::Loader;
use init::unit::{Facts, UnitName};
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["loop", how @ ("fork" | "vfork"), count] => bare_loop(*how == "fork", count.parse()?),
        ["journald", ..] => match journal::daemon::main(&arguments[1..]) {
            0 => Ok(()),
            code => Err(format!("the journal ended with {code}").into()),
        },
        [folder, cgroup] => pid1(folder.as_ref(), cgroup.as_ref()),
        _ => Err("usage: units-pid1 DIR CGROUP | units-pid1 loop fork|vfork COUNT".into()),
    }
}

fn pid1(folder: &Path, cgroup: &Path) -> Result<(), Box<dyn Error>> {
    run(Options {
        paths: Paths {
            runtime: folder.join("run"),
            cgroup: cgroup.into(),
            console: "/proc/self/fd/1".into(),
            stamps: folder.join("stamps"),
        },
        loader: Loader::new(vec![folder.join("units")], Facts::read()),
        machine: Machine::default(),
        target: UnitName::parse("default.target")?,
        wishes: Vec::new(),
        gate: Gate { target: UnitName::parse("boot-complete.target")?, timeout: None, recovery: None },
        table: Table::default(),
        watchdog: None,
        patience: Duration::ZERO,
        fault: None,
    })?;
    Ok(())
}

fn bare_loop(fork: bool, count: usize) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let mut children = Vec::with_capacity(count);
    for _ in 0..count {
        let mut command = Command::new("/bin/true");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if fork {
            // What vfork(2) cannot do: std forks then.
            command.uid(0);
        }
        children.push(command.spawn()?);
    }
    for mut child in children {
        child.wait()?;
    }
    println!("{}", begin.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
