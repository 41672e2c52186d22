//! `check perf`: a minute of puts at a fixed rate, and whether the cluster kept up.

use super::endpoint::Maintenance;
use crate::Done;
use crate::context::{Context, ask};
use crate::exit::{self, BAD_FEATURE, ERROR, Exit, INVALID_INPUT};
use bytes::Bytes;
use clap::ArgMatches;
use kv_client::api::etcdserverpb as pb;
use kv_client::{Client, Keys};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Length of one run.
const TIME: Duration = Duration::from_mins(1);
/// Bytes of a value (etcd `check.go`).
const VALUE_BYTES: usize = 1024;

/// Puts a second, and clients.
fn load(name: &str) -> Result<(u32, usize), Exit> {
    match name {
        "s" | "small" => Ok((150, 50)),
        "m" | "medium" => Ok((1000, 200)),
        "l" | "large" => Ok((8000, 500)),
        "xl" | "xLarge" => Ok((15000, 1000)),
        other => Err(Exit::new(BAD_FEATURE, format!("unknown load option {other}"))),
    }
}

pub(super) async fn perf(context: &Context, matches: &ArgMatches) -> Done {
    let word = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let (rate, clients) = load(&word("load"))?;
    let prefix = word("prefix");
    let first = context.client().await?.clone();
    let keys = Keys::prefix(prefix.clone());
    let (key, range_end) = (keys.key, keys.range_end);
    let request =
        pb::RangeRequest { key: key.clone(), range_end: range_end.clone(), limit: 1, ..Default::default() };
    if !first.range(request).await?.kvs.is_empty() {
        let quoted = crate::go::quote(prefix.as_bytes());
        let text = format!("prefix {quoted} has keys. Delete with etcdctl del --prefix {prefix} first");
        return Err(Exit::new(INVALID_INPUT, text));
    }
    let settings = context.settings().await?;
    let (give, wanted) = mpsc::channel::<Bytes>(clients);
    let wanted = Arc::new(Mutex::new(wanted));
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..clients {
        // A connection each, as etcdctl does.
        tasks.push(tokio::spawn(puts(Client::new(settings.clone())?, wanted.clone())));
    }
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while start.elapsed() < TIME {
        ticks.tick().await;
        let key = format!("{prefix}{:016x}", rand::random::<u64>());
        if give.send(key.into()).await.is_err() {
            break;
        }
    }
    drop(give);
    let mut seen = Seen::default();
    for task in tasks {
        seen.add(task.await.map_err(|error| Exit::new(ERROR, error.to_string()))?);
    }
    let took = start.elapsed();
    let deleted = first.delete(pb::DeleteRangeRequest { key, range_end, ..Default::default() }).await?;
    if matches.get_flag("auto-compact") {
        let revision = deleted.header.unwrap_or_default().revision;
        context.say(&format!("Compacting with revision {revision}"))?;
        first.compact(pb::CompactionRequest { revision, physical: true }).await?;
        context.say(&format!("Compacted with revision {revision}"))?;
    }
    if matches.get_flag("auto-defrag") {
        for endpoint in &settings.endpoints {
            context.say(&format!("Defragmenting {endpoint:?}"))?;
            let client = first.at([endpoint.clone()])?;
            ask!(client, IfNotApplied, Maintenance, defragment, pb::DefragmentRequest {})?;
            context.say(&format!("Defragmented {endpoint:?}"))?;
        }
    }
    verdict(context, &seen, took, rate)
}

/// What was measured.
#[derive(Debug, Default)]
struct Seen {
    seconds: Vec<f64>,
    errors: BTreeMap<String, u64>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.seconds.extend(other.seconds);
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }
}

async fn puts(client: Client, wanted: Arc<Mutex<mpsc::Receiver<Bytes>>>) -> Seen {
    let mut seen = Seen::default();
    let value = Bytes::from(vec![0; VALUE_BYTES]);
    loop {
        let next = wanted.lock().await.recv().await;
        let Some(key) = next else { return seen };
        let start = Instant::now();
        match client.put(pb::PutRequest { key, value: value.clone(), ..Default::default() }).await {
            Ok(_) => seen.seconds.push(start.elapsed().as_secs_f64()),
            Err(error) => *seen.errors.entry(exit::text(&error)).or_default() += 1,
        }
    }
}

fn verdict(context: &Context, seen: &Seen, took: Duration, rate: u32) -> Done {
    let count = seen.seconds.len() as f64;
    let second = count / took.as_secs_f64();
    let slowest = seen.seconds.iter().copied().fold(0.0, f64::max);
    let mean = seen.seconds.iter().sum::<f64>() / count.max(1.0);
    let spread = seen.seconds.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / count.max(1.0);
    let spread = spread.sqrt();
    let mut good = seen.errors.is_empty();
    if !good {
        context.say("FAIL: too many errors")?;
    }
    for (error, count) in &seen.errors {
        context.say(&format!("FAIL: ERROR({error}) -> {count}"))?;
    }
    let mut line = |passed: bool, pass: String, fail: String| {
        good &= passed;
        context.say(&if passed { format!("PASS: {pass}") } else { fail })
    };
    let whole = second as u64 + 1;
    line(
        second / f64::from(rate) > 0.9,
        format!("Throughput is {whole} writes/s"),
        format!("FAIL: Throughput too low: {whole} writes/s"),
    )?;
    line(
        slowest <= 0.5,
        format!("Slowest request took {slowest:.6}s"),
        format!("Slowest request took too long: {slowest:.6}s"),
    )?;
    line(spread <= 0.1, format!("Stddev is {spread:.6}s"), format!("Stddev too high: {spread:.6}s"))?;
    context.say(if good { "PASS" } else { "FAIL" })?;
    if good { Ok(()) } else { Err(Exit::silent(ERROR)) }
}
