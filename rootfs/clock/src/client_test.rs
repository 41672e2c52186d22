//! The client on a simulated clock: the kernel's loop (kernel/time/ntp.c) on an oscillator that is
//! off, a network that holds packets up, and servers that lie.

use super::*;
use crate::packet::{SIZE, timestamp};

const START: i64 = 1_800_000_000_000_000_000;
const MS: i64 = 1_000_000;

/// The kernel's clock.
struct Kernel {
    true_ns: f64,
    error_ns: f64,
    drift_ppb: f64,
    frequency_ppb: f64,
    pending_ns: f64,
    constant: i64,
    updated_ns: f64,
}

impl Kernel {
    fn advance(&mut self, seconds: f64) {
        let mut left = seconds;
        while left > 0.0 {
            let dt = left.min(1.0);
            // Each second a part of what is pending: 1 / 2^(SHIFT_PLL + constant).
            let part = self.pending_ns / f64::from(1 << (2 + self.constant)) * dt;
            self.pending_ns -= part;
            self.error_ns += part + (self.drift_ppb + self.frequency_ppb) * dt;
            self.true_ns += dt * 1e9;
            left -= dt;
        }
    }

    fn adjust(&mut self, adjustment: Adjustment) {
        match adjustment {
            Adjustment::Step(offset) => {
                self.error_ns += offset as f64;
                self.pending_ns = 0.0;
            }
            Adjustment::Slew { offset_ns, constant } => {
                assert!(offset_ns.abs() < 500 * MS, "the kernel cuts off larger ones");
                self.constant = constant;
                let most = f64::from(1 << (3 + constant));
                let seconds = ((self.true_ns - self.updated_ns) / 1e9).min(most);
                self.updated_ns = self.true_ns;
                let gain = seconds / 2f64.powi(2 * (4 + constant as i32));
                self.frequency_ppb =
                    (self.frequency_ppb + offset_ns as f64 * gain).clamp(-500_000.0, 500_000.0);
                self.pending_ns = offset_ns as f64;
            }
        }
    }
}

/// A server: how wrong it is, and what else it does.
#[derive(Clone, Copy)]
struct Server {
    error_ns: i64,
    silent: bool,
    poke: Option<(usize, [u8; 4])>,
}

const HONEST: Server = Server { error_ns: 0, silent: false, poke: None };

struct World {
    kernel: Kernel,
    client: Client,
    servers: Vec<Server>,
    mono: f64,
    seed: u64,
    /// Delay one way, and how much more at most, seconds.
    delay: (f64, f64),
    log: Vec<String>,
    resolved: Vec<String>,
}

impl World {
    fn new(offset_ns: i64, drift_ppb: f64, servers: &[Server]) -> Self {
        Self {
            kernel: Kernel {
                true_ns: START as f64,
                error_ns: -offset_ns as f64,
                drift_ppb,
                frequency_ppb: 0.0,
                pending_ns: 0.0,
                constant: 0,
                updated_ns: START as f64,
            },
            client: Client::new(Limits::default()),
            servers: servers.to_vec(),
            mono: 10.0,
            seed: 0x1234_5678_9abc_def1,
            delay: (0.005, 0.002),
            log: Vec::new(),
            resolved: Vec::new(),
        }
    }

