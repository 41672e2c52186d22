//! Each sandboxing key on a real process, which prints what it sees. What is expected is what
//! systemd.exec(5) promises.

mod machine;

use init::control::{Ending, Verb};
use machine::Machine;

/// Runs one oneshot service per entry and gives what each said.
fn said(units: &[(&str, &str, &str)]) -> Vec<Vec<String>> {
    let texts: Vec<(String, String)> = units
        .iter()
        .map(|(name, keys, script)| {
            let script = format!("{KEPT}{script}");
            let script = script.replace('%', "%%").replace('$', "$$");
            let text = format!(
                "[Service]\nType=oneshot\n{keys}\nExecStart=/bin/bash -c '{script}; true'\nStandardError=inherit\n"
            );
            (format!("{name}.service"), text)
        })
        .collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut machine = Machine::boot(&texts, None);
    machine.until("slipway: ready");
    for (name, ..) in &texts {
        let failed = machine.jobs(Verb::Start, name);
        if !failed.is_empty() {
            let said: Vec<_> = machine.journal().into_iter().map(|entry| entry.text("MESSAGE")).collect();
            panic!("{failed:?}: {said:#?}");
        }
    }
    machine.end(Ending::Reboot);
    let problems: Vec<_> = machine
        .journal()
        .into_iter()
        .filter(|entry| entry.text("MESSAGE").contains("is not valid"))
        .collect();
    assert!(problems.is_empty(), "{problems:#?}");
    // The shell names processes by number when they are killed.
    let plain = |line: String| match line.split_once("line 1:") {
        Some((head, rest)) if line.contains("Bad system call") => {
            let digit = |c: char| c.is_ascii_digit() || c == ' ';
            format!("{head}line 1: {}", rest.trim_start_matches(digit))
        }
        _ => line,
    };
    texts.iter().map(|(name, _)| machine.said_by(name).into_iter().map(plain).collect()).collect()
}

#[track_caller]
fn check(units: &[(&str, &str, &str, &[&str])]) {
    let plain: Vec<_> = units.iter().map(|(name, keys, script, _)| (*name, *keys, *script)).collect();
    for ((name, _, _, expected), found) in units.iter().zip(said(&plain)) {
        assert_eq!(found, *expected, "{name}");
    }
}

/// Prints of each capability by number whether it is in the bounding set.
const KEPT: &str =
    "kept() { b=0x$(grep CapBnd /proc/self/status | cut -f2); for n; do echo $n $((b >> n & 1)); done; }; ";

/// Prints whether a file can be made in each folder.
const WRITE: &str = "for d in $dirs; do if touch $d/.probe 2>/dev/null; then rm $d/.probe; echo $d rw; else echo $d ro; fi; done";

#[test]
fn protect_system_home_and_paths() {
    let write = |dirs: &str| format!("dirs=\"{dirs}\"; {WRITE}");
    check(&[
        ("no", "", &write("/usr /etc /var/tmp /run"), &["/usr rw", "/etc rw", "/var/tmp rw", "/run rw"]),
        ("yes", "ProtectSystem=yes", &write("/usr /boot /etc"), &["/usr ro", "/boot ro", "/etc rw"]),
        ("full", "ProtectSystem=full", &write("/usr /etc /var/tmp"), &["/usr ro", "/etc ro", "/var/tmp rw"]),
        (
            "strict",
            "ProtectSystem=strict\nReadWritePaths=/var/tmp -/nonexistent\nRuntimeDirectory=strict",
            &format!(
                "{}; echo 1 >/proc/self/oom_score_adj && echo proc; echo x >/dev/null && echo dev",
                write("/usr /etc /var /var/tmp /run /run/strict /root")
            ),
            &[
                "/usr ro",
                "/etc ro",
                "/var ro",
                "/var/tmp rw",
                "/run ro",
                "/run/strict rw",
                "/root rw",
                "proc",
                "dev",
            ],
        ),
        ("home", "ProtectHome=yes", "ls -A /root | wc -l; stat -c %a /root", &["0", "0"]),
        (
            "home-user",
            "ProtectHome=yes\nUser=nobody",
            "ls /home",
            &["ls: cannot open directory '/home': Permission denied"],
        ),
        ("home-ro", "ProtectHome=read-only", &write("/root /home"), &["/root ro", "/home ro"]),
        (
            "home-tmpfs",
            "ProtectHome=tmpfs",
            "stat -f -c %T /root /home; ls -A /root | wc -l",
            &["tmpfs", "tmpfs", "0"],
        ),
        (
            "paths",
            "ReadOnlyPaths=/var\nReadWritePaths=/var/tmp\nInaccessiblePaths=/etc/hostname -/nonexistent",
            &format!("{}; wc -c </etc/hostname; stat -c %a /etc/hostname", write("/var/lib /var/tmp")),
            &["/var/lib ro", "/var/tmp rw", "0", "0"],
        ),
        (
            "exec",
            "NoExecPaths=/\nExecPaths=/usr/bin/bash /usr/lib /lib",
            "/usr/bin/ls; echo $?",
            &["/bin/bash: line 1: /usr/bin/ls: Permission denied", "126"],
        ),
        (
            "binds",
            "TemporaryFileSystem=/srv:ro\nBindReadOnlyPaths=/etc/hostname:/srv/a/name /usr/share:/srv/share\nBindPaths=/var/tmp:/srv/tmp",
            &format!(
                "ls /srv; cmp /srv/a/name /etc/hostname && echo same; {}",
                write("/srv /srv/share /srv/tmp")
            ),
            &["a", "share", "tmp", "same", "/srv ro", "/srv/share ro", "/srv/tmp rw"],
        ),
    ]);
}

