//! The SSH server and its sessions: `sshd` and `loginctl`.
