//! etcd's service Cluster.

use std::time::SystemTime;

use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use tonic::{Request, Response, Status};

use crate::identity::added_id;
use crate::member::{Member, broken, chain};
use crate::peer::socket;
use crate::replica::ask::{Add, Ask, Update};
use crate::replica::known;

/// The service.
#[derive(Debug)]
pub struct Cluster(pub Member);

impl Cluster {
    /// The members in the order of their ids. One that is to get a vote when it has caught up is not
    /// called a learner: nobody has to promote it.
    fn members(&self) -> Result<Vec<pb::Member>, Status> {
        let view = self.0.shared.source.view().map_err(broken)?;
        let mut known = known(&view).map_err(|error| Status::data_loss(chain(&error)))?;
        let member = |place: crate::consensus::Place| {
            let known = known.remove(&place.id).unwrap_or_default();
            let published = known.published.unwrap_or_default();
            pb::Member {
                id: place.id,
                name: published.name,
                peer_ur_ls: place.peer_urls,
                client_ur_ls: published.client_urls,
                is_learner: !place.has_vote && !known.wants_vote,
            }
        };
        Ok(self.0.consensus.places().into_iter().map(member).collect())
    }

    /// Asks the leader, and waits until this member knows what came of it.
    async fn ask(&self, ask: Ask) -> Result<Vec<pb::Member>, Status> {
        let own = self.0.identity.member;
        let leaves = ask == Ask::Remove(own);
        self.0.consensus.ask_leader(ask).await?;
        if !leaves {
            // One that has left has nobody to ask any more.
            self.0.consensus.read_barrier().await?;
        }
        let mut members = self.members()?;
        members.retain(|member| !leaves || member.id != own);
        Ok(members)
    }

    // etcd leaves the revision out here.
    fn header(&self) -> pb::ResponseHeader {
        self.0.header(0)
    }
}

/// Peer addresses as etcd takes them.
fn check(urls: &[String]) -> Result<(), Fault> {
    let good = !urls.is_empty() && urls.iter().all(|url| socket::target(url).is_ok());
    if good { Ok(()) } else { Err(Fault::MemberBadUrls) }
}

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Cluster {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        if request.into_inner().linearizable {
            self.0.consensus.read_barrier().await?;
        }
        Ok(Response::new(pb::MemberListResponse { header: Some(self.header()), members: self.members()? }))
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let request = request.into_inner();
        let urls = request.peer_ur_ls;
        check(&urls)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let id = added_id(&urls, self.0.identity.cluster, now.as_nanos());
        let learner = request.is_learner;
        let members = self.ask(Ask::Add(Add { id, urls: urls.clone(), learner })).await?;
        let member = pb::Member { id, peer_ur_ls: urls, is_learner: learner, ..pb::Member::default() };
        Ok(Response::new(pb::MemberAddResponse {
            header: Some(self.header()),
            member: Some(member),
            members,
        }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let members = self.ask(Ask::Remove(request.into_inner().id)).await?;
        Ok(Response::new(pb::MemberRemoveResponse { header: Some(self.header()), members }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let request = request.into_inner();
        check(&request.peer_ur_ls)?;
        let update = Update { id: request.id, urls: request.peer_ur_ls };
        let members = self.ask(Ask::Update(update)).await?;
        Ok(Response::new(pb::MemberUpdateResponse { header: Some(self.header()), members }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let members = self.ask(Ask::Promote(request.into_inner().id)).await?;
        Ok(Response::new(pb::MemberPromoteResponse { header: Some(self.header()), members }))
    }
}
