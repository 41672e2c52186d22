//! From a [`Sandbox`] to seccomp(2) programs: classic BPF over `struct seccomp_data`
//! (<linux/seccomp.h>), as systemd 252 makes them with libseccomp.
//!
//! The first program refuses every other architecture and the x32 numbers, so that the others need
//! not look: a call by `int 0x80` has other numbers and would pass any list.

use super::sandbox::{ALL_NAMESPACES, AddressFamilies, Refusal, Sandbox, SystemCalls};
use super::syscall;
use std::collections::{BTreeMap, BTreeSet};
use sys::isolation::Instruction;

/// One filter.
pub type Program = Vec<Instruction>;

const ALLOW: u32 = 0x7fff_0000; // SECCOMP_RET_ALLOW
const KILL: u32 = 0x8000_0000; // SECCOMP_RET_KILL_PROCESS
const ERRNO: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO
const ARCH_X86_64: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
const X32_BIT: u32 = 0x4000_0000; // __X32_SYSCALL_BIT
const EPERM: u16 = 1;
const ENOSYS: u16 = 38;
const EAFNOSUPPORT: u16 = 97;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const MASK: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Offset of `nr`, and of the low half of an argument.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn action(refusal: Refusal) -> u32 {
    match refusal {
        Refusal::Kill => KILL,
        Refusal::Errno(errno) => ERRNO | u32::from(errno),
    }
}

/// All programs of a sandbox, in the order in which they are loaded.
pub fn programs(sandbox: &Sandbox) -> Vec<Program> {
    let mut found = Vec::new();
    if let Some(families) = &sandbox.address_families {
        found.push(address_families(families));
    }
    if sandbox.memory_deny_write_execute {
        found.push(write_execute());
    }
    if sandbox.restrict_realtime {
        found.push(realtime());
    }
    if let Some(allowed) = sandbox.restrict_namespaces {
        found.push(namespaces(allowed));
    }
    if sandbox.restrict_suid_sgid.unwrap_or(sandbox.dynamic_user) {
        found.push(suid_sgid());
    }
    if sandbox.lock_personality {
        found.push(personality());
    }
    let mut refused: BTreeSet<&str> = BTreeSet::new();
    let groups = [
        (sandbox.protect_kernel_tunables, &["_sysctl"][..]),
        (sandbox.protect_kernel_modules, &["delete_module", "finit_module", "init_module"]),
        (sandbox.protect_kernel_logs, &["syslog"]),
        (sandbox.protect_clock, &["adjtimex", "clock_adjtime", "clock_settime", "settimeofday"]),
        (sandbox.protect_hostname, &["sethostname", "setdomainname"]),
        (sandbox.private_devices, &["ioperm", "iopl"]),
    ];
    for (on, names) in groups {
        if on {
            refused.extend(names);
        }
    }
    if !refused.is_empty() {
        let calls = refused.into_iter().filter_map(syscall::number);
        let calls = calls.map(|call| (call, Some(Refusal::Errno(EPERM)))).collect();
        found.push(list(&SystemCalls { allow: false, calls }, Refusal::Kill));
    }
    if let Some(calls) = &sandbox.system_calls {
        found.push(list(calls, sandbox.system_call_error.unwrap_or(Refusal::Kill)));
    }
    if !found.is_empty() || sandbox.native_calls_only {
        found.insert(0, native_only());
    }
    found
}

fn native_only() -> Program {
    vec![
        op(LOAD, ARCHITECTURE),
        jump(EQUAL, ARCH_X86_64, 1, 0),
        op(RETURN, KILL),
        op(LOAD, NUMBER),
        jump(AT_LEAST, X32_BIT, 0, 1),
        op(RETURN, ERRNO | u32::from(ENOSYS)),
        op(RETURN, ALLOW),
    ]
}

/// A list of calls: runs of neighbouring numbers with the same outcome, found by halving.
fn list(calls: &SystemCalls, other: Refusal) -> Program {
    let default = if calls.allow { action(other) } else { ALLOW };
    let listed = |error: Option<Refusal>| match error {
        Some(refusal) => action(refusal),
        None if calls.allow => ALLOW,
        None => action(other),
    };
    // Every number from each start on has that outcome, up to the next start.
    let mut starts: BTreeMap<u32, u32> = BTreeMap::from([(0, default)]);
    for (call, error) in &calls.calls {
        starts.insert(*call, listed(*error));
        starts.entry(call + 1).or_insert(default);
    }
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (start, outcome) in starts {
        if runs.last().is_none_or(|(_, last)| *last != outcome) {
            runs.push((start, outcome));
        }
    }
    let mut program = vec![op(LOAD, NUMBER)];
    halve(&runs, &mut program);
    program
}

fn halve(runs: &[(u32, u32)], program: &mut Program) {
    match runs {
        [] => {}
        [(_, outcome)] => program.push(op(RETURN, *outcome)),
        _ => {
            let (low, high) = runs.split_at(runs.len() / 2);
            let mut below = Vec::new();
            halve(low, &mut below);
            // Less than the middle: on with the lower half; else past it, by a jump of 32 bits.
            program.push(jump(AT_LEAST, high[0].0, 0, 1));
            program.push(op(0x05, below.len() as u32)); // BPF_JMP | BPF_JA
            program.extend(below);
            halve(high, program);
        }
    }
}

