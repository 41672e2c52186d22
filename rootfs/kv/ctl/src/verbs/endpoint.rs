//! `endpoint health|status|hashkv`, and what else goes to single members: `defrag`,
//! `move-leader`, `alarm`.

use super::{bad_args, unsigned};
use crate::Done;
use crate::context::{Context, arguments, ask, is, text};
use crate::exit::{self, ERROR, Exit};
use crate::go;
use crate::print::cluster::Health;
use clap::ArgMatches;
use kv_client::api::Fault;
use kv_client::api::etcdserverpb as pb;
use kv_client::api::etcdserverpb::cluster_client::ClusterClient;
use kv_client::api::etcdserverpb::maintenance_client::MaintenanceClient;
use kv_client::{Client, Error, Settings};
use std::time::Instant;
use tonic::transport::Channel;

pub(super) type Maintenance = MaintenanceClient<Channel>;

pub(super) async fn run(context: &Context, verb: &str, matches: &ArgMatches) -> Done {
    let endpoints = endpoints(context, matches).await?;
    match verb {
        "health" => health(context, endpoints).await,
        "status" => {
            let mut failed = false;
            let mut all = Vec::new();
            for endpoint in endpoints {
                match status(&at(context, &endpoint).await?).await {
                    Ok(status) => all.push((endpoint, status)),
                    Err(error) => {
                        failed = true;
                        let why = exit::text(&error);
                        context.note(&format!("Failed to get the status of endpoint {endpoint} ({why})"));
                    }
                }
            }
            context.show_status(&all)?;
            if failed { Err(Exit::silent(ERROR)) } else { Ok(()) }
        }
        _ => {
            let request = pb::HashKvRequest { revision: matches.get_one::<i64>("rev").copied().unwrap_or(0) };
            let mut last = None;
            let mut all = Vec::new();
            for endpoint in endpoints {
                let client = at(context, &endpoint).await?;
                match ask!(client, Always, Maintenance, hash_kv, request) {
                    Ok(hash) => all.push((endpoint, hash)),
                    Err(error) => {
                        let why = exit::text(&error);
                        context.note(&format!("Failed to get the hash of endpoint {endpoint} ({why})"));
                        last = Some(error);
                    }
                }
            }
            context.show_hashes(&all)?;
            last.map_or(Ok(()), |error| Err(Exit::of(ERROR, &error)))
        }
    }
}

/// The endpoints that were given, or those of all members.
async fn endpoints(context: &Context, matches: &ArgMatches) -> Result<Vec<String>, Exit> {
    if !matches.get_flag("cluster") {
        return Ok(context.globals.settings.endpoints.clone());
    }
    // Listing members needs no user, so no password is asked for.
    let client = Client::new(context.globals.settings.clone())?;
    let request = pb::MemberListRequest { linearizable: true };
    let answer = ask!(client, Always, ClusterClient<Channel>, member_list, request);
    let answer = answer.map_err(|error| {
        let why = exit::text(&error);
        Exit::new(ERROR, format!("failed to fetch endpoints from etcd cluster member list: {why}"))
    })?;
    Ok(answer.members.into_iter().flat_map(|member| member.client_ur_ls).collect())
}

/// A client of one endpoint, as the user.
async fn at(context: &Context, endpoint: &str) -> Result<Client, Exit> {
    let settings = Settings { endpoints: vec![endpoint.to_owned()], ..context.settings().await? };
    Ok(Client::new(settings)?)
}

async fn status(client: &Client) -> Result<pb::StatusResponse, Error> {
    ask!(client, Always, Maintenance, status, pb::StatusRequest {})
}

async fn health(context: &Context, endpoints: Vec<String>) -> Done {
    let mut tasks = Vec::new();
    for endpoint in endpoints {
        let client = at(context, &endpoint).await?;
        tasks.push(tokio::spawn(async move {
            let start = Instant::now();
            // Any key: that an answer comes is what counts; that it must not be read says as much.
            let answer = client.get("health").await;
            let error = match answer {
                Err(error) if !is(&error, Fault::PermissionDenied) => Some(exit::text(&error)),
                _ => None,
            };
            Health { endpoint, took: go::took(start.elapsed()), error }
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.map_err(|error| Exit::new(ERROR, error.to_string()))?);
    }
    context.show_health(&all)?;
    if all.iter().any(|one| one.error.is_some()) {
        return Err(Exit::new(ERROR, "unhealthy cluster"));
    }
    Ok(())
}

pub(super) async fn defrag(context: &Context, matches: &ArgMatches) -> Done {
    let mut failed = false;
    for endpoint in endpoints(context, matches).await? {
        let client = at(context, &endpoint).await?;
        match ask!(client, IfNotApplied, Maintenance, defragment, pb::DefragmentRequest {}) {
            Ok(_) => context.say(&format!("Finished defragmenting etcd member[{endpoint}]"))?,
            Err(error) => {
                failed = true;
                let why = exit::text(&error);
                context.note(&format!("Failed to defragment etcd member[{endpoint}] ({why})"));
            }
        }
    }
    if failed { Err(Exit::silent(ERROR)) } else { Ok(()) }
}

pub(super) async fn move_leader(context: &Context, matches: &ArgMatches) -> Done {
    let args = arguments(matches);
    let [target] = &args[..] else { return Err(bad_args("move-leader command needs 1 argument")) };
    let target_id = unsigned(&text(target), 16).map_err(bad_args)?;
    let endpoints = &context.globals.settings.endpoints;
    for endpoint in endpoints {
        let client = at(context, endpoint).await?;
        let status = status(&client).await?;
        if status.header.unwrap_or_default().member_id == status.leader {
            let request = pb::MoveLeaderRequest { target_id };
            let answer = ask!(client, IfNotApplied, Maintenance, move_leader, request)?;
            let line = format!("Leadership transferred from {:x} to {target_id:x}", status.leader);
            return context.show_message(&answer, &|text| text.line(&line), None);
        }
    }
    Err(bad_args(format!("no leader endpoint given at [{}]", endpoints.join(" "))))
}

pub(super) async fn alarm(context: &Context, verb: &str, matches: &ArgMatches) -> Done {
    if !arguments(matches).is_empty() {
        return Err(bad_args(format!("alarm {verb} command accepts no arguments")));
    }
    let client = context.client().await?;
    let list = pb::AlarmRequest { action: pb::alarm_request::AlarmAction::Get.into(), ..Default::default() };
    let raised = ask!(client, Always, Maintenance, alarm, list)?;
    if verb == "list" {
        return context.show_alarms(&raised);
    }
    // One by one, as etcd's client: a member disarms one alarm at a time.
    let mut all = pb::AlarmResponse::default();
    for alarm in raised.alarms {
        let action = pb::alarm_request::AlarmAction::Deactivate.into();
        let request = pb::AlarmRequest { action, member_id: alarm.member_id, alarm: alarm.alarm };
        let answer = ask!(client, Always, Maintenance, alarm, request)?;
        all.alarms.extend(answer.alarms);
    }
    context.show_alarms(&all)
}
