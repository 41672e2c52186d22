//! A small language for the engine's tests: units as text, actions as lines.

use super::{Action, Engine, Event, ExitStatus, JobKind, Mode, Role, Severity, TransactionError, UnitId};
use crate::unit::config::LoadState;
use crate::unit::load::apply_text;
use crate::unit::{Facts, Unit, UnitName};
use std::path::Path;
use std::time::Duration;

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: Duration,
}

impl World {
    /// Units given as `name: text` pairs. Default dependencies are off unless the text sets them,
    /// so that a test shows all the edges that it is about.
    pub(super) fn new(units: &[(&str, &str)]) -> Self {
        let mut engine = Engine::new();
        engine.add(units.iter().map(|(name, text)| (unit(name, text), None)));
        for name in engine.missing() {
            engine.add([(Unit::new(name, LoadState::NotFound), None)]);
        }
        Self { engine, now: Duration::ZERO }
    }

    pub(super) fn id(&self, name: &str) -> UnitId {
        self.engine.find(&UnitName::parse(name).unwrap()).unwrap()
    }

    pub(super) fn enqueue(
        &mut self,
        kind: JobKind,
        name: &str,
        mode: Mode,
    ) -> Result<Vec<String>, TransactionError> {
        let id = self.id(name);
        self.engine.enqueue(id, kind, mode, self.now)?;
        Ok(self.actions())
    }

    pub(super) fn start(&mut self, name: &str) -> Vec<String> {
        self.enqueue(JobKind::Start, name, Mode::Replace).unwrap()
    }

    pub(super) fn stop(&mut self, name: &str) -> Vec<String> {
        self.enqueue(JobKind::Stop, name, Mode::Replace).unwrap()
    }

    pub(super) fn event(&mut self, name: &str, event: Event) -> Vec<String> {
        let id = self.id(name);
        self.engine.handle(id, event, self.now);
        self.actions()
    }

    pub(super) fn spawned(&mut self, name: &str) -> Vec<String> {
        self.event(name, Event::Spawned(Role::Main))
    }

    pub(super) fn exits(&mut self, name: &str, role: Role, code: i32) -> Vec<String> {
        self.event(name, Event::Exited { role, status: ExitStatus::Code(code), cgroup_empty: true })
    }

    pub(super) fn after(&mut self, seconds: f64) -> Vec<String> {
        self.now += Duration::from_secs_f64(seconds);
        self.engine.tick(self.now);
        self.actions()
    }

    pub(super) fn state(&self, name: &str) -> String {
        let id = self.id(name);
        let kind = self.engine.unit(id).name.kind();
        format!("{} ({})", self.engine.active(id), self.engine.state(id).sub_state(kind))
    }

    /// The actions since the last call, without state changes and mere information.
    fn actions(&mut self) -> Vec<String> {
        let actions = self.engine.take_actions();
        actions.iter().filter_map(|action| self.show(action)).collect()
    }

    fn show(&self, action: &Action) -> Option<String> {
        let name = |id: &UnitId| self.engine.unit(*id).name.stem().to_owned();
        Some(match action {
            Action::Test(id) => format!("test {}", name(id)),
            Action::Spawn { unit, phase, index, .. } => format!("{} {phase:?} {index}", name(unit)),
            Action::Kill(id, signal) => format!("{} kill {signal:?}", name(id)),
            Action::FindMain(id) => format!("{} find main", name(id)),
            Action::JobDone { unit, kind, result, .. } => format!("{kind} {} {result}", name(unit)),
            Action::Emergency(id, action) => format!("{} {action:?}", name(id)),
            Action::OpenSockets(id) => format!("{} open", name(id)),
            Action::Listen(id, on) => format!("{} {}", name(id), if *on { "listen" } else { "hand over" }),
            Action::CloseSockets(id) => format!("{} close", name(id)),
            Action::Flush(id) => format!("{} flush", name(id)),
            Action::Accept(id) => format!("{} accept", name(id)),
            Action::WatchPaths(id) => format!("{} watch", name(id)),
            Action::UnwatchPaths(id) => format!("{} unwatch", name(id)),
            Action::MakeSlice(id) => format!("{} make", name(id)),
            Action::ReadStamp(id) => format!("{} read stamp", name(id)),
            Action::WriteStamp(id) => format!("{} write stamp", name(id)),
            Action::Log { severity: Severity::Info, .. } | Action::Release(_) | Action::Changed { .. } => {
                return None;
            }
            Action::Log { unit, notice, .. } => match unit {
                Some(id) => format!("{}: {notice}", name(id)),
                None => notice.to_string(),
            },
        })
    }
}

pub(super) fn unit(name: &str, text: &str) -> Unit {
    let name = UnitName::parse(name).unwrap();
    let mut unit = Unit::new(name, LoadState::Loaded);
    unit.default_dependencies = false;
    let problems = apply_text(&mut unit, Path::new("test"), text.as_bytes(), &Facts::default());
    assert_eq!(problems, [], "{text}");
    unit.finish();
    assert_eq!(unit.load_state, LoadState::Loaded);
    unit
}
