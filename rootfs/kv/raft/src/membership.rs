//! Members between openraft's form and the wire's.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::WireError;
use crate::types::{RaftMembership, RaftStored};
use crate::{LogId, Member, NodeId, wire};

pub(crate) fn to_wire(membership: &RaftMembership) -> wire::Membership {
    wire::Membership {
        sets: membership
            .get_joint_config()
            .iter()
            .map(|ids| wire::VoterSet { ids: ids.iter().copied().collect() })
            .collect(),
        members: membership
            .nodes()
            .map(|(id, member)| wire::Member { id: *id, urls: member.urls.clone() })
            .collect(),
    }
}

pub(crate) fn from_wire(membership: &wire::Membership) -> Result<RaftMembership, WireError> {
    let sets = membership.sets.iter().map(|set| set.ids.iter().copied().collect::<BTreeSet<NodeId>>());
    let members: BTreeMap<NodeId, Member> =
        membership.members.iter().map(|m| (m.id, Member { urls: m.urls.clone() })).collect();
    RaftMembership::new(sets.collect(), members).map_err(|e| WireError::Membership(e.to_string()))
}

/// The membership of a position, as openraft wants it.
pub(crate) fn stored(position: &wire::Position) -> Result<RaftStored, WireError> {
    let membership = position.membership.as_ref().map(from_wire).transpose()?.unwrap_or_default();
    Ok(RaftStored::new(position.membership_id.map(|id| LogId::from(id).into()), membership))
}
