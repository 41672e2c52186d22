//! What is kept of members beside Raft's own list of them: the names and client addresses that they
//! publish, and what was meant with them. It is in the state, as entries of the server's.

use std::collections::BTreeMap;

use bytes::Bytes;
use kv_api::kvpb;
use kv_core::{Command, View};
use prost::Message as _;

use crate::error::Error;

const PREFIX: &[u8] = b"member/";
const PUBLISHED: u8 = b'p';
const INTENT: u8 = b'i';

/// What is known of a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// What it said of itself; nothing before its first start.
    pub published: Option<kvpb::MemberPublished>,
    /// Whether it is to get a vote as soon as it has caught up.
    pub wants_vote: bool,
    /// Whether it was removed: it never comes back under this id.
    pub removed: bool,
}

fn key(id: u64, kind: u8) -> Bytes {
    [PREFIX, &id.to_be_bytes(), &[kind]].concat().into()
}

/// The entry that a member's publication becomes.
pub fn publish(published: &kvpb::MemberPublished) -> Command {
    Command::Side(vec![(key(published.id, PUBLISHED), Some(published.encode_to_vec().into()))])
}

/// The entry that an intent becomes.
pub fn intend(intent: &kvpb::MemberIntent) -> Command {
    Command::Side(vec![(key(intent.id, INTENT), Some(intent.encode_to_vec().into()))])
}

/// All members of which something is known, those that were removed as well.
///
/// # Errors
/// [`Error::Core`].
pub fn known(view: &View) -> Result<BTreeMap<u64, Known>, Error> {
    let mut all = BTreeMap::<u64, Known>::new();
    for (key, value) in view.side_all(PREFIX)? {
        let Some((id, [kind])) = key.get(PREFIX.len()..).and_then(|rest| rest.split_first_chunk()) else {
            continue;
        };
        let known = all.entry(u64::from_be_bytes(*id)).or_default();
        match *kind {
            PUBLISHED => known.published = kvpb::MemberPublished::decode(value).ok(),
            INTENT => {
                let intent = kvpb::MemberIntent::decode(value).unwrap_or_default();
                known.wants_vote = intent.wants_vote;
                known.removed = intent.removed;
            }
            _ => {}
        }
    }
    Ok(all)
}