#[test]
fn private_things() {
    check(&[
        (
            "tmp",
            "PrivateTmp=yes\nExecStartPre=/bin/touch /tmp/of-pre",
            "ls /tmp; ls -A /var/tmp; stat -c %a /tmp; touch /tmp/mine",
            &["of-pre", "1777"],
        ),
        (
            "devices",
            "PrivateDevices=yes",
            "ls /dev | grep -v -e hugepages -e mqueue | tr \"\\n\" \" \"; echo; echo x >/dev/null; head -c 3 /dev/zero | wc -c; touch /dev/x; kept 27 17 12",
            &[
                "core fd full log null ptmx pts random shm stderr stdin stdout tty urandom zero",
                "3",
                "touch: cannot touch '/dev/x': Read-only file system",
                "27 0",
                "17 0",
                "12 1",
            ],
        ),
        (
            "network",
            "PrivateNetwork=yes",
            "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d \" \"; exec 3<>/dev/tcp/127.0.0.1/9",
            &[
                "lo",
                "/bin/bash: connect: Connection refused",
                "/bin/bash: line 1: /dev/tcp/127.0.0.1/9: Connection refused",
            ],
        ),
        (
            "users",
            "PrivateUsers=yes\nUser=daemon",
            "id -u; cat /proc/self/uid_map | tr -s \" \"; stat -c %u /bin; stat -c %u /tmp/..; stat -c %U /var/mail/..",
            &["1", " 0 0 1", " 1 1 1", "0", "0", "root"],
        ),
        ("ipc", "PrivateIPC=yes", "ipcs -q | grep -c ^0x", &["0"]),
        (
            "hostname",
            "ProtectHostname=yes",
            "hostname $(hostname); readlink /proc/self/ns/uts | grep -c $(readlink /proc/1/ns/uts)",
            &["hostname: you must be root to change the host name", "0"],
        ),
        (
            "proc",
            "ProtectProc=invisible\nProcSubset=pid\nUser=nobody",
            "ls -d /proc/1 /proc/sys /proc/self",
            &[
                "ls: cannot access '/proc/1': No such file or directory",
                "ls: cannot access '/proc/sys': No such file or directory",
                "/proc/self",
            ],
        ),
    ]);
}

#[test]
fn kernel_keys() {
    check(&[
        (
            "tunables",
            "ProtectKernelTunables=yes",
            "echo 1 >/proc/sys/kernel/printk; wc -c </proc/kallsyms",
            &["/bin/bash: line 1: /proc/sys/kernel/printk: Read-only file system", "0"],
        ),
        (
            "modules",
            "ProtectKernelModules=yes",
            "ls -A /usr/lib/modules 2>/dev/null | wc -l; kept 16 12",
            &["0", "16 0", "12 1"],
        ),
        (
            "logs",
            "ProtectKernelLogs=yes",
            "dmesg -S 2>&1 | head -n 1; kept 34 12",
            &["dmesg: read kernel buffer failed: Operation not permitted", "34 0", "12 1"],
        ),
        (
            "clock",
            "ProtectClock=yes",
            "date -s \"$(date)\" >/dev/null; kept 25 35 12",
            &["date: cannot set date: Operation not permitted", "25 0", "35 0", "12 1"],
        ),
        (
            "groups",
            "ProtectControlGroups=yes",
            "mkdir /sys/fs/cgroup/unified/x 2>&1 | cut -d: -f3",
            &[" Read-only file system"],
        ),
    ]);
}

