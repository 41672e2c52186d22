//! Who waits for which command to be applied here. A command carries the number that its proposer
//! gave it; the member that knows the number answers whoever asked, all others pass over it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kv_core::Reply;
use tokio::sync::oneshot;

type Places = HashMap<u64, oneshot::Sender<Reply>>;

/// The proposals of this process that are under way.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// This process, by chance: its numbers are its own, before and after a restart.
    life: u64,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    places: Places,
}

/// One proposal; it is forgotten when this goes.
#[derive(Debug)]
pub struct Ticket {
    waiting: Waiting,
    number: u64,
    reply: oneshot::Receiver<Reply>,
}

impl Waiting {
    /// Nobody waits yet. `life` must be another one in each process.
    pub fn new(life: u64) -> Self {
        Self { life, inner: Arc::default() }
    }

    /// A place for the reply to one command.
    pub fn ticket(&self) -> Ticket {
        let (tell, reply) = oneshot::channel();
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.places.insert(number, tell);
        Ticket { waiting: self.clone(), number, reply }
    }

    /// Gives replies to those who wait for them.
    pub fn tell(&self, replies: impl IntoIterator<Item = (Bytes, Reply)>) {
        let mut inner = self.lock();
        for (id, reply) in replies {
            let tell = self.number(&id).and_then(|number| inner.places.remove(&number));
            if let Some(tell) = tell {
                // Whoever waited may have gone.
                let _ = tell.send(reply);
            }
        }
    }

    fn number(&self, id: &[u8]) -> Option<u64> {
        let (life, number) = id.split_first_chunk()?;
        (u64::from_be_bytes(*life) == self.life).then_some(())?;
        Some(u64::from_be_bytes(number.try_into().ok()?))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// What the command carries.
    pub fn id(&self) -> Bytes {
        [self.waiting.life.to_be_bytes(), self.number.to_be_bytes()].concat().into()
    }

    /// The reply, once the command is applied here; `None` when this member can apply no more.
    pub async fn reply(&mut self) -> Option<Reply> {
        (&mut self.reply).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.lock().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(revision: i64) -> Reply {
        Reply { revision, result: Ok(kv_core::Outcome::Done) }
    }

    #[tokio::test]
    async fn a_reply_finds_who_asked_in_this_life() {
        let (here, before) = (Waiting::new(1), Waiting::new(2));
        let (mut first, mut second, other) = (here.ticket(), here.ticket(), before.ticket());
        here.tell([(other.id(), reply(9)), (second.id(), reply(2)), (first.id(), reply(1))]);
        assert_eq!(first.reply().await, Some(reply(1)));
        assert_eq!(second.reply().await, Some(reply(2)));
        drop(other);
        assert!(before.lock().places.is_empty());
        here.tell([(Bytes::new(), reply(3)), (Bytes::from_static(b"short"), reply(3))]);
    }
}
