//! A session of a kept box, from its front: starts the box if it does not run, joins it, and sees it end if the
//! session was the last.

use super::session::{self, Joined};
use super::wire::{self, Event};
use super::{Doing, RunError, cgroup, code, front, keeper};
use crate::kept::lock::Lock;
use crate::kept::{BoxError, Kept};
use crate::plan::Plan;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::path::Path;

/// Runs a session to its end; gives the command's exit code, 128 and more for a signal.
///
/// # Errors
/// See [`BoxError`]. Whatever is returned, nothing of the session is left.
pub fn enter(plan: &Plan, kept: &Kept) -> Result<u8, BoxError> {
    let doing = |what| BoxError::io(what, &kept.folder);
    let mut gate = Lock::open(&kept.folder).map_err(doing("cannot open the lock of"))?;
    gate.close_gate().map_err(doing("cannot lock"))?;
    if !gate.is_current() {
        return Err(BoxError::Unknown(kept.name.clone()));
    }
    let mut lock = gate.again().map_err(doing("cannot open the lock of"))?;
    let group = keeper::folder(plan, &kept.folder, &kept.name);
    let place = loop {
        let running = lock.is_running().map_err(doing("cannot look at the lock of"))?;
        if let Some(place) = lock.enter().map_err(doing("cannot lock"))? {
            if !running {
                (gate, lock) = start(plan, group.as_deref(), gate, lock)?;
            }
            break place;
        }
        // It is just ending: it is started again.
        lock.wait_ended().map_err(doing("cannot lock"))?;
    };
    let result = joined(kept, &lock).and_then(|joined| {
        gate.open_gate().map_err(doing("cannot unlock"))?;
        Ok(front::attend(plan, |parts| {
            session::main(plan, parts.filters, &joined, parts.terminal, parts.control, parts.events)
        })?)
    });
    // Nobody comes in between this session's end and that of the box.
    gate.close_gate().map_err(doing("cannot lock"))?;
    lock.leave(place).map_err(doing("cannot unlock"))?;
    if lock.sessions().map_err(doing("cannot look at the lock of"))? == 0 {
        lock.wait_ended().map_err(doing("cannot lock"))?;
        // There is one only if the keeper was killed.
        if let Some(group) = group.filter(|group| group.exists()) {
            cgroup::remove(&group).map_err(doing("cannot remove the cgroup of"))?;
        }
    }
    gate.open_gate().map_err(doing("cannot unlock"))?;
    result
}

/// The very process that was started, or none.
fn joined(kept: &Kept, lock: &Lock) -> Result<Joined, BoxError> {
    let foreign = |cause| BoxError::Foreign { name: kept.name.clone(), cause };
    let running = lock.running().map_err(|error| foreign(error.into()))?;
    let running = running.ok_or(RunError::Killed)?;
    let first = running.open().map_err(foreign)?;
    Ok(Joined { first, running })
}

/// Starts the box; returns when it can be entered, with the locks that it was given.
fn start(plan: &Plan, group: Option<&Path>, gate: Lock, lock: Lock) -> Result<(Lock, Lock), RunError> {
    let (events, box_events) = wire::pair().doing("make a socket")?;
    let Some(between) = sys::fork::fork(0, None).doing("fork")? else {
        // The session's place is not the keeper's; the gate is, until the box can be entered.
        drop((events, lock));
        // Its parent ends at once, so that the keeper is nobody's child that ends with a session.
        match sys::fork::fork(0, None) {
            Ok(None) => keeper::main(plan, group, gate, &box_events),
            Ok(Some(_)) => super::leave(0),
            Err(error) => {
                wire::failed(&box_events, code::FAILED, &format!("fork: {error}"));
                super::leave(code::FAILED)
            }
        }
    };
    drop(box_events);
    waitpid(Pid::from_raw(between), None).doing("wait")?;
    match wire::receive(&events).doing("hear from the box")? {
        Event::Ready => Ok((gate, lock)),
        Event::Failed(_, text) => Err(RunError::Inside(text)),
        _ => Err(RunError::Killed),
    }
}
