//! The client itself: its endpoints, and which of them is used now.

use crate::connect;
use crate::endpoint::Endpoint;
use crate::token::Tokens;
use crate::{Error, Settings};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tonic::transport::Channel;

/// A client of the store. Clones share connections and token.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    endpoints: Vec<(Endpoint, Channel)>,
    /// Counts on at each failure; its remainder is the endpoint in use.
    turn: AtomicUsize,
    pub(crate) tokens: Tokens,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.inner.settings.endpoints).finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the settings; connects to nobody yet. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::NoEndpoint`], [`Error::BadEndpoint`], [`Error::Plaintext`], [`Error::File`],
    /// [`Error::Tls`].
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let config = settings.security.as_ref().map(crate::Security::config).transpose()?;
        let endpoints: Result<Vec<_>, Error> = settings
            .endpoints
            .iter()
            .map(|text| {
                let endpoint = Endpoint::read(text)?;
                let channel = connect::channel(&endpoint, &settings, config.as_ref())?;
                Ok((endpoint, channel))
            })
            .collect();
        let endpoints = endpoints?;
        if endpoints.is_empty() {
            return Err(Error::NoEndpoint);
        }
        let inner = Inner { settings, endpoints, turn: AtomicUsize::new(0), tokens: Tokens::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A client like this one for these endpoints only.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn at<I: IntoIterator<Item: Into<String>>>(&self, endpoints: I) -> Result<Self, Error> {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Self::new(Settings { endpoints, ..self.inner.settings.clone() })
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Which turn it is, and whose.
    pub(crate) fn turn(&self) -> (usize, &Endpoint, Channel) {
        let turn = self.inner.turn.load(Ordering::Relaxed);
        let (endpoint, channel) = &self.inner.endpoints[turn % self.inner.endpoints.len()];
        (turn, endpoint, channel.clone())
    }

    /// The endpoint of `turn` has failed: the next one's, unless that is so already.
    pub(crate) fn pass(&self, turn: usize) {
        let next = turn.wrapping_add(1);
        // Another request that failed as well has moved it: nothing to do.
        let _moved = self.inner.turn.compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}
