//! The client against Debian's etcd and against our own server: each test's body runs on both.
//!
//! Needs the package etcd-server, and our server built beside the tests: `cargo build --release
//! -p kv`, which a test of the whole workspace does by itself.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod proxy;
mod server;

use bytes::Bytes;
use kv_client::api::Fault;
use kv_client::api::etcdserverpb as pb;
use kv_client::api::mvccpb::event::EventType;
use kv_client::{Batch, Client, Error, Keys, Life, Repeat, Session, Settings, Watch};
use proxy::{Drop as Loss, Proxy};
use server::{Kind, Server};
use std::time::Duration;

fn settings(endpoints: &[&str]) -> Settings {
    Settings { request_timeout: Duration::from_mins(1), ..Settings::of(endpoints.iter().copied()) }
}

fn client(endpoints: &[&str]) -> Client {
    Client::new(settings(endpoints)).unwrap()
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
}

/// Makes each body a test on either server.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod etcd {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Kind::Etcd).await;
            })*
        }
        mod kv {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Kind::Kv).await;
            })*
        }
    };
}

on_both! {
    keys_are_written_and_read,
    reads_go_on_at_another_endpoint,
    a_put_whose_answer_is_lost_is_not_repeated,
    a_put_that_was_never_sent_is_repeated,
    a_watch_goes_on_over_broken_connections,
    a_watch_says_that_its_revision_is_compacted,
    a_quiet_watch_does_not_fall_behind_a_break,
    a_lease_is_kept_alive_over_breaks_and_its_loss_is_told,
    a_killed_server_that_comes_back_is_used_again,
    locks_are_held_one_at_a_time,
    a_leader_is_followed_by_the_next,
}

async fn keys_are_written_and_read(kind: Kind) {
    let server = Server::start(kind);
    let client = client(&[&server.endpoint]);
    client.put(put("a", "1")).await.unwrap();
    client.put(put("b", "2")).await.unwrap();
    let keys = Keys::prefix("");
    let all =
        pb::RangeRequest { key: keys.key.clone(), range_end: keys.range_end.clone(), ..Default::default() };
    assert_eq!(client.range(all).await.unwrap().count, 2);
    assert_eq!(&client.get("b").await.unwrap().unwrap().value[..], b"2");
    assert_eq!(client.get("c").await.unwrap(), None);
    let deleted = pb::DeleteRangeRequest { key: keys.key, range_end: keys.range_end, ..Default::default() };
    assert_eq!(client.delete(deleted).await.unwrap().deleted, 2);
    let lost = client.put(pb::PutRequest { lease: 77, ..put("a", "1") }).await.unwrap_err();
    assert!(lost.fault() == Some(Fault::LeaseNotFound) && lost.certainly_not_applied());
    // Larger than what gRPC takes without being told.
    let large = "x".repeat(1_000_000);
    for key in ["l1", "l2", "l3", "l4", "l5", "l6"] {
        client.put(put(key, &large)).await.unwrap();
    }
    let keys = Keys::prefix("l");
    let all = pb::RangeRequest { key: keys.key, range_end: keys.range_end, ..Default::default() };
    assert_eq!(client.range(all).await.unwrap().kvs.len(), 6);
}

async fn reads_go_on_at_another_endpoint(kind: Kind) {
    let server = Server::start(kind);
    let first = Proxy::start(&server.endpoint).await;
    // Nobody listens at the second; the third is the first's way round.
    let nobody = format!("127.0.0.1:{}", server::free_port());
    let client = client(&[&first.endpoint, &nobody, &server.endpoint]);
    client.put(put("a", "1")).await.unwrap();
    first.refuse();
    for _ in 0..10 {
        assert_eq!(&client.get("a").await.unwrap().unwrap().value[..], b"1");
    }
    let only = Client::new(Settings {
        request_timeout: Duration::from_millis(300),
        ..settings(&[&first.endpoint, &nobody])
    });
    let error = only.unwrap().put(put("a", "2")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_) | Error::Unknown(_)), "{error:?}");
}

