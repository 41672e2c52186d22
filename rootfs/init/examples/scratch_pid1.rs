//! The manager as PID 1 of a scratch pid namespace, for tests and for trying units:
//!
//!     unshare --fork --pid --mount --mount-proc scratch_pid1 DIR CGROUP [READY_TIMEOUT_S]
//!
//! Units are in DIR/etc and DIR/units; sockets come to DIR/run and the journal to DIR/journal;
//! the console is stdout. CGROUP is an empty cgroup v2 folder. How it ended is written to DIR/outcome.
//!
//! `scratch_pid1 applet systemctl|analyze WORD…` runs a command, as a program of its own.
//!
//! `scratch_pid1 notify MESSAGE…` is a service: it sends the messages to `$NOTIFY_SOCKET` and waits.

use init::control;
use init::manager::{Gate, Options, Paths, Table, run};
use init::unit::condition::Machine;
use init::unit::load::Loader;
use init::unit::{Facts, UnitName};
use std::error::Error;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("notify", messages)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return notify(messages);
    }
    if let [first, applet, rest @ ..] = arguments.as_slice()
        && first == "applet"
    {
        let main = if applet == "systemctl" { control::systemctl::main } else { control::analyze::main };
        std::process::exit(i32::from(main(rest)));
    }
    let [folder, cgroup, rest @ ..] = arguments.as_slice() else {
        return Err("usage: scratch_pid1 DIR CGROUP [READY_TIMEOUT_S]".into());
    };
    let folder = PathBuf::from(folder);
    let timeout = rest.first().map(|text| text.parse().map(Duration::from_secs)).transpose()?;
    let outcome = run(Options {
        paths: Paths {
            runtime: folder.join("run"),
            cgroup: cgroup.into(),
            journal: Some(folder.join("journal")),
            console: "/proc/self/fd/1".into(),
        },
        loader: Loader { folders: vec![folder.join("etc"), folder.join("units")], facts: Facts::read() },
        machine: Machine::default(),
        target: UnitName::parse("default.target")?,
        wishes: Vec::new(),
        gate: Gate { target: UnitName::parse("boot-complete.target")?, timeout, recovery: None },
        table: Table::default(),
        watchdog: None,
        patience: Duration::from_secs(1),
        // A unit with these words as its description is a defect of PID 1.
        fault: Some(|said| assert!(!said.contains("Started a defect"), "a planted defect")),
    })?;
    std::fs::write(folder.join("outcome"), format!("{:?}", outcome.end))?;
    Ok(())
}

fn notify(messages: &[String]) -> Result<(), Box<dyn Error>> {
    let socket = UnixDatagram::unbound()?;
    for message in messages {
        socket.send_to(message.as_bytes(), std::env::var("NOTIFY_SOCKET")?)?;
    }
    loop {
        std::thread::park();
    }
}
