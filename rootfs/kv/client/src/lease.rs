//! Leases, and the task that keeps one alive.

use crate::call::bounded;
use crate::{Client, Error, Repeat};
use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use kv_api::etcdserverpb::lease_client::LeaseClient;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

fn lease(channel: Channel) -> LeaseClient<Channel> {
    bounded(LeaseClient::new(channel))
}

/// What is known of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It lives for sure until then, by this machine's clock.
    Until(Instant),
    /// It has expired or was revoked, or it can no longer be said that it was not.
    Lost,
}

/// A task that keeps a lease alive; it ends when this is dropped, and the lease after its time.
#[derive(Debug)]
pub struct KeepAlive {
    id: i64,
    life: watch::Receiver<Life>,
    answers: mpsc::Receiver<pb::LeaseKeepAliveResponse>,
    task: JoinHandle<()>,
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeepAlive {
    /// Of which lease.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// What is known of it now.
    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// Waits until it is lost.
    pub async fn lost(&self) {
        let mut life = self.life.clone();
        // An error means that the task has ended, which it does only after the loss.
        let _ended = life.wait_for(|life| *life == Life::Lost).await;
    }

    /// The next answer of the server; `None`: the lease is lost. Answers that nobody takes
    /// are thrown away.
    pub async fn answer(&mut self) -> Option<pb::LeaseKeepAliveResponse> {
        self.answers.recv().await
    }
}

impl Client {
    /// Grants a lease for `ttl_s` seconds; `id` 0: the server chooses.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn grant(&self, ttl_s: i64, id: i64) -> Result<pb::LeaseGrantResponse, Error> {
        let request = pb::LeaseGrantRequest { ttl: ttl_s, id };
        // One that nobody knows of ends by itself; one with a chosen id is refused twice.
        let repeat = if id == 0 { Repeat::Always } else { Repeat::IfNotApplied };
        self.call(
            repeat,
            request,
            |channel, request| async move { lease(channel).lease_grant(request).await },
        )
        .await
    }

    /// Ends a lease, and the keys on it.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn revoke(&self, id: i64) -> Result<pb::LeaseRevokeResponse, Error> {
        let request = pb::LeaseRevokeRequest { id };
        let repeat = Repeat::IfNotApplied;
        self.call(
            repeat,
            request,
            |channel, request| async move { lease(channel).lease_revoke(request).await },
        )
        .await
    }

    /// How long a lease lives on, in seconds; -1: it does not exist.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn time_to_live(&self, id: i64, keys: bool) -> Result<pb::LeaseTimeToLiveResponse, Error> {
        let request = pb::LeaseTimeToLiveRequest { id, keys };
        let repeat = Repeat::Always;
        self.call(repeat, request, |channel, request| async move {
            lease(channel).lease_time_to_live(request).await
        })
        .await
    }

    /// All leases.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn leases(&self) -> Result<pb::LeaseLeasesResponse, Error> {
        let request = pb::LeaseLeasesRequest {};
        let repeat = Repeat::Always;
        self.call(
            repeat,
            request,
            |channel, request| async move { lease(channel).lease_leases(request).await },
        )
        .await
    }

    /// Gives a lease its whole time again, once.
    ///
    /// # Errors
    /// [`Fault::LeaseNotFound`] as [`Error::Refused`]; as [`Client::call`].
    pub async fn keep_alive_once(&self, id: i64) -> Result<pb::LeaseKeepAliveResponse, Error> {
        let request = pb::LeaseKeepAliveRequest { id };
        let answer = self
            .call(Repeat::Always, request, |channel, request| async move {
                let (metadata, extensions, message) = request.into_parts();
                let one = tonic::Request::from_parts(metadata, extensions, tokio_stream::once(message));
                let mut answers = lease(channel).lease_keep_alive(one).await?.into_inner();
                let answer = answers.message().await?;
                Ok(tonic::Response::new(answer.ok_or_else(|| Status::unavailable("the stream has ended"))?))
            })
            .await?;
        if answer.ttl <= 0 { Err(Error::Refused(Fault::LeaseNotFound)) } else { Ok(answer) }
    }

    /// Keeps a lease alive from now on, with `ttl_s` seconds as its time until the server
    /// says otherwise.
    pub fn keep_alive(&self, id: i64, ttl_s: i64) -> KeepAlive {
        let until = Instant::now() + seconds(ttl_s);
        let (told, life) = watch::channel(Life::Until(until));
        let (give, answers) = mpsc::channel(16);
        let keeper = Keeper { client: self.clone(), id, until, life: told, give };
        KeepAlive { id, life, answers, task: tokio::spawn(keeper.run()) }
    }
}

