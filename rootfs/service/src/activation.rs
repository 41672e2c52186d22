//! Descriptors from PID 1: sockets of `.socket` units and what was stored with `FDSTORE=1`
//! (`sd_listen_fds_with_names(3)`).

use std::os::fd::OwnedFd;

/// The descriptors passed to this process, each with its name (`unknown` when it has none).
///
/// To be called once, early in `main`: a second call finds none. They are close-on-exec.
pub fn descriptors() -> Vec<(String, OwnedFd)> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    if number("LISTEN_PID") != Some(std::process::id().cast_signed()) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0);
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    sys::process::take_passed(count)
        .into_iter()
        .map(|fd| (names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned(), fd))
        .collect()
}
