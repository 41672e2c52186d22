//! One run: clients, and what befalls the members.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kv_api::etcdserverpb as pb;
use kv_api::etcdserverpb::maintenance_client::MaintenanceClient;
use kv_check::drive::{Recorder, Who};
use kv_check::{Bounds, Call, End, History, Item, Rule, Span, Step, Violation};
use kv_raft::NodeId;
use kv_raft::sim::{Chance, Trace, run, spawn};
use tokio::time::{Instant, sleep, timeout};

use crate::bug::Bug;
use crate::chaos::Chaos;
use crate::cluster::{Cluster, Life, REQUEST};
use crate::lock;

/// What a run had in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Operations that were answered.
    pub answered: u64,
    /// Operations of which nobody knows.
    pub unknown: u64,
    /// Operations that were refused.
    pub refused: u64,
    /// Revisions.
    pub revisions: u64,
    /// Events that watches brought.
    pub events: u64,
    /// Watches that ended by a compaction.
    pub overtaken: u64,
    /// Keys that went with their lease, at its end.
    pub lease_ends: u64,
    /// Members that ended at any time.
    pub crashes: u64,
    /// Members that ended at a write.
    pub cuts: u64,
    /// Partitions.
    pub partitions: u64,
    /// Members that were added.
    pub added: u64,
    /// Members that were removed.
    pub removed: u64,
    /// Snapshots that members had at the end.
    pub snapshots: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// Microseconds of simulated time from healing to the first write.
    pub recovery_us: u64,
    /// The trace: how many lines, and their hash.
    pub trace: (u64, u64),
}

impl Outcome {
    /// Adds what is counted; of times the longest.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.revisions += other.revisions;
        self.events += other.events;
        self.overtaken += other.overtaken;
        self.lease_ends += other.lease_ends;
        self.crashes += other.crashes;
        self.cuts += other.cuts;
        self.partitions += other.partitions;
        self.added += other.added;
        self.removed += other.removed;
        self.snapshots += other.snapshots;
        self.terms += other.terms;
        self.recovery_us = self.recovery_us.max(other.recovery_us);
        self.trace.0 += other.trace.0;
    }
}

/// The leases' times, seconds.
const SECONDS: std::ops::RangeInclusive<i64> = 2..=5;
/// What clocks may do here.
const BOUNDS: Bounds = Bounds { drift_per_mille: 90, slack_us: 3_000_000 };
/// After healing, a write must be acknowledged within this: a lost message's time, an election of the
/// slowest clock, a second one should votes be split, and a snapshot for whoever needs one.
const RECOVERY: Duration = Duration::from_secs(8);
/// How long a client waits: longer than a member does.
const PATIENCE: Duration = Duration::from_millis(REQUEST.as_millis() as u64 + 1000);

/// What all tasks of a run share.
pub struct World {
    pub(crate) cluster: Cluster,
    pub(crate) recorder: Recorder,
    pub(crate) over: AtomicBool,
    watches: Mutex<BTreeSet<usize>>,
    values: AtomicU64,
}

impl World {
    async fn call(
        &self,
        client: u32,
        id: NodeId,
        life: &Life,
        call: Call,
        may_lag: bool,
        patience: Duration,
    ) -> End {
        let who = Who { client, session: life.session };
        let lost = until_lost(life, patience);
        let end = self.recorder.call(who, life.routes.clone(), call, may_lag, lost).await;
        self.cluster.trace.line(format_args!("client {client} at {id}: {end:?}"));
        end
    }

    /// Puts a value that nobody else does.
    async fn put(&self, id: NodeId, patience: Duration) -> bool {
        let Some(life) = self.cluster.life(id) else { return false };
        let value = format!("healed-{}", self.values.fetch_add(1, Ordering::Relaxed));
        let call = Call::Step(Step::Put { key: "healed".into(), value: value.into(), lease: 0 });
        matches!(self.call(0, id, &life, call, false, patience).await, End::Answered(_))
    }
}

async fn until_lost(life: &Life, patience: Duration) {
    tokio::select! {
        biased;
        () = life.gone.ended() => {}
        () = sleep(patience) => {}
    }
}

async fn client(world: Arc<World>, number: u32, mut chance: Chance) {
    while !world.over.load(Ordering::Relaxed) {
        sleep(chance.time(Duration::from_millis(1), Duration::from_millis(100))).await;
        let Some(id) = chance.pick(&world.cluster.running()) else { continue };
        let Some(life) = world.cluster.life(id) else { continue };
        let (call, may_lag) = world.recorder.draw(&mut |below| chance.below(below));
        let patience =
            if chance.often(50) { chance.time(Duration::ZERO, Duration::from_millis(40)) } else { PATIENCE };
        world.call(number, id, &life, call, may_lag, patience).await;
    }
}

