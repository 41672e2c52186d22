//! Streams: JSON values one after the other into messages, and messages into lines of JSON. Each
//! holds one message at a time, so a client that does not read stops the stream, and nothing grows.

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use kv_api::gateway::{self, Method};
use kv_api::json;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Status, Streaming};

use super::misread;

/// The messages in a body, and why there are no more, if that is the body's fault.
pub fn messages(
    body: Body,
    method: Method,
    limit: usize,
) -> (impl Stream<Item = Bytes> + Send + 'static, oneshot::Receiver<Status>) {
    let (send, messages) = mpsc::channel(1);
    let (tell, broken) = oneshot::channel();
    tokio::spawn(async move {
        let read = async {
            let mut text = body.into_data_stream();
            let mut arrived = BytesMut::new();
            while let Some(message) = next(&mut text, &mut arrived, &method, limit).await? {
                if send.send(message).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let gone = send.closed();
        let result = tokio::select! {
            result = read => result,
            () = gone => Ok(()),
        };
        if let Err(status) = result {
            // Nobody may be listening any more.
            let _ = tell.send(status);
        }
    });
    (ReceiverStream::new(messages), broken)
}

async fn next(
    text: &mut BodyDataStream,
    arrived: &mut BytesMut,
    method: &Method,
    limit: usize,
) -> Result<Option<Bytes>, Status> {
    loop {
        if let Some(value) = json::next(arrived).map_err(misread)? {
            return method.request(&value).map(Some).map_err(misread);
        }
        if arrived.len() > limit {
            return Err(kv_api::Fault::RequestTooLarge.into());
        }
        match text.next().await {
            Some(Ok(chunk)) => arrived.extend_from_slice(&chunk),
            Some(Err(error)) => return Err(Status::cancelled(error.to_string())),
            None if arrived.is_empty() => return Ok(None),
            None => return Err(Status::invalid_argument("unexpected EOF")),
        }
    }
}

/// The answers as lines, and a last one for the reason if it ends with an error.
pub fn lines(answers: Streaming<Bytes>, method: Method, broken: Option<oneshot::Receiver<Status>>) -> Body {
    let (send, lines) = mpsc::channel::<Result<Vec<u8>, std::convert::Infallible>>(1);
    tokio::spawn(async move {
        let status = tokio::select! {
            result = forward(answers, &method, &send) => result.err(),
            // Without a reason the requests have ended as they may.
            status = reason(broken) => Some(status),
            () = send.closed() => None,
        };
        if let Some(status) = status {
            let _ = send.send(Ok(gateway::streamed_error(&status))).await;
        }
    });
    Body::from_stream(ReceiverStream::new(lines))
}

async fn forward(
    mut answers: Streaming<Bytes>,
    method: &Method,
    send: &mpsc::Sender<Result<Vec<u8>, std::convert::Infallible>>,
) -> Result<(), Status> {
    while let Some(answer) = answers.message().await? {
        let line = method.answer(&answer).map_err(misread)?;
        if send.send(Ok(line)).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn reason(broken: Option<oneshot::Receiver<Status>>) -> Status {
    match broken {
        Some(broken) => match broken.await {
            Ok(status) => status,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
