//! Sockets, timers, paths, mounts, devices, and the relations that came with them.

use super::testing::{World, unit};
use super::{Clock, Event, ExitStatus, JobKind, Mode, NotifyItem, Role};
use crate::unit::LoadState;
use std::time::Duration;

const RUN: &str = "[Service]\nExecStart=/run\n";
const ONESHOT: &str = "[Service]\nType=oneshot\nExecStart=/run\n";
const HOUR: f64 = 3600.0;

fn run(unit: &str) -> String {
    format!("[Unit]\n{unit}\n{RUN}")
}

impl World {
    /// Goes on to each deadline in turn for so long; `answer` says what to do about each action.
    fn live(&mut self, seconds: f64, mut answer: impl FnMut(&mut Self, &str)) -> Vec<String> {
        let end = self.now + Duration::from_secs_f64(seconds);
        let mut said = Vec::new();
        while let Some(due) = self.engine.next_deadline().filter(|due| *due <= end) {
            let by = due.saturating_sub(self.now).as_secs_f64();
            let actions = self.after(by);
            for action in &actions {
                answer(self, action);
            }
            said.extend(actions);
        }
        self.now = end;
        said
    }

    fn up(&mut self, name: &str) {
        self.start(name);
        self.spawned(name);
    }
}

/// 2026-11-24 07:40:00 UTC at the moment zero.
fn clock() -> Clock {
    Clock { epoch_us: 1_795_506_000_000_000, machine_id: "m".into(), boot_id: "b".into(), ..Clock::default() }
}

#[test]
fn a_socket_hands_over_and_listens_again() {
    let mut world = World::new(&[("a.socket", "[Socket]\nListenStream=/s\n"), ("a.service", RUN)]);
    assert_eq!(world.start("a.socket"), ["a open"]);
    assert_eq!(world.event("a.socket", Event::Opened(true)), ["start a done", "a listen"]);
    assert_eq!(world.state("a.socket"), "active (listening)");
    assert_eq!(world.event("a.socket", Event::Incoming), ["a hand over", "a Start 0"]);
    assert_eq!(world.state("a.socket"), "active (running)");
    assert_eq!(world.spawned("a.service"), ["start a done"]);
    assert_eq!(world.exits("a.service", Role::Main, 0), ["a listen"]);
    // Started by name, it takes the socket too; while it runs, the socket may not be opened.
    assert_eq!(world.start("a.service"), ["a Start 0", "a hand over"]);
    assert_eq!(world.spawned("a.service"), ["start a done"]);
    assert_eq!(world.stop("a.socket"), ["a close", "stop a done"]);
    assert_eq!(
        world.start("a.socket"),
        ["a: a.service is active already, so its socket cannot be opened", "start a failed"]
    );
}

#[test]
fn a_socket_whose_service_fails_too_often_fails() {
    let mut world = World::new(&[("a.socket", "[Socket]\nListenStream=/s\n"), ("a.service", RUN)]);
    world.start("a.socket");
    world.event("a.socket", Event::Opened(true));
    for _ in 0..5 {
        world.event("a.socket", Event::Incoming);
        world.event("a.service", Event::SpawnFailed(Role::Main));
        assert_eq!(world.state("a.socket"), "active (listening)");
    }
    world.event("a.socket", Event::Incoming);
    assert_eq!(world.state("a.socket"), "failed (failed)");
    assert_eq!(world.engine.state(world.id("a.socket")).result.to_string(), "service-start-limit-hit");
}

#[test]
fn a_day_of_timers_on_a_simulated_clock() {
    let mut world = World::new(&[
        ("hour.timer", "[Timer]\nOnCalendar=hourly\n"),
        ("hour.service", ONESHOT),
        ("busy.timer", "[Timer]\nOnBootSec=15min\nOnUnitActiveSec=10min\n"),
        ("busy.service", ONESHOT),
        ("once.timer", "[Timer]\nOnStartupSec=1h\nRemainAfterElapse=no\n"),
        ("once.service", ONESHOT),
        (
            "crash.service",
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/run\nRestart=always\nRestartSec=1min\n",
        ),
    ]);
    world.engine.set_clock(clock(), false, false, world.now);
    for timer in ["hour.timer", "busy.timer", "once.timer"] {
        world.start(timer);
    }
    world.start("crash.service");
    world.spawned("crash.service");
    world.exits("crash.service", Role::Main, 1);
    let said = world.live(24.0 * HOUR, |world, action| {
        let Some(name) = action.strip_suffix(" Start 0") else { return };
        let name = format!("{name}.service");
        world.spawned(&name);
        world.exits(&name, Role::Main, 0);
    });
    let count = |name: &str| said.iter().filter(|line| *line == &format!("{name} Start 0")).count();
    assert_eq!(count("hour"), 24);
    // At 15 min, and every 10 min from then on.
    assert_eq!(count("busy"), 1 + (24 * 60 - 15) / 10);
    assert_eq!((count("once"), world.state("once.timer")), (1, "inactive (dead)".into()));
    assert_eq!(count("crash"), 24 * 60 - 1 + 1);
}

