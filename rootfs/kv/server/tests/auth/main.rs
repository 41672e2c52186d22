//! Users, roles and permissions, by gRPC clients against a server in this process ([`clients`]),
//! and by Debian's `etcdctl` (package etcd-client) against `kv` and Debian's etcd (package
//! etcd-server) side by side ([`pair`]).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod clients;
mod leases;
mod pair;
mod services;
mod steps;
mod watches;

use kv_api::Fault;
use kv_api::etcdserverpb as pb;

use clients::{Member, put, text};

#[test]
fn etcdctl_says_the_same_of_both() {
    pair::compare();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_gives_a_token_that_lasts_until_the_password_changes() {
    let member = Member::guarded().await;
    let wrong = |name: &'static str, password: &'static str| {
        let member = &member;
        async move { text(member.nobody().authenticate(name, password).await.map(|_| ())) }
    };
    assert_eq!(wrong("u", "nope").await, Fault::AuthFailed.text());
    assert_eq!(wrong("nobody", "up").await, Fault::AuthFailed.text());
    assert!(wrong("cert", "").await.contains("no password user"));
    let mut user = member.log_in("u", "up").await;
    user.kv.put(put("a", "1")).await.unwrap();
    // A token of another index than any entry has, and such as no member gives.
    for token in ["abcdefghijklmnop.999999", "abcdefghijklmnop.1", "x", "", "a.b.c"] {
        let refused = member.with_token(token).kv.put(put("a", "2")).await;
        assert_eq!(text(refused), Fault::InvalidAuthToken.text(), "{token:?}");
    }
    let mut root = member.log_in("root", "rp").await;
    let change = pb::AuthUserChangePasswordRequest {
        name: "u".into(),
        password: "other".into(),
        ..Default::default()
    };
    root.auth.user_change_password(change).await.unwrap();
    assert_eq!(text(user.kv.put(put("a", "2")).await), Fault::InvalidAuthToken.text());
    assert_eq!(wrong("u", "up").await, Fault::AuthFailed.text());
    member.log_in("u", "other").await.kv.put(put("a", "2")).await.unwrap();
    // Of a user who has gone, and of all when authentication is off.
    let mut user = member.log_in("u", "other").await;
    root.auth.user_delete(pb::AuthUserDeleteRequest { name: "u".into() }).await.unwrap();
    assert_eq!(text(user.kv.put(put("a", "2")).await), Fault::InvalidAuthToken.text());
    root.auth.auth_disable(pb::AuthDisableRequest {}).await.unwrap();
    assert_eq!(wrong("root", "rp").await, Fault::AuthNotEnabled.text());
    member.nobody().kv.put(put("a", "3")).await.unwrap();
    member.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_there_after_a_restart_and_no_password_is_on_the_disk() {
    let member = Member::guarded().await;
    let mut root = member.log_in("root", "rp").await;
    for password in ["a-secret-that-nobody-else-has", ""] {
        let request = pb::AuthUserAddRequest {
            name: format!("user{}", password.len()),
            password: password.into(),
            ..Default::default()
        };
        root.auth.user_add(request).await.unwrap();
    }
    member.log_in("user29", "a-secret-that-nobody-else-has").await;
    let long = pb::AuthUserAddRequest { name: "long".into(), password: "x".repeat(73), ..Default::default() };
    assert!(text(root.auth.user_add(long).await).contains("72 bytes"));
    let member = member.restart().await;
    let files = member.files();
    assert!(files.iter().any(|file| contains(file, b"user29")), "the log or the database has the user");
    assert!(!files.iter().any(|file| contains(file, b"a-secret-that-nobody-else-has")));
    member.log_in("user29", "a-secret-that-nobody-else-has").await;
    member.log_in("user0", "").await;
    let status = member.nobody().auth.auth_status(pb::AuthStatusRequest {}).await.unwrap().into_inner();
    assert!(status.enabled);
    assert_eq!(text(member.nobody().kv.put(put("a", "1")).await), Fault::UserEmpty.text());
    member.end().await;
}

fn contains(file: &[u8], part: &[u8]) -> bool {
    file.windows(part.len()).any(|window| window == part)
}