async fn a_put_whose_answer_is_lost_is_not_repeated(kind: Kind) {
    let server = Server::start(kind);
    let proxy = Proxy::start(&server.endpoint).await;
    let direct = client(&[&server.endpoint]);
    // While nobody leads, a client goes on to its next endpoint, and stays there.
    direct.get("a").await.unwrap();
    let client = client(&[&proxy.endpoint, &server.endpoint]);
    client.put(put("a", "0")).await.unwrap();
    proxy.lose(Loss::NextAnswer);
    let error = client.put(put("a", "1")).await.unwrap_err();
    assert!(matches!(error, Error::Unknown(_)) && !error.certainly_not_applied(), "{error:?}");
    // The request itself has arrived, and once only.
    let mut watcher = direct.watch(Watch { start_revision: 2, ..Watch::of(Keys::one("a")) });
    let mut values = Vec::new();
    while values.len() < 2 {
        values.extend(watcher.next().await.unwrap().events.into_iter().map(|event| event.kv.unwrap().value));
    }
    assert_eq!(values, ["0", "1"]);
    assert_eq!(direct.get("a").await.unwrap().unwrap().version, 2);
    // A read that loses its answer is simply asked again.
    client.put(put("b", "0")).await.unwrap();
    proxy.lose(Loss::NextAnswer);
    assert_eq!(client.get("a").await.unwrap().unwrap().version, 2);
}

async fn a_put_that_was_never_sent_is_repeated(kind: Kind) {
    let server = Server::start(kind);
    let nobody = format!("127.0.0.1:{}", server::free_port());
    let client = client(&[&nobody, &server.endpoint]);
    client.put(put("a", "1")).await.unwrap();
    assert_eq!(client.get("a").await.unwrap().unwrap().version, 1);
}

fn values(batch: Batch) -> impl Iterator<Item = Bytes> {
    batch.events.into_iter().filter_map(|event| event.kv).map(|kv| kv.value)
}

async fn a_watch_goes_on_over_broken_connections(kind: Kind) {
    let server = Server::start(kind);
    let proxy = Proxy::start(&server.endpoint).await;
    let direct = client(&[&server.endpoint]);
    let client = client(&[&proxy.endpoint]);
    let mut watcher = client.watch(Watch::of(Keys::prefix("w")));
    watcher.ready().await.unwrap();
    let mut seen = Vec::new();
    for number in 0..60 {
        direct.put(put(&format!("w{}", number % 3), &number.to_string())).await.unwrap();
        if number % 7 == 0 {
            proxy.break_all();
        }
        if number % 10 == 9 {
            while seen.len() <= number {
                seen.extend(values(watcher.next().await.unwrap()));
            }
        }
    }
    let expected: Vec<Bytes> = (0..60).map(|number: i32| Bytes::from(number.to_string())).collect();
    assert_eq!(seen, expected);
}

async fn a_watch_says_that_its_revision_is_compacted(kind: Kind) {
    let server = Server::start(kind);
    let client = client(&[&server.endpoint]);
    for number in 0..5 {
        client.put(put("a", &number.to_string())).await.unwrap();
    }
    client.compact(pb::CompactionRequest { revision: 5, physical: true }).await.unwrap();
    let mut watcher = client.watch(Watch { start_revision: 2, ..Watch::of(Keys::one("a")) });
    let error = watcher.next().await.unwrap_err();
    assert!(matches!(error, Error::Compacted(5)), "{error:?}");
    let refused = client.compact(pb::CompactionRequest { revision: 2, physical: false }).await.unwrap_err();
    assert_eq!(refused.fault(), Some(Fault::Compacted));
}

