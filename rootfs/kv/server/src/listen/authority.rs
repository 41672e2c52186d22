//! What etcd's own clients send as `:authority`. Those up to 3.5 say the endpoint as it was
//! given to them, with its scheme (`http://127.0.0.1:2379`); etcd takes no notice, but h2 refuses
//! the whole request (RFC 9113, 8.3.1, is on its side, and it has no setting). So the scheme's
//! `://` is changed into letters of a host name here, before h2 sees it. Nobody looks at the name.
//!
//! The header is compressed (RFC 7541). A table that both ends keep must not change its size, so
//! what is put in place has as many letters, and as many bits in Huffman's code: `x--`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// What HTTP/2 begins with (RFC 9113, 3.4); anything else is left alone.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
/// The longest frame of headers that is looked into; the server allows no longer ones.
const FRAME_BYTES: usize = 16 << 10;
const READ_BYTES: usize = 8 << 10;

/// A literal `:authority`, to be kept in the table, not to be kept, and never to be (RFC 7541, 6.2).
const LITERALS: [u8; 3] = [0x41, 0x01, 0x11];
/// A beginning of a value, and what is put in its place: of the last byte the bits of a mask.
struct Change {
    huffman: bool,
    old: &'static [u8],
    new: &'static [u8],
    mask: u8,
}

/// `http://` and `https://`, plain and in Huffman's code (RFC 7541, appendix B).
const CHANGES: [Change; 4] = [
    Change {
        huffman: true,
        old: &[0x9d, 0x29, 0xae, 0xe3, 0x0c],
        new: &[0x9d, 0x29, 0xaf, 0xca, 0xcb],
        mask: 0xff,
    },
    Change {
        huffman: true,
        old: &[0x9d, 0x29, 0xad, 0x17, 0x18, 0x60],
        new: &[0x9d, 0x29, 0xad, 0x1e, 0x56, 0x58],
        mask: 0xfc,
    },
    Change { huffman: false, old: b"http://", new: b"httpx--", mask: 0xff },
    Change { huffman: false, old: b"https://", new: b"httpsx--", mask: 0xff },
];

impl Change {
    /// Makes it, if the value begins so.
    fn make(&self, value: &mut [u8]) -> bool {
        let Some((last, first)) = value.get_mut(..self.old.len()).and_then(|begin| begin.split_last_mut())
        else {
            return false;
        };
        let (Some((old_last, old_first)), Some((new_last, new_first))) =
            (self.old.split_last(), self.new.split_last())
        else {
            return false;
        };
        let is_so = first == old_first && *last & self.mask == *old_last;
        if is_so {
            first.copy_from_slice(new_first);
            *last = *last & !self.mask | new_last;
        }
        is_so
    }
}

/// A connection whose client may say its endpoint as it likes.
#[derive(Debug)]
pub(super) struct Lenient<C> {
    inner: C,
    state: State,
    raw: BytesMut,
    out: BytesMut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not known yet.
    Preface,
    /// Between frames, or so many bytes before.
    Frames(usize),
    /// Not HTTP/2.
    Other,
}

impl<C> Lenient<C> {
    pub fn new(inner: C) -> Self {
        Self { inner, state: State::Preface, raw: BytesMut::new(), out: BytesMut::new() }
    }

    /// Moves what can be passed on.
    fn sort(&mut self) {
        loop {
            match self.state {
                State::Other => return self.out.unsplit(self.raw.split()),
                State::Preface => {
                    let known = self.raw.len().min(PREFACE.len());
                    if self.raw[..known] != PREFACE[..known] {
                        self.state = State::Other;
                    } else if known == PREFACE.len() {
                        self.out.unsplit(self.raw.split_to(known));
                        self.state = State::Frames(0);
                    } else {
                        return;
                    }
                }
                State::Frames(0) => {
                    let Some(&[a, b, c, kind]) = self.raw.first_chunk() else { return };
                    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                    let is_looked_into = matches!(kind, HEADERS | CONTINUATION) && length <= FRAME_BYTES;
                    if !is_looked_into {
                        self.state = State::Frames(HEAD_BYTES + length);
                    } else if self.raw.len() >= HEAD_BYTES + length {
                        let mut frame = self.raw.split_to(HEAD_BYTES + length);
                        change(&mut frame[HEAD_BYTES..]);
                        self.out.unsplit(frame);
                    } else {
                        return;
                    }
                }
                State::Frames(more) => {
                    let part = more.min(self.raw.len());
                    if part == 0 {
                        return;
                    }
                    self.out.unsplit(self.raw.split_to(part));
                    self.state = State::Frames(more - part);
                }
            }
        }
    }
}

