//! `get`, `put`, `del`, `compaction`.

use super::{bad_args, integer};
use crate::Done;
use crate::context::{Context, arguments, text};
use crate::exit::{BAD_FEATURE, ERROR, Exit};
use crate::globals::Format;
use crate::print::answers::Get;
use bytes::Bytes;
use clap::ArgMatches;
use kv_client::api::etcdserverpb as pb;
use kv_client::api::etcdserverpb::range_request::{SortOrder, SortTarget};
use kv_client::{Keys, prefix_end};
use tokio::io::AsyncReadExt as _;

pub(super) async fn get(context: &Context, matches: &ArgMatches) -> Done {
    let request = get_request(matches)?;
    let how = Get { value_only: matches.get_flag("print-value-only") };
    if how.value_only && context.format() != Format::Simple {
        return Err(bad_args("print-value-only is only for `--write-out=simple`"));
    }
    if request.count_only && context.format() != Format::Fields {
        return Err(bad_args("--count-only is only for `--write-out=fields`"));
    }
    let answer = context.client().await?.range(request).await?;
    context.show_get(&answer, how)
}

pub(super) async fn put(context: &Context, matches: &ArgMatches) -> Done {
    let mut request = put_request(matches)?;
    if request.1 {
        let mut value = Vec::new();
        let read = tokio::io::stdin().read_to_end(&mut value).await;
        if read.is_err() || value.is_empty() {
            return Err(bad_args(PUT_NEEDS));
        }
        request.0.value = value.into();
    }
    let answer = context.client().await?.put(request.0).await?;
    context.show_put(&answer)
}

pub(super) async fn del(context: &Context, matches: &ArgMatches) -> Done {
    let answer = context.client().await?.delete(del_request(matches)?).await?;
    context.show_del(&answer)
}

pub(super) async fn compaction(context: &Context, matches: &ArgMatches) -> Done {
    let args = arguments(matches);
    let [revision] = &args[..] else { return Err(bad_args("compaction command needs 1 argument")) };
    let revision = integer(&text(revision), 10).map_err(|why| Exit::new(ERROR, why))?;
    let request = pb::CompactionRequest { revision, physical: matches.get_flag("physical") };
    context.client().await?.compact(request).await?;
    context.say(&format!("compacted revision {revision}"))
}

const PUT_NEEDS: &str = "put command needs 1 argument and input from stdin or 2 arguments";
const CHOOSE_ONE: &str = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
const TOO_MANY: &str = "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";

/// The keys that arguments and `--prefix` or `--from-key` mean.
fn keys(args: &[Bytes], matches: &ArgMatches) -> Result<Keys, Exit> {
    let (prefix, from) = (matches.get_flag("prefix"), matches.get_flag("from-key"));
    if prefix && from {
        return Err(bad_args(CHOOSE_ONE));
    }
    let key = args.first().cloned().unwrap_or_default();
    match args.get(1) {
        Some(_) if prefix || from => Err(bad_args(TOO_MANY)),
        Some(end) => Ok(Keys::range(key, end.clone())),
        None if prefix => Ok(Keys::prefix(key)),
        None if from => Ok(Keys::from(key)),
        None => Ok(Keys::one(key)),
    }
}

