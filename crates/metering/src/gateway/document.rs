//! The gateway's operations in the OpenAPI document. Bodies are the provider's and described there; what is described here is what the gateway adds:
//! who may call, its headers, and its own errors in the shape of the API that was called.

use serde_json::{Map, Value, json};

use super::api::{Api, Operation};

/// The name of the schema of an API's errors.
const fn error_schema(api: Api) -> &'static str {
    match api {
        Api::OpenAi => "OpenAiError",
        Api::Anthropic => "AnthropicError",
    }
}

/// Its paths, for the `paths` of a document.
#[must_use]
pub fn paths() -> Map<String, Value> {
    let routes =
        Operation::ALL.into_iter().flat_map(|operation| operation.paths().iter().map(move |path| (operation, path)));
    routes
        .map(|(operation, path)| {
            let method = if operation.is_read() { "get" } else { "post" };
            (path.replace("{*id}", "{id}"), json!({ method: described(operation, path) }))
        })
        .collect()
}

/// The schemas of its errors, for the `schemas` of a document.
#[must_use]
pub fn schemas() -> Map<String, Value> {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let details = json!({
        "type": "object", "additionalProperties": true,
        "description": "What the error has beside its text, such as `limit`, `used` and `resets_at` of a budget; left out where there is nothing.",
    });
    let open_ai = json!({
        "type": "object",
        "description": "An error of the gateway in the shape of OpenAI's, whose client makes its own exception of it.",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": text("What happened this time."),
                "type": text("The API's word for errors of the status."),
                "param": { "type": "null" },
                "code": text("The stable name of the error."),
                "details": details,
            },
        } },
        "example": { "error": {
            "message": "no account of the provider `openai` is active", "type": "invalid_request_error", "param": null, "code": "no_provider_account",
        } },
    });
    let anthropic = json!({
        "type": "object",
        "description": "An error of the gateway in the shape of Anthropic's, whose client makes its own exception of it.",
        "required": ["type", "error"],
        "properties": {
            "type": { "type": "string", "enum": ["error"] },
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {
                    "type": text("The API's word for errors of the status."),
                    "message": text("The stable name of the error, a colon, and what happened this time."),
                    "details": details,
                },
            },
            "request_id": { "type": ["string", "null"], "description": "Finds the request in the server's log." },
        },
        "example": {
            "type": "error",
            "error": { "type": "invalid_request_error", "message": "no_provider_account: no account of the provider `anthropic` is active" },
            "request_id": "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b42",
        },
    });
    [(error_schema(Api::OpenAi), open_ai), (error_schema(Api::Anthropic), anthropic)]
        .map(|(name, schema)| (name.to_owned(), schema))
        .into_iter()
        .collect()
}

fn described(operation: Operation, path: &str) -> Value {
    let (id, summary, request, answer) = words(operation, path.ends_with("{*id}"));
    let mut parameters = headers();
    if path.ends_with("{*id}") {
        parameters.push(json!({
            "name": "id", "in": "path", "required": true, "description": "the model, as the provider names it", "schema": { "type": "string" },
        }));
    }
    let mut described = json!({
        "tags": ["gateway"],
        "summary": summary,
        "description": "Passed on to the company's account at the provider and recorded. Body and answer are the provider's, byte for byte.",
        "operationId": id,
        "parameters": parameters,
        "responses": responses(operation, path.ends_with("{*id}"), &answer),
    });
    if !operation.is_read() {
        described["requestBody"] = json!({
            "required": true,
            "description": "what the provider's API asks for",
            "content": { "application/json": { "schema": { "type": "object" }, "example": request } },
        });
    }
    described
}

