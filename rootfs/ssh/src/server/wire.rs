//! What comes from a client: the bytes of its channels on their way to programs and sockets, and
//! how a client is slowed down whose bytes nobody takes.
//!
//! russh gives a channel new window when data arrives, not when somebody has taken it, and when a
//! channel's queue is full it stops the whole connection. With a program that writes before it
//! reads on, that ends in a standstill: nothing is read because the queue is full, the queue stays
//! full because the program waits to write, and the program waits because the client's window for
//! it arrives behind what is not read. So the queues here take everything, and three things keep
//! them short:
//!
//! - While a connection's queues hold more than [`SOFT`], new windows are two bytes long.
//! - Behind each of the two-byte packets that follow, its socket is left alone for a while, which
//!   grows as long as nothing is taken: else both sides would do nothing but exchange those. What
//!   comes beside the data (windows for the other direction, other channels) comes through.
//! - A client that sends beyond its windows until [`HARD`] is cut off.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

/// A channel's window when all is well, in bytes.
pub(super) const WINDOW: u32 = 1 << 20;
/// The smallest window from which russh still goes on: it gives new window below half of it.
const SMALL_WINDOW: u32 = 2;
/// Bytes in a connection's queues from which it is slowed down.
const SOFT: usize = 1 << 20;
/// Bytes in a connection's queues at which it is cut off. Every channel may have a window under way
/// when slowing down begins.
const HARD: usize = 64 << 20;
/// A packet's data that is no longer than this, under pressure, is one of a small window.
const SMALL_DATA: usize = 64;
/// How long a connection is not read after such a packet.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// What a connection's queues hold.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    held: AtomicUsize,
    /// How often something was taken out.
    taken: AtomicU64,
    /// A small packet came under pressure.
    small: AtomicBool,
}

impl Pressure {
    fn high(&self) -> bool {
        self.held.load(Ordering::Relaxed) > SOFT
    }

    /// The next window.
    pub(super) fn window(&self) -> u32 {
        if self.high() { SMALL_WINDOW } else { WINDOW }
    }
}

/// The client ignores its windows.
#[derive(Debug)]
pub(super) struct Overflow;

/// One channel's bytes on their way to a program.
#[derive(Debug)]
pub(super) struct Inbox {
    pressure: Arc<Pressure>,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    ended: bool,
}

impl Inbox {
    pub(super) fn new(pressure: Arc<Pressure>) -> Self {
        Self { pressure, state: Mutex::default(), news: Notify::new() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts bytes in; after the end they are dropped.
    pub(super) fn push(&self, data: &[u8]) -> Result<(), Overflow> {
        let mut state = self.state();
        if state.ended || data.is_empty() {
            return Ok(());
        }
        if self.pressure.held.fetch_add(data.len(), Ordering::Relaxed) + data.len() > HARD {
            self.pressure.held.fetch_sub(data.len(), Ordering::Relaxed);
            return Err(Overflow);
        }
        if self.pressure.high() && data.len() <= SMALL_DATA {
            self.pressure.small.store(true, Ordering::Relaxed);
        }
        // Many small packets must not cost more than their bytes.
        match state.queue.back_mut() {
            Some(last) if last.len() + data.len() <= 32 << 10 => last.extend_from_slice(data),
            _ => state.queue.push_back(data.to_vec()),
        }
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// Nothing follows; what is there is still taken out.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.news.notify_one();
    }

    /// Nobody wants anything more.
    pub(super) fn discard(&self) {
        let mut state = self.state();
        state.ended = true;
        let held: usize = state.queue.drain(..).map(|data| data.len()).sum();
        self.pressure.held.fetch_sub(held, Ordering::Relaxed);
        self.pressure.taken.fetch_add(1, Ordering::Relaxed);
        drop(state);
        self.news.notify_one();
    }

    /// Takes bytes out; `None` at the end. One taker at a time.
    pub(super) async fn next(&self) -> Option<Vec<u8>> {
        loop {
            {
                let mut state = self.state();
                if let Some(data) = state.queue.pop_front() {
                    self.pressure.held.fetch_sub(data.len(), Ordering::Relaxed);
                    self.pressure.taken.fetch_add(1, Ordering::Relaxed);
                    return Some(data);
                }
                if state.ended {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.discard();
    }
}

/// A client's socket, left alone now and then while its connection is under pressure.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    pressure: Arc<Pressure>,
    pause: Duration,
    taken: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) fn new(socket: TcpStream, pressure: Arc<Pressure>) -> Self {
        Self { socket, pressure, pause: PAUSES.0, taken: 0, sleep: None }
    }

    /// Waits out a pause, if one is due.
    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.sleep.is_none() && self.pressure.small.swap(false, Ordering::Relaxed) {
            let taken = self.pressure.taken.load(Ordering::Relaxed);
            self.pause = if taken == self.taken { (self.pause * 2).min(PAUSES.1) } else { PAUSES.0 };
            self.taken = taken;
            self.sleep = Some(Box::pin(sleep(self.pause)));
        }
        if let Some(sleep) = &mut self.sleep {
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.poll_pause(context).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn windows_shrink_under_pressure_and_grow_again() {
        let pressure = Arc::new(Pressure::default());
        let inbox = Inbox::new(pressure.clone());
        inbox.push(&vec![1; SOFT]).unwrap();
        assert_eq!(pressure.window(), WINDOW);
        inbox.push(&[2]).unwrap();
        assert_eq!(pressure.window(), SMALL_WINDOW);
        assert_eq!(inbox.next().await.unwrap().len(), SOFT);
        assert_eq!(pressure.window(), WINDOW);
        inbox.end();
        inbox.push(&[3]).unwrap();
        assert_eq!(inbox.next().await, Some(vec![2]));
        assert_eq!(inbox.next().await, None);
        assert_eq!(pressure.held.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn there_is_an_end_to_what_is_held() {
        let pressure = Arc::new(Pressure::default());
        let inbox = Inbox::new(pressure.clone());
        let other = Inbox::new(pressure.clone());
        let block = vec![0; 1 << 20];
        let taken = (0..100).take_while(|_| inbox.push(&block).is_ok()).count();
        assert_eq!(taken, HARD >> 20);
        assert!(other.push(&[1]).is_err(), "the bound is the connection's");
        inbox.discard();
        other.push(&[1]).unwrap();
        drop(other);
        assert_eq!(pressure.held.load(Ordering::Relaxed), 0);
    }
}
