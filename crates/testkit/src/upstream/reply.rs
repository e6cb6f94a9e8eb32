//! How an answer leaves: whole, or as a stream of events.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use super::broken;
use super::plan::Plan;

/// An answer in one piece. Its members are in the order in which they are written here, with a number that a careless proxy would change.
pub(super) fn whole(plan: &Plan, body: &Value) -> Response {
    let text = format!("{body}\n");
    let body = match plan.cut {
        Some(_) => broken(text.into()),
        None => Body::from(text),
    };
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An event: its name, if it has one, and its data.
pub(super) fn event(name: Option<&str>, data: &str) -> String {
    match name {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    }
}

/// A stream of events.
pub(super) fn events(plan: &Plan, mut events: Vec<String>) -> Response {
    let cut = plan.cut.map(|at| events.drain(at.min(events.len())..).count()).is_some();
    let mut pieces: Vec<std::io::Result<Bytes>> = if plan.odd {
        odd(events.concat().as_bytes())
    } else {
        events.into_iter().map(|event| Ok(event.into())).collect()
    };
    if cut {
        pieces.push(Err(std::io::Error::other("cut")));
    }
    let pace = plan.pace;
    let stream = stream::iter(pieces).then(move |piece| async move {
        match pace {
            Some(pace) => tokio::time::sleep(pace).await,
            // Each piece leaves by itself.
            None => tokio::task::yield_now().await,
        }
        piece
    });
    let mut response = Body::from_stream(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    response
}

/// Pieces that end in the middle of lines, of words and of characters.
fn odd(mut bytes: &[u8]) -> Vec<std::io::Result<Bytes>> {
    let mut pieces = Vec::new();
    for size in [1, 7, 23, 3, 11, 64, 2].into_iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(size));
        pieces.push(Ok(Bytes::copy_from_slice(piece)));
        bytes = rest;
    }
    pieces
}
