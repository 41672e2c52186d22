//! What `journalctl` asks the daemon to do.

use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Take all that was sent until now, and make it durable.
    Sync,
    /// Close the open segment.
    Rotate,
    /// Remove the oldest closed segments until these limits hold; those that are absent hold.
    Vacuum {
        /// Bytes of all segments.
        bytes: Option<u64>,
        /// Age in microseconds of what is removed.
        age_us: Option<u64>,
        /// Closed segments.
        segments: Option<usize>,
    },
}

/// Done, or why not.
pub type Answer = Result<(), String>;

/// A question, and where its answer goes.
pub(super) type Question = (Request, SyncSender<Answer>);

/// Asks the daemon.
///
/// # Errors
/// It does not answer, or cannot do it.
pub fn ask(runtime: &Path, request: Request) -> Result<(), String> {
    let socket = super::control_socket(runtime);
    service::call::ask::<Answer>(&socket, &request).map_err(|error| error.to_string())?
}

/// Listens in a thread. A byte goes into `wake` for each question.
pub(super) fn listen(runtime: &Path, wake: UnixStream) -> io::Result<Receiver<Question>> {
    let listener = service::call::listen(&super::control_socket(runtime), 0o666)?;
    let (questions, receiver) = sync_channel(8);
    thread::Builder::new().name("control".into()).stack_size(128 << 10).spawn(move || {
        service::call::serve(&listener, |caller, request| {
            caller.allow("change the journal's files")?;
            let (answer, answers) = sync_channel(1);
            let gone = || "the journal is being ended".to_owned();
            questions.send((request, answer)).map_err(|_| gone())?;
            // Full means that it is awake.
            let _ = (&wake).write(&[0]);
            answers.recv().unwrap_or_else(|_| Err(gone()))
        })
    })?;
    Ok(receiver)
}
