//! Importing keys: which source next, what became of each.
//!
//! Tried until every source has answered or refused for good. That may be long after the machine is
//! ready: nothing waits for it.

use crate::client::{Client, Failure, Header, Method};
use crate::keyring::Keyring;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cloudconfig::import::{self, Import};
use init::setup::{Imports, SetupError};
use std::time::Duration;

/// Where GitHub's REST API is.
pub const GITHUB: &str = "https://api.github.com";
/// Pause after the first round; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// What became of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not answered yet; why not.
    Waiting(String),
    /// This many keys.
    Done(usize),
    /// Refused; why.
    Failed(String),
}

/// One source of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The user.
    pub user: String,
    /// Where the keys come from.
    pub import: Import,
    /// What became of it.
    pub state: State,
}

/// What to do with what happens.
pub trait Shell {
    /// A line for the journal.
    fn log(&mut self, line: &str);
    /// The row of the status table.
    fn show(&mut self, row: &str);
    /// Waits until the next round.
    fn pause(&mut self, pause: Duration);
}

/// Imports the keys of all users. Gives the jobs, none of them waiting.
///
/// # Errors
/// [`SetupError`] when what is wanted cannot be read, or keys cannot be kept.
pub fn import(
    client: &dyn Client,
    imports: &Imports,
    github: &str,
    shell: &mut dyn Shell,
) -> Result<Vec<Job>, SetupError> {
    let waiting = |(user, import)| Job { user, import, state: State::Waiting("not asked yet".to_owned()) };
    let mut jobs: Vec<Job> = imports.wanted()?.into_iter().map(waiting).collect();
    let mut pause = FIRST_PAUSE;
    loop {
        for at in 0..jobs.len() {
            let state = step(client, imports, github, &jobs, at, shell)?;
            jobs[at].state = state;
        }
        shell.show(&row(&jobs));
        if !jobs.iter().any(|job| matches!(job.state, State::Waiting(_))) {
            return Ok(jobs);
        }
        shell.pause(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks one source, unless it has answered.
fn step(
    client: &dyn Client,
    imports: &Imports,
    github: &str,
    jobs: &[Job],
    at: usize,
    shell: &mut dyn Shell,
) -> Result<State, SetupError> {
    let Job { user, import, state } = &jobs[at];
    let State::Waiting(said) = state else { return Ok(state.clone()) };
    let source = import.to_string();
    let answer = match ask(client, import, github) {
        Ok(answer) => answer,
        Err(Failure::Passing { reason, .. }) => {
            if reason != *said {
                shell.log(&format!("ssh keys of {user}: {source}: {reason}; trying again"));
            }
            return Ok(State::Waiting(reason));
        }
        Err(Failure::Final { reason, .. }) => {
            shell.log(&format!("ssh keys of {user}: {source}: not imported: {reason}"));
            return Ok(State::Failed(reason));
        }
    };
    for why in &answer.refused {
        shell.log(&format!("ssh keys of {user}: {source}: a key is left out: {why}"));
    }
    let sources: Vec<String> =
        jobs.iter().filter(|job| job.user == *user).map(|job| job.import.to_string()).collect();
    let mut ring = Keyring::read(&imports.kept(user)?, &sources);
    let count = answer.keys.len();
    if ring.set(&source, answer.keys) {
        imports.keep(user, &ring.render())?;
    }
    shell.log(&format!("ssh keys of {user}: {source}: {}", keys(count)));
    Ok(State::Done(count))
}

fn keys(count: usize) -> String {
    format!("{count} key{}", if count == 1 { "" } else { "s" })
}

fn ask(client: &dyn Client, import: &Import, github: &str) -> Result<import::Answer, Failure> {
    let (url, user) = match import {
        Import::GitHub(name) => {
            (format!("{}/users/{name}/keys?per_page=100", github.trim_end_matches('/')), None)
        }
        Import::Url(url) => import::split_url(url),
    };
    // RFC 7617; the characters that a URL cannot hold stand for themselves in `%XX`.
    let secret = user.map(|user| STANDARD.encode(unescaped(user)));
    let headers: Vec<Header> =
        secret.into_iter().map(|secret| ("Authorization", format!("Basic {secret}"))).collect();
    let reply = client.ask(Method::Get, &url, &headers)?;
    let status = reply.status;
    match status {
        200 => import::read_answer(&reply.body).map_err(|reason| Failure::Final { url, reason }),
        // 403 is how GitHub says that it was asked too often from one address.
        403 | 408 | 429 | 500..=599 => Err(Failure::Passing { url, reason: format!("status {status}") }),
        _ => Err(Failure::Final { url, reason: format!("status {status}") }),
    }
}

/// Percent-encoding undone (RFC 3986, section 2.1).
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    bytes
}

/// The row of the status table; faults come first.
fn row(jobs: &[Job]) -> String {
    let rank = |job: &&Job| match job.state {
        State::Failed(_) => 0,
        State::Waiting(_) => 1,
        State::Done(_) => 2,
    };
    let mut sorted: Vec<&Job> = jobs.iter().collect();
    sorted.sort_by_key(rank);
    let text = |job: &Job| {
        let Job { user, import, state } = job;
        match state {
            State::Failed(why) => format!("FAILED for {user}, {import}: {why}"),
            State::Waiting(why) => format!("waiting for {user}, {import}: {why}"),
            State::Done(count) => format!("{user}, {import}: {}", keys(*count)),
        }
    };
    sorted.into_iter().map(text).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_begins_with_what_is_wrong() {
        let job = |import: &str, state| Job {
            user: "core".to_owned(),
            import: Import::GitHub(import.to_owned()),
            state,
        };
        let jobs = [
            job("a", State::Done(1)),
            job("b", State::Waiting("no route".to_owned())),
            job("c", State::Failed("status 404".to_owned())),
        ];
        assert_eq!(
            row(&jobs),
            "FAILED for core, github c: status 404; waiting for core, github b: no route; core, github a: 1 key"
        );
        assert_eq!(unescaped("a%3ab%4"), b"a:b%4");
    }
}
