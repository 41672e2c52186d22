//! PID 1's main loop: one thread, one epoll, everything that the [`crate::engine`] decides carried out.
//!
//! [`run`] starts the default target and comes back when the machine is to end, with every unit
//! stopped and every process gone. It never waits for a child, a pipe, a client or the journal:
//! those are all events. Signals: SIGCHLD reaps, SIGINT (ctrl-alt-del) and SIGTERM reboot,
//! SIGPWR switches off. The appliance's whole boot around it is in [`boot`].

mod accounts;
pub mod boot;
mod cgroup;
mod clients;
mod clock;
mod console;
pub mod defect;
mod end;
mod gate;
mod gather;
mod isolate;
mod journaling;
mod log;
pub mod mounting;
mod namespaces;
mod notify;
mod paths;
mod poll;
mod presence;
mod processes;
mod slices;
mod sockets;
mod spawn;
mod table;
mod tell;
mod workers;

pub use gate::Gate;
pub use table::Table;

use crate::control::{Ending, Times, Verb};
use crate::engine::{
    Action, ActiveState, Engine, Event, JobId, JobKind, JobResult, Mode, TransactionError, UnitId,
};
use crate::setup::End;
use crate::unit::condition::Machine;
use crate::unit::load::Loader;
use crate::unit::{LoadState, UnitName, config::EmergencyAction};
use nix::sys::epoll::EpollFlags;
use nix::sys::timerfd::TimerFd;
use poll::{Poll, Source};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Where things are; a test gives a scratch tree.
#[derive(Clone, Debug)]
pub struct Paths {
    /// `/run/systemd`: sockets.
    pub runtime: PathBuf,
    /// The cgroup v2 folder below which slices are made.
    pub cgroup: PathBuf,
    /// The console.
    pub console: PathBuf,
    /// The stamps of persistent timers.
    pub stamps: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            runtime: "/run/systemd".into(),
            cgroup: "/sys/fs/cgroup".into(),
            console: "/dev/console".into(),
            stamps: "/var/lib/systemd/timers".into(),
        }
    }
}

/// What the manager works with.
#[derive(Debug)]
pub struct Options {
    /// Where things are.
    pub paths: Paths,
    /// Where units are.
    pub loader: Loader,
    /// What conditions ask for.
    pub machine: Machine,
    /// What to start (`default.target`).
    pub target: UnitName,
    /// Jobs besides it, from user-data.
    pub wishes: Vec<(UnitName, Verb)>,
    /// What happens when the boot does not come to its end; see [`Gate`].
    pub gate: Gate,
    /// The status table, without what the manager adds.
    pub table: Table,
    /// The armed watchdog.
    pub watchdog: Option<sys::watchdog::Watchdog>,
    /// How long the machine stays up after a panic in PID 1; see [`defect`].
    pub patience: Duration,
    /// Called with everything that PID 1 says of itself. A test panics in it.
    pub fault: Option<fn(&str)>,
}

/// How the machine is to end, and what is handed back for that.
#[derive(Debug)]
pub struct Outcome {
    /// How.
    pub end: End,
    /// Still armed.
    pub watchdog: Option<sys::watchdog::Watchdog>,
}

/// Why the loop cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// A system call of the set-up.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        error: io::Error,
    },
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> ManagerError {
    move |error| ManagerError::Io { what, error }
}

