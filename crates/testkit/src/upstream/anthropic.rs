use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::before;
use super::log::Log;
use super::plan::{Plan, Tokens};
use super::reply::{event, events, whole};

/// An error of the API.
pub(super) fn error(status: u16, kind: &str, message: &str) -> Response {
    let body = json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_x" });
    let mut response = Json(body).into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    response
}

const fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// The counts as the API writes them: what was read from the cache stands beside the input.
fn usage(tokens: &Tokens, output: u64) -> Value {
    json!({
        "input_tokens": tokens.input - tokens.cache_read, "cache_read_input_tokens": tokens.cache_read,
        "cache_creation_input_tokens": 0, "output_tokens": output, "service_tier": "standard",
    })
}

pub(super) async fn messages(State(log): State<Arc<Log>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return error(400, "invalid_request_error", "the body is not JSON");
    };
    if !headers.contains_key("anthropic-version") {
        return error(400, "invalid_request_error", "anthropic-version: header is required");
    }
    let plan = Plan::of(&request, body.len());
    let asked = request["model"].as_str().unwrap_or_default();
    if let Some(status) = plan.error {
        return error(status, kind(status), &format!("the error {status} was asked for"));
    }
    if plan.busy > 0 && log.is_busy(asked, plan.busy) {
        return error(529, kind(529), "Overloaded");
    }
    log.run(&headers, asked, &plan);
    if let Err(cut) = before(&plan).await {
        return axum::body::Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(cut)])).into_response();
    }
    let id = log.name("msg_");
    if request["stream"] == json!(true) {
        return events(&plan, message_events(&id, &plan));
    }
    let (content, reason) = if plan.tools {
        (json!([{ "type": "tool_use", "id": "toolu_1", "name": "weather", "input": { "city": "Bern" } }]), "tool_use")
    } else {
        (json!([{ "type": "text", "text": plan.words().concat() }]), "end_turn")
    };
    let mut answer = json!({
        "id": id, "type": "message", "role": "assistant", "model": plan.model, "content": content,
        "stop_reason": reason, "stop_sequence": null, "field_of_tomorrow": { "kept": 1.50 },
    });
    if plan.counts {
        answer["usage"] = usage(&plan.tokens, plan.tokens.output);
    }
    whole(&plan, &answer)
}

fn message_events(id: &str, plan: &Plan) -> Vec<String> {
    let named = |data: Value| event(data["type"].as_str(), &data.to_string());
    let start = json!({ "type": "message_start", "message": {
        "id": id, "type": "message", "role": "assistant", "model": plan.model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage(&plan.tokens, 1),
    } });
    let block = if plan.tools {
        json!({ "type": "tool_use", "id": "toolu_1", "name": "weather", "input": {} })
    } else {
        json!({ "type": "text", "text": "" })
    };
    let mut all = vec![
        named(start),
        named(json!({ "type": "content_block_start", "index": 0, "content_block": block })),
        named(json!({ "type": "ping" })),
    ];
    let delta = |delta: Value| named(json!({ "type": "content_block_delta", "index": 0, "delta": delta }));
    if plan.tools {
        for part in ["{\"city\"", ": \"Bern\"}"] {
            all.push(delta(json!({ "type": "input_json_delta", "partial_json": part })));
        }
    } else {
        all.extend(plan.words().into_iter().map(|word| delta(json!({ "type": "text_delta", "text": word }))));
    }
    if plan.failing {
        all.push(named(json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } })));
        return all;
    }
    let reason = if plan.tools { "tool_use" } else { "end_turn" };
    all.push(named(json!({ "type": "content_block_stop", "index": 0 })));
    all.push(named(json!({
        "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null },
        "usage": { "output_tokens": plan.tokens.output },
    })));
    all.push(named(json!({ "type": "message_stop" })));
    all
}

pub(super) async fn count_tokens(body: Bytes) -> Json<Value> {
    Json(json!({ "input_tokens": body.len() / 4 + 1 }))
}

fn known(id: &str) -> Value {
    json!({ "type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z" })
}

pub(super) async fn models() -> Json<Value> {
    let all = [known("claude-sonnet-4-5"), known("claude-haiku-4-5")];
    Json(json!({ "data": all, "has_more": false, "first_id": "claude-sonnet-4-5", "last_id": "claude-haiku-4-5" }))
}

pub(super) async fn model(Path(id): Path<String>) -> Json<Value> {
    Json(known(&id))
}
