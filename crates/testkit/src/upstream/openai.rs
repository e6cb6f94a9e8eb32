use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::before;
use super::log::Log;
use super::plan::{Plan, Tokens};
use super::reply::{event, events, whole};

const CREATED: u64 = 1_764_000_000;

/// An error of the API.
pub(super) fn error(status: u16, kind: &str, code: Option<&str>, message: &str) -> Response {
    let body = json!({ "error": { "message": message, "type": kind, "param": null, "code": code } });
    let mut response = Json(body).into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    if status == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
    }
    response
}

/// What was planned, unless the request ends before a model runs.
async fn plan(log: &Log, headers: &HeaderMap, body: &[u8]) -> Result<(Value, Plan), Response> {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return Err(error(400, "invalid_request_error", None, "We could not parse the JSON body of your request."));
    };
    let plan = Plan::of(&request, body.len());
    let asked = request["model"].as_str().unwrap_or_default();
    if let Some(status) = plan.error {
        let kind = if status >= 500 { "server_error" } else { "invalid_request_error" };
        return Err(error(status, kind, Some("asked_for"), &format!("the error {status} was asked for")));
    }
    if plan.busy > 0 && log.is_busy(asked, plan.busy) {
        return Err(error(429, "requests", Some("rate_limit_exceeded"), "Rate limit reached"));
    }
    log.run(headers, asked, &plan);
    match before(&plan).await {
        Ok(()) => Ok((request, plan)),
        Err(cut) => {
            Err(axum::body::Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(cut)])).into_response())
        }
    }
}

fn chat_usage(tokens: &Tokens) -> Value {
    json!({
        "prompt_tokens": tokens.input, "completion_tokens": tokens.output, "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": { "cached_tokens": tokens.cache_read, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": tokens.reasoning, "audio_tokens": 0, "detail_of_tomorrow": 1 },
    })
}

pub(super) async fn chat(State(log): State<Arc<Log>>, headers: HeaderMap, body: Bytes) -> Response {
    let (request, plan) = match plan(&log, &headers, &body).await {
        Ok(planned) => planned,
        Err(response) => return response,
    };
    let id = log.name("chatcmpl-");
    if request["stream"] == json!(true) {
        return events(&plan, chat_events(&id, &request, &plan));
    }
    let message = if plan.tools {
        json!({ "role": "assistant", "content": null, "tool_calls": [{
            "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "{\"city\":\"Bern\"}" },
        }] })
    } else {
        json!({ "role": "assistant", "content": plan.words().concat(), "refusal": null })
    };
    let finish = if plan.tools { "tool_calls" } else { "stop" };
    let mut answer = json!({
        "id": id, "object": "chat.completion", "created": CREATED, "model": plan.model, "service_tier": "default",
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish }],
        "field_of_tomorrow": { "kept": 1.50 },
    });
    if plan.counts {
        answer["usage"] = chat_usage(&plan.tokens);
    }
    whole(&plan, &answer)
}

fn chat_events(id: &str, request: &Value, plan: &Plan) -> Vec<String> {
    let wanted = plan.counts && request["stream_options"]["include_usage"] == json!(true);
    let chunk = |delta: &Value, finish: Option<&str>| {
        let mut chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": CREATED, "model": plan.model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }], "obfuscation": "xY7",
        });
        if wanted {
            chunk["usage"] = Value::Null;
        }
        event(None, &chunk.to_string())
    };
    let mut all = vec![": a comment\n\n".to_owned(), chunk(&json!({ "role": "assistant", "content": "" }), None)];
    if plan.tools {
        let call = |function: Value| json!({ "tool_calls": [{ "index": 0, "function": function }] });
        all.push(chunk(
            &json!({ "tool_calls": [{ "index": 0, "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": "" } }] }),
            None,
        ));
        for part in ["{\"city\"", ":\"Bern\"}"] {
            all.push(chunk(&call(json!({ "arguments": part })), None));
        }
    } else {
        all.extend(plan.words().iter().map(|word| chunk(&json!({ "content": word }), None)));
    }
    if plan.failing {
        all.push(event(
            None,
            &json!({ "error": { "message": "it broke", "type": "server_error", "param": null, "code": null } })
                .to_string(),
        ));
        return all;
    }
    all.push(chunk(&json!({}), Some(if plan.tools { "tool_calls" } else { "stop" })));
    if wanted {
        let counts = json!({
            "id": id, "object": "chat.completion.chunk", "created": CREATED, "model": plan.model, "choices": [],
            "usage": chat_usage(&plan.tokens),
        });
        all.push(event(None, &counts.to_string()));
    }
    all.push(event(None, "[DONE]"));
    all
}

pub(super) async fn responses(State(log): State<Arc<Log>>, headers: HeaderMap, body: Bytes) -> Response {
    let (request, plan) = match plan(&log, &headers, &body).await {
        Ok(planned) => planned,
        Err(response) => return response,
    };
    let id = log.name("resp_");
    let response = |status: &str, done: bool| {
        let item = json!({
            "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{ "type": "output_text", "text": plan.words().concat(), "annotations": [] }],
        });
        let tokens = &plan.tokens;
        let usage = json!({
            "input_tokens": tokens.input, "input_tokens_details": { "cached_tokens": tokens.cache_read },
            "output_tokens": tokens.output, "output_tokens_details": { "reasoning_tokens": tokens.reasoning },
            "total_tokens": tokens.input + tokens.output,
        });
        json!({
            "id": id, "object": "response", "created_at": CREATED, "status": status, "model": plan.model, "error": null,
            "incomplete_details": null, "instructions": null, "metadata": {}, "parallel_tool_calls": true, "tools": [],
            "tool_choice": "auto", "temperature": 1.0, "top_p": 1.0, "service_tier": "default",
            "output": if done { json!([item]) } else { json!([]) }, "usage": if done { usage } else { Value::Null },
        })
    };
    if request["stream"] != json!(true) {
        return whole(&plan, &response("completed", true));
    }
    let mut number = 0;
    let mut numbered = |kind: &str, mut data: Value| {
        data["type"] = json!(kind);
        data["sequence_number"] = json!(number);
        number += 1;
        event(Some(kind), &data.to_string())
    };
    let mut all = vec![numbered("response.created", json!({ "response": response("in_progress", false) }))];
    for word in plan.words() {
        let delta = json!({ "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": word, "logprobs": [] });
        all.push(numbered("response.output_text.delta", delta));
    }
    all.push(numbered("response.completed", json!({ "response": response("completed", true) })));
    events(&plan, all)
}

pub(super) async fn embeddings(State(log): State<Arc<Log>>, headers: HeaderMap, body: Bytes) -> Response {
    let (request, plan) = match plan(&log, &headers, &body).await {
        Ok(planned) => planned,
        Err(response) => return response,
    };
    let vector = [0.25_f32, -1.5, 3.0];
    let embedding = if request["encoding_format"] == json!("base64") {
        json!(STANDARD.encode(vector.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>()))
    } else {
        json!(vector)
    };
    let answer = json!({
        "object": "list", "model": plan.model, "data": [{ "object": "embedding", "index": 0, "embedding": embedding }],
        "usage": { "prompt_tokens": plan.tokens.input, "total_tokens": plan.tokens.input },
    });
    whole(&plan, &answer)
}

fn known(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "somebody" })
}

pub(super) async fn models() -> Json<Value> {
    Json(json!({ "object": "list", "data": [known("gpt-4o-mini"), known("gpt-5")] }))
}

pub(super) async fn model(Path(id): Path<String>) -> Json<Value> {
    Json(known(&id))
}
