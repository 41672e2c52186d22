//! Plans and actions compared as data.

use super::testing::World;
use super::{Event, ExitStatus, JobKind, Mode, NotifyItem, Role, TransactionError};

const RUN: &str = "[Service]\nExecStart=/run\n";

fn run(unit: &str) -> String {
    format!("[Unit]\n{unit}\n{RUN}")
}

#[test]
fn after_waits_for_the_start_job_and_stop_goes_in_reverse() {
    let mut world = World::new(&[
        ("a.service", &run("Requires=b.service\nAfter=b.service")),
        ("b.service", "[Service]\nType=notify\nExecStart=/run\n"),
    ]);
    assert_eq!(world.start("a.service"), ["b Start 0"]);
    assert_eq!(world.event("b.service", Event::Spawned(Role::Main)), [""; 0]);
    let ready = Event::Notify(vec![NotifyItem::Ready]);
    assert_eq!(world.event("b.service", ready), ["start b done", "a Start 0"]);
    assert_eq!(world.spawned("a.service"), ["start a done"]);
    // Stopping what is required stops what requires it, first.
    assert_eq!(world.stop("b.service"), ["a kill All(15)", "a kill All(18)"]);
    assert_eq!(world.exits("a.service", Role::Main, 0), ["stop a done", "b kill All(15)", "b kill All(18)"]);
    assert_eq!(world.exits("b.service", Role::Main, 0), ["stop b done"]);
}

#[test]
fn without_order_requirements_start_at_once_and_wants_may_fail() {
    let mut world = World::new(&[
        ("a.target", "[Unit]\nWants=b.service gone.service\nRequires=c.service\nAfter=b.service c.service"),
        ("b.service", &run("")),
        ("c.service", &run("")),
    ]);
    assert_eq!(world.start("a.target"), ["b Start 0", "c Start 0"]);
    assert_eq!(
        world.event("b.service", Event::SpawnFailed(Role::Main)),
        ["b: failed with result 'resources'", "start b failed"]
    );
    assert_eq!(world.spawned("c.service"), ["start c done", "start a done"]);
}

#[test]
fn a_missing_requirement_refuses_the_start_and_names_it() {
    let mut world = World::new(&[("a.service", &run("Requires=gone.service"))]);
    let refused = world.enqueue(JobKind::Start, "a.service", Mode::Replace).unwrap_err();
    assert_eq!(refused.to_string(), "unit gone.service is not found");
    // Wanted by something else, it is left out as a whole.
    let mut world = World::new(&[
        ("t.target", "[Unit]\nWants=a.service b.service"),
        ("a.service", &run("Requires=gone.service")),
        ("b.service", &run("")),
    ]);
    assert_eq!(world.start("t.target"), ["start t done", "b Start 0"]);
}

#[test]
fn a_failed_requirement_fails_what_waits_for_it() {
    let mut world = World::new(&[
        ("boot.target", "[Unit]\nRequires=a.service\nAfter=a.service\nOnFailure=help.target"),
        ("a.service", "[Unit]\nRequires=b.service\nAfter=b.service\n[Service]\nExecStart=/run"),
        ("b.service", "[Service]\nType=oneshot\nExecStart=/run"),
        ("help.target", ""),
    ]);
    assert_eq!(world.start("boot.target"), ["b Start 0"]);
    assert_eq!(
        world.exits("b.service", Role::Main, 3),
        [
            "b: Start process exited with code 3",
            "b: failed with result 'exit-code'",
            "start b failed",
            "a: dependency failed: b.service",
            "start a dependency",
            "boot: dependency failed: a.service",
            "start boot dependency",
            "boot: job help.target was enqueued because boot.target failed",
            "start help done",
        ]
    );
}

#[test]
fn conflicts_stop_the_other_first_when_it_is_ordered() {
    let mut world =
        World::new(&[("a.service", &run("Conflicts=b.service\nAfter=b.service")), ("b.service", &run(""))]);
    world.start("b.service");
    world.spawned("b.service");
    assert_eq!(world.start("a.service"), ["b kill All(15)", "b kill All(18)"]);
    assert_eq!(world.exits("b.service", Role::Main, 0), ["stop b done", "a Start 0"]);
}

