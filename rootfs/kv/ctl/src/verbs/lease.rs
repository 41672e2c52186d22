//! `lease grant|revoke|timetolive|list|keep-alive`.

use super::{bad_args, integer};
use crate::Done;
use crate::context::{Context, arguments, text};
use crate::exit::{BAD_CONNECTION, ERROR, Exit};
use crate::globals::Format;
use clap::ArgMatches;
use kv_client::Error;

pub(super) async fn run(context: &Context, verb: &str, matches: &ArgMatches) -> Done {
    let args = arguments(matches);
    let only = |needs: &str| match &args[..] {
        [one] => Ok(text(one)),
        _ => Err(bad_args(needs)),
    };
    let id = |needs: &str| {
        let bad = |why| bad_args(format!("bad lease ID arg ({why}), expecting ID in Hex"));
        integer(&only(needs)?, 16).map_err(bad)
    };
    let failed = |doing: &'static str| {
        move |error: Error| {
            let exit = Exit::from(error);
            Exit { text: exit.text.map(|text| format!("failed to {doing} lease ({text})")), ..exit }
        }
    };
    let connection = |error: Error| Exit { code: BAD_CONNECTION, ..Exit::of(ERROR, &error) };
    match verb {
        "grant" => {
            let ttl = only("lease grant command needs TTL argument")?;
            let ttl = integer(&ttl, 10).map_err(|why| bad_args(format!("bad TTL ({why})")))?;
            context.show_grant(&context.client().await?.grant(ttl, 0).await.map_err(failed("grant"))?)
        }
        "revoke" => {
            let id = id("lease revoke command needs 1 argument")?;
            context.show_revoke(id, &context.client().await?.revoke(id).await.map_err(failed("revoke"))?)
        }
        "timetolive" => {
            let id = id("lease timetolive command needs lease ID as argument")?;
            let keys = matches.get_flag("keys");
            let answer = context.client().await?.time_to_live(id, keys).await.map_err(connection)?;
            context.show_time_to_live(&answer, keys)
        }
        "list" => context.show_leases(&context.client().await?.leases().await.map_err(connection)?),
        _ => {
            let id = id("lease keep-alive command needs lease ID as argument")?;
            let client = context.client().await?;
            // Also at first, so that a lease that is not there shows at once.
            let once = match client.keep_alive_once(id).await {
                Err(Error::Refused(_)) if !matches.get_flag("once") => return expired(context, id),
                other => other.map_err(connection)?,
            };
            context.show_keep_alive(&once)?;
            if matches.get_flag("once") {
                return Ok(());
            }
            let mut keeper = client.keep_alive(id, once.ttl);
            // The task's first answer comes at once, and has just been shown.
            let mut first = true;
            while let Some(answer) = keeper.answer().await {
                if !std::mem::take(&mut first) {
                    context.show_keep_alive(&answer)?;
                }
            }
            expired(context, id)
        }
    }
}

fn expired(context: &Context, id: i64) -> Done {
    if context.format() == Format::Simple {
        context.say(&format!("lease {id:016x} expired or revoked."))?;
    }
    Ok(())
}
