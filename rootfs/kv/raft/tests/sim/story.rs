//! One run: members, clients, and what befalls them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kv_raft::sim::machine::{append, place};
use kv_raft::sim::{Chance, Cluster, Faults, Settings, run, spawn};
use kv_raft::{InitializeError, NodeId, ProposeError, Role};
use tokio::time::{Instant, sleep, timeout};

use crate::check::{self, End, Operation};

/// A bug to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    AcknowledgeEarly,
    ReadHere,
    LeadOn,
}

/// What a run had in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub acknowledged: u64,
    pub unknown: u64,
    pub refused: u64,
    pub reads: u64,
    pub crashes: u64,
    pub partitions: u64,
    pub transfers: u64,
    pub snapshots: u64,
    pub terms: u64,
    pub messages: u64,
    pub recovery_ms: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.reads += other.reads;
        self.crashes += other.crashes;
        self.partitions += other.partitions;
        self.transfers += other.transfers;
        self.snapshots += other.snapshots;
        self.terms += other.terms;
        self.messages += other.messages;
        self.recovery_ms = self.recovery_ms.max(other.recovery_ms);
    }
}

/// How long faults go on.
const CHAOS: Duration = Duration::from_secs(20);
/// After healing, a write must be acknowledged within this: a lost message's timeout (0.5 s), an
/// election (1 s at most) and a second one, should votes be split, and some.
const RECOVERY: Duration = Duration::from_secs(5);

struct World {
    cluster: Cluster,
    clock: AtomicU64,
    operations: Mutex<Vec<Operation>>,
    over: AtomicBool,
    bug: Bug,
}

impl World {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn record(&self, operation: Operation) {
        self.operations.lock().unwrap().push(operation);
    }

    async fn append(&self, at: NodeId, item: u64, forward: bool) -> End {
        let Some(node) = self.cluster.node(at) else { return End::Refused };
        let began = self.tick();
        let done =
            if forward { node.propose(append(item)).await } else { node.propose_here(append(item)).await };
        let end = match done {
            Ok(done) => place(done.reply).map_or(End::Refused, End::At),
            Err(ProposeError::NotLeader { .. }) => End::Refused,
            Err(_) => End::Unknown,
        };
        self.record(Operation::Append { item, began, ended: self.tick(), end });
        end
    }

    async fn read(&self, at: NodeId) {
        let (Some(node), Some(list)) = (self.cluster.node(at), self.cluster.list(at)) else { return };
        let (began, life) = (self.tick(), list.life());
        if self.bug != Bug::ReadHere && node.read_index().await.is_err() {
            return;
        }
        // A member that crashed meanwhile gives no answer.
        if list.life() == life {
            let (length, last) = list.end();
            self.record(Operation::Read { began, ended: self.tick(), length, last });
        }
    }
}

async fn client(world: Arc<World>, number: u64, mut chance: Chance) {
    for count in 0.. {
        if world.over.load(Ordering::Relaxed) {
            return;
        }
        if let Some(at) = chance.pick(&world.cluster.running()) {
            if chance.often(300) {
                world.read(at).await;
            } else {
                world.append(at, number << 32 | count, chance.often(800)).await;
            }
        }
        sleep(chance.time(Duration::from_millis(1), Duration::from_millis(120))).await;
    }
}

fn leader(cluster: &Cluster) -> Option<NodeId> {
    let leads = |id: &NodeId| cluster.node(*id).is_some_and(|n| n.status().role == Role::Leader);
    cluster.running().into_iter().find(leads)
}

/// Cuts a part of the members off, one way or both.
fn cut(cluster: &Cluster, chance: &mut Chance) {
    let ids = cluster.ids();
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for id in ids {
        if chance.often(400) { one.push(id) } else { other.push(id) }
    }
    let kind = chance.below(3);
    for a in &one {
        for b in &other {
            if kind != 1 {
                cluster.net.cut(*a, *b);
            }
            if kind != 2 {
                cluster.net.cut(*b, *a);
            }
        }
    }
}

