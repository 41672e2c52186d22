//! What gets out of other sandboxes, tried in ours, as root and as a user.

use super::terminal::Person;
use super::*;
use std::process::{Child, Stdio};

/// A process of the host that lives as long as it is held.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a script of a box succeeds, as root and as a user.
fn each(root: &Root, script: &str) -> [bool; 2] {
    let words = ["sh", "-c", script];
    let user = root.command(&[], &words).uid(NOBODY).gid(NOBODY).output().unwrap();
    [root.run(&[], &words), user].map(|output| {
        assert!(matches!(output.status.code(), Some(0..125)), "{script}: {output:?}");
        output.status.success()
    })
}

#[test]
fn a_box_does_not_reach_the_host_by_known_ways() {
    let root = Root::new();
    assert_eq!(each(&root, "true"), [true, true]);
    for script in [
        // Devices: by making them, and by the host's nodes, which a read-only mount does not protect.
        "mknod /x c 1 3 && echo > /x",
        "echo > /media/root/dev/null",
        "head -c 1 /media/root/dev/zero",
        // Settings of the kernel, by whichever mount.
        "echo '|/x' > /proc/sys/kernel/core_pattern",
        "echo '|/x' > /media/root/proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "echo /x > /sys/kernel/uevent_helper",
        "echo /x > /proc/sys/kernel/modprobe",
        // Cgroups of version 1 run a program when they are empty: its path may not be set.
        "mkdir /c && mount -t cgroup -o memory none /c",
        "mkdir /sys/fs/cgroup/x",
        "find /sys/fs/cgroup /media/root/sys/fs/cgroup -name release_agent | while read file; do echo /x > $file && echo set; done | grep -q set",
        // Mounts: over what protects, away from it, and writable again.
        "mount -t tmpfs none /proc/sys",
        "umount -l /media/root/proc",
        "mount -o remount,bind,rw /media/root",
        // A user namespace gives all capabilities, over what it has made itself only.
        "unshare -r -m mount -o remount,bind,rw /media/root",
        "unshare -r -m umount -l /media/root/proc",
        "unshare -r -m umount -l /proc/sys",
        "unshare -r mknod /x b 254 0",
        "unshare -r sh -c 'echo x > /proc/sys/kernel/core_pattern'",
    ] {
        assert_eq!(each(&root, script), [false, false], "{script}");
    }
}

#[test]
fn processes_of_the_host_lead_nowhere() {
    let root = Root::new();
    // One without rights is not protected by the capabilities that a box lacks.
    let mut host = Command::new("setpriv");
    host.args(["--bounding-set=-all", "--inh-caps=-all", "sh", "-c", "echo up; exec sleep 1000"]);
    let mut host = Held(host.stdout(Stdio::piped()).spawn().unwrap());
    std::io::Read::read_exact(host.0.stdout.as_mut().unwrap(), &mut [0; 3]).unwrap();
    let mut own = Command::new("sh");
    own.args(["-c", "echo up; exec sleep 1000"]).uid(NOBODY).gid(NOBODY);
    let mut own = Held(own.stdout(Stdio::piped()).spawn().unwrap());
    std::io::Read::read_exact(own.0.stdout.as_mut().unwrap(), &mut [0; 3]).unwrap();
    for pid in [host.0.id(), own.0.id(), std::process::id()] {
        for script in [
            format!("ls /media/root/proc/{pid}/root/"),
            format!("ls /proc/{pid}/root/"),
            format!("ls /media/root/proc/{pid}/fd/"),
            format!("kill -0 {pid}"),
        ] {
            assert_eq!(each(&root, &script), [false, false], "{script}");
        }
    }
    // Its own first process is a program of the host's: not to be written to, nor to be looked into.
    for script in ["echo > /proc/1/exe", "readlink /proc/1/fd/0", "echo x > /proc/1/mem", "ls /proc/1/cwd/"] {
        assert_eq!(each(&root, script), [false, false], "{script}");
    }
}

/// Perl of the host makes system calls that no other tool makes.
#[test]
fn system_calls_that_lead_out_are_refused() {
    let toolbox = env!("CARGO_BIN_EXE_toolbox");
    let perl = |script: &str| {
        let mut command = Command::new("env");
        command.args(["--default-signal", toolbox, "run", "--from", "host", "--", "perl", "-e", script]);
        command
    };
    // keyctl(KEYCTL_GET_KEYRING_ID, session), add_key, open_by_handle_at, bpf, kexec_load, ptrace of init.
    for call in [
        "250, 0, -3, 0",
        "248, $name, $name, $name, 1, -3",
        "304, 0, 0, 0",
        "321, 0, 0, 0",
        "246, 0, 0, 0, 0",
        "101, 16, 1, 0, 0",
    ] {
        let script = format!("my $name = 'user'; syscall({call}) == -1 && $! == 1 and exit 0; die \"$!\"");
        said(&perl(&script).output().unwrap());
    }
    // The old way out of a chroot: a descriptor of a folder outside of another root, and upwards from it.
    let above = "@a = stat '/'; opendir D, '/'; mkdir '/jail'; chroot '/jail' or die; chdir D; \
                 chdir '..' for 1..50; chroot '.'; @b = stat '/'; print \"$a[0] $a[1]\" eq \"$b[0] $b[1]\" ? 'in' : 'out'";
    assert_eq!(said(&perl(above).output().unwrap()), "in");
    // Typing for the caller, with and without bits above the request's own.
    let typed = "for my $request (0x5412, 0x100005412, 0x541c) { my $c = 'x'; \
                 syscall(16, 0, $request, $c) == -1 && $! == 1 or die \"$request: $!\" } print 'kept' . \"\\n\"";
    let mut person = Person::of(&perl(typed));
    person.sees("kept\r\n");
    assert_eq!(person.leaves(), 0);
}
