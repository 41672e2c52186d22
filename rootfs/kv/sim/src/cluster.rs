//! Members, their disks, and their lives.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kv::consensus::Consensus;
use kv::identity::Identity;
use kv::limits::Limits;
use kv::machine::Machine;
use kv::member::Member;
use kv::quota::Quota;
use kv::replica::{Applying, Me, Replica, Waiting, WriteAhead};
use kv::service;
use kv_log::disk::sim::{Fault, SimDisk};
use kv_log::{Log, Mode};
use kv_raft::sim::{Chance, Net, Trace, spawn};
use kv_raft::snapshot::MemorySpool;
use kv_raft::{Config, NodeId, Role};
use tokio::sync::Notify;
use tokio::time::sleep;
use tonic::service::Routes;

use crate::bug::{Bug, Buggy, Hasty};
use crate::database::{Disk, SimHome};
use crate::lock;
use crate::peers::{SimPeers, SimReplica};

/// The cluster's id.
const CLUSTER: u64 = 0x51;
/// Where a member's log is on its disk.
const LOG: &str = "/log";
/// How long a request may wait in the server.
pub const REQUEST: Duration = Duration::from_secs(3);
/// The time of an election, by a member's own clock.
pub const ELECTION: Duration = Duration::from_secs(1);

/// Something that ends once.
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<(AtomicBool, Notify)>);

impl Ending {
    /// It ends.
    pub fn end(&self) {
        self.0.0.store(true, Ordering::Relaxed);
        self.0.1.notify_waiters();
    }

    /// Whether it has.
    pub fn has_ended(&self) -> bool {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Waits for that.
    pub async fn ended(&self) {
        let told = self.0.1.notified();
        if !self.has_ended() {
            told.await;
        }
    }
}

/// One life of a member.
#[derive(Clone)]
pub struct Life {
    /// Its number; no other life of any member has it.
    pub session: u64,
    /// Its services.
    pub routes: Routes,
    /// Its part under Raft.
    pub replica: SimReplica,
    /// What its services stand on.
    pub member: Member,
    /// When it has crashed.
    pub gone: Ending,
}

impl Life {
    /// Whether it leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.replica.raft().pulse().role == Role::Leader
    }
}

struct Slot {
    log: SimDisk,
    database: Arc<Mutex<Disk>>,
    /// By its clock, a second takes so long.
    second: Duration,
    /// How long its log's disk takes to sync, at most.
    sync: Duration,
    founds: bool,
    life: Option<Life>,
}

/// A cluster. Its clones are the same one.
#[derive(Clone)]
pub struct Cluster {
    slots: Arc<Mutex<BTreeMap<NodeId, Slot>>>,
    founders: Arc<BTreeMap<NodeId, kv_raft::Member>>,
    lives: Arc<AtomicU64>,
    chance: Arc<Mutex<Chance>>,
    bug: Bug,
    /// The network between its members.
    pub net: Net,
    /// What happened.
    pub trace: Trace,
}

/// A member's peer addresses.
pub fn urls(id: NodeId) -> Vec<String> {
    vec![format!("sim://{id}")]
}

impl Cluster {
    /// `founders` begin it; `spare` may be added later. None of them is started.
    pub fn new(chance: &mut Chance, founders: &[NodeId], spare: &[NodeId], bug: Bug, trace: Trace) -> Self {
        let net = Net::new(chance.fork(), trace.clone());
        let mut slots = BTreeMap::new();
        for id in founders.iter().chain(spare) {
            let log = SimDisk::new(chance.number());
            let slot = Slot {
                log,
                database: Arc::new(Mutex::new(Disk::new(chance))),
                second: Duration::from_millis(920 + chance.below(161)),
                sync: Duration::from_millis([2, 8, 30][chance.below(3) as usize]),
                founds: founders.contains(id),
                life: None,
            };
            slots.insert(*id, slot);
        }
        let member = |id: &NodeId| (*id, kv_raft::Member { urls: urls(*id) });
        Self {
            slots: Arc::new(Mutex::new(slots)),
            founders: Arc::new(founders.iter().map(member).collect()),
            lives: Arc::default(),
            chance: Arc::new(Mutex::new(chance.fork())),
            bug,
            net,
            trace,
        }
    }

