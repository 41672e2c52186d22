//! `member add|remove|update|list|promote`.

use super::{bad_args, unsigned};
use crate::Done;
use crate::context::{Context, arguments, ask, text};
use crate::exit::{BAD_FEATURE, ERROR, Exit};
use crate::globals::Format;
use crate::go::quote;
use clap::ArgMatches;
use kv_client::api::etcdserverpb as pb;
use kv_client::api::etcdserverpb::cluster_client::ClusterClient;

type Cluster = ClusterClient<tonic::transport::Channel>;

pub(super) async fn run(context: &Context, verb: &str, matches: &ArgMatches) -> Done {
    let args: Vec<String> = arguments(matches).iter().map(|arg| text(arg)).collect();
    let urls = |matches: &ArgMatches| {
        let urls = matches.get_one::<String>("peer-urls").cloned().unwrap_or_default();
        if urls.is_empty() { Err(bad_args("member peer urls not provided")) } else { Ok(urls) }
    };
    let id = || match &args[..] {
        [id] => unsigned(id, 16)
            .map_err(|why| bad_args(format!("bad member ID arg ({why}), expecting ID in Hex"))),
        _ => Err(bad_args("member ID is not provided")),
    };
    let cluster = |header: Option<pb::ResponseHeader>| header.unwrap_or_default().cluster_id;
    match verb {
        "add" => add(context, matches, &args).await,
        "list" => {
            let linearizable = match matches.get_one::<String>("consistency").map_or("l", String::as_str) {
                "l" => true,
                "s" => false,
                other => return Err(Exit::new(BAD_FEATURE, format!("unknown consistency flag {other:?}"))),
            };
            let request = pb::MemberListRequest { linearizable };
            context.show_members(&ask!(context.client().await?, Always, Cluster, member_list, request)?)
        }
        "remove" => {
            let id = id()?;
            let request = pb::MemberRemoveRequest { id };
            let answer = ask!(context.client().await?, IfNotApplied, Cluster, member_remove, request)?;
            let line = format!("Member {id:16x} removed from cluster {:16x}", cluster(answer.header));
            context.show_message(&answer, &|text| text.line(&line), None)
        }
        "update" => {
            let id = id()?;
            let request = pb::MemberUpdateRequest { id, peer_ur_ls: split(&urls(matches)?)? };
            let answer = ask!(context.client().await?, IfNotApplied, Cluster, member_update, request)?;
            let line = format!("Member {id:16x} updated in cluster {:16x}", cluster(answer.header));
            context.show_message(&answer, &|text| text.line(&line), None)
        }
        _ => {
            let id = id()?;
            let request = pb::MemberPromoteRequest { id };
            let answer = ask!(context.client().await?, IfNotApplied, Cluster, member_promote, request)?;
            let line = format!("Member {id:16x} promoted in cluster {:16x}", cluster(answer.header));
            context.show_message(&answer, &|text| text.line(&line), None)
        }
    }
}

/// The URLs of a list, refused as etcd's client refuses them (etcd `types.NewURLs`).
fn split(urls: &str) -> Result<Vec<String>, Exit> {
    let refused = |why: &str, url: &str| Err(Exit::new(ERROR, format!("{why}: {url}")));
    let mut all = Vec::new();
    for url in urls.split(',').map(str::trim) {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let unix = matches!(scheme, "unix" | "unixs");
        if !unix && !matches!(scheme, "http" | "https") {
            return refused("URL scheme must be http, https, unix, or unixs", url);
        }
        if !unix && host.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.is_empty()) {
            return refused("URL address does not have the form \"host:port\"", url);
        }
        if !unix && !path.is_empty() {
            return refused("URL must not contain a path", url);
        }
        all.push(url.to_owned());
    }
    Ok(all)
}

async fn add(context: &Context, matches: &ArgMatches, args: &[String]) -> Done {
    let [name, more @ ..] = args else { return Err(bad_args("member name not provided")) };
    if !more.is_empty() {
        let meant = args.iter().filter(|arg| arg.to_lowercase().starts_with("http"));
        let meant: String = meant.map(|arg| format!(", did you mean --peer-urls={arg}")).collect();
        return Err(bad_args(format!("too many arguments{meant}")));
    }
    let urls = matches.get_one::<String>("peer-urls").cloned().unwrap_or_default();
    if urls.is_empty() {
        return Err(bad_args("member peer urls not provided"));
    }
    let request = pb::MemberAddRequest { peer_ur_ls: split(&urls)?, is_learner: matches.get_flag("learner") };
    let answer = ask!(context.client().await?, IfNotApplied, Cluster, member_add, request)?;
    let id = answer.member.as_ref().map_or(0, |member| member.id);
    let cluster = answer.header.unwrap_or_default().cluster_id;
    let line = format!("Member {id:16x} added to cluster {cluster:16x}");
    context.show_message(&answer, &|text| text.line(&line), None)?;
    if context.format() != Format::Simple {
        return Ok(());
    }
    let members = answer.members.iter().flat_map(|member| {
        let name = if member.id == id { name } else { &member.name };
        member.peer_ur_ls.iter().map(move |url| format!("{name}={url}"))
    });
    let members = members.collect::<Vec<_>>().join(",");
    context.say(&format!(
        "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_ADVERTISE_PEER_URLS={}\nETCD_INITIAL_CLUSTER_STATE=\"existing\"",
        quote(name.as_bytes()),
        quote(members.as_bytes()),
        quote(urls.as_bytes())
    ))
}
