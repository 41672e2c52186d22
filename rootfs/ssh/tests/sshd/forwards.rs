//! Forwarded connections: -L, -R, -D, UNIX sockets, and what is refused.

use crate::machine::{Machine, read_until, run, text, wait};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

/// A server that sends back what it gets, in capitals, and ends when its client does.
fn echo(listener: TcpListener) {
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            std::thread::spawn(move || {
                let mut data = Vec::new();
                socket.read_to_end(&mut data).unwrap();
                socket.write_all(data.to_ascii_uppercase().as_slice()).unwrap();
            });
        }
    });
}

/// Sends, ends, and reads the answer.
fn exchange(mut socket: TcpStream, data: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut to = socket.try_clone().unwrap();
    let data = data.to_vec();
    let writer = std::thread::spawn(move || {
        to.write_all(&data).unwrap();
        to.shutdown(Shutdown::Write).unwrap();
    });
    socket.read_to_end(&mut answer).unwrap();
    writer.join().unwrap();
    answer
}

/// ssh with forwards, once they are up; ends when dropped.
struct Tunnel(Child);

impl Tunnel {
    fn open(machine: &Machine, options: &[&str]) -> Self {
        let mut client = machine.client(options);
        client.args(["-o", "ExitOnForwardFailure=yes", "echo up; cat"]);
        let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        read_until(child.stdout.as_mut().unwrap(), "up");
        Self(child)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn connections_go_out_from_the_machine() {
    let machine = Machine::start("");
    echo(TcpListener::bind("127.0.0.1:7000").unwrap());
    let _tunnel =
        Tunnel::open(&machine, &["-L", "8000:localhost:7000", "-L", "8001:127.0.0.1:1", "-D", "1080"]);
    let data = vec![b'x'; 5_000_000];
    let answer = exchange(TcpStream::connect("127.0.0.1:8000").unwrap(), &data);
    assert!(answer == vec![b'X'; 5_000_000], "{} bytes", answer.len());
    // Many at once.
    let sockets: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect("127.0.0.1:8000").unwrap()).collect();
    for socket in sockets {
        assert_eq!(exchange(socket, b"abc"), b"ABC");
    }
    // Nobody listens there.
    assert_eq!(exchange(TcpStream::connect("127.0.0.1:8001").unwrap(), b""), b"");
    // SOCKS 5: no authentication; connect to 127.0.0.1:7000.
    let mut socks = TcpStream::connect("127.0.0.1:1080").unwrap();
    socks.write_all(&[5, 1, 0]).unwrap();
    let mut reply = [0; 2];
    socks.read_exact(&mut reply).unwrap();
    socks.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, 0x1b, 0x58]).unwrap();
    let mut reply = [0; 10];
    socks.read_exact(&mut reply).unwrap();
    assert_eq!(reply[1], 0, "SOCKS says {reply:?}");
    assert_eq!(exchange(socks, b"socks"), b"SOCKS");
}

#[test]
fn connections_to_the_machine_reach_the_client() {
    let machine = Machine::start("");
    echo(TcpListener::bind("127.0.0.1:7000").unwrap());
    let tunnel = Tunnel::open(&machine, &["-R", "9000:127.0.0.1:7000"]);
    let data = vec![b'x'; 2_000_000];
    let answer = exchange(TcpStream::connect("127.0.0.1:9000").unwrap(), &data);
    assert!(answer == vec![b'X'; 2_000_000], "{} bytes", answer.len());
    assert_eq!(exchange(TcpStream::connect("[::1]:9000").unwrap(), b"abc"), b"ABC");
    drop(tunnel);
    wait("the port is free", || TcpStream::connect("127.0.0.1:9000").is_err().then_some(()));
    // The kernel's choice of a port; a reserved one is not for users.
    let output = machine.ssh(&["-v", "-o", "LogLevel=INFO", "-R", "0:127.0.0.1:7000"], "true");
    assert!(text(&output.stderr).contains("Allocated port "), "{output:?}");
    let output = machine.ssh(&["-R", "80:127.0.0.1:7000", "-o", "ExitOnForwardFailure=yes"], "true");
    assert_eq!(output.status.code(), Some(255), "{output:?}");
}

#[test]
fn forwarding_is_refused_when_the_key_or_the_server_says_so() {
    let machine = Machine::start("");
    echo(TcpListener::bind("127.0.0.1:7000").unwrap());
    echo(TcpListener::bind("127.0.0.1:7001").unwrap());
    machine.authorize(
        "tester",
        &format!("permitopen=\"127.0.0.1:7001\",permitlisten=\"9001\" {}", machine.public_key("id")),
    );
    let forwards =
        ["-L", "8000:127.0.0.1:7000", "-L", "8001:127.0.0.1:7001", "-R", "localhost:9001:127.0.0.1:7001"];
    let tunnel = Tunnel::open(&machine, &forwards);
    assert_eq!(exchange(TcpStream::connect("127.0.0.1:8000").unwrap(), b""), b"");
    assert_eq!(exchange(TcpStream::connect("127.0.0.1:8001").unwrap(), b"a"), b"A");
    assert_eq!(exchange(TcpStream::connect("127.0.0.1:9001").unwrap(), b"a"), b"A");
    drop(tunnel);
    let refused = |machine: &Machine| {
        let output = machine.ssh(&["-R", "9002:127.0.0.1:7001", "-o", "ExitOnForwardFailure=yes"], "true");
        assert_eq!(output.status.code(), Some(255), "{output:?}");
        let output = run(&mut machine.client(&["-o", "LogLevel=INFO", "-W", "127.0.0.1:7001"]));
        assert!(text(&output.stderr).contains("administratively prohibited"), "{output:?}");
    };
    machine.authorize("tester", &format!("restrict {}", machine.public_key("id")));
    refused(&machine);
    let machine = Machine::start("AllowTcpForwarding no\n");
    refused(&machine);
}

