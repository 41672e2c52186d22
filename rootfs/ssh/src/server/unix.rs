//! UNIX sockets that are listened on for a client: `-R PATH:…` and a forwarded agent.
//!
//! A process of the user's listens (`ssh-listen`) and hands the connections over. What comes from
//! it is the user's to choose: such a descriptor is never read, written or accepted on in a way
//! that could block, whatever its owner does to its flags.

use super::connection::{Place, Shared};
use super::forward;
use super::process::{self, Command, Fd, Running};
use russh::server::Handle;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, Shutdown, recv, recvmsg, send, shutdown,
};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a socket may take to be there.
const START_MAX: Duration = Duration::from_secs(5);
/// Bytes read at once.
const CHUNK: usize = 32 << 10;

/// What is listened on.
#[derive(Debug, Clone)]
pub(super) enum Socket {
    /// A path of the client's choice.
    Path(String),
    /// The client's agent.
    Agent,
}

/// A socket that is listened on; gone, with its file, when this is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    stop: Arc<Notify>,
    task: JoinHandle<()>,
    /// Where it is.
    pub path: String,
}

impl Listening {
    pub(super) fn open(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

/// Begins to listen.
///
/// # Errors
/// A sentence: why the socket cannot be had.
pub(super) async fn listen(
    shared: &Arc<Shared>,
    socket: Socket,
    handle: Handle,
) -> Result<Listening, String> {
    let running = start(shared, &socket).map_err(|error| error.to_string())?;
    let first = match running.output() {
        Some(output) => timeout(START_MAX, receive(&output)).await,
        None => return Err("it has no stdout".to_owned()),
    };
    let path = match first {
        Ok(Ok((text, _))) if text.first() == Some(&super::CONNECTED) => {
            String::from_utf8(text[1..].to_vec()).ok()
        }
        _ => None,
    };
    let Some(path) = path else {
        let mut why = vec![0; 512];
        let length = match running.error() {
            Some(error) => timeout(START_MAX, process::read(&error, &mut why)).await,
            None => Ok(Ok(0)),
        };
        why.truncate(length.map_or(0, |length| length.unwrap_or(0)));
        end(&running).await;
        return Err(String::from_utf8_lossy(&why).trim().trim_start_matches("error: ").to_owned());
    };
    let stop = Arc::new(Notify::new());
    let (stopped, shared) = (stop.clone(), shared.clone());
    let task = tokio::spawn(async move {
        tokio::select! {
            () = serve(&shared, &socket, &handle, &running) => {}
            () = stopped.notified() => {}
        }
        end(&running).await;
    });
    Ok(Listening { stop, task, path })
}

fn start(shared: &Shared, socket: &Socket) -> io::Result<Running> {
    let login = shared.login.get().ok_or(io::ErrorKind::PermissionDenied)?;
    let scope = login.scope().ok_or(io::ErrorKind::PermissionDenied)?;
    let mut arguments: Vec<Vec<u8>> = vec!["ssh-listen".into()];
    match socket {
        Socket::Path(path) => arguments.extend(["socket".into(), path.as_bytes().to_vec()]),
        Socket::Agent => arguments.push("agent".into()),
    }
    let command = Command {
        path: &shared.server.program,
        arguments,
        environment: vec![],
        user: &login.user,
        terminal: None,
        passes: true,
    };
    process::start(&command, scope)
}

/// The end of its stdin is the listener's end; one that does not end is killed.
async fn end(running: &Running) {
    running.close();
    if timeout(START_MAX, running.ended()).await.is_err() {
        let _ = sys::process::kill(running.pid, nix::libc::SIGKILL);
        running.ended().await;
    }
    running.reap();
}

async fn serve(shared: &Arc<Shared>, socket: &Socket, handle: &Handle, running: &Running) {
    let Some(output) = running.output() else { return };
    while let Ok((_, Some(connection))) = receive(&output).await {
        let Some(place) = shared.forward_place() else { continue };
        // Only what can be waited for is a connection.
        let Ok(connection) = crate::fd::watch(connection, Interest::READABLE | Interest::WRITABLE) else {
            continue;
        };
        tokio::spawn(relay(shared.clone(), place, socket.clone(), handle.clone(), connection));
    }
}

async fn relay(shared: Arc<Shared>, place: Place, socket: Socket, handle: Handle, connection: Fd) {
    let opened = match socket {
        Socket::Path(path) => handle.channel_open_forwarded_streamlocal(path).await,
        Socket::Agent => handle.channel_open_agent().await,
    };
    let Ok(channel) = opened else { return };
    let id = channel.id();
    let (_, write) = channel.split();
    if let Some(entry) = shared.channel(id) {
        let connection = Arc::new(connection);
        let (taken, to) = (entry.clone(), connection.clone());
        let outward = tokio::spawn(async move {
            while let Some(data) = taken.inbox.next().await {
                if send_all(&to, &data).await.is_err() {
                    break;
                }
            }
            taken.inbox.discard();
            let _ = shutdown(to.get_ref(), Shutdown::Write);
        });
        let inward = async {
            let mut buffer = vec![0; CHUNK];
            while let Ok(length @ 1..) = connection
                .async_io(Interest::READABLE, |fd| Ok(recv(fd, &mut buffer[..], RecvFlags::DONTWAIT)?.0))
                .await
            {
                if write.data_bytes(buffer[..length].to_vec()).await.is_err() {
                    break;
                }
            }
            let _ = write.eof().await;
        };
        forward::both(&entry, outward, inward).await;
    }
    let _ = write.close().await;
    shared.remove(id);
    drop(place);
}

async fn send_all(fd: &Fd, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = fd.async_io(Interest::WRITABLE, |fd| Ok(send(fd, data, flags)?)).await?;
        data = &data[sent..];
    }
    Ok(())
}

/// A message, and the descriptor beside it. An empty message is the end.
async fn receive(fd: &Fd) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    fd.async_io(Interest::READABLE, |fd| {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut message = vec![0; 4 << 10];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = recvmsg(fd, &mut [IoSliceMut::new(&mut message)], &mut beside, flags)?;
        message.truncate(received.bytes);
        let passed = beside.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        Ok((message, passed))
    })
    .await
}
