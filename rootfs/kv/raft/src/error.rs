//! What can go wrong, in words for whom it meets.

use std::io;

use crate::{LogId, NodeId};

/// A node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is out of its bounds.
    #[error("raft configuration: {0}")]
    Config(String),
    /// The log or the machine failed.
    #[error("raft storage: {0}")]
    Storage(String),
}

/// A cluster was not initialized.
#[derive(Debug, thiserror::Error)]
pub enum InitializeError {
    /// It already has entries or a vote.
    #[error("member {0} is already initialized: its log has entries or a vote")]
    Already(NodeId),
    /// The node is not among the members.
    #[error("member {0} is not in the initial membership")]
    NotMember(NodeId),
    /// The list of members cannot be one.
    #[error("initial membership: {0}")]
    Members(String),
    /// The node has stopped.
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

/// A command was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was logged: ask the leader.
    #[error("not the leader{}", leader_text(*.leader))]
    NotLeader {
        /// The leader, where it is known.
        leader: Option<NodeId>,
    },
    /// The leader changed meanwhile: the command may have been applied, or may be later, or never.
    #[error("the leader changed before the command was acknowledged; it may have been applied")]
    Unknown {
        /// The leader now, where it is known.
        leader: Option<NodeId>,
    },
    /// No answer within the configured time; the command may have been applied, or may be later.
    #[error("no majority acknowledged the command in time; it may have been applied")]
    Timeout,
    /// The node has stopped, or its disk failed; the command may have been logged.
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

/// A read could not be made linearizable. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader is known, or it is not the one that was asked.
    #[error("not the leader{}", leader_text(*.leader))]
    NotLeader {
        /// The leader, where it is known.
        leader: Option<NodeId>,
    },
    /// The leader did not hear from a majority, or this member did not catch up, in time.
    #[error("no majority answered in time, or this member lags behind it")]
    Timeout,
    /// The node has stopped.
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

/// The membership or the leader was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Ask the leader.
    #[error("not the leader{}", leader_text(*.leader))]
    NotLeader {
        /// The leader, where it is known.
        leader: Option<NodeId>,
    },
    /// The change may have been made, or may be later: look at the members.
    #[error("the leader changed before the change was acknowledged; it may have been made")]
    Unknown,
    /// Another change is not committed yet.
    #[error("another change of the membership is under way, since entry {at}")]
    InProgress {
        /// That change's entry.
        at: LogId,
    },
    /// There is no such member, or it cannot have that place.
    #[error("{0}")]
    Refused(String),
    /// Not done in the configured time; it may be later.
    #[error("no majority acknowledged the change in time; it may have been made")]
    Timeout,
    /// The node has stopped.
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

/// Bytes that are no message for this member.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// They do not decode.
    #[error("message: {0}")]
    Decode(#[from] prost::DecodeError),
    /// A field that the message needs is not in it.
    #[error("message: {field} is missing")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// An entry's body has a kind that this version does not know.
    #[error("entry {id}: kind {kind} is not known; a newer version wrote it")]
    Kind {
        /// The entry.
        id: LogId,
        /// The kind.
        kind: u8,
    },
    /// Members that cannot be: an empty set of voters, or a voter without addresses.
    #[error("membership: {0}")]
    Membership(String),
}

impl From<WireError> for io::Error {
    fn from(error: WireError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

fn leader_text(leader: Option<NodeId>) -> String {
    leader.map_or_else(|| ", and none is known".to_owned(), |id| format!(": member {id:x} is"))
}
