//! Members over the simulated network and disks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::machine::{ListDisk, ListMachine};
use super::net::{Link, Net};
use super::{Chance, Disk, Seeded, Trace, spawn};
use crate::error::StartError;
use crate::machine::lock;
use crate::{Config, Member, Node, NodeId};

/// A member of a simulated cluster.
pub type SimNode = Node<Seeded, ListMachine, Link>;

/// What a simulated cluster is.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a disk takes to sync, at least and at most.
    pub sync: (Duration, Duration),
    /// [`Config::snapshot_entries`] of its members.
    pub snapshot_entries: u64,
    /// [`Config::snapshot_bytes`] of its members.
    pub snapshot_bytes: u64,
    /// [`Config::keep_entries`] of its members.
    pub keep_entries: u64,
    /// [`Config::request`] of its members.
    pub request: Duration,
    /// Whether disks have the bug of [`Disk::acknowledge_early`].
    pub acknowledge_early: bool,
    /// Whether members have the bug of [`Config::lead_on`].
    pub lead_on: bool,
    /// Whether the trace keeps its text.
    pub text: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync: (Duration::from_micros(500), Duration::from_millis(5)),
            snapshot_entries: 60,
            snapshot_bytes: 1 << 30,
            keep_entries: 20,
            request: Duration::from_secs(3),
            acknowledge_early: false,
            lead_on: false,
            text: false,
        }
    }
}

/// What of a member outlives it.
struct Slot {
    disk: Disk,
    list: ListDisk,
    node: Option<SimNode>,
}

/// A cluster. Its clones are the same cluster.
#[derive(Clone)]
pub struct Cluster {
    slots: Arc<Mutex<BTreeMap<NodeId, Slot>>>,
    settings: Settings,
    /// The network between its members.
    pub net: Net,
    /// What happened.
    pub trace: Trace,
}

impl Cluster {
    /// `ids` with empty disks, none of them started.
    pub fn new(chance: &mut Chance, ids: impl IntoIterator<Item = NodeId>, settings: Settings) -> Self {
        let trace = Trace::new(settings.text);
        let net = Net::new(chance.fork(), trace.clone());
        let slots = ids.into_iter().map(|id| {
            let disk = Disk::new(chance.fork(), settings.sync);
            if settings.acknowledge_early {
                disk.acknowledge_early();
            }
            let list = ListDisk::new(id, chance.fork(), trace.clone());
            (id, Slot { disk, list, node: None })
        });
        Self { slots: Arc::new(Mutex::new(slots.collect())), settings, net, trace }
    }

    /// All that there are, started or not.
    pub fn ids(&self) -> Vec<NodeId> {
        lock(&self.slots).keys().copied().collect()
    }

    /// Those that run.
    pub fn running(&self) -> Vec<NodeId> {
        lock(&self.slots).iter().filter(|(_, s)| s.node.is_some()).map(|(id, _)| *id).collect()
    }

    /// Member `id`, where it runs.
    pub fn node(&self, id: NodeId) -> Option<SimNode> {
        lock(&self.slots).get(&id)?.node.clone()
    }

    /// The list of member `id`.
    pub fn list(&self, id: NodeId) -> Option<ListDisk> {
        Some(lock(&self.slots).get(&id)?.list.clone())
    }

    /// The disk of member `id`.
    pub fn disk(&self, id: NodeId) -> Option<Disk> {
        Some(lock(&self.slots).get(&id)?.disk.clone())
    }

    /// Members as [`Node::initialize`] wants them.
    pub fn members(ids: &[NodeId]) -> BTreeMap<NodeId, Member> {
        ids.iter().map(|id| (*id, Member { urls: vec![format!("sim://{id}")] })).collect()
    }

    /// Starts member `id` on what is on its disks. Without effect where it runs.
    pub async fn start(&self, id: NodeId) -> Result<(), StartError> {
        let (log, machine) = {
            let slots = lock(&self.slots);
            match slots.get(&id) {
                Some(Slot { disk, list, node: None }) => (disk.open(), list.open()),
                _ => return Ok(()),
            }
        };
        self.trace.line(format_args!("{id} starts"));
        let link = self.net.link(id);
        let config = Config {
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(500),
            request: self.settings.request,
            snapshot_entries: self.settings.snapshot_entries,
            snapshot_bytes: self.settings.snapshot_bytes,
            keep_entries: self.settings.keep_entries,
            chunk: Duration::from_millis(500),
            chunk_bytes: 256,
            append_bytes: 512,
            lead_on: self.settings.lead_on,
            ..Config::new(id, 0x51)
        };
        let node = SimNode::start(config, log, machine, link.clone()).await?;
        let server = node.clone();
        link.serve(move |request| {
            let server = server.clone();
            async move { server.handle(request).await }
        });
        if let Some(slot) = lock(&self.slots).get_mut(&id) {
            slot.node = Some(node);
        }
        Ok(())
    }

    /// Member `id` crashes, and loses what was not synced. Without effect where it does not run.
    pub fn crash(&self, id: NodeId) {
        let node = {
            let mut slots = lock(&self.slots);
            let Some(slot) = slots.get_mut(&id) else { return };
            let Some(node) = slot.node.take() else { return };
            self.net.detach(id);
            slot.disk.crash();
            slot.list.crash();
            node
        };
        self.trace.line(format_args!("{id} crashes"));
        // Its tasks do not know yet; nothing that they do has an effect any more.
        spawn(async move { node.shutdown().await });
    }
}
