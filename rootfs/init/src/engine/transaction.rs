//! From one wish to the set of jobs that fulfils it: requirement closure, contradictions,
//! ordering cycles (systemd's transaction.c; systemd.unit(5)). Pure: nothing is installed here.

use super::action::unusable;
use super::graph::STOPPED_WITH;
use super::job::{JobKind, Mode, merge, second_goes_first};
use super::{ActiveState, Edge, Engine, UnitId, names};
use crate::unit::{Relation, UnitName};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Why a wish cannot be fulfilled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The unit, or one that it requires, has no usable file.
    #[error("unit {0} is {1}")]
    Unusable(UnitName, String),
    /// The unit has nothing to do for the job.
    #[error("job type {1} does not apply to {0}")]
    NotApplicable(UnitName, JobKind),
    /// The jobs that matter contradict each other.
    #[error("{0} would have to be started and stopped at once")]
    Contradiction(UnitName),
    /// Units that matter are ordered in a circle: each starts after the next, the last after the first.
    #[error("ordering cycle: {}", .0.iter().chain(.0.first()).map(UnitName::as_str).collect::<Vec<_>>().join(" after "))]
    Cycle(Vec<UnitName>),
    /// A job is there that this one may not replace.
    #[error("{0} has a {1} job that cannot be replaced")]
    Destructive(UnitName, JobKind),
    /// `AllowIsolate=no`.
    #[error("{0} may not be isolated")]
    Isolate(UnitName),
}

/// The jobs of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One job a unit.
    pub jobs: BTreeMap<UnitId, JobKind>,
    /// The unit that the wish was about.
    pub anchor: Option<UnitId>,
    /// Cycles that were broken; the first of each lost its job.
    pub broken_cycles: Vec<Vec<UnitName>>,
}

type Key = (UnitId, JobKind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    from: Option<Key>,
    /// `from` fails without this job.
    matters: bool,
    /// The job is a stop because of a conflict.
    conflict: bool,
}

struct Draft<'a> {
    engine: &'a Engine,
    jobs: BTreeMap<Key, Vec<Link>>,
    /// Jobs that turned out impossible; adding one again fails again.
    doomed: BTreeMap<Key, TransactionError>,
    queue: VecDeque<(Key, Link)>,
    anchor: Key,
}

/// Builds the jobs for `kind` on `unit`.
///
/// # Errors
/// See [`TransactionError`].
pub fn build(engine: &Engine, unit: UnitId, kind: JobKind, mode: Mode) -> Result<Plan, TransactionError> {
    if mode == Mode::Isolate && (kind != JobKind::Start || !engine.unit(unit).allow_isolate) {
        return Err(TransactionError::Isolate(engine.unit(unit).name.clone()));
    }
    let anchor = (unit, kind);
    let mut draft =
        Draft { engine, jobs: BTreeMap::new(), doomed: BTreeMap::new(), queue: VecDeque::new(), anchor };
    draft.queue.push_back((anchor, Link { from: None, matters: true, conflict: false }));
    draft.close(mode)?;
    if mode == Mode::Isolate {
        draft.isolate()?;
    }
    draft.drop_redundant();
    let mut plan = Plan { anchor: Some(unit), ..Plan::default() };
    draft.resolve_contradictions()?;
    while let Some(cycle) = draft.find_cycle() {
        plan.broken_cycles.push(draft.break_cycle(&cycle)?);
    }
    plan.jobs = draft.merged();
    check_replaceable(engine, &plan, mode)?;
    Ok(plan)
}

