//! The way between members: Raft's simulated network, which carries questions to the leader as well.

use bytes::{BufMut as _, Bytes, BytesMut};
use kv::replica::{Peers, Replica};
use kv_raft::sim::Seeded;
use kv_raft::sim::net::Link;
use kv_raft::{Member, Network, NodeId, SendError};

/// The first byte of a question; no message of Raft begins with it, as it is no field's tag.
const QUESTION: u8 = 0xff;

/// A member of the simulation under Raft.
pub type SimReplica = Replica<Seeded, SimPeers>;

/// One life of a member on the network.
#[derive(Clone)]
pub struct SimPeers(pub Link);

impl SimPeers {
    /// From now on `replica` answers.
    pub fn serve(&self, replica: SimReplica) {
        self.0.serve(move |request: Bytes| {
            let replica = replica.clone();
            async move {
                match request.split_first() {
                    Some((&QUESTION, _)) => replica.answer(request.slice(1..)).await,
                    _ => replica.handle(request).await,
                }
            }
        });
    }
}

impl Network for SimPeers {
    async fn send(&self, target: NodeId, member: &Member, request: Bytes) -> Result<Bytes, SendError> {
        self.0.send(target, member, request).await
    }
}

impl Peers for SimPeers {
    async fn ask(&self, target: NodeId, member: &Member, request: Bytes) -> Result<Bytes, SendError> {
        let mut question = BytesMut::with_capacity(request.len() + 1);
        question.put_u8(QUESTION);
        question.extend_from_slice(&request);
        self.0.send(target, member, question.freeze()).await
    }
}