/// Changes the scheme in an authority, if there is one.
fn change(headers: &mut [u8]) {
    for at in 0..headers.len() {
        if !LITERALS.contains(&headers[at]) {
            continue;
        }
        let Some((head, value)) = headers[at + 1..].split_first_mut() else { return };
        let huffman = *head & 0x80 != 0;
        let length = usize::from(*head & 0x7f).min(value.len());
        if CHANGES.iter().any(|change| change.huffman == huffman && change.make(&mut value[..length])) {
            return;
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Lenient<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.out.is_empty() {
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut read))?;
            this.raw.extend_from_slice(read.filled());
            if read.filled().is_empty() {
                // Whoever reads on sees that it ends in the midst of something.
                this.out.unsplit(this.raw.split());
                break;
            }
            this.sort();
        }
        let part = this.out.len().min(buffer.remaining());
        buffer.put_slice(&this.out[..part]);
        this.out.advance(part);
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Lenient<C> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

impl<C: Connected> Connected for Lenient<C> {
    type ConnectInfo = C::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, 4, 0, 0, 0, 1], payload].concat()
    }

    /// A header block with an authority that was put into Huffman's code by hand, or is plain.
    fn block(huffman: bool, value: &[u8]) -> Vec<u8> {
        let length = value.len() as u8 | if huffman { 0x80 } else { 0 };
        [&[0x83, 0x86, 0x41, length], value, &[0x0f, 0x0d, 0x01, b'5']].concat()
    }

    /// What comes out, whatever the pieces are that it comes in.
    async fn passed(stream: &[u8]) -> Vec<u8> {
        let mut all: Option<Vec<u8>> = None;
        for piece in [1, 2, 7, 100, stream.len().max(1)] {
            let (mut far, near) = tokio::io::duplex(piece);
            let sent = stream.to_vec();
            let sending = tokio::spawn(async move {
                tokio::io::AsyncWriteExt::write_all(&mut far, &sent).await.unwrap();
            });
            let mut came = Vec::new();
            Lenient::new(near).read_to_end(&mut came).await.unwrap();
            sending.await.unwrap();
            assert!(all.as_ref().is_none_or(|all| *all == came), "in pieces of {piece}");
            all = Some(came);
        }
        all.unwrap()
    }

    #[tokio::test]
    async fn a_scheme_becomes_letters_of_a_name() {
        // `http://1` and `https://1`, with the code's padding.
        let coded = [
            (&[0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x0f][..], &[0x9d, 0x29, 0xaf, 0xca, 0xcb, 0x0f][..]),
            (
                &[0x9d, 0x29, 0xad, 0x17, 0x18, 0x60, 0x7f][..],
                &[0x9d, 0x29, 0xad, 0x1e, 0x56, 0x58, 0x7f][..],
            ),
        ];
        let stream = |value: &dyn Fn(usize) -> Vec<u8>| {
            let data = block(false, b"http://in-data:1");
            [PREFACE.to_vec(), frame(4, &[]), value(0), frame(0, &data), value(1), frame(0, &data)].concat()
        };
        let sent = stream(&|at| frame(1, &block(true, coded[at].0)));
        assert_eq!(passed(&sent).await, stream(&|at| frame(1, &block(true, coded[at].1))));
        let plain = [(&b"http://a:1"[..], &b"httpx--a:1"[..]), (&b"https://a:1"[..], &b"httpsx--a:1"[..])];
        let sent = stream(&|at| frame(9, &block(false, plain[at].0)));
        assert_eq!(passed(&sent).await, stream(&|at| frame(9, &block(false, plain[at].1))));
    }

    #[tokio::test]
    async fn all_else_is_as_it_was() {
        let good = block(false, b"127.0.0.1:2379");
        let short = block(true, &[0x9d, 0x29]);
        let long = vec![0x41; FRAME_BYTES + 1];
        let whole = [PREFACE, &frame(1, &good), &frame(1, &short), &frame(1, &long), &frame(0, &[])].concat();
        for stream in [
            whole.clone(),
            whole[..whole.len() - 3].to_vec(),
            PREFACE[..10].to_vec(),
            b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(passed(&stream).await, stream);
        }
    }
}
