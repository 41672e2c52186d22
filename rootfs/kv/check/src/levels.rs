//! A history sorted by revision: what made each one, who read it, and by when it was there.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::Bounds;
use crate::history::{Answer, Body, Call, End, Event, Given, History, Item, Kv, Operation, Step, Time};
use crate::report::{Rule, Violation};

/// What a history says of one revision.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// The operation that made it.
    pub effect: Option<usize>,
    /// Revocations that were answered with it: one of them may have made it, the others did nothing.
    pub revocations: Vec<usize>,
    /// Operations that were answered with it and changed nothing.
    pub quiet: Vec<usize>,
    /// Reads of the past that read it.
    pub past: Vec<usize>,
    /// What watches told of it.
    pub events: Vec<Event>,
    /// How many events a watch of all keys told of it.
    pub count: Option<usize>,
}

/// All revisions of a history, by number.
#[derive(Debug)]
pub struct Levels {
    pub at: Vec<Level>,
    /// When a revision was known to be there, or a later one, and which operation shows it.
    pub latest: Vec<(Time, Option<usize>)>,
    /// Operations that may have had an effect at any revision, or none.
    pub open: Vec<usize>,
    /// Before when a lease cannot have ended, by its renewals; each lease that may have been granted.
    pub lives_until: BTreeMap<i64, Time>,
}

/// Whether an answered operation changed something; `None` where the answer does not say.
fn changed(operation: &Operation, answer: &Answer) -> Option<bool> {
    match (&operation.call, &answer.body) {
        (Call::Revoke(_), _) => None,
        (_, Body::Steps { given, .. }) => Some(given.iter().any(|given| match given {
            Given::Put(_) => true,
            Given::Deleted(gone) => !gone.is_empty(),
            Given::Got(_) => false,
        })),
        _ => Some(false),
    }
}

fn may_change(call: &Call) -> bool {
    let changes = |steps: &[Step]| steps.iter().any(|step| !matches!(step, Step::Get(_)));
    match call {
        Call::Step(step) => changes(std::slice::from_ref(step)),
        Call::Txn(txn) => changes(&txn.then) || changes(&txn.otherwise),
        Call::Revoke(_) => true,
        _ => false,
    }
}

fn written(call: &Call) -> Vec<&Bytes> {
    let steps: Vec<&Step> = match call {
        Call::Step(step) => vec![step],
        Call::Txn(txn) => txn.then.iter().chain(&txn.otherwise).collect(),
        _ => Vec::new(),
    };
    let values = steps.into_iter().filter_map(|step| match step {
        Step::Put { value, .. } => Some(value),
        _ => None,
    });
    values.collect()
}

/// All keys that an answer shows.
fn shown(answer: &Answer) -> Vec<&Kv> {
    let Body::Steps { given, .. } = &answer.body else { return Vec::new() };
    let kvs = given.iter().flat_map(|given| match given {
        Given::Put(prev) => prev.as_slice(),
        Given::Deleted(kvs) | Given::Got(kvs) => kvs.as_slice(),
    });
    kvs.collect()
}

impl Levels {
    /// Sorts a history.
    pub fn of(history: &History, bounds: Bounds) -> Result<Self, Violation> {
        let top = top(history)?;
        let mut this = Self {
            at: vec![Level::default(); top + 1],
            latest: vec![(Time::MAX, None); top + 2],
            open: Vec::new(),
            lives_until: lives_until(history, bounds),
        };
        for (at, operation) in history.operations.iter().enumerate() {
            match &operation.outcome {
                End::Unknown if may_change(&operation.call) => this.open.push(at),
                End::Refused(_) | End::Unknown => {}
                End::Answered(answer) => this.place(history, at, operation, answer)?,
            }
        }
        for watch in &history.watches {
            let mut counts = BTreeMap::<i64, usize>::new();
            for (time, item) in &watch.items {
                match item {
                    Item::Created(revision) | Item::Progress(revision) => this.known(*revision, *time, None),
                    Item::Canceled(_) => {}
                    Item::Events(revision, events) => {
                        this.known(*revision, *time, None);
                        for event in events {
                            this.known(event.kv.modified, *time, None);
                            *counts.entry(event.kv.modified).or_default() += 1;
                            if let Some(level) = this.at.get_mut(event.kv.modified as usize) {
                                level.events.push(event.clone());
                            }
                        }
                    }
                }
            }
            if watch.span.is_all() {
                for (revision, count) in counts {
                    if let Some(level) = this.at.get_mut(revision as usize) {
                        level.count = Some(count);
                    }
                }
            }
        }
        for at in (0..top).rev() {
            this.latest[at] = this.latest[at].min(this.latest[at + 1]);
        }
        this.recognize(history)?;
        this.check_times(history)?;
        Ok(this)
    }

    fn known(&mut self, revision: i64, time: Time, by: Option<usize>) {
        if let Some(latest) = self.latest.get_mut(revision.max(0) as usize) {
            *latest = (*latest).min((time, by));
        }
    }

