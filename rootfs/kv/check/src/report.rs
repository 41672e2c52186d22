//! What is wrong with a history, in words that are short.

use std::fmt::Write as _;

use crate::history::{Answer, Body, Call, End, History, Item, Operation, Step, Watch};

/// A rule that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// All happened in one order, each operation between its begin and its end.
    OneOrder,
    /// Revisions grow, one a transaction.
    Revisions,
    /// Serializable reads see a state that there was, and never an older one later.
    Serializable,
    /// Watches bring every event once and in order.
    Watch,
    /// Compaction hides what is before it, and nothing else.
    Compaction,
    /// A lease has its time.
    LeaseShort,
    /// A lease ends.
    LeaseLong,
    /// All members have the same state. Not seen in histories: whoever has members checks it.
    SameState,
    /// The store serves again when all is healed. As [`Rule::SameState`].
    ServesAgain,
}

/// A history that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?}: {text}")]
pub struct Violation {
    /// What is broken.
    pub rule: Rule,
    /// How.
    pub text: String,
    /// The operations that show it, by their places in the history.
    pub operations: Vec<usize>,
    /// The watch that shows it.
    pub watch: Option<usize>,
    /// The revision that it is about.
    pub revision: Option<i64>,
}

impl Violation {
    /// One that no operation shows.
    pub fn new(rule: Rule, text: impl Into<String>) -> Self {
        Self { rule, text: text.into(), operations: Vec::new(), watch: None, revision: None }
    }

    /// It is about a revision.
    #[must_use]
    pub fn at(mut self, revision: i64) -> Self {
        self.revision = Some(revision);
        self
    }

    /// Operations show it.
    #[must_use]
    pub fn by(mut self, operations: impl IntoIterator<Item = usize>) -> Self {
        self.operations.extend(operations);
        self
    }

    /// A watch shows it.
    #[must_use]
    pub fn on(mut self, watch: usize) -> Self {
        self.watch = Some(watch);
        self
    }
}

/// Lines of a told history, at most.
const LINES: usize = 24;

impl History {
    /// The part of the history that has to do with a violation, a line for each operation.
    pub fn tell(&self, violation: &Violation) -> String {
        let mut text = format!("{violation}\n");
        let near = |operation: &Operation| {
            let revision = operation.answer().map(|answer| answer.revision);
            violation.revision.zip(revision).is_some_and(|(one, other)| (one - other).abs() <= 2)
        };
        let mut shown: Vec<usize> = violation.operations.clone();
        shown.extend((0..self.operations.len()).filter(|at| near(&self.operations[*at])));
        shown.truncate(LINES);
        shown.sort_unstable_by_key(|at| (self.operations[*at].begin, *at));
        shown.dedup();
        for at in shown {
            let mark = if violation.operations.contains(&at) { '>' } else { ' ' };
            let _ = writeln!(text, "{mark} {}", line(&self.operations[at]));
        }
        if let Some(watch) = violation.watch.and_then(|at| self.watches.get(at)) {
            tell_watch(&mut text, watch, violation.revision);
        }
        text
    }
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(24)]).into_owned()
}

fn step(step: &Step) -> String {
    match step {
        Step::Put { key, value, lease: 0 } => format!("put {} {}", words(key), words(value)),
        Step::Put { key, value, lease } => format!("put {} {} lease {lease:x}", words(key), words(value)),
        Step::Delete(span) => format!("delete {}..{}", words(&span.key), words(&span.end)),
        Step::Get(span) => format!("get {}..{}", words(&span.key), words(&span.end)),
    }
}

fn steps(steps: &[Step]) -> String {
    steps.iter().map(step).collect::<Vec<_>>().join(", ")
}

fn answer(answer: &Answer) -> String {
    let kvs = |kvs: &[crate::Kv]| {
        let kvs = kvs.iter().map(|kv| format!("{}={}@{}", words(&kv.key), words(&kv.value), kv.modified));
        kvs.collect::<Vec<_>>().join(" ")
    };
    let body = match &answer.body {
        Body::Steps { succeeded, given } => {
            let given = given.iter().map(|given| match given {
                crate::Given::Put(prev) => format!("before: {}", kvs(prev.as_slice())),
                crate::Given::Deleted(gone) => format!("gone: {}", kvs(gone)),
                crate::Given::Got(got) => format!("got: {}", kvs(got)),
            });
            format!("{} {}", if *succeeded { "yes" } else { "no" }, given.collect::<Vec<_>>().join("; "))
        }
        Body::Alive(seconds) => format!("{seconds} s"),
        Body::Done => "done".to_owned(),
    };
    format!("revision {}: {body}", answer.revision)
}

/// One operation on one line.
pub fn line(operation: &Operation) -> String {
    let call = match &operation.call {
        Call::Step(one) => step(one),
        Call::Txn(txn) => {
            format!("if {:?} then {} else {}", txn.compare, steps(&txn.then), steps(&txn.otherwise))
        }
        Call::ReadAt(span, revision) => format!("get {} at {revision}", words(&span.key)),
        Call::Compact(revision) => format!("compact {revision}"),
        Call::Grant { lease, seconds } => format!("grant {lease:x} {seconds} s"),
        Call::Revoke(lease) => format!("revoke {lease:x}"),
        Call::KeepAlive(lease) => format!("keep {lease:x} alive"),
    };
    let outcome = match &operation.outcome {
        End::Answered(found) => answer(found),
        End::Refused(why) => format!("refused: {why:?}"),
        End::Unknown => "unknown".to_owned(),
    };
    let serializable = if operation.serializable { " (serializable)" } else { "" };
    format!(
        "{:>9}..{:<9} client {} session {}: {call}{serializable} -> {outcome}",
        operation.begin, operation.end, operation.client, operation.session
    )
}

fn tell_watch(text: &mut String, watch: &Watch, revision: Option<i64>) {
    let _ = writeln!(
        text,
        "  the watch of client {} on {}..{} from {}, asked for at {}:",
        watch.client,
        words(&watch.span.key),
        words(&watch.span.end),
        watch.start,
        watch.begin
    );
    let mut lines = Vec::new();
    for (time, item) in &watch.items {
        match item {
            Item::Events(header, events) => lines.extend(events.iter().map(|event| {
                let what = if event.deleted { "gone" } else { "put" };
                let kv = &event.kv;
                let line = format!("{what} {}={} @{}", words(&kv.key), words(&kv.value), kv.modified);
                (kv.modified, format!("  {time:>9} {line}, header {header}"))
            })),
            Item::Created(at) | Item::Progress(at) | Item::Canceled(at) => {
                lines.push((*at, format!("  {time:>9} {item:?}")));
            }
        }
    }
    let near = revision.map_or(lines.len(), |revision| {
        lines.iter().position(|(at, _)| *at >= revision).unwrap_or(lines.len())
    });
    let first = near.saturating_sub(LINES / 2);
    for (_, line) in lines.iter().skip(first).take(LINES) {
        let _ = writeln!(text, "{line}");
    }
}
