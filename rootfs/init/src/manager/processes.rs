//! Processes of units: started, reaped, signalled.

use super::Manager;
use super::gather::Files;
use super::poll::Source;
use super::spawn::{Prepared, read_small};
use crate::engine::{Event, ExitStatus, Role, Signal as EngineSignal, UnitId};
use crate::unit::config::{Phase, Preserve, Stream};
use crate::unit::{Kind, far};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::process::Outcome;

/// Children on their way to execve that are looked at before the next one.
const STARTING_MAX: usize = 64;

struct Process {
    unit: UnitId,
    role: Role,
    /// Its way to execve, while that is not known to have ended.
    outcome: Option<Watched>,
    /// The end of one that was adopted: its parent may be another process, which reaps it.
    end: Option<Watched>,
}

/// A descriptor that the loop watches, and its token there.
type Watched = (OwnedFd, u64);

/// All that run.
#[derive(Default)]
pub(super) struct Processes {
    by_pid: HashMap<i32, Process>,
    of: HashMap<(UnitId, Role), i32>,
    /// Those on their way to execve, the oldest first.
    starting: VecDeque<i32>,
    /// There was no child at all at the last look.
    pub(super) childless: bool,
}

impl Processes {
    pub(super) fn find(&self, pid: i32) -> Option<(UnitId, Role)> {
        self.by_pid.get(&pid).map(|process| (process.unit, process.role))
    }

    /// The pid, or 0.
    pub(super) fn pid(&self, unit: UnitId, role: Role) -> i32 {
        self.of.get(&(unit, role)).copied().unwrap_or(0)
    }

    fn insert(&mut self, pid: i32, process: Process) {
        self.of.insert((process.unit, process.role), pid);
        self.by_pid.insert(pid, process);
    }

    fn remove(&mut self, pid: i32) -> Option<Process> {
        let process = self.by_pid.remove(&pid)?;
        if self.of.get(&(process.unit, process.role)) == Some(&pid) {
            self.of.remove(&(process.unit, process.role));
        }
        Some(process)
    }
}

impl Manager {
    /// Starts a process whose files are read.
    pub(super) fn spawn_with(&mut self, unit: UnitId, phase: Phase, index: usize, role: Role, files: &Files) {
        match self.try_spawn(unit, phase, index, role, files) {
            Ok(()) => self.events.push_back((unit, Event::Spawned(role))),
            Err(error) => {
                self.tell(Some(unit), 3, &format!("cannot start its {phase:?} process: {error}"));
                self.events.push_back((unit, Event::SpawnFailed(role)));
            }
        }
    }

    fn try_spawn(
        &mut self,
        unit: UnitId,
        phase: Phase,
        index: usize,
        role: Role,
        files: &Files,
    ) -> Result<(), super::spawn::SpawnError> {
        self.look_at_starting();
        self.reserve_user(unit)?;
        self.share(unit);
        self.export_logging(unit);
        let Prepared { mut plan, unheard, slice, limits, delegate } =
            self.prepare(unit, phase, index, files)?;
        let passed = self.pass_descriptors(unit, phase, &mut plan)?;
        if let Some(error) = unheard {
            self.tell(Some(unit), 4, &format!("what it says is lost: {error}"));
        }
        let name = self.engine.unit(unit).name.clone();
        let cgroup = match self.cgroups.enter(unit, &slice, name.as_str(), &limits, delegate) {
            Ok((fd, failed)) => {
                for limit in failed {
                    self.tell(Some(unit), 4, &format!("limit not set: {limit}"));
                }
                Some(fd)
            }
            Err(error) => {
                self.tell(Some(unit), 4, &format!("runs without a cgroup of its own: {error}"));
                None
            }
        };
        let passed: Vec<BorrowedFd<'_>> = passed.iter().map(AsFd::as_fd).collect();
        let child = sys::process::spawn_passing(&plan, cgroup.as_ref().map(AsFd::as_fd), &passed)?;
        drop(plan); // and with it our copies of its streams
        let token = self.poll.add(&child.outcome, Source::Outcome(child.pid))?;
        self.processes.childless = false;
        self.processes.starting.push_back(child.pid);
        self.processes
            .insert(child.pid, Process { unit, role, outcome: Some((child.outcome, token)), end: None });
        Ok(())
    }

