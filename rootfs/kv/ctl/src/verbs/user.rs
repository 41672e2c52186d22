//! `user add|delete|get|list|passwd|grant-role|revoke-role`.

use super::bad_args;
use crate::Done;
use crate::context::{Context, arguments, ask, text};
use clap::ArgMatches;
use kv_client::api::authpb::UserAddOptions;
use kv_client::api::etcdserverpb as pb;
use kv_client::api::etcdserverpb::auth_client::AuthClient;
use tokio::io::{AsyncBufReadExt as _, BufReader};

type Auth = AuthClient<tonic::transport::Channel>;

pub(super) async fn run(context: &Context, verb: &str, matches: &ArgMatches) -> Done {
    let args: Vec<String> = arguments(matches).iter().map(|arg| text(arg)).collect();
    let only = |needs: &str| match &args[..] {
        [one] => Ok(one.clone()),
        _ => Err(bad_args(format!("user {needs} command requires user name as its argument"))),
    };
    match verb {
        "add" => {
            let (name, password, no_password) = new_user(context, matches, only("add")?).await?;
            let options = Some(UserAddOptions { no_password });
            let request =
                pb::AuthUserAddRequest { name: name.clone(), password, options, ..Default::default() };
            let answer = ask!(context.client().await?, IfNotApplied, Auth, user_add, request)?;
            context.show_done(&answer, answer.header.as_ref(), format!("User {name} created"))
        }
        "delete" => {
            let name = only("delete")?;
            let request = pb::AuthUserDeleteRequest { name: name.clone() };
            let answer = ask!(context.client().await?, IfNotApplied, Auth, user_delete, request)?;
            context.show_done(&answer, answer.header.as_ref(), format!("User {name} deleted"))
        }
        "get" => {
            let name = only("get")?;
            let request = pb::AuthUserGetRequest { name: name.clone() };
            let answer = ask!(context.client().await?, Always, Auth, user_get, request)?;
            if !matches.get_flag("detail") {
                return context.show_user(&name, &answer);
            }
            context.say(&format!("User: {name}"))?;
            for role in answer.roles {
                context.say("")?;
                let request = pb::AuthRoleGetRequest { role: role.clone() };
                context.show_role(&role, &ask!(context.client().await?, Always, Auth, role_get, request)?)?;
            }
            Ok(())
        }
        "list" if args.is_empty() => {
            let request = pb::AuthUserListRequest {};
            context.show_users(&ask!(context.client().await?, Always, Auth, user_list, request)?)
        }
        "list" => Err(bad_args("user list command requires no arguments")),
        "passwd" => {
            let name = only("passwd")?;
            let password = password(context, matches, &name).await?;
            let request = pb::AuthUserChangePasswordRequest { name, password, ..Default::default() };
            let answer = ask!(context.client().await?, IfNotApplied, Auth, user_change_password, request)?;
            context.show_done(&answer, answer.header.as_ref(), "Password updated")
        }
        "grant-role" => {
            let [user, role] = &args[..] else {
                return Err(bad_args("user grant command requires user name and role name as its argument"));
            };
            let line = format!("Role {role} is granted to user {user}");
            let request = pb::AuthUserGrantRoleRequest { user: user.clone(), role: role.clone() };
            let answer = ask!(context.client().await?, IfNotApplied, Auth, user_grant_role, request)?;
            context.show_done(&answer, answer.header.as_ref(), line)
        }
        _ => {
            let [name, role] = &args[..] else {
                return Err(bad_args("user revoke-role requires user name and role name as its argument"));
            };
            let line = format!("Role {role} is revoked from user {name}");
            let request = pb::AuthUserRevokeRoleRequest { name: name.clone(), role: role.clone() };
            let answer = ask!(context.client().await?, IfNotApplied, Auth, user_revoke_role, request)?;
            context.show_done(&answer, answer.header.as_ref(), line)
        }
    }
}

/// Name, password, and whether there is none.
async fn new_user(
    context: &Context,
    matches: &ArgMatches,
    arg: String,
) -> Result<(String, String, bool), crate::exit::Exit> {
    let given = matches.get_one::<String>("new-user-password").cloned().unwrap_or_default();
    if matches.get_flag("no-password") {
        return Ok((arg, String::new(), true));
    }
    if !given.is_empty() {
        return Ok((arg, given, false));
    }
    match arg.split_once(':') {
        Some(("", _)) => Err(bad_args("empty user name is not allowed")),
        Some((name, password)) => Ok((name.to_owned(), password.to_owned(), false)),
        None => {
            let password = password(context, matches, &arg).await?;
            Ok((arg, password, false))
        }
    }
}

/// Asks twice, or reads a line from standard input.
async fn password(context: &Context, matches: &ArgMatches, name: &str) -> Result<String, crate::exit::Exit> {
    if !matches.get_flag("interactive") {
        let mut line = String::new();
        let read = BufReader::new(tokio::io::stdin()).read_line(&mut line).await;
        read.map_err(|error| bad_args(format!("failed to read the password: {error}")))?;
        // As etcdctl, which reads a word.
        return Ok(line.split_whitespace().next().unwrap_or_default().to_owned());
    }
    let first = context.password(&format!("Password of {name}: ")).await?;
    if first.is_empty() {
        return Err(bad_args("empty password"));
    }
    let second = context.password(&format!("Type password of {name} again for confirmation: ")).await?;
    if first == second { Ok(first) } else { Err(bad_args("given passwords are different")) }
}