    /// Those that run.
    pub fn running(&self) -> Vec<NodeId> {
        lock(&self.slots).iter().filter(|(_, slot)| slot.life.is_some()).map(|(id, _)| *id).collect()
    }

    /// The life of a member, where it runs.
    pub fn life(&self, id: NodeId) -> Option<Life> {
        lock(&self.slots).get(&id)?.life.clone()
    }

    /// One that leads, as far as it knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.running().into_iter().find(|id| self.life(*id).is_some_and(|life| life.leads()))
    }

    /// Starts a member on what is on its disks. Without effect where it runs.
    ///
    /// # Errors
    /// It does not start: a fault of the store's.
    pub async fn start(&self, id: NodeId) -> Result<(), String> {
        let (log, database, second, sync, founds) = match lock(&self.slots).get(&id) {
            Some(slot) if slot.life.is_none() => {
                (slot.log.clone(), Arc::clone(&slot.database), slot.second, slot.sync, slot.founds)
            }
            _ => return Ok(()),
        };
        let fails = |what: &str, error: &dyn std::error::Error| {
            Err(format!("member {id} does not start: its {what}: {}", kv::member::chain(error)))
        };
        let session = self.lives.fetch_add(1, Ordering::Relaxed) + 1;
        self.trace.line(format_args!("{id} starts, session {session}"));
        let waiting = Waiting::new(session);
        let machine = match Machine::open(SimHome::new(database), waiting.clone()) {
            Ok(machine) => machine,
            Err(error) => return fails("database", &error),
        };
        let shared = machine.shared();
        shared.lessor.set_second(second);
        let mut options = kv_log::Options::new(CLUSTER);
        options.mode = Mode::Caller;
        options.segment_bytes = 1 << 20;
        options.cache_bytes = 8 << 10;
        options.create = machine.raft_position().is_ok_and(|position| position.is_empty());
        let log = match Log::open(log, Path::new(LOG), options) {
            Ok((log, _)) => log,
            Err(error) => return fails("log", &error),
        };
        let slower = |time: Duration| time * second.as_millis() as u32 / 1000;
        let config = Config {
            heartbeat: slower(Duration::from_millis(100)),
            election: slower(ELECTION),
            request: REQUEST,
            snapshot_entries: 60,
            keep_entries: 20,
            chunk: Duration::from_millis(500),
            chunk_bytes: 2048,
            append_bytes: 1024,
            ..Config::new(id, CLUSTER)
        };
        let peers = SimPeers(self.net.link(id));
        let me = Me { name: format!("m{id}"), client_urls: vec![format!("sim-client://{id}")] };
        let applying = Applying::new(machine, Arc::new(MemorySpool));
        let initial = founds.then(|| (*self.founders).clone());
        let ahead = WriteAhead::new(log.clone());
        let gone = Ending::default();
        // The log must go on while Raft starts: its first vote waits for the disk.
        let chance = lock(&self.chance).fork();
        spawn(syncs(log, gone.clone(), chance, sync));
        let log = Hasty { log: ahead, early: self.bug == Bug::EarlyReply };
        let replica =
            Replica::start(config, log, applying.clone(), waiting, peers.clone(), me, initial).await;
        let replica = match replica {
            Ok(replica) => replica,
            Err(error) => {
                gone.end();
                return fails("raft", &error);
            }
        };
        peers.serve(replica.clone());
        let right: Arc<dyn Consensus> = Arc::new(replica.clone());
        let consensus = match self.bug {
            Bug::StaleRead | Bug::TwoProposals => Arc::new(Buggy { inner: right, bug: self.bug }),
            _ => right,
        };
        let identity =
            Identity { cluster: CLUSTER, member: id, name: format!("m{id}"), founders: BTreeMap::new() };
        let member = Member {
            consensus,
            shared,
            identity: Arc::new(identity),
            // No disk of the machine is looked at.
            quota: Arc::new(Quota::new(None, Path::new("/proc/self/no-such-disk"))),
            origins: Arc::from([]),
            limits: Limits::default(),
        };
        let routes = service::routes(&member);
        let expiry = service::expire(member.clone());
        spawn(while_there(gone.clone(), expiry));
        let chance = lock(&self.chance).fork();
        spawn(while_there(gone.clone(), chores(applying, chance)));
        if self.bug == Bug::ShortLease {
            spawn(while_there(gone.clone(), shorten(replica.clone(), member.clone())));
        }
        let life = Life { session, routes, replica, member, gone };
        if let Some(slot) = lock(&self.slots).get_mut(&id) {
            slot.life = Some(life);
        }
        Ok(())
    }

    /// A member ends, with its power or without it, now. Without effect where it does not run.
    pub fn crash(&self, id: NodeId, cut: bool) {
        let life = {
            let mut slots = lock(&self.slots);
            let Some(slot) = slots.get_mut(&id) else { return };
            let Some(life) = slot.life.take() else { return };
            self.net.detach(id);
            slot.log = if cut { slot.log.crash() } else { slot.log.kill() };
            let mut database = lock(&slot.database);
            let after = database.crash(cut);
            *database = after;
            life
        };
        self.trace.line(format_args!("{id} {}", if cut { "loses power" } else { "is killed" }));
        life.gone.end();
        // Its tasks do not know yet; nothing that they do has an effect any more.
        spawn(async move { life.replica.shutdown().await });
    }

    /// The n-th next write of a member's log fails, or of its database, and nothing works from then
    /// on: as when it is ended just there. It is to be crashed some time after.
    pub fn fail_at(&self, id: NodeId, write: u64, of_log: bool) {
        let slots = lock(&self.slots);
        let Some(slot) = slots.get(&id) else { return };
        self.trace.line(format_args!("{id} will fail at write {write}"));
        if of_log {
            // The disk is this life's own.
            let _ = slot.log.fail_at(write, Fault::Stop);
        } else {
            lock(&slot.database).fail_after(write);
        }
    }
}

