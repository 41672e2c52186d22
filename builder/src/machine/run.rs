//! A machine that runs.

use super::qmp::{self, Qmp};
use super::{Console, MachineSpec, NotSeen};
use serde_json::{Value, json};
use std::io::{self, Read as _, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a QEMU that gave up its control socket may take to end.
const DYING: Duration = Duration::from_secs(2);

/// Why a machine did not start, or ended.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum MachineError {
    #[error("{program} cannot be run: {source}")]
    NoQemu { program: String, source: io::Error },
    #[error("QEMU refused to start ({status}): {stderr}")]
    Refused { status: ExitStatus, stderr: String },
    #[error("QEMU's control socket: {0}")]
    Control(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Something that happened to the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The guest was reset, by itself or from outside.
    Reset,
    /// The guest shut down or QEMU was told to; QEMU's reason, such as `guest-shutdown`.
    Shutdown(String),
    /// The guest's kernel panicked.
    Panicked,
    /// The machine stands still: QEMU was told so, or a disk failed whose errors stop it.
    Stopped,
}

/// What happened so far, and a bell for what comes.
#[derive(Debug, Clone, Default)]
struct Events(Arc<(Mutex<Vec<Event>>, Condvar)>);

impl Events {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, event: Event) {
        self.lock().push(event);
        self.0.1.notify_all();
    }
}

/// How QEMU ended.
#[derive(Debug)]
pub struct Ending {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it said on stderr.
    pub stderr: String,
}

/// A running QEMU. Dropping it kills it.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    qmp: Option<Qmp>,
    console: Console,
    events: Events,
    threads: Vec<JoinHandle<()>>,
    stderr: Arc<Mutex<String>>,
    // Held for its files: the control socket.
    _folder: tempfile::TempDir,
}

impl Machine {
    /// Starts a machine. Its console is kept, and copied to `echo`; `interactive` gives it this
    /// process's stdin.
    ///
    /// # Errors
    /// QEMU is missing, or refuses (its own words are in the error).
    pub fn start(
        spec: &MachineSpec,
        echo: Option<Box<dyn Write + Send>>,
        interactive: bool,
    ) -> Result<Self, MachineError> {
        // A short path: a socket's has room for 107 bytes.
        let folder = tempfile::Builder::new().prefix("slipway-").tempdir()?;
        let socket = folder.path().join("qmp");
        let listener = qmp::listen(&socket)?;
        let mut command = Command::new(&spec.qemu);
        command.args(spec.arguments(&socket)).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if interactive { Stdio::inherit() } else { Stdio::null() });
        sys::child::die_with_parent(&mut command);
        let program = spec.qemu.display().to_string();
        let mut child = command.spawn().map_err(|source| MachineError::NoQemu { program, source })?;

        let console = Console::default();
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut threads = Vec::new();
        if let Some(out) = child.stdout.take() {
            let console = console.clone();
            threads.push(
                thread::Builder::new().name("console".into()).spawn(move || console.follow(out, echo))?,
            );
        }
        if let Some(mut out) = child.stderr.take() {
            let kept = Arc::clone(&stderr);
            threads.push(thread::Builder::new().name("stderr".into()).spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = out.read(&mut buffer) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push_str(&String::from_utf8_lossy(&buffer[..count]));
                }
            })?);
        }
        let events = Events::default();
        let mut machine = Self { child, qmp: None, console, events, threads, stderr, _folder: folder };
        let events = machine.events.clone();
        let on_event = move |name: &str, data: &Value| {
            let reason = || data["reason"].as_str().unwrap_or("unknown").to_owned();
            let event = match name {
                "RESET" => Event::Reset,
                "SHUTDOWN" => Event::Shutdown(reason()),
                "GUEST_PANICKED" => Event::Panicked,
                "STOP" => Event::Stopped,
                _ => return,
            };
            events.add(event);
        };
        let child = &mut machine.child;
        match Qmp::accept(&listener, || matches!(child.try_wait(), Ok(None)), on_event) {
            Ok(qmp) => machine.qmp = Some(qmp),
            Err(error) => {
                // It may be on its way to say why.
                let patience = Instant::now() + DYING;
                while machine.child.try_wait()?.is_none() && Instant::now() < patience {
                    thread::sleep(Duration::from_millis(10));
                }
                return Err(match machine.child.try_wait()? {
                    Some(_) => {
                        let Ending { status, stderr } = machine.wait()?;
                        MachineError::Refused { status, stderr: stderr.trim().to_owned() }
                    }
                    None => MachineError::Control(error),
                });
            }
        }
        Ok(machine)
    }

    /// The console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Process id of QEMU.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What happened so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }

    /// Waits until an event that is `wanted` has happened, from the start on; whether it did.
    pub fn wait_for_event(&self, wanted: &Event, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut events = self.events.lock();
        while !events.contains(wanted) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            events = self.events.0.1.wait_timeout(events, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for a line on the console. See [`Console::wait`].
    ///
    /// # Errors
    /// The console ends, or the time is over, first.
    pub fn wait_for(&self, needle: &str, within: Duration) -> Result<String, NotSeen> {
        self.console.wait(needle, within)
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, MachineError> {
        let gone = || MachineError::Control(io::ErrorKind::NotConnected.into());
        self.qmp.as_mut().ok_or_else(gone)?.execute(command, arguments).map_err(MachineError::Control)
    }

    /// Presses the reset button.
    ///
    /// # Errors
    /// QEMU is gone.
    pub fn reset(&mut self) -> Result<(), MachineError> {
        self.execute("system_reset", &Value::Null).map(drop)
    }

    /// Asks the guest to end in order (Ctrl-Alt-Delete), and QEMU to end with it.
    ///
    /// # Errors
    /// QEMU is gone.
    pub fn shut_down(&mut self) -> Result<(), MachineError> {
        self.execute("set-action", &json!({ "reboot": "shutdown" }))?;
        let keys: Vec<_> =
            ["ctrl", "alt", "delete"].iter().map(|key| json!({ "type": "qcode", "data": key })).collect();
        self.execute("send-key", &json!({ "keys": keys })).map(drop)
    }

    /// Any command of QEMU's machine protocol.
    ///
    /// # Errors
    /// QEMU is gone or refuses.
    pub fn qmp(&mut self, command: &str, arguments: &Value) -> Result<Value, MachineError> {
        self.execute(command, arguments)
    }

    /// Cuts the power: QEMU is killed, without a last write.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn power_cut(mut self) -> Result<Ending, MachineError> {
        self.child.kill()?;
        self.wait()
    }

    /// Ends QEMU in order, its files flushed; the guest is not asked.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn quit(mut self) -> Result<Ending, MachineError> {
        // When QEMU is already on its way out, there is nobody to answer.
        let _ = self.execute("quit", &json!({}));
        self.wait()
    }

    /// Waits until QEMU ends by itself.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn wait(mut self) -> Result<Ending, MachineError> {
        let status = self.child.wait()?;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to tell.
            let _ = thread.join();
        }
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Ending { status, stderr })
    }

    /// Whether QEMU has ended.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub fn has_ended(&mut self) -> Result<bool, MachineError> {
        Ok(self.child.try_wait()?.is_some())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended; then both calls have nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