    /// What the main process finds as its descriptors from 3 on, with the variables that say so.
    fn pass_descriptors(
        &self,
        unit: UnitId,
        phase: Phase,
        plan: &mut sys::process::Plan,
    ) -> Result<Vec<OwnedFd>, super::spawn::SpawnError> {
        let config = self.engine.unit(unit);
        if phase != Phase::Start || config.name.kind() != Kind::Service {
            return Ok(Vec::new());
        }
        let variable =
            |text: String| CString::new(text).map_err(|_| super::spawn::SpawnError::Nul("the environment"));
        if let Some(peer) = self.peer_of(unit) {
            plan.environment.push(variable(format!("REMOTE_ADDR={}", peer.ip().to_canonical()))?);
            plan.environment.push(variable(format!("REMOTE_PORT={}", peer.port()))?);
        }
        let descriptors = self.descriptors_for(unit);
        let uses_stdin =
            config.service.as_deref().is_some_and(|service| service.context.stdin == Stream::Socket);
        // A connection that is stdin is not passed a second time: systemd.exec(5), StandardInput=.
        if descriptors.is_empty() || uses_stdin && self.peer_of(unit).is_some() {
            return Ok(Vec::new());
        }
        plan.environment.push(variable(format!("LISTEN_FDS={}", descriptors.len()))?);
        plan.environment.push(variable(format!("LISTEN_FDNAMES={}", super::sockets::names(&descriptors)))?);
        let blocking = !config.service.as_deref().is_some_and(|service| service.non_blocking);
        let mut passed = Vec::new();
        for (_, fd) in descriptors {
            super::sockets::set_blocking(fd, blocking)?;
            passed.push(fd.try_clone()?);
        }
        Ok(passed)
    }

    /// Sets the limits of a running unit again, after its files were read again.
    pub(super) fn apply_limits(&mut self, unit: UnitId) {
        if self.cgroups.folder(unit).is_none() {
            return; // they are set when it starts
        }
        let Some(service) = self.engine.unit(unit).service.as_ref() else { return };
        let limits = service.context.cgroup.effective(self.is_booting());
        // It has its cgroup, so neither slice nor name are looked at.
        match self.cgroups.enter(unit, "", "", &limits, None) {
            Ok((_, failed)) => {
                for limit in failed {
                    self.tell(Some(unit), 4, &format!("limit not set: {limit}"));
                }
            }
            Err(error) => self.tell(Some(unit), 4, &format!("limits not set: {error}")),
        }
    }

    /// Closes the pipes of children that are at their programs by now: the next child begins with a
    /// copy of every descriptor, and closes them one by one.
    fn look_at_starting(&mut self) {
        while let Some(pid) = self.processes.starting.front().copied() {
            self.outcome_ready(pid);
            let pending = self.processes.by_pid.get(&pid).is_some_and(|process| process.outcome.is_some());
            // The loop watches all of them: one that takes long need not be looked at here.
            if pending && self.processes.starting.len() < STARTING_MAX {
                return;
            }
            self.processes.starting.pop_front();
        }
    }

    /// A child came to its program, or failed on the way.
    pub(super) fn outcome_ready(&mut self, pid: i32) {
        let Some(process) = self.processes.by_pid.get_mut(&pid) else { return };
        let Some((fd, token)) = process.outcome.take() else { return };
        let (unit, role) = (process.unit, process.role);
        match sys::process::read_outcome(fd.as_fd()) {
            Ok(Outcome::Pending) => {
                process.outcome = Some((fd, token));
                return;
            }
            Ok(Outcome::Executed) => self.events.push_back((unit, Event::Executed(role))),
            Ok(Outcome::Failed(step, errno)) => {
                let error = Errno::from_raw(errno).desc();
                self.tell(Some(unit), 3, &format!("process {pid} failed at step {step}: {error}"));
            }
            Err(error) => self.tell(Some(unit), 3, &format!("process {pid}: {error}")),
        }
        self.poll.remove(&fd, token);
    }

