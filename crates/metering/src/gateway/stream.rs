//! A stream, passed on as it comes.

use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;

use super::run::{Head, Open, Run, milliseconds};
use super::watch::Watch;
use crate::call::Finish;
use crate::usage::{Flavour, Reading, StreamReader, UsageChunkFilter};

/// Pieces that a slow client may be behind; then the provider is not read either.
const BEHIND: usize = 32;

type Pieces = mpsc::Sender<std::io::Result<Bytes>>;

/// A stream that is read along until the call is settled.
struct Along {
    open: Open,
    reader: StreamReader,
}

impl Run {
    /// Passes a stream on. The end that the stream itself announces is withheld until the call is settled.
    pub(super) async fn stream(&self, open: Open, mut from: reqwest::Response, watch: &mut Watch, head: &mut Head) {
        let (pieces, mut taken) = mpsc::channel(BEHIND);
        let mut answer = Response::new(Body::from_stream(poll_fn(move |cx| taken.poll_recv(cx))));
        *answer.status_mut() = from.status();
        *answer.headers_mut() = self.client_headers(from.headers(), open.row.id, None);
        head.answer(Ok(answer));

        let reader = StreamReader::new(self.operation.flavour().unwrap_or(Flavour::OpenAiChat));
        let mut along = Some(Along { open, reader });
        let mut filter = self.ask.is_edited().then(UsageChunkFilter::default);
        let idle = self.gateway.inner.settings.idle_timeout;
        let finish = loop {
            let settled = along.is_none();
            let next = async {
                tokio::select! {
                    biased;
                    piece = from.chunk() => Some(piece),
                    // Nothing more has to be known, and nobody wants to.
                    () = pieces.closed(), if settled => None,
                }
            };
            let piece = match watch.until(idle, next, pieces.closed()).await {
                Ok(Some(Ok(Some(piece)))) => piece,
                Ok(Some(Ok(None))) => break None,
                Ok(Some(Err(_))) => break Some(Finish::Cut),
                Ok(None) => return,
                Err(ended) => break Some(ended.into()),
            };
            if let Some(Along { open, reader }) = &mut along {
                reader.feed(&piece);
                if open.row.time_to_first_token_ms.is_none() && reader.first_token_seen() {
                    open.row.time_to_first_token_ms = Some(milliseconds(Instant::now() - open.started));
                }
                if reader.finished()
                    && let Some(along) = along.take()
                {
                    self.settle_stream(along, watch.is_left() || pieces.is_closed(), None).await;
                }
            }
            if watch.is_left() {
                // It is read for what it costs.
                if along.is_none() {
                    return;
                }
                continue;
            }
            let piece = match &mut filter {
                Some(filter) => filter.feed(&piece),
                None => piece,
            };
            if !piece.is_empty()
                && let Err(ended) = watch.give(idle, pieces.send(Ok(piece))).await
            {
                break Some(ended.into());
            }
        };
        if let Some(along) = along.take() {
            self.settle_stream(along, watch.is_left(), finish).await;
        }
        end(&pieces, filter, finish).await;
    }

    async fn settle_stream(&self, along: Along, left: bool, finish: Option<Finish>) {
        let reading = along.reader.finish();
        let finish = finish.unwrap_or_else(|| finish_of(&reading, left));
        self.settle(along.open, reading, finish).await;
    }
}

/// How a stream ended that was read to its end.
fn finish_of(reading: &Reading, left: bool) -> Finish {
    if left {
        Finish::Cancelled
    } else if reading.error.is_some() {
        Finish::Error
    } else if reading.finished || reading.source == crate::call::UsageSource::Reported {
        Finish::Complete
    } else {
        Finish::Cut
    }
}

/// The last of a stream: what was held back, and where it was cut off a cut for the client too, which must not take it for whole.
async fn end(pieces: &Pieces, filter: Option<UsageChunkFilter>, finish: Option<Finish>) {
    if let Some(rest) = filter.map(UsageChunkFilter::finish)
        && !rest.is_empty()
    {
        drop(pieces.send(Ok(rest)).await);
    }
    if finish.is_some() {
        let cut = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the provider's stream was cut off");
        drop(pieces.send(Err(cut)).await);
    }
}
