//! What arrives from other members.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use openraft::Raft;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use openraft::raft::{TransferLeaderError, TransferLeaderRequest};
use openraft::storage::{Snapshot, SnapshotMeta};
use prost::Message;

use crate::error::WireError;
use crate::machine::{Applier, Machine, lock};
use crate::network::{id, raft_id, vote};
use crate::snapshot::{SnapshotSink, Spool};
use crate::types::Types;
use crate::wire::{self, Answer, Ask};
use crate::{Entry, LogId, NodeId, Runtime, Vote, log};

/// A snapshot that is arriving.
struct Incoming {
    from: NodeId,
    /// The leader's term and its number there: a later transfer's is greater.
    transfer: (u64, u64),
    length: u64,
    next: u64,
    crc32c: u32,
    sink: Box<dyn SnapshotSink>,
}

/// The receiving side of a node.
pub(crate) struct Inbox<R: Runtime, M: Machine> {
    pub(crate) raft: Raft<Types<R>, Applier<R, M>>,
    spool: Arc<dyn Spool>,
    incoming: Mutex<Option<Incoming>>,
}

/// Why a request has no proper answer.
enum Refusal {
    Wire(WireError),
    Text(String),
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

fn text(error: impl Display) -> Refusal {
    Refusal::Text(error.to_string())
}

impl<R: Runtime, M: Machine> Inbox<R, M> {
    pub(crate) fn new(raft: Raft<Types<R>, Applier<R, M>>, spool: Arc<dyn Spool>) -> Self {
        Self { raft, spool, incoming: Mutex::new(None) }
    }

    /// Answers what Raft asks; `None` for what the node itself answers.
    pub(crate) async fn answer(&self, from: NodeId, ask: Ask) -> Answer {
        let answered = match ask {
            Ask::Append(append) => self.append(append).await,
            Ask::Vote(ask) => self.vote(ask, false).await,
            Ask::PreVote(ask) => self.vote(ask, true).await,
            Ask::Transfer(transfer) => self.transfer(transfer).await,
            Ask::Chunk(chunk) => self.chunk(from, chunk).await,
            Ask::ReadIndex(_) | Ask::Propose(_) => Err(text("a request of another kind")),
        };
        match answered {
            Ok(answer) => answer,
            Err(Refusal::Wire(error)) => Answer::Failed(error.to_string()),
            Err(Refusal::Text(error)) => Answer::Failed(error),
        }
    }

    async fn append(&self, append: wire::Append) -> Result<Answer, Refusal> {
        let mut entries = Vec::with_capacity(append.entries.len());
        let mut next = append.previous.map(|id| id.index + 1);
        for entry in append.entries {
            let place: LogId = entry.id.ok_or(WireError::Missing { field: "an entry's place" })?.into();
            if next.is_some_and(|next| next != place.index) {
                return Err(WireError::Missing { field: "an entry between two others" }.into());
            }
            next = Some(place.index + 1);
            entries.push(log::to_raft(&Entry { id: place, body: entry.body })?);
        }
        let request = AppendEntriesRequest {
            vote: vote(append.vote)?.into(),
            prev_log_id: append.previous.map(raft_id),
            entries,
            leader_commit: append.committed.map(raft_id),
        };
        let mut answer = wire::AppendAnswer::default();
        match self.raft.append_entries(request).await.map_err(text)? {
            AppendEntriesResponse::Success => {}
            AppendEntriesResponse::PartialSuccess(matching) => {
                answer.outcome = 1;
                answer.matching = matching.map(id);
            }
            AppendEntriesResponse::Conflict => answer.outcome = 2,
            AppendEntriesResponse::HigherVote(vote) => {
                answer.outcome = 3;
                answer.vote = Some(Vote::from(vote).into());
            }
        }
        Ok(Answer::Append(answer))
    }

    async fn vote(&self, ask: wire::VoteAsk, pre: bool) -> Result<Answer, Refusal> {
        let mut request = VoteRequest::new(vote(ask.vote)?.into(), ask.last.map(raft_id));
        request.leadership_transfer = ask.transfer;
        let answer = if pre { self.raft.pre_vote(request).await } else { self.raft.vote(request).await };
        let answer = answer.map_err(text)?;
        Ok(Answer::Vote(wire::VoteAnswer {
            vote: Some(Vote::from(answer.vote).into()),
            last: answer.last_log_id.map(id),
            granted: answer.vote_granted,
        }))
    }