    /// xorshift64*: the same run each time.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn uniform(&mut self) -> f64 {
        (self.random() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn now(&self) -> Moment {
        // f64 has 256 ns of room here; the sum is made where it has more.
        let wall_ns = START + ((self.kernel.true_ns - START as f64) + self.kernel.error_ns) as i64;
        Moment { mono: Duration::from_secs_f64(self.mono), wall_ns }
    }

    fn true_now(&self) -> i64 {
        START + (self.kernel.true_ns - START as f64) as i64
    }

    fn advance(&mut self, seconds: f64) {
        self.kernel.advance(seconds);
        self.mono += seconds;
    }

    fn event(&mut self, event: Event) {
        let random = self.random();
        for action in self.client.handle(self.now(), event, random) {
            match action {
                Action::Log(text) => self.log.push(text),
                Action::Adjust { adjustment, .. } => self.kernel.adjust(adjustment),
                Action::Resolve(name) => {
                    let index: u16 = name.trim_start_matches('s').parse().unwrap();
                    self.resolved.push(name);
                    self.event(Event::Resolved(vec![([10, 0, 0, 1], index).into()]));
                }
                Action::Send { to, bytes } => self.serve(to, bytes),
            }
        }
    }

    fn one_way(&mut self) -> f64 {
        let (least, more) = self.delay;
        // One packet in twenty is held up twentyfold.
        let held_up = if self.uniform() < 0.05 { 20.0 } else { 1.0 };
        least + more * self.uniform() * held_up
    }

    fn serve(&mut self, to: SocketAddr, request: [u8; SIZE]) {
        let server = self.servers[usize::from(to.port())];
        if server.silent {
            return;
        }
        let (forth, back) = (self.one_way(), self.one_way());
        self.advance(forth);
        let time = timestamp(self.true_now() + server.error_ns).to_be_bytes();
        self.advance(back);
        let mut reply = [0; SIZE];
        reply[0] = 4 << 3 | 4;
        reply[1] = 2;
        reply[24..32].copy_from_slice(&request[40..48]);
        reply[32..40].copy_from_slice(&time);
        reply[40..48].copy_from_slice(&time);
        if let Some((at, bytes)) = server.poke {
            reply[at..at + 4].copy_from_slice(&bytes);
        }
        self.event(Event::Packet { from: to, bytes: &reply });
    }

    fn start(&mut self) {
        let names = (0..self.servers.len()).map(|index| format!("s{index}")).collect();
        self.event(Event::Servers(names));
    }

    /// Lets time pass; the largest error in it, nanoseconds.
    fn run(&mut self, hours: f64) -> f64 {
        let end = self.mono + hours * 3600.0;
        let mut worst: f64 = 0.0;
        while let Some(due) = self.client.wake() {
            let due = due.as_secs_f64();
            if due > end {
                break;
            }
            while self.mono < due {
                self.advance((due - self.mono).min(10.0) + 1e-6);
                worst = worst.max(self.kernel.error_ns.abs());
            }
            self.event(Event::Timer);
        }
        self.advance((end - self.mono).max(0.0));
        worst.max(self.kernel.error_ns.abs())
    }
}

#[test]
fn a_day_with_oscillators_of_all_sorts() {
    for (offset_ns, drift_ppb) in
        [(0, 0.0), (3_600_000 * MS, 12_000.0), (-200 * MS, -80_000.0), (399 * MS, 200_000.0)]
    {
        let mut world = World::new(offset_ns, drift_ppb, &[HONEST]);
        world.start();
        world.run(1.0);
        let worst = world.run(23.0);
        assert!(worst < 5e6, "offset {offset_ns}, drift {drift_ppb}: {worst} ns after the first hour");
        let residual = world.kernel.drift_ppb + world.kernel.frequency_ppb;
        assert!(residual.abs() < 2000.0, "drift {drift_ppb}: {residual} ppb are left");
        assert!(world.client.report.steps <= 1, "{:?}", world.log);
        let polls = world.client.report.packets;
        assert!((42..400).contains(&polls), "{polls} questions in a day");
        assert!(world.client.report.passed_over > 0, "packets were held up");
    }
}

#[test]
fn the_first_answer_sets_the_clock_and_steps_are_for_large_offsets() {
    let mut world = World::new(10_000 * MS, 0.0, &[HONEST]);
    world.start();
    assert!(
        world.kernel.error_ns.abs() < 10e6 && world.client.report.steps == 1,
        "{}",
        world.kernel.error_ns
    );
    let mut world = World::new(300 * MS, 0.0, &[HONEST]);
    world.start();
    assert!(world.client.report.steps == 0 && world.kernel.pending_ns > 290e6);
}

#[test]
fn a_server_that_begins_to_lie_is_caught_by_another() {
    let mut world = World::new(0, 10_000.0, &[HONEST, HONEST]);
    world.start();
    world.run(3.0);
    world.servers[0].error_ns = 3_600_000 * MS;
    let worst = world.run(21.0);
    assert!(worst < 10e6, "{worst}: {:?}", world.log);
    assert!(
        world.log.iter().any(|line| line == "s1 contradicts s0, which is not asked for an hour"),
        "{:?}",
        world.log
    );
    assert_eq!((world.client.report.server.as_deref(), world.client.report.steps), (Some("s1"), 0));
}

#[test]
fn a_lie_that_creeps_in_below_a_step_is_followed_slowly_at_most() {
    // One server alone cannot be caught lying a little; the clock must then stay smooth.
    let mut world = World::new(0, 0.0, &[HONEST]);
    world.start();
    world.run(3.0);
    world.servers[0].error_ns = 300 * MS;
    world.run(6.0);
    assert_eq!(world.client.report.steps, 0);
    assert!((world.kernel.error_ns - 300e6).abs() < 10e6, "{}", world.kernel.error_ns);
}

#[test]
fn a_clock_that_is_truly_wrong_is_stepped_when_two_agree_or_one_insists() {
    for servers in [&[HONEST, HONEST][..], &[HONEST][..], &[HONEST, Server { silent: true, ..HONEST }][..]] {
        let mut world = World::new(0, 0.0, servers);
        world.start();
        world.run(3.0);
        for server in &mut world.servers {
            server.error_ns = 2000 * MS;
        }
        world.run(2.0);
        let error = world.kernel.error_ns;
        assert!((error - 2e9).abs() < 10e6 && world.client.report.steps == 1, "{error}: {:?}", world.log);
    }
}

#[test]
fn somebody_who_sets_the_clock_is_noticed_at_the_next_question() {
    let mut world = World::new(0, 0.0, &[HONEST]);
    world.start();
    world.run(5.0);
    world.kernel.error_ns += 7e9;
    world.run(0.6);
    assert!(world.kernel.error_ns.abs() < 10e6, "{}: {:?}", world.kernel.error_ns, world.log);
    assert!(world.log.iter().any(|line| line.contains("set from outside")), "{:?}", world.log);
}

#[test]
fn the_next_server_is_asked_when_one_is_silent_or_unfit() {
    let unfit = [
        Server { silent: true, ..HONEST },
        Server { poke: Some((0, [0xe4, 2, 0, 0])), ..HONEST },
        Server { poke: Some((0, [0x24, 16, 0, 0])), ..HONEST },
        Server { poke: Some((4, [0, 20, 0, 0])), ..HONEST },
        Server { poke: Some((0, [0x24, 0, 0, 0])), ..HONEST },
    ];
    for server in unfit {
        let mut world = World::new(5000 * MS, 0.0, &[server, HONEST]);
        world.start();
        world.run(0.02);
        assert!(world.kernel.error_ns.abs() < 10e6, "{:?}", world.log);
        assert_eq!(world.client.report.server.as_deref(), Some("s1"));
    }
}

#[test]
fn silence_of_all_is_met_with_ever_longer_rests_and_then_with_gladness() {
    let mut world = World::new(5000 * MS, 0.0, &[Server { silent: true, ..HONEST }; 2]);
    world.start();
    world.run(24.0);
    assert!(world.resolved.len() < 400, "{}", world.resolved.len());
    world.servers[1].silent = false;
    world.event(Event::Servers(vec!["s0".into(), "s1".into()]));
    world.run(0.02);
    assert!(world.client.report.synchronized, "a change of the network ends the rest");
}

#[test]
fn kisses_of_death_are_obeyed() {
    let kiss = |code: &[u8; 4]| Server { poke: Some((12, *code)), ..HONEST };
    // RATE needs stratum 0 too: a whole packet is made by hand.
    let mut world = World::new(0, 0.0, &[kiss(b"LOCL"), HONEST]);
    world.start();
    let send = |world: &mut World, code: &[u8; 4]| {
        let due = world.client.wake().unwrap().as_secs_f64();
        world.servers[0].silent = true;
        world.advance((due - world.mono).max(0.0) + 1e-6);
        world.event(Event::Timer);
        let Phase::Asked { cookie, .. } = world.client.phase else { panic!("{:?}", world.client.phase) };
        let mut packet = [0; SIZE];
        packet[0] = 4 << 3 | 4;
        packet[12..16].copy_from_slice(code);
        packet[24..32].copy_from_slice(&cookie.to_be_bytes());
        world.event(Event::Packet { from: ([10, 0, 0, 1], 0).into(), bytes: &packet });
        world.servers[0].silent = false;
    };
    let before = world.client.poll;
    send(&mut world, b"RATE");
    assert_eq!(world.client.poll, before * 2);
    send(&mut world, b"DENY");
    world.run(23.0);
    assert_eq!(world.resolved, ["s0", "s1"], "not asked again in a day");
}

#[test]
fn packets_that_are_not_the_answer_change_nothing() {
    let mut world = World::new(0, 0.0, &[Server { silent: true, ..HONEST }]);
    world.start();
    let phase = world.client.phase;
    let from: SocketAddr = ([10, 0, 0, 1], 0).into();
    for bytes in [&[][..], &[0; 47], &[0xff; 48], &[0x24; 4000]] {
        world.event(Event::Packet { from, bytes });
        world.event(Event::Packet { from: ([10, 0, 0, 2], 0).into(), bytes });
    }
    assert_eq!(world.client.phase, phase);
}
