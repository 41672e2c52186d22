//! A session channel: its process, from start to end.

use super::connection::{Entry, Place, Shared};
use super::process::{self, Command, End, Running};
use crate::start::{self, Start, Wish};
use russh::server::Handle;
use russh::{ChannelId, Sig};
use std::path::Path;
use std::sync::Arc;

/// Bytes read from a program at once; russh packs them into as large packets as the client takes.
const CHUNK: usize = 32 << 10;
/// The code of a command that could not be run at all (ssh(1), "EXIT STATUS").
const FAILED: u32 = 255;

/// Starts what the client wishes, in the background.
pub(super) fn start(
    shared: &Arc<Shared>,
    id: ChannelId,
    entry: &Arc<Entry>,
    wish: &Wish,
    handle: Handle,
) -> Result<(), String> {
    let login = shared.login.get().ok_or("nobody is logged in")?.clone();
    let scope = login.scope().ok_or("there is no cgroup")?;
    let server = &shared.server;
    let most = server.config.sessions;
    let place = Place::take(shared, |shared| &shared.sessions, most).ok_or("too many processes")?;
    let (terminal, sent, agent) = {
        let mut wishes = entry.wishes();
        if wishes.started {
            return Err("one channel runs one program".to_owned());
        }
        wishes.started = true;
        (wishes.terminal.clone(), std::mem::take(&mut wishes.environment), wishes.agent.take())
    };
    let account = &login.user.account;
    let executable = |path: &str| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    let start = start::decide(account, login.grant.command.as_deref(), wish, executable);
    let mut environment = vec![
        ("USER".to_owned(), account.name.clone()),
        ("LOGNAME".to_owned(), account.name.clone()),
        ("HOME".to_owned(), account.home.clone()),
        ("SHELL".to_owned(), account.shell.clone()),
        ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("XDG_SESSION_ID".to_owned(), login.number.to_string()),
    ];
    let (peer, local) = (shared.peer, shared.local);
    let from = format!("{} {}", peer.ip().to_canonical(), peer.port());
    environment.push(("SSH_CLIENT".to_owned(), format!("{from} {}", local.port())));
    environment.push((
        "SSH_CONNECTION".to_owned(),
        format!("{from} {} {}", local.ip().to_canonical(), local.port()),
    ));
    // What the client sends never replaces what is set here; what the key's line says does.
    let known =
        |name: &String, environment: &[(String, String)]| environment.iter().any(|(known, _)| known == name);
    if let Some(terminal) = &terminal {
        environment.push(("TERM".to_owned(), terminal.term.clone()));
    }
    if let Some(path) = agent {
        environment.push(("SSH_AUTH_SOCK".to_owned(), path));
    }
    for (name, value) in sent {
        if !known(&name, &environment) {
            environment.push((name, value));
        }
    }
    if let (Some(_), Wish::Exec(line)) = (&login.grant.command, wish) {
        environment
            .push(("SSH_ORIGINAL_COMMAND".to_owned(), String::from_utf8_lossy(line).replace('\0', "")));
    }
    for (name, value) in &login.grant.environment {
        environment.retain(|(known, _)| known != name);
        environment.push((name.clone(), value.clone()));
    }
    let (path, arguments) = match start {
        Start::Program { path, arguments } => (path.into(), arguments),
        Start::Applet { called, arguments } => {
            (server.program.clone(), [vec![called.into()], arguments].concat())
        }
        Start::Refused => {
            let line = "This account is currently not available.\r\n";
            tokio::spawn(refuse(shared.clone(), id, entry.clone(), handle, line));
            return Ok(());
        }
    };
    let command = Command {
        path: Path::new(&path),
        arguments,
        environment,
        user: &login.user,
        terminal: terminal.as_ref(),
        passes: false,
    };
    let running = Arc::new(process::start(&command, scope).map_err(|error| error.to_string())?);
    login.tell(server, running.pid, running.tty.as_deref());
    let _ = entry.running.set(running.clone());
    tokio::spawn(run(shared.clone(), id, entry.clone(), running, handle, place));
    Ok(())
}

async fn refuse(shared: Arc<Shared>, id: ChannelId, entry: Arc<Entry>, handle: Handle, line: &'static str) {
    let tell = async {
        if let Some(write) = &entry.write {
            let _ = write.extended_data_bytes(1, line.as_bytes()).await;
        }
        let _ = handle.exit_status_request(id, 1).await;
    };
    tokio::select! {
        () = tell => {}
        () = entry.closed.notified() => {}
    }
    let _ = handle.close(id).await;
    shared.remove(id);
}

