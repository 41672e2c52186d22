//! The manager as PID 1 of a scratch pid namespace, for tests and for trying units:
//!
//!     unshare --fork --pid --mount --mount-proc scratch_pid1 DIR CGROUP [READY_TIMEOUT_S]
//!
//! Units are in DIR/etc and DIR/units; sockets come to DIR/run; the console is stdout. CGROUP is an empty cgroup v2 folder. How it ended is written to DIR/outcome.
//!
//! `scratch_pid1 journald ARGUMENT…` is the journal's daemon, for a unit systemd-journald.service.
//! `scratch_pid1 applet systemctl|analyze WORD…` runs a command, as a program of its own.
//!
//! `scratch_pid1 notify MESSAGE…` is a service: it sends the messages to `$NOTIFY_SOCKET` and waits.
//! `scratch_pid1 serve COUNT` answers so many connections on its passed sockets with the name of the
//! socket and its own pid, and ends. `scratch_pid1 store` gives a pipe to PID 1 to keep, and says
//! what is in the one that it gets back.

use init::control;
use init::manager::{Gate, Options, Paths, Table, run};
use init::unit::condition::Machine;
use init::unit::load::Loader;
use init::unit::{Facts, UnitName};
use std::error::Error;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(code) = init::manager::mounting::main() {
        std::process::exit(i32::from(code));
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("notify", messages)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return notify(messages);
    }
    if let Some(("journald", rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        let code = journal::daemon::main(rest);
        return if code == 0 { Ok(()) } else { Err("journald failed".into()) };
    }
    if let [first, applet, rest @ ..] = arguments.as_slice()
        && first == "applet"
    {
        let main = if applet == "systemctl" { control::systemctl::main } else { control::analyze::main };
        std::process::exit(i32::from(main(rest)));
    }
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", count] => return serve(count.parse()?),
        ["store"] => return store(),
        _ => {}
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
            console: "/proc/self/fd/1".into(),
            stamps: folder.join("stamps"),
        },
        loader: Loader::new(vec![folder.join("etc"), folder.join("units")], Facts::read()),
        machine: Machine::default(),
        target: UnitName::parse("default.target")?,
        wishes: Vec::new(),
        gate: Gate { target: UnitName::parse("boot-complete.target")?, timeout, recovery: None },
        table: Table::default(),
        watchdog: None,
        patience: Duration::from_secs(1),
        // A unit with these words as its description is a defect of PID 1.
        fault: Some(|said| {
            assert!(!(said.starts_with("Started ") && said.ends_with(" - a defect.")), "a planted defect");
        }),
    })?;
    std::fs::write(folder.join("outcome"), format!("{:?}", outcome.end))?;
    Ok(())
}

fn serve(count: usize) -> Result<(), Box<dyn Error>> {
    let passed = service::activation::descriptors();
    let all: Vec<&str> = passed.iter().map(|(name, _)| name.as_str()).collect();
    let text = format!("{} {}\n", all.join(" "), std::process::id());
    let first = passed.first().ok_or("nothing was passed")?.1.try_clone()?;
    let is_tcp = std::net::TcpListener::from(first.try_clone()?).local_addr().is_ok();
    for _ in 0..count {
        if is_tcp {
            let (mut stream, _) = std::net::TcpListener::from(first.try_clone()?).accept()?;
            stream.write_all(text.as_bytes())?;
        } else {
            let (mut stream, _) = std::os::unix::net::UnixListener::from(first.try_clone()?).accept()?;
            stream.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}

fn store() -> Result<(), Box<dyn Error>> {
    let (read, mut write) = std::io::pipe()?;
    for (name, fd) in service::activation::descriptors() {
        let mut text = [0; 64];
        let count = std::fs::File::from(fd).read(&mut text)?;
        println!("{name}: {}", String::from_utf8_lossy(&text[..count]));
    }
    write.write_all(format!("from {}", std::process::id()).as_bytes())?;
    let socket = UnixDatagram::unbound()?;
    socket.connect(std::env::var("NOTIFY_SOCKET")?)?;
    let fds = [read.as_raw_fd()];
    let parts = [std::io::IoSlice::new(b"FDSTORE=1\nFDNAME=kept\nFDPOLL=0")];
    let control = [nix::sys::socket::ControlMessage::ScmRights(&fds)];
    nix::sys::socket::sendmsg::<()>(
        socket.as_raw_fd(),
        &parts,
        &control,
        nix::sys::socket::MsgFlags::empty(),
        None,
    )?;
    socket.send(b"READY=1")?;
    loop {
        std::thread::park();
    }
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
