//! Each method of each service: what nobody, a user and root are told.

use kv_api::Fault;
use kv_api::etcdserverpb as pb;

use crate::clients::{Client, Member, delete, put, range, text};

/// What each method says to a caller: `ok` or why not.
async fn ask(client: &mut Client) -> Vec<(String, String)> {
    let mut said = Vec::new();
    let mut note = |what: &str, answer: String| said.push((what.to_owned(), answer));
    for (key, end) in [("a", ""), ("a", "c"), ("a", "d"), ("r", ""), ("z", "")] {
        note(&format!("range {key} {end}"), text(client.kv.range(range(key, end)).await));
        let serializable = pb::RangeRequest { serializable: true, ..range(key, end) };
        note(&format!("serializable range {key} {end}"), text(client.kv.range(serializable).await));
        note(&format!("delete {key} {end}"), text(client.kv.delete_range(delete(key, end)).await));
        let txn = pb::TxnRequest {
            success: vec![operation(pb::request_op::Request::RequestRange(range(key, end)))],
            ..Default::default()
        };
        note(&format!("txn that reads {key} {end}"), text(client.kv.txn(txn).await));
    }
    for key in ["a", "r", "z"] {
        note(&format!("put {key}"), text(client.kv.put(put(key, "1")).await));
        let txn = pb::TxnRequest {
            failure: vec![operation(pb::request_op::Request::RequestPut(put(key, "1")))],
            ..Default::default()
        };
        note(&format!("txn that would put {key}"), text(client.kv.txn(txn).await));
        let compare = pb::Compare { key: key.to_owned().into(), ..Default::default() };
        let txn = pb::TxnRequest { compare: vec![compare], ..Default::default() };
        note(&format!("txn that compares {key}"), text(client.kv.txn(txn).await));
    }
    let compact = pb::CompactionRequest { revision: 1 << 40, physical: false };
    note("compact", text(client.kv.compact(compact).await));
    note("lease grant", text(client.lease.lease_grant(pb::LeaseGrantRequest { id: 9, ttl: 60 }).await));
    note("put on lease 7", text(client.kv.put(pb::PutRequest { lease: 7, ..put("a", "1") }).await));
    for keys in [false, true] {
        let request = pb::LeaseTimeToLiveRequest { id: 7, keys };
        note(&format!("time to live {keys}"), text(client.lease.lease_time_to_live(request).await));
    }
    note("leases", text(client.lease.lease_leases(pb::LeaseLeasesRequest {}).await));
    let alive = tokio_stream::iter([pb::LeaseKeepAliveRequest { id: 7 }]);
    let mut answers = client.lease.lease_keep_alive(alive).await.unwrap().into_inner();
    note("keep alive", text(answers.message().await));
    note("revoke lease 9", text(client.lease.lease_revoke(pb::LeaseRevokeRequest { id: 9 }).await));
    let alarm = |action: pb::alarm_request::AlarmAction| pb::AlarmRequest {
        action: action.into(),
        ..Default::default()
    };
    let maintenance = &mut client.maintenance;
    note("alarms", text(maintenance.alarm(alarm(pb::alarm_request::AlarmAction::Get)).await));
    note("disarm", text(maintenance.alarm(alarm(pb::alarm_request::AlarmAction::Deactivate)).await));
    note("status", text(maintenance.status(pb::StatusRequest {}).await));
    note("hash", text(maintenance.hash(pb::HashRequest {}).await));
    note("hash kv", text(maintenance.hash_kv(pb::HashKvRequest { revision: 0 }).await));
    let snapshot = match maintenance.snapshot(pb::SnapshotRequest {}).await {
        Ok(answers) => text(answers.into_inner().message().await),
        Err(status) => status.message().to_owned(),
    };
    note("snapshot", snapshot);
    note("members", text(client.cluster.member_list(pb::MemberListRequest { linearizable: true }).await));
    let auth = &mut client.auth;
    note("auth status", text(auth.auth_status(pb::AuthStatusRequest {}).await));
    note("users", text(auth.user_list(pb::AuthUserListRequest {}).await));
    note("roles", text(auth.role_list(pb::AuthRoleListRequest {}).await));
    for name in ["u", "root", "x"] {
        note(
            &format!("user {name}"),
            text(auth.user_get(pb::AuthUserGetRequest { name: name.into() }).await),
        );
    }
    for role in ["r", "x"] {
        note(
            &format!("role {role}"),
            text(auth.role_get(pb::AuthRoleGetRequest { role: role.into() }).await),
        );
    }
    let add = pb::AuthUserAddRequest { name: "x".into(), password: "x".into(), ..Default::default() };
    note("user add", text(auth.user_add(add).await));
    note("user delete", text(auth.user_delete(pb::AuthUserDeleteRequest { name: "x".into() }).await));
    note("enable", text(auth.auth_enable(pb::AuthEnableRequest {}).await));
    said
}

fn operation(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

/// All that the user `u` is not let do; the rest it may.
const DENIED: &[&str] = &[
    "range a d",
    "serializable range a d",
    "delete a d",
    "txn that reads a d",
    "delete r ",
    "range z ",
    "serializable range z ",
    "delete z ",
    "txn that reads z ",
    "put r",
    "txn that would put r",
    "put z",
    "txn that would put z",
    "txn that compares z",
    "compact",
    // Its key is `z`.
    "put on lease 7",
    "time to live true",
    "leases",
    "keep alive",
    "disarm",
    "hash",
    "hash kv",
    "snapshot",
    "users",
    "roles",
    "user root",
    "user x",
    "role x",
    "user add",
    "user delete",
    "enable",
];

/// What root is refused with, who may do everything.
const ROOT: &[(&str, Fault)] =
    &[("compact", Fault::FutureRev), ("user x", Fault::UserNotFound), ("role x", Fault::RoleNotFound)];

#[tokio::test(flavor = "multi_thread")]
async fn every_method_asks_who_may() {
    let member = Member::guarded().await;
    let mut user = member.log_in("u", "up").await;
    let nobody = ask(&mut member.nobody()).await;
    for (what, answer) in &nobody {
        let expected = if what == "auth status" { "ok" } else { Fault::UserEmpty.text() };
        assert_eq!(answer, expected, "{what}, asked by nobody");
    }
    let said = ask(&mut user).await;
    for what in DENIED {
        assert!(said.iter().any(|(asked, _)| asked == what), "{what} is not asked");
    }
    for (what, answer) in &said {
        let denied = DENIED.contains(&what.as_str());
        let expected = if denied { Fault::PermissionDenied.text() } else { "ok" };
        assert_eq!(answer, expected, "{what}, asked by a user");
    }
    let mut root = member.log_in("root", "rp").await;
    for (what, answer) in &ask(&mut root).await {
        let fault = ROOT.iter().find(|(refused, _)| refused == what).map(|(_, fault)| fault.text());
        assert_eq!(answer, fault.unwrap_or("ok"), "{what}, asked by root");
    }
    // All of it is as it was before authentication, when that is off.
    root.auth.auth_disable(pb::AuthDisableRequest {}).await.unwrap();
    let off = member.nobody().kv.range(range("z", "")).await;
    assert_eq!(text(off), "ok");
    member.end().await;
}