/// Watches, and goes on at another member where a watch is lost, some time later.
async fn watcher(world: Arc<World>, number: u32, mut chance: Chance) {
    let mut next = 0;
    let span = match chance.below(3) {
        0 => Span::one(format!("key-{}", chance.below(8))),
        1 => Span { key: "key-2".into(), end: "key-6".into() },
        _ => Span::all(),
    };
    loop {
        let pause = match (world.over.load(Ordering::Relaxed), chance.often(300)) {
            (true, _) => Duration::from_millis(20),
            (false, true) => Duration::from_secs(2),
            (false, false) => Duration::from_millis(200),
        };
        sleep(chance.time(Duration::from_millis(1), pause)).await;
        let life = chance.pick(&world.cluster.running()).and_then(|id| world.cluster.life(id));
        let Some(life) = life else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Some leave by themselves, but not at the end.
        let stays = chance.often(500);
        let stay = chance.time(Duration::from_millis(100), Duration::from_secs(4));
        let lost = async {
            tokio::select! {
                biased;
                () = life.gone.ended() => {}
                () = sleep(stay), if !stays => {
                    if world.over.load(Ordering::Relaxed) {
                        life.gone.ended().await;
                    }
                }
            }
        };
        let number_of = &mut chance;
        let progress = move || 1 + number_of.below(20);
        let watched = world.watched(number, &life, span.clone(), next, progress, lost).await;
        next = watched;
    }
}

impl World {
    /// Watches once; gives from where to go on.
    async fn watched(
        &self,
        client: u32,
        life: &Life,
        span: Span,
        start: i64,
        progress: impl FnMut() -> u64,
        lost: impl Future<Output = ()>,
    ) -> i64 {
        let watched = self.recorder.watch(client, life.routes.clone(), span, start, progress, lost).await;
        lock(&self.watches).insert(watched.at);
        watched.next
    }
}