/// PID 1.
struct Manager {
    paths: Paths,
    loader: Loader,
    machine: Machine,
    engine: Engine,
    poll: Poll,
    log: log::Log,
    console: console::Console,
    processes: processes::Processes,
    workers: workers::Workers<gather::Answer>,
    gathering: gather::Gathering,
    namespaces: namespaces::Namespaces,
    /// Units of which the journal was told something.
    exported: BTreeSet<UnitId>,
    cgroups: cgroup::Cgroups,
    clients: HashMap<u64, clients::Client>,
    notify: notify::Socket,
    listener: clients::Listener,
    signals: poll::Signals,
    events: VecDeque<(UnitId, Event)>,
    gate: gate::Running,
    table: Table,
    ending: Option<end::Progress>,
    watchdog: Option<sys::watchdog::Watchdog>,
    next_pet: Duration,
    /// Forking services whose PID file is still to be written.
    pid_files: BTreeSet<UnitId>,
    sockets: sockets::Sockets,
    watched: HashMap<UnitId, paths::Watched>,
    presence: presence::Presence,
    /// Units of one connection or one mount, forgotten when they are down.
    ephemeral: BTreeSet<UnitId>,
    clock: TimerFd,
    /// Users reserved for running services with `DynamicUser=`.
    dynamic_users: HashMap<UnitId, (String, u32)>,
    /// When units changed, for `systemd-analyze`.
    times: HashMap<UnitId, Times>,
    /// `systemctl set-environment`.
    environment: std::collections::BTreeMap<String, String>,
    /// Limits of descriptors of every process that is given no others.
    file_limit: (u64, u64),
    defects: u32,
    defect_deadline: Option<Duration>,
    patience: Duration,
    fault: Option<fn(&str)>,
}

/// Runs until the machine is to end.
///
/// # Errors
/// Something that the loop cannot be without is missing; nothing was started then.
pub fn run(options: Options) -> Result<Outcome, ManagerError> {
    let mut manager = Manager::new(options)?;
    manager.begin();
    loop {
        manager.guarded_turn();
        if let Some(end) = manager.ended() {
            return Ok(Outcome { end, watchdog: manager.watchdog.take() });
        }
    }
}

/// Time since boot: `CLOCK_BOOTTIME`, so that a suspended machine's timers go on.
fn now() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

impl Manager {
    fn new(options: Options) -> Result<Self, ManagerError> {
        let Options { paths, loader, machine, target, wishes, gate, table, watchdog, patience, fault } =
            options;
        sys::process::reserve_standard_streams().map_err(io_error("opening /dev/null"))?;
        let file_limit = sys::process::raise_file_limit().map_err(io_error("limit of descriptors"))?;
        let mut poll = Poll::new().map_err(io_error("epoll_create"))?;
        let signals = poll::Signals::block().map_err(io_error("signalfd"))?;
        let log = log::Log::start(&paths.runtime.join("journal"), &mut poll)
            .map_err(io_error("the journal's sockets"))?;
        let notify =
            notify::Socket::bind(&paths.runtime.join("notify")).map_err(io_error("notify socket"))?;
        let listener =
            clients::Listener::bind(&paths.runtime.join("private")).map_err(io_error("control socket"))?;
        let cgroups = cgroup::Cgroups::new(paths.cgroup.clone()).map_err(io_error("inotify"))?;
        poll.add(&signals, Source::Signals).map_err(io_error("epoll_ctl"))?;
        poll.add(&notify, Source::Notify).map_err(io_error("epoll_ctl"))?;
        poll.add(&listener, Source::Listener).map_err(io_error("epoll_ctl"))?;
        poll.add(&cgroups, Source::Cgroups).map_err(io_error("epoll_ctl"))?;
        let presence = presence::Presence::new().map_err(io_error("watching devices and mounts"))?;
        let clock = clock::watch().map_err(io_error("timerfd"))?;
        poll.add(&presence, Source::Nodes).map_err(io_error("epoll_ctl"))?;
        poll.add_flags(&presence.table(), EpollFlags::EPOLLPRI, Source::Mounts)
            .map_err(io_error("epoll_ctl"))?;
        poll.add(&clock, Source::Clock).map_err(io_error("epoll_ctl"))?;
        let workers = workers::Workers::new().map_err(io_error("eventfd"))?;
        poll.add(&workers, Source::Workers).map_err(io_error("epoll_ctl"))?;
        let console = console::Console::open(&paths.console);
        Ok(Self {
            paths,
            loader,
            machine,
            engine: Engine::new(),
            poll,
            log,
            console,
            processes: processes::Processes::default(),
            workers,
            gathering: gather::Gathering::default(),
            namespaces: namespaces::Namespaces::default(),
            exported: BTreeSet::new(),
            cgroups,
            clients: HashMap::new(),
            notify,
            listener,
            signals,
            events: VecDeque::new(),
            gate: gate::Running::new(gate, target, wishes, now()),
            table,
            ending: None,
            watchdog,
            next_pet: Duration::ZERO,
            pid_files: BTreeSet::new(),
            sockets: sockets::Sockets::default(),
            watched: HashMap::new(),
            presence,
            ephemeral: BTreeSet::new(),
            clock,
            dynamic_users: HashMap::new(),
            times: HashMap::new(),
            environment: std::collections::BTreeMap::new(),
            file_limit,
            defects: 0,
            defect_deadline: None,
            patience,
            fault,
        })
    }

