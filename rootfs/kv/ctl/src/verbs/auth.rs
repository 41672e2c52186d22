//! `auth enable|disable|status`.

use super::bad_args;
use crate::Done;
use crate::context::{Context, arguments, ask, is};
use clap::ArgMatches;
use kv_client::api::Fault;
use kv_client::api::etcdserverpb as pb;
use kv_client::api::etcdserverpb::auth_client::AuthClient;

type Auth = AuthClient<tonic::transport::Channel>;

pub(super) async fn run(context: &Context, verb: &str, matches: &ArgMatches) -> Done {
    if !arguments(matches).is_empty() {
        return Err(bad_args(format!("auth {verb} command does not accept any arguments")));
    }
    let client = context.client().await?;
    match verb {
        "enable" => {
            let enabled = ask!(client, IfNotApplied, Auth, auth_enable, pb::AuthEnableRequest {});
            match enabled {
                // As etcdctl: what is needed and missing is made.
                Err(error) if is(&error, Fault::RootRoleNotExist) => {
                    let root = || "root".to_owned();
                    let add = pb::AuthRoleAddRequest { name: root() };
                    ask!(client, IfNotApplied, Auth, role_add, add)?;
                    let grant = pb::AuthUserGrantRoleRequest { user: root(), role: root() };
                    ask!(client, IfNotApplied, Auth, user_grant_role, grant)?;
                    ask!(client, IfNotApplied, Auth, auth_enable, pb::AuthEnableRequest {})?;
                }
                other => drop(other?),
            }
            context.say("Authentication Enabled")
        }
        "disable" => {
            ask!(client, IfNotApplied, Auth, auth_disable, pb::AuthDisableRequest {})?;
            context.say("Authentication Disabled")
        }
        _ => {
            let answer = ask!(client, Always, Auth, auth_status, pb::AuthStatusRequest {})?;
            let line =
                format!("Authentication Status: {}\nAuthRevision: {}", answer.enabled, answer.auth_revision);
            context.show_message(
                &answer,
                &|text| text.line(&line),
                Some(&|text| {
                    text.header(answer.header.as_ref());
                    text.field("Enabled", answer.enabled);
                    text.field("AuthRevision", answer.auth_revision);
                }),
            )
        }
    }
}
