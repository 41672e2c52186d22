//! Segments written and read back, whole and damaged.
//!
//! The faults: the file is cut at any byte, any byte is changed, the disk is full. What stood
//! before the fault must be read, and the loss told.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use journal::segment::Segment;
use journal::{
    Boot, Entry, Follower, Limits, Query, Shared, Span, Stamp, Writer, boots, disk_usage, last_sequence,
    read, segments, verify,
};
use proptest::prelude::*;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

const LIMITS: Limits = Limits {
    use_bytes: 1 << 30,
    keep_free_bytes: 0,
    segment_bytes: 1 << 20,
    segments: 1000,
    retention: None,
};

fn stamp(n: u64) -> Stamp {
    Stamp { realtime_us: 1_000_000 + n, monotonic_us: n }
}

fn writer(folder: &Path) -> Writer {
    Writer::start(folder, LIMITS).unwrap().0
}

fn all(folder: &Path) -> Vec<Entry> {
    read(folder, &Query::All, Span::default(), false).unwrap().collect()
}

fn find(folder: &Path, query: &Query) -> Vec<String> {
    read(folder, query, Span::default(), false).unwrap().map(|entry| entry.text("MESSAGE")).collect()
}

fn process(unit: &str, pid: u32) -> Shared {
    let pid = format!("_PID={pid}").into_bytes();
    Shared::new(vec![format!("_SYSTEMD_UNIT={unit}").into_bytes(), pid, b"_CMDLINE=x --long".to_vec()])
}

/// `count` entries of two units in turn; every tenth is urgent and has a field of its own.
fn fill(writer: &mut Writer, from: u64, count: u64) {
    let boot = Shared::new(vec![format!("_BOOT_ID={:032x}", from + 1).into_bytes()]);
    let units = [process("a.service", 10), process("b.service", 11)];
    for n in from..from + count {
        let message = format!("MESSAGE=message {n}").into_bytes();
        let shared = [&boot, &units[(n % 2) as usize]];
        match n % 10 {
            0 => writer.append(stamp(n), &shared, &[&message, b"PRIORITY=3", b"EXTRA=\0\n"]),
            _ => writer.append(stamp(n), &shared, &[&message, b"PRIORITY=6"]),
        }
    }
    writer.flush();
}

#[test]
fn what_is_written_is_read_from_open_and_closed_segments() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut writer = writer(path);
    fill(&mut writer, 0, 1000);
    for closed in [false, true] {
        if closed {
            writer.rotate(0);
        }
        let entries = all(path);
        assert_eq!(entries.len(), 1000);
        assert_eq!(entries[0].sequence, 1);
        assert_eq!((entries[999].realtime_us, entries[999].monotonic_us), (1_000_999, 999));
        let fields: Vec<String> =
            entries[0].fields.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
        let boot = format!("_BOOT_ID={:032x}", 1);
        let wanted = [
            boot.as_str(),
            "_SYSTEMD_UNIT=a.service",
            "_PID=10",
            "_CMDLINE=x --long",
            "PRIORITY=3",
            "MESSAGE=message 0",
            "EXTRA=\0\n",
        ];
        assert_eq!(fields, wanted);

        assert_eq!(find(path, &Query::unit("b.service")).len(), 500);
        let urgent = Query::unit("a.service").and(Query::priorities(0, 3));
        assert_eq!(find(path, &urgent).len(), 100);
        assert_eq!(find(path, &Query::unit("b.service").and(Query::priorities(0, 3))).len(), 0);
        assert_eq!(find(path, &Query::field("EXTRA", "\0\n")).len(), 100, "a field that is not indexed");
        let both = Query::Any(vec![Query::field("MESSAGE", "message 7"), Query::field("_PID", "99")]);
        assert_eq!(find(path, &both), ["message 7"]);
        let span = Span { since_us: 1_000_300, until_us: 1_000_309 };
        assert_eq!(read(path, &Query::unit("a.service"), span, false).unwrap().count(), 5);
        let newest: Vec<String> = read(path, &Query::unit("a.service"), Span::default(), true)
            .unwrap()
            .take(2)
            .map(|entry| entry.text("MESSAGE"))
            .collect();
        assert_eq!(newest, ["message 998", "message 996"]);
        assert_eq!(last_sequence(path).unwrap(), 1000);
        let verdicts = verify(path).unwrap();
        assert!(verdicts.iter().all(|verdict| verdict.faults.is_empty()), "{verdicts:?}");
        assert_eq!(verdicts[0].closed, closed);
    }
    fill(&mut writer, 5000, 10);
    drop(writer);
    let found: Vec<(u64, u64)> =
        boots(path).unwrap().iter().map(|Boot { first_us, last_us, .. }| (*first_us, *last_us)).collect();
    assert_eq!(found, [(1_000_000, 1_000_999), (1_005_000, 1_005_009)]);
    let pids: Vec<Vec<u8>> = journal::values(path, "_PID").unwrap().into_iter().collect();
    assert_eq!(pids, [b"10", b"11"]);
    assert_eq!(all(path).last().unwrap().sequence, 1010, "numbers go on");
}

