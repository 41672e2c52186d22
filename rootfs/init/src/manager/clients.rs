//! The far end of `systemctl`: requests answered without waiting for anybody.

use super::poll::Source;
use super::{Manager, accounts, now};
use crate::control::{Request, Response, UnitStatus, Verb};
use crate::engine::{Edge, ExitStatus, JobId, JobKind, JobResult, Mode, Role, Signal, UnitId};
use crate::unit::UnitName;
use crate::unit::config::{DERIVED, LoadState, RELATIONS};
use crate::unit::value::signal_name;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The longest request.
const MAX_REQUEST_BYTES: usize = 256 << 10;
/// Clients at once; more wait in the socket's backlog.
const MAX_CLIENTS: usize = 64;

/// The control socket.
pub(super) struct Listener(UnixListener);

impl Listener {
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        // Root's; and, where there is such a group, its members': they administer the machine.
        let group = accounts::group(service::caller::OPERATORS);
        std::os::unix::fs::chown(path, None, group)?;
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A connection.
pub(super) struct Client {
    stream: UnixStream,
    token: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Jobs that it waits for.
    jobs: Vec<JobId>,
    failed: Vec<(String, String)>,
    /// Units that it waits for to be down.
    down: Vec<UnitId>,
    waiting: bool,
}

impl Manager {
    pub(super) fn clients_came(&mut self) {
        while self.clients.len() < MAX_CLIENTS {
            let Ok((stream, _)) = self.listener.0.accept() else { return };
            let id = self.clients.keys().max().map_or(0, |last| last + 1);
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let Ok(token) = self.poll.add(&stream, Source::Client(id)) else { continue };
            let client = Client {
                stream,
                token,
                input: Vec::new(),
                output: Vec::new(),
                jobs: Vec::new(),
                failed: Vec::new(),
                down: Vec::new(),
                waiting: false,
            };
            self.clients.insert(id, client);
        }
    }

