//! Three real processes on loopback, which are killed, stopped and cut off while clients work; then the
//! clients' history is judged by the checker of the simulation.
//!
//! Faults: `kill -9` and a restart; SIGSTOP and SIGCONT; and a member that nobody reaches, though it
//! reaches the others, because a proxy between them lets nothing through. 30 seconds of them, and ten
//! minutes with `SLIPWAY_NIGHTLY=1`; `SLIPWAY_SEED=n` draws others.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod process;
mod proxy;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kv_check::drive::{Recorder, Who};
use kv_check::{Bounds, Call, End, Span, Step, Time};
use process::Member;
use tokio::time::{Instant, sleep, timeout};

/// Clocks of one machine are the same; its processes may wait for each other, though.
const BOUNDS: Bounds = Bounds { drift_per_mille: 20, slack_us: 10_000_000 };
const SECONDS: std::ops::RangeInclusive<i64> = 2..=5;
/// Longer than a member lets a request wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// After healing, a write is acknowledged within this.
const RECOVERY: Duration = Duration::from_secs(30);

/// `SplitMix64`.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    fn time(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(least_ms + self.below(most_ms - least_ms + 1))
    }
}

struct World {
    members: Vec<Arc<Member>>,
    recorder: Recorder,
    over: AtomicBool,
    ended: Mutex<BTreeSet<usize>>,
    /// When a life of a member ended.
    lives: Mutex<HashMap<u64, Time>>,
}

impl World {
    async fn call(&self, client: u32, at: usize, call: Call, may_lag: bool, patience: Duration) -> End {
        let member = &self.members[at];
        let who = Who { client, session: member.session() };
        self.recorder.call(who, member.channel(), call, may_lag, sleep(patience)).await
    }
}

async fn client(world: Arc<World>, number: u32, mut random: Random) {
    while !world.over.load(Ordering::Relaxed) {
        sleep(random.time(1, 40)).await;
        let at = random.below(3) as usize;
        let (call, may_lag) = world.recorder.draw(&mut |below| random.below(below));
        let patience = if random.below(20) == 0 { random.time(0, 30) } else { PATIENCE };
        world.call(number, at, call, may_lag, patience).await;
    }
}

async fn watcher(world: Arc<World>, number: u32, mut random: Random) {
    let mut next = 0;
    let span = if number.is_multiple_of(2) { Span::all() } else { Span::one("key-1") };
    loop {
        sleep(random.time(10, 500)).await;
        let channel = world.members[random.below(3) as usize].channel();
        let stay = random.time(500, 8000);
        let lost = async {
            sleep(stay).await;
            if world.over.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let mut of_progress = random.clone();
        let progress = move || 1 + of_progress.below(20);
        let watched = world.recorder.watch(number, channel, span.clone(), next, progress, lost).await;
        world.ended.lock().unwrap().insert(watched.at);
        next = watched.next;
    }
}

/// One fault at a time, of one member, so that a majority is there most of the time.
async fn chaos(world: &World, random: &mut Random, time: Duration) -> [u64; 3] {
    let end = Instant::now() + time;
    let mut counts = [0; 3];
    while Instant::now() < end {
        let member = &world.members[random.below(3) as usize];
        let pause = random.time(100, 2500);
        let kind = random.below(3) as usize;
        counts[kind] += 1;
        match kind {
            0 => {
                world.lives.lock().unwrap().insert(member.session(), world.recorder.now());
                member.kill();
                sleep(pause).await;
                member.start();
            }
            1 => {
                member.signal("STOP");
                sleep(pause).await;
                member.signal("CONT");
            }
            _ => {
                member.proxy.cut();
                sleep(pause).await;
                member.proxy.heal();
            }
        }
        sleep(random.time(0, 1500)).await;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_see_of_three_processes_is_one_store() {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let mut random = Random(number("SLIPWAY_SEED").unwrap_or(1));
    let time = Duration::from_secs(if number("SLIPWAY_NIGHTLY") == Some(1) { 600 } else { 30 });
    let folder = tempfile::tempdir().unwrap();
    let members = process::found(folder.path(), 3).await;
    let world = Arc::new(World {
        members,
        recorder: Recorder::new(SECONDS),
        over: AtomicBool::new(false),
        ended: Mutex::default(),
        lives: Mutex::default(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=6 {
        tasks.spawn(client(Arc::clone(&world), number, Random(random.below(u64::MAX))));
    }
    let mut watchers = tokio::task::JoinSet::new();
    for number in 11..=14 {
        watchers.spawn(watcher(Arc::clone(&world), number, Random(random.below(u64::MAX))));
    }
    let counts = chaos(&world, &mut random, time).await;
    let healed = Instant::now();
    let served = async {
        for count in 0.. {
            let call = Step::Put { key: "healed".into(), value: format!("healed-{count}").into(), lease: 0 };
            let done = world.call(0, count % 3, Call::Step(call), false, Duration::from_secs(2)).await;
            if matches!(done, End::Answered(_)) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(RECOVERY, served).await.expect("no write is acknowledged after healing");
    let recovery = healed.elapsed();
    world.recorder.calm();
    sleep(Duration::from_secs(3)).await;
    world.over.store(true, Ordering::Relaxed);
    while tasks.join_next().await.is_some() {}
    // A client that waited is gone; leases that nobody renews end.
    sleep(Duration::from_secs(*SECONDS.end() as u64) + Duration::from_micros(BOUNDS.slack_us + 1_000_000))
        .await;
    for at in 0..3 {
        let all = Call::Step(Step::Get(Span::all()));
        let end = world.call(0, at, all, false, PATIENCE).await;
        assert!(matches!(end, End::Answered(_)), "member {at} does not read: {end:?}");
    }
    let history = world.recorder.history();
    let ended = world.ended.lock().unwrap().clone();
    for at in (0..history.watches.len()).filter(|at| !ended.contains(at)) {
        world.recorder.settled(at);
    }
    let mut history = world.recorder.history();
    let lives = world.lives.lock().unwrap().clone();
    for (at, operation) in history.operations.iter_mut().enumerate() {
        // Another life of the member may have answered: nothing is promised from one to the other.
        if lives.get(&operation.session).is_some_and(|end| operation.end >= *end) {
            operation.session = u64::MAX - at as u64;
        }
    }
    let answered = history.operations.iter().filter(|operation| operation.answer().is_some()).count();
    let chronicle = kv_check::check(&history, BOUNDS).unwrap_or_else(|violation| {
        panic!("{}", history.tell(&violation));
    });
    println!(
        "{answered} of {} operations answered, {} revisions, {} watches; killed, stopped, cut off: {counts:?}; served again after {recovery:?}",
        history.operations.len(),
        chronicle.entries.len(),
        history.watches.len(),
    );
    assert!(answered > 500 && chronicle.entries.len() > 200, "too little happened");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert!(ended.len() > 4, "no watch was ever lost");
}