#[test]
fn segments_are_closed_when_full_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { use_bytes: 200 << 10, segment_bytes: 20 << 10, ..LIMITS };
    let (mut writer, _) = Writer::start(folder.path(), limits).unwrap();
    for n in 0..100 {
        fill(&mut writer, n * 100, 100);
    }
    assert!(disk_usage(folder.path()).unwrap() <= 210 << 10);
    let entries = all(folder.path());
    let count = entries.len() as u64;
    assert!(count > 500, "{count}");
    assert!(entries.iter().zip(10_001 - count..).all(|(entry, n)| entry.sequence == n), "no gap");
    assert!(verify(folder.path()).unwrap().iter().all(|verdict| verdict.faults.is_empty()));
    let (mut writer, recoveries) = {
        drop(writer);
        Writer::start(folder.path(), limits).unwrap()
    };
    assert_eq!(recoveries, [], "all were closed");
    let one = Limits { segments: 2, ..limits };
    writer.set_limits(one);
    writer.vacuum(0);
    assert_eq!(segments(folder.path()).unwrap().len(), 1);
}

#[test]
fn a_follower_sees_each_entry_once_over_rotations() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    let mut early = Follower::new(folder.path(), 0);
    assert_eq!(early.next_entries().unwrap(), []);
    fill(&mut writer, 0, 10);
    let mut late = Follower::new(folder.path(), last_sequence(folder.path()).unwrap());
    let numbers = |entries: Vec<Entry>| entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>();
    assert_eq!(numbers(early.next_entries().unwrap()), (1..=10).collect::<Vec<_>>());
    fill(&mut writer, 10, 5);
    writer.rotate(0);
    fill(&mut writer, 15, 5);
    writer.rotate(0);
    fill(&mut writer, 20, 5);
    for follower in [&mut early, &mut late] {
        assert_eq!(numbers(follower.next_entries().unwrap()), (11..=25).collect::<Vec<_>>());
        assert!(numbers(follower.next_entries().unwrap()).is_empty());
    }
}

/// A segment that was left open, of 40 entries, with a mark of what was durable after 20.
fn left_open() -> (Vec<u8>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    fill(&mut writer, 0, 20);
    let sync = writer.sync().unwrap();
    sync.run().unwrap();
    writer.synced(&sync);
    let durable = fs::metadata(&segments(folder.path()).unwrap()[0]).unwrap().len() as usize;
    fill(&mut writer, 20, 20);
    let bytes = fs::read(&segments(folder.path()).unwrap()[0]).unwrap();
    (bytes, durable)
}

