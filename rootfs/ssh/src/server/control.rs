//! What `loginctl` asks the server: to end sessions. To list them nobody need be asked.

use super::Server;
use crate::cgroup;
use serde::{Deserialize, Serialize};
use service::call::{self, Caller};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The socket, below the root.
pub const SOCKET: &str = "run/slipway/sessions.sock";

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Ends a session and its connection.
    Terminate {
        /// Its number.
        session: u64,
    },
    /// Ends all sessions of a user.
    TerminateUser {
        /// User.
        uid: u32,
    },
    /// Sends a signal to the processes of a session.
    Kill {
        /// Its number.
        session: u64,
        /// The signal's number.
        signal: i32,
        /// Only to the first process.
        leader: bool,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done, for so many sessions.
    Done(usize),
    /// There is no such session, or no session of such a user.
    NoSuch,
    /// Neither the user nor one who administers the machine: what to say.
    Denied(String),
    /// It failed.
    Failed(String),
}

/// Listens and answers in a thread of its own.
pub(super) fn start(server: &Arc<Server>, root: &Path) -> io::Result<()> {
    let listener = call::listen(&root.join(SOCKET), 0o666)?;
    let server = server.clone();
    std::thread::Builder::new().name("control".to_owned()).stack_size(128 << 10).spawn(move || {
        if let Err(error) = call::serve(&listener, |caller, question| answer(&server, &caller, &question)) {
            server.log(&format!("loginctl is no longer answered: {error}"));
        }
    })?;
    Ok(())
}

fn answer(server: &Server, caller: &Caller, question: &Question) -> Answer {
    let wanted = |number: u64, uid: u32| match question {
        Question::Terminate { session } | Question::Kill { session, .. } => *session == number,
        Question::TerminateUser { uid: wanted } => *wanted == uid,
    };
    let mut found = Vec::new();
    for (connection, live) in server.live().iter() {
        if let Some(login) =
            live.shared.login.get().filter(|login| wanted(login.number, login.user.account.uid))
        {
            found.push((*connection, login.clone()));
        }
    }
    if found.is_empty() {
        return Answer::NoSuch;
    }
    let foreign = found.iter().any(|(_, login)| login.user.account.uid != caller.uid);
    if foreign && let Err(why) = caller.allow("touch sessions of others") {
        return Answer::Denied(why);
    }
    for (connection, login) in &found {
        match question {
            Question::Kill { signal, leader, .. } => {
                let path = server.cgroups.join(cgroup::scope_path(login.user.account.uid, login.number));
                let processes = match cgroup::processes(&path) {
                    Ok(processes) => processes,
                    Err(error) => return Answer::Failed(error.to_string()),
                };
                let leading = login.leader();
                for pid in processes.into_iter().filter(|pid| !leader || leading == Some(*pid)) {
                    match sys::process::kill(pid, *signal) {
                        Err(error) if error.raw_os_error() != Some(nix::libc::ESRCH) => {
                            return Answer::Failed(error.to_string());
                        }
                        _ => {}
                    }
                }
            }
            _ => server.hang_up(*connection),
        }
    }
    Answer::Done(found.len())
}