/// Id, title, and what is sent and answered, for example.
fn words(operation: Operation, one: bool) -> (&'static str, &'static str, Value, Value) {
    let question = json!([{ "role": "user", "content": "What is the weather like in Bern?" }]);
    let model = |id: &str| json!({ "id": id, "object": "model", "created": 1_721_172_741, "owned_by": "system" });
    let claude = || json!({ "type": "model", "id": "claude-sonnet-4-5", "display_name": "Claude Sonnet 4.5", "created_at": "2025-09-29T00:00:00Z" });
    match operation {
        Operation::ChatCompletions => (
            "openai_chat_completions",
            "Asks for a chat completion, whole or as a stream.",
            json!({ "model": "gpt-4o-mini", "messages": question, "max_completion_tokens": 200 }),
            json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1_793_430_000, "model": "gpt-4o-mini",
                "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Sunny." }, "finish_reason": "stop" }],
                "usage": { "prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 16 },
            }),
        ),
        Operation::Responses => (
            "openai_responses",
            "Asks for a response, whole or as a stream. `background` is refused: nobody could say what it cost.",
            json!({ "model": "gpt-4o-mini", "input": "What is the weather like in Bern?", "max_output_tokens": 200 }),
            json!({
                "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-4o-mini",
                "output": [{ "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Sunny." }] }],
                "usage": { "input_tokens": 14, "output_tokens": 2, "total_tokens": 16 },
            }),
        ),
        Operation::Embeddings => (
            "openai_embeddings",
            "Asks for embeddings.",
            json!({ "model": "text-embedding-3-small", "input": "Ridgeline tents" }),
            json!({
                "object": "list", "model": "text-embedding-3-small", "data": [{ "object": "embedding", "index": 0, "embedding": [0.0123, -0.0456] }],
                "usage": { "prompt_tokens": 3, "total_tokens": 3 },
            }),
        ),
        Operation::Models if one => {
            ("openai_model", "Reads a model of the provider.", Value::Null, model("gpt-4o-mini"))
        }
        Operation::Models => (
            "openai_models",
            "Lists the provider's models.",
            Value::Null,
            json!({ "object": "list", "data": [model("gpt-4o-mini")] }),
        ),
        Operation::Messages => (
            "anthropic_messages",
            "Asks for a message, whole or as a stream.",
            json!({ "model": "claude-sonnet-4-5", "max_tokens": 200, "messages": question }),
            json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
                "content": [{ "type": "text", "text": "Sunny." }], "stop_reason": "end_turn", "stop_sequence": null,
                "usage": { "input_tokens": 14, "output_tokens": 2 },
            }),
        ),
        Operation::CountTokens => (
            "anthropic_count_tokens",
            "Counts what a message would read. It is free.",
            json!({ "model": "claude-sonnet-4-5", "messages": question }),
            json!({ "input_tokens": 14 }),
        ),
        Operation::AnthropicModels if one => {
            ("anthropic_model", "Reads a model of the provider.", Value::Null, claude())
        }
        Operation::AnthropicModels => (
            "anthropic_models",
            "Lists the provider's models.",
            Value::Null,
            json!({ "data": [claude()], "has_more": false, "first_id": "claude-sonnet-4-5", "last_id": "claude-sonnet-4-5" }),
        ),
    }
}

/// The headers that tie a call to what it is for.
fn headers() -> Vec<Value> {
    let id = json!({ "type": "string", "format": "uuid" });
    let text = json!({ "type": "string", "minLength": 1, "maxLength": 200 });
    [
        ("X-Tenantry-Agent", &id, "the agent that it is for"),
        ("X-Tenantry-Session", &id, "the session that it is a part of"),
        ("X-Tenantry-Task", &id, "the task that it is for"),
        ("X-Tenantry-Task-Type", &text, "what kind of work it is for, in the company's words"),
        ("X-Tenantry-Reference", &text, "what the caller calls it"),
        ("X-Tenantry-Operation", &text, "groups the attempts of one operation; `Idempotency-Key` does without it"),
        ("X-Tenantry-Account", &text, "id or name of the account; the oldest active one of the provider unless given"),
        (
            "X-Tenantry-Retry",
            &json!({ "type": "integer", "minimum": 0, "maximum": 5 }),
            "how often to repeat a call that has cost nothing",
        ),
    ]
    .map(|(name, schema, description)| {
        json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema })
    })
    .to_vec()
}

fn responses(operation: Operation, one: bool, answer: &Value) -> Value {
    let text = json!({ "type": "string" });
    let mut content = json!({ "application/json": { "schema": { "type": "object" }, "example": answer } });
    if operation.flavour().is_some_and(|_| operation != Operation::Embeddings) {
        let event = match operation.api() {
            Api::OpenAi => "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Sunny.\"}}]}\n\ndata: [DONE]\n\n",
            Api::Anthropic => "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        };
        content["text/event-stream"] = json!({ "schema": text, "example": event });
    }
    let mut responses = json!({
        "200": {
            "description": "the provider's answer",
            "headers": {
                "X-Tenantry-Call-Id": { "description": "the call's id in `GET /v1/provider-calls`", "schema": { "type": "string", "format": "uuid" } },
                "X-Tenantry-Cost-Usd": { "description": "what it cost, where the answer comes in one piece and has a price", "schema": text },
            },
            "content": content,
        },
        "default": { "description": "an error of the provider, as it is", "content": { "application/json": {
            "schema": { "type": "object" }, "example": { "error": { "message": "…" } },
        } } },
    });
    let mut errors = vec![
        ("400", "the call is not what the gateway passes on, or the request names no tenant"),
        ("401", "no credential, or not a valid one"),
        ("403", "the tenant is unknown, inactive or not the credential's, or the permission is missing"),
        ("422", "there is no account to call with, or the call is for what does not exist"),
        ("429", "too many requests of the tenant or key, or too many failed credentials of the address"),
        ("500", "a defect of the server"),
        ("502", "the provider cannot be reached, or its answer is not taken"),
        ("503", "the call was not made: the server has no room for it, cannot meter it, or cannot read what it needs"),
        ("504", "the provider did not answer in time"),
    ];
    if !operation.is_read() {
        errors.push(("402", "a hard budget has not enough left, with `X-Should-Retry: false`"));
        errors.push(("413", "the body is larger than the gateway accepts"));
    }
    if one {
        errors.push(("404", "what the path names would lead elsewhere at the provider"));
    }
    let schema = format!("#/components/schemas/{}", error_schema(operation.api()));
    for (status, description) in errors {
        responses[status] =
            json!({ "description": description, "content": { "application/json": { "schema": { "$ref": schema } } } });
    }
    responses
}
