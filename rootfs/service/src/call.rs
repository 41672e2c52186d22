//! One question and one answer over a UNIX socket, each a JSON value on a line of its own.

pub use crate::caller::Caller;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
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
        turn(listener, &mut answer)?;
    }
}

/// As [`serve`], for a service that PID 1 starts when somebody connects: returns when nobody came
/// for `idle`. Who comes just then waits in PID 1's socket, and is answered by the next start.
///
/// # Errors
/// The listener's.
pub fn serve_until_idle<Q: DeserializeOwned, A: Serialize>(
    listener: &UnixListener,
    idle: Duration,
    mut answer: impl FnMut(Caller, Q) -> A,
) -> io::Result<()> {
    let idle = PollTimeout::try_from(idle).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], idle) {
            Ok(0) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => turn(listener, &mut answer)?,
        }
    }
}

/// One connection.
fn turn<Q: DeserializeOwned, A: Serialize>(
    listener: &UnixListener,
    answer: &mut impl FnMut(Caller, Q) -> A,
) -> io::Result<()> {
    let (mut stream, _) = match listener.accept() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(()),
        accepted => accepted?,
    };
    // Short, for the others wait; an error is this client's own.
    let mut converse = || {
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        let caller = Caller::of(&stream)?;
        let question = read(&stream)?;
        write(&mut stream, &answer(caller, question))
    };
    let _: Result<(), CallError> = converse();
    Ok(())
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

    #[test]
    fn a_service_that_nobody_asks_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = listen(&path, 0o600).unwrap();
        let service = std::thread::spawn(move || {
            let mut count = 0;
            let idle = Duration::from_millis(300);
            serve_until_idle(&listener, idle, |_, n: u32| {
                count += 1;
                n
            })
            .map(|()| count)
        });
        assert_eq!(ask::<u32>(&path, &1).unwrap(), 1);
        assert_eq!(ask::<u32>(&path, &2).unwrap(), 2);
        assert_eq!(service.join().unwrap().unwrap(), 2);
    }
}
