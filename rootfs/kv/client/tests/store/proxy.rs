//! A proxy in front of a server that breaks connections when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What to lose.
#[derive(Debug, Clone, Copy)]
pub enum Drop {
    /// The server's next bytes, and the connection with them.
    NextAnswer,
}

pub struct Proxy {
    pub endpoint: String,
    state: Arc<State>,
    /// Counts the breaks: each connection ends at the next one.
    breaks: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    refuse: AtomicBool,
    lose_answer: AtomicBool,
}

impl Proxy {
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let (breaks, _) = watch::channel(0);
        let proxy = Self { endpoint, state: Arc::default(), breaks };
        let (state, breaks, server) = (proxy.state.clone(), proxy.breaks.clone(), server.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if state.refuse.load(Ordering::SeqCst) {
                    continue;
                }
                // A server that is not there is a connection that ends at once.
                if let Ok(server) = TcpStream::connect(&server).await {
                    tokio::spawn(carry(client, server, state.clone(), breaks.subscribe()));
                }
            }
        });
        proxy
    }

    /// Ends all connections; new ones are taken.
    pub fn break_all(&self) {
        self.breaks.send_modify(|breaks| *breaks += 1);
    }

    /// Ends all connections, and new ones at once.
    pub fn refuse(&self) {
        self.state.refuse.store(true, Ordering::SeqCst);
        self.break_all();
    }

    /// Takes connections again.
    pub fn allow(&self) {
        self.state.refuse.store(false, Ordering::SeqCst);
    }

    pub fn lose(&self, what: Drop) {
        match what {
            Drop::NextAnswer => self.state.lose_answer.store(true, Ordering::SeqCst),
        }
    }
}

async fn carry(client: TcpStream, server: TcpStream, state: Arc<State>, mut breaks: watch::Receiver<u64>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = copy(from_client, to_server, None) => {}
        () = copy(from_server, to_client, Some(&state)) => {}
        _ = breaks.changed() => {}
    }
}

/// Up to an end, an error, or an answer that is to be lost.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: Option<&State>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                // Frames of the connection itself (acknowledged settings, pings, window updates)
                // are passed on: the answer has headers, frame type 1 (RFC 9113, 6.2).
                let answers = state.filter(|_| has_headers(&buffer[..length]));
                if answers.is_some_and(|state| state.lose_answer.swap(false, Ordering::SeqCst)) {
                    return;
                }
                if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Whether one of these HTTP/2 frames is of the type HEADERS; they begin with a frame.
fn has_headers(mut bytes: &[u8]) -> bool {
    while let [a, b, c, kind, ..] = bytes {
        if *kind == 1 {
            return true;
        }
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        bytes = bytes.get(9 + length..).unwrap_or_default();
    }
    false
}
