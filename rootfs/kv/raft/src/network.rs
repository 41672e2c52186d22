//! The way to the other members: what is asked of the transport, and how openraft is served.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::raft::{TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse};
use openraft::type_config::TypeConfigExt;
use prost::Message;

use crate::error::WireError;
use crate::snapshot::SnapshotSource;
use crate::types::{RaftVote, Types};
use crate::wire::{self, Answer, Ask};
use crate::{LogId, Member, NodeId, Runtime, Vote, log};

/// Carries a request to another member, and brings its answer.
pub trait Network: Clone + Send + Sync + 'static {
    /// Sends `request` to `target`, whose [`Node::handle`](crate::Node::handle) makes the answer.
    ///
    /// The future is dropped when the answer is not wanted any more. A request may be carried twice,
    /// or later than another that was sent after it.
    fn send(
        &self,
        target: NodeId,
        member: &Member,
        request: Bytes,
    ) -> impl Future<Output = Result<Bytes, SendError>> + Send;
}

/// No answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The member cannot be reached now; nothing arrived. It is asked less often for a while.
    #[error("cannot reach the member: {0}")]
    Unreachable(String),
    /// Something broke on the way; the request may have arrived.
    #[error("no answer: {0}")]
    Broken(String),
}

/// What each request to another member needs.
pub(crate) struct Shared<N> {
    pub(crate) id: NodeId,
    pub(crate) cluster: u64,
    pub(crate) network: N,
    /// How long an append may take. openraft gives a heartbeat's interval, in which a slow disk does
    /// not flush a large append.
    pub(crate) append: Duration,
    pub(crate) chunk: Duration,
    pub(crate) chunk_bytes: u64,
    /// This process, by chance: its numbers are its own.
    pub(crate) life: u64,
    /// Numbers of proposals and snapshots.
    pub(crate) numbers: AtomicU64,
}

/// Makes the ways to single members.
pub(crate) struct Ways<N>(pub(crate) Arc<Shared<N>>);

impl<R: Runtime, N: Network> RaftNetworkFactory<Types<R>> for Ways<N> {
    type Network = Way<N>;

    async fn new_client(&mut self, target: NodeId, member: &Member) -> Way<N> {
        Way { shared: Arc::clone(&self.0), target, member: member.clone() }
    }
}

/// The way to one member.
pub(crate) struct Way<N> {
    pub(crate) shared: Arc<Shared<N>>,
    pub(crate) target: NodeId,
    pub(crate) member: Member,
}

pub(crate) enum Failure {
    Unreachable(SendError),
    Other(io::Error),
}

impl<R: Runtime> From<Failure> for RPCError<Types<R>> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(error) => Self::Unreachable(Unreachable::new(&error)),
            Failure::Other(error) => Self::Network(NetworkError::new(&error)),
        }
    }
}

impl<R: Runtime> From<Failure> for StreamingError<Types<R>> {
    fn from(failure: Failure) -> Self {
        RPCError::<Types<R>>::from(failure).into()
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::Other(error.into())
    }
}

impl<N: Network> Way<N> {
    /// Asks, and gives the answer; a failure of the other side is an error here.
    pub(crate) async fn ask<R: Runtime>(&self, ask: Ask, limit: Duration) -> Result<Answer, Failure> {
        let request = wire::Request {
            cluster: self.shared.cluster,
            to: self.target,
            from: self.shared.id,
            ask: Some(ask),
        };
        let sent = self.shared.network.send(self.target, &self.member, request.encode_to_vec().into());
        let answer = match Types::<R>::timeout(limit, sent).await {
            Err(_) => {
                let text = format!("member {:x} did not answer in {limit:?}", self.target);
                return Err(Failure::Other(io::Error::new(io::ErrorKind::TimedOut, text)));
            }
            Ok(Err(error @ SendError::Unreachable(_))) => return Err(Failure::Unreachable(error)),
            Ok(Err(error)) => return Err(Failure::Other(io::Error::other(error))),
            Ok(Ok(bytes)) => wire::Response::decode(bytes).map_err(WireError::from)?.answer,
        };
        match answer {
            Some(Answer::Failed(text)) => Err(Failure::Other(io::Error::other(text))),
            Some(answer) => Ok(answer),
            None => Err(WireError::Missing { field: "the answer" }.into()),
        }
    }

    async fn vote_of<R: Runtime>(
        &self,
        rpc: VoteRequest<Types<R>>,
        option: RPCOption,
        kind: fn(wire::VoteAsk) -> Ask,
    ) -> Result<VoteResponse<Types<R>>, Failure> {
        let ask = wire::VoteAsk {
            vote: Some(Vote::from(rpc.vote).into()),
            last: rpc.last_log_id.map(id),
            transfer: rpc.leadership_transfer,
        };
        match self.ask::<R>(kind(ask), option.hard_ttl()).await? {
            Answer::Vote(answer) => Ok(VoteResponse {
                vote: vote(answer.vote)?.into(),
                vote_granted: answer.granted,
                last_log_id: answer.last.map(raft_id),
            }),
            _ => Err(WireError::Missing { field: "the answer to a vote" }.into()),
        }
    }

