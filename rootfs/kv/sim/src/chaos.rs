//! What befalls the members: crashes, partitions, a bad network, comings and goings.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kv::replica::ask::{Add, Answer, Ask};
use kv_raft::NodeId;
use kv_raft::sim::{Chance, Faults, spawn};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Cluster, urls};
use crate::lock;
use crate::story::{Outcome, World};

/// How long faults go on.
const CHAOS: Duration = Duration::from_secs(15);

/// A member's place in the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It was not added yet.
    Spare,
    /// It is a member, or may be.
    In,
    /// It is to be removed.
    Leaving,
    /// It was removed.
    Out,
}

/// What befalls the members of one run.
pub struct Chaos {
    world: Arc<World>,
    places: Arc<Mutex<BTreeMap<NodeId, Place>>>,
    /// Members that fail at a write, and when they are crashed for good.
    failing: BTreeMap<NodeId, Instant>,
    /// Changes of members that were asked for and not answered yet.
    under_way: Arc<AtomicUsize>,
    chance: Chance,
}

impl Chaos {
    /// For the members of a cluster.
    pub fn new(world: &Arc<World>, founders: &[NodeId], spare: &[NodeId], chance: Chance) -> Self {
        let founders = founders.iter().map(|id| (*id, Place::In));
        let places = founders.chain(spare.iter().map(|id| (*id, Place::Spare))).collect();
        let places = Arc::new(Mutex::new(places));
        let under_way = Arc::default();
        Self { world: Arc::clone(world), places, failing: BTreeMap::new(), under_way, chance }
    }

    fn cluster(&self) -> &Cluster {
        &self.world.cluster
    }

    fn with(&self, wanted: impl Fn(Place) -> bool) -> Vec<NodeId> {
        lock(&self.places).iter().filter(|(_, place)| wanted(**place)).map(|(id, _)| *id).collect()
    }

    /// All faults for their time; then all is healed, and every member runs.
    ///
    /// # Errors
    /// A member does not start.
    pub async fn run(&mut self, outcome: &mut Outcome) -> Result<(), String> {
        let end = Instant::now() + CHAOS;
        while Instant::now() < end {
            self.step(outcome).await?;
            let pause = self.chance.time(Duration::from_millis(20), Duration::from_millis(700));
            sleep(pause).await;
            let due: Vec<_> =
                self.failing.iter().filter(|(_, at)| **at <= Instant::now()).map(|(id, _)| *id).collect();
            for id in due {
                self.failing.remove(&id);
                let cut = self.chance.often(700);
                self.cluster().crash(id, cut);
                outcome.cuts += 1;
            }
        }
        for id in std::mem::take(&mut self.failing).into_keys() {
            self.cluster().crash(id, true);
        }
        self.cluster().net.heal();
        self.cluster().net.faults(Faults::NONE);
        for id in self.with(|place| matches!(place, Place::In | Place::Leaving)) {
            self.cluster().start(id).await?;
        }
        Ok(())
    }

