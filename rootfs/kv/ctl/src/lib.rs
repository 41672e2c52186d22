//! `etcdctl`'s verbs of v3 on the store's own client: the same flags, variables, outputs, exit
//! codes and error texts, so that scripts that were written for it run as they are.
//!
//! The library writes only to the [`Outputs`] that it is given and never ends the process:
//! another program can carry it under another name. Standard input is the process's own.
//! Left out are the verbs that work on a member's files while it is stopped: those are the
//! server's.

mod cli;
mod context;
mod exit;
mod globals;
mod go;
mod print;
mod verbs;

pub use cli::command;
pub use context::Outputs;
pub use exit::{BAD_ARGS, BAD_CONNECTION, BAD_FEATURE, ERROR, INTERRUPTED, INVALID_INPUT};

use context::Context;
use exit::Exit;
use std::ffi::OsString;
use std::io::Write as _;

/// Runs one command line, whose first word is the program's own name, and gives the exit code.
pub async fn run<A, V>(args: A, variables: V, outputs: Outputs) -> u8
where
    A: IntoIterator<Item = OsString>,
    V: IntoIterator<Item = (OsString, OsString)>,
{
    let args: Vec<OsString> = args.into_iter().collect();
    let Outputs { mut out, mut err } = outputs;
    let matches = match command().try_get_matches_from(&args) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            // Whoever reads no more has seen enough.
            let _closed = write!(out, "{error}").and_then(|()| out.flush());
            return 0;
        }
        Err(error) => return exit::usage(&error).tell(&mut err),
    };
    let context = match Context::new(args, &matches, variables.into_iter().collect(), Outputs { out, err }) {
        Ok(context) => context,
        Err((exit, mut err)) => return exit.tell(&mut err),
    };
    match verbs::run(&context, &matches).await {
        Ok(()) => 0,
        Err(exit) => context.tell(&exit),
    }
}

/// What a verb ends with.
type Done = Result<(), Exit>;
