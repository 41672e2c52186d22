//! The asking side: a connection to each other member, made when it is first needed, and again when
//! it has broken.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kv_raft::{Member, Network, NodeId, SendError};
use tokio::io::{AsyncWriteExt as _, BufReader, BufWriter};
use tokio::sync::{mpsc, oneshot, watch};

use super::frame::{self, Frame, Hello, Kind, Welcome};
use super::socket::Manner;
use crate::listen::Conn;
use crate::metrics;
use crate::replica::Peers;

/// Requests that wait to be written, for one member.
const AHEAD: usize = 256;
const BUFFER_BYTES: usize = 64 << 10;

/// The way to the other members. Its clones are the same.
#[derive(Clone)]
pub struct Net {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: u64,
    from: NodeId,
    /// How long it may take to connect to a member.
    limit: Duration,
    manner: Manner,
    book: Mutex<Book>,
    links: Mutex<HashMap<NodeId, Arc<Link>>>,
    removed: watch::Sender<bool>,
}

#[derive(Default)]
struct Book {
    members: BTreeMap<NodeId, Member>,
    removed: BTreeSet<NodeId>,
}

/// The connection to one member.
#[derive(Default)]
struct Link {
    /// Held while a connection is made.
    line: tokio::sync::Mutex<Option<Line>>,
}

#[derive(Clone)]
struct Line {
    send: mpsc::Sender<Frame>,
    waiting: Arc<Waiting>,
    url: String,
}

/// Who waits for an answer on a connection.
#[derive(Default)]
struct Waiting {
    next: AtomicU64,
    /// None once the connection is broken.
    places: Mutex<Option<HashMap<u64, oneshot::Sender<Bytes>>>>,
}

impl Net {
    /// For a member of a cluster.
    pub fn new(cluster: u64, from: NodeId, limit: Duration, manner: Manner) -> Self {
        let inner = Inner {
            cluster,
            from,
            limit,
            manner,
            book: Mutex::default(),
            links: Mutex::default(),
            removed: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns when another member has said that this one was removed from the cluster.
    pub async fn removed(&self) {
        let mut removed = self.inner.removed.subscribe();
        if removed.wait_for(|removed| *removed).await.is_err() {
            // The sender lives as long as this does.
            std::future::pending::<()>().await;
        }
    }

    /// Whether a member was removed from the cluster.
    pub fn is_removed(&self, id: NodeId) -> bool {
        lock(&self.inner.book).removed.contains(&id)
    }

    async fn request(
        &self,
        target: NodeId,
        member: &Member,
        kind: Kind,
        body: Bytes,
    ) -> Result<Bytes, SendError> {
        if body.len() > frame::BODY_BYTES as usize {
            return Err(SendError::Broken(format!("{} bytes are too many for one message", body.len())));
        }
        let line = self.line(target, member).await?;
        let (number, answer) = line.waiting.place().ok_or_else(broken)?;
        let _leave = Leave { waiting: &line.waiting, number };
        let (begin, bytes) = (Instant::now(), body.len());
        line.send.send(Frame { kind, number, body }).await.map_err(|_| broken())?;
        metrics::peers::sent(target, bytes);
        let answer = answer.await.map_err(|_| broken())?;
        metrics::peers::received(target, answer.len());
        metrics::peers::answered(target, begin.elapsed());
        Ok(answer)
    }

    async fn line(&self, target: NodeId, member: &Member) -> Result<Line, SendError> {
        // The newest addresses that are known: a request may have waited.
        let urls = lock(&self.inner.book).members.get(&target).unwrap_or(member).urls.clone();
        let link = Arc::clone(lock(&self.inner.links).entry(target).or_default());
        let mut line = link.line.lock().await;
        if let Some(line) = line.as_ref()
            && !line.send.is_closed()
            && urls.contains(&line.url)
        {
            return Ok(line.clone());
        }
        *line = None;
        let made = self.connect(target, &urls).await?;
        *line = Some(made.clone());
        Ok(made)
    }

    async fn connect(&self, target: NodeId, urls: &[String]) -> Result<Line, SendError> {
        let mut last = SendError::Unreachable("it has no address".to_owned());
        for url in urls {
            let made = tokio::time::timeout(self.inner.limit, self.greet(target, url));
            match made.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    let waiting =
                        Arc::new(Waiting { places: Mutex::new(Some(HashMap::new())), ..Waiting::default() });
                    let (send, frames) = mpsc::channel(AHEAD);
                    tokio::spawn(run(stream, frames, Arc::clone(&waiting)));
                    return Ok(Line { send, waiting, url: url.clone() });
                }
                Err(error) => last = SendError::Unreachable(format!("{url}: {error}")),
            }
        }
        Err(last)
    }

    async fn greet(&self, target: NodeId, url: &str) -> io::Result<Conn> {
        let mut stream = self.inner.manner.connect(url).await?;
        let hello = Hello { cluster: self.inner.cluster, from: self.inner.from, to: target };
        hello.write(&mut stream).await?;
        match Welcome::read(&mut stream).await? {
            Welcome::Yes => Ok(stream),
            welcome => {
                if welcome == Welcome::Removed {
                    self.inner.removed.send_replace(true);
                }
                Err(io::Error::other(welcome))
            }
        }
    }
}

impl Network for Net {
    async fn send(&self, target: NodeId, member: &Member, request: Bytes) -> Result<Bytes, SendError> {
        self.request(target, member, Kind::Raft, request).await
    }
}

impl Peers for Net {
    async fn ask(&self, target: NodeId, member: &Member, request: Bytes) -> Result<Bytes, SendError> {
        self.request(target, member, Kind::Ask, request).await
    }

    fn told(&self, members: &BTreeMap<NodeId, Member>, removed: &BTreeSet<NodeId>) {
        *lock(&self.inner.book) = Book { members: members.clone(), removed: removed.clone() };
        lock(&self.inner.links).retain(|id, _| members.contains_key(id));
    }
}

/// Carries frames over a connection until it breaks, or nobody sends any more.
async fn run(stream: Conn, mut frames: mpsc::Receiver<Frame>, waiting: Arc<Waiting>) {
    let (read, write) = tokio::io::split(stream);
    let mut write = BufWriter::with_capacity(BUFFER_BYTES, write);
    let mut read = BufReader::with_capacity(BUFFER_BYTES, read);
    let answers = async {
        while let Ok(answer) = frame::read(&mut read).await {
            waiting.tell(answer);
        }
    };
    let requests = async {
        while let Some(frame) = frames.recv().await {
            frame::write(&frame, &mut write).await?;
            if frames.is_empty() {
                write.flush().await?;
            }
        }
        io::Result::Ok(())
    };
    tokio::select! {
        () = answers => {}
        _ = requests => {}
    }
    drop(frames);
    // All that wait see their end closed.
    lock(&waiting.places).take();
}

fn broken() -> SendError {
    SendError::Broken("the connection broke".to_owned())
}

impl Waiting {
    fn place(&self) -> Option<(u64, oneshot::Receiver<Bytes>)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        lock(&self.places).as_mut()?.insert(number, tell);
        Some((number, told))
    }

    fn tell(&self, answer: Frame) {
        let tell = lock(&self.places).as_mut().and_then(|places| places.remove(&answer.number));
        if let Some(tell) = tell {
            // Whoever asked may have gone.
            let _ = tell.send(answer.body);
        }
    }
}

/// Gives a place back when nobody waits there any more.
struct Leave<'w> {
    waiting: &'w Waiting,
    number: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if let Some(places) = lock(&self.waiting.places).as_mut() {
            places.remove(&self.number);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