    /// Waits for something, and handles it and all that follows from it.
    fn turn(&mut self) {
        let due = [
            self.engine.next_deadline(),
            self.gate.deadline(),
            self.end_deadline(),
            self.pet_deadline(),
            self.defect_due(),
            self.held_deadline(),
            self.gather_deadline(),
        ];
        let due = due.into_iter().flatten().min();
        for source in self.poll.wait(due.map(|due| due.saturating_sub(now()))) {
            match source {
                Source::Signals => self.signals_came(),
                Source::Notify => self.notifications_came(),
                Source::Listener => self.clients_came(),
                Source::Cgroups => self.cgroups_changed(),
                Source::Client(id) => self.client_ready(id),
                Source::Outcome(pid) => self.outcome_ready(pid),
                Source::Adopted(pid) => self.adopted_ended(pid),
                Source::Socket(id) => self.events.push_back((id, Event::Incoming)),
                Source::Stored(id) => self.stored_hung_up(id),
                Source::Paths(id) => self.paths_changed(id),
                Source::Nodes => self.nodes_changed(),
                Source::Mounts => self.mounts_changed(),
                Source::Clock => self.clock_set(),
                Source::Workers => self.answers_came(),
                Source::Log => self.log_ready(),
                Source::Barrier => self.show_held(true),
            }
            self.settle();
        }
        self.pet();
        self.engine.tick(now());
        self.settle();
        self.gather_tick();
        self.settle();
        self.show_held(false);
        self.gate_tick();
        self.end_tick();
        self.defect_tick();
        self.settle();
    }

