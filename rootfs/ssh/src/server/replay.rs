//! Whole connections for tests and the fuzzer: a client's bytes, from its identification on, fed to
//! the server in this process. Not in the appliance: the feature `replay` is off there.
//!
//! The bytes of a real connection are encrypted with keys that no other has, so a changed one ends
//! at the first key. Therefore there are two servers: [`Kind::Real`] is as it is in the appliance,
//! up to its keys; [`Kind::Clear`] differs in this alone, that it exchanges no keys and encrypts
//! nothing, so that the same bytes get in each time, and changed ones get as deep as they can.
//! The user's account is closed: no program runs and nothing is forwarded.

use super::connection::{Connection, Shared};
use super::{Server, transport};
use crate::config::{Config, Forwarding};
use crate::door::{Bounds, Door};
use crate::hostkey;
use russh::keys::PrivateKey;
use russh::keys::signature::Signer;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::{cipher, kex, mac};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

/// Longer than any connection takes whose client has ended.
const END_MAX: Duration = Duration::from_secs(20);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The appliance's.
    Real,
    /// One without encryption.
    Clear,
}

/// The servers, with one user, `closed`, and its key.
#[derive(Debug)]
pub struct Replay {
    runtime: tokio::runtime::Runtime,
    server: Arc<Server>,
    real: Arc<russh::server::Config>,
    clear: Arc<russh::server::Config>,
    number: AtomicU64,
}

/// How far a connection got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Whether the user was let in.
    pub authenticated: bool,
    /// The server's bytes.
    pub answer: Vec<u8>,
}

fn user_key() -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]))
}

impl Replay {
    /// Servers whose files are below this folder, which must be root's.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("etc/ssh/authorized_keys.d"))?;
        let home = root.display();
        fs::write(root.join("etc/passwd"), format!("closed:x:9999:9999::{home}:/usr/sbin/nologin\n"))?;
        fs::write(root.join("etc/group"), "")?;
        let public = user_key().public_key().to_openssh().map_err(io::Error::other)?;
        fs::write(root.join("etc/ssh/authorized_keys.d/closed"), public + "\n")?;
        let never = Forwarding { local: false, remote: false };
        let config = Config {
            tcp_forwarding: never,
            stream_forwarding: never,
            agent_forwarding: false,
            ..Config::default()
        };
        let keys = hostkey::load(&root.join("keys"), &config.host_keys).map_err(io::Error::other)?;
        let keys: Vec<PrivateKey> = keys.into_iter().map(|(key, _)| key).collect();
        let server_config = || {
            let config = transport(&config, keys.clone());
            russh::server::Config { auth_rejection_time: Duration::ZERO, ..config }
        };
        let (real, mut clear) = (server_config(), server_config());
        clear.preferred.kex = Cow::Borrowed(&[kex::NONE]);
        clear.preferred.cipher = Cow::Borrowed(&[cipher::NONE]);
        clear.preferred.mac = Cow::Borrowed(&[mac::NONE]);
        let server = Server {
            root: root.to_owned(),
            sessions: root.join("sessions"),
            cgroups: root.join("cgroups"),
            program: PathBuf::from("/nonexistent"),
            banner: None,
            log: |_| {},
            door: Mutex::new(Door::new(Bounds { startups: 4, startups_per_source: 4, connections: 4 })),
            live: Mutex::default(),
            last_session: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            left: Notify::new(),
            config,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (real, clear) = (Arc::new(real), Arc::new(clear));
        Ok(Self { runtime, server: Arc::new(server), real, clear, number: AtomicU64::new(0) })
    }

    /// Feeds one connection, and waits for its end.
    ///
    /// # Panics
    /// The server panicked, or did not end.
    pub fn feed(&self, kind: Kind, bytes: &[u8]) -> Reached {
        self.runtime.block_on(async {
            match tokio::time::timeout(END_MAX, self.converse(kind, bytes)).await {
                Ok(reached) => reached,
                Err(late) => panic!("a connection does not end: {late}"),
            }
        })
    }