#[test]
fn calendar_timers_follow_the_clock_when_it_is_set() {
    let mut world = World::new(&[
        ("a.timer", "[Timer]\nOnCalendar=*-*-* 08:00\n"),
        ("a.service", ONESHOT),
        ("b.timer", "[Timer]\nOnClockChange=yes\n"),
        ("b.service", ONESHOT),
    ]);
    world.engine.set_clock(clock(), false, false, world.now);
    world.start("a.timer");
    world.start("b.timer");
    assert_eq!(world.engine.next_deadline(), Some(Duration::from_mins(20)));
    // Ten minutes on, ten minutes later.
    let mut set = clock();
    set.epoch_us += 600_000_000;
    world.now = Duration::from_mins(5);
    world.engine.set_clock(set, true, false, world.now);
    assert_eq!(world.engine.next_deadline(), Some(Duration::from_mins(10)));
    assert_eq!(world.after(0.0), ["b Start 0"]);
    assert_eq!(world.after(300.0), ["a Start 0"]);
}

#[test]
fn missed_runs_are_caught_up_and_delays_repeat() {
    let text = "[Timer]\nOnCalendar=daily\nPersistent=yes\nRandomizedDelaySec=1h\nFixedRandomDelay=yes\n";
    let mut nexts = Vec::new();
    for _ in 0..2 {
        let mut world = World::new(&[("a.timer", text), ("a.service", ONESHOT)]);
        world.engine.set_clock(clock(), false, false, world.now);
        assert_eq!(world.start("a.timer"), ["start a done", "a read stamp"]);
        // It ran two days ago.
        let last = clock().epoch_us - 48 * 3_600_000_000;
        world.event("a.timer", Event::Stamp(Some(last)));
        let next = world.engine.next_deadline().unwrap();
        assert!(next < Duration::from_hours(1), "{next:?}");
        nexts.push(next);
        assert_eq!(world.after(3600.0), ["a write stamp", "a Start 0"]);
    }
    assert_eq!(nexts[0], nexts[1]);
    // Another machine has another delay.
    let mut world = World::new(&[("a.timer", text), ("a.service", ONESHOT)]);
    world.engine.set_clock(Clock { machine_id: "other".into(), ..clock() }, false, false, world.now);
    world.start("a.timer");
    world.event("a.timer", Event::Stamp(Some(0)));
    assert_ne!(world.engine.next_deadline().unwrap(), nexts[0]);
}

#[test]
fn timers_of_low_accuracy_elapse_together() {
    let mut world = World::new(&[
        ("a.timer", "[Timer]\nOnActiveSec=10s\n"),
        ("a.service", ONESHOT),
        ("b.timer", "[Timer]\nOnActiveSec=50s\nAccuracySec=1s\n"),
        ("b.service", ONESHOT),
        ("c.timer", "[Timer]\nOnActiveSec=90s\n"),
        ("c.service", ONESHOT),
    ]);
    for timer in ["a.timer", "b.timer", "c.timer"] {
        world.start(timer);
    }
    assert_eq!(world.engine.next_deadline(), Some(Duration::from_secs(50)));
    assert_eq!(world.after(50.0), ["a Start 0", "b Start 0"]);
    assert_eq!(world.engine.next_deadline().map(|due| due.as_secs()), Some(90));
}

