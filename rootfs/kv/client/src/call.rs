//! One request: sent, and where that is safe repeated, until its time is over.

use crate::error::line;
use crate::retry::Outcome;
use crate::{Client, Error};
use std::future::Future;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// Largest answer in bytes; etcd's own clients take as much.
pub const MESSAGE_MAX: usize = i32::MAX as usize;

/// What may be repeated when its outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Twice is as once: reads, and changes that say so themselves.
    Always,
    /// Only what was certainly not applied.
    IfNotApplied,
}

/// Clients of services that take answers of any size.
pub(crate) trait Bounded {
    fn bounded(self) -> Self;
}

macro_rules! bounded {
    ($($client:ty,)*) => {
        $(impl Bounded for $client {
            fn bounded(self) -> Self {
                self.max_decoding_message_size(MESSAGE_MAX)
            }
        })*
    };
}

bounded! {
    kv_api::etcdserverpb::kv_client::KvClient<Channel>,
    kv_api::etcdserverpb::watch_client::WatchClient<Channel>,
    kv_api::etcdserverpb::lease_client::LeaseClient<Channel>,
    kv_api::etcdserverpb::auth_client::AuthClient<Channel>,
}

pub(crate) fn bounded<T: Bounded>(client: T) -> T {
    client.bounded()
}

impl Client {
    /// Sends a request to the endpoint in use, and on to the next ones for as long as that
    /// is safe and there is time.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Status`] as the server says; [`Error::Unavailable`]
    /// when nothing was done, [`Error::Unknown`] when it may have been.
    pub async fn call<T, R, S, F>(&self, repeat: Repeat, message: T, send: S) -> Result<R, Error>
    where
        T: Clone,
        S: Fn(Channel, Request<T>) -> F,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let settings = &self.inner.settings;
        let deadline = Instant::now() + settings.request_timeout;
        let mut renewed = false;
        let mut attempt = 0;
        loop {
            let (turn, endpoint, channel) = self.turn();
            let until = match repeat {
                Repeat::Always => deadline.min(Instant::now() + settings.attempt_timeout),
                Repeat::IfNotApplied => deadline,
            };
            let mut number = 0;
            // Before the request itself is on its way, nothing is done.
            let mut sent = false;
            let one = async {
                let (request, token) = self.authorised(&channel, message.clone()).await?;
                (number, sent) = (token, true);
                send(channel.clone(), request).await
            };
            let (outcome, text) = match timeout_at(until, one).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => {
                    let outcome = Outcome::of(&status);
                    let unasked = kv_api::Fault::of(&status) == Some(kv_api::Fault::UserEmpty);
                    match outcome {
                        // Authentication was enabled since, or the token is too old.
                        Outcome::Token | Outcome::Refused
                            if (outcome == Outcome::Token || unasked) && !renewed =>
                        {
                            renewed = true;
                            if self.forget_token(number).await {
                                continue;
                            }
                            return Err(Error::refused(status));
                        }
                        Outcome::Refused | Outcome::Token => return Err(Error::refused(status)),
                        Outcome::Unknown if !sent => (Outcome::NotApplied, line(&status)),
                        other => (other, line(&status)),
                    }
                }
                Err(_) => {
                    let outcome = if sent { Outcome::Unknown } else { Outcome::NotApplied };
                    (outcome, format!("no answer from {} in time", endpoint.text))
                }
            };
            self.pass(turn);
            let failed = || match outcome {
                Outcome::NotApplied => Error::Unavailable(text.clone()),
                _ => Error::Unknown(text.clone()),
            };
            if outcome == Outcome::Unknown && repeat == Repeat::IfNotApplied {
                return Err(failed());
            }
            let pause = settings.backoff.pause(attempt);
            if Instant::now() + pause >= deadline {
                return Err(failed());
            }
            sleep(pause).await;
            attempt += 1;
        }
    }
}
