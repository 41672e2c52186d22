//! etcd's service Cluster, for a cluster that is as it was started.

use kv_api::etcdserverpb as pb;
use tonic::{Request, Response, Status};

use crate::member::Member;

/// The service.
#[derive(Debug)]
pub struct Cluster(pub Member);

fn not_yet() -> Status {
    Status::unimplemented("kv: this version serves a cluster of one member, which cannot be changed")
}

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Cluster {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        if request.get_ref().linearizable {
            self.0.consensus.read_barrier().await?;
        }
        self.0.check_known(&request).await?;
        let identity = &self.0.identity;
        let member = pb::Member {
            id: identity.member,
            name: identity.name.clone(),
            peer_ur_ls: identity.peer_urls.clone(),
            client_ur_ls: self.0.client_urls.to_vec(),
            is_learner: false,
        };
        // etcd leaves the revision out here.
        Ok(Response::new(pb::MemberListResponse { header: Some(self.0.header(0)), members: vec![member] }))
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        self.0.check_admin(&request).await?;
        Err(not_yet())
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        self.0.check_admin(&request).await?;
        Err(not_yet())
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        self.0.check_admin(&request).await?;
        Err(not_yet())
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        self.0.check_admin(&request).await?;
        Err(not_yet())
    }
}
