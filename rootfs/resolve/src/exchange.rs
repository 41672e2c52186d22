//! One question to one server: UDP from a fresh port each time (RFC 5452), TCP when the answer
//! does not fit.

use crate::wire::{self, NotTheAnswer, Question};
use hickory_proto::op::Message;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Packets that are not the answer and are passed over before we give up: whoever guesses ids has
/// so many tries.
const STRANGERS_MAX: usize = 32;
/// A UDP packet larger than what we said we take is cut off, and so asked for over TCP.
const PACKET_MAX: usize = 4096;

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The socket's.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// Too many packets that are not the answer.
    #[error("{STRANGERS_MAX} packets that do not belong to the question: somebody guesses")]
    Strangers,
    /// Over TCP, something else than the answer.
    #[error("what it sends {0}")]
    Message(#[from] NotTheAnswer),
    /// Over TLS: the certificate, or what is spoken.
    #[error("{0}")]
    Tls(String),
    /// The name cannot be written.
    #[error(transparent)]
    Question(#[from] hickory_proto::ProtoError),
}

/// An answer, and its bytes as they came.
pub type Answered = (Message, Vec<u8>);

/// Asks one server, with `patience` for UDP and the same again for TCP.
///
/// # Errors
/// See [`ExchangeError`].
pub async fn ask(
    server: SocketAddr,
    question: &Question,
    edns: bool,
    patience: Duration,
) -> Result<Answered, ExchangeError> {
    let id = u16::from_ne_bytes(sys::random::bytes()?);
    let query = wire::query(question, id, edns)?;
    let late = |_| ExchangeError::Late(patience);
    if let Some(answered) =
        timeout(patience, over_udp(server, &query, question, id)).await.map_err(late)??
    {
        return Ok(answered);
    }
    timeout(patience, over_tcp(server, &query, question, id)).await.map_err(late)?
}

/// `None` when TCP must be asked.
async fn over_udp(
    server: SocketAddr,
    query: &[u8],
    question: &Question,
    id: u16,
) -> Result<Option<Answered>, ExchangeError> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    };
    let socket = UdpSocket::bind(any).await?;
    // Connected: other senders' packets never reach us, and a closed port is an error at once.
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut packet = vec![0; PACKET_MAX];
    for _ in 0..STRANGERS_MAX {
        let length = socket.recv(&mut packet).await?;
        match wire::answer(&packet[..length], question, id) {
            Ok(message) if message.truncation => return Ok(None),
            Ok(message) => return Ok(Some((message, packet[..length].to_vec()))),
            Err(NotTheAnswer::Malformed) => return Ok(None),
            Err(NotTheAnswer::Other) => {}
        }
    }
    Err(ExchangeError::Strangers)
}

async fn over_tcp(
    server: SocketAddr,
    query: &[u8],
    question: &Question,
    id: u16,
) -> Result<Answered, ExchangeError> {
    let mut stream = TcpStream::connect(server).await?;
    write_message(&mut stream, query).await?;
    let packet = read_message(&mut stream).await?;
    Ok((wire::answer(&packet, question, id)?, packet))
}

/// Writes a message with its length before it (RFC 1035 section 4.2.2).
pub(crate) async fn write_message(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length =
        u16::try_from(message.len()).map_err(|_| io::Error::other("the message is too long for TCP"))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await?;
    stream.flush().await
}

/// Reads such a message. Memory grows with what comes, not with what is announced.
pub(crate) async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = Vec::new();
    stream.take(length.into()).read_to_end(&mut message).await?;
    if message.len() < usize::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(message)
}
