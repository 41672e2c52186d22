//! QEMU's machine protocol (QMP): JSON lines over a unix socket.

use serde_json::{Value, json};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long QEMU may take for an answer.
const ANSWER: Duration = Duration::from_secs(20);

/// A connection to one QEMU.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    answers: Receiver<Value>,
}

impl Qmp {
    /// Waits on a socket that QEMU was told to connect to, and makes the greeting. Events go to `on_event`.
    ///
    /// # Errors
    /// Nobody connects within 20 s or while `alive` says true, or QEMU refuses.
    pub fn accept(
        listener: &UnixListener,
        mut alive: impl FnMut() -> bool,
        on_event: impl Fn(&str, &Value) + Send + 'static,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let start = Instant::now();
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !alive() {
                        return Err(io::Error::new(
                            io::ErrorKind::BrokenPipe,
                            "QEMU ended before it connected",
                        ));
                    }
                    if start.elapsed() > ANSWER {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "QEMU did not connect"));
                    }
                    wait_readable(listener);
                }
                Err(error) => return Err(error),
            }
        };
        stream.set_nonblocking(false)?;
        let (sender, answers) = channel();
        let reader = BufReader::new(stream.try_clone()?);
        thread::Builder::new().name("qmp".into()).spawn(move || {
            for line in reader.lines() {
                let Ok(line) = line else { break };
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                match value.get("event").and_then(Value::as_str) {
                    Some(event) => on_event(event, value.get("data").unwrap_or(&Value::Null)),
                    None => drop(sender.send(value)),
                }
            }
        })?;
        let mut qmp = Self { stream, answers };
        qmp.answer()?;
        qmp.execute("qmp_capabilities", &Value::Null)?;
        Ok(qmp)
    }

    fn answer(&mut self) -> io::Result<Value> {
        self.answers.recv_timeout(ANSWER).map_err(|error| match error {
            RecvTimeoutError::Timeout => io::Error::new(io::ErrorKind::TimedOut, "QEMU does not answer"),
            RecvTimeoutError::Disconnected => io::Error::new(io::ErrorKind::BrokenPipe, "QEMU is gone"),
        })
    }

    /// Runs one command and gives what it returns.
    ///
    /// # Errors
    /// QEMU is gone, does not answer within 20 s, or answers with an error.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> io::Result<Value> {
        let mut request = json!({ "execute": command });
        if !arguments.is_null() {
            request["arguments"] = arguments.clone();
        }
        self.stream.write_all(format!("{request}\n").as_bytes())?;
        let mut answer = self.answer()?;
        match answer.get("error") {
            Some(error) => Err(io::Error::other(format!("{command}: {error}"))),
            None => Ok(answer["return"].take()),
        }
    }
}

/// Waits a little for a connection.
fn wait_readable(listener: &UnixListener) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd as _;
    let mut waited = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    // A signal or a bad poll only makes the caller look again.
    let _ = poll(&mut waited, PollTimeout::from(100u8));
}

/// A listening socket for QEMU to connect to.
///
/// # Errors
/// The path is too long for a socket, or cannot be made.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(path)
}
