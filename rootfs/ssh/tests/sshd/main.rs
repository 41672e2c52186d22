//! The server against Debian's OpenSSH client, each test in a network of its own. Needs root,
//! cgroup v2, and the packages openssh-client, iproute2 and procps.

mod exec;
mod machine;
