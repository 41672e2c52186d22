//! One question and one answer over a UNIX socket, each a JSON value on a line of its own.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest line in bytes.
const LINE_MAX: u64 = 1 << 20;
/// How long the other side may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there, or this user must not.
    #[error("{path}: {error}", path = path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The connection broke, or was silent for too long.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// What came is not of the form that was wanted.
    #[error("no such message: {0}")]
    Message(#[from] serde_json::Error),
}

/// Asks the service that listens on `socket`.
///
/// # Errors
/// See [`CallError`].
pub fn ask<A: DeserializeOwned>(socket: &Path, question: &impl Serialize) -> Result<A, CallError> {
    let mut stream =
        UnixStream::connect(socket).map_err(|error| CallError::Connect { path: socket.to_owned(), error })?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    write(&mut stream, question)?;
    read(&stream)
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Process.
    pub pid: i32,
}

/// Answers questions, one connection after the other, until the listener fails. A client that is
/// silent or talks nonsense is hung up on.
///
/// # Errors
/// The listener's.
pub fn serve<Q: DeserializeOwned, A: Serialize>(
    listener: &UnixListener,
    mut answer: impl FnMut(Caller, Q) -> A,
) -> io::Result<()> {
    loop {
        let (mut stream, _) = match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            accepted => accepted?,
        };
        // Short, for the others wait; an error is this client's own.
        let mut turn = || {
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.set_write_timeout(Some(Duration::from_secs(2)))?;
            let peer = getsockopt(&stream, PeerCredentials).map_err(io::Error::from)?;
            let question = read(&stream)?;
            write(&mut stream, &answer(Caller { uid: peer.uid(), pid: peer.pid() }, question))
        };
        let _: Result<(), CallError> = turn();
    }
}

/// A fresh socket at `path`, in place of what a predecessor left; its folder is made.
///
/// # Errors
/// The folder or the socket cannot be made.
pub fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    Ok(listener)
}

fn write(stream: &mut UnixStream, message: &impl Serialize) -> Result<(), CallError> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(stream.write_all(&line)?)
}

fn read<T: DeserializeOwned>(stream: &UnixStream) -> Result<T, CallError> {
    let mut line = Vec::new();
    BufReader::new(stream.take(LINE_MAX)).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_talks_nonsense_does_not_keep_others_from_their_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/socket");
        let listener = listen(&path, 0o600).unwrap();
        std::thread::spawn(move || serve(&listener, |caller, n: u32| (caller.uid, n + 1)));
        UnixStream::connect(&path).unwrap().write_all(b"[nonsense\n").unwrap();
        drop(UnixStream::connect(&path).unwrap());
        let answer: (u32, u32) = ask(&path, &41).unwrap();
        assert_eq!(answer, (nix::unistd::getuid().as_raw(), 42));
        let wrong: Result<String, _> = ask(&path, &1);
        assert!(matches!(wrong, Err(CallError::Message(_))), "{wrong:?}");
    }
}