#[test]
fn a_cut_at_any_byte_loses_the_tail_alone_and_says_so() {
    let (whole, durable) = left_open();
    let read_all = |bytes: &[u8]| {
        let mut segment = Segment::open(bytes).ok()?;
        let chunks = segment.chunks();
        Some(chunks.into_iter().flat_map(|(chunk, end)| segment.entries_of(chunk, end)).collect::<Vec<_>>())
    };
    let expected = read_all(&whole).unwrap();
    assert_eq!(expected.len(), 40);
    let mut seen = 0;
    for cut in 0..whole.len() {
        let Some(entries) = read_all(&whole[..cut]) else {
            assert!(cut < 64, "the header is whole from 64 on");
            continue;
        };
        assert_eq!(entries, expected[..entries.len()], "cut at {cut}");
        assert!(entries.len() >= seen, "more bytes, not fewer entries");
        seen = entries.len();
        assert!(cut < durable || seen >= 20, "what was durable is there");

        if cut % 7 != 0 {
            continue; // each of these is a file written and synced
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{:016x}.seg", 1));
        fs::write(&path, &whole[..cut]).unwrap();
        let (mut writer, recoveries) = Writer::start(folder.path(), LIMITS).unwrap();
        let [recovery] = recoveries.as_slice() else { panic!("{recoveries:?}") };
        assert_eq!(recovery.entries, seen as u64);
        assert_eq!(recovery.damaged_bytes, 0);
        assert!(recovery.torn_bytes < 200 && recovery.unsynced_bytes < whole.len() as u64);
        assert!((cut < durable) || recovery.missing_bytes == 0, "{recovery:?}");
        fill(&mut writer, 100, 1);
        drop(writer);
        assert_eq!(all(folder.path()).len(), seen + 1);
        let verdicts = verify(folder.path()).unwrap();
        assert!(verdicts.iter().all(|verdict| verdict.closed && verdict.faults.is_empty()), "{verdicts:?}");
        assert_eq!(Writer::start(folder.path(), LIMITS).unwrap().1, [], "repaired once and for all");
    }
    assert_eq!(seen, 40);
}

#[test]
fn durable_bytes_that_are_gone_are_told() {
    let (whole, _) = left_open();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{:016x}.seg", 1));
    // All that was durable after the first entries is zeros, up to the mark, which says it was.
    let mut bytes = whole.clone();
    let mark = whole.windows(4).position(|bytes| bytes == b"Sj\x04\0").unwrap();
    bytes.truncate(mark + 16);
    bytes[700..mark].fill(0);
    fs::write(&path, &bytes).unwrap();
    let (_, recoveries) = Writer::start(folder.path(), LIMITS).unwrap();
    assert!(recoveries[0].damaged_bytes > 500, "{recoveries:?}");
    assert!(recoveries[0].missing_bytes > 500, "{recoveries:?}");
}

#[test]
fn any_changed_byte_costs_what_it_stands_in_and_is_found() {
    let (open, _) = left_open();
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path());
    fill(&mut writer, 0, 40);
    drop(writer);
    let path = segments(folder.path()).unwrap().remove(0);
    let closed = fs::read(&path).unwrap();
    let good = all(folder.path());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for at in 64..closed.len() {
        file.write_all_at(&[closed[at] ^ 0x10], at as u64).unwrap();
        let padding = all(folder.path()) == good && verify(folder.path()).unwrap()[0].faults.is_empty();
        if !padding {
            let entries = all(folder.path());
            assert!(entries.iter().all(|entry| good.contains(entry)), "byte {at}: nothing false");
            assert!(!verify(folder.path()).unwrap()[0].faults.is_empty(), "byte {at} is noticed");
        }
        file.write_all_at(&closed[at..=at], at as u64).unwrap();
    }
    // In the middle of an open one: what is before and after is read.
    let mut bytes = open.clone();
    let at = open.len() / 2;
    bytes[at] ^= 1;
    let mut segment = Segment::open(bytes.as_slice()).unwrap();
    let chunks = segment.chunks();
    let count: usize = chunks.into_iter().map(|(chunk, end)| segment.entries_of(chunk, end).len()).sum();
    assert!((37..=39).contains(&count), "{count}");
}