#[test]
fn system_call_filters() {
    check(&[
        (
            "families",
            "RestrictAddressFamilies=AF_UNIX",
            "exec 3<>/dev/udp/127.0.0.1/9",
            &[
                "/bin/bash: socket: Address family not supported by protocol",
                "/bin/bash: line 1: /dev/udp/127.0.0.1/9: Address family not supported by protocol",
            ],
        ),
        (
            "families-deny",
            "RestrictAddressFamilies=~AF_INET6 AF_PACKET",
            "exec 3<>/dev/udp/127.0.0.1/9 && echo four; exec 3<>/dev/udp/::1/9",
            &[
                "four",
                "/bin/bash: socket: Address family not supported by protocol",
                "/bin/bash: line 1: /dev/udp/::1/9: Address family not supported by protocol",
            ],
        ),
        (
            "namespaces",
            "RestrictNamespaces=uts ipc",
            "unshare -u echo uts; unshare -n echo net; nsenter -t 1 -u echo in",
            &["uts", "unshare: unshare failed: Operation not permitted", "in"],
        ),
        (
            "realtime",
            "RestrictRealtime=yes",
            "chrt -b 0 echo batch; chrt -f 1 echo fifo",
            &["batch", "chrt: failed to set pid 0's policy: Operation not permitted"],
        ),
        (
            "suid",
            "RestrictSUIDSGID=yes",
            "f=$(mktemp); chmod 755 $f && echo plain; chmod u+s $f 2>&1 | cut -d: -f3; rm $f",
            &["plain", " Operation not permitted"],
        ),
        (
            "personality",
            "LockPersonality=yes",
            "setarch -R echo no; uname -s",
            &["setarch: failed to set personality to (null): Operation not permitted", "Linux"],
        ),
        (
            "memory",
            "MemoryDenyWriteExecute=yes",
            "/usr/bin/python3 -c \"import mmap; mmap.mmap(-1, 4096, prot=3); mmap.mmap(-1, 4096, prot=7)\" 2>&1 | tail -n 1",
            &["PermissionError: [Errno 1] Operation not permitted"],
        ),
        (
            "allow",
            "SystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM",
            "mount -t tmpfs none /mnt; unshare -m true; echo ok",
            &[
                "mount: /mnt: permission denied.",
                "       dmesg(1) may have more information after failed mount system call.",
                "unshare: cannot change root filesystem propagation: Operation not permitted",
                "ok",
            ],
        ),
        (
            "deny",
            "SystemCallFilter=~@clock:EACCES @mount\nSystemCallErrorNumber=ENOANO",
            "unshare -m true; umount /proc",
            &[
                "unshare: cannot change root filesystem propagation: No anode",
                "umount: /proc: umount(2) system call failed: No anode.",
            ],
        ),
        (
            "kill",
            "SystemCallFilter=~chroot",
            "chroot / true 2>/dev/null; echo $?",
            &["/bin/bash: line 1: Bad system call         chroot / true 2> /dev/null", "159"],
        ),
        (
            "taken",
            "SystemCallFilter=@system-service\nSystemCallFilter=~@resources getpid:EPERM\nUser=nobody",
            "nice -n 3 true; grep -h -e NoNew -e Seccomp: /proc/self/status",
            &["/bin/bash: line 1: Bad system call         nice -n 3 true", "NoNewPrivs:\t1", "Seccomp:\t2"],
        ),
        (
            "nnp",
            "SystemCallFilter=~@clock\nUser=nobody",
            "grep -h -e NoNew -e Seccomp: /proc/self/status",
            &["NoNewPrivs:\t1", "Seccomp:\t2"],
        ),
        ("native", "SystemCallArchitectures=native", "grep Seccomp: /proc/self/status", &["Seccomp:\t2"]),
    ]);
}

