//! The verbs.

mod auth;
mod check;
mod endpoint;
mod keys;
mod lease;
mod lock;
mod member;
mod mirror;
mod role;
mod snapshot;
mod txn;
mod user;
mod watch;

use crate::Done;
use crate::context::Context;
use crate::exit::{BAD_ARGS, ERROR, Exit};
use clap::ArgMatches;
use std::future::Future;
use std::pin::Pin;

type Verb<'a> = Pin<Box<dyn Future<Output = Done> + Send + 'a>>;

/// Runs the verb of a command line.
pub(crate) async fn run(context: &Context, matches: &ArgMatches) -> Done {
    let (name, verb) = matches.subcommand().unwrap_or(("", matches));
    let (inner_name, inner) = verb.subcommand().unwrap_or(("", verb));
    // Boxed one by one, so that their sizes do not add up in one future.
    let done: Verb<'_> = match (name, inner_name) {
        ("get", _) => Box::pin(keys::get(context, verb)),
        ("put", _) => Box::pin(keys::put(context, verb)),
        ("del", _) => Box::pin(keys::del(context, verb)),
        ("compaction", _) => Box::pin(keys::compaction(context, verb)),
        ("txn", _) => Box::pin(txn::run(context, verb)),
        ("watch", _) => Box::pin(watch::run(context, verb)),
        ("lease", verb) => Box::pin(lease::run(context, verb, inner)),
        ("lock", _) => Box::pin(lock::lock(context, verb)),
        ("elect", _) => Box::pin(lock::elect(context, verb)),
        ("member", verb) => Box::pin(member::run(context, verb, inner)),
        ("endpoint", verb) => Box::pin(endpoint::run(context, verb, inner)),
        ("alarm", verb) => Box::pin(endpoint::alarm(context, verb, inner)),
        ("defrag", _) => Box::pin(endpoint::defrag(context, verb)),
        ("move-leader", _) => Box::pin(endpoint::move_leader(context, verb)),
        ("snapshot", verb) => Box::pin(snapshot::run(context, verb, inner)),
        ("make-mirror", _) => Box::pin(mirror::run(context, verb)),
        ("check", _) => Box::pin(check::perf(context, inner)),
        ("user", verb) => Box::pin(user::run(context, verb, inner)),
        ("role", verb) => Box::pin(role::run(context, verb, inner)),
        ("auth", verb) => Box::pin(auth::run(context, verb, inner)),
        ("version", _) => Box::pin(async { version(context) }),
        ("completion", _) => Box::pin(async { completion(context, verb) }),
        (other, _) => {
            Box::pin(async move { Err(Exit::new(ERROR, format!("unknown command {other:?} for \"kvctl\""))) })
        }
    };
    done.await
}

fn version(context: &Context) -> Done {
    context.say(&format!("kvctl version: {}\nAPI version: 3.6", env!("CARGO_PKG_VERSION")))
}

fn completion(context: &Context, matches: &ArgMatches) -> Done {
    let mut script = Vec::new();
    if let Some(shell) = matches.get_one::<clap_complete::Shell>("shell") {
        clap_complete::generate(*shell, &mut crate::command(), "kvctl", &mut script);
    }
    context.write(&script)
}

pub(crate) fn bad_args(text: impl Into<String>) -> Exit {
    Exit::new(BAD_ARGS, text)
}

/// Go's `strconv.ParseInt`, with its words.
pub(crate) fn integer(text: &str, radix: u32) -> Result<i64, String> {
    i64::from_str_radix(text, radix).map_err(|error| number_error("ParseInt", text, &error))
}

/// Go's `strconv.ParseUint`, with its words.
pub(crate) fn unsigned(text: &str, radix: u32) -> Result<u64, String> {
    u64::from_str_radix(text, radix).map_err(|error| number_error("ParseUint", text, &error))
}

fn number_error(function: &str, text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = if matches!(error.kind(), PosOverflow | NegOverflow) {
        "value out of range"
    } else {
        "invalid syntax"
    };
    format!("strconv.{function}: parsing {}: {why}", crate::go::quote(text.as_bytes()))
}
