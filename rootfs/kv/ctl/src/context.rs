//! What a verb works with: the flags of all verbs, the client, the outputs.

use crate::exit::{BAD_ARGS, BAD_CONNECTION, ERROR, Exit};
use crate::globals::{Format, Globals, user};
use bytes::Bytes;
use clap::ArgMatches;
use kv_client::{Client, Error, Settings};
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal as _, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::{Mutex, PoisonError};
use tokio::sync::OnceCell;

/// Where the outputs go.
pub struct Outputs {
    /// Data.
    pub out: Box<dyn Write + Send>,
    /// All else.
    pub err: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Outputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outputs")
    }
}

pub(crate) struct Context {
    pub(crate) args: Vec<OsString>,
    pub(crate) variables: Vec<(OsString, OsString)>,
    pub(crate) globals: Globals,
    outputs: Mutex<Outputs>,
    client: OnceCell<Client>,
}

impl Context {
    pub(crate) fn new(
        args: Vec<OsString>,
        matches: &ArgMatches,
        variables: Vec<(OsString, OsString)>,
        mut outputs: Outputs,
    ) -> Result<Self, (Exit, Box<dyn Write + Send>)> {
        let mut deepest = matches;
        while let Some((_, inner)) = deepest.subcommand() {
            deepest = inner;
        }
        match Globals::read(deepest, &variables) {
            Ok(globals) => {
                for note in &globals.notes {
                    // There is nowhere left to complain.
                    let _closed = writeln!(outputs.err, "{note}");
                }
                Ok(Self { args, variables, globals, outputs: Mutex::new(outputs), client: OnceCell::new() })
            }
            Err(exit) => Err((exit, outputs.err)),
        }
    }

    /// The client, as the user; made at the first use.
    pub(crate) async fn client(&self) -> Result<&Client, Exit> {
        self.client
            .get_or_try_init(|| async {
                let client = Client::new(self.settings().await?)?;
                if client.settings().user.is_some() {
                    client.log_in().await.map_err(|error| Exit::of(BAD_CONNECTION, &error))?;
                }
                Ok(client)
            })
            .await
    }

    /// The client's settings, with the password asked for where it was not given.
    pub(crate) async fn settings(&self) -> Result<Settings, Exit> {
        let mut settings = self.globals.settings.clone();
        if let Some((name, password)) = self.globals.user.clone() {
            let password = match password {
                Some(password) => password,
                None => self.password("Password: ").await.map_err(|exit| Exit { code: ERROR, ..exit })?,
            };
            settings.user = Some(user(name, password));
        }
        Ok(settings)
    }

    pub(crate) fn format(&self) -> Format {
        self.globals.format
    }

    /// Writes to standard output.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Exit> {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let written = outputs.out.write_all(bytes).and_then(|()| outputs.out.flush());
        written.map_err(|error| Exit::new(ERROR, format!("cannot write to standard output: {error}")))
    }

    pub(crate) fn say(&self, line: &str) -> Result<(), Exit> {
        self.write(format!("{line}\n").as_bytes())
    }

    /// Writes a line to standard error.
    pub(crate) fn note(&self, line: &str) {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        // There is nowhere left to complain.
        let _closed = writeln!(outputs.err, "{line}").and_then(|()| outputs.err.flush());
    }

    pub(crate) fn tell(&self, exit: &Exit) -> u8 {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        exit.tell(&mut outputs.err)
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// Asks for a password without showing it; from what is no terminal, reads a line.
    pub(crate) async fn password(&self, prompt: &str) -> Result<String, Exit> {
        self.write(prompt.as_bytes())?;
        let read = tokio::task::spawn_blocking(hidden_line).await;
        let read = read.map_err(std::io::Error::other).and_then(|read| read);
        self.say("")?;
        read.map_err(|error| Exit::new(BAD_ARGS, format!("failed to ask password: {error}")))
    }
}

fn hidden_line() -> std::io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let input = std::io::stdin();
    let shown = if input.is_terminal() { Some(tcgetattr(&input)?) } else { None };
    if let Some(shown) = &shown {
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Flush, &hidden)?;
    }
    let mut line = String::new();
    let read = input.read_line(&mut line);
    if let Some(shown) = &shown {
        tcsetattr(&input, OptionalActions::Flush, shown)?;
    }
    if read? == 0 {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A verb's arguments as bytes: keys and values need not be text.
pub(crate) fn arguments(matches: &ArgMatches) -> Vec<Bytes> {
    let args = matches.get_many::<OsString>("args").into_iter().flatten();
    args.map(|arg| Bytes::from(arg.clone().into_vec())).collect()
}

/// An argument that is text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One for a program that is to be run.
pub(crate) fn os(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

/// A request through [`Client::call`] on one of the generated services.
macro_rules! ask {
    ($client:expr, $repeat:ident, $service:ty, $method:ident, $request:expr) => {
        $client
            .call(kv_client::Repeat::$repeat, $request, |channel, request| async move {
                <$service>::new(channel)
                    .max_decoding_message_size(kv_client::MESSAGE_MAX)
                    .$method(request)
                    .await
            })
            .await
    };
}
pub(crate) use ask;

/// Whether an error is this refusal.
pub(crate) fn is(error: &Error, fault: kv_client::api::Fault) -> bool {
    error.fault() == Some(fault)
}
