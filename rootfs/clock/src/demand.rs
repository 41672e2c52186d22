//! A small service on demand: PID 1 starts it for a question, and it ends when nobody asks.

use crate::identity::Invalid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service::call::{CallError, ask, listen, serve_until_idle};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long it stays for the next question.
const IDLE: Duration = Duration::from_secs(10);

/// Why something was not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub why: String,
    /// What to try.
    pub hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: None }
    }

    pub(crate) fn with_hint(why: impl Into<String>, hint: &str) -> Self {
        Self { why: why.into(), hint: Some(hint.to_owned()) }
    }
}

impl From<Invalid> for Refusal {
    fn from(error: Invalid) -> Self {
        Self::new(error.to_string())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

/// Asks the service of `unit` at `socket`.
///
/// # Errors
/// It refuses, or does not answer.
pub(crate) fn wish(socket: &str, unit: &str, request: &impl Serialize) -> Result<(), Refusal> {
    let answer: Result<Result<(), Refusal>, CallError> = ask(Path::new(socket), request);
    answer.unwrap_or_else(|error| {
        Err(Refusal::with_hint(error.to_string(), &format!("systemctl status {unit}")))
    })
}

/// The service `name`: carries out the wishes of those who may `what` on the socket that PID 1
/// passes, or on one of its own at `socket`. Exit code: 0 nobody asks any more, 1 failed, 2 usage.
pub(crate) fn main<Q: DeserializeOwned>(
    name: &str,
    socket: &str,
    arguments: &[String],
    what: &str,
    mut carry_out: impl FnMut(Q) -> Result<(), Refusal>,
) -> u8 {
    if !arguments.is_empty() {
        eprintln!(
            "error: {name} takes no arguments\nhint: PID 1 starts it when somebody connects to {socket}"
        );
        return 2;
    }
    let mut serve = || -> io::Result<()> {
        let listener = match service::activation::descriptors().into_iter().next() {
            Some((_, passed)) => passed.into(),
            None => listen(Path::new(socket), 0o666)?,
        };
        service::notify::notify("READY=1")?;
        serve_until_idle(&listener, IDLE, |caller, question| {
            caller.allow(what).map_err(Refusal::new)?;
            carry_out(question)
        })
    };
    match serve() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {socket}: {error}");
            1
        }
    }
}