    /// Carries out actions and feeds back their answers until nothing is left.
    fn settle(&mut self) {
        loop {
            let actions = self.engine.take_actions();
            let idle = actions.is_empty();
            for action in actions {
                self.carry_out(action);
            }
            match self.events.pop_front() {
                Some((unit, event)) => self.engine.handle(unit, event, now()),
                None if idle => return self.forget_ephemeral(),
                None => {}
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Test(unit) => self.test(unit),
            Action::Spawn { unit, phase, index, role } => self.spawn(unit, phase, index, role),
            Action::Kill(unit, signal) => self.kill(unit, signal),
            Action::FindMain(unit) => self.find_main(unit),
            Action::Release(unit) => self.release(unit),
            Action::Changed { unit, from, to, job } => {
                self.note_time(unit, from, to);
                self.tell_change(unit, from, to, job);
                if to.is_down() {
                    self.clients_look_down();
                }
                self.gate_changed(to);
            }
            Action::JobDone { job, unit, kind, result } => self.job_done(job, unit, kind, result),
            Action::Emergency(unit, action) => self.emergency(unit, action),
            Action::OpenSockets(unit) => self.open_sockets(unit),
            Action::Listen(unit, on) => self.listen(unit, on),
            Action::CloseSockets(unit) => self.close_sockets(unit),
            Action::Flush(unit) => self.flush_sockets(unit),
            Action::Accept(unit) => self.accept_connection(unit),
            Action::WatchPaths(unit) => self.watch_paths(unit),
            Action::UnwatchPaths(unit) => self.unwatch_paths(unit),
            Action::MakeSlice(unit) => self.make_slice(unit),
            Action::ReadStamp(unit) => self.read_stamp(unit),
            Action::WriteStamp(unit) => self.write_stamp(unit),
            Action::Log { unit, severity, notice } => self.tell_notice(unit, severity as u8, &notice),
        }
    }

    fn note_time(&mut self, unit: UnitId, from: ActiveState, to: ActiveState) {
        let now_us = now().as_micros() as u64;
        let times = self.times.entry(unit).or_default();
        if from.is_down() && !to.is_down() {
            times.inactive_exit_us = now_us;
        }
        if to.is_active() && !from.is_active() {
            times.active_enter_us = now_us;
        }
        if from.is_active() && !to.is_active() {
            times.active_exit_us = now_us;
        }
        if to.is_down() && !from.is_down() {
            times.inactive_enter_us = now_us;
        }
    }

    fn job_done(&mut self, job: JobId, unit: UnitId, kind: JobKind, result: JobResult) {
        self.tell_job(job, unit, kind, result);
        self.clients_job_done(job, unit, result);
        self.gate_job_done(unit, kind, result);
        self.end_job_done(unit, kind);
    }

    fn emergency(&mut self, unit: UnitId, action: EmergencyAction) {
        let name = self.engine.unit(unit).name.clone();
        self.console.line(&format!("{name} asks for {action:?}"));
        match action {
            EmergencyAction::None => {}
            EmergencyAction::Reboot => self.end(Ending::Reboot),
            EmergencyAction::RebootForce => self.end_by_force(Ending::Reboot),
            EmergencyAction::Poweroff => self.end(Ending::Poweroff),
            EmergencyAction::PoweroffForce => self.end_by_force(Ending::Poweroff),
            EmergencyAction::Halt => self.end(Ending::Halt),
            EmergencyAction::HaltForce => self.end_by_force(Ending::Halt),
        }
    }

    /// Loads a unit and all that it refers to, as far as they are not known.
    fn load(&mut self, name: &UnitName) -> UnitId {
        if self.engine.find(name).is_none() {
            self.load_all(vec![name.clone()]);
        }
        // The name was just added, by itself or as the alias of what was.
        self.engine.find(name).unwrap_or_else(|| self.engine.ids().next().unwrap_or_else(|| unreachable!()))
    }

    /// Loads what units refer to and is not known.
    fn load_missing(&mut self) {
        let missing = self.engine.missing();
        self.load_all(missing);
    }

    fn load_all(&mut self, mut wanted: Vec<UnitName>) {
        while !wanted.is_empty() {
            let loader = self.loader.indexed();
            let loaded: Vec<_> = wanted.iter().map(|name| loader.load(name)).collect();
            for unit in loaded.iter().map(|loaded| &loaded.unit) {
                self.tell_problems(unit);
            }
            self.engine.add(loaded.into_iter().map(|loaded| (loaded.unit, loaded.alias)));
            wanted = self.engine.missing();
        }
        self.watch_devices();
        self.read_zones();
    }

    /// Reads all unit files again (`systemctl daemon-reload`).
    fn reload_units(&mut self) {
        let loader = self.loader.indexed();
        let names: Vec<UnitName> = self.engine.ids().map(|id| self.engine.unit(id).name.clone()).collect();
        let loaded: Vec<_> = names
            .iter()
            .map(|name| {
                let mut loaded = loader.load(name);
                // A name that became an alias keeps its old self until it is down and forgotten.
                loaded.unit.name = name.clone();
                let mounted = (loaded.unit.load_state == LoadState::NotFound)
                    .then(|| self.mounted_path(name))
                    .flatten();
                match mounted {
                    Some(path) => (presence::kernel_mount(name.clone(), &path), None),
                    None => (loaded.unit, None),
                }
            })
            .collect();
        for (unit, _) in &loaded {
            self.tell_problems(unit);
        }
        self.engine.add(loaded);
        self.load_missing();
    }

    fn enqueue(
        &mut self,
        name: &UnitName,
        kind: JobKind,
        mode: Mode,
    ) -> Result<Option<JobId>, TransactionError> {
        let unit = self.load(name);
        self.engine.enqueue(unit, kind, mode, now())
    }

    fn pet_deadline(&self) -> Option<Duration> {
        self.watchdog.as_ref().map(|_| self.next_pet)
    }

    /// Pets the watchdog at a third of its time. A failed pet is left to have its effect.
    fn pet(&mut self) {
        if let Some(watchdog) = &mut self.watchdog
            && now() >= self.next_pet
        {
            let _ = watchdog.pet();
            self.next_pet = now() + Duration::from_secs(u64::from(watchdog.timeout_s().max(3) / 3));
        }
    }
}
