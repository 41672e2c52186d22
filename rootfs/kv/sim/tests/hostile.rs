//! Any bytes as messages of a client or of another member: they are answered or refused, in bounded
//! time, and the member serves after them. The bytes are drawn from seeds: 300, and 20,000 with
//! `SLIPWAY_NIGHTLY=1`; half of them are messages that are right, with bytes changed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use kv_raft::sim::{Chance, Trace, run};
use kv_sim::bug::Bug;
use kv_sim::cluster::{Cluster, Life};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};

const METHODS: &[&str] = &[
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/DeleteRange",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Compact",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseRevoke",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Lease/LeaseTimeToLive",
    "/etcdserverpb.Lease/LeaseLeases",
    "/etcdserverpb.Cluster/MemberUpdate",
    "/etcdserverpb.Cluster/MemberPromote",
    "/etcdserverpb.Cluster/MemberList",
    "/etcdserverpb.Maintenance/Alarm",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Hash",
    "/etcdserverpb.Maintenance/HashKV",
    "/etcdserverpb.Maintenance/Snapshot",
    "/etcdserverpb.Maintenance/MoveLeader",
    "/grpc.health.v1.Health/Check",
];

/// Messages as the bytes that they are.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Calls a method, and reads some of what it answers; whether something was.
async fn call(life: &Life, method: &'static str, message: Bytes) -> bool {
    let mut client = tonic::client::Grpc::new(life.routes.clone());
    client.ready().await.unwrap();
    let request = Request::new(tokio_stream::once(message));
    let answers = client.streaming(request, PathAndQuery::from_static(method), Raw).await;
    let Ok(mut answers) = answers.map(tonic::Response::into_inner) else { return false };
    let mut any = false;
    for _ in 0..5 {
        match answers.message().await {
            Ok(Some(_)) => any = true,
            Ok(None) | Err(_) => break,
        }
    }
    any
}

/// Bytes like those of a small message: fields of few numbers, with lengths that mostly fit.
fn message(chance: &mut Chance) -> Bytes {
    let mut bytes = Vec::new();
    for _ in 0..chance.below(6) {
        let field = 1 + chance.below(9) as u8;
        if chance.often(500) {
            bytes.push(field << 3);
            bytes.push(chance.below(128) as u8);
        } else {
            let inner = (0..chance.below(12)).map(|_| b"k\0\x08\x01\x12\xff"[chance.below(6) as usize]);
            let inner: Vec<u8> = inner.collect();
            bytes.push(field << 3 | 2);
            bytes.push(inner.len() as u8);
            bytes.extend(inner);
        }
    }
    if chance.often(500) && !bytes.is_empty() {
        let at = chance.below(bytes.len() as u64) as usize;
        bytes[at] = chance.below(256) as u8;
    }
    bytes.into()
}

async fn serve(mut chance: Chance) -> (u64, u64) {
    let cluster = Cluster::new(&mut chance, &[1], &[], Bug::None, Trace::new(false));
    cluster.start(1).await.unwrap();
    let life = cluster.life(1).unwrap();
    life.member.consensus.read_barrier().await.unwrap();
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..40 {
        let method = METHODS[chance.below(METHODS.len() as u64) as usize];
        let message = message(&mut chance);
        // A watch has no end of its own.
        match tokio::time::timeout(Duration::from_secs(20), call(&life, method, message.clone())).await {
            Ok(true) => answered += 1,
            Ok(false) => refused += 1,
            Err(_) => assert!(method.ends_with("/Watch"), "{method} does not end for {message:?}"),
        }
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, life.replica.answer(message.clone())).await.unwrap();
        tokio::time::timeout(limit, life.replica.handle(message)).await.unwrap();
    }
    life.member.consensus.read_barrier().await.unwrap();
    cluster.crash(1, false);
    (answered, refused)
}

#[test]
fn bytes_of_any_kind_are_answered_or_refused() {
    let nightly = std::env::var("SLIPWAY_NIGHTLY").is_ok_and(|value| value == "1");
    let (mut answered, mut refused) = (0, 0);
    for seed in 0..if nightly { 20_000 } else { 300 } {
        println!("seed {seed}");
        let (some, others) = run(seed, serve(Chance::new(seed))).unwrap();
        answered += some;
        refused += others;
    }
    assert!(answered > 1000 && refused > 1000, "{answered} answered, {refused} refused");
}