/// What a `get` asks for.
pub(crate) fn get_request(matches: &ArgMatches) -> Result<pb::RangeRequest, Exit> {
    let args = arguments(matches);
    if args.is_empty() {
        return Err(bad_args("get command needs one argument as key and an optional argument as range_end"));
    }
    let bad = |text: String| Exit::new(BAD_FEATURE, text);
    let word = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let number = |name: &str| matches.get_one::<i64>(name).copied().unwrap_or_default();
    let keys = keys(&args, matches)?;
    let serializable = match word("consistency").as_str() {
        "s" => true,
        "l" => false,
        other => return Err(bad(format!("unknown consistency flag {other:?}"))),
    };
    let order = match word("order").to_uppercase().as_str() {
        "" => SortOrder::None,
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        _ => return Err(bad(format!("bad sort order {}", word("order")))),
    };
    let target = match word("sort-by").to_uppercase().as_str() {
        "" | "KEY" => SortTarget::Key,
        "CREATE" => SortTarget::Create,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(bad(format!("bad sort target {}", word("sort-by")))),
    };
    // As etcd's client: by key ascending is what comes anyway.
    let order = if (target, order) == (SortTarget::Key, SortOrder::Ascend) { SortOrder::None } else { order };
    if matches.get_flag("keys-only") && matches.get_flag("count-only") {
        return Err(bad_args("`--keys-only` and `--count-only` cannot be set at the same time, choose one"));
    }
    Ok(pb::RangeRequest {
        key: keys.key,
        range_end: keys.range_end,
        limit: number("limit"),
        revision: number("rev").max(0),
        sort_order: order.into(),
        sort_target: target.into(),
        serializable,
        keys_only: matches.get_flag("keys-only"),
        count_only: matches.get_flag("count-only"),
        min_mod_revision: number("min-mod-rev"),
        max_mod_revision: number("max-mod-rev"),
        min_create_revision: number("min-create-rev"),
        max_create_revision: number("max-create-rev"),
    })
}

/// What a `put` asks for, and whether its value is to be read from standard input.
pub(crate) fn put_request(matches: &ArgMatches) -> Result<(pb::PutRequest, bool), Exit> {
    let mut args = arguments(matches).into_iter();
    let key = args.next().ok_or_else(|| bad_args(PUT_NEEDS))?;
    let value = args.next();
    let ignore_value = matches.get_flag("ignore-value");
    if ignore_value && value.is_some() {
        return Err(bad_args("put command needs only 1 argument when 'ignore-value' is set"));
    }
    let lease = matches.get_one::<String>("lease").map_or("0", String::as_str);
    let lease =
        integer(lease, 16).map_err(|why| bad_args(format!("bad lease ID ({why}), expecting ID in Hex")))?;
    let from_input = value.is_none() && !ignore_value;
    let request = pb::PutRequest {
        key,
        value: value.unwrap_or_default(),
        lease,
        prev_kv: matches.get_flag("prev-kv"),
        ignore_value,
        ignore_lease: matches.get_flag("ignore-lease"),
    };
    Ok((request, from_input))
}

/// What a `del` asks for.
pub(crate) fn del_request(matches: &ArgMatches) -> Result<pb::DeleteRangeRequest, Exit> {
    let args = arguments(matches);
    if args.is_empty() || args.len() > 2 {
        return Err(bad_args("del command needs one argument as key and an optional argument as range_end"));
    }
    if matches.get_flag("range")
        && (args.len() != 2 || matches.get_flag("prefix") || matches.get_flag("from-key"))
    {
        return Err(bad_args(
            "`--range` needs <key> and <range_end>, and neither `--prefix` nor `--from-key`",
        ));
    }
    let keys = keys(&args, matches)?;
    Ok(pb::DeleteRangeRequest {
        key: keys.key,
        range_end: keys.range_end,
        prev_kv: matches.get_flag("prev-kv"),
    })
}

/// The range of keys of a permission: `--prefix` and `--from-key` of an empty key mean all.
pub(crate) fn permission_keys(args: &[Bytes], matches: &ArgMatches) -> Result<Keys, Exit> {
    let (prefix, from) = (matches.get_flag("prefix"), matches.get_flag("from-key"));
    let flag = |name| bad_args(format!("unexpected endkey argument with --{name} flag"));
    if prefix && from && args.len() == 1 {
        return Err(bad_args("--from-key and --prefix flags are mutually exclusive"));
    }
    let key = args.first().cloned().unwrap_or_default();
    if key.is_empty() {
        let range_end = if prefix || from { Bytes::from_static(b"\0") } else { Bytes::new() };
        return Ok(Keys::range(Bytes::from_static(b"\0"), range_end));
    }
    match args.get(1) {
        Some(_) if prefix => Err(flag("prefix")),
        Some(_) if from => Err(flag("from-key")),
        Some(end) => Ok(Keys::range(key, end.clone())),
        None if prefix => Ok(Keys::range(key.clone(), prefix_end(&key))),
        None if from => Ok(Keys::from(key)),
        None => Ok(Keys::one(key)),
    }
}
