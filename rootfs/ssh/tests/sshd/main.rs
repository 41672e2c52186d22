//! The server against Debian's OpenSSH client, each test in a network of its own. Needs root,
//! cgroup v2, and the packages openssh-client, iproute2 and procps.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures, and the log of what failed")]

mod exec;
mod files;
mod forwards;
mod hostile;
mod keys;
mod machine;
mod prompt;
mod scp;
mod sessions;
mod terminal;
