//! The programs, run by an interpreter of classic BPF as the kernel would.

use super::*;
use crate::unit::load::apply_text;
use crate::unit::{Facts, LoadState, Unit, UnitName};
use std::path::Path;

/// What a program returns for a call.
fn run(program: &Program, arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = [0_u32; 16];
    (data[0], data[1]) = (number, arch);
    for (index, argument) in arguments.iter().enumerate() {
        data[4 + 2 * index] = *argument as u32;
        data[5 + 2 * index] = (*argument >> 32) as u32;
    }
    let (mut at, mut value) = (0_usize, 0_u32);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |yes: bool| usize::from(if yes { jt } else { jf });
        match code {
            LOAD => value = data[k as usize / 4],
            EQUAL => at += jump(value == k),
            AT_LEAST => at += jump(value >= k),
            ANY_BIT => at += jump(value & k != 0),
            MASK => value &= k,
            0x05 => at += k as usize,
            RETURN => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// The strictest outcome of all filters of a service with these lines (seccomp(2)).
fn outcome(lines: &str, arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut unit = Unit::new(UnitName::parse("a.service").unwrap(), LoadState::Loaded);
    let text = format!("[Service]\n{lines}\n");
    let problems = apply_text(&mut unit, Path::new("a.service"), text.as_bytes(), &Facts::default());
    assert_eq!(problems, []);
    let sandbox = unit.service.unwrap().context.sandbox.unwrap_or_default();
    let programs = programs(&sandbox);
    let rank = |action: u32| match action {
        ALLOW => 2,
        KILL => 0,
        _ => 1,
    };
    programs
        .iter()
        .map(|program| run(program, arch, number, arguments))
        .min_by_key(|found| rank(*found))
        .unwrap_or(ALLOW)
}

fn call(lines: &str, name: &str, arguments: &[u64]) -> String {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    match outcome(lines, ARCH_X86_64, syscall::number(name).unwrap(), all) {
        ALLOW => "allow".into(),
        KILL => "kill".into(),
        errno => format!("{:?}", nix::errno::Errno::from_raw((errno & 0xffff) as i32)),
    }
}

#[test]
fn lists_allow_refuse_add_and_take_away() {
    for (lines, name, expected) in [
        ("SystemCallFilter=@system-service", "read", "allow"),
        ("SystemCallFilter=@system-service", "mount", "kill"),
        ("SystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM", "mount", "EPERM"),
        ("SystemCallFilter=read", "execve", "allow"), // @default is in every list that allows
        ("SystemCallFilter=read", "write", "kill"),
        ("SystemCallFilter=~@mount", "mount", "kill"),
        ("SystemCallFilter=~@mount:EACCES", "mount", "EACCES"),
        ("SystemCallFilter=~@mount:13 read", "mount", "EACCES"),
        ("SystemCallFilter=~@mount", "read", "allow"),
        ("SystemCallFilter=~@mount\nSystemCallFilter=umount2", "umount2", "allow"),
        ("SystemCallFilter=@system-service\nSystemCallFilter=~@resources", "setrlimit", "kill"),
        ("SystemCallFilter=@system-service\nSystemCallFilter=~@resources:EIO", "setrlimit", "EIO"),
        ("SystemCallFilter=read\nSystemCallFilter=\n", "mount", "allow"),
        ("SystemCallFilter=~@known", "read", "kill"),
        ("ProtectClock=yes", "clock_settime", "EPERM"),
        ("ProtectKernelModules=yes", "init_module", "EPERM"),
        ("ProtectHostname=yes", "sethostname", "EPERM"),
        ("ProtectKernelLogs=yes", "syslog", "EPERM"),
        ("PrivateDevices=yes", "iopl", "EPERM"),
    ] {
        assert_eq!(call(lines, name, &[]), expected, "{lines} {name}");
    }
}

#[test]
fn arguments_decide() {
    const UTS: u64 = 0x0400_0000;
    const NET: u64 = 0x4000_0000;
    for (lines, name, arguments, expected) in [
        ("RestrictAddressFamilies=AF_UNIX AF_INET", "socket", &[1][..], "allow"),
        ("RestrictAddressFamilies=AF_UNIX AF_INET", "socket", &[10], "EAFNOSUPPORT"),
        ("RestrictAddressFamilies=~AF_PACKET", "socket", &[17], "EAFNOSUPPORT"),
        ("RestrictAddressFamilies=~AF_PACKET", "socket", &[2], "allow"),
        ("RestrictAddressFamilies=none", "socket", &[1], "EAFNOSUPPORT"),
        ("MemoryDenyWriteExecute=yes", "mmap", &[0, 0, 3], "allow"),
        ("MemoryDenyWriteExecute=yes", "mmap", &[0, 0, 5], "allow"),
        ("MemoryDenyWriteExecute=yes", "mmap", &[0, 0, 7], "EPERM"),
        ("MemoryDenyWriteExecute=yes", "mprotect", &[0, 0, 5], "EPERM"),
        ("MemoryDenyWriteExecute=yes", "mprotect", &[0, 0, 3], "allow"),
        ("RestrictRealtime=yes", "sched_setscheduler", &[0, 0], "allow"),
        ("RestrictRealtime=yes", "sched_setscheduler", &[0, 3], "allow"),
        ("RestrictRealtime=yes", "sched_setscheduler", &[0, 0x4000_0005], "allow"),
        ("RestrictRealtime=yes", "sched_setscheduler", &[0, 1], "EPERM"),
        ("RestrictRealtime=yes", "sched_setscheduler", &[0, 0x4000_0002], "EPERM"),
        ("RestrictNamespaces=yes", "unshare", &[UTS], "EPERM"),
        ("RestrictNamespaces=yes", "clone", &[0x11], "allow"),
        ("RestrictNamespaces=yes", "clone3", &[], "ENOSYS"),
        ("RestrictNamespaces=~net", "unshare", &[UTS], "allow"),
        ("RestrictNamespaces=~net", "unshare", &[UTS | NET], "EPERM"),
        ("RestrictNamespaces=uts", "setns", &[3, UTS], "allow"),
        ("RestrictNamespaces=uts", "setns", &[3, 0], "EPERM"),
        ("RestrictSUIDSGID=yes", "chmod", &[0, 0o755], "allow"),
        ("RestrictSUIDSGID=yes", "chmod", &[0, 0o4755], "EPERM"),
        ("RestrictSUIDSGID=yes", "fchmodat", &[0, 0, 0o2755], "EPERM"),
        ("RestrictSUIDSGID=yes", "open", &[0, 0, 0o4755], "allow"), // no file is made
        ("RestrictSUIDSGID=yes", "openat", &[0, 0, 0o100, 0o4755], "EPERM"),
        ("RestrictSUIDSGID=yes", "openat", &[0, 0, 0o100, 0o755], "allow"),
        ("LockPersonality=yes", "personality", &[0xffff_ffff], "allow"),
        ("LockPersonality=yes", "personality", &[0], "allow"),
        ("LockPersonality=yes", "personality", &[8], "EPERM"),
    ] {
        assert_eq!(call(lines, name, arguments), expected, "{lines} {name} {arguments:x?}");
    }
}

#[test]
fn other_architectures_cannot_go_around_a_filter() {
    const I386: u32 = 0x4000_0003; // AUDIT_ARCH_I386
    for lines in ["SystemCallArchitectures=native", "SystemCallFilter=~@clock", "LockPersonality=yes"] {
        assert_eq!(outcome(lines, I386, 1, [0; 6]), KILL, "{lines}");
        assert_eq!(outcome(lines, ARCH_X86_64, X32_BIT | 1, [0; 6]), ERRNO | u32::from(ENOSYS), "{lines}");
        assert_eq!(outcome(lines, ARCH_X86_64, 1, [0; 6]), ALLOW, "{lines}");
    }
    assert_eq!(outcome("PrivateTmp=yes", I386, 1, [0; 6]), ALLOW);
}

#[test]
fn no_program_is_longer_than_the_kernel_takes() {
    // BPF_MAXINSNS, <linux/bpf_common.h>; every other call is the worst case.
    let calls = syscall::all().step_by(2).map(|call| (call, None)).collect();
    let program = list(&SystemCalls { allow: true, calls }, Refusal::Kill);
    assert!(program.len() < 4096, "{}", program.len());
    for number in syscall::all() {
        let expected =
            if number < 335 && number % 2 == 0 { ALLOW } else { run(&program, ARCH_X86_64, number, [0; 6]) };
        assert_eq!(run(&program, ARCH_X86_64, number, [0; 6]), expected);
    }
    assert_eq!(run(&program, ARCH_X86_64, 100_000, [0; 6]), KILL);
}