#[test]
fn a_contradiction_is_refused_or_resolved_by_what_matters() {
    let units = [("a.service", run("Requires=b.service\nConflicts=b.service")), ("b.service", run(""))];
    let units: Vec<(&str, &str)> = units.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut world = World::new(&units);
    let refused = world.enqueue(JobKind::Start, "a.service", Mode::Replace).unwrap_err();
    assert!(matches!(refused, TransactionError::Contradiction(_)));
    let mut world =
        World::new(&[("a.target", "[Unit]\nWants=b.service\nConflicts=b.service"), ("b.service", &run(""))]);
    assert_eq!(world.start("a.target"), ["start a done", "stop b done"]);
}

#[test]
fn a_cycle_is_told_whole_and_broken_at_what_is_only_wanted() {
    let mut world = World::new(&[
        ("t.target", "[Unit]\nRequires=a.service\nWants=b.service c.service"),
        ("a.service", &run("After=b.service")),
        ("b.service", &run("After=c.service")),
        ("c.service", &run("After=a.service")),
    ]);
    let actions = world.start("t.target");
    assert_eq!(
        actions[0],
        "ordering cycle b.service after c.service after a.service after b.service; \
         the job of b.service is left out"
    );
    assert_eq!(actions[1..], ["start t done", "a Start 0"]);

    let mut world = World::new(&[
        ("a.service", &run("Requires=b.service\nAfter=b.service")),
        ("b.service", &run("After=a.service")),
    ]);
    let refused = world.enqueue(JobKind::Start, "a.service", Mode::Replace).unwrap_err();
    assert_eq!(refused.to_string(), "ordering cycle: a.service after b.service after a.service");
}

#[test]
fn oneshot_runs_its_commands_in_turn_and_stays_up_only_if_told() {
    let text = "[Service]\nType=oneshot\nExecStartPre=/pre\nExecStart=/one\nExecStart=-/two\nExecStartPost=/post\nExecStop=/stop\n";
    let mut world = World::new(&[("a.service", text)]);
    assert_eq!(world.start("a.service"), ["a StartPre 0"]);
    assert_eq!(world.exits("a.service", Role::Control, 0), ["a Start 0"]);
    assert_eq!(world.exits("a.service", Role::Main, 0), ["a Start 1"]);
    assert_eq!(
        world.exits("a.service", Role::Main, 1),
        ["a: Start process exited with code 1, ignored", "a StartPost 0"]
    );
    assert_eq!(world.exits("a.service", Role::Control, 0), ["a Stop 0"]);
    assert_eq!(world.exits("a.service", Role::Control, 0), ["start a done"]);
    assert_eq!(world.state("a.service"), "inactive (dead)");

    let mut world = World::new(&[("a.service", &format!("{text}RemainAfterExit=yes\n"))]);
    world.start("a.service");
    world.exits("a.service", Role::Control, 0);
    world.exits("a.service", Role::Main, 0);
    world.exits("a.service", Role::Main, 0);
    assert_eq!(world.exits("a.service", Role::Control, 0), ["start a done"]);
    assert_eq!(world.state("a.service"), "active (exited)");
    assert_eq!(world.stop("a.service"), ["a Stop 0"]);
    assert_eq!(world.exits("a.service", Role::Control, 0), ["stop a done"]);
}

#[test]
fn restart_on_failure_until_the_rate_limit() {
    let text = "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=60\nStartLimitAction=reboot\nOnFailure=help.target\n\
                [Service]\nExecStart=/run\nRestart=on-failure\nRestartSec=5\n";
    let mut world = World::new(&[("a.service", text), ("help.target", "")]);
    world.start("a.service");
    world.spawned("a.service");
    assert_eq!(
        world.exits("a.service", Role::Main, 1),
        ["a: Start process exited with code 1", "a: failed with result 'exit-code'"]
    );
    assert_eq!(world.state("a.service"), "activating (auto-restart)");
    assert_eq!(world.after(4.9), [""; 0]);
    assert_eq!(world.after(0.1), ["a Start 0"]);
    world.spawned("a.service");
    world.exits("a.service", Role::Main, 1);
    assert_eq!(
        world.after(5.0),
        [
            "a: start request repeated too quickly (2 times)",
            "a Reboot",
            "start a failed",
            "a: job help.target was enqueued because a.service failed",
            "start help done",
        ]
    );
    assert_eq!(world.state("a.service"), "failed (failed)");
    // A clean end is no failure.
    let mut world = World::new(&[("a.service", text), ("help.target", "")]);
    world.start("a.service");
    world.spawned("a.service");
    assert_eq!(world.exits("a.service", Role::Main, 0), [""; 0]);
    assert_eq!(world.state("a.service"), "inactive (dead)");
}

