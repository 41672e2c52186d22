//! Streams, datagrams and the kernel's messages.

use super::output::known;
use super::process::Credentials;
use super::run::Daemon;
use super::stream::{Break, Header, Lines, Progress, split_level};
use super::{kmsg, syslog};
use crate::field::join;
use crate::native;
use crate::write::Shared;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{getsockopt, sockopt};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;

/// Connections at once.
const STREAMS_MAX: usize = 4096;
/// Of them, for one user who is not root.
const USER_STREAMS_MAX: usize = 256;
/// Bytes of lines that are not whole, of all streams; beyond that, lines are cut early.
const WAITING_MAX: usize = 4 << 20;
/// How long a line may be then.
const LINE_UNDER_PRESSURE: usize = 1 << 10;
/// The largest entry that is passed as a file.
const FILE_MAX: u64 = 4 << 20;
/// Datagrams and connections taken in one turn.
const AT_ONCE: usize = 256;
/// Kernel messages taken in one turn: at boot there are hundreds, and units speak too.
const KERNEL_AT_ONCE: usize = 32;

/// A connection.
pub(super) struct Stream {
    fd: UnixStream,
    /// Who connected.
    peer: Credentials,
    /// Bytes of the header, until it is whole.
    head: Vec<u8>,
    header: Option<(Header, Rc<Shared>)>,
    lines: Lines,
    /// Who spoke last.
    speaker: Credentials,
    /// The name under which PID 1 keeps it.
    stored: Option<String>,
}

