//! What a member does by itself as its part in the cluster changes.

use std::collections::BTreeSet;
use std::time::Duration;

use kv_api::kvpb::{Command, MemberPublished, command::Change};
use kv_raft::{NodeId, Role, Runtime, Status};

use super::leader::is_ready;
use super::node::{Peers, Replica};

/// Changes that come within this are looked at together.
const TOGETHER: Duration = Duration::from_millis(20);

impl<R: Runtime, N: Peers> Replica<R, N> {
    /// Follows the part that this member has: it begins and ends the leases' clock, tells the network
    /// who is a member, and gives votes to those that have caught up. Returns when Raft stops.
    pub(super) async fn steer(self) {
        let mut watch = self.inner.node.watch();
        let mut leads = None;
        let mut told = None;
        loop {
            let status = watch.status();
            if status.stopped.is_some() {
                return;
            }
            let now = (status.role == Role::Leader).then_some(status.term);
            if now != leads {
                leads = now;
                match now {
                    Some(term) => self.inner.shared.lessor.lead(term),
                    None => self.inner.shared.lessor.follow(),
                }
            }
            // The members can be known before the state has who was removed.
            let place = (status.members.clone(), status.applied);
            if told.as_ref() != Some(&place) {
                self.tell_peers(&status);
                told = Some(place);
            }
            if now.is_some() && status.members.len() > status.voters.len() {
                self.give_votes(&status).await;
            }
            if !watch.changed().await {
                return;
            }
            tokio::time::sleep(TOGETHER).await;
        }
    }

    fn tell_peers(&self, status: &Status) {
        // Without the state there is nobody to keep out.
        let known = self.known().unwrap_or_default();
        let removed = known.iter().filter(|(id, known)| known.removed && !status.members.contains_key(id));
        let removed: BTreeSet<NodeId> = removed.map(|(id, _)| *id).collect();
        self.inner.peers.told(&status.members, &removed);
    }

    async fn give_votes(&self, status: &Status) {
        let Ok(known) = self.known() else { return };
        for id in status.members.keys().filter(|id| !status.voters.contains(id)) {
            if known.get(id).is_some_and(|known| known.wants_vote) && is_ready(status, *id) {
                // What fails now is tried again with the next change.
                let _ = self.inner.node.promote(*id).await;
            }
        }
    }

    /// Says this member's name and addresses, until the state has them. Returns then.
    pub(super) async fn publish(self) {
        let id = self.inner.node.id();
        let me = &self.inner.me;
        let published = MemberPublished { id, name: me.name.clone(), client_urls: me.client_urls.clone() };
        let mut watch = self.inner.node.watch();
        loop {
            // Not before it is known as a member here: what it proposes would come to no leader.
            let member = |status: &Status| status.members.contains_key(&id) && status.leader.is_some();
            if watch.until(member).await.is_none() {
                return;
            }
            let known = self.known().unwrap_or_default();
            if known.get(&id).and_then(|known| known.published.as_ref()) == Some(&published) {
                return;
            }
            let change = Some(Change::MemberPublished(published.clone()));
            if self.change(Command { change, ..Command::default() }).await.is_err() {
                tokio::time::sleep(self.inner.election / 2).await;
            }
        }
    }
}