async fn run(
    shared: Arc<Shared>,
    id: ChannelId,
    entry: Arc<Entry>,
    running: Arc<Running>,
    handle: Handle,
    place: Place,
) {
    let input = tokio::spawn(feed(entry.clone(), running.clone()));
    let whole = async {
        if let Err(why) = running.executed().await
            && let Some(write) = &entry.write
        {
            let _ = write
                .extended_data_bytes(1, format!("cannot start the program: {why}\r\n").into_bytes())
                .await;
            running.ended().await;
            return End::Code(FAILED);
        }
        if running.tty.is_some() {
            // A terminal ends with the program: what stays behind in the background is hung up on.
            let end = tokio::select! {
                end = running.ended() => end,
                () = drain(&entry, running.output(), None) => running.ended().await,
            };
            rest(&entry, &running).await;
            end
        } else {
            let (output, error) = (running.output(), running.error());
            tokio::join!(running.ended(), drain(&entry, output, None), drain(&entry, error, Some(1))).0
        }
    };
    let end = tokio::select! {
        end = whole => Some(end),
        () = entry.closed.notified() => None,
    };
    input.abort();
    match end {
        Some(End::Code(code)) => {
            let _ = handle.exit_status_request(id, code).await;
        }
        Some(End::Signal(number, core)) => {
            let _ =
                handle.exit_signal_request(id, signal_name(number), core, String::new(), String::new()).await;
        }
        None => entry.signal(nix::libc::SIGHUP),
    }
    if end.is_some() {
        let _ = handle.eof(id).await;
        let _ = handle.close(id).await;
        shared.remove(id);
    }
    running.close();
    if end.is_none() {
        running.ended().await;
    }
    running.reap();
    drop(place);
}

/// The client's bytes, to the program.
async fn feed(entry: Arc<Entry>, running: Arc<Running>) {
    let terminal = running.tty.is_some();
    while let Some(data) = entry.inbox.next().await {
        let Some(input) = running.input() else { break };
        if process::write(&input, &data).await.is_err() {
            break;
        }
    }
    entry.inbox.discard();
    // The program's end of file. A terminal has none: whoever is at it types it.
    if !terminal {
        running.close_input();
    }
}

/// The program's bytes, to the client, until there are no more.
async fn drain(entry: &Entry, fd: Option<Arc<process::Fd>>, extended: Option<u32>) {
    let Some(fd) = fd else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = process::read(&fd, &mut buffer).await {
        if send(entry, &buffer[..length], extended).await.is_err() {
            break;
        }
    }
}

/// What a terminal still holds when its program has ended.
async fn rest(entry: &Entry, running: &Running) {
    let Some(output) = running.output() else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = process::read_now(output.get_ref(), &mut buffer) {
        if send(entry, &buffer[..length], None).await.is_err() {
            break;
        }
    }
}

async fn send(entry: &Entry, data: &[u8], extended: Option<u32>) -> Result<(), russh::Error> {
    match (&entry.write, extended) {
        (Some(write), None) => write.data_bytes(data.to_vec()).await,
        (Some(write), Some(kind)) => write.extended_data_bytes(kind, data.to_vec()).await,
        (None, _) => Err(russh::Error::Disconnect),
    }
}

/// The signals of RFC 4254, section 6.10, by number.
fn names() -> [(i32, Sig); 13] {
    use nix::libc;
    [
        (libc::SIGABRT, Sig::ABRT),
        (libc::SIGALRM, Sig::ALRM),
        (libc::SIGFPE, Sig::FPE),
        (libc::SIGHUP, Sig::HUP),
        (libc::SIGILL, Sig::ILL),
        (libc::SIGINT, Sig::INT),
        (libc::SIGKILL, Sig::KILL),
        (libc::SIGPIPE, Sig::PIPE),
        (libc::SIGQUIT, Sig::QUIT),
        (libc::SIGSEGV, Sig::SEGV),
        (libc::SIGTERM, Sig::TERM),
        (libc::SIGUSR1, Sig::USR1),
        (libc::SIGUSR2, Sig::Custom("USR2".to_owned())),
    ]
}

fn signal_name(number: i32) -> Sig {
    let known = names().into_iter().find(|(known, _)| *known == number).map(|(_, name)| name);
    known.unwrap_or_else(|| Sig::Custom(format!("SIG{number}@slipway")))
}

/// The number of a signal that a client sends.
pub(super) fn signal_number(signal: &Sig) -> Option<i32> {
    names()
        .into_iter()
        .find(|(_, name)| format!("{name:?}") == format!("{signal:?}"))
        .map(|(number, _)| number)
}
