//! Descriptors that the event loop watches.

use std::io;
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor, which the result owns.
///
/// # Errors
/// `epoll_ctl`(2).
#[expect(
    deprecated,
    reason = "its successor is unsafe to call; every T here is an owner that keeps its descriptor"
)]
pub(crate) fn watch<T: AsRawFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(inner, interest)
}
