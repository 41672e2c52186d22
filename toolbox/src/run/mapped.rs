//! Work on files whose owners are ids of a box: in a user namespace with the box's map, as its root.

use super::monitor;
use crate::plan::Ids;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2, read, write};
use std::fs::File;
use std::io::{Read, Write};

/// Does a job where `ids` are mapped, in a process of its own; here, without any. Gives what the job gives.
///
/// # Errors
/// The namespace cannot be made or mapped; the job's own.
pub fn within(ids: Option<&Ids>, job: impl FnOnce() -> Result<Vec<u8>, String>) -> Result<Vec<u8>, String> {
    let Some(ids) = ids else { return job() };
    let at = |error: nix::Error| format!("make a pipe: {error}");
    let (go_end, go) = pipe2(OFlag::O_CLOEXEC).map_err(at)?;
    let (answer_end, answer) = pipe2(OFlag::O_CLOEXEC).map_err(at)?;
    let child = sys::fork::fork(nix::libc::CLONE_NEWUSER as u64, None)
        .map_err(|error| format!("make a user namespace: {error}"))?;
    let Some(child) = child else {
        drop((go, answer_end));
        // Without the caller nobody waits for it.
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        if read(&go_end, &mut [0]) != Ok(1) {
            super::leave(1);
        }
        let (kind, bytes) = match job() {
            Ok(bytes) => (b"+", bytes),
            Err(text) => (b"-", text.into_bytes()),
        };
        let mut answer = File::from(answer);
        let sent = answer.write_all(kind).and_then(|()| answer.write_all(&bytes));
        super::leave(u8::from(sent.is_err()));
    };
    drop((go_end, answer));
    let mapped = monitor::map(child, ids).map_err(|(doing, error)| format!("{doing}: {error}"));
    if mapped.is_ok() {
        // One that is gone gives no answer.
        let _ = write(&go, &[1]);
    }
    drop(go);
    let mut text = Vec::new();
    let heard = File::from(answer_end).read_to_end(&mut text);
    let _ = waitpid(Pid::from_raw(child), None);
    mapped?;
    heard.map_err(|error| format!("hear from the user namespace: {error}"))?;
    match text.split_first() {
        Some((b'+', bytes)) => Ok(bytes.to_vec()),
        Some((_, text)) => Err(String::from_utf8_lossy(text).into_owned()),
        None => Err("the process in the user namespace was killed".to_owned()),
    }
}
