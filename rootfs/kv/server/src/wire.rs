//! What clients ask, from the wire into the state machine's own types, with etcd's
//! answers to what cannot be asked.

use bytes::Bytes;
use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use kv_api::kvpb::command::Change;
use kv_core::{
    Alarm, AlarmAction, Command, Compare, CompareResult, DeleteRange, Operation, Put, Range, Refusal,
    SortOrder, SortTarget, Target, Txn,
};

/// A range.
///
/// # Errors
/// [`Fault::InvalidSortOption`] for an order or target that etcd does not have.
pub fn range(request: pb::RangeRequest) -> Result<Range, Fault> {
    let unknown = |_| Fault::InvalidSortOption;
    let sort_order = match pb::range_request::SortOrder::try_from(request.sort_order).map_err(unknown)? {
        pb::range_request::SortOrder::None => SortOrder::None,
        pb::range_request::SortOrder::Ascend => SortOrder::Ascend,
        pb::range_request::SortOrder::Descend => SortOrder::Descend,
    };
    let sort_target = match pb::range_request::SortTarget::try_from(request.sort_target).map_err(unknown)? {
        pb::range_request::SortTarget::Key => SortTarget::Key,
        pb::range_request::SortTarget::Version => SortTarget::Version,
        pb::range_request::SortTarget::Create => SortTarget::Create,
        pb::range_request::SortTarget::Mod => SortTarget::Mod,
        pb::range_request::SortTarget::Value => SortTarget::Value,
    };
    Ok(Range {
        key: request.key,
        range_end: request.range_end,
        limit: request.limit,
        revision: request.revision,
        sort_order,
        sort_target,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    })
}

/// A put.
pub fn put(request: pb::PutRequest) -> Put {
    Put {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

/// A deletion.
pub fn delete_range(request: pb::DeleteRangeRequest) -> DeleteRange {
    DeleteRange { key: request.key, range_end: request.range_end, prev_kv: request.prev_kv }
}

/// A transaction.
///
/// # Errors
/// [`Fault::KeyNotFound`] for an operation that is not set, as etcd has it;
/// [`Fault::InvalidSortOption`] as [`range`], and for a comparison that etcd does not have.
pub fn txn(request: pb::TxnRequest) -> Result<Txn, Fault> {
    let compare = request.compare.into_iter().map(compare).collect::<Result<_, _>>()?;
    let success = request.success.into_iter().map(operation).collect::<Result<_, _>>()?;
    let failure = request.failure.into_iter().map(operation).collect::<Result<_, _>>()?;
    Ok(Txn { compare, success, failure })
}

fn operation(operation: pb::RequestOp) -> Result<Operation, Fault> {
    use pb::request_op::Request;
    Ok(match operation.request.ok_or(Fault::KeyNotFound)? {
        Request::RequestRange(request) => Operation::Range(range(request)?),
        Request::RequestPut(request) => Operation::Put(put(request)),
        Request::RequestDeleteRange(request) => Operation::DeleteRange(delete_range(request)),
        Request::RequestTxn(request) => Operation::Txn(txn(request)?),
    })
}

/// A field that does not belong to the target counts as not given: 0, or nothing.
fn compare(compare: pb::Compare) -> Result<Compare, Fault> {
    use pb::compare::{CompareResult as Wanted, CompareTarget, TargetUnion};
    let unknown = |_| Fault::InvalidSortOption;
    let result = match Wanted::try_from(compare.result).map_err(unknown)? {
        Wanted::Equal => CompareResult::Equal,
        Wanted::Greater => CompareResult::Greater,
        Wanted::Less => CompareResult::Less,
        Wanted::NotEqual => CompareResult::NotEqual,
    };
    let target = match (CompareTarget::try_from(compare.target).map_err(unknown)?, compare.target_union) {
        (CompareTarget::Version, Some(TargetUnion::Version(number))) => Target::Version(number),
        (CompareTarget::Version, _) => Target::Version(0),
        (CompareTarget::Create, Some(TargetUnion::CreateRevision(number))) => Target::Create(number),
        (CompareTarget::Create, _) => Target::Create(0),
        (CompareTarget::Mod, Some(TargetUnion::ModRevision(number))) => Target::Mod(number),
        (CompareTarget::Mod, _) => Target::Mod(0),
        (CompareTarget::Value, Some(TargetUnion::Value(value))) => Target::Value(value),
        (CompareTarget::Value, _) => Target::Value(Bytes::new()),
        (CompareTarget::Lease, Some(TargetUnion::Lease(number))) => Target::Lease(number),
        (CompareTarget::Lease, _) => Target::Lease(0),
    };
    Ok(Compare { key: compare.key, range_end: compare.range_end, result, target })
}

/// The command that a change in the log stands for; `None` for one that this version
/// does not carry out.
///
/// # Errors
/// As [`txn`].
pub fn command(change: Change) -> Result<Option<Command>, Fault> {
    Ok(Some(match change {
        Change::Put(request) => Command::Put(put(request)),
        Change::DeleteRange(request) => Command::DeleteRange(delete_range(request)),
        Change::Txn(request) => Command::Txn(txn(request)?),
        Change::Compaction(request) => Command::Compact { revision: request.revision },
        Change::LeaseGrant(request) => Command::LeaseGrant { id: request.id, ttl_s: request.ttl },
        Change::LeaseRevoke(request) => Command::LeaseRevoke { id: request.id },
        Change::LeaseCheckpoint(request) => Command::LeaseCheckpoint(
            request.leases.into_iter().map(|lease| (lease.id, lease.remaining_ttl_s)).collect(),
        ),
        Change::Alarm(request) => {
            let action = match pb::alarm_request::AlarmAction::try_from(request.action) {
                Ok(pb::alarm_request::AlarmAction::Get) => AlarmAction::Get,
                Ok(pb::alarm_request::AlarmAction::Activate) => AlarmAction::Activate,
                Ok(pb::alarm_request::AlarmAction::Deactivate) => AlarmAction::Deactivate,
                Err(_) => return Ok(None),
            };
            let alarm = Alarm { member: request.member_id, kind: request.alarm as u32 };
            Command::Alarm { action, alarm }
        }
        Change::MemberPublished(published) => crate::replica::publish(&published),
        Change::MemberIntent(intent) => crate::replica::intend(&intent),
        _ => return Ok(None),
    }))
}

/// etcd's error for a refusal.
pub fn fault(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::EmptyKey => Fault::EmptyKey,
        Refusal::KeyNotFound => Fault::KeyNotFound,
        Refusal::ValueProvided => Fault::ValueProvided,
        Refusal::LeaseProvided => Fault::LeaseProvided,
        Refusal::TooManyOps => Fault::TooManyOps,
        Refusal::DuplicateKey => Fault::DuplicateKey,
        Refusal::Compacted => Fault::Compacted,
        Refusal::FutureRevision => Fault::FutureRev,
        Refusal::LeaseNotFound => Fault::LeaseNotFound,
        Refusal::LeaseExists => Fault::LeaseExist,
        Refusal::LeaseTtlTooLarge => Fault::LeaseTtlTooLarge,
    }
}
