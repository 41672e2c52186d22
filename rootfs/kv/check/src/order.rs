//! The one order in which everything happened.
//!
//! Revision by revision: an operation that was answered has its place. A revision that no answer
//! explains was made by an operation that has none, or by the end of a lease; which one, is searched
//! for, with a way back where a choice does not fit what was seen later.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use crate::Bounds;
use crate::history::{Answer, Body, Call, End, Event, Given, History, Step};
use crate::levels::{Level, Levels};
use crate::model::State;
use crate::report::{Rule, Violation};

/// What made a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An operation, by its place in the history.
    Operation(usize),
    /// The end of a lease.
    LeaseEnd(i64),
}

/// One revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub revision: i64,
    /// What made it.
    pub cause: Cause,
    /// What changed.
    pub events: Vec<Event>,
}

/// What happened, in its order.
#[derive(Clone, Debug)]
pub struct Chronicle {
    /// The revisions from 2 on.
    pub entries: Vec<Entry>,
    /// What is there at the end.
    pub state: State,
}

/// Finds an order that explains a history.
///
/// # Errors
/// There is none.
pub fn order(history: &History, bounds: Bounds) -> Result<Chronicle, Violation> {
    let mut levels = Levels::of(history, bounds)?;
    let failure = match Search::new(history, &levels).run() {
        Ok(chronicle) => return Ok(chronicle),
        Err(failure) => failure,
    };
    // Would it fit if leases could end at any time?
    let bounds: Vec<_> = levels.lives_until.iter().map(|(lease, until)| (*lease, *until)).collect();
    levels.lives_until.values_mut().for_each(|until| *until = 0);
    let Ok(chronicle) = Search::new(history, &levels).run() else { return Err(failure) };
    for entry in &chronicle.entries {
        let (seen, by) = levels.latest[entry.revision as usize];
        for (lease, until) in &bounds {
            if entry.cause == Cause::LeaseEnd(*lease) && *until > seen {
                let of = |call: &Call| matches!(call, Call::Grant { lease: l, .. } | Call::KeepAlive(l) if l == lease);
                let renewals =
                    history.operations.iter().enumerate().filter(|(_, o)| of(&o.call)).map(|(at, _)| at);
                let text = format!(
                    "lease {lease:x} was renewed until {until} at least, but its keys were gone by {seen}, at revision {}",
                    entry.revision
                );
                return Err(Violation::new(Rule::LeaseShort, text).at(entry.revision).by(renewals).by(by));
            }
        }
    }
    Err(failure)
}

/// A place where there was more than one way.
struct Branch {
    /// The revision that is to be made.
    level: usize,
    ways: Vec<(Cause, State, Vec<Event>)>,
}

struct Search<'h> {
    history: &'h History,
    levels: &'h Levels,
    entries: Vec<Entry>,
    used: HashSet<usize>,
    ended: HashSet<i64>,
    branches: Vec<Branch>,
    /// Places from where there was no way.
    seen: HashSet<u64>,
    /// What failed at the greatest revision.
    failure: Option<(usize, Violation)>,
}

impl<'h> Search<'h> {
    fn new(history: &'h History, levels: &'h Levels) -> Self {
        Self {
            history,
            levels,
            entries: Vec::new(),
            used: HashSet::new(),
            ended: HashSet::new(),
            branches: Vec::new(),
            seen: HashSet::new(),
            failure: None,
        }
    }

    fn run(mut self) -> Result<Chronicle, Violation> {
        let mut state = State::default();
        let mut level = 1;
        let mut fits = self.read(level, &mut state, None);
        loop {
            match fits {
                Ok(()) if level + 1 == self.levels.at.len() => {
                    return Ok(Chronicle { entries: self.entries, state });
                }
                Ok(()) => {
                    level += 1;
                    fits = self.make(level, &mut state);
                }
                Err(violation) => {
                    if self.failure.as_ref().is_none_or(|(at, _)| *at < level) {
                        self.failure = Some((level, violation));
                    }
                    level = match self.back(&mut state) {
                        Some(level) => level,
                        None => {
                            // It was set above.
                            return Err(self.failure.map_or_else(
                                || Violation::new(Rule::OneOrder, "no order"),
                                |(_, violation)| violation,
                            ));
                        }
                    };
                    let cause = self.entries.last().map(|entry| entry.cause);
                    fits = self.read(level, &mut state, cause);
                }
            }
        }
    }

    /// Takes the next way at the last branch; gives the revision that it makes.
    fn back(&mut self, state: &mut State) -> Option<usize> {
        loop {
            let branch = self.branches.last_mut()?;
            let level = branch.level;
            let way = branch.ways.pop();
            while self.entries.last().is_some_and(|entry| entry.revision >= level as i64) {
                match self.entries.pop().map(|entry| entry.cause) {
                    Some(Cause::Operation(at)) => self.used.remove(&at),
                    Some(Cause::LeaseEnd(lease)) => self.ended.remove(&lease),
                    None => false,
                };
            }
            if let Some((cause, after, events)) = way {
                *state = after;
                self.enter(level, cause, events);
                return Some(level);
            }
            self.branches.pop();
        }
    }

    fn enter(&mut self, level: usize, cause: Cause, events: Vec<Event>) {
        match cause {
            Cause::Operation(at) => self.used.insert(at),
            Cause::LeaseEnd(lease) => self.ended.insert(lease),
        };
        self.entries.push(Entry { revision: level as i64, cause, events });
    }