#[test]
fn a_full_disk_gives_up_the_oldest_and_counts_what_it_cannot_keep() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root (it mounts a small tmpfs)");
    let folder = tempfile::tempdir().unwrap();
    // Propagation off in a namespace of this thread's own: nothing outlives the test.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use nix::mount::{MsFlags, mount};
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS | nix::sched::CloneFlags::CLONE_FS)
                .unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
                .unwrap();
            mount(Some("none"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=256k")).unwrap();
            let path = folder.path().join("journal");
            let limits = Limits { segment_bytes: 32 << 10, ..LIMITS };
            let (mut writer, _) = Writer::start(&path, limits).unwrap();
            for n in 0..40 {
                fill(&mut writer, n * 100, 100);
            }
            assert_eq!(writer.take_lost(), 0, "old segments make room");
            let entries = all(&path);
            assert_eq!(entries.last().unwrap().sequence, 4000);
            assert!(entries.len() > 800);
            // Somebody else takes all there is.
            for path in segments(&path).unwrap() {
                fs::remove_file(path).unwrap();
            }
            writer.rotate(0);
            for path in segments(&path).unwrap() {
                fs::remove_file(path).unwrap();
            }
            drop(writer.sync()); // it has the files that were closed still open
            let mut hog = fs::File::create(folder.path().join("hog")).unwrap();
            while hog.write_all(&[1; 4096]).is_ok() {}
            fill(&mut writer, 5000, 10);
            assert_eq!(writer.take_lost(), 10);
            drop(hog);
            fs::remove_file(folder.path().join("hog")).unwrap();
            fill(&mut writer, 6000, 10);
            assert_eq!(writer.take_lost(), 0);
            let entries = all(&path);
            assert_eq!(entries.iter().map(|entry| entry.text("MESSAGE")).next().unwrap(), "message 6000");
            assert!(verify(&path).unwrap().iter().all(|verdict| verdict.faults.is_empty()));
        });
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any fields come back, any bytes are survived.
    #[test]
    fn random_entries_come_back(
        entries in prop::collection::vec(prop::collection::vec(("[A-Z]{1,3}|_PID|UNIT", prop::collection::vec(any::<u8>(), 0..600)), 0..6), 1..60),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { segment_bytes: 16 << 10, ..LIMITS };
        let (mut writer, _) = Writer::start(folder.path(), limits).unwrap();
        let mut wanted = Vec::new();
        for (n, fields) in entries.iter().enumerate() {
            let mut fields: Vec<Vec<u8>> =
                fields.iter().map(|(name, value)| [name.as_bytes(), b"=", value].concat()).collect();
            let own: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            writer.append(stamp(n as u64), &[], &own);
            fields.sort();
            wanted.push(fields);
        }
        drop(writer);
        let mut found: Vec<_> = all(folder.path()).into_iter().map(|entry| entry.fields).collect();
        for fields in &mut found {
            fields.sort();
        }
        prop_assert_eq!(&found, &wanted);
        for fields in wanted.iter().flatten() {
            let count = read(folder.path(), &Query::Field(fields.clone()), Span::default(), false).unwrap().count();
            let linear = wanted.iter().filter(|entry| entry.contains(fields)).count();
            prop_assert_eq!(count, linear);
        }
        for path in segments(folder.path()).unwrap() {
            let mut bytes = fs::read(&path).unwrap();
            for (index, value) in &flips {
                *index.get_mut(&mut bytes) = *value;
            }
            fs::write(&path, &bytes).unwrap();
        }
        for mut entry in all(folder.path()) {
            entry.fields.sort();
            prop_assert!(wanted.contains(&entry.fields));
        }
        verify(folder.path()).unwrap();
        Writer::start(folder.path(), limits).unwrap();
    }
}
