//! A way to a member's peer address that can be cut: from then on nothing comes through, and nothing is
//! said about that, as when a cable is pulled. What was under way is lost.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way to one member.
pub struct Proxy {
    /// Where it is entered.
    pub address: SocketAddr,
    cut: watch::Sender<bool>,
}

impl Proxy {
    /// A way to `target`.
    pub async fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(carry(from, target, cuts.clone()));
            }
        });
        Self { address, cut }
    }

    /// Nothing comes through any more.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// It does again, on connections that are made from now on.
    pub fn heal(&self) {
        self.cut.send_replace(false);
    }
}

async fn carry(mut from: TcpStream, target: SocketAddr, mut cut: watch::Receiver<bool>) {
    let healed = |cut: &bool| !*cut;
    // A connection that is made meanwhile waits, and then is lost.
    if *cut.borrow() {
        let _ = cut.wait_for(healed).await;
        return;
    }
    let carried = async {
        let Ok(mut to) = TcpStream::connect(target).await else { return };
        // Either end may go at any time.
        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
    };
    let mut until = cut.clone();
    tokio::select! {
        () = carried => return,
        _ = until.wait_for(|cut| *cut) => {}
    }
    let _ = cut.wait_for(healed).await;
}
