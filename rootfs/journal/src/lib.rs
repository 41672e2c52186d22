//! The journal: append-only segments with checksums and an index, the daemon that writes them, and `journalctl`.
