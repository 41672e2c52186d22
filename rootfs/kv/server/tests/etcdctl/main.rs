//! Debian's `etcdctl` (package etcd-client) does the same steps on a fresh `kv` and on a fresh
//! etcd of Debian's (package etcd-server), verb by verb: exit code, stdout and stderr are the
//! same, ids, times and sizes apart. What differs is in [`differences`], with its reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod differences;
mod mask;
mod pair;
mod steps;

use pair::{Server, Verdict};

/// Does all steps on both; a text with ` ... ` is a watch: what is done, and what is read last.
fn compare(lines: &[&str], known: &[differences::Known]) {
    let (mut etcd, mut kv) = (Server::etcd(&[]), Server::kv(&[]));
    let mut verdict = Verdict::default();
    for line in lines {
        let line = &steps::generated(line);
        verdict.note(line, etcd.step(line), kv.step(line));
    }
    verdict.judge(known);
}

#[test]
fn keys_are_put_read_and_deleted() {
    compare(steps::KEYS, differences::KEYS);
}

#[test]
fn transactions_compare_and_do() {
    compare(steps::TRANSACTIONS, differences::TRANSACTIONS);
}

#[test]
fn leases_are_granted_kept_alive_and_revoked() {
    compare(steps::LEASES, differences::LEASES);
}

#[test]
fn compaction_takes_the_past() {
    compare(steps::COMPACTION, differences::COMPACTION);
}

#[test]
fn what_cannot_be_is_refused_alike() {
    compare(steps::REFUSED, differences::REFUSED);
}

#[test]
fn members_endpoints_snapshots_alarms() {
    compare(steps::MAINTENANCE, differences::MAINTENANCE);
}

/// How many keys fit differs; what is said then does not.
#[test]
fn a_full_store_refuses_what_grows() {
    let quota = ["--quota-backend-bytes", "8388608"];
    let (mut etcd, mut kv) = (Server::etcd(&quota), Server::kv(&quota));
    for server in [&mut etcd, &mut kv] {
        let mut filled = 0;
        while server.step(&steps::generated("MANY filler")).0.contains("OK") {
            filled += 1;
        }
        assert!((10..45).contains(&filled), "{filled} of 200,000 bytes went into 8 MiB");
    }
    let mut verdict = Verdict::default();
    for step in steps::FULL {
        let step = &steps::generated(step);
        verdict.note(step, etcd.step(step), kv.step(step));
    }
    for server in [&mut etcd, &mut kv] {
        server.compact_all();
    }
    for step in steps::ROOM_AGAIN {
        verdict.note(step, etcd.step(step), kv.step(step));
    }
    verdict.judge(differences::FULL);
}

#[test]
fn watches_tell_the_past_and_the_present() {
    let (mut etcd, mut kv) = (Server::etcd(&[]), Server::kv(&[]));
    let mut verdict = Verdict::default();
    for step in steps::BEFORE_WATCHES {
        verdict.note(step, etcd.step(step), kv.step(step));
    }
    for watch in steps::WATCHES {
        let ask = |server: &mut Server| server.until(watch.line, watch.first, watch.meanwhile, watch.last);
        verdict.note(watch.line, ask(&mut etcd), ask(&mut kv));
    }
    verdict.judge(differences::WATCHES);
}
