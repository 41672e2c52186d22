//! Clients that mean harm: others still get in, and memory stays bounded.

use crate::machine::{Machine, run, text, wait};
use russh::client::{self, AuthResult};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection from 127.0.0.2, another source than the tests' own clients.
fn from_elsewhere() -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &std::net::SocketAddrV4::new([127, 0, 0, 2].into(), 0)).unwrap();
    connect(&socket, &std::net::SocketAddrV4::new([127, 0, 0, 1].into(), 22)).unwrap();
    TcpStream::from(socket)
}

/// How long the server lets a silent client stay.
fn ends(mut socket: TcpStream) -> Duration {
    let start = Instant::now();
    socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut buffer = [0; 4096];
    while !matches!(socket.read(&mut buffer), Ok(0) | Err(_)) {}
    start.elapsed()
}

#[test]
fn five_hundred_half_open_connections_keep_nobody_out() {
    let machine = Machine::start("");
    machine.good(&[], "true");
    let before = machine.memory_kib();
    let sockets: Vec<TcpStream> = (0..500).map(|_| from_elsewhere()).collect();
    assert_eq!(machine.good(&[], "echo in"), "in\n");
    let after = machine.memory_kib();
    println!("VmRSS before {before} KiB, with 500 half-open connections {after} KiB");
    assert!(after < before + (8 << 10), "{before} KiB to {after} KiB");
    drop(sockets);
}

#[test]
fn slow_handshakes_end_in_time() {
    let machine = Machine::start("LoginGraceTime 2\n");
    let silent = from_elsewhere();
    let mut slow = from_elsewhere();
    slow.write_all(b"SSH-2.0-slow\r\n").unwrap();
    let mut half = from_elsewhere();
    half.write_all(b"SSH-2.0-half\r\n\0\0\x01").unwrap();
    for socket in [silent, slow, half] {
        assert!(ends(socket) < Duration::from_secs(20));
    }
    assert_eq!(machine.good(&[], "echo in"), "in\n");
}

#[test]
fn garbage_and_huge_packets_end_their_connection_alone() {
    let machine = Machine::start("");
    machine.good(&[], "true");
    let before = machine.memory_kib();
    let mut huge = b"SSH-2.0-huge\r\n".to_vec();
    huge.extend([0x7f, 0xff, 0xff, 0xff]);
    huge.resize(1 << 20, 0);
    let mut seed = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    })
    .take(200_000)
    .collect();
    let long_line = vec![b'A'; 1 << 20];
    let kex_garbage = [b"SSH-2.0-x\r\n".to_vec(), vec![0, 0, 1, 0, 10, 20], vec![0xff; 300]].concat();
    for bytes in [&huge, &noise, &long_line, &kex_garbage, &b"GET / HTTP/1.0\r\n\r\n".to_vec()] {
        let mut socket = from_elsewhere();
        // The server may hang up while this is written.
        let _ = socket.write_all(bytes);
        assert!(ends(socket) < Duration::from_secs(20));
    }
    assert_eq!(machine.good(&[], "echo in"), "in\n");
    let after = machine.memory_kib();
    assert!(after < before + (8 << 10), "{before} KiB to {after} KiB");
}

struct Anyone;

impl client::Handler for Anyone {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _: &russh::keys::PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

async fn log_in(machine: &Machine) -> client::Handle<Anyone> {
    let config = Arc::new(client::Config::default());
    let mut session = client::connect(config, ("127.0.0.1", 22), Anyone).await.unwrap();
    let text = std::fs::read_to_string(machine.root().join("id")).unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(PrivateKey::from_openssh(text).unwrap()), None);
    assert!(matches!(session.authenticate_publickey("tester", key).await.unwrap(), AuthResult::Success));
    session
}

#[test]
fn ten_thousand_channels_cost_little() {
    let machine = Machine::start("");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = log_in(&machine).await;
        let before = machine.memory_kib();
        // At once as many as are given; they stay open.
        let mut open = Vec::new();
        let mut refused = 0;
        for _ in 0..5000 {
            match session.channel_open_session().await {
                Ok(channel) => open.push(channel),
                Err(russh::Error::ChannelOpenFailure(_)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((open.len(), refused), (32, 5000 - 32));
        // One after the other.
        for channel in open {
            channel.close().await.unwrap();
        }
        for _ in 0..5000 {
            loop {
                match session.channel_open_session().await {
                    Ok(channel) => break channel.close().await.unwrap(),
                    // The close of an earlier one is still under way.
                    Err(russh::Error::ChannelOpenFailure(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let after = machine.memory_kib();
        println!("VmRSS before {before} KiB, after 10,000 channels {after} KiB");
        assert!(after < before + (24 << 10), "{before} KiB to {after} KiB");
        assert_eq!(machine.good(&[], "echo in"), "in\n");
    });
}

#[test]
fn data_that_nobody_takes_is_held_within_bounds() {
    let machine = Machine::start("");
    // 200 MB for a program that reads none of it, on two connections.
    let feed = |line: &str| {
        let ssh = format!("{:?}", machine.client(&[]).arg(line));
        Command::new("sh").args(["-c", &format!("head -c 200000000 /dev/zero | {ssh}")]).spawn().unwrap()
    };
    let mut children = [feed("exec sleep 1000"), feed("exec sleep 1000")];
    wait("both are in", || (machine.scopes().len() == 2).then_some(()));
    let mut peak = 0;
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(50));
        peak = peak.max(machine.memory_kib());
    }
    println!("VmRSS {peak} KiB at most");
    assert!(peak < 24 << 10, "{peak} KiB");
    assert_eq!(machine.good(&[], "echo in"), "in\n");
    assert!(machine.loginctl(&["terminate-user", "tester"]).status.success());
    for child in &mut children {
        child.wait().unwrap();
    }
}

#[test]
fn ssh_audit_has_nothing_to_say_but_that_a_key_exchange_is_of_before_quantum_computers() {
    let cache = std::env::var("SLIPWAY_CACHE").map_or_else(
        |_| std::path::PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/slipway"),
        std::path::PathBuf::from,
    );
    let program = cache.join("tools/ssh-audit/bin/ssh-audit");
    assert!(program.exists(), "{} is missing: scripts/test installs it", program.display());
    let audit = || {
        // The rate test is about the one source that the test is, which has a bound of its own.
        let output = run(Command::new(&program).args(["-n", "-l", "warn", "--skip-rate-test", "127.0.0.1"]));
        let out = text(&output.stdout);
        let lines: Vec<&str> =
            out.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        lines.join("\n").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let machine = Machine::start("KexAlgorithms mlkem768x25519-sha256\n");
    assert_eq!(audit(), "");
    drop(machine);
    // Clients older than OpenSSH 9.9, Debian 12's among them, have no other in common with russh.
    let machine = Machine::start("");
    assert_eq!(
        audit(),
        "(kex) curve25519-sha256 -- [warn] does not provide protection against post-quantum attacks"
    );
    assert_eq!(machine.good(&[], "echo in"), "in\n");
}