/// Starts a member as a static bootstrap does: each time with the same first members, which one that
/// has a log does not need.
async fn start(cluster: &Cluster, id: NodeId) -> Result<(), String> {
    cluster.start(id).await.map_err(|e| format!("member {id} does not start: {e}"))?;
    let Some(node) = cluster.node(id) else { return Ok(()) };
    match node.initialize(Cluster::members(&cluster.ids())).await {
        Ok(()) | Err(InitializeError::Already(_)) => Ok(()),
        Err(error) => Err(format!("member {id} is not initialized: {error}")),
    }
}

async fn chaos(cluster: &Cluster, chance: &mut Chance, outcome: &mut Outcome) -> Result<(), String> {
    let start = async |id| start(cluster, id).await;
    let end = Instant::now() + CHAOS;
    while Instant::now() < end {
        let ids = cluster.ids();
        let running = cluster.running();
        let most_down = if chance.often(100) { ids.len() } else { (ids.len() - 1) / 2 };
        match chance.below(10) {
            0..=2 if ids.len() - running.len() < most_down => {
                // The leader's crash is the interesting one.
                let victim = leader(cluster).filter(|_| chance.often(500)).or(chance.pick(&running));
                if let Some(id) = victim {
                    cluster.crash(id);
                    outcome.crashes += 1;
                }
            }
            3 | 4 => {
                let down: Vec<_> = ids.into_iter().filter(|id| !running.contains(id)).collect();
                if let Some(id) = chance.pick(&down) {
                    start(id).await?;
                }
            }
            5 => {
                cut(cluster, chance);
                outcome.partitions += 1;
            }
            6 => cluster.net.heal(),
            7 => cluster.net.faults(if chance.often(500) { Faults::BAD } else { Faults::NONE }),
            8 => {
                if let (Some(from), Some(to)) = (leader(cluster), chance.pick(&running))
                    && let Some(node) = cluster.node(from)
                {
                    outcome.transfers += 1;
                    // It may not come to pass under faults.
                    let _ = timeout(Duration::from_secs(1), node.transfer_leader(to)).await;
                }
            }
            // All at once, as when the power fails.
            9 if chance.often(150) => {
                for id in running {
                    cluster.crash(id);
                    outcome.crashes += 1;
                }
                sleep(chance.time(Duration::ZERO, Duration::from_millis(300))).await;
                for id in ids {
                    start(id).await?;
                }
            }
            _ => {}
        }
        sleep(chance.time(Duration::from_millis(20), Duration::from_millis(900))).await;
    }
    cluster.net.heal();
    cluster.net.faults(Faults::NONE);
    for id in cluster.ids() {
        start(id).await?;
    }
    Ok(())
}