    /// Makes a revision, and checks who read it.
    fn make(&mut self, level: usize, state: &mut State) -> Result<(), Violation> {
        let cause = match self.levels.at[level].effect {
            Some(at) => {
                let operation = &self.history.operations[at];
                let done = state.apply(&operation.call);
                if done.events.is_empty() {
                    let text = format!("revision {level} was given to an operation that changes nothing");
                    return Err(Violation::new(Rule::OneOrder, text).at(level as i64).by([at]));
                }
                if let Some(Answer { body: Body::Steps { succeeded, given }, .. }) = operation.answer()
                    && (*succeeded, given) != (done.succeeded, &done.given)
                {
                    return Err(self.differs(level, at, &done.given));
                }
                self.enter(level, Cause::Operation(at), done.events);
                Cause::Operation(at)
            }
            None => self.choose(level, state)?,
        };
        self.read(level, state, Some(cause))
    }

    /// Makes a revision that no answer explains.
    fn choose(&mut self, level: usize, state: &mut State) -> Result<Cause, Violation> {
        let nothing = |text: &str| {
            Err(Violation::new(Rule::OneOrder, format!("revision {level}: {text}")).at(level as i64))
        };
        if !self.seen.insert(self.place(level, state)) {
            return nothing("nothing that can have made it leads on");
        }
        let facts = &self.levels.at[level];
        let (latest, _) = self.levels.latest[level];
        let mut ways = Vec::new();
        // The last way is taken first: ends of leases only where nothing else fits.
        for (lease, until) in self.levels.lives_until.iter().rev() {
            if *until <= latest && !self.ended.contains(lease) {
                let mut after = state.clone();
                let events = after.drop_lease(*lease);
                if fits(facts, &events) {
                    ways.push((Cause::LeaseEnd(*lease), after, events));
                }
            }
        }
        let open = self.levels.open.iter().chain(&facts.revocations);
        for at in open.filter(|at| !self.used.contains(at)) {
            let operation = &self.history.operations[*at];
            if operation.begin <= latest {
                let mut after = state.clone();
                let events = after.apply(&operation.call).events;
                if fits(facts, &events) {
                    ways.push((Cause::Operation(*at), after, events));
                }
            }
        }
        let Some((cause, after, events)) = ways.pop() else {
            let text = match facts.events.as_slice() {
                [] => "nothing can have made it".to_owned(),
                events => format!("nothing can have made it, with {events:?}"),
            };
            return nothing(&text);
        };
        if !ways.is_empty() {
            self.branches.push(Branch { level, ways });
        }
        *state = after;
        self.enter(level, cause, events);
        Ok(cause)
    }

    fn place(&self, level: usize, state: &State) -> u64 {
        let mut used: Vec<_> = self.levels.open.iter().filter(|at| self.used.contains(at)).collect();
        used.sort_unstable();
        let mut ended: Vec<_> = self.ended.iter().collect();
        ended.sort_unstable();
        let mut hasher = DefaultHasher::new();
        (level, state, used, ended).hash(&mut hasher);
        hasher.finish()
    }

    /// Checks all that was answered with a revision, or read it later.
    fn read(&self, level: usize, state: &mut State, cause: Option<Cause>) -> Result<(), Violation> {
        let facts = &self.levels.at[level];
        for at in &facts.quiet {
            let operation = &self.history.operations[*at];
            let End::Answered(Answer { body: Body::Steps { succeeded, given }, .. }) = &operation.outcome
            else {
                continue;
            };
            match (&operation.call, given.as_slice()) {
                (Call::ReadAt(..), _) => {}
                (Call::Step(Step::Get(span)), [Given::Got(got)]) => {
                    let found = state.get(span);
                    if found != *got {
                        return Err(self.differs(level, *at, &[Given::Got(found)]));
                    }
                }
                (call, _) => {
                    let done = state.apply(call);
                    if !done.events.is_empty() || (*succeeded, given) != (done.succeeded, &done.given) {
                        return Err(self.differs(level, *at, &done.given));
                    }
                }
            }
        }
        for at in &facts.past {
            let operation = &self.history.operations[*at];
            if let (Call::ReadAt(span, _), End::Answered(Answer { body: Body::Steps { given, .. }, .. })) =
                (&operation.call, &operation.outcome)
            {
                let found = [Given::Got(state.get(span))];
                if given.as_slice() != found {
                    return Err(self.differs(level, *at, &found));
                }
            }
        }
        for at in &facts.revocations {
            let Call::Revoke(lease) = self.history.operations[*at].call else { continue };
            if cause != Some(Cause::Operation(*at)) && state.keys.values().any(|kv| kv.lease == lease) {
                let text = format!("lease {lease:x} was revoked at revision {level}, but its keys are there");
                return Err(Violation::new(Rule::OneOrder, text).at(level as i64).by([*at]));
            }
        }
        Ok(())
    }

    fn differs(&self, level: usize, at: usize, found: &[Given]) -> Violation {
        let operation = &self.history.operations[at];
        let rule = if operation.serializable { Rule::Serializable } else { Rule::OneOrder };
        let text = format!("at revision {level} the answer should have been {found:?}");
        Violation::new(rule, text).at(level as i64).by([at])
    }
}

/// Whether something changed, and all that watches told of it.
fn fits(facts: &Level, events: &[Event]) -> bool {
    let told = |fact: &Event| {
        let same = |event: &Event| {
            event.deleted == fact.deleted
                && event.kv.key == fact.kv.key
                && (fact.deleted || event.kv.value == fact.kv.value)
        };
        events.iter().any(same)
    };
    !events.is_empty()
        && facts.count.is_none_or(|count| count == events.len())
        && facts.events.iter().all(told)
}