#[test]
fn a_path_waits_triggers_and_waits_again() {
    let mut world =
        World::new(&[("a.path", "[Path]\nPathExists=/x\nTriggerLimitBurst=2\n"), ("a.service", ONESHOT)]);
    assert_eq!(world.start("a.path"), ["start a done", "a watch"]);
    assert_eq!(world.event("a.path", Event::PathMet), ["a unwatch", "a Start 0"]);
    assert_eq!(world.exits("a.service", Role::Main, 0), ["start a done", "a watch"]);
    world.event("a.path", Event::PathMet);
    world.exits("a.service", Role::Main, 0);
    world.event("a.path", Event::PathMet);
    assert_eq!(world.state("a.path"), "failed (failed)");
}

#[test]
fn devices_are_waited_for_and_mounts_go_with_them() {
    let mut world = World::new(&[("data.mount", "")]);
    let mut mount = unit("data.mount", "[Mount]\nWhat=/dev/vdb\nWhere=/data\n");
    mount.fragment = Some("/data.mount".into());
    let mut user = unit("a.service", &run("RequiresMountsFor=/data/x"));
    user.service.as_mut().unwrap().stop_timeout = None;
    world.engine.add([(mount, None), (user, None)]);
    for name in world.engine.missing() {
        let device = name.kind() == crate::unit::Kind::Device;
        let state = if device { LoadState::Loaded } else { LoadState::NotFound };
        world.engine.add([(crate::unit::Unit::new(name, state), None)]);
    }
    assert_eq!(world.start("a.service"), [""; 0], "the device is not there");
    assert_eq!(world.event("dev-vdb.device", Event::Present(true)), ["start dev-vdb done", "data Start 0"]);
    world.event("data.mount", Event::Spawned(Role::Control));
    assert_eq!(world.exits("data.mount", Role::Control, 0), ["start data done", "a Start 0"]);
    assert_eq!(world.spawned("a.service"), ["start a done"]);
    assert_eq!(world.state("data.mount"), "active (mounted)");
    // Pulled out: what is bound to it is stopped, what needs the mount goes first.
    assert_eq!(
        world.event("dev-vdb.device", Event::Present(false)),
        [
            "data: stopping, because dev-vdb.device that it is bound to is gone",
            "a kill All(15)",
            "a kill All(18)"
        ]
    );
    assert_eq!(world.exits("a.service", Role::Main, 0), ["stop a done", "data Stop 0"]);
    assert_eq!(
        world.exits("data.mount", Role::Control, 1)[1..],
        ["data: could not be unmounted", "stop data failed"]
    );
    assert_eq!(world.stop("data.mount"), ["data Stop 0"]);
    assert_eq!(world.exits("data.mount", Role::Control, 0), ["stop data done"]);
    // A device that never comes fails what waits for it.
    world.start("a.service");
    let said = world.after(90.0);
    assert_eq!(said[0], "start dev-vdb timeout");
    assert!(said.contains(&"start a dependency".to_owned()), "{said:?}");
}

#[test]
fn failing_units_that_start_each_other_come_to_rest() {
    let pair = |other: &str| format!("[Unit]\nOnFailure={other}\nStartLimitIntervalSec=0\n{RUN}");
    let mut world = World::new(&[("a.service", &pair("b.service")), ("b.service", &pair("a.service"))]);
    let mut said = world.start("a.service");
    let mut steps = 0;
    while let Some(name) = said.iter().rev().find_map(|line| line.strip_suffix(" Start 0")) {
        steps += 1;
        assert!(steps < 100, "they never come to rest");
        let name = format!("{name}.service");
        said = world.event(&name, Event::SpawnFailed(Role::Main));
    }
    assert!(said.iter().any(|line| line.contains("made other units start too often (16 times)")), "{said:?}");
    // Ten seconds later they may again.
    world.now += Duration::from_secs(11);
    world.start("a.service");
    let said = world.event("a.service", Event::SpawnFailed(Role::Main));
    assert!(said.contains(&"b Start 0".to_owned()), "{said:?}");
}

#[test]
fn nothing_is_started_by_events_while_the_machine_ends() {
    let mut world = World::new(&[
        ("a.service", &run("OnFailure=help.service\nConflicts=shutdown.target\nBefore=shutdown.target")),
        ("help.service", RUN),
        ("shutdown.target", ""),
        ("a.socket", "[Unit]\n[Socket]\nListenStream=/s\nService=help.service\n"),
    ]);
    world.up("a.service");
    world.start("a.socket");
    world.event("a.socket", Event::Opened(true));
    let said = world.enqueue(JobKind::Start, "shutdown.target", Mode::ReplaceIrreversibly).unwrap();
    assert_eq!(said, ["a kill All(15)", "a kill All(18)"]);
    let said = world.exits("a.service", Role::Main, 1);
    assert!(!said.iter().any(|line| line.contains("help")), "{said:?}");
    assert_eq!(world.event("a.socket", Event::Incoming), ["a flush"]);
}