#[test]
fn a_wished_stop_is_not_restarted_and_prevent_and_force_decide_first() {
    let text = "[Service]\nExecStart=/run\nRestart=always\nRestartPreventExitStatus=7\n";
    let mut world = World::new(&[("a.service", text)]);
    world.start("a.service");
    world.spawned("a.service");
    world.stop("a.service");
    world.exits("a.service", Role::Main, 0);
    assert_eq!(world.state("a.service"), "inactive (dead)");
    world.start("a.service");
    world.spawned("a.service");
    world.exits("a.service", Role::Main, 7);
    assert_eq!(world.state("a.service"), "failed (failed)");
}

#[test]
fn stop_escalates_by_time_and_waits_for_the_cgroup() {
    let text = "[Service]\nExecStart=/run\nTimeoutStopSec=10\nExecStopPost=/post\n";
    let mut world = World::new(&[("a.service", text)]);
    world.start("a.service");
    world.spawned("a.service");
    assert_eq!(world.stop("a.service"), ["a kill All(15)", "a kill All(18)"]);
    let leaves_child =
        Event::Exited { role: Role::Main, status: ExitStatus::Signal(15, false), cgroup_empty: false };
    assert_eq!(world.event("a.service", leaves_child), [""; 0]);
    assert_eq!(world.after(10.0), ["a: stop timed out", "a kill KillAll"]);
    assert_eq!(world.event("a.service", Event::CgroupEmpty), ["a StopPost 0"]);
    assert_eq!(
        world.exits("a.service", Role::Control, 0),
        ["a: failed with result 'timeout'", "stop a done"]
    );
}

#[test]
fn mixed_kills_the_rest_at_the_end_and_process_leaves_it() {
    for (mode, last) in [("mixed", vec!["a kill KillAll"]), ("process", vec!["stop a done"])] {
        let mut world = World::new(&[("a.service", &format!("{RUN}KillMode={mode}\n"))]);
        world.start("a.service");
        world.spawned("a.service");
        assert_eq!(world.stop("a.service"), ["a kill One(Main, 15)", "a kill One(Main, 18)"]);
        let leaves_child =
            Event::Exited { role: Role::Main, status: ExitStatus::Code(0), cgroup_empty: false };
        assert_eq!(world.event("a.service", leaves_child), last, "{mode}");
    }
}

#[test]
fn binds_to_follows_an_unexpected_end_and_part_of_a_wished_one() {
    let mut world = World::new(&[
        ("a.service", &run("BindsTo=b.service\nAfter=b.service")),
        ("p.service", &run("PartOf=b.service")),
        ("b.service", &run("")),
    ]);
    world.start("a.service");
    world.spawned("b.service");
    world.spawned("a.service");
    world.start("p.service");
    world.spawned("p.service");
    assert_eq!(
        world.exits("b.service", Role::Main, 0),
        ["a: stopping, because b.service that it is bound to is gone", "a kill All(15)", "a kill All(18)"]
    );
    assert_eq!(world.state("p.service"), "active (running)");
    world.exits("a.service", Role::Main, 0);
    world.start("b.service");
    world.spawned("b.service");
    let actions = world.enqueue(JobKind::Restart, "b.service", Mode::Replace).unwrap();
    assert!(actions.contains(&"p kill All(15)".to_owned()), "{actions:?}");
}

