//! How `networkctl` talks to the service: one question and one answer over a socket.

use super::report::Report;
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::{Deserialize, Serialize};
use service::call::{self, Caller};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// All links.
    List,
    /// Read the files anew.
    Reload,
    /// Choose a link's file anew, and begin anew.
    Reconfigure(String),
    /// Ask its servers again.
    Renew(String),
    /// Switch it on.
    Up(String),
    /// Switch it off; its lease is given back.
    Down(String),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// All links.
    Links(Vec<Report>),
    /// It is done.
    Done,
    /// It is not, and why.
    Failed(String),
}

/// The socket's place.
pub fn socket(root: &Path) -> PathBuf {
    root.join("run/systemd/netif/control")
}

/// The service's end: questions come from a thread of their own.
#[derive(Debug)]
pub(super) struct Questions {
    waiting: Receiver<(Question, Sender<Answer>)>,
    wake: Arc<EventFd>,
}

impl Questions {
    /// Listens.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(super) fn listen(listener: UnixListener) -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (ask, waiting) = channel::<(Question, Sender<Answer>)>();
        let waker = Arc::clone(&wake);
        let answer = move |caller: Caller, question: Question| {
            if question != Question::List
                && let Err(why) = caller.allow("change links")
            {
                return Answer::Failed(why);
            }
            let (reply, answer) = channel();
            let gone = |_| Answer::Failed("the service is ending".to_owned());
            if ask.send((question, reply)).is_err() || waker.write(1).is_err() {
                return Answer::Failed("the service is ending".to_owned());
            }
            answer.recv().unwrap_or_else(gone)
        };
        std::thread::Builder::new().name("questions".into()).stack_size(256 << 10).spawn(move || {
            if let Err(error) = call::serve(&listener, answer) {
                super::log(&format!("error: networkctl's socket: {error}"));
            }
        })?;
        Ok(Self { waiting, wake })
    }

    /// The questions that wait.
    pub(super) fn take(&self) -> Vec<(Question, Sender<Answer>)> {
        // Nothing to read is no error here.
        let _ = self.wake.read();
        self.waiting.try_iter().collect()
    }
}

impl AsFd for Questions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
