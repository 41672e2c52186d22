//! What is left of a box whose processes are the host's: children of children, which come to a subreaper.

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::fs;

/// Ends all that descends from this process. Those whose parents end come to it (`PR_SET_CHILD_SUBREAPER`), so
/// when it has no child it has no descendant. Needs a procfs of this process's namespace at /proc.
pub(super) fn end_all() {
    let wait = |flags| waitpid(None, Some(WaitPidFlag::__WALL | flags));
    let mut ended = wait(WaitPidFlag::WNOHANG);
    while ended != Err(Errno::ECHILD) {
        for child in children() {
            let _ = sys::process::kill(child, nix::libc::SIGKILL);
        }
        ended = wait(WaitPidFlag::empty());
    }
}

/// Names of the processes that this process's end ends: all others of its namespace when it is the first there, else
/// its children.
pub(super) fn names(is_first: bool) -> Vec<String> {
    let mut pids = children();
    if is_first {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        pids = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != 1)
            .collect();
    }
    let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    pids.into_iter().filter_map(name).map(|name| name.trim_end().to_owned()).collect()
}

fn children() -> Vec<i32> {
    let own = Pid::this();
    let listed = fs::read_to_string(format!("/proc/self/task/{own}/children"));
    if let Ok(list) = listed {
        return list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    }
    // Without CONFIG_PROC_CHILDREN: by the parent that each process names, proc_pid_stat(5), field 4.
    let parent = |pid: i32| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(*pid) == Some(own.as_raw())).collect()
}
