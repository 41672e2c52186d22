//! Who the members are: what one that joins asks of any of them.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::frame::{self, Frame, Hello, Kind, Welcome};
use super::socket;

/// How long the question may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The members of a cluster.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Roster {
    /// The cluster's id.
    #[prost(uint64, tag = "1")]
    pub cluster: u64,
    /// Its members.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Entry>,
}

/// One of them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its peer addresses.
    #[prost(string, repeated, tag = "2")]
    pub urls: Vec<String>,
    /// Its name; empty before its first start.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// Asks the member at an address.
///
/// # Errors
/// The connection's; `TimedOut`; `InvalidData` for an answer that is none.
pub async fn ask(url: &str) -> io::Result<Roster> {
    let asked = async {
        let mut stream = socket::connect(url).await?;
        Hello::default().write(&mut stream).await?;
        let welcome = Welcome::read(&mut stream).await?;
        if welcome != Welcome::Yes {
            return Err(io::Error::other(welcome));
        }
        let request = Frame { kind: Kind::Roster, number: 0, body: Bytes::new() };
        frame::write(&request, &mut stream).await?;
        tokio::io::AsyncWriteExt::flush(&mut stream).await?;
        let answer = frame::read(&mut stream).await?;
        Roster::decode(answer.body).map_err(io::Error::other)
    };
    tokio::time::timeout(LIMIT, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
