//! What differs between Debian's etcd 3.4.23 and `kv`: the step, a part of what etcd says, a
//! part of what `kv` says, and why. docs/SPECIFICATION.md, "The store" has the same list.

/// Step, etcd's, ours, reason.
pub(crate) type Known = (&'static str, &'static str, &'static str, &'static str);

pub(crate) const KEYS: &[Known] = &[];
pub(crate) const TRANSACTIONS: &[Known] = &[];
pub(crate) const LEASES: &[Known] = &[];
pub(crate) const COMPACTION: &[Known] = &[];
pub(crate) const REFUSED: &[Known] = &[];
pub(crate) const MAINTENANCE: &[Known] = &[
    ("alarm list -w json", "{}", "{\"header\":", "etcd leaves the header out before 3.5; ours is as 3.6's"),
    (
        "snapshot status {dir}/saved",
        "kB",
        "Error: invalid database",
        "a snapshot is in the format of the store, which etcdctl opens as a file of bbolt",
    ),
];
pub(crate) const FULL: &[Known] = &[];
pub(crate) const WATCHES: &[Known] = &[];