async fn a_quiet_watch_does_not_fall_behind_a_break(kind: Kind) {
    let server = Server::start(kind);
    let proxy = Proxy::start(&server.endpoint).await;
    let direct = client(&[&server.endpoint]);
    let client = client(&[&proxy.endpoint]);
    direct.put(put("other", "1")).await.unwrap();
    let mut watcher = client.watch(Watch::of(Keys::one("quiet")));
    watcher.ready().await.unwrap();
    // What happens while there is no connection is not missed, though the watch began at "now".
    proxy.refuse();
    direct.put(put("quiet", "missed?")).await.unwrap();
    proxy.allow();
    let seen: Vec<Bytes> = values(watcher.next().await.unwrap()).collect();
    assert_eq!(seen, ["missed?"]);
}

async fn a_lease_is_kept_alive_over_breaks_and_its_loss_is_told(kind: Kind) {
    let server = Server::start(kind);
    let proxy = Proxy::start(&server.endpoint).await;
    let direct = client(&[&server.endpoint]);
    let client = client(&[&proxy.endpoint, &server.endpoint]);
    let granted = client.grant(3, 0).await.unwrap();
    let mut keeper = client.keep_alive(granted.id, granted.ttl);
    for _ in 0..5 {
        assert_eq!(keeper.answer().await.unwrap().id, granted.id);
        proxy.break_all();
    }
    assert!(matches!(keeper.life(), Life::Until(_)));
    assert!(direct.time_to_live(granted.id, false).await.unwrap().ttl >= 0);
    direct.revoke(granted.id).await.unwrap();
    keeper.lost().await;
    assert_eq!(keeper.life(), Life::Lost);
    let error = direct.keep_alive_once(granted.id).await.unwrap_err();
    assert_eq!(error.fault(), Some(Fault::LeaseNotFound));

    // Nobody to ask: lost once it may have expired.
    let granted = direct.grant(2, 0).await.unwrap();
    let alone = Client::new(settings(&[&proxy.endpoint])).unwrap();
    let keeper = alone.keep_alive(granted.id, granted.ttl);
    proxy.refuse();
    keeper.lost().await;
}

async fn a_killed_server_that_comes_back_is_used_again(kind: Kind) {
    let mut server = Server::start(kind);
    let client = client(&[&server.endpoint]);
    client.put(put("a", "1")).await.unwrap();
    let mut watcher = client.watch(Watch::of(Keys::one("a")));
    watcher.ready().await.unwrap();
    server.kill();
    let reading = tokio::spawn({
        let client = client.clone();
        async move { client.get("a").await }
    });
    server.restart();
    assert_eq!(&reading.await.unwrap().unwrap().unwrap().value[..], b"1");
    client.put(put("a", "2")).await.unwrap();
    let seen: Vec<Bytes> = values(watcher.next().await.unwrap()).collect();
    assert_eq!(seen, ["2"]);
}

