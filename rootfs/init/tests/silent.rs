//! A file system that does not answer: a FUSE server that is there and says no word, as a network
//! server that is down. PID 1 goes on, and what needs the file system fails with its time-out.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

mod machine;

use init::control::{Ending, Request, Response, Verb};
use machine::Machine;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// The mount, and the server's end of it; closing that ends every wait.
struct Silent {
    folder: tempfile::TempDir,
    server: Option<File>,
}

impl Silent {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let mut server = device.expect("this test needs FUSE: modprobe fuse, and /dev/fuse");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("silent"), folder.path(), Some("fuse"), flags, Some(options.as_str())).unwrap();
        // FUSE_INIT, and its answer: `struct fuse_out_header`, `struct fuse_init_out` (<linux/fuse.h>).
        let mut request = [0; 8192 + 4096];
        let count = server.read(&mut request).unwrap();
        assert!(count >= 40 && request[4..8] == 26_u32.to_ne_bytes(), "FUSE_INIT comes first");
        let mut answer = Vec::new();
        answer.extend(80_u32.to_ne_bytes());
        answer.extend(0_i32.to_ne_bytes());
        answer.extend(&request[8..16]);
        for word in [7_u32, 31, 0, 0, 0, 4096] {
            answer.extend(word.to_ne_bytes());
        }
        answer.resize(80, 0);
        server.write_all(&answer).unwrap();
        Self { folder, server: Some(server) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.server = None;
        let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
    }
}

fn begin(machine: &Machine, verb: Verb, unit: &str) {
    let request = Request::Jobs { verb, units: vec![unit.into()], no_block: true };
    assert_eq!(machine.ask(&request), Response::Jobs(vec![]));
}

#[test]
fn what_needs_it_fails_in_time_and_the_rest_goes_on() {
    let silent = Silent::mount();
    let with = |text: &str| text.replace("@FAR@", &silent.folder.path().to_string_lossy());
    let unit = |unit: &str, service: &str| {
        with(&format!("[Unit]\n{unit}\n[Service]\nExecStart=/bin/sleep infinity\n{service}\n"))
    };
    let units = [
        ("cond.service", unit("ConditionPathExists=@FAR@/x", "TimeoutStartSec=1")),
        ("env.service", unit("", "EnvironmentFile=@FAR@/env\nTimeoutStartSec=1")),
        ("secret.service", unit("", "LoadCredential=a:@FAR@/a\nTimeoutStartSec=infinity")),
        ("idle.service", unit("", "Type=idle\nEnvironmentFile=@FAR@/env\nTimeoutStartSec=1")),
        ("reload.service", unit("", "EnvironmentFile=@DIR@/env\nExecReload=/bin/true\nTimeoutStartSec=1")),
        ("file.service", unit("ConditionPathExists=@DIR@/env", "EnvironmentFile=@DIR@/env\nType=exec")),
        ("far.path", with("[Path]\nPathExists=@FAR@/p\nUnit=file.service\n")),
        ("kept.timer", "[Timer]\nOnCalendar=daily\nPersistent=yes\nUnit=file.service\n".to_owned()),
    ];
    let units: Vec<_> = units.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let mut machine = Machine::boot(&units, None);
    fs::write(machine.path("env"), "A=b\n").unwrap();
    symlink(silent.path("linked.service"), machine.path("units/linked.service")).unwrap();
    machine.until("slipway: ready");
    let failed = |unit: &str| vec![(format!("{unit}.service"), "failed".to_owned())];

    // It waits without end, and others are started, shown and stopped meanwhile.
    begin(&machine, Verb::Start, "secret");
    assert_eq!(machine.state("secret.service"), "activating (start)");
    begin(&machine, Verb::Start, "idle");
    assert_eq!(machine.jobs(Verb::Start, "file"), []);
    for name in ["cond", "env"] {
        assert_eq!(machine.jobs(Verb::Start, name), failed(name));
        let shown = machine.show(&format!("{name}.service"));
        assert_eq!((shown.active_state.as_str(), shown.result.as_str()), ("failed", "timeout"), "{name}");
    }
    assert_eq!(machine.state("secret.service"), "activating (start)");
    assert_eq!(machine.jobs(Verb::Stop, "secret"), []);
    assert_eq!(machine.show("secret.service").main_pid, 0);
    while machine.state("idle.service") == "active (running)" {
        std::thread::yield_now();
    }
    assert_eq!(machine.show("idle.service").result, "resources");

    // A command that acts on a running service: the service goes on.
    assert_eq!(machine.jobs(Verb::Start, "reload"), []);
    fs::remove_file(machine.path("env")).unwrap();
    symlink(silent.path("env"), machine.path("env")).unwrap();
    assert_eq!(machine.jobs(Verb::Reload, "reload"), failed("reload"));
    assert_eq!(machine.state("reload.service"), "active (running)");

    // Stamps, paths, unit files.
    symlink(silent.folder.path(), machine.path("stamps")).unwrap();
    assert_eq!(machine.jobs(Verb::Start, "kept.timer"), []);
    assert_eq!(machine.state("kept.timer"), "active (elapsed)", "until its stamp is read");
    assert_eq!(machine.jobs(Verb::Start, "far.path"), []);
    assert_eq!(machine.show("linked.service").load_state, "bad-setting");
    assert_eq!(machine.end(Ending::Poweroff), "PowerOff");
    let said: Vec<_> = machine.journal().into_iter().map(|entry| entry.text("MESSAGE")).collect();
    for text in ["testing its conditions timed out", "its file system does not answer"] {
        assert!(said.iter().any(|line| line.contains(text)), "{text}: {said:#?}");
    }
}
