//! Asking PID 1.

use super::{Request, Response};
use service::caller::refusal;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// PID 1 is not there or not ours.
    #[error("{path}: {error}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// This user must not ask PID 1: what to say.
    #[error("{0}")]
    Forbidden(String),
    /// The connection broke.
    #[error("the connection to PID 1 broke: {0}")]
    Broken(#[from] io::Error),
    /// The answer is not one.
    #[error("PID 1 answered what is no answer: {0}")]
    Answer(#[from] serde_json::Error),
}

/// Sends a request and waits for its answer.
///
/// # Errors
/// See [`ClientError`]. A wish that is refused is an answer, not an error.
pub fn ask(socket: &Path, request: &Request) -> Result<Response, ClientError> {
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ClientError::Forbidden(refusal(nix::unistd::geteuid().as_raw(), "ask PID 1"))
        }
        _ => ClientError::Connect { path: socket.to_owned(), error },
    })?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer)? == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(serde_json::from_str(&answer)?)
}
