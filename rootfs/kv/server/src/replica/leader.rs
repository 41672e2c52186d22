//! What only the leader does: it knows how long leases have, and changes the members.

use std::collections::BTreeSet;

use kv_api::Fault;
use kv_api::kvpb::{Command, MemberIntent, command::Change};
use kv_raft::{ChangeError, Member, NodeId, Role, Runtime, Status};
use tokio::time::Instant;

use super::ask::{Add, Answer, Ask, Left, Refusal};
use super::members::{Known, known};
use super::node::{Peers, Replica};

/// Learners that a cluster may have (etcd: `--max-learners`).
const LEARNERS: usize = 1;

/// A change of the members.
enum Step {
    Add(NodeId, Member),
    Promote(NodeId),
    Remove(NodeId),
    Update(NodeId, Member),
}

/// Whether a learner has enough of the leader's log to vote (etcd: 90 %).
pub(super) fn is_ready(status: &Status, id: NodeId) -> bool {
    let matching = status.matching.get(&id).copied().flatten().map_or(0, |at| at.index + 1);
    matching * 10 >= status.last.map_or(0, |last| last + 1) * 9
}

impl<R: Runtime, N: Peers> Replica<R, N> {
    pub(super) async fn answer_here(&self, ask: &Ask) -> Result<Answer, Refusal> {
        match ask {
            Ask::KeepAlive(id) => {
                // Before, not after: who leads instead gave the lease its time after this.
                self.check_lead().await?;
                let kept = self.inner.shared.lessor.keep_alive(*id);
                kept.map(|ttl| Answer::Seconds(ttl.unwrap_or(0))).map_err(|_| Refusal::NotLeader)
            }
            Ask::Left(id) => {
                self.check_lead().await?;
                let left = self.inner.shared.lessor.left(*id).map_err(|_| Refusal::NotLeader)?;
                let left =
                    left.map(|left| Left { there: true, granted_s: left.granted_s, left_s: left.left_s });
                Ok(Answer::Left(left.unwrap_or_default()))
            }
            Ask::Add(add) => self.add(add).await,
            Ask::Promote(id) => self.promote(*id).await,
            Ask::Remove(id) => self.remove(*id).await,
            Ask::Update(update) => self.update(update.id, &update.urls).await,
        }
    }

    pub(super) fn known(&self) -> Result<std::collections::BTreeMap<u64, Known>, Fault> {
        let view = self.inner.shared.source.view().map_err(|_| Fault::Stopped)?;
        known(&view).map_err(|_| Fault::Stopped)
    }

    /// Refuses what a member that does not lead, or knows not all, must not decide.
    async fn decide(&self) -> Result<Status, Refusal> {
        self.check_lead().await?;
        let status = self.inner.node.status();
        if status.role == Role::Leader { Ok(status) } else { Err(Refusal::NotLeader) }
    }

    async fn intend(&self, intent: MemberIntent) -> Result<(), Refusal> {
        let change = Some(Change::MemberIntent(intent));
        self.change(Command { change, ..Command::default() }).await?;
        Ok(())
    }

    async fn add(&self, add: &Add) -> Result<Answer, Refusal> {
        let status = self.decide().await?;
        let known = self.known()?;
        if status.members.contains_key(&add.id) || known.get(&add.id).is_some_and(|known| known.removed) {
            return Err(Fault::MemberExist.into());
        }
        check_urls(&status, add.id, &add.urls)?;
        let wants = |id: &NodeId| known.get(id).is_some_and(|known| known.wants_vote);
        let voting: BTreeSet<_> =
            status.members.keys().filter(|id| status.voters.contains(id) || wants(id)).collect();
        if add.learner {
            if status.members.len() - voting.len() >= LEARNERS {
                return Err(Fault::TooManyLearners.into());
            }
        } else {
            let started = voting.iter().filter(|id| is_started(known.get(**id))).count();
            let members = voting.len() + 1;
            // etcd's `--strict-reconfig-check`; the second member is always taken.
            if !(started == 1 && members == 2) && started < members / 2 + 1 {
                return Err(Fault::MemberNotEnoughStarted.into());
            }
        }
        self.intend(MemberIntent { id: add.id, wants_vote: !add.learner, removed: false }).await?;
        let member = Member { urls: add.urls.clone() };
        self.until_changed(Step::Add(add.id, member)).await
    }

