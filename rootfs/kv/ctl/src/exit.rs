//! How it ends: etcdctl's exit codes and `Error:` lines (etcd `etcdctl/ctlv3/command/error.go`).

use clap::error::{ContextKind, ContextValue, ErrorKind};
use kv_client::Error;
use std::io::Write;

/// The server refused, or did not answer.
pub const ERROR: u8 = 1;
/// No connection as this user.
pub const BAD_CONNECTION: u8 = 2;
/// What was read cannot be understood.
pub const INVALID_INPUT: u8 = 3;
/// A flag's value that there is not.
pub const BAD_FEATURE: u8 = 4;
/// The server ended it.
pub const INTERRUPTED: u8 = 5;
/// Wrong arguments.
pub const BAD_ARGS: u8 = 128;

/// An end that is not a success.
#[derive(Debug, Clone)]
pub(crate) struct Exit {
    pub(crate) code: u8,
    /// `None`: all has been said.
    pub(crate) text: Option<String>,
    pub(crate) hint: Option<String>,
}

impl Exit {
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: Some(text.into()), hint: None }
    }

    pub(crate) fn silent(code: u8) -> Self {
        Self { code, text: None, hint: None }
    }

    pub(crate) fn of(code: u8, error: &Error) -> Self {
        Self { code, text: Some(text(error)), hint: hint(error) }
    }

    pub(crate) fn tell(&self, err: &mut dyn Write) -> u8 {
        let lines = self.text.iter().map(|text| format!("Error: {text}\n"));
        let lines: String = lines.chain(self.hint.iter().map(|hint| format!("hint: {hint}\n"))).collect();
        // There is nowhere left to complain.
        let _closed = err.write_all(lines.as_bytes()).and_then(|()| err.flush());
        self.code
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NoEndpoint
            | Error::BadEndpoint { .. }
            | Error::Plaintext(_)
            | Error::File { .. }
            | Error::Tls(_) => BAD_ARGS,
            _ => ERROR,
        };
        Self::of(code, &error)
    }
}

/// What etcd's client does not answer in time.
const TIMED_OUT: &str = "context deadline exceeded";

/// An error as etcd's client words it.
pub(crate) fn text(error: &Error) -> String {
    match error {
        Error::Status(status) => format!("rpc error: code = {:?} desc = {}", status.code(), status.message()),
        Error::Unavailable(why) | Error::Unknown(why) => {
            if why.starts_with("etcdserver: ") {
                why.clone()
            } else {
                TIMED_OUT.to_owned()
            }
        }
        Error::Compacted(_) => kv_client::api::Fault::Compacted.text().to_owned(),
        Error::WatchCancelled(why) => why.clone(),
        other => other.to_string(),
    }
}

fn hint(error: &Error) -> Option<String> {
    match error {
        Error::Unavailable(why) => Some(format!("nothing was changed: {why}")),
        Error::Unknown(why) => Some(format!("it may have been done: {why}")),
        _ => None,
    }
}

/// An error of the system in Go's words: `open /no/such: no such file or directory`.
pub(crate) fn system(doing: &str, path: &std::path::Path, error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_lowercase).collect();
    format!("{doing} {}: {first}{}", path.display(), letters.as_str())
}

/// What the command line's parser refused, in cobra's words where it has some.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let text = match (error.kind(), context(ContextKind::InvalidArg), context(ContextKind::InvalidSubcommand))
    {
        (ErrorKind::UnknownArgument, Some(flag), _) if flag.starts_with("--") => {
            format!("unknown flag: {flag}")
        }
        (ErrorKind::UnknownArgument, Some(flag), _) => format!("unknown shorthand flag: {flag}"),
        (ErrorKind::ValueValidation, Some(flag), _) => {
            let flag = flag.split(' ').next().unwrap_or_default();
            let given = context(ContextKind::InvalidValue).unwrap_or_default();
            format!("invalid argument {given:?} for \"{flag}\" flag: invalid syntax")
        }
        (ErrorKind::InvalidSubcommand, _, Some(name)) => format!("unknown command {name:?} for \"kvctl\""),
        _ => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            text.lines().take_while(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" ")
        }
    };
    Exit { code: ERROR, text: Some(text), hint: Some("kvctl --help says what there is".to_owned()) }
}