/// Per system call a check of its arguments; `checks` end in a return or fall through to "allow".
fn by_call(cases: Vec<(&str, Vec<Instruction>)>) -> Program {
    let mut program = Vec::new();
    for (name, body) in cases {
        let Some(number) = syscall::number(name) else { continue };
        program.push(op(LOAD, NUMBER));
        program.push(jump(EQUAL, number, 0, body.len() as u8));
        program.extend(body);
    }
    program.push(op(RETURN, ALLOW));
    program
}

fn refuse(errno: u16) -> Instruction {
    op(RETURN, ERRNO | u32::from(errno))
}

/// Refuses if any of `bits` is set in an argument.
fn any_bit(index: u32, bits: u32, errno: u16) -> Vec<Instruction> {
    vec![op(LOAD, argument(index)), jump(ANY_BIT, bits, 0, 1), refuse(errno)]
}

/// Refuses if all of `bits` are set in an argument.
fn all_bits(index: u32, bits: u32, errno: u16) -> Vec<Instruction> {
    vec![op(LOAD, argument(index)), op(MASK, bits), jump(EQUAL, bits, 0, 1), refuse(errno)]
}

fn address_families(list: &AddressFamilies) -> Program {
    let mut body = vec![op(LOAD, argument(0))];
    for family in &list.families {
        body.push(jump(EQUAL, *family, 0, 1));
        body.push(if list.allow { op(RETURN, ALLOW) } else { refuse(EAFNOSUPPORT) });
    }
    body.push(if list.allow { refuse(EAFNOSUPPORT) } else { op(RETURN, ALLOW) });
    // Not socketpair: it makes AF_UNIX only, which reaches nobody (systemd checks socket alone).
    by_call(vec![("socket", body)])
}

/// Memory that can be written and executed (`MemoryDenyWriteExecute=`).
fn write_execute() -> Program {
    const WRITE: u32 = 2; // PROT_WRITE
    const EXEC: u32 = 4; // PROT_EXEC
    const SHM_EXEC: u32 = 0o100_000;
    by_call(vec![
        ("mmap", all_bits(2, WRITE | EXEC, EPERM)),
        ("mprotect", any_bit(2, EXEC, EPERM)),
        ("pkey_mprotect", any_bit(2, EXEC, EPERM)),
        ("shmat", any_bit(2, SHM_EXEC, EPERM)),
    ])
}

/// Only `SCHED_OTHER`, `SCHED_BATCH` and `SCHED_IDLE` (<linux/sched.h>).
fn realtime() -> Program {
    let policy = vec![
        op(LOAD, argument(1)),
        op(MASK, !0x4000_0000), // SCHED_RESET_ON_FORK
        jump(EQUAL, 0, 3, 0),
        jump(EQUAL, 3, 2, 0),
        jump(EQUAL, 5, 1, 0),
        refuse(EPERM),
        op(RETURN, ALLOW),
    ];
    // Its policy is behind a pointer, out of a filter's sight.
    by_call(vec![("sched_setscheduler", policy), ("sched_setattr", vec![refuse(EPERM)])])
}

fn namespaces(allowed: u64) -> Program {
    let refused = (ALL_NAMESPACES & !allowed) as u32;
    // The flags of clone3 are behind a pointer; ENOSYS makes callers fall back to clone.
    let mut cases = vec![("clone3", vec![refuse(ENOSYS)])];
    cases.push(("unshare", any_bit(0, refused, EPERM)));
    cases.push(("clone", any_bit(0, refused, EPERM)));
    // Type 0 joins a namespace of any type.
    let mut setns = vec![op(LOAD, argument(1)), jump(EQUAL, 0, 0, 1), refuse(EPERM)];
    setns.push(jump(ANY_BIT, refused, 0, 1));
    setns.push(refuse(EPERM));
    cases.push(("setns", setns));
    by_call(cases)
}

/// Files with a set-user-id or set-group-id bit cannot be made.
fn suid_sgid() -> Program {
    const BITS: u32 = 0o6000;
    const CREATE: u32 = 0o100; // O_CREAT
    const TEMPORARY: u32 = 0o20_000_000; // __O_TMPFILE
    let opened = |flags: u32, mode: u32| {
        let bits = jump(ANY_BIT, BITS, 0, 1);
        vec![
            op(LOAD, argument(flags)),
            jump(ANY_BIT, CREATE | TEMPORARY, 0, 3),
            op(LOAD, argument(mode)),
            bits,
            refuse(EPERM),
        ]
    };
    by_call(vec![
        ("chmod", any_bit(1, BITS, EPERM)),
        ("fchmod", any_bit(1, BITS, EPERM)),
        ("fchmodat", any_bit(2, BITS, EPERM)),
        ("fchmodat2", any_bit(2, BITS, EPERM)),
        ("mkdir", any_bit(1, BITS, EPERM)),
        ("mkdirat", any_bit(2, BITS, EPERM)),
        ("mknod", any_bit(1, BITS, EPERM)),
        ("mknodat", any_bit(2, BITS, EPERM)),
        ("creat", any_bit(1, BITS, EPERM)),
        ("open", opened(1, 2)),
        ("openat", opened(2, 3)),
        // Its mode is behind a pointer; ENOSYS makes callers fall back to openat.
        ("openat2", vec![refuse(ENOSYS)]),
    ])
}

/// personality(2) may only ask (0xffffffff) or set what is set already: 0 is `PER_LINUX`.
fn personality() -> Program {
    let body = vec![
        op(LOAD, argument(0)),
        jump(EQUAL, 0, 2, 0),
        jump(EQUAL, u32::MAX, 1, 0),
        refuse(EPERM),
        op(RETURN, ALLOW),
    ];
    by_call(vec![("personality", body)])
}

#[cfg(test)]
mod tests;