    async fn promote(&self, id: NodeId) -> Result<Answer, Refusal> {
        let status = self.decide().await?;
        if !status.members.contains_key(&id) {
            return Err(Fault::MemberNotFound.into());
        }
        if status.voters.contains(&id) {
            return Err(Fault::MemberNotLearner.into());
        }
        if !is_ready(&status, id) {
            return Err(Fault::LearnerNotReady.into());
        }
        self.until_changed(Step::Promote(id)).await
    }

    async fn remove(&self, id: NodeId) -> Result<Answer, Refusal> {
        let status = self.decide().await?;
        if !status.members.contains_key(&id) {
            return Err(Fault::MemberNotFound.into());
        }
        let known = self.known()?;
        let left: Vec<_> = status.voters.iter().filter(|voter| **voter != id).collect();
        let started = left.iter().filter(|id| is_started(known.get(**id))).count();
        if status.voters.contains(&id) && started < left.len() / 2 + 1 {
            return Err(Fault::MemberNotEnoughStarted.into());
        }
        if id == self.inner.node.id() {
            // Another one takes the lead, and then this one out: it asks that one itself.
            let furthest = left.into_iter().max_by_key(|id| status.matching.get(*id).copied().flatten());
            let to = furthest.copied().ok_or(Fault::MemberNotEnoughStarted)?;
            self.give_lead(to).await?;
            return Err(Refusal::NotLeader);
        }
        self.intend(MemberIntent { id, wants_vote: false, removed: true }).await?;
        let removed = self.until_changed(Step::Remove(id)).await;
        if removed.is_err() && self.inner.node.status().members.contains_key(&id) {
            // It stays a member, and is to be one; a failure of this shows in the next attempt.
            let _ = self.intend(MemberIntent { id, wants_vote: false, removed: false }).await;
        }
        removed
    }

    async fn update(&self, id: NodeId, urls: &[String]) -> Result<Answer, Refusal> {
        let status = self.decide().await?;
        if !status.members.contains_key(&id) {
            return Err(Fault::MemberNotFound.into());
        }
        check_urls(&status, id, urls)?;
        let member = Member { urls: urls.to_vec() };
        self.until_changed(Step::Update(id, member)).await
    }

    /// Changes the members once no other change is under way.
    async fn until_changed(&self, step: Step) -> Result<Answer, Refusal> {
        let node = &self.inner.node;
        let until = Instant::now() + self.inner.request;
        loop {
            let changed = match &step {
                Step::Add(id, member) => node.add_learner(*id, member.clone()).await,
                Step::Promote(id) => node.promote(*id).await,
                Step::Remove(id) => node.remove(*id).await,
                Step::Update(id, member) => node.update(*id, member.clone()).await,
            };
            return match changed {
                Ok(()) => Ok(Answer::Done(true)),
                Err(ChangeError::NotLeader { .. }) => Err(Refusal::NotLeader),
                Err(ChangeError::InProgress { .. }) if Instant::now() < until => {
                    tokio::time::sleep(self.inner.election / 50).await;
                    continue;
                }
                Err(ChangeError::InProgress { .. } | ChangeError::Timeout) => Err(Fault::Timeout.into()),
                Err(ChangeError::Unknown) => Err(Fault::TimeoutDueToLeaderFail.into()),
                Err(ChangeError::Stopped(_)) => Err(Fault::Stopped.into()),
                // What could be refused with a reason was refused before.
                Err(ChangeError::Refused(_)) => Err(Fault::Unhealthy.into()),
            };
        }
    }

    /// Gives the lead to another member with a vote. At the leader.
    pub(super) async fn give_lead(&self, to: NodeId) -> Result<(), Fault> {
        let node = &self.inner.node;
        let status = node.status();
        if status.role != Role::Leader {
            return Err(Fault::NotLeader);
        }
        if !status.voters.contains(&to) {
            return Err(Fault::BadLeaderTransferee);
        }
        match node.transfer_leader(to).await {
            Ok(()) => Ok(()),
            Err(ChangeError::NotLeader { .. }) => Err(Fault::NotLeader),
            Err(ChangeError::Stopped(_)) => Err(Fault::Stopped),
            Err(_) => Err(Fault::Timeout),
        }
    }
}

/// A member is started once it has said its name.
fn is_started(known: Option<&Known>) -> bool {
    known.is_some_and(|known| known.published.is_some())
}

fn check_urls(status: &Status, id: NodeId, urls: &[String]) -> Result<(), Fault> {
    let others = status.members.iter().filter(|(other, _)| **other != id);
    let taken: BTreeSet<_> = others.flat_map(|(_, member)| &member.urls).collect();
    if urls.iter().any(|url| taken.contains(url)) { Err(Fault::PeerUrlExist) } else { Ok(()) }
}
