use axum::http::HeaderMap;
use axum::response::Response;
use tenantry_http::respond::Common;
use tenantry_http::{
    Admission, ApiQuery, EventQuery, Problem, ProblemBody, ServerSentEvent, TenantScope, event_stream,
};

use crate::PERMISSIONS;

/// Streams what happens in the company, as server-sent events.
///
/// Each event has an `id`, its type as `event`, and as `data` a JSON object with `id`, `type`, `created_at` and `data`, the record as it was
/// then (of a deleted one its id and version). Types are `<resource>.<what happened>`, such as `agent.created`, `task.updated`,
/// `task.deleted`; new ones may appear. Events of resources that the credential may not read are left out.
///
/// A client that comes back with the last id it has seen, as `Last-Event-ID` or `after`, gets everything since, once and in
/// order, from whichever server it is on. Events are kept for a day. When some that it has not seen are gone, the first event is
/// `reset`: read everything anew; events after that one follow. A comment every few seconds shows that the stream lives.
///
/// The last event is `end` with a `reason`: `shutdown` and `max_age` ask to connect anew; anything else is the code of the error that a
/// new request would get. A stream ends within a second when its credential is revoked or the company is suspended.
#[utoipa::path(
    get,
    path = "/v1/events",
    operation_id = "stream_events",
    tag = "events",
    params(
        EventQuery,
        ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "the id of the last event that the client has seen"),
    ),
    responses(
        Common,
        (status = 200, description = "the stream, event by event", body = ServerSentEvent, content_type = "text/event-stream"),
        (status = 429, description = "too many streams are open; see `Retry-After`", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn stream_events(
    TenantScope(context): TenantScope,
    admission: Admission,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<EventQuery>,
) -> Result<Response, Problem> {
    event_stream(admission, context, &headers, &query, PERMISSIONS).await
}
