//! Watches: permitted when they are made, and ended when that goes.

use kv_api::authpb::permission::Type;
use kv_api::etcdserverpb as pb;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::clients::{Client, Member, grant, put};

/// A stream of watches and its answers.
struct Watching {
    requests: mpsc::Sender<pb::WatchRequest>,
    answers: Streaming<pb::WatchResponse>,
}

impl Watching {
    async fn begin(client: &mut Client) -> Self {
        let (requests, waiting) = mpsc::channel(4);
        let answers = client.watch.watch(ReceiverStream::new(waiting)).await.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn create(&mut self, key: &str, range_end: &str, start_revision: i64) -> pb::WatchResponse {
        let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
        let create = pb::WatchCreateRequest { key, range_end, start_revision, ..Default::default() };
        let request_union = Some(RequestUnion::CreateRequest(create));
        self.requests.send(pb::WatchRequest { request_union }).await.unwrap();
        self.next().await
    }

    async fn next(&mut self) -> pb::WatchResponse {
        self.answers.message().await.unwrap().expect("the stream goes on")
    }
}

const DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_must_be_permitted_as_a_whole() {
    let member = Member::guarded().await;
    let mut watching = Watching::begin(&mut member.log_in("u", "up").await).await;
    for (key, end) in [("a", "d"), ("z", ""), ("", "\0"), ("a", "\0")] {
        let refused = watching.create(key, end, 0).await;
        assert!(refused.created && refused.canceled && refused.watch_id == -1, "{refused:?}");
        assert_eq!(refused.cancel_reason, DENIED, "{key:?} {end:?}");
    }
    assert!(!watching.create("a", "c", 0).await.canceled);
    let mut nobody = Watching::begin(&mut member.nobody()).await;
    let refused = nobody.create("a", "", 0).await;
    assert_eq!(
        refused.cancel_reason,
        "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
    );
    let mut stranger = Watching::begin(&mut member.with_token("x.1")).await;
    let refused = stranger.create("a", "", 0).await;
    assert_eq!(
        refused.cancel_reason,
        "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
    );
    member.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_its_permission_and_tells_nothing_that_came_after() {
    let member = Member::guarded().await;
    let mut root = member.log_in("root", "rp").await;
    let mut watching = Watching::begin(&mut member.log_in("u", "up").await).await;
    let range = watching.create("a", "c", 0).await.watch_id;
    let other = watching.create("r", "", 0).await.watch_id;
    root.kv.put(put("b", "1")).await.unwrap();
    assert_eq!(watching.next().await.events.len(), 1);
    let revoke = |key: &str, range_end: &str| pb::AuthRoleRevokePermissionRequest {
        role: "r".into(),
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
    };
    // A grant in place of it that covers the same leaves the watch alone.
    root.auth.role_grant_permission(grant(Type::Read, "a", "d")).await.unwrap();
    root.auth.role_revoke_permission(revoke("a", "c")).await.unwrap();
    root.kv.put(put("b", "2")).await.unwrap();
    assert_eq!(watching.next().await.events.len(), 1);
    root.auth.role_revoke_permission(revoke("a", "d")).await.unwrap();
    root.kv.put(put("b", "secret")).await.unwrap();
    root.kv.put(put("r", "3")).await.unwrap();
    let ended = watching.next().await;
    assert!(ended.canceled && ended.watch_id == range && ended.events.is_empty(), "{ended:?}");
    assert_eq!(ended.cancel_reason, DENIED);
    let event = watching.next().await;
    assert_eq!((event.watch_id, event.events.len()), (other, 1), "{event:?}");
    // The past is read no more than the present.
    assert_eq!(watching.create("a", "c", 1).await.cancel_reason, DENIED);
    member.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_watches_end_when_authentication_begins() {
    let member = Member::start().await;
    let mut client = member.nobody();
    let mut watching = Watching::begin(&mut client).await;
    watching.create("a", "", 0).await;
    let (name, password) = ("root".to_owned(), "rp".to_owned());
    let add = pb::AuthUserAddRequest { name, password, ..Default::default() };
    client.auth.user_add(add).await.unwrap();
    let role = pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    client.auth.user_grant_role(role).await.unwrap();
    client.auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
    let ended = watching.next().await;
    assert!(ended.canceled && ended.cancel_reason.ends_with("user name is empty"), "{ended:?}");
    member.end().await;
}
