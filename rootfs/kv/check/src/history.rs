//! What clients did, and what they were told.

use bytes::Bytes;

/// Microseconds on the clients' one clock.
pub type Time = u64;

/// A key with its value (etcd v3 API: `KeyValue`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kv {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision that made the key.
    pub create: i64,
    /// The revision of its last change.
    pub modified: i64,
    /// How many changes it has had since it was made.
    pub version: i64,
    /// The lease that it hangs on, or 0.
    pub lease: i64,
}

/// A range of keys, as etcd writes it: an empty end for the key alone, a zero byte for all from it on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first key.
    pub key: Bytes,
    /// The first one behind it.
    pub end: Bytes,
}

impl Span {
    /// One key.
    pub fn one(key: impl Into<Bytes>) -> Self {
        Self { key: key.into(), end: Bytes::new() }
    }

    /// All keys.
    pub fn all() -> Self {
        Self { key: Bytes::from_static(&[0]), end: Bytes::from_static(&[0]) }
    }

    /// Whether a key is in it.
    pub fn has(&self, key: &[u8]) -> bool {
        match self.end.as_ref() {
            [] => key == self.key,
            [0] => key >= self.key.as_ref(),
            end => key >= self.key.as_ref() && key < end,
        }
    }

    /// Whether it has every key.
    pub fn is_all(&self) -> bool {
        self.end.as_ref() == [0] && matches!(self.key.as_ref(), [] | [0])
    }
}

/// One thing to do to keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Set a key, and give what was there before.
    Put {
        /// The key.
        key: Bytes,
        /// Its value from now on.
        value: Bytes,
        /// Its lease, or 0.
        lease: i64,
    },
    /// Delete keys, and give what was there.
    Delete(Span),
    /// Read keys, in the order of the keys.
    Get(Span),
}

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Of a put: what was there before.
    Put(Option<Kv>),
    /// Of a deletion: what is gone.
    Deleted(Vec<Kv>),
    /// Of a read.
    Got(Vec<Kv>),
}

/// What a comparison looks at, and with what it compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// [`Kv::version`]; 0 for a key that is not there, as the next two.
    Version(i64),
    /// [`Kv::create`].
    Create(i64),
    /// [`Kv::modified`].
    Modified(i64),
    /// [`Kv::value`]; false for a key that is not there.
    Value(Bytes),
    /// [`Kv::lease`].
    Lease(i64),
}

/// How a comparison compares the key's with the given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// They are the same.
    Equal,
    /// They are not.
    Unequal,
    /// The key's is greater.
    Greater,
    /// The key's is less.
    Less,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// On which key.
    pub key: Bytes,
    /// How.
    pub how: How,
    /// What.
    pub test: Test,
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// If all of these hold…
    pub compare: Vec<Compare>,
    /// …this is done,
    pub then: Vec<Step>,
    /// else this.
    pub otherwise: Vec<Step>,
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// One step.
    Step(Step),
    /// A transaction.
    Txn(Txn),
    /// Read the state as it was at a revision.
    ReadAt(Span, i64),
    /// Compact up to a revision.
    Compact(i64),
    /// Grant a lease, whose id was never used before.
    Grant {
        /// Its id.
        lease: i64,
        /// Its time.
        seconds: i64,
    },
    /// Revoke a lease.
    Revoke(i64),
    /// Keep a lease alive.
    KeepAlive(i64),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The revision in its header.
    pub revision: i64,
    /// The rest of it.
    pub body: Body,
}

/// What an answer says beside its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Of steps. A single one has succeeded.
    Steps {
        /// Which branch was taken.
        succeeded: bool,
        /// What each of its steps gave.
        given: Vec<Given>,
    },
    /// Of a grant or a renewal: the seconds; 0 where there is no such lease.
    Alive(i64),
    /// Of the others.
    Done,
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The revision is compacted.
    Compacted,
    /// The revision is yet to come.
    Future,
    /// Another reason.
    Other,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered.
    Answered(Answer),
    /// It was not done, and never will be.
    Refused(Refusal),
    /// Nobody knows. It may have been done, or may be later.
    Unknown,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The client.
    pub client: u32,
    /// One life of the member that was asked: in it, time does not go back.
    pub session: u64,
    /// When it was asked.
    pub begin: Time,
    /// When the client heard the outcome, or gave up.
    pub end: Time,
    /// Whether it is a read that need not be of the newest state.
    pub serializable: bool,
    /// What was asked.
    pub call: Call,
    /// What came of it.
    pub outcome: End,
}

/// One change of one key, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether the key is gone; then the key and the revision are all that is told of it.
    pub deleted: bool,
    /// The key after it.
    pub kv: Kv,
    /// The key before it.
    pub prev: Option<Kv>,
}

/// What came on a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// It has begun, at this revision.
    Created(i64),
    /// Events, and the revision in the header.
    Events(i64, Vec<Event>),
    /// All up to this revision has been told.
    Progress(i64),
    /// It has ended: because this revision was compacted, or 0.
    Canceled(i64),
}

/// One watch, from its creation to its end or its loss. Previous values were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The client.
    pub client: u32,
    /// Which keys.
    pub span: Span,
    /// From which revision on; 0 for what comes after its creation.
    pub start: i64,
    /// When it was asked for.
    pub begin: Time,
    /// What came, and when.
    pub items: Vec<(Time, Item)>,
    /// Whether it was there to the end, and all that happened must have come.
    pub settled: bool,
}

/// A run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All operations, in the order of their ends.
    pub operations: Vec<Operation>,
    /// All watches.
    pub watches: Vec<Watch>,
    /// From when on nothing failed any more.
    pub calm: Option<Time>,
}

impl Operation {
    /// The answer, where there is one.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            End::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    /// Whether its answer's revision is that of the place where it happened. The others' is that of
    /// the member that was asked, which may lag.
    pub fn is_placed(&self) -> bool {
        !self.serializable && !matches!(self.call, Call::KeepAlive(_))
    }
}
