//! The groups of whoever is at the other end of a UNIX socket (unix(7), `SO_PEERGROUPS`).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _};

/// More groups than this nobody has (`NGROUPS_MAX`, <linux/limits.h>).
const GROUPS_MAX: usize = 65536;

/// The supplementary groups that the peer had when it connected.
///
/// # Errors
/// The system call's: `ENODATA` for a socket that nobody is connected to.
pub fn groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 32];
    loop {
        let mut bytes = (groups.len() * size_of::<libc::gid_t>()) as libc::socklen_t;
        // SAFETY: the kernel writes at most `bytes` bytes, which is the length of `groups`, and any
        // bytes are a gid_t. Needed because neither nix nor rustix knows this option.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = bytes as usize / size_of::<libc::gid_t>();
        match (result, io::Error::last_os_error()) {
            (0, _) => {
                groups.truncate(count);
                return Ok(groups);
            }
            // The kernel says how much room it needs.
            (_, error) if error.raw_os_error() == Some(libc::ERANGE) && groups.len() < GROUPS_MAX => {
                groups.resize(count.clamp(groups.len() * 2, GROUPS_MAX), 0);
            }
            (_, error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    #[test]
    fn a_pair_has_the_groups_of_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own: Vec<u32> =
            nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        assert_eq!(groups(&one).unwrap(), own);
    }

    #[test]
    fn many_groups_of_another_process() {
        let folder = std::env::temp_dir().join(format!("peer-{}", std::process::id()));
        let listener = std::os::unix::net::UnixListener::bind(&folder).unwrap();
        let wanted: Vec<u32> = (2000..2500).collect();
        let words = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        // As root, with Debian's setpriv and perl-base.
        let mut child = Command::new("setpriv")
            .args(["--groups", &words, "perl", "-MSocket", "-e"])
            .arg("socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($ARGV[0])) or die; <STDIN>")
            .arg(&folder)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{error}: apt-get install util-linux perl-base"));
        let (stream, _) = listener.accept().unwrap();
        assert_eq!(groups(&stream).unwrap(), wanted);
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        std::fs::remove_file(folder).unwrap();
    }
}
