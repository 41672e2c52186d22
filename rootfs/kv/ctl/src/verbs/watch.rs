//! `watch`, from the command line or line by line, with a command for each event.

use super::bad_args;
use crate::context::{Context, arguments};
use crate::exit::{ERROR, Exit, INTERRUPTED, INVALID_INPUT, text};
use crate::{Done, cli, go};
use bytes::Bytes;
use clap::ArgMatches;
use kv_client::api::mvccpb::event::EventType;
use kv_client::{Batch, Error, Keys, Watch, Watcher};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::mpsc;

const ARGS: &str = "bad number of arguments";
const CONFLICT: &str = "bad number of arguments (found conflicting environment key)";
const NO_COMMAND: &str = "bad number of arguments (found separator --, but no commands)";

pub(super) async fn run(context: &Context, matches: &ArgMatches) -> Done {
    let (key, end) = (context.variable("ETCDCTL_WATCH_KEY"), context.variable("ETCDCTL_WATCH_RANGE_END"));
    if let (None, Some(end)) = (key, end) {
        let end = go::quote(end.as_bytes());
        return Err(bad_args(format!("ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={end}")));
    }
    if matches.get_flag("interactive") {
        return interactive(context).await;
    }
    let ends_bare = context.args.last().is_some_and(|last| last == "--");
    let (watch, command) = wanted(context, matches, ends_bare).map_err(bad_args)?;
    let mut watcher = context.client().await?.watch(watch);
    loop {
        match watcher.next().await {
            Ok(batch) => show(context, &batch, &command).await?,
            Err(error @ (Error::Compacted(_) | Error::WatchCancelled(_))) => {
                context.note(&format!("watch was canceled ({})", text(&error)));
                return Err(Exit::new(INTERRUPTED, "watch is canceled by the server"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

type Wanted = (Watch, Vec<OsString>);

/// What to watch, and the command for each event.
fn wanted(context: &Context, matches: &ArgMatches, ends_bare: bool) -> Result<Wanted, String> {
    let mut args = arguments(matches);
    let command: Vec<OsString> = matches.get_many("exec").into_iter().flatten().cloned().collect();
    if ends_bare && command.is_empty() {
        return Err(NO_COMMAND.to_owned());
    }
    if let Some(key) = context.variable("ETCDCTL_WATCH_KEY") {
        if !args.is_empty() {
            return Err(CONFLICT.to_owned());
        }
        let given = [Some(key), context.variable("ETCDCTL_WATCH_RANGE_END")];
        args = given.into_iter().flatten().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
    }
    let prefix = matches.get_flag("prefix");
    let keys = match &args[..] {
        [key] if prefix => Keys::prefix(key.clone()),
        [key] => Keys::one(key.clone()),
        [_, _] if prefix => return Err("`range_end` and `--prefix` are mutually exclusive".to_owned()),
        [key, end] => Keys::range(key.clone(), end.clone()),
        _ => return Err(ARGS.to_owned()),
    };
    let start_revision = matches.get_one::<i64>("rev").copied().unwrap_or(0);
    let watch = Watch { start_revision, prev_kv: matches.get_flag("prev-kv"), ..Watch::of(keys) };
    Ok((watch, command))
}

async fn show(context: &Context, batch: &Batch, command: &[OsString]) -> Done {
    if batch.events.is_empty() {
        context.say(&format!("progress notify: {}", batch.header.revision))?;
    }
    context.show_watch(batch)?;
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    for event in &batch.events {
        let kind = EventType::try_from(event.r#type).map_or("?", |kind| kind.as_str_name());
        let kv = event.kv.clone().unwrap_or_default();
        let status = tokio::process::Command::new(program)
            .args(args)
            .env("ETCD_WATCH_REVISION", batch.header.revision.to_string())
            .env("ETCD_WATCH_EVENT_TYPE", go::quote(kind.as_bytes()))
            .env("ETCD_WATCH_KEY", go::quote(&kv.key))
            .env("ETCD_WATCH_VALUE", go::quote(&kv.value))
            .status()
            .await;
        let why = match status {
            Ok(status) if status.success() => continue,
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let words: Vec<String> = command.iter().map(|word| go::quote(word.as_bytes())).collect();
        context.note(&format!("command [{}] error ({why})", words.join(" ")));
        return Err(Exit::silent(ERROR));
    }
    Ok(())
}

/// One watch of an interactive run: its task gives what comes, and takes requests for progress.
struct Running {
    progress: mpsc::Sender<()>,
}

type Given = (Result<Batch, Error>, Vec<OsString>);

async fn interactive(context: &Context) -> Done {
    let client = context.client().await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let (give, mut given) = mpsc::channel::<Given>(16);
    let mut running: Vec<Running> = Vec::new();
    loop {
        tokio::select! {
            Some((batch, command)) = given.recv() => match batch {
                Ok(batch) => show(context, &batch, &command).await?,
                Err(error) => context.note(&format!("watch was canceled ({})", text(&error))),
            },
            line = lines.next_line() => {
                let unread = |why: &str| Exit::new(INVALID_INPUT, format!("Error reading watch request line: {why}"));
                let line = line.map_err(|error| unread(&error.to_string()))?.ok_or_else(|| unread("EOF"))?;
                let words = go::words(&line).unwrap_or_default();
                match words.first().map(Vec::as_slice) {
                    Some(b"watch") => {
                        let args: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
                        let bare = args.last().is_some_and(|last| last == "--");
                        if args.len() < 2 && context.variable("ETCDCTL_WATCH_KEY").is_none() {
                            context.note(&format!("Invalid command {line} (command type or key is not provided)"));
                            continue;
                        }
                        let matches = match cli::watch().try_get_matches_from(args) {
                            Ok(matches) => matches,
                            Err(error) => return Err(bad_args(crate::exit::usage(&error).text.unwrap_or_default())),
                        };
                        let (watch, command) = wanted(context, &matches, bare).map_err(bad_args)?;
                        let mut watcher = client.watch(watch);
                        // Made before the next line is read, so that lines take effect in order.
                        if let Err(error) = watcher.ready().await {
                            context.note(&format!("watch was canceled ({})", text(&error)));
                            continue;
                        }
                        let (progress, asked) = mpsc::channel(4);
                        tokio::spawn(pump(watcher, command, asked, give.clone()));
                        running.push(Running { progress });
                    }
                    Some(b"progress") => {
                        running.retain(|one| !one.progress.is_closed());
                        for one in &running {
                            // One that has ended since is told apart at the next line.
                            let _ended = one.progress.send(()).await;
                        }
                    }
                    Some(_) => context.note(&format!("Invalid command {line} (only support watch)")),
                    None => context.note(&format!("Invalid command: {line} (watch and progress supported)")),
                }
            }
        }
    }
}

async fn pump(
    mut watcher: Watcher,
    command: Vec<OsString>,
    mut asked: mpsc::Receiver<()>,
    give: mpsc::Sender<Given>,
) {
    loop {
        let next = tokio::select! {
            next = watcher.next() => next,
            Some(()) = asked.recv() => {
                watcher.request_progress().await;
                continue;
            }
        };
        let ended = next.is_err();
        if give.send((next, command.clone())).await.is_err() || ended {
            return;
        }
    }
}