impl Draft<'_> {
    fn name(&self, id: UnitId) -> UnitName {
        self.engine.unit(id).name.clone()
    }

    /// Adds all that the queued jobs need.
    fn close(&mut self, mode: Mode) -> Result<(), TransactionError> {
        while let Some((key, link)) = self.queue.pop_front() {
            if link.from.is_some_and(|from| !self.jobs.contains_key(&from)) {
                continue; // its reason went away meanwhile
            }
            let problem = self.doomed.get(&key).cloned().or_else(|| self.impossible(key));
            if let Some(problem) = problem {
                self.doomed.insert(key, problem.clone());
                match link.from {
                    None => return Err(problem),
                    Some(from) if link.matters => self.doom(from, &problem)?,
                    Some(_) => {}
                }
                continue;
            }
            let known = self.jobs.contains_key(&key);
            let links = self.jobs.entry(key).or_default();
            if !links.contains(&link) {
                links.push(link);
            }
            if !known && mode != Mode::IgnoreDependencies {
                self.pull(key);
            }
        }
        Ok(())
    }

    fn impossible(&self, (id, kind): Key) -> Option<TransactionError> {
        let unit = self.engine.unit(id);
        match kind {
            JobKind::Stop | JobKind::VerifyActive => None,
            JobKind::Reload if !self.engine.can_reload(id) => {
                Some(TransactionError::NotApplicable(unit.name.clone(), kind))
            }
            _ if self.engine.is_loaded(id) => None,
            _ => Some(TransactionError::Unusable(unit.name.clone(), unusable(&unit.load_state))),
        }
    }

    /// Queues the jobs that `key` brings with it.
    fn pull(&mut self, key: Key) {
        use Relation::{BindsTo, Conflicts, PropagatesReloadTo, Requires, Requisite, Upholds, Wants};
        let (id, kind) = key;
        let mut add = |edges: &[Edge], kind: JobKind, matters: bool, conflict: bool| {
            for other in self.engine.graph.over(id, edges) {
                if let Some(kind) = self.engine.collapse(other, kind) {
                    self.queue.push_back(((other, kind), Link { from: Some(key), matters, conflict }));
                }
            }
        };
        if matches!(kind, JobKind::Start | JobKind::Restart) {
            add(&[Edge::To(Requires), Edge::To(BindsTo)], JobKind::Start, true, false);
            add(&[Edge::To(Wants), Edge::To(Upholds)], JobKind::Start, false, false);
            add(&[Edge::To(Requisite)], JobKind::VerifyActive, true, false);
            add(&[Edge::To(Conflicts)], JobKind::Stop, true, true);
            add(&[Edge::From(Conflicts)], JobKind::Stop, false, true);
        }
        match kind {
            JobKind::Stop => add(&STOPPED_WITH, JobKind::Stop, true, false),
            JobKind::Restart => add(&STOPPED_WITH, JobKind::TryRestart, true, false),
            JobKind::Reload => add(&[Edge::To(PropagatesReloadTo)], JobKind::TryReload, false, false),
            _ => {}
        }
    }

    /// Removes a job that cannot be, and every job that cannot be without it.
    fn doom(&mut self, key: Key, problem: &TransactionError) -> Result<(), TransactionError> {
        let mut gone = vec![key];
        while let Some(key) = gone.pop() {
            if key == self.anchor {
                return Err(problem.clone());
            }
            self.doomed.insert(key, problem.clone());
            for link in self.jobs.remove(&key).unwrap_or_default() {
                match link.from {
                    Some(from) if link.matters && self.jobs.contains_key(&from) => gone.push(from),
                    _ => {}
                }
            }
        }
        self.collect();
        Ok(())
    }

    /// Removes jobs that no remaining job asks for.
    fn collect(&mut self) {
        let mut reachable: BTreeSet<Key> = BTreeSet::new();
        let mut of: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
        for (key, links) in &self.jobs {
            for from in links.iter().filter_map(|link| link.from) {
                of.entry(from).or_default().push(*key);
            }
        }
        let mut queue = vec![self.anchor];
        while let Some(key) = queue.pop() {
            if reachable.insert(key) {
                queue.extend(of.get(&key).into_iter().flatten());
            }
        }
        self.jobs.retain(|key, _| reachable.contains(key));
        for links in self.jobs.values_mut() {
            links.retain(|link| link.from.is_none_or(|from| reachable.contains(&from)));
        }
    }

    /// Jobs without which the anchor fails.
    fn mattering(&self) -> BTreeSet<Key> {
        let mut found = BTreeSet::from([self.anchor]);
        let mut grown = true;
        while grown {
            grown = false;
            for (key, links) in &self.jobs {
                let matters = links
                    .iter()
                    .any(|link| link.matters && link.from.is_none_or(|from| found.contains(&from)));
                grown |= matters && found.insert(*key);
            }
        }
        found
    }

    fn isolate(&mut self) -> Result<(), TransactionError> {
        for id in self.engine.ids() {
            let unit = self.engine.unit(id);
            let idle = self.engine.active(id).is_down() && self.engine.job_of(id).is_none();
            if idle || unit.ignore_on_isolate || self.jobs.keys().any(|(other, _)| *other == id) {
                continue;
            }
            let link = Link { from: Some(self.anchor), matters: false, conflict: false };
            self.queue.push_back(((id, JobKind::Stop), link));
        }
        self.close(Mode::Replace)
    }

    /// Leaves out jobs whose outcome is there already.
    fn drop_redundant(&mut self) {
        let by_unit = self.kinds_by_unit();
        let redundant: BTreeSet<UnitId> = by_unit
            .iter()
            .filter(|(id, kinds)| {
                let state = self.engine.active(**id);
                let clashes = |kind: &JobKind| {
                    self.engine.job_of(**id).is_some_and(|job| merge(job.kind, *kind).is_none())
                };
                **id != self.anchor.0 && kinds.iter().all(|kind| is_redundant(*kind, state) && !clashes(kind))
            })
            .map(|(id, _)| *id)
            .collect();
        // What they asked for stays wanted: it hangs on the anchor from now on.
        let anchor = self.anchor;
        self.jobs.retain(|(id, _), _| !redundant.contains(id));
        for links in self.jobs.values_mut() {
            for link in links {
                if link.from.is_some_and(|(id, _)| redundant.contains(&id)) {
                    link.from = Some(anchor);
                    link.matters = false;
                }
            }
        }
    }

    fn kinds_by_unit(&self) -> BTreeMap<UnitId, Vec<JobKind>> {
        let mut found: BTreeMap<UnitId, Vec<JobKind>> = BTreeMap::new();
        for (id, kind) in self.jobs.keys() {
            found.entry(*id).or_default().push(*kind);
        }
        found
    }

    /// Where a unit is both to be stopped and to be started, drops the job that matters less.
    fn resolve_contradictions(&mut self) -> Result<(), TransactionError> {
        loop {
            let clash = self.kinds_by_unit().into_iter().find_map(|(id, kinds)| {
                let other = kinds.iter().copied().find(|kind| *kind != JobKind::Stop)?;
                kinds.contains(&JobKind::Stop).then_some((id, other))
            });
            let Some((id, other)) = clash else { return Ok(()) };
            let (stop, other) = ((id, JobKind::Stop), (id, other));
            let mattering = self.mattering();
            let contradiction = TransactionError::Contradiction(self.name(id));
            let conflict = self.jobs.get(&stop).is_some_and(|links| links.iter().any(|link| link.conflict));
            let drop = match (mattering.contains(&stop), mattering.contains(&other)) {
                (true, true) => return Err(contradiction),
                (true, false) => other,
                // Keep things up, unless the stop makes room for something else.
                (false, false) if conflict => other,
                (false, _) => stop,
            };
            self.doom(drop, &contradiction)?;
        }
    }

    /// One job a unit, contradictions gone.
    fn merged(&self) -> BTreeMap<UnitId, JobKind> {
        let mut jobs: BTreeMap<UnitId, JobKind> = BTreeMap::new();
        for (id, kind) in self.jobs.keys() {
            let merged = jobs.get(id).map_or(Some(*kind), |old| merge(*old, *kind));
            let merged = merged.and_then(|kind| self.engine.collapse(*id, kind));
            jobs.insert(*id, merged.unwrap_or(*kind));
        }
        jobs
    }

    /// Units in a circle, each waiting for the next.
    fn find_cycle(&self) -> Option<Vec<UnitId>> {
        let jobs = self.merged();
        let waits_for = |id: UnitId| -> Vec<UnitId> { waits_for(self.engine, &jobs, id) };
        let mut done: BTreeSet<UnitId> = BTreeSet::new();
        for start in jobs.keys() {
            let mut path: Vec<(UnitId, Vec<UnitId>)> = vec![(*start, waits_for(*start))];
            while let Some((id, rest)) = path.last_mut() {
                let id = *id;
                match rest.pop() {
                    None => {
                        done.insert(id);
                        path.pop();
                    }
                    Some(next) => {
                        if let Some(at) = path.iter().position(|(on_path, _)| *on_path == next) {
                            return Some(path[at..].iter().map(|(id, _)| *id).collect());
                        }
                        if !done.contains(&next) {
                            path.push((next, waits_for(next)));
                        }
                    }
                }
            }
        }
        None
    }

    /// Drops one job of the cycle that the anchor can do without; gives the cycle, that one first.
    fn break_cycle(&mut self, cycle: &[UnitId]) -> Result<Vec<UnitName>, TransactionError> {
        let mattering: BTreeSet<UnitId> = self.mattering().into_iter().map(|(id, _)| id).collect();
        let refused = TransactionError::Cycle(names(self.engine, cycle));
        let Some(at) = cycle.iter().position(|id| !mattering.contains(id)) else { return Err(refused) };
        let mut turned = cycle.to_vec();
        turned.rotate_left(at);
        let keys: Vec<Key> = self.jobs.keys().filter(|(id, _)| *id == turned[0]).copied().collect();
        for key in keys {
            if self.jobs.contains_key(&key) {
                self.doom(key, &refused)?;
            }
        }
        Ok(names(self.engine, &turned))
    }
}