    async fn converse(&self, kind: Kind, bytes: &[u8]) -> Reached {
        let server = &self.server;
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (peer, local) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 22)));
        server.door().knock(number, peer.ip().into());
        let shared = Arc::new(Shared::new(server.clone(), number, peer, local));
        let config = if kind == Kind::Real { &self.real } else { &self.clear };
        let (client, stream) = tokio::io::duplex(1 << 20);
        let (mut from, mut to) = tokio::io::split(client);
        let mut answer = Vec::new();
        let serve = async {
            let session =
                russh::server::run_stream(config.clone(), stream, Connection::new(shared.clone())).await;
            let outcome = match session {
                Ok(session) => session.await,
                Err(error) => Err(error),
            };
            // Nobody aborts its task.
            assert!(!matches!(outcome, Err(russh::Error::Join(_))), "the server panicked");
        };
        let send = async {
            // It may hang up before the end.
            let _ = to.write_all(bytes).await;
            let _ = to.shutdown().await;
        };
        let ((), (), _) = tokio::join!(serve, send, from.read_to_end(&mut answer));
        shared.clear();
        let login = shared.login.get().cloned();
        server.door().leave(number, login.is_some());
        if let Some(login) = &login {
            login.end(server).await;
        }
        Reached { authenticated: login.is_some(), answer }
    }
}

/// A packet of these, without encryption (RFC 4253, section 6).
pub fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 4 + (8 - (5 + payload.len() + 4) % 8) % 8;
    let mut packet = (1 + payload.len() as u32 + padding as u32).to_be_bytes().to_vec();
    packet.push(padding as u8);
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// The bytes of a connection of these messages.
pub fn connection<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = b"SSH-2.0-replay\r\n".to_vec();
    messages.into_iter().for_each(|message| bytes.extend(packet(message)));
    bytes
}

/// One field of a message.
enum Field<'a> {
    Byte(u8),
    Word(u32),
    Text(&'a [u8]),
}

