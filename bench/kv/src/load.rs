//! What the clients do, and how long each request took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kv_api::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::watch_client::WatchClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::Result;

/// Keys that reads are about; they are put before.
pub(crate) const KEYS: u64 = 10_000;
const VALUE_BYTES: usize = 256;
/// More clients share connections.
const CONNECTIONS: usize = 64;

/// What a client does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Put,
    Get,
    SerializableGet,
    /// Nine linearizable reads and a put.
    Mix,
    /// A range of 1,000 keys.
    Range,
}

/// Requests a second, and their times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Figures {
    pub fn of(mut times: Vec<Duration>, took: Duration, factor: usize) -> Self {
        times.sort_unstable();
        let at = |part: f64| {
            let index = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
            times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
        };
        Self { rate: (times.len() * factor) as f64 / took.as_secs_f64(), p50_us: at(0.5), p99_us: at(0.99) }
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("{number:08}").into_bytes()
}

pub(crate) fn put(number: u64) -> pb::PutRequest {
    // Not compressible, and never the same twice.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut value = Vec::with_capacity(VALUE_BYTES);
    while value.len() < VALUE_BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        value.extend_from_slice(&state.to_le_bytes());
    }
    pb::PutRequest { key: key(number).into(), value: value.into(), ..pb::PutRequest::default() }
}

async fn once(kv: &mut KvClient<Channel>, work: Work, number: u64, turn: u64) -> Result<()> {
    let get = |serializable| pb::RangeRequest {
        key: key(number % KEYS).into(),
        serializable,
        ..pb::RangeRequest::default()
    };
    match work {
        Work::Mix if turn.is_multiple_of(10) => drop(kv.put(put(number % KEYS)).await?),
        Work::Put => drop(kv.put(put(number % KEYS)).await?),
        Work::Get | Work::Mix => drop(kv.range(get(false)).await?),
        Work::SerializableGet => drop(kv.range(get(true)).await?),
        Work::Range => {
            let first = number % (KEYS - 1_000);
            let range = pb::RangeRequest {
                key: key(first).into(),
                range_end: key(first + 1_000).into(),
                ..pb::RangeRequest::default()
            };
            let count = kv.range(range).await?.into_inner().kvs.len();
            if count != 1_000 {
                return Err(format!("a range of 1,000 keys had {count}").into());
            }
        }
    }
    Ok(())
}

/// So many clients, each with one request at a time, for so long.
pub(crate) async fn run(channels: &[Channel], work: Work, clients: usize, time: Duration) -> Result<Figures> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..clients {
        let mut kv = KvClient::new(channels[client % channels.len().min(CONNECTIONS)].clone());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            let mut number = client as u64 * 7_919;
            while begun.elapsed() < time {
                let start = Instant::now();
                once(&mut kv, work, number, times.len() as u64).await.map_err(|error| error.to_string())?;
                times.push(start.elapsed());
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % (1 << 32);
            }
            Ok::<_, String>(times)
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    Ok(Figures::of(times, begun.elapsed(), 1))
}

/// Puts keys in transactions of 100, 16 at a time.
pub(crate) async fn fill(channels: &[Channel], keys: u64) -> Result<Duration> {
    let begun = Instant::now();
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut tasks = Vec::new();
    for client in 0..16 {
        let mut kv = KvClient::new(channels[client % channels.len()].clone());
        let next = Arc::clone(&next);
        tasks.push(tokio::spawn(async move {
            loop {
                let first = next.fetch_add(100, std::sync::atomic::Ordering::Relaxed);
                if first >= keys {
                    return Ok::<_, String>(());
                }
                let puts = (first..keys.min(first + 100)).map(|number| pb::RequestOp {
                    request: Some(pb::request_op::Request::RequestPut(put(number))),
                });
                let txn = pb::TxnRequest { success: puts.collect(), ..pb::TxnRequest::default() };
                kv.txn(txn).await.map_err(|status| status.to_string())?;
            }
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(begun.elapsed())
}

/// So many watchers of one key; events a second at all of them, and how long one put's events took to be
/// everywhere.
pub(crate) async fn watch(channels: &[Channel], watchers: usize, time: Duration) -> Result<Figures> {
    const STREAMS: usize = 10;
    let (told, mut tells) = mpsc::channel(1 << 16);
    let mut streams = Vec::new();
    for stream in 0..STREAMS {
        let (send, requests) = mpsc::channel(watchers);
        for _ in 0..watchers / STREAMS {
            let create =
                pb::WatchCreateRequest { key: "watched".into(), ..pb::WatchCreateRequest::default() };
            let request_union = Some(pb::watch_request::RequestUnion::CreateRequest(create));
            send.send(pb::WatchRequest { request_union }).await?;
        }
        let mut client = WatchClient::new(channels[stream % channels.len()].clone());
        let mut answers = client.watch(ReceiverStream::new(requests)).await?.into_inner();
        let mut created = 0;
        while created < watchers / STREAMS {
            let answer = answers.message().await?.ok_or("a watch has ended")?;
            created += usize::from(answer.created);
        }
        let told = told.clone();
        streams.push(tokio::spawn(async move {
            // Kept, as dropping it ends the stream.
            let _send = send;
            while let Ok(Some(answer)) = answers.message().await {
                if told.send(answer.events.len()).await.is_err() {
                    return;
                }
            }
        }));
    }
    let mut kv = KvClient::new(channels[0].clone());
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let start = Instant::now();
        kv.put(pb::PutRequest { key: "watched".into(), value: "x".into(), ..pb::PutRequest::default() })
            .await?;
        let mut events = 0;
        while events < watchers {
            events += tells.recv().await.ok_or("a watch has ended")?;
        }
        times.push(start.elapsed());
    }
    let took = begun.elapsed();
    streams.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(Figures::of(times, took, watchers))
}

/// So many leases, kept alive in turn over 16 streams, one request at a time on each.
pub(crate) async fn leases(channels: &[Channel], leases: usize, time: Duration) -> Result<Figures> {
    let mut tasks = Vec::new();
    for stream in 0..16 {
        let mut client = LeaseClient::new(channels[stream % channels.len()].clone());
        tasks.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..leases / 16 {
                let grant = pb::LeaseGrantRequest { ttl: 600, id: 0 };
                ids.push(
                    client.lease_grant(grant).await.map_err(|status| status.to_string())?.into_inner().id,
                );
            }
            Ok::<_, String>((client, ids))
        }));
    }
    let mut granted = Vec::new();
    for task in tasks {
        granted.push(task.await??);
    }
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (mut client, ids) in granted {
        tasks.push(tokio::spawn(async move {
            let failed = |status: tonic::Status| status.to_string();
            let (send, requests) = mpsc::channel(1);
            let answers = client.lease_keep_alive(ReceiverStream::new(requests)).await.map_err(failed)?;
            let mut answers = answers.into_inner();
            let mut times = Vec::new();
            for id in ids.iter().cycle() {
                if begun.elapsed() >= time {
                    break;
                }
                let start = Instant::now();
                let request = pb::LeaseKeepAliveRequest { id: *id };
                send.send(request).await.map_err(|error| error.to_string())?;
                let answer = answers.message().await.map_err(failed)?.ok_or("the stream has ended")?;
                if answer.ttl <= 0 {
                    return Err("a lease has ended".to_owned());
                }
                times.push(start.elapsed());
            }
            for id in ids {
                client.lease_revoke(pb::LeaseRevokeRequest { id }).await.map_err(failed)?;
            }
            Ok::<_, String>((times, begun.elapsed()))
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??.0);
    }
    Ok(Figures::of(times, time, 1))
}
