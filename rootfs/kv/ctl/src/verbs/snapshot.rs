//! `snapshot save|status`.

use super::bad_args;
use super::endpoint::Maintenance;
use crate::Done;
use crate::context::{Context, arguments, os};
use crate::exit::{ERROR, Exit, INTERRUPTED, system};
use crate::print::cluster::SnapshotStatus;
use bytes::Bytes;
use clap::ArgMatches;
use kv_client::api::etcdserverpb::SnapshotRequest;
use kv_client::{Client, Error, MESSAGE_MAX, Repeat};
use kv_core::{Options, Range, State};
use redb::backends::InMemoryBackend;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tokio::io::AsyncWriteExt as _;

/// Bytes of the SHA-256 behind the last sector (etcd `maintenance.go`).
const HASH_BYTES: u64 = 32;
const SECTOR_BYTES: u64 = 512;
/// The first bytes of a snapshot of this store (docs/FORMATS.md, "The store's snapshot").
const MAGIC: &[u8; 8] = b"kvsnap\r\n";

pub(super) async fn run(context: &Context, verb: &str, matches: &ArgMatches) -> Done {
    let args = arguments(matches);
    match (verb, &args[..]) {
        ("save", [path]) => save(context, Path::new(&os(path))).await,
        ("save", _) => Err(bad_args("snapshot save expects one argument")),
        (_, [path]) => {
            let path = PathBuf::from(os(path));
            let read = tokio::task::spawn_blocking(move || status(&path)).await;
            let status = read.map_err(|error| Exit::new(ERROR, error.to_string()))?;
            context.show_snapshot(status.map_err(|why| Exit::new(ERROR, why))?)
        }
        _ => Err(bad_args("snapshot status requires exactly one argument")),
    }
}

async fn save(context: &Context, path: &Path) -> Done {
    let settings = context.settings().await?;
    let stop = |text: String| Exit::new(INTERRUPTED, text);
    if settings.endpoints.len() != 1 {
        let all = settings.endpoints.join(" ");
        return Err(stop(format!("snapshot must be requested to one selected node, not multiple [{all}]")));
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let limit = context.globals.timeout_was_set.then_some(settings.request_timeout);
    let client = context.client().await?;
    let fetched = async {
        match limit {
            Some(limit) => tokio::time::timeout(limit, fetch(client, &part))
                .await
                .unwrap_or_else(|_| Err("context deadline exceeded".to_owned())),
            None => fetch(client, &part).await,
        }
    };
    let done = match fetched.await {
        Ok(()) => std::fs::rename(&part, path)
            .map_err(|error| format!("could not rename {} to {} ({error})", part.display(), path.display())),
        Err(why) => Err(why),
    };
    if let Err(why) = done {
        // A part that was never made cannot be removed.
        let _absent = std::fs::remove_file(&part);
        return Err(stop(why));
    }
    context.say(&format!("Snapshot saved at {}", path.display()))
}

/// Writes a snapshot down, checks it, and makes it durable.
async fn fetch(client: &Client, part: &Path) -> Result<(), String> {
    let text = |error: Error| crate::exit::text(&error);
    let failed = |error: io::Error| format!("could not write {} ({error})", part.display());
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part);
    let opened = opened
        .map_err(|error| format!("could not open {} ({})", part.display(), system("open", part, &error)))?;
    let mut file = tokio::io::BufWriter::with_capacity(1 << 20, tokio::fs::File::from_std(opened));
    let mut chunks = client
        .call(Repeat::Always, SnapshotRequest {}, |channel, request| async move {
            Maintenance::new(channel).max_decoding_message_size(MESSAGE_MAX).snapshot(request).await
        })
        .await
        .map_err(text)?;
    let mut hash = Sha256::new();
    // The last bytes are the hash of those before.
    let mut held: Vec<u8> = Vec::new();
    let mut size: u64 = 0;
    loop {
        let chunk = chunks.message().await.map_err(|status| status.message().to_owned())?;
        let Some(chunk) = chunk else { break };
        size += chunk.blob.len() as u64;
        file.write_all(&chunk.blob).await.map_err(failed)?;
        held.extend_from_slice(&chunk.blob);
        let sure = held.len().saturating_sub(HASH_BYTES as usize);
        hash.update(&held[..sure]);
        held.drain(..sure);
    }
    if size % SECTOR_BYTES != HASH_BYTES {
        return Err(format!("sha256 checksum not found [bytes: {size}]"));
    }
    if hash.finalize()[..] != held[..] {
        return Err(
            "the snapshot's sha256 checksum is wrong: it was damaged on the way; save it again".to_owned()
        );
    }
    file.flush().await.map_err(failed)?;
    file.get_ref().sync_all().await.map_err(failed)
}

/// Reads a file of this store's whole, so that damage shows.
fn status(path: &Path) -> Result<SnapshotStatus, String> {
    let name = path.display();
    let failed = |error: io::Error| system("read", path, &error);
    let mut file = File::open(path).map_err(|error| system("stat", path, &error))?;
    let size = file.metadata().map_err(failed)?.len();
    let mut start = [0; 8];
    if size < SECTOR_BYTES {
        return Err(format!("{name} is no snapshot: it has only {size} bytes"));
    }
    file.read_exact(&mut start).map_err(failed)?;
    if &start != MAGIC {
        return Err(format!(
            "{name} is no snapshot of this store; one of etcd's is read by etcdutl snapshot status"
        ));
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    if size % SECTOR_BYTES == HASH_BYTES {
        let mut hash = Sha256::new();
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        io::copy(&mut (&mut reader).take(size - HASH_BYTES), &mut Update(&mut hash)).map_err(failed)?;
        let mut told = [0; HASH_BYTES as usize];
        reader.read_exact(&mut told).map_err(failed)?;
        if hash.finalize()[..] != told {
            return Err(format!("{name} is damaged: its sha256 checksum is wrong"));
        }
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
    }
    let damaged = |error: kv_core::Error| format!("{name} is damaged: {error}");
    let refused = |error: kv_core::Refusal| format!("{name} is damaged: {error}");
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let state = State::restore(InMemoryBackend::new(), Options::default(), &mut reader).map_err(damaged)?;
    let view = state.view().map_err(damaged)?;
    let all = Range {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        count_only: true,
        ..Range::default()
    };
    let keys = view.range(&all).map_err(damaged)?.map_err(refused)?.count;
    let hash = view.hash(0).map_err(damaged)?.map_err(refused)?;
    Ok(SnapshotStatus {
        hash: hash.hash,
        revision: hash.revision,
        keys: keys.unsigned_abs(),
        size_bytes: size,
    })
}

struct Update<'a>(&'a mut Sha256);

impl io::Write for Update<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
