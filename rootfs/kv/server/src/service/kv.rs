//! etcd's service KV.

use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use kv_api::kvpb::command::Change;
use kv_core::{Operation, Outcome, Refusal};
use tonic::{Request, Response, Status};

use crate::auth::Credentials;
use crate::auth::gate::deny;
use crate::member::{Member, blocking, broken, mixed_up};
use crate::{answer, quota, wire};

/// The service.
#[derive(Debug)]
pub struct Kv(pub Member);

fn refuse(refusal: Refusal) -> Status {
    wire::fault(refusal).into()
}

#[tonic::async_trait]
impl pb::kv_server::Kv for Kv {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let credentials = Credentials::of(&request);
        let request = request.into_inner();
        if request.key.is_empty() {
            return Err(Fault::EmptyKey.into());
        }
        crate::metrics::RANGES.add(1);
        let serializable = request.serializable;
        let mut range = wire::range(request)?;
        if !range.count_only {
            range.limit = self.0.limits.range_limit(range.limit);
        }
        let view = self.0.view(serializable).await?;
        let caller = self.0.caller(&credentials).await?;
        let policy = self.0.shared.auth.policy();
        policy.check_read(&caller, &range.key, &range.range_end).map_err(deny)?;
        let reply = if range.range_end.is_empty() {
            view.range(&range).map_err(broken)?
        } else {
            blocking(move || view.range(&range)).await?
        };
        let reply = reply.map_err(refuse)?;
        self.0.limits.check_range(reply.kvs.len())?;
        let header = self.0.header(reply.revision);
        Ok(Response::new(answer::range(reply, header)))
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let credentials = Credentials::of(&request);
        let request = request.into_inner();
        kv_core::check_put(&wire::put(request.clone())).map_err(refuse)?;
        self.0.check_room(quota::put_bytes(&request)).await?;
        let caller = self.0.caller(&credentials).await?;
        let (revision, outcome) = self.0.change_as(caller, Change::Put(request)).await?;
        let Outcome::Put(reply) = outcome else { return Err(mixed_up()) };
        Ok(Response::new(answer::put(reply, self.0.header(revision))))
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let credentials = Credentials::of(&request);
        let request = request.into_inner();
        kv_core::check_delete(&wire::delete_range(request.clone())).map_err(refuse)?;
        let caller = self.0.caller(&credentials).await?;
        let (revision, outcome) = self.0.change_as(caller, Change::DeleteRange(request)).await?;
        let Outcome::DeleteRange(reply) = outcome else { return Err(mixed_up()) };
        Ok(Response::new(answer::delete_range(reply, self.0.header(revision))))
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let credentials = Credentials::of(&request);
        let request = request.into_inner();
        let txn = wire::txn(request.clone())?;
        kv_core::check_txn(&txn, self.0.limits.txn_operations).map_err(refuse)?;
        let mut operations = txn.success.iter().chain(&txn.failure);
        if operations.all(|operation| matches!(operation, Operation::Range(_))) {
            let view = self.0.view(is_serializable(&request)).await?;
            let caller = self.0.caller(&credentials).await?;
            let policy = self.0.shared.auth.policy();
            view.check_txn(&policy, &caller, &txn).map_err(broken)?.map_err(deny)?;
            let reply = blocking(move || view.read_txn(&txn)).await?.map_err(refuse)?;
            let reply = reply.ok_or_else(mixed_up)?;
            let header = self.0.header(reply.revision);
            return Ok(Response::new(answer::txn(reply, header)));
        }
        let bytes = quota::txn_bytes(&request);
        if bytes > 0 {
            self.0.check_room(bytes).await?;
        }
        let caller = self.0.caller(&credentials).await?;
        let (revision, outcome) = self.0.change_as(caller, Change::Txn(request)).await?;
        let Outcome::Txn(reply) = outcome else { return Err(mixed_up()) };
        Ok(Response::new(answer::txn(reply, self.0.header(revision))))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let caller = self.0.check_admin(&request).await?;
        let request = request.into_inner();
        let (physical, until) = (request.physical, request.revision);
        let (revision, _) = self.0.change_as(caller, Change::Compaction(request)).await?;
        if physical {
            let mut swept = self.0.shared.swept.clone();
            swept.wait_for(|swept| *swept >= until).await.map_err(|_| Fault::Stopped)?;
        }
        Ok(Response::new(pb::CompactionResponse { header: Some(self.0.header(revision)) }))
    }
}

fn operations(txn: &pb::TxnRequest) -> impl Iterator<Item = &pb::request_op::Request> {
    txn.success.iter().chain(&txn.failure).filter_map(|operation| operation.request.as_ref())
}

/// A transaction of ranges is serializable if all of them are.
fn is_serializable(txn: &pb::TxnRequest) -> bool {
    operations(txn).all(|operation| match operation {
        pb::request_op::Request::RequestRange(range) => range.serializable,
        _ => false,
    })
}
