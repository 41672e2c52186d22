//! One question to the majority for all reads that came meanwhile.

use std::future::Future;
use std::time::Duration;

use kv_api::Fault;
use kv_raft::Runtime;
use tokio::sync::{mpsc, oneshot};

type Tell = oneshot::Sender<Result<(), Fault>>;

/// Where reads wait to be linearizable.
#[derive(Clone, Debug)]
pub struct Barrier {
    queue: mpsc::UnboundedSender<Tell>,
    limit: Duration,
}

impl Barrier {
    /// Asks by `round`, one round at a time. A round serves the reads that came before it began.
    /// No read waits for longer than `limit`.
    pub fn new<R: Runtime, F: Future<Output = Result<(), Fault>> + Send>(
        limit: Duration,
        mut round: impl FnMut() -> F + Send + 'static,
    ) -> Self {
        let (queue, mut reads) = mpsc::unbounded_channel::<Tell>();
        R::spawn(async move {
            let mut served = Vec::new();
            while reads.recv_many(&mut served, usize::MAX).await > 0 {
                let result = round().await;
                for tell in served.drain(..) {
                    // The client may have gone.
                    let _ = tell.send(result);
                }
            }
        });
        Self { queue, limit }
    }

    /// Waits for a round that begins after this call.
    ///
    /// # Errors
    /// The round's; [`Fault::Timeout`]; [`Fault::Stopped`].
    pub async fn pass(&self) -> Result<(), Fault> {
        let (tell, told) = oneshot::channel();
        self.queue.send(tell).map_err(|_| Fault::Stopped)?;
        match tokio::time::timeout(self.limit, told).await {
            Ok(told) => told.unwrap_or(Err(Fault::Stopped)),
            Err(_) => Err(Fault::Timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_raft::Tokio;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn reads_share_a_round_that_began_after_them() {
        let rounds = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&rounds);
        let barrier = Barrier::new::<Tokio, _>(Duration::from_secs(3), move || {
            let round = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if round < 2 { Ok(()) } else { std::future::pending().await }
            }
        });
        let first = tokio::spawn({
            let barrier = barrier.clone();
            async move { barrier.pass().await }
        });
        while rounds.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let (one, two) = tokio::join!(barrier.pass(), barrier.pass());
        assert_eq!((first.await.unwrap(), one, two), (Ok(()), Ok(()), Ok(())));
        assert_eq!(rounds.load(Ordering::Relaxed), 2);
        assert_eq!(barrier.pass().await, Err(Fault::Timeout));
    }
}
