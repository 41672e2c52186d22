//! Answers of members and endpoints.

use super::table::Table;
use super::{Forms, Text, json};
use crate::Done;
use crate::context::Context;
use crate::go::{quote, size};
use kv_client::api::etcdserverpb as pb;
use prost::Message as _;

/// Whether an endpoint serves.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    pub(crate) endpoint: String,
    pub(crate) took: String,
    /// `None`: it does.
    pub(crate) error: Option<String>,
}

/// What a snapshot's file holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SnapshotStatus {
    pub(crate) hash: u32,
    pub(crate) revision: i64,
    pub(crate) keys: u64,
    pub(crate) size_bytes: u64,
}

impl Context {
    pub(crate) fn show_members(&self, answer: &pb::MemberListResponse) -> Done {
        let table = || Table {
            head: vec!["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"],
            rows: answer
                .members
                .iter()
                .map(|member| {
                    let status = if member.name.is_empty() { "unstarted" } else { "started" };
                    vec![
                        format!("{:x}", member.id),
                        status.to_owned(),
                        member.name.clone(),
                        member.peer_ur_ls.join(","),
                        member.client_ur_ls.join(","),
                        member.is_learner.to_string(),
                    ]
                })
                .collect(),
        };
        let fields = |text: &mut Text| {
            text.header(answer.header.as_ref());
            for member in &answer.members {
                text.field("ID", member.id);
                text.field("Name", quote(member.name.as_bytes()));
                for url in &member.peer_ur_ls {
                    text.field("PeerURL", quote(url.as_bytes()));
                }
                for url in &member.client_ur_ls {
                    text.field("ClientURL", quote(url.as_bytes()));
                }
                text.field("IsLearner", member.is_learner);
                text.line("");
            }
        };
        self.show(&Forms {
            simple: &|text| table().lines().for_each(|line| text.line(line)),
            fields: Some(&fields),
            table: Some(&table),
            json: &|| json::message(answer),
            protobuf: Some(&|| answer.encode_to_vec()),
        })
    }

    pub(crate) fn show_health(&self, all: &[Health]) -> Done {
        let table = || Table {
            head: vec!["endpoint", "health", "took", "error"],
            rows: all
                .iter()
                .map(|one| {
                    let error = one.error.clone().unwrap_or_default();
                    vec![one.endpoint.clone(), one.error.is_none().to_string(), one.took.clone(), error]
                })
                .collect(),
        };
        // etcdctl says this one on standard error.
        let simple = |_: &mut Text| {
            for one in all {
                self.note(&match &one.error {
                    None => format!(
                        "{} is healthy: successfully committed proposal: took = {}",
                        one.endpoint, one.took
                    ),
                    Some(error) => {
                        format!("{} is unhealthy: failed to commit proposal: {error}", one.endpoint)
                    }
                });
            }
        };
        let fields = |text: &mut Text| {
            for one in all {
                text.field("Endpoint", quote(one.endpoint.as_bytes()));
                text.field("Health", one.error.is_none());
                text.field("Took", &one.took);
                text.field("Error", one.error.as_deref().unwrap_or(""));
                text.line("");
            }
        };
        let json = || {
            let all = all.iter().map(|one| {
                let error = one.error.as_ref().map(|error| format!(",\"error\":{}", json::string(error)));
                format!(
                    "{{\"endpoint\":{},\"health\":{},\"took\":{}{}}}",
                    json::string(&one.endpoint),
                    one.error.is_none(),
                    json::string(&one.took),
                    error.unwrap_or_default()
                )
            });
            Ok(format!("[{}]", all.collect::<Vec<_>>().join(",")))
        };
        self.show(&Forms {
            simple: &simple,
            fields: Some(&fields),
            table: Some(&table),
            json: &json,
            protobuf: None,
        })
    }

