//! What one member asks of the one that leads, beside Raft: what only the leader knows or may do.
//! Members of two versions read each other's: numbers are never reused.

use kv_api::Fault;

/// A question to the leader.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Which one; a question that is not known is refused.
    #[prost(oneof = "Ask", tags = "1, 2, 3, 4, 5, 6")]
    pub ask: Option<Ask>,
}

/// What is asked.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Ask {
    /// Give a lease its whole time again. Answered by [`Answer::Seconds`], 0 when there is none.
    #[prost(int64, tag = "1")]
    KeepAlive(i64),
    /// What a lease still has. Answered by [`Answer::Left`].
    #[prost(int64, tag = "2")]
    Left(i64),
    /// Add a member. Answered by [`Answer::Done`], as the rest.
    #[prost(message, tag = "3")]
    Add(Add),
    /// Give a learner a vote.
    #[prost(uint64, tag = "4")]
    Promote(u64),
    /// Remove a member.
    #[prost(uint64, tag = "5")]
    Remove(u64),
    /// Give a member other addresses.
    #[prost(message, tag = "6")]
    Update(Update),
}

/// A new member.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Add {
    /// Its id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its peer addresses.
    #[prost(string, repeated, tag = "2")]
    pub urls: Vec<String>,
    /// Whether it stays without a vote until it is promoted.
    #[prost(bool, tag = "3")]
    pub learner: bool,
}

/// Other addresses of a member.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Update {
    /// Which member.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its peer addresses from now on.
    #[prost(string, repeated, tag = "2")]
    pub urls: Vec<String>,
}

/// The leader's answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// What it says.
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5")]
    pub answer: Option<Answer>,
}

/// What is answered.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answer {
    /// Nothing was done: this member does not lead.
    #[prost(bool, tag = "1")]
    NotLeader(bool),
    /// Refused, with etcd's text.
    #[prost(string, tag = "2")]
    Refused(String),
    /// It is done.
    #[prost(bool, tag = "3")]
    Done(bool),
    /// A lease's time, seconds.
    #[prost(int64, tag = "4")]
    Seconds(i64),
    /// What a lease still has.
    #[prost(message, tag = "5")]
    Left(Left),
}

/// What a lease still has.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Left {
    /// Whether there is such a lease.
    #[prost(bool, tag = "1")]
    pub there: bool,
    /// Seconds for which it was granted.
    #[prost(int64, tag = "2")]
    pub granted_s: i64,
    /// Whole seconds that are left.
    #[prost(int64, tag = "3")]
    pub left_s: i64,
}

/// Why the leader did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not lead; nothing was done.
    NotLeader,
    /// It is told to the client.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Answer {
    /// The answer's bytes on the way.
    pub fn of(outcome: Result<Self, Refusal>) -> Response {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(Refusal::NotLeader) => Self::NotLeader(true),
            Err(Refusal::Fault(fault)) => Self::Refused(fault.text().to_owned()),
        };
        Response { answer: Some(answer) }
    }
}

impl Response {
    /// What came of the question.
    ///
    /// # Errors
    /// The leader's refusal; [`Fault::Unhealthy`] for one that this version does not know.
    pub fn outcome(self) -> Result<Answer, Refusal> {
        match self.answer {
            Some(Answer::NotLeader(_)) => Err(Refusal::NotLeader),
            Some(Answer::Refused(text)) => {
                let fault = Fault::ALL.iter().find(|fault| fault.text() == text);
                Err(Refusal::Fault(fault.copied().unwrap_or(Fault::Unhealthy)))
            }
            Some(answer) => Ok(answer),
            None => Err(Refusal::Fault(Fault::Unhealthy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn refusals_come_through_as_they_were() {
        let outcomes = [
            Ok(Answer::Seconds(9)),
            Ok(Answer::Left(Left { there: true, granted_s: 10, left_s: 0 })),
            Err(Refusal::NotLeader),
            Err(Refusal::Fault(Fault::LearnerNotReady)),
        ];
        for outcome in outcomes {
            let bytes = Answer::of(outcome.clone()).encode_to_vec();
            assert_eq!(Response::decode(bytes.as_slice()).unwrap().outcome(), outcome);
        }
        let later = Response::decode([0x7a, 0x00].as_slice()).unwrap();
        assert_eq!(later.outcome(), Err(Refusal::Fault(Fault::Unhealthy)));
    }
}