    fn place(
        &mut self,
        history: &History,
        at: usize,
        operation: &Operation,
        answer: &Answer,
    ) -> Result<(), Violation> {
        self.known(answer.revision, operation.end, Some(at));
        if let Call::ReadAt(_, revision) = operation.call {
            match self.at.get_mut(revision.max(0) as usize) {
                Some(level) if revision <= answer.revision => level.past.push(at),
                _ => {
                    let text = format!("revision {revision} was read before it was there");
                    return Err(Violation::new(Rule::Revisions, text).at(answer.revision).by([at]));
                }
            }
        }
        let level = &mut self.at[answer.revision as usize];
        match changed(operation, answer) {
            None => level.revocations.push(at),
            Some(false) if matches!(operation.call, Call::KeepAlive(_)) => {}
            Some(false) => level.quiet.push(at),
            Some(true) => {
                if let Some(other) = level.effect.replace(at) {
                    debug_assert!(other < history.operations.len());
                    let text = format!("two transactions have revision {}", answer.revision);
                    return Err(Violation::new(Rule::Revisions, text).at(answer.revision).by([other, at]));
                }
            }
        }
        Ok(())
    }

    /// Finds the revisions of operations without an answer by the values that they wrote.
    fn recognize(&mut self, history: &History) -> Result<(), Violation> {
        let mut writers = HashMap::<&Bytes, Option<usize>>::new();
        for (at, operation) in history.operations.iter().enumerate() {
            for value in written(&operation.call) {
                // A value that two have written says nothing.
                writers
                    .entry(value)
                    .and_modify(|writer| *writer = writer.filter(|w| *w == at))
                    .or_insert(Some(at));
            }
        }
        let answers = history.operations.iter().filter_map(Operation::answer);
        let events = self.at.iter().flat_map(|level| &level.events);
        let events = events.flat_map(|event| {
            let now = if event.deleted { None } else { Some(&event.kv) };
            now.into_iter().chain(&event.prev)
        });
        let mut found = HashMap::new();
        for kv in answers.flat_map(shown).chain(events) {
            let writer = match writers.get(&kv.value) {
                Some(Some(writer)) => *writer,
                Some(None) => continue,
                None => {
                    let text = format!("nobody wrote {:?}, the value of {:?}", kv.value, kv.key);
                    return Err(Violation::new(Rule::OneOrder, text).at(kv.modified));
                }
            };
            match history.operations[writer].outcome {
                End::Answered(_) => {}
                End::Unknown => {
                    found.insert(writer, kv.modified);
                }
                End::Refused(why) => {
                    let text = format!("{:?} was refused ({why:?}), and is there", kv.value);
                    return Err(Violation::new(Rule::OneOrder, text).at(kv.modified).by([writer]));
                }
            }
        }
        for (writer, revision) in found {
            let Some(level) = self.at.get_mut(revision.max(0) as usize) else { continue };
            match level.effect.replace(writer) {
                Some(other) if other != writer => {
                    let text = format!("two transactions have revision {revision}");
                    return Err(Violation::new(Rule::Revisions, text).at(revision).by([other, writer]));
                }
                _ => self.open.retain(|open| *open != writer),
            }
        }
        Ok(())
    }

    /// Every operation happened after its begin, and before the end of what happened later.
    fn check_times(&self, history: &History) -> Result<(), Violation> {
        for (revision, level) in self.at.iter().enumerate() {
            let effect = level.effect.iter().map(|at| (*at, revision));
            // What changed nothing may have happened after others of the same revision.
            let quiet = level.quiet.iter().chain(&level.revocations);
            let quiet = quiet.filter(|at| history.operations[**at].is_placed()).map(|at| (*at, revision + 1));
            for (at, place) in effect.chain(quiet) {
                let (latest, by) = self.latest[place];
                if history.operations[at].begin > latest {
                    let text = format!(
                        "an operation of revision {revision} began at {}, but revision {place} was seen at {latest} already",
                        history.operations[at].begin
                    );
                    return Err(Violation::new(Rule::OneOrder, text).at(revision as i64).by([at]).by(by));
                }
            }
        }
        Ok(())
    }
}

/// The greatest revision that anybody saw.
fn top(history: &History) -> Result<usize, Violation> {
    // Each operation makes one revision at most, and each lease that was granted one more, at its end.
    let most = 1 + 2 * history.operations.len() as i64;
    let mut top = 1;
    let mut see = |revision: i64, by: Option<usize>| {
        if (1..=most).contains(&revision) {
            top = top.max(revision);
            return Ok(());
        }
        let text = format!("revision {revision} cannot be after {} operations", history.operations.len());
        Err(Violation::new(Rule::Revisions, text).at(revision).by(by))
    };
    for (at, operation) in history.operations.iter().enumerate() {
        if let Some(answer) = operation.answer() {
            see(answer.revision, Some(at))?;
        }
    }
    for (_, item) in history.watches.iter().flat_map(|watch| &watch.items) {
        match item {
            Item::Created(revision) | Item::Progress(revision) => see(*revision, None)?,
            Item::Events(revision, events) => {
                see(*revision, None)?;
                events.iter().try_for_each(|event| see(event.kv.modified, None))?;
            }
            Item::Canceled(_) => {}
        }
    }
    Ok(top as usize)
}

fn lives_until(history: &History, bounds: Bounds) -> BTreeMap<i64, Time> {
    let mut leases = BTreeMap::new();
    for operation in &history.operations {
        let (Call::Grant { lease, .. } | Call::KeepAlive(lease)) = operation.call else { continue };
        let until = match operation.outcome {
            End::Answered(Answer { body: Body::Alive(seconds), .. }) if seconds > 0 => {
                operation.begin + seconds as u64 * 1000 * (1000 - bounds.drift_per_mille.min(1000))
            }
            End::Unknown => 0,
            _ => continue,
        };
        let entry = leases.entry(lease).or_insert(0);
        *entry = until.max(*entry);
    }
    leases
}
