//! The token of a user: got with name and password, sent with each request, made anew when
//! the server no longer knows it.

use crate::{Client, Error, call};
use kv_api::Fault;
use kv_api::etcdserverpb::AuthenticateRequest;
use kv_api::etcdserverpb::auth_client::AuthClient;
use tokio::sync::Mutex;
use tonic::Status;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;

/// The metadata that carries it (etcd `rpctypes.TokenFieldNameGRPC`).
const TOKEN: &str = "token";
/// Metadata that makes a member without a leader refuse (etcd `rpctypes.MetadataRequireLeaderKey`).
const REQUIRE_LEADER: &str = "hasleader";

#[derive(Default)]
pub(crate) struct Tokens {
    /// Held while one is made, so that many requests make one.
    now: Mutex<Now>,
}

#[derive(Default, Clone)]
struct Now {
    /// Counts the tokens: one is made anew only if it is still the one that failed.
    number: u64,
    asked: bool,
    /// `None` after asking: the server needs none.
    value: Option<AsciiMetadataValue>,
}

impl Client {
    /// A request as this user, and the number of its token.
    pub(crate) async fn authorised<T>(
        &self,
        channel: &Channel,
        message: T,
    ) -> Result<(tonic::Request<T>, u64), Status> {
        let mut request = tonic::Request::new(message);
        if self.inner.settings.require_leader {
            request.metadata_mut().insert(REQUIRE_LEADER, AsciiMetadataValue::from_static("true"));
        }
        let Some(user) = &self.inner.settings.user else {
            return Ok((request, 0));
        };
        let mut now = self.inner.tokens.now.lock().await;
        if !now.asked {
            let ask = AuthenticateRequest { name: user.name.clone(), password: user.password.clone() };
            let answer = call::bounded(AuthClient::new(channel.clone())).authenticate(ask).await;
            now.value = match answer {
                Ok(answer) => {
                    let token = AsciiMetadataValue::try_from(answer.into_inner().token);
                    Some(token.map_err(|_| Status::internal("the server's token is not ASCII"))?)
                }
                Err(status) if Fault::of(&status) == Some(Fault::AuthNotEnabled) => None,
                Err(status) => return Err(status),
            };
            now.asked = true;
            now.number += 1;
        }
        if let Some(token) = &now.value {
            request.metadata_mut().insert(TOKEN, token.clone());
        }
        Ok((request, now.number))
    }

    /// Forgets the token of this number; false where there is no user to get another for.
    pub(crate) async fn forget_token(&self, number: u64) -> bool {
        if self.inner.settings.user.is_none() {
            return false;
        }
        let mut now = self.inner.tokens.now.lock().await;
        if now.number == number {
            now.asked = false;
        }
        true
    }

    /// Forgets the token, whichever it is.
    pub(crate) async fn forget_any_token(&self) {
        self.inner.tokens.now.lock().await.asked = false;
    }

    /// Gets a token now, so that a wrong password shows before anything is asked.
    ///
    /// # Errors
    /// As [`Client::call`]; [`Fault::AuthFailed`] for a wrong name or password.
    pub async fn log_in(&self) -> Result<(), Error> {
        let (_, _, channel) = self.turn();
        self.authorised(&channel, ()).await.map(drop).map_err(Error::refused)
    }
}
