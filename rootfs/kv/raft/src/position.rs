//! Up to where a machine has applied: made of openraft's parts, kept by the machine as bytes.

use bytes::Bytes;
use prost::Message;

use crate::error::WireError;
use crate::types::{RaftLogId, RaftStored};
use crate::{LogId, membership, wire};

impl wire::Position {
    pub(crate) fn new(applied: Option<RaftLogId>, stored: &RaftStored) -> Self {
        Self {
            applied: applied.map(|id| LogId::from(id).into()),
            membership_id: stored.log_id().map(|id| LogId::from(id).into()),
            membership: Some(membership::to_wire(stored.membership())),
        }
    }

    pub(crate) fn parts(&self) -> Result<(Option<RaftLogId>, RaftStored), WireError> {
        Ok((self.applied.map(|id| LogId::from(id).into()), membership::stored(self)?))
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// A machine that has applied nothing gives no bytes.
    pub(crate) fn from_bytes(bytes: &Bytes) -> Result<Self, WireError> {
        Ok(Self::decode(bytes.clone())?)
    }

    /// The last entry that is in the state, where there is one.
    pub fn last(&self) -> Option<LogId> {
        self.applied.map(LogId::from)
    }
}