    async fn step(&mut self, outcome: &mut Outcome) -> Result<(), String> {
        let ids = self.with(|place| matches!(place, Place::In | Place::Leaving));
        let running: Vec<_> =
            self.cluster().running().into_iter().filter(|id| !self.failing.contains_key(id)).collect();
        let down = ids.len() - running.len().min(ids.len());
        let most_down = if self.chance.often(100) { ids.len() } else { (ids.len() - 1) / 2 };
        match self.chance.below(14) {
            0..=2 if down < most_down => {
                if let Some(id) = self.victim(&running) {
                    let cut = self.chance.often(700);
                    self.cluster().crash(id, cut);
                    outcome.crashes += 1;
                }
            }
            3 | 4 if down < most_down => {
                if let Some(id) = self.victim(&running) {
                    let (write, of_log) = (1 + self.chance.below(12), self.chance.often(600));
                    self.cluster().fail_at(id, write, of_log);
                    let wait = self.chance.time(Duration::from_millis(50), Duration::from_millis(800));
                    self.failing.insert(id, Instant::now() + wait);
                }
            }
            5..=7 => {
                let stopped: Vec<_> =
                    ids.into_iter().filter(|id| self.cluster().life(*id).is_none()).collect();
                if let Some(id) = self.chance.pick(&stopped) {
                    self.cluster().start(id).await?;
                }
            }
            8 => {
                self.cut(&ids);
                outcome.partitions += 1;
            }
            9 => self.cluster().net.heal(),
            10 => {
                let faults = if self.chance.often(500) { Faults::BAD } else { Faults::NONE };
                self.cluster().net.faults(faults);
            }
            11 => self.move_leader(&running),
            12 => self.change_members(&ids, outcome).await?,
            // All at once, as when the power fails.
            13 if self.chance.often(200) => {
                for id in self.cluster().running() {
                    self.failing.remove(&id);
                    self.cluster().crash(id, true);
                    outcome.crashes += 1;
                }
                let pause = self.chance.time(Duration::ZERO, Duration::from_millis(300));
                sleep(pause).await;
                for id in ids {
                    self.cluster().start(id).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The leader's end is the interesting one.
    fn victim(&mut self, running: &[NodeId]) -> Option<NodeId> {
        let leader = self.cluster().leader().filter(|id| running.contains(id));
        if self.chance.often(500) { leader.or(self.chance.pick(running)) } else { self.chance.pick(running) }
    }

    /// Cuts a part of the members off, one way or both.
    fn cut(&mut self, ids: &[NodeId]) {
        let (one, other): (Vec<NodeId>, Vec<NodeId>) = ids.iter().partition(|_| self.chance.often(400));
        let kind = self.chance.below(3);
        self.cluster().trace.line(format_args!("{one:?} and {other:?} are cut off, kind {kind}"));
        for a in &one {
            for b in &other {
                if kind != 1 {
                    self.cluster().net.cut(*a, *b);
                }
                if kind != 2 {
                    self.cluster().net.cut(*b, *a);
                }
            }
        }
    }

    fn move_leader(&mut self, running: &[NodeId]) {
        let (Some(from), Some(to)) = (self.cluster().leader(), self.chance.pick(running)) else { return };
        let Some(life) = self.cluster().life(from) else { return };
        spawn(async move {
            // It may not come to pass under faults.
            let _ = timeout(Duration::from_secs(2), life.member.consensus.move_leader(to)).await;
        });
    }

    /// Adds a member, or removes one, also a dead one.
    async fn change_members(&mut self, ids: &[NodeId], outcome: &mut Outcome) -> Result<(), String> {
        let asked = self.chance.pick(&self.cluster().running()).and_then(|id| self.cluster().life(id));
        let Some(asked) = asked else { return Ok(()) };
        let spare = self.with(|place| place == Place::Spare);
        if let Some(id) = spare.first().copied().filter(|_| self.chance.often(600)) {
            lock(&self.places).insert(id, Place::In);
            outcome.added += 1;
            self.cluster().trace.line(format_args!("{id} is added"));
            let (gone, under_way) = (asked.gone.clone(), Arc::clone(&self.under_way));
            under_way.fetch_add(1, Ordering::Relaxed);
            spawn(async move {
                let add = Ask::Add(Add { id, urls: urls(id), learner: false });
                tokio::select! {
                    biased;
                    () = gone.ended() => {}
                    // Whether it was done is seen at the end.
                    _ = asked.member.consensus.ask_leader(add) => {}
                }
                under_way.fetch_sub(1, Ordering::Relaxed);
            });
            return self.cluster().start(id).await;
        }
        if ids.len() <= 3 {
            return Ok(());
        }
        let leaving = self.with(|place| place == Place::In);
        let Some(id) = self.chance.pick(&leaving) else { return Ok(()) };
        lock(&self.places).insert(id, Place::Leaving);
        outcome.removed += 1;
        self.cluster().trace.line(format_args!("{id} is removed"));
        let (places, cluster, gone) = (Arc::clone(&self.places), self.cluster().clone(), asked.gone.clone());
        let under_way = Arc::clone(&self.under_way);
        under_way.fetch_add(1, Ordering::Relaxed);
        spawn(async move {
            let done = tokio::select! {
                biased;
                () = gone.ended() => false,
                done = asked.member.consensus.ask_leader(Ask::Remove(id)) => matches!(done, Ok(Answer::Done(_))),
            };
            if done {
                lock(&places).insert(id, Place::Out);
                cluster.crash(id, true);
            }
            under_way.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(())
    }

    /// Waits until all know the same members; ends those that are none any more.
    pub async fn settle_members(&mut self) -> Vec<NodeId> {
        loop {
            let under_way = self.under_way.load(Ordering::Relaxed) > 0;
            let leader = self.cluster().leader().filter(|_| !under_way);
            let Some(leader) = leader.and_then(|id| self.cluster().life(id)) else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            let places = leader.member.consensus.places();
            let members: Vec<NodeId> = places.iter().map(|place| place.id).collect();
            let voters = places.iter().all(|place| place.has_vote);
            let same = members.iter().all(|id| {
                self.cluster().life(*id).is_some_and(|life| {
                    let theirs = life.member.consensus.places();
                    theirs.iter().map(|place| place.id).eq(members.iter().copied())
                })
            });
            if same && voters && leader.member.consensus.read_barrier().await.is_ok() {
                for id in self.cluster().running() {
                    if !members.contains(&id) {
                        self.cluster().crash(id, false);
                    }
                }
                return members;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}
