//! The answering side.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kv_raft::Tokio;
use prost::Message as _;
use tokio::io::{AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::frame::{self, Frame, Hello, Kind, Welcome};
use super::net::Net;
use super::roster::{Entry, Roster};
use super::socket;
use crate::listen::{Listener, Tls};
use crate::metrics;
use crate::replica::{Replica, known};

/// Connections at a time; a cluster needs one from each other member.
const CONNECTIONS: usize = 256;
/// How long a greeting may take.
const GREETING: Duration = Duration::from_secs(5);
/// Bytes of requests that are being answered for one connection; more is not read meanwhile.
const UNDER_WAY_BYTES: u32 = 32 << 20;
/// What a request counts for at least: so many are bounded, too.
const REQUEST_BYTES: u32 = 4 << 10;
/// Answers that wait to be written.
const AHEAD: usize = 256;
const BUFFER_BYTES: usize = 64 << 10;

/// Who answers.
#[derive(Clone, Debug)]
pub struct Host {
    /// The cluster's id.
    pub cluster: u64,
    /// The member.
    pub replica: Replica<Tokio, Net>,
}

/// Answers members on a listener; returns never.
pub async fn serve(listener: Listener, host: Host) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Nobody closes it.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.socket.accept().await {
            Ok((stream, _)) => {
                let (host, tls) = (host.clone(), listener.tls.clone());
                tokio::spawn(async move {
                    // Whoever connected sees it end; it connects again if it is a member.
                    let _ = connection(stream, tls.as_deref(), &host).await;
                    drop(place);
                });
            }
            // No file descriptors, most likely: they come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<&Tls>, host: &Host) -> io::Result<()> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let greeted = async {
        let mut stream = socket::accept(stream, tls).await?;
        let hello = Hello::read(&mut stream).await?;
        let welcome = host.welcome(hello);
        welcome.write(&mut stream).await?;
        Ok::<_, io::Error>((stream, hello, welcome))
    };
    let (stream, hello, welcome) = tokio::time::timeout(GREETING, greeted).await.map_err(late)??;
    if welcome != Welcome::Yes {
        return Ok(());
    }
    let (read, write) = tokio::io::split(stream);
    let mut read = BufReader::with_capacity(BUFFER_BYTES, read);
    let (answer, mut answers) = mpsc::channel::<Frame>(AHEAD);
    let writing = async {
        let mut write = BufWriter::with_capacity(BUFFER_BYTES, write);
        while let Some(frame) = answers.recv().await {
            frame::write(&frame, &mut write).await?;
            if answers.is_empty() {
                write.flush().await?;
            }
        }
        Ok(())
    };
    let room = Arc::new(Semaphore::new(UNDER_WAY_BYTES as usize));
    let reading = async {
        loop {
            let request = if hello.from == 0 {
                tokio::time::timeout(GREETING, frame::read(&mut read)).await.map_err(late)??
            } else {
                frame::read(&mut read).await?
            };
            // A stranger learns who the members are, and nothing else; one that was removed, nothing.
            let is_open = request.kind == Kind::Roster;
            if (hello.from == 0 && !is_open) || host.replica.peers().is_removed(hello.from) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let bytes = (request.body.len() as u32).clamp(REQUEST_BYTES, UNDER_WAY_BYTES);
            let Ok(place) = Arc::clone(&room).acquire_many_owned(bytes).await else { return Ok(()) };
            let (host, answer) = (host.clone(), answer.clone());
            tokio::spawn(async move {
                if hello.from != 0 {
                    metrics::peers::received(hello.from, request.body.len());
                }
                let body = host.answer(request.kind, request.body).await;
                if hello.from != 0 {
                    metrics::peers::sent(hello.from, body.len());
                }
                // The connection may have gone.
                let _ = answer.send(Frame { kind: request.kind, number: request.number, body }).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    }
}

impl Host {
    fn welcome(&self, hello: Hello) -> Welcome {
        if hello == Hello::default() {
            return Welcome::Yes;
        }
        if hello.cluster != self.cluster {
            return Welcome::OtherCluster;
        }
        if hello.to != self.replica.raft().id() {
            return Welcome::OtherMember;
        }
        if self.replica.peers().is_removed(hello.from) { Welcome::Removed } else { Welcome::Yes }
    }

    async fn answer(&self, kind: Kind, body: Bytes) -> Bytes {
        match kind {
            Kind::Raft => self.replica.handle(body).await,
            Kind::Ask => self.replica.answer(body).await,
            Kind::Roster => self.roster().encode_to_vec().into(),
        }
    }

    fn roster(&self) -> Roster {
        let status = self.replica.raft().status();
        let view = self.replica.applying().lock().shared().source.view();
        // Without names the members are told as well.
        let known = view.map_err(crate::error::Error::from).and_then(|view| known(&view)).unwrap_or_default();
        let entry = |(id, member): (&u64, &kv_raft::Member)| {
            let published = known.get(id).and_then(|known| known.published.as_ref());
            let name = published.map(|published| published.name.clone()).unwrap_or_default();
            Entry { id: *id, urls: member.urls.clone(), name }
        };
        Roster { cluster: self.cluster, members: status.members.iter().map(entry).collect() }
    }
}
