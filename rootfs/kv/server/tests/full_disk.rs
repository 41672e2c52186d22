//! A disk without room: writes are refused with NOSPACE before it is quite full, nothing that was
//! acknowledged is lost, and with room again it goes on. The disk is a tmpfs in a mount
//! namespace of its own, so this needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

mod node;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kv_api::Fault;
use kv_api::etcdserverpb as pb;
use node::{Node, get, put};
use tempfile::TempDir;

/// The tmpfs, for as long as the process that holds its namespace.
struct Disk {
    holder: Child,
    folder: TempDir,
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}

impl Disk {
    fn new(size: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut holder = Command::new("unshare")
            .args([
                "--mount",
                "sh",
                "-c",
                "mount -t tmpfs -o size=\"$1\" none \"$2\" && echo ready && exec cat",
                "sh",
            ])
            .arg(size)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "a tmpfs cannot be mounted: run as root");
        Self { holder, folder }
    }

    fn start(&self) -> Node {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg(env!("CARGO_BIN_EXE_kv"));
        Node::start_by(command, &self.folder.path().join("data"), &[])
    }

    /// Its files as seen from here.
    fn root(&self) -> PathBuf {
        let root = Path::new("/proc").join(self.holder.id().to_string()).join("root");
        root.join(self.folder.path().strip_prefix("/").unwrap())
    }

    fn filler(&self) -> PathBuf {
        self.root().join("filler")
    }

    /// Fills it until so many bytes are left.
    fn fill(&self, left: u64) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        let block = vec![1; 1 << 20];
        loop {
            let disk = rustix::fs::statvfs(self.root()).unwrap();
            let free = disk.f_bavail * disk.f_frsize;
            if free <= left {
                return;
            }
            let more = (free - left).min(block.len() as u64) as usize;
            file.write_all(&block[..more]).unwrap();
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let disk = Disk::new("640m");
    let mut node = disk.start();
    let mut kv = node.kv().await;
    let mut acknowledged = 0;
    for _ in 0..50 {
        kv.put(put(&format!("key-{acknowledged:05}"), vec![b'v'; 100_000])).await.unwrap();
        acknowledged += 1;
    }
    disk.fill(170 << 20);
    let refusal = loop {
        match kv.put(put(&format!("key-{acknowledged:05}"), vec![b'v'; 100_000])).await {
            Ok(_) => acknowledged += 1,
            Err(status) => break status,
        }
        assert!(acknowledged < 10_000, "a disk of 640 MiB took 1 GB");
    };
    assert_eq!(Fault::of(&refusal), Some(Fault::NoSpace), "{refusal}");

    let alarms = pb::AlarmRequest { action: 0, member_id: 0, alarm: 0 };
    let raised = node.maintenance().await.alarm(alarms).await.unwrap().into_inner().alarms;
    assert_eq!(raised.iter().map(pb::AlarmMember::alarm).collect::<Vec<_>>(), [pb::AlarmType::Nospace]);
    let delete = pb::DeleteRangeRequest { key: "key-00000".into(), ..pb::DeleteRangeRequest::default() };
    kv.delete_range(delete).await.unwrap();
    assert_eq!(kv.range(get("key-00001")).await.unwrap().into_inner().kvs.len(), 1);

    // Another program takes the rest; then the power goes.
    disk.fill(0);
    let refusal = kv.put(put("more", vec![0; 1000])).await.unwrap_err();
    assert_eq!(Fault::of(&refusal), Some(Fault::NoSpace), "{refusal}");
    assert_eq!(kv.range(get("key-00001")).await.unwrap().into_inner().kvs.len(), 1);
    node.kill();
    fs::remove_file(disk.filler()).unwrap();

    node = disk.start();
    let mut kv = node.kv().await;
    let all = pb::RangeRequest { range_end: "key.".into(), count_only: true, ..get("key-") };
    assert_eq!(kv.range(all).await.unwrap().into_inner().count, acknowledged - 1);
    let refusal = kv.put(put("more", Vec::new())).await.unwrap_err();
    assert_eq!(Fault::of(&refusal), Some(Fault::NoSpace), "until the alarm is lowered: {refusal}");
    let lower = pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Deactivate.into(),
        alarm: pb::AlarmType::Nospace.into(),
        member_id: raised[0].member_id,
    };
    node.maintenance().await.alarm(lower).await.unwrap();
    kv.put(put("more", Vec::new())).await.unwrap();
}