fn seconds(ttl_s: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0))
}

struct Keeper {
    client: Client,
    id: i64,
    until: Instant,
    life: watch::Sender<Life>,
    give: mpsc::Sender<pb::LeaseKeepAliveResponse>,
}

impl Keeper {
    async fn run(mut self) {
        let mut failures = 0;
        // Until it may have expired, there is hope.
        while Instant::now() < self.until {
            let (turn, _, channel) = self.client.turn();
            let (answered, status) = match self.stream(channel).await {
                Ended::Gone => break,
                Ended::Broken { answered, status } => (answered, status),
            };
            if status.is_some_and(|status| crate::retry::Outcome::of(&status) == crate::retry::Outcome::Token)
            {
                // Rare enough that the number does not matter: all are made anew.
                self.client.forget_any_token().await;
            }
            failures = if answered { 0 } else { failures + 1 };
            self.client.pass(turn);
            let pause = self.client.settings().backoff.pause(failures);
            sleep(pause.min(self.until.saturating_duration_since(Instant::now()))).await;
        }
        self.life.send_replace(Life::Lost);
    }

    /// One stream, for as long as it works. No step waits longer than the lease lives for sure,
    /// which each answer moves on.
    async fn stream(&mut self, channel: Channel) -> Ended {
        let broken = |answered, status| Ended::Broken { answered, status };
        let ask = pb::LeaseKeepAliveRequest { id: self.id };
        let (requests, receiver) = mpsc::channel(1);
        let mut asked = Instant::now();
        let opening = async {
            let (request, _) = self.client.authorised(&channel, ReceiverStream::new(receiver)).await?;
            asked = Instant::now();
            requests.send(ask).await.map_err(|_| Status::unavailable("the stream has ended"))?;
            lease(channel.clone()).lease_keep_alive(request).await
        };
        let patience = Instant::now() + self.client.settings().attempt_timeout;
        let mut answers = match timeout_at(patience.min(self.until), opening).await {
            Ok(Ok(answers)) => answers.into_inner(),
            Ok(Err(status)) => return broken(false, Some(status)),
            Err(_) => return broken(false, None),
        };
        let mut answered = false;
        loop {
            let patience = (Instant::now() + self.client.settings().attempt_timeout).min(self.until);
            let answer = match timeout_at(patience, answers.message()).await {
                Ok(Ok(Some(answer))) => answer,
                Ok(Ok(None)) | Err(_) => return broken(answered, None),
                Ok(Err(status)) => return broken(answered, Some(status)),
            };
            if answer.ttl <= 0 {
                return Ended::Gone;
            }
            answered = true;
            // Counted from the question, which the server cannot have had earlier.
            let whole = seconds(answer.ttl);
            self.until = asked + whole;
            self.life.send_replace(Life::Until(self.until));
            // Nobody may be listening.
            let _full = self.give.try_send(answer);
            sleep_until(asked + whole / 3).await;
            asked = Instant::now();
            if !matches!(timeout_at(self.until, requests.send(ask)).await, Ok(Ok(()))) {
                return broken(answered, None);
            }
        }
    }
}

enum Ended {
    /// The lease is no more.
    Gone,
    /// The stream is no more.
    Broken { answered: bool, status: Option<Status> },
}
