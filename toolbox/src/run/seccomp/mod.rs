//! Filters of system calls: seccomp(2), by the library of Firecracker.

mod profile;

use crate::capabilities::Capabilities;
use crate::plan::Seccomp;
use nix::libc;
use rustix::thread::CapabilitySet;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not made into a program.
    #[error("the filter of system calls: {0}")]
    Filter(String),
    /// Read from a file.
    #[error("--seccomp {path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Calls that change the kernel or look into it, and the capability with which they are allowed.
const GUARDED: &[(i64, CapabilitySet)] = &[
    (libc::SYS_kexec_load, CapabilitySet::SYS_BOOT),
    (libc::SYS_kexec_file_load, CapabilitySet::SYS_BOOT),
    (libc::SYS_reboot, CapabilitySet::SYS_BOOT),
    (libc::SYS_init_module, CapabilitySet::SYS_MODULE),
    (libc::SYS_finit_module, CapabilitySet::SYS_MODULE),
    (libc::SYS_delete_module, CapabilitySet::SYS_MODULE),
    (libc::SYS_swapon, CapabilitySet::SYS_ADMIN),
    (libc::SYS_swapoff, CapabilitySet::SYS_ADMIN),
    (libc::SYS_bpf, CapabilitySet::BPF),
    (libc::SYS_perf_event_open, CapabilitySet::PERFMON),
    (libc::SYS_userfaultfd, CapabilitySet::SYS_PTRACE),
    (libc::SYS_open_by_handle_at, CapabilitySet::DAC_READ_SEARCH),
    (libc::SYS_add_key, CapabilitySet::SYS_ADMIN),
    (libc::SYS_request_key, CapabilitySet::SYS_ADMIN),
    (libc::SYS_keyctl, CapabilitySet::SYS_ADMIN),
    (libc::SYS_acct, CapabilitySet::SYS_PACCT),
    (libc::SYS_quotactl, CapabilitySet::SYS_ADMIN),
    (libc::SYS_settimeofday, CapabilitySet::SYS_TIME),
    (libc::SYS_clock_settime, CapabilitySet::SYS_TIME),
    (libc::SYS_iopl, CapabilitySet::SYS_RAWIO),
    (libc::SYS_ioperm, CapabilitySet::SYS_RAWIO),
];

/// The programs of a filter, in the order in which they are put in place; none filters nothing.
pub(super) fn compile(
    seccomp: &Seccomp,
    capabilities: Capabilities,
) -> Result<Vec<BpfProgram>, ProfileError> {
    match seccomp {
        Seccomp::Off => Ok(Vec::new()),
        Seccomp::Default => default(capabilities)
            .map(|program| vec![program])
            .map_err(|error| ProfileError::Filter(error.to_string())),
        Seccomp::File(path) => {
            let wrong = |why: String| ProfileError::File { path: path.clone(), why };
            let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            let kernel = rustix::system::uname();
            profile::compile(&text, capabilities, &kernel.release().to_string_lossy()).map_err(wrong)
        }
    }
}

fn default(capabilities: Capabilities) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = GUARDED
        .iter()
        .filter(|(_, capability)| !capabilities.has(*capability))
        .map(|(call, _)| (*call, Vec::new()))
        .collect();
    // Typing into the terminal of whoever is outside: TIOCSTI, and TIOCLINUX for consoles.
    let typing = [libc::TIOCSTI, libc::TIOCLINUX].map(|request| {
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    });
    rules.insert(libc::SYS_ioctl, typing.into_iter().collect::<Result<_, _>>()?);
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        TargetArch::x86_64,
    )?
    .try_into()
}

/// Filters this process's calls from now on.
pub(super) fn apply(programs: &[BpfProgram]) -> Result<(), seccompiler::Error> {
    programs.iter().try_for_each(|program| seccompiler::apply_filter(program))
}
