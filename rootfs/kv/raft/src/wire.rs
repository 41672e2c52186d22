//! What members say to each other, and what of an entry lies in the log: protobuf messages.
//!
//! Numbers of fields and kinds are kept for ever, because members of two versions talk to each
//! other during an update, and a log outlives the program that wrote it.

use bytes::Bytes;
use prost::{Message, Oneof};

/// One request.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// The cluster that the sender belongs to: another's message is refused.
    #[prost(fixed64, tag = "1")]
    pub cluster: u64,
    /// The member that it is for: an address that now is another member's is noticed.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// The sender.
    #[prost(uint64, tag = "3")]
    pub from: u64,
    /// What is asked.
    #[prost(oneof = "Ask", tags = "4, 5, 6, 7, 8, 9, 10")]
    pub ask: Option<Ask>,
}

/// What is asked of a member.
#[derive(Clone, PartialEq, Oneof)]
pub enum Ask {
    /// Take these entries; without entries a heartbeat.
    #[prost(message, tag = "4")]
    Append(Append),
    /// Vote for me.
    #[prost(message, tag = "5")]
    Vote(VoteAsk),
    /// Would you vote for me?
    #[prost(message, tag = "6")]
    PreVote(VoteAsk),
    /// Take over from me.
    #[prost(message, tag = "7")]
    Transfer(Transfer),
    /// A piece of a snapshot.
    #[prost(message, tag = "8")]
    Chunk(Chunk),
    /// How far must I have applied, so that a read of now is linearizable? (To the leader.)
    #[prost(message, tag = "9")]
    ReadIndex(Empty),
    /// Propose this command for me. (To the leader.)
    #[prost(message, tag = "10")]
    Propose(Propose),
}

/// One answer.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// What is answered.
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub answer: Option<Answer>,
}

/// What a member answers.
#[derive(Clone, PartialEq, Oneof)]
pub enum Answer {
    /// It could not be done; a sentence for the log.
    #[prost(string, tag = "1")]
    Failed(String),
    /// To `Append`.
    #[prost(message, tag = "2")]
    Append(AppendAnswer),
    /// To `Vote` and `PreVote`.
    #[prost(message, tag = "3")]
    Vote(VoteAnswer),
    /// To `Transfer`.
    #[prost(message, tag = "4")]
    Transfer(TransferAnswer),
    /// To `Chunk`.
    #[prost(message, tag = "5")]
    Chunk(ChunkAnswer),
    /// To `ReadIndex`: the entry to have applied.
    #[prost(message, tag = "6")]
    ReadIndex(Id),
    /// To `Propose`.
    #[prost(message, tag = "7")]
    Proposed(Proposed),
    /// To `ReadIndex` and `Propose`: not the leader, and nothing was done.
    #[prost(message, tag = "8")]
    NotLeader(NotLeader),
}

/// Nothing.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Empty {}

/// An entry's place.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Id {
    /// Its leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Its index.
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// A vote.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Vote {
    /// Its term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The candidate.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// Whether a majority granted it.
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

/// An entry: its place, and its body as it lies in the log (a byte of kind, then its bytes).
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// Its place.
    #[prost(message, optional, tag = "1")]
    pub id: Option<Id>,
    /// Its body.
    #[prost(bytes = "bytes", tag = "2")]
    pub body: Bytes,
}

/// Entries of the leader.
#[derive(Clone, PartialEq, Message)]
pub struct Append {
    /// The leader.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    /// The entry before the first of these.
    #[prost(message, optional, tag = "2")]
    pub previous: Option<Id>,
    /// The entries.
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<Entry>,
    /// Up to where the leader has committed.
    #[prost(message, optional, tag = "4")]
    pub committed: Option<Id>,
}

/// What became of the entries.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct AppendAnswer {
    /// 0 all taken, 1 taken up to `matching`, 2 the previous entry is another, 3 `vote` is higher.
    #[prost(uint32, tag = "1")]
    pub outcome: u32,
    /// With 1.
    #[prost(message, optional, tag = "2")]
    pub matching: Option<Id>,
    /// With 3.
    #[prost(message, optional, tag = "3")]
    pub vote: Option<Vote>,
}

/// A candidate's question.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct VoteAsk {
    /// The vote that it wants.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    /// Its last entry.
    #[prost(message, optional, tag = "2")]
    pub last: Option<Id>,
    /// Whether the leader told it to.
    #[prost(bool, tag = "3")]
    pub transfer: bool,
}

/// A voter's answer.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct VoteAnswer {
    /// The voter's vote now.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    /// The voter's last entry.
    #[prost(message, optional, tag = "2")]
    pub last: Option<Id>,
    /// Whether it was granted.
    #[prost(bool, tag = "3")]
    pub granted: bool,
}

/// The leader gives its place to `to`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Transfer {
    /// The leader.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    /// The next leader.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// What it must have in its log.
    #[prost(message, optional, tag = "3")]
    pub last: Option<Id>,
}

