//! etcd's service Maintenance.

use std::io::{self, Write};
use std::pin::Pin;

use bytes::Bytes;
use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use kv_api::kvpb::command::Change;
use kv_core::{Outcome, View};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::member::{API_VERSION, Member, blocking, chain, mixed_up};
use crate::wire;

/// Bytes of a snapshot in one message (etcd has the same).
const CHUNK_BYTES: usize = 32 << 10;
/// A snapshot is filled up to whole sectors; etcd's clients tell by the 32 bytes behind
/// the last one that the checksum is there.
const SECTOR_BYTES: u64 = 512;
/// Messages that wait for the client.
const AHEAD: usize = 8;

/// The service.
#[derive(Debug)]
pub struct Maintenance(pub Member);

type Chunk = Result<pb::SnapshotResponse, Status>;

#[tonic::async_trait]
impl pb::maintenance_server::Maintenance for Maintenance {
    async fn alarm(&self, request: Request<pb::AlarmRequest>) -> Result<Response<pb::AlarmResponse>, Status> {
        let request = request.into_inner();
        if pb::alarm_request::AlarmAction::try_from(request.action).is_err() {
            return Err(Status::invalid_argument("kv: this alarm action is not known"));
        }
        if pb::AlarmType::try_from(request.alarm).is_err() {
            return Err(Status::invalid_argument("kv: this kind of alarm is not known"));
        }
        let (revision, outcome) = self.0.change(Change::Alarm(request)).await?;
        let Outcome::Alarms(alarms) = outcome else { return Err(mixed_up()) };
        let alarms = alarms
            .into_iter()
            .map(|alarm| pb::AlarmMember { member_id: alarm.member, alarm: alarm.kind as i32 });
        let alarms = alarms.collect();
        Ok(Response::new(pb::AlarmResponse { header: Some(self.0.header(revision)), alarms }))
    }

    async fn status(&self, _: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        let status = self.0.consensus.status();
        let sizes = *self.0.shared.sizes.borrow();
        let mut errors = Vec::new();
        if status.leader == 0 {
            errors.push(Fault::NoLeader.text().to_owned());
        }
        for alarm in self.0.view(true).await?.alarms().map_err(crate::member::broken)? {
            let kind = pb::AlarmType::try_from(alarm.kind as i32).map_or("?", |kind| kind.as_str_name());
            errors.push(format!("memberID:{} alarm:{kind} ", alarm.member));
        }
        Ok(Response::new(pb::StatusResponse {
            header: Some(self.0.header_now()),
            version: API_VERSION.to_owned(),
            db_size: sizes.on_disk as i64,
            db_size_in_use: sizes.in_use as i64,
            leader: status.leader,
            raft_index: status.index,
            raft_term: status.term,
            raft_applied_index: status.applied,
            is_learner: status.is_learner,
            errors,
            ..pb::StatusResponse::default()
        }))
    }

    async fn defragment(
        &self,
        _: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        Err(Status::unimplemented(
            "kv: a database is not made smaller in place yet (freed room in it is used again): \
             save a snapshot and restore it",
        ))
    }

    /// Over the keys as [`Self::hash_kv`]; the database itself differs from member to member, as in etcd.
    async fn hash(&self, _: Request<pb::HashRequest>) -> Result<Response<pb::HashResponse>, Status> {
        let view = self.0.view(true).await?;
        let hash = blocking(move || view.hash(0)).await?.map_err(wire::fault)?;
        let header = Some(self.0.header(hash.revision));
        Ok(Response::new(pb::HashResponse { header, hash: hash.hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        let revision = request.into_inner().revision;
        let view = self.0.view(true).await?;
        let newest = view.revision();
        let hash = blocking(move || view.hash(revision)).await?.map_err(wire::fault)?;
        Ok(Response::new(pb::HashKvResponse {
            header: Some(self.0.header(newest)),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.revision,
        }))
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Chunk> + Send>>;

    async fn snapshot(
        &self,
        _: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let view = self.0.view(false).await?;
        let header = self.0.header(view.revision());
        let (send, chunks) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = stream(&view, &header, &send) {
                // A client that has gone is the usual reason, and then nobody reads this.
                let _ = send.blocking_send(Err(Status::data_loss(chain(&error))));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(chunks))))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        self.0.consensus.move_leader(request.into_inner().target_id).await?;
        Ok(Response::new(pb::MoveLeaderResponse { header: Some(self.0.header_now()) }))
    }

    async fn downgrade(
        &self,
        _: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        Err(Status::unimplemented("kv: versions change with the image, not by this call"))
    }
}

/// Sends a snapshot, zeros up to a whole sector, and the SHA-256 of both. What is left is said in
/// each message, so it is written twice: once to be measured.
fn stream(
    view: &View,
    header: &pb::ResponseHeader,
    send: &mpsc::Sender<Chunk>,
) -> Result<(), kv_core::Error> {
    let mut measure = Measure(0);
    view.snapshot_to(&mut measure)?;
    let length = measure.0.next_multiple_of(SECTOR_BYTES);
    let mut out =
        Chunks { send, header, buffer: Vec::with_capacity(CHUNK_BYTES), hash: Sha256::new(), left: length };
    view.snapshot_to(&mut out)?;
    let failed = |source| kv_core::Error::Io { doing: "cannot send a snapshot".to_owned(), source };
    out.write_all(&vec![0; (length - measure.0) as usize]).map_err(failed)?;
    out.finish().map_err(failed)
}

struct Measure(u64);

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Chunks<'a> {
    send: &'a mpsc::Sender<Chunk>,
    header: &'a pb::ResponseHeader,
    buffer: Vec<u8>,
    hash: Sha256,
    left: u64,
}

impl Chunks<'_> {
    fn send(&self, blob: Bytes) -> io::Result<()> {
        let chunk = pb::SnapshotResponse {
            header: Some(*self.header),
            remaining_bytes: self.left,
            blob,
            version: API_VERSION.to_owned(),
        };
        self.send.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn send_buffer(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.hash.update(&self.buffer);
        self.left = self.left.saturating_sub(self.buffer.len() as u64);
        let blob = Bytes::copy_from_slice(&self.buffer);
        self.buffer.clear();
        self.send(blob)
    }

    fn finish(mut self) -> io::Result<()> {
        self.send_buffer()?;
        let hash = std::mem::take(&mut self.hash).finalize();
        self.send(Bytes::copy_from_slice(&hash))
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.buffer.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.buffer.extend_from_slice(taken);
        if self.buffer.len() == CHUNK_BYTES {
            self.send_buffer()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
