//! `lock` and `elect`, by the way of etcd's own clients: they and ours wait for each other.

use super::bad_args;
use crate::Done;
use crate::context::{Context, arguments, os, text};
use crate::exit::{ERROR, Exit};
use crate::print::answers::Get;
use clap::ArgMatches;
use kv_client::api::etcdserverpb::{RangeRequest, RangeResponse};
use kv_client::{Client, Session};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Time of an election's session in seconds (etcd `concurrency.defaultSessionTTL`).
const ELECTION_TTL_S: i64 = 60;

/// Ends in order at either.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Exit> {
        let failed = |error: std::io::Error| Exit::new(ERROR, format!("cannot wait for signals: {error}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate()).map_err(failed)? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ends a session; the first failure counts.
async fn close(session: Session, done: Done) -> Done {
    let closed = session.close().await;
    done.and_then(|()| Ok(closed?))
}

async fn show_key(context: &Context, client: &Client, key: &str, lost: &str) -> Done {
    let request = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let answer = client.range(request).await?;
    if answer.kvs.is_empty() {
        return Err(Exit::new(ERROR, lost));
    }
    context.show_get(&answer, Get::default())
}

pub(super) async fn lock(context: &Context, matches: &ArgMatches) -> Done {
    let args = arguments(matches);
    let Some((name, command)) = args.split_first() else {
        return Err(bad_args("lock takes a lock name argument and an optional command to execute"));
    };
    let name = text(name);
    let client = context.client().await?;
    let mut signals = Signals::new()?;
    let session = Session::open(client, matches.get_one::<i64>("ttl").copied().unwrap_or(10)).await?;
    let done = tokio::select! {
        done = held(context, client, &session, &name, command) => done,
        () = signals.wait() => Ok(()),
        () = session.lost() => Err(Exit::new(ERROR, "session expired")),
    };
    close(session, done).await
}

/// Holds it until the command ends, or, without one, for ever.
async fn held(
    context: &Context,
    client: &Client,
    session: &Session,
    name: &str,
    command: &[bytes::Bytes],
) -> Done {
    let lock = session.lock(name).await?;
    let Some((program, args)) = command.split_first() else {
        show_key(context, client, &lock.key, "lock lost on init").await?;
        return std::future::pending().await;
    };
    let status = tokio::process::Command::new(os(program))
        .args(args.iter().map(|arg| os(arg)))
        .env("ETCD_LOCK_KEY", &lock.key)
        .env("ETCD_LOCK_REV", lock.header.revision.to_string())
        .kill_on_drop(true)
        .status()
        .await;
    lock.unlock().await?;
    match status {
        Ok(status) if status.success() => Ok(()),
        // etcdctl says it as Go does; its own code is 1 in any case.
        Ok(status) => match status.code() {
            Some(code) => Err(Exit::new(ERROR, format!("exit status {code}"))),
            None => Err(Exit::new(ERROR, status.to_string())),
        },
        Err(error) => Err(Exit::new(ERROR, format!("{}: {error}", text(program)))),
    }
}

pub(super) async fn elect(context: &Context, matches: &ArgMatches) -> Done {
    let args = arguments(matches);
    let listen = matches.get_flag("listen");
    let mut signals = Signals::new()?;
    match &args[..] {
        [_] if !listen => Err(bad_args("no proposal argument but -l not set")),
        [_, _] if listen => Err(bad_args("proposal given but -l is set")),
        [name] => {
            let mut observer = context.client().await?.observe(&text(name));
            let follow = async {
                loop {
                    let (header, kv) = observer.next().await?;
                    let answer = RangeResponse { header: Some(header), kvs: vec![kv], ..Default::default() };
                    context.show_get(&answer, Get::default())?;
                }
            };
            tokio::select! {
                done = follow => done,
                () = signals.wait() => Ok(()),
            }
        }
        [name, value] => {
            let client = context.client().await?;
            let session = Session::open(client, ELECTION_TTL_S).await?;
            let (name, value) = (text(name), value.clone());
            let lead = async {
                let leadership = session.campaign(&name, value).await?;
                show_key(context, client, &leadership.key, "elect: session expired").await?;
                std::future::pending().await
            };
            let done = tokio::select! {
                done = lead => done,
                () = signals.wait() => Ok(()),
                () = session.lost() => Err(Exit::new(ERROR, "elect: session expired")),
            };
            close(session, done).await
        }
        _ => Err(bad_args("elect takes one election name argument and an optional proposal argument")),
    }
}