    pub(super) fn signals_came(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::SIGCHLD => self.reap(),
                Signal::SIGPWR => self.end(crate::control::Ending::Poweroff),
                Signal::SIGINT | Signal::SIGTERM => self.end(crate::control::Ending::Reboot),
                Signal::SIGHUP => self.reload_units(),
                _ => {}
            }
        }
    }

    /// Takes every process that ended, orphans too.
    pub(super) fn reap(&mut self) {
        loop {
            match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return,
                Ok(ended) => {
                    if let (Some(pid), Some(status)) = (ended.pid(), exit_status(ended)) {
                        self.exited(pid.as_raw(), status);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => {
                    self.processes.childless = true;
                    return;
                }
            }
        }
    }

    /// An adopted process ended. If it is no child of this one, its parent alone learns how, and
    /// the kernel tells others for as long as that one has not reaped it.
    pub(super) fn adopted_ended(&mut self, pid: i32) {
        self.reap();
        if self.processes.by_pid.get(&pid).is_some_and(|process| process.end.is_some()) {
            self.exited(pid, zombie_status(pid).unwrap_or(ExitStatus::Code(0)));
        }
    }

    fn exited(&mut self, pid: i32, status: ExitStatus) {
        // Whether it ever ran its program comes first.
        self.outcome_ready(pid);
        if let Some(process) = self.forget(pid) {
            let (unit, role) = (process.unit, process.role);
            self.look_for_oom(unit);
            let cgroup_empty = self.cgroups.is_empty(unit);
            self.events.push_back((unit, Event::Exited { role, status, cgroup_empty }));
        }
    }

    fn forget(&mut self, pid: i32) -> Option<Process> {
        let mut process = self.processes.remove(pid)?;
        for (fd, token) in process.outcome.take().into_iter().chain(process.end.take()) {
            self.poll.remove(&fd, token);
        }
        Some(process)
    }

    pub(super) fn kill(&mut self, unit: UnitId, signal: EngineSignal) {
        match signal {
            EngineSignal::One(role, _) => self.kill_asked(unit, role),
            EngineSignal::All(_) | EngineSignal::KillAll => {
                self.kill_asked(unit, Role::Main);
                self.kill_asked(unit, Role::Control);
            }
        }
        let one = |role, number: i32| {
            let pid = self.processes.pid(unit, role);
            if pid > 0 {
                // It may be gone already; its exit is on its way then.
                let _ = sys::process::kill(pid, number);
            }
        };
        match signal {
            EngineSignal::One(role, number) => one(role, number),
            EngineSignal::All(number) => {
                // Also those that run outside, for want of a cgroup.
                one(Role::Main, number);
                one(Role::Control, number);
                let own = [Role::Main, Role::Control].map(|role| self.processes.pid(unit, role));
                self.cgroups.signal(unit, number, &own);
            }
            EngineSignal::KillAll => {
                self.cgroups.kill(unit);
                one(Role::Main, Signal::SIGKILL as i32);
                one(Role::Control, Signal::SIGKILL as i32);
            }
        }
    }

    /// `MAINPID=` of a process in the unit's own cgroup; false if it is not one.
    pub(super) fn adopt_main(&mut self, unit: UnitId, pid: i32) -> bool {
        if self.processes.pid(unit, Role::Main) == pid {
            return true;
        }
        // Watched first: were it another process by now, that one would not be the unit's.
        let Ok(end) = sys::process::watch_exit(pid) else { return false };
        if self.unit_of_process(pid) != Some((unit, None)) {
            return false;
        }
        let Ok(token) = self.poll.add(&end, Source::Adopted(pid)) else { return false };
        if let Some(old) = self.processes.of.get(&(unit, Role::Main)).copied() {
            self.forget(old);
        }
        let process = Process { unit, role: Role::Main, outcome: None, end: Some((end, token)) };
        self.processes.insert(pid, process);
        true
    }

    /// The main process of a forking service: of its PID file, else the only process there is.
    pub(super) fn find_main(&mut self, unit: UnitId) {
        let file = self.engine.unit(unit).service.as_ref().and_then(|service| service.pid_file.clone());
        let Some(file) = file else {
            let pid = match self.cgroups.processes(unit).as_slice() {
                [only] => Some(only.as_raw()).filter(|pid| self.adopt_main(unit, *pid)),
                _ => None,
            };
            return self.events.push_back((unit, Event::MainFound(pid)));
        };
        let pid = far::within(&file, read_small).ok().and_then(|text| text.trim().parse::<i32>().ok());
        if let Some(pid) = pid.filter(|pid| self.adopt_main(unit, *pid)) {
            self.pid_files.remove(&unit);
            self.cgroups.unwatch_file(unit);
            self.events.push_back((unit, Event::MainFound(Some(pid))));
        } else if self.pid_files.insert(unit) {
            self.cgroups.watch_file(unit, &file);
            self.find_main(unit); // it may have come between the look and the watch
        }
    }

    /// Tells of processes that the kernel killed for want of memory, before their exits are told.
    fn look_for_oom(&mut self, unit: UnitId) {
        if self.cgroups.was_oom_killed(unit) {
            self.events.push_back((unit, Event::OomKilled));
        }
    }

    pub(super) fn cgroups_changed(&mut self) {
        for unit in self.cgroups.changed() {
            if self.pid_files.contains(&unit) {
                self.find_main(unit);
            }
            self.look_for_oom(unit);
            if self.engine.state(unit).populated && self.cgroups.is_empty(unit) {
                // Exits that came with it are told first: they say how it ended.
                self.reap();
                self.events.push_back((unit, Event::CgroupEmpty));
            }
        }
    }

    pub(super) fn release(&mut self, unit: UnitId) {
        self.release_asked(unit);
        self.pid_files.remove(&unit);
        self.cgroups.unwatch_file(unit);
        self.cgroups.release(unit);
        self.forget_isolation(unit);
        self.dynamic_users.remove(&unit);
        match self.engine.unit(unit).name.kind() {
            Kind::Slice => return self.remove_slice(unit),
            Kind::Service => {
                let will_restart = self.engine.state(unit).will_restart;
                self.release_descriptors(unit, will_restart);
            }
            _ => {}
        }
        let Some(service) = self.engine.unit(unit).service.as_ref() else { return };
        let context = &service.context;
        let runtime = context.directories.get(&crate::unit::config::DirectoryKind::RuntimeDirectory);
        let restarting = self.engine.active(unit) == crate::engine::ActiveState::Activating;
        let kept = match context.runtime_directory_preserve {
            Preserve::No => false,
            Preserve::Restart => restarting,
            Preserve::Yes => true,
        };
        if let Some(folders) = runtime.filter(|_| !kept) {
            for name in &folders.names {
                let _ = fs::remove_dir_all(std::path::Path::new("/run").join(name));
            }
        }
    }
}

/// How a zombie ended: field 52 of `/proc/PID/stat` (proc(5)).
fn zombie_status(pid: i32) -> Option<ExitStatus> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may contain anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let raw = fields.next().filter(|state| *state == "Z").and(fields.nth(48))?.parse().ok()?;
    exit_status(WaitStatus::from_raw(Pid::from_raw(pid), raw).ok()?)
}

fn exit_status(ended: WaitStatus) -> Option<ExitStatus> {
    match ended {
        WaitStatus::Exited(_, code) => Some(ExitStatus::Code(code)),
        WaitStatus::Signaled(_, signal, core) => Some(ExitStatus::Signal(signal as i32, core)),
        _ => None,
    }
}