async fn locks_are_held_one_at_a_time(kind: Kind) {
    let server = Server::start(kind);
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let client = client(&[&server.endpoint]);
        tasks.push(tokio::spawn(async move {
            let session = Session::open(&client, 30).await.unwrap();
            for _ in 0..5 {
                let lock = session.lock("l").await.unwrap();
                // Read, then write: a second holder would lose one.
                let now = client.get("count").await.unwrap();
                let now: u32 =
                    now.map_or(0, |kv| String::from_utf8(kv.value.to_vec()).unwrap().parse().unwrap());
                client.put(put("count", &(now + 1).to_string())).await.unwrap();
                lock.unlock().await.unwrap();
            }
            session.close().await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let client = client(&[&server.endpoint]);
    assert_eq!(&client.get("count").await.unwrap().unwrap().value[..], b"20");
    assert!(client.leases().await.unwrap().leases.is_empty());
}

async fn a_leader_is_followed_by_the_next(kind: Kind) {
    let server = Server::start(kind);
    let client = client(&[&server.endpoint]);
    let mut observer = client.observe("e");
    let first = Session::open(&client, 30).await.unwrap();
    let second = Session::open(&client, 30).await.unwrap();
    let leadership = first.campaign("e", "one").await.unwrap();
    assert_eq!(&observer.next().await.unwrap().1.value[..], b"one");
    leadership.proclaim("uno").await.unwrap();
    assert_eq!(&observer.next().await.unwrap().1.value[..], b"uno");
    let waiting = tokio::spawn(async move {
        let leadership = second.campaign("e", "two").await.unwrap();
        leadership.resign().await.unwrap();
        second.close().await.unwrap();
    });
    // The second is in the queue, and the first still leads.
    let queue = Keys::prefix("e/");
    let all = pb::RangeRequest { key: queue.key, range_end: queue.range_end, ..Default::default() };
    while client.range(all.clone()).await.unwrap().count < 2 {}
    assert_eq!(&client.leader("e").await.unwrap().1.unwrap().value[..], b"uno");
    leadership.resign().await.unwrap();
    waiting.await.unwrap();
    assert_eq!(client.leader("e").await.unwrap().1, None);
    // A session that ends takes its leadership along.
    let leadership = first.campaign("e", "three").await.unwrap();
    client.revoke(first.lease()).await.unwrap();
    assert!(matches!(leadership.proclaim("four").await, Err(Error::NotLeader | Error::Refused(_))));
}

/// Users and tokens: only against Debian's etcd, as ours has its own tests of that service.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_server_no_longer_knows_is_made_anew() {
    use pb::auth_client::AuthClient;
    let mut server = Server::start(Kind::Etcd);
    let nobody = client(&[&server.endpoint]);
    let add = |name: &str, password: &str| pb::AuthUserAddRequest {
        name: name.to_owned(),
        password: password.to_owned(),
        ..Default::default()
    };
    let root = || "root".to_owned();
    let repeat = Repeat::IfNotApplied;
    nobody
        .call(repeat, add("root", "pw"), |c, r| async move { AuthClient::new(c).user_add(r).await })
        .await
        .unwrap();
    let role = pb::AuthRoleAddRequest { name: root() };
    nobody.call(repeat, role, |c, r| async move { AuthClient::new(c).role_add(r).await }).await.unwrap();
    let grant = pb::AuthUserGrantRoleRequest { user: root(), role: root() };
    nobody
        .call(repeat, grant, |c, r| async move { AuthClient::new(c).user_grant_role(r).await })
        .await
        .unwrap();

    // Known as a user before authentication is needed, and after.
    let user =
        |password: &str| Some(kv_client::User { name: "root".to_owned(), password: password.to_owned() });
    let known = Client::new(Settings { user: user("pw"), ..settings(&[&server.endpoint]) }).unwrap();
    known.put(put("a", "1")).await.unwrap();
    let enable = pb::AuthEnableRequest {};
    nobody.call(repeat, enable, |c, r| async move { AuthClient::new(c).auth_enable(r).await }).await.unwrap();
    known.put(put("a", "2")).await.unwrap();
    let refused = nobody.put(put("a", "3")).await.unwrap_err();
    assert_eq!(refused.fault(), Some(Fault::UserEmpty));
    let wrong = Client::new(Settings { user: user("wrong"), ..settings(&[&server.endpoint]) }).unwrap();
    assert_eq!(wrong.log_in().await.unwrap_err().fault(), Some(Fault::AuthFailed));

    // A member that has restarted knows no tokens.
    let mut watcher = known.watch(Watch::of(Keys::one("a")));
    watcher.ready().await.unwrap();
    server.kill();
    server.restart();
    known.put(put("a", "4")).await.unwrap();
    let seen = watcher.next().await.unwrap();
    assert_eq!(seen.events[0].r#type, EventType::Put as i32);
    assert_eq!(values(seen).collect::<Vec<_>>(), ["4"]);
}

#[tokio::test]
async fn plain_text_stays_on_this_machine() {
    let refused = Client::new(settings(&["192.0.2.1:2379"])).unwrap_err();
    assert!(matches!(refused, Error::Plaintext(_)), "{refused:?}");
    assert!(matches!(Client::new(settings(&[])), Err(Error::NoEndpoint)));
    assert!(matches!(Client::new(settings(&["https://127.0.0.1:1"])), Err(Error::Tls(_))));
}
