//! A tenant's published events as server-sent events (the `text/event-stream` of the HTML standard).
//!
//! A stream waits without a connection to the database; when it is told of news, or after a while, it reads the tenant's table
//! like any other request. Several times a second it asks whether the request would still be let in, and ends when not.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;
use serde::Deserialize;
use tenantry_postgres::{
    DbError, EventBatch, EventFilter, Principal, PublishedEvent, Subscription, TenantContext, TenantDb,
};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::admission::Admission;
use crate::codes;
use crate::permissions::Permissions;
use crate::problem::Problem;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Events read at once.
const BATCH: i64 = 100;
/// How often a stream asks whether it may go on: with the time for which the registry's cache is believed, below a second.
const CHECK: Duration = Duration::from_millis(150);
/// While nothing is heard to have changed, it asks less often: only time can end a right then.
const CHECK_TIME: Duration = Duration::from_millis(750);
/// Reads of one stream have at least this distance, so that a flood of events is read in few of them.
const DISTANCE: Duration = Duration::from_millis(20);
/// The pause after a read that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// What clients are told to wait before they connect anew.
const RECONNECT: Duration = Duration::from_secs(2);

/// Where a stream begins and what it tells.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Begin after the event with this id; 0 is the first that is kept. `Last-Event-ID` comes before it. Without either, only what
    /// happens from now on is told.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// Only these types, with commas between: `task.updated`, or `agent.*` for all that begin so. At most 50.
    #[param(
        min_length = 1,
        max_length = 2000,
        pattern = r"^(\*|[a-z_]{1,40}(\.[a-z_]{1,40})?(\.\*)?)(,(\*|[a-z_]{1,40}(\.[a-z_]{1,40})?(\.\*)?)){0,49}$",
        example = "agent.*,task.updated"
    )]
    types: Option<String>,
}

/// One event of the stream, as a client of server-sent events has it.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what the stream holds")]
pub struct ServerSentEvent {
    /// The type, such as `task.updated`; also `reset` and `end`.
    #[schema(example = "task.updated")]
    event: Option<String>,
    /// The id to come back with: a whole number.
    #[schema(example = "42")]
    id: Option<String>,
    /// A JSON object. Of an event its `id`, `type`, `created_at` and `data`, the record; of `reset` the id of the `newest` event; of `end` the
    /// `reason`.
    #[schema(example = r#"{"id":42,"type":"task.updated","created_at":"2026-03-01T09:30:00Z","data":{"version":4}}"#)]
    data: Option<String>,
}

impl EventQuery {
    fn filter(&self) -> Result<EventFilter, Problem> {
        let Some(types) = &self.types else { return Ok(EventFilter::default()) };
        EventFilter::parse(types).ok_or_else(|| {
            invalid(
                "types",
                "must be types of events with commas between, such as `task.updated` or `agent.*`, at most 50",
            )
        })
    }

    fn place(&self, headers: &HeaderMap) -> Result<Option<i64>, Problem> {
        let wrong = "must be the id of an event, a whole number from 0";
        if self.after.is_some_and(|id| id < 0) {
            return Err(invalid("after", wrong));
        }
        // a client that has seen nothing sends an empty one
        let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(self.after) };
        let id = value.to_str().ok().and_then(|text| text.trim().parse().ok()).filter(|id: &i64| *id >= 0);
        id.map(Some).ok_or_else(|| invalid("Last-Event-ID", wrong))
    }
}

fn invalid(parameter: &str, detail: &str) -> Problem {
    Problem::of(&codes::INVALID_QUERY).parameter(parameter, detail).detail(format!("`{parameter}` {detail}"))
}