/// A task of a member, for as long as that is there.
async fn while_there(gone: Ending, task: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = gone.ended() => {}
        () = task => {}
    }
}

/// The log's disk: what is queued is written and synced together, from time to time.
async fn syncs(log: Log<SimDisk>, gone: Ending, mut chance: Chance, most: Duration) {
    while !gone.has_ended() {
        sleep(chance.time(Duration::from_millis(1), most)).await;
        if !log.turn() && chance.often(100) {
            // It fails where the next write does too.
            let _ = log.seal();
        }
    }
}

/// What a member does beside: compaction in the background, and now and then a durable database.
async fn chores(applying: Applying, mut chance: Chance) {
    loop {
        sleep(chance.time(Duration::from_millis(20), Duration::from_millis(300))).await;
        let failed = if chance.often(100) {
            applying.make_durable().is_err()
        } else {
            applying.lock().chore().is_err()
        };
        if failed {
            // Raft stops as well, with its next entry.
            return;
        }
    }
}

/// [`Bug::ShortLease`].
async fn shorten(replica: SimReplica, member: Member) {
    let mut led = false;
    let mut watch = replica.raft().watch();
    loop {
        let leads = watch.status().role == Role::Leader;
        if leads && !led {
            // After the lessor has begun.
            sleep(Duration::from_millis(50)).await;
            let leases = member.shared.source.view().and_then(|view| view.leases()).unwrap_or_default();
            for lease in leases {
                member.shared.lessor.granted(lease.id, lease.ttl_s / 2);
            }
        }
        led = leads;
        if !watch.changed().await {
            return;
        }
    }
}
