//! Ranges of keys, and the requests on them.

use crate::call::bounded;
use crate::{Client, Error, Repeat};
use bytes::Bytes;
use kv_api::etcdserverpb as pb;
use kv_api::etcdserverpb::kv_client::KvClient;
use tonic::transport::Channel;

/// Some keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The first.
    pub key: Bytes,
    /// The first no longer; empty: the key alone; `\0`: all from the key on.
    pub range_end: Bytes,
}

impl Keys {
    /// One key.
    pub fn one(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), range_end: Bytes::new() }
    }

    /// All that begin with these bytes; of none, all.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let key: Bytes = prefix.into();
        if key.is_empty() {
            return Self::from(Bytes::new());
        }
        let range_end = prefix_end(&key);
        Self { key, range_end }
    }

    /// All from this one on.
    pub fn from(key: impl Into<Bytes>) -> Self {
        let key: Bytes = key.into();
        let key = if key.is_empty() { Bytes::from_static(b"\0") } else { key };
        Self { key, range_end: Bytes::from_static(b"\0") }
    }

    /// From the first up to, but without, the second.
    pub fn range(key: impl Into<Bytes>, range_end: impl Into<Bytes>) -> Self {
        Self { key: key.into(), range_end: range_end.into() }
    }
}

/// The end of the range of all keys that begin with these bytes; `\0` where it has none.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}

fn kv(channel: Channel) -> KvClient<Channel> {
    bounded(KvClient::new(channel))
}

impl Client {
    /// Reads keys.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        self.call(Repeat::Always, request, |channel, request| async move { kv(channel).range(request).await })
            .await
    }

    /// The value of one key as of now.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<kv_api::mvccpb::KeyValue>, Error> {
        let request = pb::RangeRequest { key: key.into(), ..Default::default() };
        Ok(self.range(request).await?.kvs.pop())
    }

    /// Writes one key. Not repeated when its outcome is unknown.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn put(&self, request: pb::PutRequest) -> Result<pb::PutResponse, Error> {
        let repeat = Repeat::IfNotApplied;
        self.call(repeat, request, |channel, request| async move { kv(channel).put(request).await }).await
    }

    /// Deletes keys. Not repeated when its outcome is unknown.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete(&self, request: pb::DeleteRangeRequest) -> Result<pb::DeleteRangeResponse, Error> {
        let repeat = Repeat::IfNotApplied;
        self.call(repeat, request, |channel, request| async move { kv(channel).delete_range(request).await })
            .await
    }

    /// A transaction. `repeat` is [`Repeat::Always`] where its compares make that safe.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn txn(&self, repeat: Repeat, request: pb::TxnRequest) -> Result<pb::TxnResponse, Error> {
        self.call(repeat, request, |channel, request| async move { kv(channel).txn(request).await }).await
    }

    /// Forgets revisions below this one. A second time is refused, so it is not repeated.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn compact(&self, request: pb::CompactionRequest) -> Result<pb::CompactionResponse, Error> {
        let repeat = Repeat::IfNotApplied;
        self.call(repeat, request, |channel, request| async move { kv(channel).compact(request).await }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(&prefix_end(b"a")[..], b"b");
        assert_eq!(&prefix_end(b"a\xff\xff")[..], b"b");
        assert_eq!(&prefix_end(b"\xff")[..], b"\0");
        assert_eq!(Keys::prefix(""), Keys::range("\0", "\0"));
    }
}