fn message(kind: u8, fields: &[Field<'_>]) -> Vec<u8> {
    let mut bytes = vec![kind];
    for field in fields {
        match field {
            Field::Byte(byte) => bytes.push(*byte),
            Field::Word(word) => bytes.extend(word.to_be_bytes()),
            Field::Text(text) => {
                bytes.extend((text.len() as u32).to_be_bytes());
                bytes.extend_from_slice(text);
            }
        }
    }
    bytes
}

/// The key exchange's first message (RFC 4253, section 7.1).
fn kex_init(kind: Kind) -> Vec<u8> {
    let (kex, cipher, mac): (&[u8], &[u8], &[u8]) = match kind {
        Kind::Real => (b"curve25519-sha256,ext-info-c", b"aes256-gcm@openssh.com", b"hmac-sha2-256"),
        Kind::Clear => (b"none", b"none", b"none"),
    };
    let lists = [kex, b"ssh-ed25519", cipher, cipher, mac, mac, b"none", b"none", b"", b""];
    let mut fields = vec![];
    fields.extend([const { Field::Byte(5) }; 16]);
    fields.extend(lists.map(Field::Text));
    fields.extend([Field::Byte(0), Field::Word(0)]);
    message(20, &fields)
}

/// A connection up to the keys: the client's share of curve25519 is a constant.
pub fn until_keys() -> Vec<Vec<u8>> {
    vec![kex_init(Kind::Real), message(30, &[Field::Text(&[9; 32])]), message(21, &[])]
}

/// A connection without encryption in which a user logs in and asks for everything there is.
///
/// # Panics
/// The key signs nothing, which it does.
pub fn everything() -> Vec<Vec<u8>> {
    use Field::{Byte, Text, Word};
    let key = user_key();
    let public = key.public_key().to_bytes().unwrap_or_default();
    let offer = |signed: u8| {
        let fields = [
            Text(b"closed"),
            Text(b"ssh-connection"),
            Text(b"publickey"),
            Byte(signed),
            Text(b"ssh-ed25519"),
            Text(&public),
        ];
        message(50, &fields)
    };
    // RFC 4252, section 7: the session's identifier, here an empty one, and the message so far.
    let to_sign = [&[0; 4], offer(1).as_slice()].concat();
    let signature = key.try_sign(&to_sign).map(|signature| signature.as_bytes().to_vec()).unwrap_or_default();
    let signature = [message(0, &[Text(b"ssh-ed25519"), Text(&signature)])[1..].to_vec()].concat();
    let signed = [offer(1), message(0, &[Text(&signature)])[1..].to_vec()].concat();
    let request = |channel: u32, name: &'static [u8], rest: &[Field<'_>]| {
        let mut request = message(98, &[Word(channel), Text(name), Byte(1)]);
        request.extend_from_slice(&message(0, rest)[1..]);
        request
    };
    let open = |kind: &'static [u8], rest: &[Field<'_>]| {
        let mut open = message(90, &[Text(kind), Word(7), Word(1 << 20), Word(32 << 10)]);
        open.extend_from_slice(&message(0, rest)[1..]);
        open
    };
    let global = |name: &'static [u8], rest: &[Field<'_>]| {
        let mut global = message(80, &[Text(name), Byte(1)]);
        global.extend_from_slice(&message(0, rest)[1..]);
        global
    };
    let size = [Word(80), Word(25), Word(0), Word(0)];
    let terminal =
        [Text(b"xterm"), Word(80), Word(25), Word(0), Word(0), Text(b"\x35\0\0\0\x01\x80\0\0\x96\0\0")];
    vec![
        kex_init(Kind::Clear),
        message(5, &[Text(b"ssh-userauth")]),
        message(50, &[Text(b"closed"), Text(b"ssh-connection"), Text(b"none")]),
        message(50, &[Text(b"closed"), Text(b"ssh-connection"), Text(b"password"), Byte(0), Text(b"x")]),
        offer(0),
        signed,
        message(2, &[Text(b"ignored")]),
        message(4, &[Byte(1), Text(b"a word"), Text(b"")]),
        open(b"session", &[]),
        request(2, b"pty-req", &terminal),
        request(2, b"env", &[Text(b"LC_ALL"), Text(b"C")]),
        request(2, b"auth-agent-req@openssh.com", &[]),
        request(2, b"x11-req", &[Byte(0), Text(b"MIT"), Text(b"00"), Word(0)]),
        request(2, b"window-change", &size),
        request(2, b"exec", &[Text(b"systemctl status")]),
        message(94, &[Word(2), Text(b"typed")]),
        message(95, &[Word(2), Word(1), Text(b"typed")]),
        message(93, &[Word(2), Word(1 << 20)]),
        request(2, b"signal", &[Text(b"TERM")]),
        message(96, &[Word(2)]),
        open(b"session", &[]),
        request(3, b"subsystem", &[Text(b"sftp")]),
        open(b"session", &[]),
        request(4, b"shell", &[]),
        open(b"direct-tcpip", &[Text(b"localhost"), Word(80), Text(b"127.0.0.1"), Word(1)]),
        open(b"direct-streamlocal@openssh.com", &[Text(b"/run/x"), Text(b""), Word(0)]),
        open(b"forwarded-tcpip", &[Text(b"a"), Word(1), Text(b"b"), Word(2)]),
        open(b"x11", &[Text(b"a"), Word(1)]),
        global(b"tcpip-forward", &[Text(b""), Word(0)]),
        global(b"cancel-tcpip-forward", &[Text(b""), Word(0)]),
        global(b"streamlocal-forward@openssh.com", &[Text(b"/tmp/x")]),
        global(b"cancel-streamlocal-forward@openssh.com", &[Text(b"/tmp/x")]),
        global(b"keepalive@openssh.com", &[]),
        global(b"no-more-sessions@openssh.com", &[]),
        message(91, &[Word(2), Word(7), Word(9), Word(9)]),
        message(99, &[Word(2)]),
        message(81, &[]),
        kex_init(Kind::Clear),
        message(97, &[Word(3)]),
        message(1, &[Word(11), Text(b"done"), Text(b"")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that are the same each time.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            // Knuth's MMIX constants.
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % sides.max(1)
        }

        fn change(&mut self, bytes: &mut Vec<u8>) {
            let at = self.roll(bytes.len());
            match self.roll(6) {
                _ if bytes.is_empty() => bytes.push(self.roll(256) as u8),
                0 => bytes[at] ^= 1 << self.roll(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.roll(5)],
                2 => bytes.truncate(at),
                3 => bytes.insert(at, self.roll(256) as u8),
                4 => {
                    let length = [0, 0xffff_ffff, 0x7fff_ffff, 0x1_0000, 0x4000_0000_u32][self.roll(5)];
                    bytes.iter_mut().skip(at).zip(length.to_be_bytes()).for_each(|(byte, new)| *byte = new);
                }
                _ => bytes[at] = self.roll(256) as u8,
            }
        }
    }

    fn memory_kib(field: &str) -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").trim().parse().unwrap()
    }

    fn whole(messages: &[Vec<u8>]) -> Vec<u8> {
        connection(messages.iter().map(Vec::as_slice))
    }

    #[test]
    fn the_recorded_connections_get_where_they_should() {
        let folder = tempfile::tempdir().unwrap();
        let replay = Replay::new(folder.path()).unwrap();
        let reached = replay.feed(Kind::Clear, &whole(&everything()));
        assert!(reached.authenticated);
        let says = |needle: &[u8]| reached.answer.windows(needle.len()).any(|part| part == needle);
        // Messages for the client's channel 7: it is open, and its program is taken for started.
        assert!(says(&[91, 0, 0, 0, 7]) && says(&[99, 0, 0, 0, 7]), "{}", reached.answer.escape_ascii());
        let reached = replay.feed(Kind::Real, &whole(&until_keys()));
        let share = |answer: &[u8]| answer.windows(11).any(|part| part == b"ssh-ed25519");
        assert!(!reached.authenticated && share(&reached.answer), "the exchange is answered");
    }

    #[test]
    fn changed_connections_end_without_a_panic_and_within_bounds() {
        // In a process of its own, for its memory is measured.
        if std::env::var_os("REPLAY_ALONE").is_none() {
            let name = "server::replay::tests::changed_connections_end_without_a_panic_and_within_bounds";
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            let output =
                alone.args(["--exact", name, "--nocapture"]).env("REPLAY_ALONE", "1").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains("were let in"), "{said}");
            print!("{said}");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let replay = Replay::new(folder.path()).unwrap();
        let (everything, until_keys) = (everything(), until_keys());
        replay.feed(Kind::Clear, &whole(&everything));
        let before = memory_kib("VmHWM");
        let mut dice = Dice(3);
        let mut let_in = 0;
        for _ in 0..1500 {
            let kind = if dice.roll(4) == 0 { Kind::Real } else { Kind::Clear };
            let mut messages = if kind == Kind::Real { until_keys.clone() } else { everything.clone() };
            for _ in 0..=dice.roll(3) {
                let at = dice.roll(messages.len());
                match dice.roll(8) {
                    0 => drop(messages.remove(at)),
                    1 => messages.insert(at, messages[at].clone()),
                    2 => {
                        let other = dice.roll(messages.len());
                        messages.swap(at, other);
                    }
                    _ => dice.change(&mut messages[at]),
                }
                if messages.is_empty() {
                    break;
                }
            }
            let mut bytes = whole(&messages);
            // Now and then the packets themselves.
            if dice.roll(4) == 0 {
                dice.change(&mut bytes);
            }
            let_in += usize::from(replay.feed(kind, &bytes).authenticated);
        }
        let after = memory_kib("VmHWM");
        println!("{let_in} of 1500 were let in; VmHWM {before} KiB before, {after} KiB after");
        assert!(let_in > 500, "changed connections get behind authentication, {let_in} did");
        assert!(after < before + (32 << 10), "{before} KiB to {after} KiB");
    }
}