#[test]
fn execution_keys() {
    check(&[
        ("affinity", "CPUAffinity=0", "taskset -pc $$ | cut -d: -f2", &[" 0"]),
        (
            "scheduler",
            "CPUSchedulingPolicy=batch\nCPUSchedulingResetOnFork=yes",
            "chrt -p $$ | cut -d: -f2",
            &[" SCHED_BATCH|SCHED_RESET_ON_FORK", " 0"],
        ),
        (
            "batch",
            "CPUSchedulingPolicy=batch\nIOSchedulingClass=idle\nTimerSlackNSec=1ms",
            "chrt -p $$ | cut -d: -f2; ionice -p $$; cat /proc/$$/timerslack_ns",
            &[" SCHED_BATCH", " 0", "idle", "1000000"],
        ),
        (
            "io",
            "IOSchedulingPriority=7\nCoredumpFilter=0x7\nPersonality=x86",
            "ionice -p $$; cat /proc/$$/coredump_filter; uname -m",
            &["best-effort: prio 7", "00000007", "i686"],
        ),
        (
            "bits",
            "SecureBits=noroot noroot-locked",
            "capsh --print | grep -i securebits | cut -d: -f2 | cut -d/ -f1; cat",
            &[" 03"],
        ),
        (
            "input",
            "StandardInput=data\nStandardInputText=one\\x21\nStandardInputText=two\nStandardInputData=dGhyZWUK",
            "cat",
            &["one!", "two", "three"],
        ),
        (
            "credentials",
            "User=daemon\nLoadCredential=host:/etc/hostname\nLoadCredential=gone:/nonexistent\nSetCredential=gone:set\\x21\nSetCredential=host:no",
            "cmp $CREDENTIALS_DIRECTORY/host /etc/hostname && echo same; cat $CREDENTIALS_DIRECTORY/gone; echo; stat -c \"%a %U\" $CREDENTIALS_DIRECTORY $CREDENTIALS_DIRECTORY/host",
            &["same", "set!", "500 daemon", "400 daemon"],
        ),
        (
            "dynamic",
            "DynamicUser=yes\nStateDirectory=slipway-dynamic-test\nRuntimeDirectory=dyn",
            "id -u | grep -c -E \"^6[1-5][0-9]{3}$\"; touch $STATE_DIRECTORY/x /run/dyn/y /tmp/z; stat -c %a /var/lib/private; ls -l /var/lib/slipway-dynamic-test | cut -d\" \" -f1; touch /etc/x; ls /var/lib/private; grep NoNew /proc/self/status; umask",
            &[
                "1",
                "755",
                "lrwxrwxrwx",
                "touch: cannot touch '/etc/x': Read-only file system",
                "slipway-dynamic-test",
                "NoNewPrivs:\t1",
                "0022",
            ],
        ),
        (
            "search",
            "ExecSearchPath=/nonexistent:/usr/bin /bin",
            "echo $PATH",
            &["/nonexistent:/usr/bin:/bin"],
        ),
        (
            "root",
            "RootDirectory=/usr\nMountAPIVFS=yes\nBindReadOnlyPaths=/usr:/usr /usr/lib64:/lib64",
            "cat /proc/self/comm; ls -d /var",
            &["cat", "ls: cannot access '/var': No such file or directory"],
        ),
    ]);
}

#[test]
fn the_processes_of_a_unit_share_their_namespaces_and_units_that_join_too() {
    let tell = "/bin/sh -c 'for n in net ipc; do stat -Lc $n:%%i /proc/self/ns/$n; done; cat /tmp/mark; cat /sys/class/net/lo/operstate'";
    let tell = tell.replace('$', "$$");
    let sets = "PrivateNetwork=yes\nPrivateIPC=yes\nPrivateTmp=yes";
    let first = format!(
        "[Service]\nType=oneshot\nRemainAfterExit=yes\n{sets}\nExecStartPre=/bin/sh -c 'echo mark >/tmp/mark'\n\
         ExecStartPre={tell}\nExecStart={tell}\nExecReload={tell}\n"
    );
    let joins = format!(
        "[Unit]\nJoinsNamespaceOf=first.service\n[Service]\nType=oneshot\n{sets}\nExecStart={tell}\n"
    );
    let half = "[Unit]\nJoinsNamespaceOf=first.service\n[Service]\nType=oneshot\nPrivateIPC=yes\nExecStart=/bin/stat -Lc ipc:%%i /proc/self/ns/ipc\n\
                ExecStart=/bin/stat -Lc net:%%i /proc/self/ns/net /proc/1/ns/net\n";
    let alone = format!("[Service]\nType=oneshot\n{sets}\nExecStart={tell}\n");
    let mut machine = Machine::boot(
        &[
            ("first.service", &first),
            ("joins.service", &joins),
            ("half.service", half),
            ("alone.service", &alone),
        ],
        None,
    );
    machine.until("slipway: ready");
    for (verb, unit) in [
        (Verb::Start, "first"),
        (Verb::Reload, "first"),
        (Verb::Start, "joins"),
        (Verb::Start, "half"),
        (Verb::Start, "alone"),
    ] {
        assert_eq!(machine.jobs(verb, unit), [], "{unit}");
    }
    machine.end(Ending::Reboot);
    let first = machine.said_by("first.service");
    assert_eq!(first.len(), 12, "{first:?}");
    assert!(first[0].starts_with("net:") && first[1].starts_with("ipc:"));
    // systemd brings the loopback device up; its operational state is always unknown.
    assert_eq!(first[2..4], ["mark", "unknown"]);
    assert_eq!((&first[4..8], &first[8..12]), (&first[..4], &first[..4]));
    assert_eq!(machine.said_by("joins.service"), first[..4]);
    let half = machine.said_by("half.service");
    assert_eq!((&half[0], &half[1]), (&first[1], &half[2]), "each as far as it has the key");
    let alone = machine.said_by("alone.service");
    assert!(alone[0] != first[0] && alone[1] != first[1] && !alone.contains(&"mark".to_owned()), "{alone:?}");
    assert!(alone[0] != half[1]);
}