#[test]
fn upheld_units_are_kept_up() {
    let mut world = World::new(&[
        ("t.target", "[Unit]\nUpholds=a.service"),
        ("a.service", &run("StartLimitIntervalSec=0")),
    ]);
    assert_eq!(world.start("t.target"), ["start t done", "a Start 0"]);
    world.spawned("a.service");
    assert_eq!(world.exits("a.service", Role::Main, 0), ["a Start 0"]);
    world.spawned("a.service");
    world.stop("t.target");
    assert_eq!(world.exits("a.service", Role::Main, 0), [""; 0]);
}

#[test]
fn stops_and_reloads_are_propagated() {
    let reload = "[Service]\nExecStart=/run\nExecReload=/reload\n";
    let mut world = World::new(&[
        ("a.service", &run("PropagatesStopTo=b.service")),
        ("b.service", RUN),
        (
            "c.service",
            &format!("[Unit]\nStopPropagatedFrom=a.service\nReloadPropagatedFrom=d.service\n{reload}"),
        ),
        ("d.service", reload),
    ]);
    for name in ["a.service", "b.service", "c.service", "d.service"] {
        world.up(name);
    }
    let mut said = world.enqueue(JobKind::Reload, "d.service", Mode::Replace).unwrap();
    said.sort();
    assert_eq!(said, ["c Reload 0", "d Reload 0"]);
    world.exits("c.service", Role::Control, 0);
    world.exits("d.service", Role::Control, 0);
    let mut said = world.stop("a.service");
    said.retain(|line| line.ends_with("kill All(15)"));
    said.sort();
    assert_eq!(said, ["a kill All(15)", "b kill All(15)", "c kill All(15)"]);
}

#[test]
fn what_nobody_needs_is_stopped() {
    let mut world = World::new(&[
        ("a.service", &run("Requires=b.service\nAfter=b.service")),
        ("b.service", &run("StopWhenUnneeded=yes")),
    ]);
    world.start("a.service");
    world.spawned("b.service");
    world.spawned("a.service");
    assert_eq!(world.exits("a.service", Role::Main, 0), ["b kill All(15)", "b kill All(18)"]);
    world.exits("b.service", Role::Main, 0);
    // Started alone, nobody needs it from the beginning.
    world.start("b.service");
    assert_eq!(world.spawned("b.service"), ["start b done", "b kill All(15)", "b kill All(18)"]);
}

#[test]
fn restarts_come_slower_and_slower() {
    let text = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/run\nRestart=always\nRestartSec=1s\n\
                RestartSteps=2\nRestartMaxDelaySec=100s\n";
    let mut world = World::new(&[("a.service", text)]);
    world.up("a.service");
    let mut delays = Vec::new();
    for _ in 0..4 {
        world.exits("a.service", Role::Main, 1);
        let due = world.engine.next_deadline().unwrap().saturating_sub(world.now);
        delays.push(due.as_secs());
        assert_eq!(world.after(due.as_secs_f64()), ["a Start 0"]);
        world.spawned("a.service");
    }
    assert_eq!(delays, [1, 10, 100, 100]);
}

#[test]
fn a_direct_restart_is_not_noticed_by_others() {
    let text = |mode: &str| {
        format!(
            "[Unit]\nOnFailure=help.service\n[Service]\nExecStart=/run\nRestart=always\nRestartMode={mode}\n"
        )
    };
    for (mode, bound_stops) in [("normal", true), ("direct", false)] {
        let mut world = World::new(&[
            ("a.service", &text(mode)),
            ("b.service", &run("BindsTo=a.service\nAfter=a.service")),
            ("help.service", RUN),
        ]);
        world.up("a.service");
        world.up("b.service");
        let said = world.exits("a.service", Role::Main, 1);
        assert_eq!(said.contains(&"b kill All(15)".to_owned()), bound_stops, "{mode}: {said:?}");
    }
}

