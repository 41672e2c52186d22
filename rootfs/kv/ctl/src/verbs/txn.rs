//! `txn`: compares, then requests for both outcomes, a line each, with a blank line behind
//! each of the three.

use super::keys::{del_request, get_request, put_request};
use super::{bad_args, integer};
use crate::context::{Context, arguments};
use crate::exit::{Exit, INVALID_INPUT};
use crate::{Done, cli, go};
use clap::{ArgMatches, Command};
use kv_client::Repeat;
use kv_client::api::etcdserverpb as pb;
use kv_client::api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use kv_client::api::etcdserverpb::request_op::Request;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};

pub(super) async fn run(context: &Context, matches: &ArgMatches) -> Done {
    if !arguments(matches).is_empty() {
        return Err(bad_args("txn command does not accept argument"));
    }
    let asks = matches.get_flag("interactive");
    let prompt = |text: &str| if asks { context.say(text) } else { Ok(()) };
    let mut input = BufReader::new(tokio::io::stdin());
    prompt("compares:")?;
    let compare = lines(&mut input, compare).await?;
    prompt("success requests (get, put, del):")?;
    let success = lines(&mut input, operation).await?;
    prompt("failure requests (get, put, del):")?;
    let failure = lines(&mut input, operation).await?;
    let request = pb::TxnRequest { compare, success, failure };
    let answer = context.client().await?.txn(Repeat::IfNotApplied, request).await?;
    context.show_txn(&answer)
}

/// Lines up to a blank one, each read. A blank line must come, so that what was cut off is
/// not taken for the whole.
async fn lines<T>(
    input: &mut (impl AsyncBufRead + Unpin),
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Exit> {
    let invalid = |text: String| Exit::new(INVALID_INPUT, text);
    let mut all = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).await.map_err(|error| invalid(error.to_string()))?;
        if !line.ends_with('\n') {
            return Err(invalid("EOF".to_owned()));
        }
        match line.trim() {
            "" => return Ok(all),
            line => all.push(read(line).map_err(invalid)?),
        }
    }
}

fn operation(line: &str) -> Result<pb::RequestOp, String> {
    let invalid = || format!("invalid txn request: {line}");
    let words = go::words(line).ok_or_else(invalid)?;
    if words.len() < 2 {
        return Err(format!("invalid txn compare request: {line}"));
    }
    let command = Command::new("txn")
        .no_binary_name(true)
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([cli::get(), cli::put(), cli::del()]);
    let matches =
        command.try_get_matches_from(words.into_iter().map(OsString::from_vec)).map_err(|_| invalid())?;
    let request = match matches.subcommand() {
        Some(("get", verb)) => get_request(verb).map(Request::RequestRange),
        Some(("del", verb)) => del_request(verb).map(Request::RequestDeleteRange),
        Some(("put", verb)) => match put_request(verb) {
            // Standard input holds the transaction itself.
            Ok((_, true)) => return Err(invalid()),
            other => other.map(|(request, _)| Request::RequestPut(request)),
        },
        _ => return Err(invalid()),
    };
    let request = request.map_err(|exit| exit.text.unwrap_or_else(invalid))?;
    Ok(pb::RequestOp { request: Some(request) })
}

/// `mod("key") > "0"`, with `c[reate]`, `m[od]`, `ver[sion]`, `val[ue]` and `lease`, and the
/// operators `=`, `!=`, `>`, `<`.
fn compare(line: &str) -> Result<pb::Compare, String> {
    let malformed = || format!("malformed comparison: {line}");
    let (target, rest) = line.split_once('(').ok_or_else(malformed)?;
    let read = || {
        let (key, rest) = go::unquote(rest.trim_start())?;
        let rest = rest.strip_prefix(')')?.trim_start();
        let (operator, rest) = rest.split_once(char::is_whitespace)?;
        let (value, rest) = go::unquote(rest.trim_start())?;
        rest.trim().is_empty().then_some((key, operator, value))
    };
    let (key, operator, value) = read().ok_or_else(malformed)?;
    let result = match operator {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        other => return Err(format!("malformed comparison: {line} (unknown operator {other})")),
    };
    let number = |radix| {
        let text = String::from_utf8_lossy(&value);
        integer(&text, radix).map_err(|_| format!("invalid txn compare request: {line}"))
    };
    let (target, union) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        other => return Err(format!("malformed comparison: {line} (unknown target {other})")),
    };
    Ok(pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_are_read() {
        let read = compare(r#"mod("a b") > "12""#).unwrap();
        assert_eq!((&read.key[..], read.target_union), (&b"a b"[..], Some(TargetUnion::ModRevision(12))));
        assert_eq!(compare(r#"lease("k") = "1f""#).unwrap().target_union, Some(TargetUnion::Lease(31)));
        for bad in [
            "mod",
            "mod(a) > \"0\"",
            "mod(\"a\") ! \"0\"",
            "mod(\"a\") > \"x\"",
            "x(\"a\") > \"0\"",
            "mod(\"a\") >",
        ] {
            assert!(compare(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_are_read() {
        let read = operation(r#"put 'a' "b c" --lease=1f"#).unwrap().request;
        let Some(Request::RequestPut(put)) = read else { panic!("{read:?}") };
        assert_eq!((&put.value[..], put.lease), (&b"b c"[..], 31));
        for bad in ["put", "put a", "putt a b", "get a --nope", "del"] {
            assert!(operation(bad).is_err(), "{bad}");
        }
    }
}