#[test]
fn unix_sockets_are_connected_as_the_user() {
    let machine = Machine::start("");
    let path = machine.root().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    std::os::unix::fs::chown(&path, Some(machine.uid), None).unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let peer = nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::PeerCredentials).unwrap();
        let mut data = Vec::new();
        socket.read_to_end(&mut data).unwrap();
        socket.write_all(&data.to_ascii_uppercase()).unwrap();
        peer.uid()
    });
    let _tunnel = Tunnel::open(&machine, &["-L", &format!("8000:{}", path.display())]);
    assert_eq!(exchange(TcpStream::connect("127.0.0.1:8000").unwrap(), b"abc"), b"ABC");
    assert_eq!(server.join().unwrap(), machine.uid);
    // One that is root's alone stays so.
    let closed = machine.root().join("closed");
    let _listener = UnixListener::bind(&closed).unwrap();
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let _tunnel = Tunnel::open(&machine, &["-L", &format!("8002:{}", closed.display())]);
    assert_eq!(exchange(TcpStream::connect("127.0.0.1:8002").unwrap(), b""), b"");
}

#[test]
fn unix_sockets_are_listened_on_as_the_user() {
    let machine = Machine::start("");
    echo(TcpListener::bind("127.0.0.1:7000").unwrap());
    let path = machine.home().join("socket");
    let tunnel = Tunnel::open(&machine, &["-R", &format!("{}:127.0.0.1:7000", path.display())]);
    let about = std::fs::metadata(&path).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777;
    assert_eq!((std::os::unix::fs::MetadataExt::uid(&about), mode), (machine.uid, 0o600));
    let ask = |data: &[u8]| {
        let mut socket = UnixStream::connect(&path).unwrap();
        let peer = nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::PeerCredentials).unwrap();
        assert_eq!(peer.uid(), machine.uid);
        let mut answer = Vec::new();
        let (mut to, data) = (socket.try_clone().unwrap(), data.to_vec());
        let writer = std::thread::spawn(move || {
            to.write_all(&data).unwrap();
            to.shutdown(Shutdown::Write).unwrap();
        });
        socket.read_to_end(&mut answer).unwrap();
        writer.join().unwrap();
        answer
    };
    assert_eq!(ask(b"abc"), b"ABC");
    assert!(ask(&vec![b'x'; 2_000_000]) == vec![b'X'; 2_000_000]);
    // Where something is already, and where the user may not.
    let refused = |path: &str| {
        let forward = format!("{path}:127.0.0.1:7000");
        let output = machine.ssh(&["-R", &forward, "-o", "ExitOnForwardFailure=yes"], "true");
        assert_eq!(output.status.code(), Some(255), "{output:?}");
    };
    refused(&path.display().to_string());
    refused("/etc/socket");
    machine.wait_log("cannot listen on /etc/socket for the client: Permission denied");
    drop(tunnel);
    wait("the socket is gone", || (!path.exists()).then_some(()));
    drop(machine);
    let machine = Machine::start("AllowStreamLocalForwarding local\n");
    let forward = format!("{}:127.0.0.1:7000", machine.home().join("s").display());
    let output = machine.ssh(&["-R", &forward, "-o", "ExitOnForwardFailure=yes"], "true");
    assert_eq!(output.status.code(), Some(255), "{output:?}");
}

#[test]
fn an_agent_is_reached_from_the_session_and_gone_with_it() {
    let machine = Machine::start("");
    let agent = machine.root().join("agent");
    let mut server = Command::new("ssh-agent").args(["-D", "-a"]).arg(&agent).spawn().unwrap();
    wait("the agent is there", || agent.exists().then_some(()));
    let added = run(Command::new("ssh-add").arg(machine.root().join("id")).env("SSH_AUTH_SOCK", &agent));
    assert!(added.status.success(), "{added:?}");
    let ask =
        |machine: &Machine, line: &str| run(machine.client(&["-A"]).env("SSH_AUTH_SOCK", &agent).arg(line));
    let output = ask(&machine, "echo $SSH_AUTH_SOCK; stat -c %u:%a $SSH_AUTH_SOCK; ssh-add -L; ssh-add -L");
    let (out, key) = (text(&output.stdout), machine.public_key("id"));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[1..], [&format!("{}:600", machine.uid), &key, &key], "{output:?}");
    wait("the socket is gone", || (!std::path::Path::new(lines[0]).parent()?.exists()).then_some(()));
    // Without -A there is none, and none when the key says so.
    assert_eq!(machine.good(&[], "echo $SSH_AUTH_SOCK"), "\n");
    machine.authorize("tester", &format!("no-agent-forwarding {key}"));
    assert_eq!(text(&ask(&machine, "echo $SSH_AUTH_SOCK").stdout), "\n");
    server.kill().unwrap();
    server.wait().unwrap();
}