/// Whether the transfer was taken; empty text where it was.
#[derive(Clone, PartialEq, Message)]
pub struct TransferAnswer {
    /// Why not: 0 taken, 1 the vote changed, 2 the log is not flushed.
    #[prost(uint32, tag = "1")]
    pub outcome: u32,
    /// With 1: expected and actual.
    #[prost(message, repeated, tag = "2")]
    pub votes: Vec<Vote>,
    /// With 2: expected.
    #[prost(message, optional, tag = "3")]
    pub expected: Option<Id>,
    /// With 2: actual.
    #[prost(message, optional, tag = "4")]
    pub actual: Option<Id>,
}

/// A piece of a snapshot.
#[derive(Clone, PartialEq, Message)]
pub struct Chunk {
    /// The leader.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    /// What the snapshot holds.
    #[prost(message, optional, tag = "2")]
    pub position: Option<Position>,
    /// The whole snapshot's length in bytes.
    #[prost(uint64, tag = "3")]
    pub length: u64,
    /// Where this piece starts.
    #[prost(uint64, tag = "4")]
    pub offset: u64,
    /// The piece.
    #[prost(bytes = "bytes", tag = "5")]
    pub data: Bytes,
    /// CRC32C of the piece.
    #[prost(fixed32, tag = "6")]
    pub crc32c: u32,
    /// In the last piece: CRC32C of the whole snapshot.
    #[prost(fixed32, optional, tag = "7")]
    pub whole_crc32c: Option<u32>,
    /// One transfer's number: pieces of two are never mixed.
    #[prost(uint64, tag = "8")]
    pub transfer: u64,
}

/// How far the receiver is.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ChunkAnswer {
    /// The receiver's vote: a higher one than the leader's ends its lead.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    /// The next offset that it wants.
    #[prost(uint64, tag = "2")]
    pub next: u64,
    /// Whether the snapshot is installed.
    #[prost(bool, tag = "3")]
    pub installed: bool,
}

/// A command that another member's client wants.
///
/// The network may carry it twice, but it must not be proposed twice: it is for one term, which one
/// process leads from its start to its end, and that process keeps the numbers that it has seen.
#[derive(Clone, PartialEq, Message)]
pub struct Propose {
    /// Only as the leader of this term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The sender's process, by chance.
    #[prost(fixed64, tag = "2")]
    pub life: u64,
    /// Its number there, growing.
    #[prost(uint64, tag = "3")]
    pub number: u64,
    /// The command.
    #[prost(bytes = "bytes", tag = "4")]
    pub command: Bytes,
}

/// A proposal's end.
#[derive(Clone, PartialEq, Message)]
pub struct Proposed {
    /// The entry.
    #[prost(message, optional, tag = "1")]
    pub id: Option<Id>,
    /// The machine's reply.
    #[prost(bytes = "bytes", tag = "2")]
    pub reply: Bytes,
}

/// Who leads, where that is known.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct NotLeader {
    /// The leader.
    #[prost(uint64, optional, tag = "1")]
    pub leader: Option<u64>,
    /// Whether the command may be in a log all the same.
    #[prost(bool, tag = "2")]
    pub unknown: bool,
}

/// Up to where a machine has applied, with the membership of then: what it keeps beside its state.
#[derive(Clone, PartialEq, Message)]
pub struct Position {
    /// The last entry that it applied.
    #[prost(message, optional, tag = "1")]
    pub applied: Option<Id>,
    /// The entry of the membership.
    #[prost(message, optional, tag = "2")]
    pub membership_id: Option<Id>,
    /// The membership.
    #[prost(message, optional, tag = "3")]
    pub membership: Option<Membership>,
}

/// Members, and the sets of which each must have a majority (two during a change).
#[derive(Clone, PartialEq, Message)]
pub struct Membership {
    /// The sets of voters.
    #[prost(message, repeated, tag = "1")]
    pub sets: Vec<VoterSet>,
    /// All members; those in no set are learners.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

/// A set of voters.
#[derive(Clone, PartialEq, Message)]
pub struct VoterSet {
    /// Their numbers.
    #[prost(uint64, repeated, tag = "1")]
    pub ids: Vec<u64>,
}

/// A member.
#[derive(Clone, PartialEq, Message)]
pub struct Member {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its addresses.
    #[prost(string, repeated, tag = "2")]
    pub urls: Vec<String>,
}

impl From<crate::LogId> for Id {
    fn from(id: crate::LogId) -> Self {
        Self { term: id.term, index: id.index }
    }
}

impl From<Id> for crate::LogId {
    fn from(id: Id) -> Self {
        Self { term: id.term, index: id.index }
    }
}

impl From<crate::Vote> for Vote {
    fn from(vote: crate::Vote) -> Self {
        Self { term: vote.term, node: vote.node, committed: vote.committed }
    }
}

impl From<Vote> for crate::Vote {
    fn from(vote: Vote) -> Self {
        Self { term: vote.term, node: vote.node, committed: vote.committed }
    }
}