impl Daemon {
    /// Takes the connections that wait.
    pub(super) fn connections_came(&mut self) {
        for _ in 0..AT_ONCE {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.raw_os_error() == Some(Errno::EMFILE as i32) => {
                    // Heard again when one of them has ended.
                    self.listen(false);
                    self.complain("no descriptors are left for further connections");
                    return;
                }
                Err(_) => continue,
            };
            let Some(peer) = peer_of(&stream) else { continue };
            let same = self.streams.values().filter(|stream| stream.peer.uid == peer.uid).count();
            if self.streams.len() >= STREAMS_MAX || peer.uid != 0 && same >= USER_STREAMS_MAX {
                self.complain(&format!("user {} has too many connections: one is refused", peer.uid));
                continue;
            }
            let (lines, head) = (Lines::default(), Vec::new());
            let stream = Stream { fd: stream, peer, head, header: None, lines, speaker: peer, stored: None };
            // One that cannot be watched is hung up on.
            let _ = self.add_stream(stream);
        }
    }

    /// A connection that an earlier daemon gave to PID 1.
    pub(super) fn take_stored(&mut self, fd: OwnedFd) {
        let stream = UnixStream::from(fd);
        let Some((peer, name)) = peer_of(&stream).zip(name_of(&stream)) else { return };
        let path = self.state_path(&name);
        let header = fs::read(&path).ok().map(|bytes| Header::parse(&bytes));
        let Some(Progress::Whole(header, _)) = header else {
            let _ = fs::remove_file(path);
            return;
        };
        let shared = Rc::new(shared_of(&header));
        let (lines, head) = (Lines::default(), Vec::new());
        let header = Some((header, shared));
        let stream = Stream { fd: stream, peer, head, header, lines, speaker: peer, stored: Some(name) };
        self.add_stream(stream);
    }

    fn add_stream(&mut self, stream: Stream) -> Option<u64> {
        stream.fd.set_nonblocking(true).ok()?;
        let token = self.watch(&stream.fd)?;
        self.streams.insert(token, stream);
        Some(token)
    }

    /// Reads once what is there: who talks all the time does not keep the others waiting.
    pub(super) fn stream_ready(&mut self, token: u64) {
        let Some(mut stream) = self.streams.remove(&token) else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        self.waiting -= stream.lines.waiting();
        let goes_on = self.read_stream(&mut stream, &mut buffer);
        self.buffer = buffer;
        if goes_on {
            self.waiting += stream.lines.waiting();
            if stream.header.is_some() && stream.stored.is_none() {
                self.to_store.push(token);
            }
            self.streams.insert(token, stream);
            return;
        }
        self.end_line(&mut stream, Break::Eof);
        self.forget(&stream.fd);
        if let Some(name) = &stream.stored {
            let _ = fs::remove_file(self.state_path(name));
            let _ = service::notify::notify(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
        }
        self.listen(true);
    }

    /// False at its end, and when it is none.
    fn read_stream(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> bool {
        // Several times, for each writer's bytes come apart.
        for _ in 0..4 {
            let received = match self.receiver.receive(&stream.fd, buffer) {
                Ok(received) if received.count == 0 => return false,
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            let sender = received.sender.map(|(pid, uid, gid)| Credentials { pid, uid, gid });
            let sender = sender.filter(|sender| sender.pid > 0).unwrap_or(stream.peer);
            if sender != stream.speaker {
                self.end_line(stream, Break::PidChange);
                stream.speaker = sender;
            }
            let mut bytes = &buffer[..received.count];
            let head;
            if stream.header.is_none() {
                stream.head.extend_from_slice(bytes);
                match Header::parse(&stream.head) {
                    Progress::Partial => continue,
                    Progress::Bad => {
                        self.complain(&format!("process {} sent no stream header", stream.peer.pid));
                        return false;
                    }
                    Progress::Whole(header, length) => {
                        let header = believed(header, stream.peer);
                        let shared = shared_of(&header);
                        stream.header = Some((header, Rc::new(shared)));
                        head = std::mem::take(&mut stream.head);
                        bytes = &head[length..];
                    }
                }
            }
            let Some((header, shared)) = &stream.header else { continue };
            let pressed = self.waiting > WAITING_MAX;
            let line_max = if pressed { LINE_UNDER_PRESSURE } else { self.config.line_max };
            let speaker = stream.speaker;
            stream.lines.feed(bytes, line_max, |line, how| self.line(header, shared, speaker, line, how));
        }
        true
    }

    fn end_line(&mut self, stream: &mut Stream, how: Break) {
        let Some((header, shared)) = &stream.header else { return };
        let speaker = stream.speaker;
        stream.lines.end(how, |line, how| self.line(header, shared, speaker, line, how));
    }

    fn line(&mut self, header: &Header, shared: &Shared, who: Credentials, line: &[u8], how: Break) {
        let (priority, line) =
            if header.level_prefix { split_level(line, header.priority) } else { (header.priority, line) };
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return;
        }
        if header.console {
            self.console.line(&header.identifier, who.pid, line);
        }
        let process = self.processes.get(who, self.now);
        let said = !header.unit.is_empty();
        let of_process = process.unit.as_ref().map(|(name, _)| name.as_str());
        let unit = if said { Some(header.unit.as_str()) } else { of_process };
        let who = Credentials { pid: who.pid.max(2), ..who };
        let Some(settings) = self.passes(unit, who, priority) else { return };
        let mut shareds: Vec<&Shared> = vec![shared, &process.process];
        // What PID 1 said of the stream goes before what the cgroup tells.
        shareds.extend(process.unit.as_ref().filter(|_| !said).map(|(_, unit)| &**unit));
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        message.extend_from_slice(b"MESSAGE=");
        message.extend_from_slice(line);
        let level = [b"PRIORITY=".as_slice(), &[b'0' + priority]].concat();
        let ending = how.value().map(|value| join("_LINE_BREAK", value));
        if ending.is_none() && settings.fields.is_empty() {
            self.record(priority, &shareds, &[&level, &message]);
        } else {
            let more = ending.iter().chain(&settings.fields).map(Vec::as_slice);
            let own: Vec<&[u8]> = [level.as_slice(), &message].into_iter().chain(more).collect();
            self.record(priority, &shareds, &own);
        }
        self.message = message;
    }

    /// Gives streams that live on to PID 1, so that a restart of the daemon does not end them.
    pub(super) fn store_streams(&mut self) {
        let tokens = std::mem::take(&mut self.to_store);
        if !self.keeps {
            return;
        }
        for token in tokens {
            let Some(stream) = self.streams.get(&token).filter(|stream| stream.stored.is_none()) else {
                continue;
            };
            let Some((name, (header, _))) = name_of(&stream.fd).zip(stream.header.as_ref()) else { continue };
            let path = self.state_path(&name);
            let stored = fs::write(&path, header.encode()).and_then(|()| {
                let text = format!("FDSTORE=1\nFDNAME={name}");
                service::notify::notify_with(&text, &[stream.fd.as_raw_fd()])
            });
            match self.streams.get_mut(&token) {
                Some(stream) if stored.is_ok() => stream.stored = Some(name),
                _ => _ = fs::remove_file(path),
            }
        }
    }

    fn state_path(&self, name: &str) -> PathBuf {
        self.options.runtime.join("streams").join(name)
    }

    /// Datagrams of the native protocol.
    pub(super) fn native_came(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..AT_ONCE {
            let Ok(received) = self.receiver.receive(&self.native, &mut buffer) else { break };
            let (pid, uid, gid) = received.sender.unwrap_or((0, u32::MAX, u32::MAX));
            let who = Credentials { pid, uid, gid };
            match (received.count, received.descriptors.as_slice()) {
                _ if received.cut => self.complain(&format!("process {pid} sent too long an entry")),
                (count, []) => self.native_message(who, &buffer[..count]),
                // PID 1 wants to know when all that was said before is on the console.
                (1, [_]) if pid == 1 && uid == 0 => self.barriers.extend(received.descriptors),
                (0, [file]) => match read_passed(file) {
                    Ok(bytes) => self.native_message(who, &bytes),
                    Err(why) => self.complain(&format!("process {pid} passed an entry that {why}")),
                },
                _ => self.complain(&format!("process {pid} passed descriptors for no reason")),
            }
        }
        self.buffer = buffer;
    }

    fn native_message(&mut self, who: Credentials, bytes: &[u8]) {
        let message = native::parse(bytes);
        if message.rest > 0 || message.refused > 0 {
            let (rest, refused) = (message.rest, message.refused);
            self.complain(&format!(
                "process {} sent {refused} fields of forbidden names and {rest} bytes that are none",
                who.pid
            ));
        }
        for entry in message.entries {
            let process = self.processes.get(who, self.now);
            let priority = entry.iter().find_map(|(name, value)| match (*name, *value) {
                (b"PRIORITY", [digit @ b'0'..=b'7']) => Some(digit - b'0'),
                _ => None,
            });
            let unit = process.unit.as_ref().map(|(name, _)| name.as_str());
            let Some(settings) = self.passes(unit, who, priority.unwrap_or(6)) else { continue };
            let fields: Vec<Vec<u8>> =
                entry.iter().map(|(name, value)| [name, b"=".as_slice(), value].concat()).collect();
            let own: Vec<&[u8]> = fields.iter().chain(&settings.fields).map(Vec::as_slice).collect();
            let transport = Rc::clone(&self.journal);
            self.record(priority.unwrap_or(6), &known(&process, &transport), &own);
        }
    }

    /// Datagrams of syslog(3).
    pub(super) fn syslog_came(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..AT_ONCE {
            let Ok(received) = self.receiver.receive(&self.syslog, &mut buffer) else { break };
            let (pid, uid, gid) = received.sender.unwrap_or((0, u32::MAX, u32::MAX));
            let who = Credentials { pid, uid, gid };
            let parsed = syslog::parse(&buffer[..received.count]);
            let process = self.processes.get(who, self.now);
            let unit = process.unit.as_ref().map(|(name, _)| name.as_str());
            let Some(settings) = self.passes(unit, who, parsed.priority) else { continue };
            let mut fields = vec![join("PRIORITY", parsed.priority.to_string())];
            for (name, value) in [
                ("SYSLOG_IDENTIFIER", parsed.identifier),
                ("SYSLOG_PID", parsed.pid),
                ("SYSLOG_TIMESTAMP", parsed.timestamp),
                ("MESSAGE", Some(parsed.message)),
            ] {
                fields.extend(value.map(|value| join(name, value)));
            }
            fields.extend(parsed.facility.map(|number| join("SYSLOG_FACILITY", number.to_string())));
            let own: Vec<&[u8]> = fields.iter().chain(&settings.fields).map(Vec::as_slice).collect();
            let transport = Rc::clone(&self.syslog_transport);
            self.record(parsed.priority, &known(&process, &transport), &own);
        }
        self.buffer = buffer;
    }

    /// The kernel's messages. Each is read with one call.
    pub(super) fn kmsg_came(&mut self) {
        let Some(kmsg) = self.kmsg.take() else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..KERNEL_AT_ONCE {
            let count = match (&kmsg).read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                // EPIPE: some were overwritten before they were read; the numbers tell how many.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let Some(record) = kmsg::parse(&buffer[..count]) else { continue };
            if record.sequence < self.kmsg_next {
                continue;
            }
            let missed = record.sequence - self.kmsg_next;
            if missed > 0 && self.kmsg_next > 0 {
                self.say(4, &[("MESSAGE", &format!("Missed {missed} kernel messages"))]);
            }
            self.kmsg_next = record.sequence + 1;
            let own: Vec<&[u8]> = record.fields.iter().map(Vec::as_slice).collect();
            self.record(6, &[], &own);
        }
        self.buffer = buffer;
        self.kmsg = Some(kmsg);
    }
}

fn peer_of(stream: &UnixStream) -> Option<Credentials> {
    let peer = getsockopt(stream, sockopt::PeerCredentials).ok()?;
    Some(Credentials { pid: peer.pid(), uid: peer.uid(), gid: peer.gid() })
}

/// The same for all descriptors of a connection, and for no other while it is open.
fn name_of(stream: &UnixStream) -> Option<String> {
    Some(format!("stream-{}", nix::sys::stat::fstat(stream).ok()?.st_ino))
}

/// Only root may say which unit it is, and have the console.
fn believed(header: Header, peer: Credentials) -> Header {
    if peer.uid == 0 { header } else { Header { unit: String::new(), console: false, ..header } }
}

/// What all lines of a stream have in common.
fn shared_of(header: &Header) -> Shared {
    let mut fields = vec![b"_TRANSPORT=stdout".to_vec()];
    if !header.identifier.is_empty() {
        fields.push(join("SYSLOG_IDENTIFIER", &header.identifier));
    }
    if !header.unit.is_empty() {
        fields.push(join("_SYSTEMD_UNIT", &header.unit));
    }
    Shared::new(fields)
}

/// The bytes of a file that was passed. Only one in memory is read: others could keep us waiting.
fn read_passed(file: &OwnedFd) -> Result<Vec<u8>, String> {
    fcntl(file, FcntlArg::F_GET_SEALS).map_err(|_| "is not a file in memory".to_owned())?;
    let file = File::from(file.try_clone().map_err(|error| error.to_string())?);
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > FILE_MAX {
        return Err(format!("has {size} bytes, more than {FILE_MAX}"));
    }
    let mut bytes = vec![0; size as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}