    pub(crate) fn show_status(&self, all: &[(String, pb::StatusResponse)]) -> Done {
        let member = |status: &pb::StatusResponse| status.header.unwrap_or_default().member_id;
        let head = [
            "endpoint",
            "ID",
            "version",
            "db size",
            "is leader",
            "is learner",
            "raft term",
            "raft index",
            "raft applied index",
            "errors",
        ];
        let table = || Table {
            head: head.to_vec(),
            rows: all
                .iter()
                .map(|(endpoint, status)| {
                    vec![
                        endpoint.clone(),
                        format!("{:x}", member(status)),
                        status.version.clone(),
                        size(status.db_size as u64),
                        (status.leader == member(status)).to_string(),
                        status.is_learner.to_string(),
                        status.raft_term.to_string(),
                        status.raft_index.to_string(),
                        status.raft_applied_index.to_string(),
                        status.errors.join(", "),
                    ]
                })
                .collect(),
        };
        let fields = |text: &mut Text| {
            for (endpoint, status) in all {
                text.header(status.header.as_ref());
                text.field("Version", quote(status.version.as_bytes()));
                text.field("DBSize", status.db_size);
                text.field("Leader", status.leader);
                text.field("IsLearner", status.is_learner);
                text.field("RaftIndex", status.raft_index);
                text.field("RaftTerm", status.raft_term);
                text.field("RaftAppliedIndex", status.raft_applied_index);
                text.field("Errors", format!("[{}]", status.errors.join(" ")));
                text.field("Endpoint", quote(endpoint.as_bytes()));
                text.line("");
            }
        };
        let json = || {
            let all: Result<Vec<_>, _> =
                all.iter().map(|(endpoint, status)| named(endpoint, "Status", status)).collect();
            Ok(format!("[{}]", all?.join(",")))
        };
        self.show(&Forms {
            simple: &|text| table().lines().for_each(|line| text.line(line)),
            fields: Some(&fields),
            table: Some(&table),
            json: &json,
            protobuf: None,
        })
    }

    pub(crate) fn show_hashes(&self, all: &[(String, pb::HashKvResponse)]) -> Done {
        let table = || Table {
            head: vec!["endpoint", "hash"],
            rows: all.iter().map(|(endpoint, hash)| vec![endpoint.clone(), hash.hash.to_string()]).collect(),
        };
        let fields = |text: &mut Text| {
            for (endpoint, hash) in all {
                text.header(hash.header.as_ref());
                text.field("Endpoint", quote(endpoint.as_bytes()));
                text.field("Hash", hash.hash);
                text.line("");
            }
        };
        let json = || {
            let all: Result<Vec<_>, _> =
                all.iter().map(|(endpoint, hash)| named(endpoint, "HashKV", hash)).collect();
            Ok(format!("[{}]", all?.join(",")))
        };
        self.show(&Forms {
            simple: &|text| table().lines().for_each(|line| text.line(line)),
            fields: Some(&fields),
            table: Some(&table),
            json: &json,
            protobuf: None,
        })
    }

    pub(crate) fn show_alarms(&self, answer: &pb::AlarmResponse) -> Done {
        let kind = |alarm: &pb::AlarmMember| {
            pb::AlarmType::try_from(alarm.alarm).map_or("?", |kind| kind.as_str_name())
        };
        let simple = |text: &mut Text| {
            for alarm in &answer.alarms {
                text.line(format!("memberID:{} alarm:{} ", alarm.member_id, kind(alarm)));
            }
        };
        let fields = |text: &mut Text| {
            text.header(answer.header.as_ref());
            for alarm in &answer.alarms {
                text.field("MemberID", alarm.member_id);
                text.field("AlarmType", kind(alarm));
                text.line("");
            }
        };
        self.show_message(answer, &simple, Some(&fields))
    }

    pub(crate) fn show_snapshot(&self, status: SnapshotStatus) -> Done {
        let table = || Table {
            head: vec!["hash", "revision", "total keys", "total size"],
            rows: vec![vec![
                format!("{:x}", status.hash),
                status.revision.to_string(),
                status.keys.to_string(),
                size(status.size_bytes),
            ]],
        };
        let fields = |text: &mut Text| {
            text.field("Hash", status.hash);
            text.field("Revision", status.revision);
            text.field("Keys", status.keys);
            text.field("Size", status.size_bytes);
        };
        let SnapshotStatus { hash, revision, keys, size_bytes } = status;
        let json = || {
            Ok(format!(
                "{{\"hash\":{hash},\"revision\":{revision},\"totalKey\":{keys},\"totalSize\":{size_bytes}}}"
            ))
        };
        self.show(&Forms {
            simple: &|text| table().lines().for_each(|line| text.line(line)),
            fields: Some(&fields),
            table: Some(&table),
            json: &json,
            protobuf: None,
        })
    }
}

fn named<M: prost::Message + prost::Name>(
    endpoint: &str,
    name: &str,
    message: &M,
) -> Result<String, crate::exit::Exit> {
    Ok(format!("{{\"Endpoint\":{},\"{name}\":{}}}", json::string(endpoint), json::message(message)?))
}
