use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::header::ACCEPT;
use reqwest::{Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::call::refused;
use crate::sse::{Block, Parser};
use crate::{Client, Error};

const PATH: &str = "/v1/events";
/// The server shows every few seconds that the stream lives; a stream silent for this long is taken for lost.
const SILENCE: Duration = Duration::from_secs(60);

/// What the stream of events tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something happened.
    Published(Published),
    /// Events that were not seen are gone: read everything anew. Events after the one with this id follow.
    Reset {
        /// The newest event.
        newest: i64,
    },
}

/// Something that happened in the company.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Published {
    /// Its id; a later event has a higher one.
    pub id: i64,
    /// What happened, such as `task.updated`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// The record as it was then; of a deleted one its id and version.
    pub data: Value,
}

impl Published {
    /// The record.
    ///
    /// # Errors
    /// When it is of another kind.
    pub fn record<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.data)
    }
}

/// A stream of events to be opened.
#[derive(Debug)]
#[must_use = "a stream is opened by `stream`"]
pub struct Events {
    client: Client,
    after: Option<i64>,
    types: Vec<String>,
}

impl Client {
    /// What happens in the company, from now on.
    pub fn events(&self) -> Events {
        Events { client: self.clone(), after: None, types: Vec::new() }
    }
}

impl Events {
    /// Begins after the event with this id; 0 is the first that is kept.
    pub const fn after(mut self, id: i64) -> Self {
        self.after = Some(id);
        self
    }

    /// Only these types, such as `task.updated` or `agent.*`.
    pub fn types<I: Into<String>>(mut self, types: impl IntoIterator<Item = I>) -> Self {
        self.types = types.into_iter().map(Into::into).collect();
        self
    }

    /// The events, each once and in order. A connection that is lost, or that the server ends for its own reasons, is made anew where it
    /// broke off, as often as [`Retry`](crate::Retry) allows without an event in between. The stream ends after its first error.
    pub fn stream(self) -> impl Stream<Item = Result<Event, Error>> + Send + Unpin + 'static {
        let mut parser = Parser::default();
        parser.last_id = self.after.map(|id| id.to_string());
        let state = State { events: self, parser, response: None, ready: Vec::new(), failures: 0, over: false };
        stream::unfold(state, |mut state| async move {
            if state.over {
                return None;
            }
            let next = state.next().await;
            state.over = next.is_err();
            Some((next, state))
        })
        .boxed()
    }
}

struct State {
    events: Events,
    parser: Parser,
    response: Option<Response>,
    /// Events that have arrived, the next one last.
    ready: Vec<Block>,
    failures: u32,
    over: bool,
}

impl State {
    async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(block) = self.ready.pop() {
                if let Some(event) = self.read(&block)? {
                    self.failures = 0;
                    return Ok(event);
                }
                continue;
            }
            if let Err(error) = self.receive().await {
                self.response = None;
                let retry = self.events.client.inner.retry;
                let pause = retry.pause(&error, true, self.failures, rand::random()).ok_or(error)?;
                self.failures += 1;
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Gets the next events, over a new connection where there is none.
    async fn receive(&mut self) -> Result<(), Error> {
        let lost = |source: reqwest::Error| Error::Transport {
            method: Method::GET,
            path: PATH.to_owned(),
            source: source.without_url(),
        };
        let response = match &mut self.response {
            Some(response) => response,
            none => {
                self.parser.restart();
                none.insert(connect(&self.events, self.parser.last_id.as_deref()).await?)
            }
        };
        match tokio::time::timeout(SILENCE, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                self.ready = self.parser.take(&chunk);
                self.ready.reverse();
            }
            Ok(Err(error)) => return Err(lost(error)),
            // ended or silent: come back at the place that was reached
            Ok(Ok(None)) | Err(_) => self.reconnect().await,
        }
        Ok(())
    }

    async fn reconnect(&mut self) {
        self.response = None;
        tokio::time::sleep(Duration::from_millis(self.parser.retry.unwrap_or(1000))).await;
    }

    fn read(&mut self, block: &Block) -> Result<Option<Event>, Error> {
        #[derive(Deserialize)]
        struct End {
            reason: String,
        }
        #[derive(Deserialize)]
        struct Reset {
            newest: i64,
        }
        let event = match block.event.as_str() {
            "end" => match parse::<End>(block)?.reason.as_str() {
                "shutdown" | "max_age" => None,
                refused => return Err(Error::Ended(refused.to_owned())),
            },
            "reset" => Some(Event::Reset { newest: parse::<Reset>(block)?.newest }),
            _ => Some(Event::Published(parse(block)?)),
        };
        Ok(event)
    }
}

async fn connect(events: &Events, last_id: Option<&str>) -> Result<Response, Error> {
    let types = (!events.types.is_empty()).then(|| ("types".into(), events.types.join(",")));
    let url = events.client.url(PATH, types.as_slice());
    let mut request = events.client.inner.http.get(url).header(ACCEPT, "text/event-stream");
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    let limit = events.client.inner.timeout;
    let sent = tokio::time::timeout(limit, request.send()).await;
    let sent = sent.map_err(|_| Error::Silence(limit))?;
    let response = sent.map_err(|source| Error::Transport {
        method: Method::GET,
        path: PATH.to_owned(),
        source: source.without_url(),
    })?;
    if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
}

fn parse<T: DeserializeOwned>(block: &Block) -> Result<T, Error> {
    serde_json::from_str(&block.data).map_err(|source| Error::Answer {
        method: Method::GET,
        path: PATH.to_owned(),
        source,
    })
}