    async fn transfer(&self, transfer: wire::Transfer) -> Result<Answer, Refusal> {
        let request =
            TransferLeaderRequest::new(vote(transfer.vote)?.into(), transfer.to, transfer.last.map(raft_id));
        let mut answer = wire::TransferAnswer::default();
        match self.raft.handle_transfer_leader(request).await.map_err(text)? {
            Ok(()) => {}
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                answer.outcome = 1;
                answer.votes = vec![Vote::from(expected).into(), Vote::from(actual).into()];
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                answer.outcome = 2;
                answer.expected = expected.map(id);
                answer.actual = actual.map(id);
            }
        }
        Ok(Answer::Transfer(answer))
    }

    async fn chunk(&self, from: NodeId, chunk: wire::Chunk) -> Result<Answer, Refusal> {
        let leader = vote(chunk.vote)?;
        let position = chunk.position.clone().ok_or(WireError::Missing { field: "a position" })?;
        let (last_log_id, last_membership) = position.parts()?;
        if crc32c::crc32c(&chunk.data) != chunk.crc32c {
            return Err(text(format!("a snapshot's piece at {} arrived damaged", chunk.offset)));
        }
        let answer = |vote: Vote, next, installed| {
            Ok(Answer::Chunk(wire::ChunkAnswer { vote: Some(vote.into()), next, installed }))
        };
        // Until it is whole, a snapshot's leader is not known to be in power: only its bytes are kept.
        let mut state = match self.take(from, (leader.term, chunk.transfer), &chunk)? {
            Ok(state) => state,
            Err(next) => return answer(leader, next, false),
        };
        let taken = (|| {
            state.sink.write(&chunk.data)?;
            state.crc32c = crc32c::crc32c_append(state.crc32c, &chunk.data);
            state.next += chunk.data.len() as u64;
            io::Result::Ok(())
        })();
        taken.map_err(|e| text(format!("cannot keep a snapshot: {e}")))?;
        let Some(whole) = chunk.whole_crc32c.filter(|_| state.next == state.length) else {
            let next = state.next;
            *lock(&self.incoming) = Some(state);
            return answer(leader, next, false);
        };
        if whole != state.crc32c {
            return Err(text("a snapshot arrived damaged, and is asked for again"));
        }
        let data = state.sink.finish().map_err(|e| text(format!("cannot keep a snapshot: {e}")))?;
        let snapshot = Snapshot { meta: SnapshotMeta { last_log_id, last_membership }, snapshot: data };
        let done = self.raft.install_full_snapshot(leader.into(), snapshot).await.map_err(text)?;
        answer(done.vote.into(), chunk.length, true)
    }

    /// The snapshot that `chunk` continues or begins; otherwise the offset that is wanted.
    fn take(
        &self,
        from: NodeId,
        transfer: (u64, u64),
        chunk: &wire::Chunk,
    ) -> Result<Result<Incoming, u64>, Refusal> {
        let mut incoming = lock(&self.incoming);
        let ours = incoming
            .as_ref()
            .is_some_and(|s| s.from == from && s.transfer == transfer && s.length == chunk.length);
        match incoming.take() {
            Some(state) if ours && state.next == chunk.offset => Ok(Ok(state)),
            // A piece that came twice, or late.
            Some(state) if ours => {
                let next = state.next;
                *incoming = Some(state);
                Ok(Err(next))
            }
            // A late piece of an earlier transfer must not end the one that goes on.
            Some(state) if transfer < state.transfer => {
                *incoming = Some(state);
                Ok(Err(0))
            }
            _ if chunk.offset > 0 => Ok(Err(0)),
            _ => Ok(Ok(Incoming {
                from,
                transfer,
                length: chunk.length,
                next: 0,
                crc32c: 0,
                sink: self.spool.sink().map_err(|e| text(format!("cannot keep a snapshot: {e}")))?,
            })),
        }
    }
}

/// An answer's bytes.
pub(crate) fn encode(answer: Answer) -> Bytes {
    wire::Response { answer: Some(answer) }.encode_to_vec().into()
}