#[test]
fn signals_and_timeouts_of_a_service_are_its_own() {
    let text = "[Service]\nType=notify\nExecStart=/run\nWatchdogSec=5\nWatchdogSignal=QUIT\nTimeoutAbortSec=7\n\
                FinalKillSignal=USR1\nKillMode=mixed\nRestartKillSignal=INT\n";
    let mut world = World::new(&[("a.service", text)]);
    world.up("a.service");
    world.event("a.service", Event::Notify(vec![NotifyItem::Ready]));
    let said = world.enqueue(JobKind::Restart, "a.service", Mode::Replace).unwrap();
    assert_eq!(said, ["a kill One(Main, 2)", "a kill One(Main, 18)"]);
    assert_eq!(world.exits("a.service", Role::Main, 0), ["a Start 0"]);
    world.spawned("a.service");
    world.event("a.service", Event::Notify(vec![NotifyItem::Ready]));
    assert_eq!(world.after(5.0)[1], "a kill One(Main, 3)");
    assert_eq!(world.after(7.0), ["a kill All(10)"]);
}

#[test]
fn a_service_may_live_as_long_as_its_cgroup() {
    let mut world = World::new(&[("a.service", "[Service]\nExecStart=/run\nExitType=cgroup\n")]);
    world.up("a.service");
    let end = Event::Exited { role: Role::Main, status: ExitStatus::Code(0), cgroup_empty: false };
    assert_eq!(world.event("a.service", end), [""; 0]);
    assert_eq!(world.state("a.service"), "active (running)");
    world.event("a.service", Event::CgroupEmpty);
    assert_eq!(world.state("a.service"), "inactive (dead)");
}

#[test]
fn idle_services_wait_for_the_queue_but_hold_nothing_up() {
    let idle = "[Service]\nType=idle\nExecStart=/run\n";
    let mut world = World::new(&[
        ("t.target", "[Unit]\nWants=a.service b.service\nAfter=a.service b.service"),
        ("a.service", idle),
        ("b.service", ONESHOT),
    ]);
    assert_eq!(world.start("t.target"), ["start a done", "b Start 0"]);
    assert_eq!(world.exits("b.service", Role::Main, 0), ["start b done", "start t done", "a Start 0"]);
    world.spawned("a.service");
    assert_eq!(world.state("a.service"), "active (running)");
    // Five seconds are the most; stopped before, it never ran.
    let mut world = World::new(&[("a.service", idle), ("b.service", ONESHOT), ("c.service", idle)]);
    world.start("b.service");
    world.start("a.service");
    world.start("c.service");
    assert_eq!(world.stop("c.service"), ["stop c done"]);
    assert_eq!(world.after(5.0), ["a Start 0"]);
}

#[test]
fn notify_reload_sends_a_signal_and_waits() {
    let mut world =
        World::new(&[("a.service", "[Service]\nType=notify-reload\nReloadSignal=USR1\nExecStart=/run\n")]);
    world.up("a.service");
    world.event("a.service", Event::Notify(vec![NotifyItem::Ready]));
    let said = world.enqueue(JobKind::Reload, "a.service", Mode::Replace).unwrap();
    assert_eq!(said, ["a kill One(Main, 10)"]);
    world.event("a.service", Event::Notify(vec![NotifyItem::Reloading]));
    assert_eq!(world.event("a.service", Event::Notify(vec![NotifyItem::Ready])), ["reload a done"]);
}

#[test]
fn ends_of_jobs_and_units_have_their_actions() {
    let mut world = World::new(&[
        ("a.service", "[Unit]\nSuccessAction=poweroff\n[Service]\nType=oneshot\nExecStart=/run\n"),
        (
            "b.service",
            "[Unit]\nJobRunningTimeoutSec=3\nJobTimeoutAction=reboot-force\n[Service]\nType=oneshot\nExecStart=/run\n",
        ),
        ("c.service", "[Unit]\nCollectMode=inactive-or-failed\n[Service]\nExecStart=/run\n"),
    ]);
    world.start("a.service");
    assert!(world.exits("a.service", Role::Main, 0).contains(&"a Poweroff".to_owned()));
    world.start("b.service");
    assert_eq!(world.after(3.0), ["start b timeout", "b RebootForce"]);
    world.up("c.service");
    world.exits("c.service", Role::Main, 1);
    assert_eq!(world.state("c.service"), "inactive (dead)");
}

