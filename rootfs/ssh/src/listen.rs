//! `ssh-listen socket PATH` and `ssh-listen agent`: a UNIX socket that is listened on for a client
//! (`-R`, `-A`), by a process of its user, so that the file is the user's, in a folder where the
//! user may make it.
//!
//! stdout is a socket of sshd's. First it gets [`CONNECTED`] and the path; then, for each connection,
//! a byte with the connection beside it (unix(7): `SCM_RIGHTS`). The end of stdin is the end of it
//! all, and of the file.

use crate::applets::fail;
use crate::server::CONNECTED;
use rustix::io::retry_on_intr;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::{self, DirBuilder};
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The applet.
pub(crate) fn main(arguments: &[String]) -> u8 {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["socket", path] => serve(Path::new(path)),
        ["agent"] => agent(),
        _ => {
            eprintln!("error: unknown arguments\nhint: ssh-listen socket PATH, ssh-listen agent");
            return 2;
        }
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => fail(&error),
    }
}

/// In a folder of its own, as OpenSSH names it.
fn agent() -> io::Result<()> {
    let folder = PathBuf::from(format!("/tmp/ssh-{:016x}", random()?));
    DirBuilder::new().mode(0o700).create(&folder)?;
    let outcome = serve(&folder.join(format!("agent.{}", std::process::id())));
    fs::remove_dir(&folder).and(outcome)
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn serve(path: &Path) -> io::Result<()> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    // What is there already stays.
    let listener = UnixListener::bind(path)?;
    let said = pass(&[&[CONNECTED], path.as_os_str().as_bytes()].concat(), None);
    let thread = said.map(|()| std::thread::spawn(move || accept(&listener)));
    let outcome = thread.and_then(|_| wait());
    fs::remove_file(path).and(outcome)
}

/// Hands over each connection, until nobody takes them.
fn accept(listener: &UnixListener) {
    loop {
        match listener.accept() {
            Ok((socket, _)) if pass(b"+", Some(socket.as_fd())).is_err() => return,
            Ok(_) => {}
            // Out of descriptors or memory; others will end.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn pass(message: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    if !fds.is_empty() {
        beside.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let stdout = io::stdout();
    retry_on_intr(|| sendmsg(&stdout, &[IoSlice::new(message)], &mut beside, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Waits for the end of stdin.
fn wait() -> io::Result<()> {
    let mut byte = [0];
    while retry_on_intr(|| rustix::io::read(io::stdin(), &mut byte))? > 0 {}
    Ok(())
}