/// Appends until one is acknowledged.
async fn serve_again(world: &World) {
    for count in 0.. {
        for id in world.cluster.ids() {
            // A stale leader must not hold the others' attempts up.
            let item = 0xffff << 32 | count << 8 | id;
            let tried = timeout(Duration::from_millis(500), world.append(id, item, true)).await;
            if matches!(tried, Ok(End::At(_))) {
                return;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until all members have applied what the last one has.
async fn settle(cluster: &Cluster) {
    loop {
        let lengths: Vec<_> = cluster.ids().into_iter().filter_map(|id| cluster.list(id)).collect();
        let lasts: Vec<_> =
            cluster.ids().iter().filter_map(|id| cluster.node(*id)).map(|n| n.status()).collect();
        let same = lengths.windows(2).all(|w| w[0].end() == w[1].end());
        let all = lasts.windows(2).all(|w| w[0].applied == w[1].applied)
            && lasts.iter().all(|s| s.applied.map(|id| id.index) == s.last);
        if same && all {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Runs the story of `seed`, and says what was wrong in it.
pub fn story(seed: u64, bug: Bug) -> Result<Outcome, String> {
    run(seed, telling(seed, bug)).map_err(|e| e.to_string())?
}

async fn telling(seed: u64, bug: Bug) -> Result<Outcome, String> {
    let mut chance = Chance::new(seed);
    let mut outcome = Outcome::default();
    let settings = Settings {
        acknowledge_early: bug == Bug::AcknowledgeEarly,
        lead_on: bug == Bug::LeadOn,
        // Slow disks make what is not synced longer.
        sync: (Duration::from_micros(200), Duration::from_millis([2, 10, 40][chance.below(3) as usize])),
        text: std::env::var_os("SLIPWAY_TRACE").is_some(),
        ..Settings::default()
    };
    let size = if chance.often(300) { 5 } else { 3 };
    let ids: Vec<NodeId> = (1..=size).collect();
    let cluster = Cluster::new(&mut chance, ids.iter().copied(), settings);
    for id in &ids {
        start(&cluster, *id).await?;
    }
    let world = Arc::new(World {
        cluster: cluster.clone(),
        clock: AtomicU64::new(0),
        operations: Mutex::default(),
        over: AtomicBool::new(false),
        bug,
    });
    for number in 1..=5 {
        spawn(client(Arc::clone(&world), number, chance.fork()));
    }
    chaos(&cluster, &mut chance, &mut outcome).await?;
    let healed = Instant::now();
    timeout(RECOVERY, serve_again(&world)).await.map_err(|_| {
        let states: Vec<_> = ids.iter().filter_map(|id| cluster.node(*id)).map(|n| n.status()).collect();
        format!("no write is acknowledged within {RECOVERY:?} of healing: {states:#?}")
    })?;
    outcome.recovery_ms = healed.elapsed().as_millis() as u64;
    world.over.store(true, Ordering::Relaxed);
    // Longer than a request may take: after that, no client waits.
    sleep(settings.request + Duration::from_secs(1)).await;
    timeout(Duration::from_secs(10), settle(&cluster)).await.map_err(|_| {
        let states: Vec<_> = ids.iter().filter_map(|id| cluster.node(*id)).map(|n| n.status()).collect();
        format!("members do not come to the same state within 10 s of healing: {states:#?}")
    })?;
    let judged = verdict(&world, &mut outcome);
    if settings.text {
        println!("{}", cluster.trace.text());
    }
    judged.map(|()| outcome)
}

fn verdict(world: &World, outcome: &mut Outcome) -> Result<(), String> {
    let cluster = &world.cluster;
    let ids = cluster.ids();
    for (term, leaders) in cluster.net.leaders() {
        outcome.terms += 1;
        if leaders.len() > 1 {
            return Err(format!("term {term} has the leaders {leaders:?}"));
        }
    }
    let lists: Vec<_> = ids.iter().filter_map(|id| cluster.list(*id)).map(|l| l.items()).collect();
    if let Some(other) = lists.iter().find(|list| **list != lists[0]) {
        return Err(format!("the lists differ: {:x?} and {other:x?}", lists[0]));
    }
    let logs: Vec<_> = ids.iter().filter_map(|id| cluster.disk(*id)).map(|d| d.entries()).collect();
    for log in &logs {
        check::logs(&logs[0], log)?;
    }
    let operations = world.operations.lock().unwrap();
    for operation in operations.iter() {
        match operation {
            Operation::Append { end: End::At(_), .. } => outcome.acknowledged += 1,
            Operation::Append { end: End::Unknown, .. } => outcome.unknown += 1,
            Operation::Append { end: End::Refused, .. } => outcome.refused += 1,
            Operation::Read { .. } => outcome.reads += 1,
        }
    }
    outcome.messages = cluster.trace.lines();
    outcome.snapshots =
        ids.iter().filter_map(|id| cluster.node(*id)).filter(|n| n.status().snapshot.is_some()).count()
            as u64;
    check::operations(&operations, &lists[0])
}
