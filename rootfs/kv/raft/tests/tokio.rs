//! On the ordinary runtime: three members with threads, real time, and snapshots in files.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kv_raft::log::{LogRead, LogStore};
use kv_raft::machine::{Command, Machine, SnapshotJob};
use kv_raft::snapshot::{FileSource, FolderSpool, SnapshotSource};
use kv_raft::{
    Config, Entry, Flushed, LogId, LogState, Member, Network, Node, NodeId, Role, SendError, Tokio, Vote,
};

#[derive(Default)]
struct Memory {
    state: LogState,
    entries: BTreeMap<u64, Entry>,
}

/// A log that flushes at once.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Memory>>);

impl LogStore for Log {
    fn state(&self) -> io::Result<LogState> {
        let memory = self.0.lock().unwrap();
        let last = memory.entries.last_key_value().map(|(_, e)| e.id);
        Ok(LogState { last: last.or(memory.state.purged), ..memory.state })
    }

    fn append(&mut self, entries: Vec<Entry>, done: Flushed) {
        self.0.lock().unwrap().entries.extend(entries.into_iter().map(|e| (e.id.index, e)));
        done(Ok(()));
    }

    fn save_vote(&mut self, vote: Vote, done: Flushed) {
        self.0.lock().unwrap().state.vote = Some(vote);
        done(Ok(()));
    }

    fn save_committed(&mut self, committed: LogId) {
        self.0.lock().unwrap().state.committed = Some(committed);
    }

    fn truncate_after(&mut self, last: Option<LogId>, done: Flushed) {
        self.0.lock().unwrap().entries.split_off(&last.map_or(0, |id| id.index + 1));
        done(Ok(()));
    }

    fn purge(&mut self, upto: LogId, done: Flushed) {
        let mut memory = self.0.lock().unwrap();
        memory.entries = memory.entries.split_off(&(upto.index + 1));
        memory.state.purged = Some(upto);
        done(Ok(()));
    }

    fn reader(&self) -> Arc<dyn LogRead> {
        Arc::new(self.clone())
    }
}

impl LogRead for Log {
    fn read(&self, from: u64, to: u64, _bytes: u64) -> io::Result<Vec<Entry>> {
        Ok(self.0.lock().unwrap().entries.range(from..to).map(|(_, e)| e.clone()).collect())
    }

    fn vote(&self) -> io::Result<Option<Vote>> {
        Ok(self.0.lock().unwrap().state.vote)
    }
}

/// All commands, joined; its snapshot is a file.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<(Vec<u8>, Bytes)>>);

impl Machine for Text {
    fn position(&mut self) -> io::Result<Bytes> {
        Ok(self.0.lock().unwrap().1.clone())
    }

    fn apply(&mut self, commands: &[Command], position: &Bytes) -> io::Result<Vec<Bytes>> {
        let mut state = self.0.lock().unwrap();
        state.1 = position.clone();
        let reply = |command: &Command| {
            state.0.extend_from_slice(&command.data);
            command.data.clone()
        };
        Ok(commands.iter().map(reply).collect())
    }

    fn snapshot(&mut self) -> io::Result<SnapshotJob> {
        let text = self.0.lock().unwrap().0.clone();
        Ok(Box::new(move || {
            let mut file = tempfile::tempfile()?;
            io::Write::write_all(&mut file, &text)?;
            let source: Arc<dyn SnapshotSource> = Arc::new(FileSource::new(file)?);
            Ok(source)
        }))
    }

    fn install(&mut self, snapshot: &dyn SnapshotSource, position: &Bytes) -> io::Result<()> {
        let text = snapshot.read_at(0, snapshot.length() as usize)?.to_vec();
        *self.0.lock().unwrap() = (text, position.clone());
        Ok(())
    }
}

type Member3 = Node<Tokio, Text, Direct>;

/// Calls the other member.
#[derive(Clone, Default)]
struct Direct(Arc<Mutex<BTreeMap<NodeId, Member3>>>);

impl Network for Direct {
    async fn send(&self, target: NodeId, _: &Member, request: Bytes) -> Result<Bytes, SendError> {
        let node = self.0.lock().unwrap().get(&target).cloned();
        match node {
            Some(node) => Ok(node.handle(request).await),
            None => Err(SendError::Unreachable("it does not run".to_owned())),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_serve_and_the_third_comes_by_a_snapshot_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let network = Direct::default();
    let mut texts = BTreeMap::new();
    let mut start = async |id: NodeId| {
        let spool = folder.path().join(id.to_string());
        std::fs::create_dir(&spool).unwrap();
        let config = Config {
            heartbeat: Duration::from_millis(30),
            election: Duration::from_millis(150),
            snapshot_entries: 40,
            keep_entries: 5,
            chunk_bytes: 100,
            spool: Arc::new(FolderSpool::new(spool)),
            ..Config::new(id, 1)
        };
        let text = Text::default();
        texts.insert(id, text.clone());
        let node = Member3::start(config, Log::default(), text, network.clone()).await.unwrap();
        network.0.lock().unwrap().insert(id, node.clone());
        node
    };
    let (one, two) = (start(1).await, start(2).await);
    let members = (1..=2).map(|id| (id, Member { urls: vec![format!("direct:{id}")] })).collect();
    one.initialize(members).await.unwrap();
    let mut watch = one.watch();
    let leader = watch.until(|s| s.leader.is_some()).await.unwrap().leader.unwrap();
    let (leader, follower) = if leader == 1 { (one, two) } else { (two, one) };
    let writers: Vec<_> = (0..100_u8)
        .map(|byte| {
            let node = if byte % 2 == 0 { leader.clone() } else { follower.clone() };
            tokio::spawn(async move { node.propose(Bytes::copy_from_slice(&[byte; 4])).await.unwrap() })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut watch = leader.watch();
    watch.until(|s| s.purged.is_some()).await.unwrap();
    let three = start(3).await;
    leader.add_learner(3, Member { urls: vec!["direct:3".to_owned()] }).await.unwrap();
    leader.promote(3).await.unwrap();
    assert_eq!(leader.status().role, Role::Leader);
    three.read_index().await.unwrap();
    assert!(three.status().snapshot.is_some());
    let text = texts[&3].0.lock().unwrap().0.clone();
    let mut bytes: Vec<u8> = text.chunks(4).map(|c| c[0]).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, (0..100).collect::<Vec<u8>>());
    assert!(text == texts[&1].0.lock().unwrap().0 || leader.id() == 2);
    // The file of the snapshot has no name any more.
    assert_eq!(std::fs::read_dir(folder.path().join("3")).unwrap().count(), 0);
    let all: Vec<_> = network.0.lock().unwrap().values().cloned().collect();
    for node in all {
        node.shutdown().await;
    }
}
