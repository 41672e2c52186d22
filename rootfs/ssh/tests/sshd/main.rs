//! The server against Debian's OpenSSH client, each test in a network of its own. Needs root,
//! cgroup v2, and the packages openssh-client, iproute2 and procps.

mod exec;
mod files;
mod forwards;
mod hostile;
mod keys;
mod machine;
mod sessions;
mod terminal;