/// Puts at each member in turn until one acknowledges.
async fn serve_again(world: &World) {
    loop {
        for id in world.cluster.running() {
            // One that was removed must not hold the others up.
            if world.put(id, Duration::from_millis(700)).await {
                return;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Runs the story of a seed.
///
/// # Errors
/// What was wrong in it, with a short history.
pub fn story(seed: u64, bug: Bug) -> Result<Outcome, String> {
    let told = run(seed, Box::pin(telling(seed, bug))).map_err(|e| e.to_string())?;
    told.map(|(outcome, _, _)| outcome)
}

/// The same, with all that happened in it: the history, and the trace's text.
///
/// # Errors
/// As [`story`].
pub fn story_in_full(seed: u64, bug: Bug) -> Result<(Outcome, History, String), String> {
    run(seed, Box::pin(telling(seed, bug))).map_err(|e| e.to_string())?
}

async fn telling(seed: u64, bug: Bug) -> Result<(Outcome, History, String), String> {
    let mut chance = Chance::new(seed);
    let trace = Trace::new(std::env::var_os("SLIPWAY_TRACE").is_some());
    let founders: Vec<NodeId> = (1..=if chance.often(300) { 5 } else { 3 }).collect();
    let spare: Vec<NodeId> = (11..=13).collect();
    let cluster = Cluster::new(&mut chance, &founders, &spare, bug, trace.clone());
    for id in &founders {
        cluster.start(*id).await?;
    }
    let world = Arc::new(World {
        cluster: cluster.clone(),
        recorder: Recorder::new(SECONDS),
        over: AtomicBool::new(false),
        watches: Mutex::default(),
        values: AtomicU64::new(0),
    });
    for number in 1..=5 {
        spawn(client(Arc::clone(&world), number, chance.fork()));
    }
    for number in 11..=14 {
        spawn(watcher(Arc::clone(&world), number, chance.fork()));
    }
    let mut outcome = Outcome::default();
    let mut chaos = Chaos::new(&world, &founders, &spare, chance.fork());
    let chaotic = chaos.run(&mut outcome).await;
    let told = match chaotic {
        Ok(()) => after(&world, &mut chaos, &mut outcome).await,
        Err(fault) => Err(Violation::new(Rule::ServesAgain, fault)),
    };
    let history = bug.spoil(world.recorder.history());
    let judged = told.and_then(|()| {
        let chronicle = kv_check::check(&history, BOUNDS)?;
        outcome.revisions = chronicle.entries.len() as u64;
        outcome.lease_ends =
            chronicle.entries.iter().filter(|e| matches!(e.cause, kv_check::Cause::LeaseEnd(_))).count()
                as u64;
        Ok(())
    });
    // Members and the network know each other: so they go.
    for id in cluster.running() {
        cluster.crash(id, false);
    }
    count(&history, &mut outcome);
    outcome.trace = (trace.lines(), trace.hash());
    if std::env::var_os("SLIPWAY_TRACE").is_some() {
        println!("{}", trace.text());
    }
    match judged {
        Ok(()) => Ok((outcome, history, trace.text())),
        Err(violation) => Err(history.tell(&violation)),
    }
}

/// All is healed: the store serves, and members come to the same state.
async fn after(world: &Arc<World>, chaos: &mut Chaos, outcome: &mut Outcome) -> Result<(), Violation> {
    let cluster = &world.cluster;
    let broken = |rule, text: String| Err(Violation::new(rule, text));
    let healed = Instant::now();
    if timeout(RECOVERY, serve_again(world)).await.is_err() {
        let text = format!("no write is acknowledged within {RECOVERY:?} of healing: {}", states(cluster));
        return broken(Rule::ServesAgain, text);
    }
    outcome.recovery_us = healed.elapsed().as_micros() as u64;
    agree(cluster, chaos).await?;
    world.recorder.calm();
    // A calm time of work, and then what is under way comes to its end.
    sleep(Duration::from_secs(2)).await;
    world.over.store(true, Ordering::Relaxed);
    sleep(PATIENCE + Duration::from_secs(1)).await;
    // Leases that nobody renews end.
    sleep(Duration::from_secs(*SECONDS.end() as u64) + Duration::from_secs(5)).await;
    // A change of members may have been under way until now.
    let members = agree(cluster, chaos).await?;
    for id in &members {
        let Some(life) = cluster.life(*id) else { continue };
        let call = Call::Step(Step::Get(Span::all()));
        let end = world.call(0, *id, &life, call, false, PATIENCE).await;
        if !matches!(end, End::Answered(_)) {
            return broken(
                Rule::ServesAgain,
                format!("member {id} does not read: {end:?}: {}", states(cluster)),
            );
        }
    }
    if timeout(RECOVERY, settle(cluster, &members)).await.is_err() {
        let text = format!("members do not apply the same entries: {}", states(cluster));
        return broken(Rule::SameState, text);
    }
    same_hash(world, &members).await?;
    sleep(Duration::from_secs(1)).await;
    // The watches that are still under way have not been noted as ended.
    let ended = lock(&world.watches).clone();
    for at in 0..world.recorder.history().watches.len() {
        if !ended.contains(&at) {
            world.recorder.settled(at);
        }
    }
    for (term, leaders) in cluster.net.leaders() {
        outcome.terms += 1;
        if leaders.len() > 1 {
            return broken(Rule::SameState, format!("term {term} has the leaders {leaders:?}"));
        }
    }
    let with_snapshot =
        |id: &NodeId| cluster.life(*id).is_some_and(|life| life.replica.raft().status().snapshot.is_some());
    outcome.snapshots = cluster.running().iter().filter(|id| with_snapshot(id)).count() as u64;
    Ok(())
}

/// Waits until the members know who they are.
async fn agree(cluster: &Cluster, chaos: &mut Chaos) -> Result<Vec<NodeId>, Violation> {
    timeout(RECOVERY, chaos.settle_members()).await.map_err(|_| {
        let text = format!("the members are not agreed on within {RECOVERY:?}: {}", states(cluster));
        Violation::new(Rule::ServesAgain, text)
    })
}

fn states(cluster: &Cluster) -> String {
    let state = |id: NodeId| Some(format!("{:?}", cluster.life(id)?.replica.raft().status()));
    cluster.running().into_iter().filter_map(state).collect::<Vec<_>>().join("\n")
}

/// Waits until members have applied the same entries.
async fn settle(cluster: &Cluster, members: &[NodeId]) {
    loop {
        let lives: Vec<_> = members.iter().filter_map(|id| cluster.life(*id)).collect();
        let states: Vec<_> = lives.iter().map(|life| life.replica.raft().status()).collect();
        let same = states.iter().all(|status| {
            status.applied == states[0].applied && status.applied.map(|id| id.index) == status.last
        });
        if same && !states.is_empty() && states.len() == members.len() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn same_hash(world: &World, members: &[NodeId]) -> Result<(), Violation> {
    let mut hashes = Vec::new();
    for id in members {
        let Some(life) = world.cluster.life(*id) else { continue };
        let request = pb::HashKvRequest { revision: 0 };
        let answer = MaintenanceClient::new(life.routes.clone()).hash_kv(request).await;
        let answer = answer.map_err(|status| {
            Violation::new(Rule::SameState, format!("member {id} has no hash: {}", status.message()))
        })?;
        let answer = answer.into_inner();
        hashes.push((*id, answer.hash, answer.hash_revision, answer.compact_revision));
    }
    if hashes.iter().any(|(_, hash, revision, _)| (*hash, *revision) != (hashes[0].1, hashes[0].2)) {
        let text = format!("hashes (member, hash, revision, compacted) differ: {hashes:x?}");
        return Err(Violation::new(Rule::SameState, text));
    }
    Ok(())
}

fn count(history: &History, outcome: &mut Outcome) {
    for operation in &history.operations {
        match operation.outcome {
            End::Answered(_) => outcome.answered += 1,
            End::Unknown => outcome.unknown += 1,
            End::Refused(_) => outcome.refused += 1,
        }
    }
    for (_, item) in history.watches.iter().flat_map(|watch| &watch.items) {
        match item {
            Item::Events(_, events) => outcome.events += events.len() as u64,
            Item::Canceled(revision) if *revision > 0 => outcome.overtaken += 1,
            _ => {}
        }
    }
}
