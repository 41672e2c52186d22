//! `role add|delete|get|list|grant-permission|revoke-permission`.

use super::bad_args;
use super::keys::permission_keys;
use crate::Done;
use crate::context::{Context, arguments, ask, text};
use clap::ArgMatches;
use kv_client::api::authpb::Permission;
use kv_client::api::authpb::permission::Type;
use kv_client::api::etcdserverpb as pb;
use kv_client::api::etcdserverpb::auth_client::AuthClient;

type Auth = AuthClient<tonic::transport::Channel>;

pub(super) async fn run(context: &Context, verb: &str, matches: &ArgMatches) -> Done {
    let args = arguments(matches);
    let only = || match &args[..] {
        [one] => Ok(text(one)),
        _ => Err(bad_args(format!("role {verb} command requires role name as its argument"))),
    };
    match verb {
        "add" => {
            let name = only()?;
            let request = pb::AuthRoleAddRequest { name: name.clone() };
            let answer = ask!(context.client().await?, IfNotApplied, Auth, role_add, request)?;
            context.show_done(&answer, answer.header.as_ref(), format!("Role {name} created"))
        }
        "delete" => {
            let role = only()?;
            let request = pb::AuthRoleDeleteRequest { role: role.clone() };
            let answer = ask!(context.client().await?, IfNotApplied, Auth, role_delete, request)?;
            context.show_done(&answer, answer.header.as_ref(), format!("Role {role} deleted"))
        }
        "get" => {
            let role = only()?;
            let request = pb::AuthRoleGetRequest { role: role.clone() };
            context.show_role(&role, &ask!(context.client().await?, Always, Auth, role_get, request)?)
        }
        "list" if args.is_empty() => {
            let request = pb::AuthRoleListRequest {};
            context.show_roles(&ask!(context.client().await?, Always, Auth, role_list, request)?)
        }
        "list" => Err(bad_args("role list command requires no arguments")),
        "grant-permission" => {
            let [name, kind, keys @ ..] = &args[..] else {
                return Err(bad_args(GRANT_NEEDS));
            };
            if keys.is_empty() {
                return Err(bad_args(GRANT_NEEDS));
            }
            let kind = text(kind);
            let perm_type = match kind.to_uppercase().as_str() {
                "READ" => Type::Read,
                "WRITE" => Type::Write,
                "READWRITE" => Type::Readwrite,
                _ => return Err(bad_args(format!("invalid permission type: {kind}"))),
            };
            let keys = permission_keys(keys, matches)?;
            let perm = Permission { perm_type: perm_type.into(), key: keys.key, range_end: keys.range_end };
            let name = text(name);
            let request = pb::AuthRoleGrantPermissionRequest { name: name.clone(), perm: Some(perm) };
            let answer = ask!(context.client().await?, IfNotApplied, Auth, role_grant_permission, request)?;
            context.show_done(&answer, answer.header.as_ref(), format!("Role {name} updated"))
        }
        _ => {
            let needs = "role revoke-permission command requires role name and key [endkey] as its argument";
            let [role, rest @ ..] = &args[..] else { return Err(bad_args(needs)) };
            let Some(shown) = rest.first() else { return Err(bad_args(needs)) };
            let keys = permission_keys(rest, matches)?;
            let line = revoked(&text(shown), &keys.range_end, &text(role));
            let request = pb::AuthRoleRevokePermissionRequest {
                role: text(role),
                key: keys.key,
                range_end: keys.range_end,
            };
            let answer = ask!(context.client().await?, IfNotApplied, Auth, role_revoke_permission, request)?;
            context.show_done(&answer, answer.header.as_ref(), line)
        }
    }
}

const GRANT_NEEDS: &str =
    "role grant command requires role name, permission type, and key [endkey] as its argument";

fn revoked(key: &str, end: &[u8], role: &str) -> String {
    match end {
        b"" => format!("Permission of key {key} is revoked from role {role}"),
        b"\0" => format!("Permission of range [{key}, <open ended> is revoked from role {role}"),
        end => format!("Permission of range [{key}, {}) is revoked from role {role}", text(end)),
    }
}