/// Answers with the events of the request's tenant, for as long as the request would be let in. Events of a resource that the
/// caller may not read are left out: those of `agents` are called `agent.…`.
///
/// # Errors
/// `invalid_query`, `too_many_streams`, and what reading the events can end in.
pub async fn event_stream(
    admission: Admission,
    context: TenantContext,
    headers: &HeaderMap,
    query: &EventQuery,
    table: Permissions,
) -> Result<Response, Problem> {
    let (wanted, place) = (query.filter()?, query.place(headers)?);
    let db = admission.tenancy.db().clone();
    let places = db.events().subscribe(&context).map_err(|full| {
        Problem::of(&codes::TOO_MANY_STREAMS).detail(full.to_string()).with("limit", full.limit).retry_after(RECONNECT)
    })?;
    let filter = readable(&wanted, table, context.principal());
    let first = db.events_after(&context, place, &filter, BATCH).await?;
    let now = Instant::now();
    let config = db.events().config();
    let mut stream = Stream {
        told: if first.gap { first.position } else { place.unwrap_or(first.position) },
        position: first.position,
        ends: now + config.max_age,
        beat: now + config.heartbeat,
        read: now + config.poll,
        looked: now,
        checked: now,
        renewed: now,
        changes: None,
        queue: VecDeque::new(),
        ended: false,
        places,
        filter,
        wanted,
        table,
        context,
        db,
        admission,
    };
    let hello = Event::default().retry(RECONNECT).comment("events").id(stream.told.to_string());
    stream.queue.push_back(hello);
    stream.take(first);
    let events = unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    let mut response = Sse::new(events).into_response();
    // proxies that collect answers before they pass them on would hold events back
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// What is wanted, without what the caller may not read.
fn readable(wanted: &EventFilter, table: Permissions, principal: &Principal) -> EventFilter {
    let hidden = table.resources.iter().filter(|resource| !table.allow(principal, resource.read));
    hidden.fold(wanted.clone(), |filter, resource| {
        let segment = resource.segment.replace('-', "_");
        filter.without(segment.strip_suffix('s').unwrap_or(&segment))
    })
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Shutdown,
    MaxAge,
    /// The request would not be let in any more; the code says why.
    Refused(&'static str),
}

impl End {
    fn reason(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::MaxAge => "max_age",
            Self::Refused(code) => code,
        }
    }
}

struct Stream {
    admission: Admission,
    db: TenantDb,
    context: TenantContext,
    table: Permissions,
    wanted: EventFilter,
    filter: EventFilter,
    places: Subscription,
    queue: VecDeque<Event>,
    /// Everything up to this event was read.
    position: i64,
    /// The id that the client was sent last.
    told: i64,
    ends: Instant,
    /// When to show that the stream lives.
    beat: Instant,
    /// When to read without being told of news.
    read: Instant,
    /// When it was read last.
    looked: Instant,
    checked: Instant,
    renewed: Instant,
    changes: Option<u64>,
    ended: bool,
}

impl Stream {
    /// The next event, or the end. What waits to be sent when the right to it is gone is not sent.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.ended {
                return self.queue.pop_front();
            }
            if let Some(end) = self.must_end().await {
                self.end(end);
                continue;
            }
            if let Some(event) = self.queue.pop_front() {
                self.beat = Instant::now() + self.db.events().config().heartbeat;
                return Some(event);
            }
            if let Some(beat) = self.wait().await {
                return Some(beat);
            }
        }
    }

    /// Waits for news, for the time to look, or for the next check; gives a sign of life where one is due.
    async fn wait(&mut self) -> Option<Event> {
        let check = self.checked + CHECK;
        let until = check.min(self.read).min(self.beat).min(self.ends);
        tokio::select! {
            biased;
            () = self.places.news() => {
                self.read = self.read.min(self.looked + DISTANCE);
            }
            () = tokio::time::sleep_until(until) => {}
        }
        let now = Instant::now();
        if self.read <= now {
            self.look().await;
        }
        if self.queue.is_empty() && self.beat <= now {
            self.beat = now + self.db.events().config().heartbeat;
            return Some(self.sign_of_life());
        }
        None
    }

    /// Tells the place as well, which moves on by events that the client did not want.
    fn sign_of_life(&mut self) -> Event {
        let beat = Event::default().comment("");
        if self.position == self.told {
            return beat;
        }
        self.told = self.position;
        beat.id(self.told.to_string())
    }

    async fn look(&mut self) {
        self.places.seen();
        let found = self.db.events_after(&self.context, Some(self.position), &self.filter, BATCH).await;
        let pause = match found {
            Ok(batch) => {
                let more = batch.more;
                self.take(batch);
                if more { Duration::ZERO } else { self.db.events().config().poll }
            }
            Err(DbError::ContextExpired) => return self.end(End::Refused(codes::TENANT_INACTIVE.code)),
            Err(error) => {
                tracing::debug!(%error, tenant = self.context.slug().as_str(), "a stream could not read events and tries again");
                AGAIN
            }
        };
        self.looked = Instant::now();
        self.read = self.looked + pause;
    }

    fn take(&mut self, batch: EventBatch) {
        if batch.gap {
            let data = serde_json::json!({ "newest": batch.position });
            let reset = Event::default().event("reset").id(batch.position.to_string()).data(data.to_string());
            self.queue.push_back(reset);
            self.told = batch.position;
        }
        if batch.more {
            self.read = Instant::now();
        }
        for event in &batch.events {
            self.told = event.id;
            self.queue.extend(sent(event));
        }
        self.position = batch.position;
    }

    async fn must_end(&mut self) -> Option<End> {
        if self.places.is_closed() {
            return Some(End::Shutdown);
        }
        let now = Instant::now();
        if now < self.checked + CHECK {
            return None;
        }
        self.checked = now;
        if now >= self.ends {
            return Some(End::MaxAge);
        }
        let changes = self.admission.tenancy.registry().changes();
        if changes.is_some() && changes == self.changes && now < self.renewed + CHECK_TIME {
            return None;
        }
        match self.admission.renew(self.table).await {
            Ok(context) => {
                self.filter = readable(&self.wanted, self.table, context.principal());
                self.context = context;
                self.renewed = now;
                self.changes = changes;
                None
            }
            Err(problem) => Some(End::Refused(problem.code())),
        }
    }

    fn end(&mut self, end: End) {
        self.ended = true;
        self.queue.clear();
        let data = serde_json::json!({ "reason": end.reason() });
        self.queue.push_back(Event::default().event("end").data(data.to_string()));
    }
}

/// A record of ours is always JSON, which holds no line break.
fn sent(event: &PublishedEvent) -> Option<Event> {
    let data = serde_json::to_string(event).ok()?;
    Some(Event::default().event(&event.kind).id(event.id.to_string()).data(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(after: Option<i64>, header: Option<&'static str>) -> Result<Option<i64>, &'static str> {
        let headers = header.map(|value| (LAST_EVENT_ID, HeaderValue::from_static(value)));
        let query = EventQuery { after, types: None };
        query.place(&headers.into_iter().collect()).map_err(|problem| problem.code())
    }

    #[test]
    fn the_last_event_id_comes_before_the_query() {
        assert_eq!(place(None, None), Ok(None));
        assert_eq!(place(Some(3), None), Ok(Some(3)));
        assert_eq!(place(Some(3), Some("7")), Ok(Some(7)));
        assert_eq!(place(Some(3), Some("")), Ok(Some(3)));
        for bad in ["x", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(place(None, Some(bad)), Err("invalid_query"), "{bad}");
        }
        assert_eq!(place(Some(-1), None), Err("invalid_query"));
    }
}