#[test]
fn isolate_stops_all_else_and_shutdown_jobs_stay() {
    let mut world = World::new(&[
        ("a.service", &run("Conflicts=shutdown.target\nBefore=shutdown.target")),
        ("keep.service", &run("IgnoreOnIsolate=yes")),
        ("rescue.target", "[Unit]\nAllowIsolate=yes"),
        ("shutdown.target", ""),
    ]);
    for name in ["a.service", "keep.service"] {
        world.start(name);
        world.spawned(name);
    }
    let actions = world.enqueue(JobKind::Start, "rescue.target", Mode::Isolate).unwrap();
    assert_eq!(actions, ["a kill All(15)", "a kill All(18)", "start rescue done"]);
    world.exits("a.service", Role::Main, 0);
    world.start("a.service");
    world.spawned("a.service");
    let actions = world.enqueue(JobKind::Start, "shutdown.target", Mode::ReplaceIrreversibly).unwrap();
    assert_eq!(actions, ["a kill All(15)", "a kill All(18)"]);
    let refused = world.enqueue(JobKind::Start, "a.service", Mode::Replace).unwrap_err();
    assert_eq!(refused.to_string(), "a.service has a stop job that cannot be replaced");
    assert_eq!(world.exits("a.service", Role::Main, 0), ["stop a done", "start shutdown done"]);
    assert!(matches!(
        world.enqueue(JobKind::Start, "a.service", Mode::Isolate),
        Err(TransactionError::Isolate(_))
    ));
}

#[test]
fn conditions_skip_and_asserts_fail() {
    let mut world = World::new(&[
        ("t.target", "[Unit]\nRequires=a.service\nAfter=a.service"),
        ("a.service", &run("ConditionPathExists=/x")),
    ]);
    assert_eq!(world.start("t.target"), ["test a"]);
    let tested = Event::Tested { failed_condition: Some("PathExists=/x".into()), failed_assert: None };
    assert_eq!(world.event("a.service", tested), ["start a skipped", "start t done"]);
    let mut world = World::new(&[
        ("t.target", "[Unit]\nRequires=a.service\nAfter=a.service"),
        ("a.service", &run("AssertPathExists=/x")),
    ]);
    world.start("t.target");
    let tested = Event::Tested { failed_condition: None, failed_assert: Some("PathExists=/x".into()) };
    assert_eq!(
        world.event("a.service", tested),
        [
            "a: assertion PathExists=/x failed",
            "start a assert",
            "t: dependency failed: a.service",
            "start t dependency",
        ]
    );
}

#[test]
fn forking_and_notify_and_exec() {
    let mut world = World::new(&[("a.service", "[Service]\nType=forking\nExecStart=/run\n")]);
    assert_eq!(world.start("a.service"), ["a Start 0"]);
    world.event("a.service", Event::Spawned(Role::Control));
    let forked = Event::Exited { role: Role::Control, status: ExitStatus::Code(0), cgroup_empty: false };
    assert_eq!(world.event("a.service", forked), ["a find main"]);
    assert_eq!(world.event("a.service", Event::MainFound(Some(7))), ["start a done"]);
    assert_eq!(world.exits("a.service", Role::Main, 0), [""; 0]);
    assert_eq!(world.state("a.service"), "inactive (dead)");

    let mut world =
        World::new(&[("a.service", "[Service]\nType=notify\nExecStart=/run\nTimeoutStartSec=3\n")]);
    world.start("a.service");
    world.spawned("a.service");
    world.event(
        "a.service",
        Event::Notify(vec![NotifyItem::ExtendTimeout(std::time::Duration::from_secs(5))]),
    );
    assert_eq!(world.after(4.0), [""; 0]);
    assert_eq!(world.after(1.0), ["a: start timed out", "a kill All(15)", "a kill All(18)"]);

    let mut world = World::new(&[("a.service", "[Service]\nType=exec\nExecStart=/run\n")]);
    world.start("a.service");
    assert_eq!(world.spawned("a.service"), [""; 0]);
    assert_eq!(world.event("a.service", Event::Executed(Role::Main)), ["start a done"]);
}

