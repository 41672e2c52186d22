//! What goes over a connection between members (docs/FORMATS.md, "Between the store's members").

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The first bytes from who connects: what it speaks, and in which version.
pub const MAGIC: [u8; 8] = *b"kvpeer1\n";
/// The longest body: a message of Raft with one entry of the largest size, and some more.
pub const BODY_BYTES: u32 = 8 << 20;
const HEAD_BYTES: usize = 17;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A message of Raft, or its answer.
    Raft = 1,
    /// A question to the leader, or its answer.
    Ask = 2,
    /// Who the members are.
    Roster = 3,
}

/// One request, or the answer with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the body is.
    pub kind: Kind,
    /// The request's number on this connection.
    pub number: u64,
    /// The bytes.
    pub body: Bytes,
}

/// Who connects, and to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The cluster; 0 for one that only asks who the members are.
    pub cluster: u64,
    /// The member that connects; 0 as above.
    pub from: u64,
    /// The member that is wanted; 0 as above.
    pub to: u64,
}

/// What the other side says to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Welcome {
    /// It listens.
    #[error("welcome")]
    Yes = 0,
    /// It is of another cluster.
    #[error("it is a member of another cluster")]
    OtherCluster = 1,
    /// It is another member.
    #[error("it is another member: has its address changed?")]
    OtherMember = 2,
    /// Who connects was removed from the cluster.
    #[error("this member was removed from the cluster")]
    Removed = 3,
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Hello {
    /// Sends it.
    ///
    /// # Errors
    /// The connection's.
    pub async fn write(self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(MAGIC);
        for number in [self.cluster, self.from, self.to] {
            bytes.extend(number.to_be_bytes());
        }
        to.write_all(&bytes).await?;
        to.flush().await
    }

    /// Reads it.
    ///
    /// # Errors
    /// The connection's, and `InvalidData` for one who speaks something else.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut magic = [0; 8];
        from.read_exact(&mut magic).await?;
        if magic != MAGIC {
            return Err(invalid("the other side is no member of a store".to_owned()));
        }
        Ok(Self { cluster: from.read_u64().await?, from: from.read_u64().await?, to: from.read_u64().await? })
    }
}

impl Welcome {
    /// Sends it.
    ///
    /// # Errors
    /// The connection's.
    pub async fn write(self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        to.write_all(&[self as u8]).await?;
        to.flush().await
    }

    /// Reads it.
    ///
    /// # Errors
    /// The connection's, and `InvalidData` for an answer that is none.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        match from.read_u8().await? {
            0 => Ok(Self::Yes),
            1 => Ok(Self::OtherCluster),
            2 => Ok(Self::OtherMember),
            3 => Ok(Self::Removed),
            other => Err(invalid(format!("a member answers {other} to a greeting"))),
        }
    }
}

/// Sends a frame; whoever sends the last one flushes.
///
/// # Errors
/// The connection's.
pub async fn write(frame: &Frame, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&(frame.body.len() as u32).to_be_bytes());
    head[4] = frame.kind as u8;
    head[5..13].copy_from_slice(&frame.number.to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[..13]), &frame.body);
    head[13..].copy_from_slice(&crc.to_be_bytes());
    to.write_all(&head).await?;
    to.write_all(&frame.body).await
}

/// Reads a frame, and no more bytes than its bound.
///
/// # Errors
/// The connection's, and `InvalidData` for bytes that are no frame.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head).await?;
    let (mut length, mut number, mut crc) = ([0; 4], [0; 8], [0; 4]);
    length.copy_from_slice(&head[..4]);
    number.copy_from_slice(&head[5..13]);
    crc.copy_from_slice(&head[13..]);
    let length = u32::from_be_bytes(length);
    if length > BODY_BYTES {
        return Err(invalid(format!("a frame of {length} bytes, of {BODY_BYTES} at most")));
    }
    let kind = match head[4] {
        1 => Kind::Raft,
        2 => Kind::Ask,
        3 => Kind::Roster,
        other => return Err(invalid(format!("a frame of kind {other}, which this version does not know"))),
    };
    // Room for what comes, not for what is announced.
    let mut body = BytesMut::with_capacity((length as usize).min(64 << 10));
    let mut part = from.take(u64::from(length));
    while part.read_buf(&mut body).await? > 0 {}
    if body.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if crc32c::crc32c_append(crc32c::crc32c(&head[..13]), &body) != u32::from_be_bytes(crc) {
        return Err(invalid("a frame arrived damaged".to_owned()));
    }
    Ok(Frame { kind, number: u64::from_be_bytes(number), body: body.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bytes(frame: &Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(frame, &mut bytes).await.unwrap();
        bytes
    }

    fn frame() -> Frame {
        Frame { kind: Kind::Ask, number: 7, body: Bytes::from_static(b"body") }
    }

    #[tokio::test]
    async fn frames_and_greetings_arrive_as_they_were() {
        for body in [Bytes::new(), Bytes::from(vec![7; 300_000])] {
            let frame = Frame { body, ..frame() };
            assert_eq!(read(&mut bytes(&frame).await.as_slice()).await.unwrap(), frame);
        }
        let hello = Hello { cluster: 1, from: 2, to: 3 };
        let mut bytes = Vec::new();
        hello.write(&mut bytes).await.unwrap();
        assert_eq!(Hello::read(&mut bytes.as_slice()).await.unwrap(), hello);
    }

    #[tokio::test]
    async fn every_flipped_bit_is_refused() {
        let good = bytes(&frame()).await;
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&mut bad.as_slice()).await.is_err(), "bit {bit}");
        }
        assert!(read(&mut &good[..good.len() - 1]).await.is_err());
    }
}
