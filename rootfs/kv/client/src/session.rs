//! A lease that is kept alive, and what hangs on it: locks and candidacies.

use crate::{Client, Error, KeepAlive};

/// A lease that is kept alive. Dropped, it ends after its time; [`Self::close`] ends it now.
#[derive(Debug)]
pub struct Session {
    pub(crate) client: Client,
    keeper: KeepAlive,
}

impl Session {
    /// A session that ends `ttl_s` seconds after its client has gone.
    ///
    /// # Errors
    /// As [`Client::grant`].
    pub async fn open(client: &Client, ttl_s: i64) -> Result<Self, Error> {
        let granted = client.grant(ttl_s, 0).await?;
        Ok(Self { client: client.clone(), keeper: client.keep_alive(granted.id, granted.ttl) })
    }

    /// Its lease.
    pub fn lease(&self) -> i64 {
        self.keeper.id()
    }

    /// Waits until it is lost.
    pub async fn lost(&self) {
        self.keeper.lost().await;
    }

    /// Ends it, and the keys on it.
    ///
    /// # Errors
    /// As [`Client::revoke`].
    pub async fn close(self) -> Result<(), Error> {
        self.client.revoke(self.lease()).await.map(drop)
    }

    /// This session's key under a name, as etcd's own clients make it, so that they and ours
    /// wait for each other.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{name}/{:x}", self.lease())
    }
}