#[test]
fn the_watchdog_bites_with_abort_then_kill() {
    let text = "[Service]\nExecStart=/run\nWatchdogSec=10\nTimeoutStopSec=5\nRestart=on-watchdog\n";
    let mut world = World::new(&[("a.service", text)]);
    world.start("a.service");
    world.spawned("a.service");
    world.after(9.0);
    world.event("a.service", Event::Notify(vec![NotifyItem::Watchdog]));
    assert_eq!(world.after(9.0), [""; 0]);
    assert_eq!(world.after(1.0), ["a: watchdog timeout after 10s", "a kill One(Main, 6)"]);
    assert_eq!(world.after(5.0), ["a kill KillAll"]);
    let killed = Event::Exited { role: Role::Main, status: ExitStatus::Signal(9, false), cgroup_empty: true };
    world.event("a.service", killed);
    assert_eq!(world.state("a.service"), "activating (auto-restart)");
}

#[test]
fn reload_keeps_a_service_up_even_when_it_fails() {
    let mut world = World::new(&[("a.service", &format!("{RUN}ExecReload=/reload\n")), ("b.service", RUN)]);
    world.start("a.service");
    world.spawned("a.service");
    assert_eq!(world.enqueue(JobKind::Reload, "a.service", Mode::Replace).unwrap(), ["a Reload 0"]);
    assert_eq!(
        world.exits("a.service", Role::Control, 1),
        ["a: Reload process exited with code 1", "reload a failed"]
    );
    assert_eq!(world.state("a.service"), "active (running)");
    assert!(matches!(
        world.enqueue(JobKind::Reload, "b.service", Mode::Replace),
        Err(TransactionError::NotApplicable(..))
    ));
}

#[test]
fn job_timeouts_and_jobs_on_the_way() {
    let mut world = World::new(&[
        ("a.target", "[Unit]\nRequires=b.service\nAfter=b.service\nJobTimeoutSec=30"),
        ("b.service", "[Service]\nType=oneshot\nExecStart=/run"),
    ]);
    world.start("a.target");
    assert_eq!(world.after(30.0), ["start a timeout"]);
    // A stop replaces the start that is on its way.
    assert_eq!(world.stop("b.service"), ["start b canceled", "b kill All(15)", "b kill All(18)"]);
}

proptest::proptest! {
    /// Whatever the wishes and events, in the end every unit that was stopped is down, no job is
    /// left, and nothing panics.
    #[test]
    fn any_sequence_comes_to_rest(seed in proptest::collection::vec((0_u8..12, 0_u8..5), 0..60)) {
        let names = ["t.target", "a.service", "b.service", "c.service", "d.service"];
        let mut world = World::new(&[
            ("t.target", "[Unit]\nWants=a.service b.service\nRequires=c.service\nAfter=a.service b.service c.service"),
            ("a.service", &run("BindsTo=b.service\nAfter=b.service")),
            ("b.service", "[Unit]\nConflicts=d.service\n[Service]\nType=notify\nExecStart=/run\nRestart=always\nRestartSec=1\n"),
            ("c.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/run\nExecStop=/stop\nTimeoutStartSec=9\n"),
            ("d.service", "[Unit]\nPartOf=t.target\n[Service]\nType=forking\nExecStart=/run\nExecStopPost=/post\n"),
        ]);
        for (act, unit) in seed {
            let name = names[unit as usize];
            let exit = |role, code| Event::Exited { role, status: ExitStatus::Code(code), cgroup_empty: true };
            let state = world.engine.state(world.id(name)).clone();
            match act {
                0 | 1 => _ = world.enqueue(JobKind::Start, name, Mode::Replace),
                2 => _ = world.enqueue(JobKind::Stop, name, Mode::Replace),
                3 => _ = world.enqueue(JobKind::Restart, name, Mode::Replace),
                4 => _ = world.after(1.0),
                5 if state.main => _ = world.event(name, Event::Spawned(Role::Main)),
                6 if state.main => _ = world.event(name, exit(Role::Main, 0)),
                7 if state.main => _ = world.event(name, exit(Role::Main, 1)),
                8 if state.control => _ = world.event(name, exit(Role::Control, 0)),
                9 if state.control => _ = world.event(name, exit(Role::Control, 1)),
                10 => _ = world.event(name, Event::Notify(vec![NotifyItem::Ready])),
                11 => _ = world.event(name, Event::MainFound(Some(1))),
                _ => {}
            }
        }
        for name in names {
            let _ = world.enqueue(JobKind::Stop, name, Mode::Replace);
        }
        for _ in 0..40 {
            for name in names {
                for role in [Role::Main, Role::Control] {
                    if *world.engine.state(world.id(name)).clone().has(role) {
                        world.exits(name, role, 0);
                    }
                }
                world.event(name, Event::CgroupEmpty);
            }
            world.after(100.0);
        }
        for name in names {
            proptest::prop_assert!(world.engine.active(world.id(name)).is_down(), "{} is {}", name, world.state(name));
        }
        proptest::prop_assert_eq!(world.engine.jobs().count(), 0);
    }
}

