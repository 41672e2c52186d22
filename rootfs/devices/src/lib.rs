//! The device manager: uevents, modules by alias, and the names below `/dev/disk`.