/// The units with jobs in `jobs` that the job of `id` must wait for.
pub(super) fn waits_for(engine: &Engine, jobs: &BTreeMap<UnitId, JobKind>, id: UnitId) -> Vec<UnitId> {
    let Some(kind) = jobs.get(&id) else { return Vec::new() };
    let mut found = Vec::new();
    if !second_goes_first(*kind) {
        found.extend(engine.graph.after(id).filter(|other| jobs.contains_key(other)));
    }
    found.extend(
        engine.graph.before(id).filter(|other| jobs.get(other).is_some_and(|kind| second_goes_first(*kind))),
    );
    found
}

fn is_redundant(kind: JobKind, state: ActiveState) -> bool {
    match kind {
        JobKind::Start | JobKind::VerifyActive => state.is_active(),
        JobKind::Stop => state.is_down(),
        JobKind::Reload => state == ActiveState::Reloading,
        _ => false,
    }
}

fn check_replaceable(engine: &Engine, plan: &Plan, mode: Mode) -> Result<(), TransactionError> {
    for (id, kind) in &plan.jobs {
        if let Some(job) = engine.job_of(*id)
            && merge(job.kind, *kind).is_none()
            && (mode == Mode::Fail || job.irreversible && mode != Mode::ReplaceIrreversibly)
        {
            return Err(TransactionError::Destructive(engine.unit(*id).name.clone(), job.kind));
        }
    }
    Ok(())
}
