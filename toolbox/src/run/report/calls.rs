//! The calls that are noted, and the filter that makes them wait.

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;

/// Where a call's path is: the numbers of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A path, from the working folder.
    Path(usize),
    /// A path below a folder's descriptor.
    At(usize, usize),
    /// What a descriptor is of.
    Descriptor(usize),
}

/// What a call does to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Makes or changes a file; follows a link at its end, or not.
    Change(Place, bool),
    /// Changes one file, and takes away the other.
    Move(Place, Place),
    /// Takes a file away.
    Remove(Place),
    /// Mounts something.
    Mount(Place),
    /// Binds a socket: its descriptor, address and length are the first three arguments.
    Bind,
}

/// What a call does; nothing for those that are not noted.
pub(super) fn act(number: i64) -> Option<Act> {
    use Place::{At, Descriptor, Path};
    Some(match number {
        libc::SYS_open
        | libc::SYS_creat
        | libc::SYS_truncate
        | libc::SYS_chmod
        | libc::SYS_chown
        | libc::SYS_setxattr
        | libc::SYS_removexattr => Act::Change(Path(0), true),
        libc::SYS_openat | libc::SYS_openat2 | libc::SYS_fchmodat | libc::SYS_utimensat => {
            Act::Change(At(0, 1), true)
        }
        libc::SYS_mkdir
        | libc::SYS_mknod
        | libc::SYS_lchown
        | libc::SYS_lsetxattr
        | libc::SYS_lremovexattr => Act::Change(Path(0), false),
        libc::SYS_mkdirat | libc::SYS_mknodat | libc::SYS_fchownat => Act::Change(At(0, 1), false),
        libc::SYS_link | libc::SYS_symlink => Act::Change(Path(1), false),
        libc::SYS_linkat => Act::Change(At(2, 3), false),
        libc::SYS_symlinkat => Act::Change(At(1, 2), false),
        libc::SYS_fchmod | libc::SYS_fchown | libc::SYS_fsetxattr | libc::SYS_fremovexattr => {
            Act::Change(Descriptor(0), true)
        }
        libc::SYS_rename => Act::Move(Path(0), Path(1)),
        libc::SYS_renameat | libc::SYS_renameat2 => Act::Move(At(0, 1), At(2, 3)),
        libc::SYS_unlink | libc::SYS_rmdir => Act::Remove(Path(0)),
        libc::SYS_unlinkat => Act::Remove(At(0, 1)),
        libc::SYS_mount => Act::Mount(Path(1)),
        libc::SYS_move_mount => Act::Mount(At(2, 3)),
        libc::SYS_bind => Act::Bind,
        _ => return None,
    })
}

/// Of these, only those with a flag that writes are noted; by the flags' argument.
const OPENING: [(i64, u8); 2] = [(libc::SYS_open, 1), (libc::SYS_openat, 2)];
/// The highest number that is looked at, past `fchmodat2`.
const LAST: i64 = 500;
/// Stands for the action that the library does not know.
const MARK: u32 = 0xfff;

/// The filter: `SECCOMP_RET_USER_NOTIF` for what [`act`] knows.
pub(in crate::run) fn program() -> Result<Vec<libc::sock_filter>, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        (0..LAST).filter(|number| act(*number).is_some()).map(|number| (number, Vec::new())).collect();
    for (number, argument) in OPENING {
        let writing = [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC];
        let rule = |flag: i32| {
            let flag = u64::from(flag.unsigned_abs());
            let comparison = SeccompCmpOp::MaskedEq(flag);
            SeccompRule::new(vec![SeccompCondition::new(
                argument,
                SeccompCmpArgLen::Dword,
                comparison,
                flag,
            )?])
        };
        let writing: Result<Vec<_>, _> = writing.into_iter().map(rule).collect();
        rules.insert(number, writing.map_err(|error| error.to_string())?);
    }
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(MARK), TargetArch::x86_64)
            .map_err(|error| error.to_string())?;
    let program: BpfProgram =
        filter.try_into().map_err(|error: seccompiler::BackendError| error.to_string())?;
    let marked = libc::SECCOMP_RET_ERRNO | MARK;
    let instruction = |one: seccompiler::sock_filter| libc::sock_filter {
        code: one.code,
        jt: one.jt,
        jf: one.jf,
        k: match one.k {
            value if value == marked => libc::SECCOMP_RET_USER_NOTIF,
            // Calls of another architecture's programs: the library ends those; here they are not noted.
            libc::SECCOMP_RET_KILL_PROCESS => libc::SECCOMP_RET_ALLOW,
            value => value,
        },
    };
    Ok(program.into_iter().map(instruction).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_has_the_kernels_action() {
        let program = program().unwrap();
        assert!(program.iter().any(|one| one.k == libc::SECCOMP_RET_USER_NOTIF));
        assert!(!program.iter().any(|one| one.k == libc::SECCOMP_RET_ERRNO | MARK));
        assert_eq!(act(libc::SYS_read), None);
    }
}
