//! What the box tells the front: messages on a SEQPACKET socket.

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, send, sendmsg, socketpair,
};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A message.
#[derive(Debug)]
pub(super) enum Event {
    /// The box's terminal, its outer side.
    Terminal(OwnedFd),
    /// A kept box can be entered.
    Ready,
    /// The command ended: its exit code, 128 and more for a signal.
    Ended(u8),
    /// Something failed; with the exit code that says so.
    Failed(u8, String),
    /// Where the command's calls are heard.
    Listener(OwnedFd),
    /// A process that the box's end ends.
    Process(String),
    /// Nobody is there any more who could send.
    Closed,
}

/// The longest message.
const LONGEST: usize = 4096;

/// Both ends: the front's, and the box's.
pub(super) fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// Sends a terminal.
pub(super) fn terminal(socket: &impl AsFd, master: &OwnedFd) -> nix::Result<()> {
    let rights = [master.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(b"t")], &control, MsgFlags::MSG_NOSIGNAL, None)
        .map(drop)
}

/// Sends the descriptor on which the command's calls are heard; see [`super::report`].
pub(super) fn listener(socket: &impl AsFd, listener: &OwnedFd) -> nix::Result<()> {
    let rights = [listener.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(b"l")], &control, MsgFlags::MSG_NOSIGNAL, None)
        .map(drop)
}

/// Names a process that the box's end ends.
pub(super) fn process(socket: &impl AsFd, name: &str) {
    let mut message = vec![b'p'];
    message.extend(name.bytes().take(LONGEST - 1));
    let _ = send(socket.as_fd().as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL);
}

/// Says that a kept box can be entered. The front may be gone: then the box ends soon.
pub(super) fn ready(socket: &impl AsFd) {
    let _ = send(socket.as_fd().as_raw_fd(), b"r", MsgFlags::MSG_NOSIGNAL);
}

/// Says how the command ended. The front may be gone: then nobody needs to know.
pub(super) fn ended(socket: &impl AsFd, code: u8) {
    let _ = send(socket.as_fd().as_raw_fd(), &[b'e', code], MsgFlags::MSG_NOSIGNAL);
}

/// Says what failed, likewise.
pub(super) fn failed(socket: &impl AsFd, code: u8, text: &str) {
    let mut message = vec![b'f', code];
    message.extend(text.bytes().take(LONGEST - 2));
    let _ = send(socket.as_fd().as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL);
}

/// The next message; waits for it.
pub(super) fn receive(socket: &impl AsFd) -> io::Result<Event> {
    let mut buffer = [0; LONGEST];
    let mut message = sys::message::receive(socket.as_fd(), &mut buffer)?;
    Ok(match &buffer[..message.count] {
        [] => Event::Closed,
        [b't'] => Event::Terminal(message.descriptors.pop().ok_or(io::ErrorKind::InvalidData)?),
        [b'l'] => Event::Listener(message.descriptors.pop().ok_or(io::ErrorKind::InvalidData)?),
        [b'p', name @ ..] => Event::Process(String::from_utf8_lossy(name).into_owned()),
        [b'r'] => Event::Ready,
        [b'e', code] => Event::Ended(*code),
        [b'f', code, text @ ..] => Event::Failed(*code, String::from_utf8_lossy(text).into_owned()),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    })
}
