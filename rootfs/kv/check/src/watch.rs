//! The rule of watches: what comes is what happened, all of it, once and in order.

use crate::history::{Event, History, Item, Time, Watch};
use crate::order::Chronicle;
use crate::reads::may_be_compacted;
use crate::report::{Rule, Violation};

/// Checks all watches against what happened.
pub fn check(history: &History, chronicle: &Chronicle) -> Result<(), Violation> {
    for (at, watch) in history.watches.iter().enumerate() {
        one(history, chronicle, watch).map_err(|violation| violation.on(at))?;
    }
    Ok(())
}

fn one(history: &History, chronicle: &Chronicle, watch: &Watch) -> Result<(), Violation> {
    let broken = |text: String, revision: i64| Err(Violation::new(Rule::Watch, text).at(revision));
    // The first revision that has not come.
    let mut next = None;
    let mut canceled = false;
    for (time, item) in &watch.items {
        let about = match item {
            Item::Created(at) | Item::Progress(at) | Item::Canceled(at) | Item::Events(at, _) => *at,
        };
        if canceled {
            return broken("something came after the watch had ended".to_owned(), about);
        }
        match (item, next) {
            (Item::Created(revision), None) => {
                next = Some(if watch.start > 0 { watch.start } else { revision + 1 });
            }
            (Item::Canceled(0), _) => canceled = true,
            (Item::Created(_), Some(_)) | (_, None) => {
                return broken("a watch must begin with its creation, and once".to_owned(), about);
            }
            (Item::Events(header, events), Some(from)) => {
                next = Some(told(history, chronicle, watch, *time, *header, from, events)?);
            }
            (Item::Progress(revision), Some(from)) => {
                if let Some(event) = expected(chronicle, watch, from).find(|e| e.kv.modified <= *revision) {
                    let missed = event.kv.modified;
                    return broken(
                        format!("all up to {revision} is said to have come, but {missed} has not"),
                        missed,
                    );
                }
                next = Some(from.max(revision + 1));
            }
            (Item::Canceled(compacted), Some(from)) => {
                canceled = true;
                if !may_be_compacted(history, *time, |revision| revision == *compacted) {
                    return Err(Violation::new(
                        Rule::Compaction,
                        format!("a watch ended by the compaction of {compacted}, which nobody asked for"),
                    )
                    .at(*compacted));
                }
                if *compacted <= from {
                    return Err(Violation::new(
                        Rule::Compaction,
                        format!(
                            "a watch that was to go on from {from} ended by the compaction of {compacted}"
                        ),
                    )
                    .at(*compacted));
                }
            }
        }
    }
    match next {
        Some(from) if watch.settled && !canceled => match expected(chronicle, watch, from).next() {
            Some(event) => broken(format!("revision {} never came", event.kv.modified), event.kv.modified),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Events that are to come from a revision on.
fn expected<'c>(
    chronicle: &'c Chronicle,
    watch: &'c Watch,
    from: i64,
) -> impl Iterator<Item = &'c Event> + 'c {
    // The first entry is revision 2.
    let skipped = usize::try_from(from - 2).unwrap_or(0).min(chronicle.entries.len());
    let events = chronicle.entries[skipped..].iter().flat_map(|entry| &entry.events);
    events.filter(|event| watch.span.has(&event.kv.key))
}

/// Checks the events of one answer; gives the revision that is next.
fn told(
    history: &History,
    chronicle: &Chronicle,
    watch: &Watch,
    time: Time,
    header: i64,
    from: i64,
    events: &[Event],
) -> Result<i64, Violation> {
    let mut expected = expected(chronicle, watch, from);
    let mut next = from;
    for event in events {
        let revision = event.kv.modified;
        let broken = |text: String| Err(Violation::new(Rule::Watch, text).at(revision));
        if revision > header {
            return broken(format!("an event of revision {revision} came under the header of {header}"));
        }
        if revision < from {
            return broken(format!(
                "revision {revision} came though {from} was to come: again, or too early"
            ));
        }
        let Some(wanted) = expected.next() else {
            return broken(format!("{event:?} came, and never happened"));
        };
        if wanted.kv.modified < revision {
            return broken(format!("{} was missed, {revision} came instead", wanted.kv.modified));
        }
        if (event.deleted, &event.kv) != (wanted.deleted, &wanted.kv) {
            return broken(format!("{event:?} came instead of {wanted:?}"));
        }
        if event.prev != wanted.prev {
            let hidden = may_be_compacted(history, time, |compacted| compacted > revision - 1);
            if event.prev.is_some() || !hidden {
                return broken(format!(
                    "{:?} is said to have been there before, and was {:?}",
                    event.prev, wanted.prev
                ));
            }
        }
        next = revision + 1;
    }
    if let Some(rest) = expected.next().filter(|rest| rest.kv.modified < next) {
        let revision = rest.kv.modified;
        return Err(Violation::new(Rule::Watch, format!("revision {revision} came in parts")).at(revision));
    }
    Ok(next)
}