#[test]
fn conditions_that_nobody_answers_are_a_start_timeout() {
    let condition = "ConditionPathExists=/mnt/x";
    let mut world = World::new(&[
        (
            "a.service",
            &format!("[Unit]\n{condition}\n[Service]\nExecStart=/run\nRestart=on-failure\nRestartSec=2\n"),
        ),
        ("t.target", &format!("[Unit]\n{condition}\n")),
    ]);
    assert_eq!(world.start("a.service"), ["test a"]);
    assert_eq!(
        world.event("a.service", Event::Untested),
        ["a: testing its conditions timed out", "a: failed with result 'timeout'", "start a failed"]
    );
    assert_eq!(world.state("a.service"), "activating (auto-restart)");
    assert_eq!(world.after(2.0), ["test a"]);
    // A stop takes the job away; the answer comes too late.
    world.stop("a.service");
    assert_eq!(world.event("a.service", Event::Untested), [""; 0]);
    assert_eq!(world.start("t.target"), ["test t"]);
    let late = ["t: testing its conditions timed out", "start t timeout"];
    assert_eq!(world.event("t.target", Event::Untested), late);
    assert_eq!(world.state("t.target"), "inactive (dead)");
}

#[test]
fn a_process_killed_for_want_of_memory_ends_the_service_by_its_policy() {
    let service = |policy: &str| format!("[Service]\nExecStart=/run\nExecStop=/bye\n{policy}\n");
    let mut world = World::new(&[
        ("stop.service", &service("")),
        ("kill.service", &service("OOMPolicy=kill\nRestart=on-abnormal\nRestartSec=1")),
        ("go.service", &service("OOMPolicy=continue")),
        ("own.service", &service("Delegate=yes")),
        ("pre.service", "[Service]\nExecStartPre=/pre\nExecStart=/run\n"),
    ]);
    for name in ["stop.service", "kill.service", "go.service", "own.service"] {
        world.start(name);
        world.spawned(name);
    }
    let oom = |name: &str| format!("{name}: a process was killed for want of memory");
    assert_eq!(world.event("stop.service", Event::OomKilled), [oom("stop"), "stop Stop 0".into()]);
    world.event("stop.service", Event::Spawned(Role::Control));
    let killed = ExitStatus::Signal(9, false);
    world.event("stop.service", Event::Exited { role: Role::Main, status: killed, cgroup_empty: false });
    let ended = world.exits("stop.service", Role::Control, 0);
    assert_eq!(ended, ["stop: failed with result 'oom-kill'"]);

    assert_eq!(world.event("kill.service", Event::OomKilled), [oom("kill"), "kill kill KillAll".into()]);
    let ended = Event::Exited { role: Role::Main, status: killed, cgroup_empty: true };
    world.event("kill.service", ended.clone());
    assert_eq!(world.state("kill.service"), "activating (auto-restart)");

    for name in ["go", "own"] {
        let name = format!("{name}.service");
        assert_eq!(world.event(&name, Event::OomKilled).len(), 1, "only told");
        assert_eq!(world.state(&name), "active (running)");
    }
    let pre = world.start("pre.service");
    assert_eq!(pre, ["pre StartPre 0"]);
    world.event("pre.service", Event::Spawned(Role::Control));
    assert_eq!(world.event("pre.service", Event::OomKilled)[1..], ["pre kill All(15)", "pre kill All(18)"]);
    world.exits("pre.service", Role::Control, 1);
    assert_eq!(world.state("pre.service"), "failed (failed)");
}