    async fn send_snapshot<R: Runtime>(
        &self,
        leader: Vote,
        position: wire::Position,
        data: Arc<dyn SnapshotSource>,
    ) -> Result<Vote, Failure> {
        let transfer = self.shared.numbers.fetch_add(1, Ordering::Relaxed);
        let source = Arc::clone(&data);
        let freeze = move || source.freeze();
        let frozen = if R::THREADS { Types::<R>::spawn_blocking(freeze).await } else { Ok(freeze()) };
        let data = frozen.and_then(|frozen| frozen).map_err(Failure::Other)?.unwrap_or(data);
        let length = data.length();
        let (mut offset, mut whole, mut summed) = (0_u64, 0_u32, 0_u64);
        loop {
            let size = self.shared.chunk_bytes.min(length - offset) as usize;
            let source = Arc::clone(&data);
            let read = move || source.read_at(offset, size);
            let read = if R::THREADS { Types::<R>::spawn_blocking(read).await } else { Ok(read()) };
            let piece = read.and_then(|piece| piece).map_err(Failure::Other)?;
            if summed == offset {
                whole = crc32c::crc32c_append(whole, &piece);
                summed += piece.len() as u64;
            }
            let chunk = wire::Chunk {
                vote: Some(leader.into()),
                position: Some(position.clone()),
                length,
                offset,
                crc32c: crc32c::crc32c(&piece),
                whole_crc32c: (summed == length).then_some(whole),
                data: piece,
                transfer,
            };
            let Answer::Chunk(answer) = self.ask::<R>(Ask::Chunk(chunk), self.shared.chunk).await? else {
                return Err(WireError::Missing { field: "the answer to a piece of a snapshot" }.into());
            };
            let theirs = vote(answer.vote)?;
            if answer.installed || !covers(leader, theirs) {
                return Ok(theirs);
            }
            // It may have to start again (after its restart), but never beyond what it was sent.
            if answer.next > summed || (answer.next == offset && size > 0) {
                let text = format!("member {:x} wants a snapshot's byte {}", self.target, answer.next);
                return Err(Failure::Other(io::Error::new(io::ErrorKind::InvalidData, text)));
            }
            offset = answer.next;
        }
    }
}

/// Whether a member with vote `theirs` still follows `leader`.
fn covers(leader: Vote, theirs: Vote) -> bool {
    RaftVote::from(theirs) <= RaftVote::from(leader)
}

pub(crate) fn vote(vote: Option<wire::Vote>) -> Result<Vote, WireError> {
    vote.map(Vote::from).ok_or(WireError::Missing { field: "a vote" })
}

pub(crate) fn id(id: crate::types::RaftLogId) -> wire::Id {
    LogId::from(id).into()
}

pub(crate) fn raft_id(id: wire::Id) -> crate::types::RaftLogId {
    LogId::from(id).into()
}

impl<R: Runtime, N: Network> RaftNetworkV2<Types<R>> for Way<N> {
    type SnapshotData = Arc<dyn SnapshotSource>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types<R>>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        let entries = rpc.entries.iter().map(|entry| {
            let entry = log::from_raft(entry);
            wire::Entry { id: Some(entry.id.into()), body: entry.body }
        });
        let ask = Ask::Append(wire::Append {
            vote: Some(Vote::from(rpc.vote).into()),
            previous: rpc.prev_log_id.map(id),
            entries: entries.collect(),
            committed: rpc.leader_commit.map(id),
        });
        let Answer::Append(answer) = self.ask::<R>(ask, self.shared.append).await? else {
            return Err(Failure::from(WireError::Missing { field: "the answer to entries" }).into());
        };
        match answer.outcome {
            0 => Ok(AppendEntriesResponse::Success),
            1 => Ok(AppendEntriesResponse::PartialSuccess(answer.matching.map(raft_id))),
            2 => Ok(AppendEntriesResponse::Conflict),
            3 => Ok(AppendEntriesResponse::HigherVote(vote(answer.vote).map_err(Failure::from)?.into())),
            _ => Err(Failure::from(WireError::Missing { field: "a known outcome" }).into()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        Ok(self.vote_of::<R>(rpc, option, Ask::Vote).await?)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        Ok(self.vote_of::<R>(rpc, option, Ask::PreVote).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types<R>>,
        snapshot: SnapshotOf<Types<R>, Arc<dyn SnapshotSource>>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        let position = wire::Position::new(snapshot.meta.last_log_id, &snapshot.meta.last_membership);
        let sent = self.send_snapshot::<R>(vote.into(), position, snapshot.snapshot);
        match Types::<R>::select2(cancel, sent).await {
            openraft_rt::Select2::First(closed) => Err(StreamingError::Closed(closed)),
            openraft_rt::Select2::Second(sent) => Ok(SnapshotResponse::new(sent?.into())),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<R>>, RPCError<Types<R>>> {
        let ask = Ask::Transfer(wire::Transfer {
            vote: Some(Vote::from(*req.from_leader()).into()),
            to: *req.to_node_id(),
            last: req.last_log_id().copied().map(id),
        });
        let missing = || Failure::from(WireError::Missing { field: "the answer to a transfer" });
        let Answer::Transfer(answer) = self.ask::<R>(ask, option.hard_ttl()).await? else {
            return Err(missing().into());
        };
        match (answer.outcome, answer.votes.as_slice()) {
            (0, _) => Ok(Ok(())),
            (1, [expected, actual]) => Ok(Err(TransferLeaderError::VoteChanged {
                expected: Vote::from(*expected).into(),
                actual: Vote::from(*actual).into(),
            })),
            (2, _) => Ok(Err(TransferLeaderError::LogNotFlushed {
                expected: answer.expected.map(raft_id),
                actual: answer.actual.map(raft_id),
            })),
            _ => Err(missing().into()),
        }
    }

    /// After a member could not be reached.
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(self.shared.append)))
    }
}