#[test]
fn connections_are_counted_and_their_instances_forgotten() {
    let mut world = World::new(&[("a.socket", "[Socket]\nListenStream=/s\nAccept=yes\nMaxConnections=1\n")]);
    world.start("a.socket");
    world.event("a.socket", Event::Opened(true));
    assert_eq!(world.event("a.socket", Event::Incoming), ["a accept"]);
    world.engine.add([(unit("a@1.service", RUN), None)]);
    let (socket, instance) = (world.id("a.socket"), world.id("a@1.service"));
    world.engine.accepted(socket, instance, world.now).unwrap();
    world.spawned("a@1.service");
    let said = world.event("a.socket", Event::Incoming);
    assert_eq!(said, ["a: 1 connections are open, one more is refused", "a flush"]);
    assert!(!world.engine.forget(instance), "it runs");
    world.exits("a@1.service", Role::Main, 0);
    assert!(world.engine.forget(instance));
    assert_eq!(world.engine.state(socket).connections, 0);
    // Its place is taken by the next.
    world.engine.add([(unit("a@2.service", RUN), None)]);
    assert_eq!(world.id("a@2.service"), instance);
}

#[test]
fn relations_as_the_manual_has_them() {
    // Requisite=: not started, and without it the start fails at once.
    let mut world =
        World::new(&[("a.service", &run("Requisite=b.service\nAfter=b.service")), ("b.service", RUN)]);
    assert_eq!(
        world.start("a.service"),
        ["verify-active b failed", "a: dependency failed: b.service", "start a dependency"]
    );
    world.up("b.service");
    assert_eq!(world.start("a.service"), ["a Start 0"]);
    world.spawned("a.service");
    // It stops with what it requires, but not because that ends by itself.
    assert_eq!(world.exits("b.service", Role::Main, 0), [""; 0]);
    assert_eq!(world.state("a.service"), "active (running)");

    // PartOf=: restarted along, in order, and never started.
    let mut world = World::new(&[
        ("whole.service", RUN),
        ("part.service", &run("PartOf=whole.service\nAfter=whole.service")),
        ("down.service", &run("PartOf=whole.service")),
    ]);
    world.up("whole.service");
    world.up("part.service");
    let said = world.enqueue(JobKind::Restart, "whole.service", Mode::Replace).unwrap();
    assert_eq!(said, ["part kill All(15)", "part kill All(18)"]);
    assert_eq!(world.exits("part.service", Role::Main, 0), ["whole kill All(15)", "whole kill All(18)"]);
    assert_eq!(world.exits("whole.service", Role::Main, 0), ["whole Start 0"]);
    assert_eq!(world.spawned("whole.service"), ["start whole done", "part Start 0"]);
    world.spawned("part.service");
    assert_eq!(world.state("down.service"), "inactive (dead)");

    // BindsTo= with After=: what is not up by then fails the start.
    let mut world = World::new(&[
        ("a.service", &run("BindsTo=b.service\nAfter=b.service")),
        ("b.service", "[Unit]\nConditionPathExists=/nonexistent\n[Service]\nExecStart=/run\n"),
    ]);
    assert_eq!(world.start("a.service"), ["test b"]);
    let tested =
        Event::Tested { failed_condition: Some("PathExists=/nonexistent".into()), failed_assert: None };
    assert_eq!(
        world.event("b.service", tested),
        ["start b skipped", "a: dependency failed: b.service", "start a dependency"]
    );

    // A cycle of units that all matter is refused with all their names.
    let mut world = World::new(&[
        ("a.service", &run("Requires=b.service\nAfter=b.service")),
        ("b.service", &run("Requires=c.service\nAfter=c.service")),
        ("c.service", &run("After=a.service")),
    ]);
    let refused = world.enqueue(JobKind::Start, "a.service", Mode::Replace).unwrap_err().to_string();
    assert_eq!(refused, "ordering cycle: a.service after b.service after c.service after a.service");

    // A start that conflicts with a unit stops it; one that is wanted only gives way.
    let mut world = World::new(&[
        ("a.service", &run("Conflicts=b.service")),
        ("b.service", RUN),
        ("t.target", "[Unit]\nWants=a.service\nRequires=b.service"),
    ]);
    assert_eq!(world.start("t.target"), ["stop a done", "b Start 0", "start t done"]);
    world.spawned("b.service");
    assert_eq!(world.start("a.service"), ["a Start 0", "b kill All(15)", "b kill All(18)", "stop t done"]);
}