    pub(super) fn client_ready(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let mut buffer = [0_u8; 4096];
        let alive = match client.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                client.input.extend_from_slice(&buffer[..count]);
                client.input.len() <= MAX_REQUEST_BYTES
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        };
        if !alive {
            return self.forget_client(id);
        }
        while let Some(client) = self.clients.get_mut(&id) {
            let end = client.input.iter().position(|byte| *byte == b'\n');
            let Some(end) = end.filter(|_| !client.waiting) else { break };
            let line: Vec<u8> = client.input.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(request) => self.answer(id, request),
                Err(error) => self.reply(id, &Response::Refused(format!("not a request: {error}"))),
            }
        }
        self.push_out(id);
        // A client that came while all places were taken is still in the backlog.
        self.clients_came();
    }

    fn forget_client(&mut self, id: u64) {
        if let Some(client) = self.clients.remove(&id) {
            self.poll.remove(&client.stream, client.token);
        }
    }

    fn reply(&mut self, id: u64, response: &Response) {
        if let Some(client) = self.clients.get_mut(&id)
            && let Ok(line) = serde_json::to_vec(response)
        {
            client.output.extend(line);
            client.output.push(b'\n');
        }
        self.push_out(id);
    }

    fn push_out(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        while !client.output.is_empty() {
            match client.stream.write(&client.output) {
                Ok(count) => _ = client.output.drain(..count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return self.forget_client(id),
            }
        }
        self.poll.want_write(&client.stream, client.token, !client.output.is_empty());
    }

    fn answer(&mut self, id: u64, request: Request) {
        let response = match request {
            Request::Jobs { verb, units, no_block } => match self.enqueue_all(id, verb, &units, no_block) {
                Ok(true) => return, // answered when the jobs are over
                Ok(false) => Response::Jobs(Vec::new()),
                Err(refused) => Response::Refused(refused),
            },
            Request::List => Response::Units(self.engine.ids().map(|id| self.status_of(id)).collect()),
            Request::Show(name) => match UnitName::from_user(&name) {
                Ok(name) => {
                    let unit = self.load(&name);
                    Response::Units(vec![self.status_of(unit)])
                }
                Err(error) => Response::Refused(error.to_string()),
            },
            Request::Reload => {
                self.reload_units();
                Response::Done(Vec::new())
            }
            Request::Kill { unit, signal, main_only } => match self.known(&unit) {
                Ok(unit) if main_only => {
                    self.kill(unit, Signal::One(Role::Main, signal));
                    Response::Done(Vec::new())
                }
                Ok(unit) => {
                    self.kill(unit, Signal::All(signal));
                    Response::Done(Vec::new())
                }
                Err(refused) => Response::Refused(refused),
            },
            Request::ResetFailed(names) => {
                let units: Result<Vec<UnitId>, String> = match names.as_slice() {
                    [] => Ok(self.engine.ids().collect()),
                    names => names.iter().map(|name| self.known(name)).collect(),
                };
                match units {
                    Ok(units) => {
                        for unit in units {
                            self.engine.reset_failed(unit);
                        }
                        Response::Done(Vec::new())
                    }
                    Err(refused) => Response::Refused(refused),
                }
            }
            Request::End { how, force } => {
                self.reply(id, &Response::Done(Vec::new()));
                return if force { self.end_by_force(how) } else { self.end(how) };
            }
            Request::Status => Response::Status(self.status_table()),
            Request::Tell { row, text } => {
                self.table.tell(row, &text);
                Response::Done(Vec::new())
            }
            Request::WaitDown(names) => {
                match names.iter().map(|name| self.known(name)).collect::<Result<Vec<_>, _>>() {
                    Ok(units) => {
                        if let Some(client) = self.clients.get_mut(&id) {
                            client.down = units;
                            client.waiting = true;
                        }
                        return self.clients_look_down();
                    }
                    Err(refused) => Response::Refused(refused),
                }
            }
            Request::ApplyLimits(name) => match self.known(&name) {
                Ok(unit) => {
                    self.apply_limits(unit);
                    Response::Done(Vec::new())
                }
                Err(refused) => Response::Refused(refused),
            },
            Request::Environment { set, unset } => match self.change_environment(&set, &unset) {
                Ok(lines) => Response::Done(lines),
                Err(refused) => Response::Refused(refused),
            },
        };
        self.reply(id, &response);
    }

    fn known(&self, name: &str) -> Result<UnitId, String> {
        let name = UnitName::from_user(name).map_err(|error| error.to_string())?;
        self.engine.find(&name).ok_or_else(|| format!("unit {name} is not loaded"))
    }

    fn enqueue_all(
        &mut self,
        client: u64,
        verb: Verb,
        units: &[String],
        no_block: bool,
    ) -> Result<bool, String> {
        let names: Vec<UnitName> = units
            .iter()
            .map(|name| UnitName::from_user(name))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let mut jobs = Vec::new();
        for name in names {
            if name.is_template() {
                return Err(format!("{name} is a template, name an instance"));
            }
            let id = self.load(&name);
            let unit = self.engine.unit(id);
            let mode = if verb == Verb::Isolate { Mode::Isolate } else { Mode::Replace };
            let kind = match verb {
                Verb::Start | Verb::Isolate => JobKind::Start,
                Verb::Stop => JobKind::Stop,
                Verb::TryRestart => JobKind::TryRestart,
                Verb::Reload => JobKind::Reload,
                Verb::ReloadOrRestart if self.engine.can_reload(id) => JobKind::ReloadOrStart,
                Verb::Restart | Verb::ReloadOrRestart => JobKind::Restart,
            };
            if unit.refuse_manual_start && kind != JobKind::Stop
                || unit.refuse_manual_stop && kind == JobKind::Stop
            {
                return Err(format!("{name} may not be named in a {kind} (RefuseManual…=)"));
            }
            if kind == JobKind::Stop
                && unit.load_state == LoadState::NotFound
                && self.engine.active(id).is_down()
            {
                return Err(format!("unit {name} is not found"));
            }
            let job = self.engine.enqueue(id, kind, mode, now()).map_err(|error| error.to_string())?;
            jobs.extend(job);
        }
        if no_block || jobs.is_empty() {
            return Ok(false);
        }
        if let Some(client) = self.clients.get_mut(&client) {
            client.jobs = jobs;
            client.waiting = true;
        }
        Ok(true)
    }

    /// A job is over: who waits for it is told, when it was the last.
    pub(super) fn clients_job_done(&mut self, job: JobId, unit: UnitId, result: JobResult) {
        let name = self.engine.unit(unit).name.as_str().to_owned();
        let mut answered = Vec::new();
        for (id, client) in &mut self.clients {
            let before = client.jobs.len();
            client.jobs.retain(|waiting| *waiting != job);
            if client.jobs.len() == before {
                continue;
            }
            if !matches!(result, JobResult::Done | JobResult::Skipped) {
                client.failed.push((name.clone(), result.to_string()));
            }
            if client.jobs.is_empty() {
                client.waiting = false;
                answered.push((*id, std::mem::take(&mut client.failed)));
            }
        }
        for (id, failed) in answered {
            self.reply(id, &Response::Jobs(failed));
        }
    }

    /// Answers those whose units are all down by now.
    pub(super) fn clients_look_down(&mut self) {
        let mut answered = Vec::new();
        for (id, client) in &mut self.clients {
            if client.down.is_empty() {
                continue;
            }
            client.down.retain(|unit| !self.engine.active(*unit).is_down());
            if client.down.is_empty() {
                client.waiting = false;
                answered.push(*id);
            }
        }
        for id in answered {
            self.reply(id, &Response::Done(Vec::new()));
        }
    }

    fn change_environment(&mut self, set: &[String], unset: &[String]) -> Result<Vec<String>, String> {
        let plain = |name: &str| {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            name.chars().all(word) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        };
        for assignment in set {
            if !assignment.split_once('=').is_some_and(|(name, value)| plain(name) && !value.contains('\0')) {
                return Err(format!("`{assignment}` is not NAME=value"));
            }
        }
        for (name, value) in set.iter().filter_map(|assignment| assignment.split_once('=')) {
            self.environment.insert(name.to_owned(), value.to_owned());
        }
        for name in unset {
            self.environment.remove(name);
        }
        Ok(self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    fn status_of(&self, id: UnitId) -> UnitStatus {
        let unit = self.engine.unit(id);
        let state = self.engine.state(id);
        let (load_state, load_error) = match &unit.load_state {
            LoadState::Loaded => ("loaded", String::new()),
            LoadState::NotFound => ("not-found", String::new()),
            LoadState::Masked => ("masked", String::new()),
            LoadState::BadSetting(bad) => ("bad-setting", bad.to_string()),
        };
        let mut relations = Vec::new();
        for (key, relation) in RELATIONS.into_iter().chain(DERIVED) {
            let names = |edge| -> Vec<String> {
                self.engine
                    .edges(id, edge)
                    .iter()
                    .map(|id| self.engine.unit(*id).name.as_str().to_owned())
                    .collect()
            };
            let to = names(Edge::To(relation));
            if !to.is_empty() {
                relations.push((key.to_owned(), to));
            }
            let inverse = match key {
                "Requires" => "RequiredBy",
                "Wants" => "WantedBy",
                "BindsTo" => "BoundBy",
                "PartOf" => "ConsistsOf",
                "Conflicts" => "ConflictedBy",
                "Triggers" => "TriggeredBy",
                "Upholds" => "UpheldBy",
                _ => continue,
            };
            let from = names(Edge::From(relation));
            if !from.is_empty() {
                relations.push((inverse.to_owned(), from));
            }
        }
        let us = |at: Option<std::time::Duration>| at.map_or(0, |at| at.as_micros() as u64);
        UnitStatus {
            id: unit.name.as_str().to_owned(),
            names: self.engine.aliases(id).iter().map(|name| name.as_str().to_owned()).collect(),
            description: unit.description.clone(),
            load_state: load_state.to_owned(),
            load_error,
            active_state: self.engine.active(id).to_string(),
            sub_state: state.sub_state(unit.name.kind()),
            job: self.engine.job_of(id).map(|job| job.kind.to_string()).unwrap_or_default(),
            fragment_path: unit.fragment.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            drop_in_paths: unit.drop_ins.iter().map(|path| path.display().to_string()).collect(),
            result: state.result.to_string(),
            main_pid: self.processes.pid(id, Role::Main),
            control_pid: self.processes.pid(id, Role::Control),
            control_group: self.cgroups.show(id),
            status_text: state.status_text.clone().unwrap_or_default(),
            exit_code: match state.main_exit {
                None => String::new(),
                Some(ExitStatus::Code(code)) => format!("exited {code}"),
                Some(ExitStatus::Signal(signal, _)) => format!("killed {}", signal_name(signal)),
            },
            n_restarts: state.restarts,
            active_enter_us: us(state.active_since),
            inactive_enter_us: us(state.inactive_since),
            condition: state.condition.clone().unwrap_or_default(),
            relations,
            listen: self.listens(id),
            n_connections: state.connections,
            n_file_descriptor_store: self.stored_count(id),
            next_elapse_us: us(state.timer.as_ref().and_then(|timer| timer.next)),
            last_trigger_wall_us: state.timer.as_ref().and_then(|timer| timer.last_wall_us).unwrap_or(0),
            times: self.times.get(&id).copied().unwrap_or_default(),
            cgroup_folder: self.cgroups.folder(id).map(|path| path.display().to_string()).unwrap_or_default(),
        }
    }
}
