//! Bytes of a client as messages to the store's gRPC methods, of a member of its own each time: any
//! bytes are answered, or refused with a status, in bounded time, and the member still serves after them.
#![no_main]

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use kv_sim::bug::Bug;
use kv_sim::cluster::{Cluster, Life};
use kv_raft::sim::{Chance, Trace, run};
use libfuzzer_sys::fuzz_target;
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
    "/etcdserverpb.Cluster/MemberAdd",
    "/etcdserverpb.Cluster/MemberRemove",
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
    "/etcdserverpb.Auth/AuthStatus",
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

/// Calls a method, and reads some of what it answers.
async fn call(life: &Life, method: &'static str, message: Bytes) {
    let mut client = tonic::client::Grpc::new(life.routes.clone());
    client.ready().await.expect("a member takes requests");
    let request = Request::new(tokio_stream::once(message));
    let answers = client.streaming(request, PathAndQuery::from_static(method), Raw).await;
    let Ok(mut answers) = answers.map(tonic::Response::into_inner) else { return };
    for _ in 0..5 {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

async fn serve(mut input: Bytes) {
    let mut chance = Chance::new(1);
    let cluster = Cluster::new(&mut chance, &[1], &[], Bug::None, Trace::new(false));
    cluster.start(1).await.expect("a member starts");
    let life = cluster.life(1).expect("it runs");
    life.member.consensus.read_barrier().await.expect("it leads");
    while input.remaining() >= 3 {
        let method = METHODS[usize::from(input.get_u8()) % METHODS.len()];
        let length = usize::from(input.get_u16_le()).min(input.remaining());
        // A watch has no end of its own.
        let _ = tokio::time::timeout(Duration::from_secs(5), call(&life, method, input.split_to(length))).await;
    }
    life.member.consensus.read_barrier().await.expect("it serves still");
    cluster.crash(1, false);
}

fuzz_target!(|input: &[u8]| {
    // Each call is cheap, but a hundred of them show no more than ten.
    run(1, serve(Bytes::copy_from_slice(&input[..input.len().min(4096)]))).expect("a runtime");
});
