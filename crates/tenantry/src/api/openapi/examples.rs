//! Whole examples of what is sent and answered. A schema that has none of its own gets one that is made of the examples of its members.

use serde_json::{Map, Value, json};

/// Types within types; none is deeper, and one that holds itself ends here.
const DEEPEST: usize = 12;

/// What texts without an example, words or a format of their own are like, by the names of their members.
const TEXTS: &[(&str, &str)] = &[
    ("account", "acct-1"),
    ("action", "agent.created"),
    ("actor", "key:3f2a8d0e6b41"),
    ("actor_kind", "api_key"),
    ("admin_email", "ops@acme.example"),
    ("approved_by", "key:3f2a8d0e6b41"),
    ("authorization_url", "https://provider.example/authorize?state=…"),
    ("body", "The container is at sea until the 19th."),
    ("catalogue", "2026-10"),
    ("check", "database"),
    ("client_ip", "203.0.113.7"),
    ("client_reference", "order-4711"),
    ("code", "agent_not_found"),
    ("cron_expression", "0 9 * * 1-5"),
    ("customer", "cus_4711"),
    ("description", "What it is for"),
    ("detail", "no live agent has the id `0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41`"),
    ("digest", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    ("directory", "/var/lib/tenantry/spool"),
    ("email", "mira@acme.example"),
    ("error", "Agent not found"),
    ("error_message", "the provider is overloaded"),
    ("event", "agent.created"),
    ("external_recipient", "ines@customer.example"),
    ("hint", "cap"),
    ("id", "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41"),
    ("imported_by", "tess"),
    ("instance", "/v1/agents/0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41"),
    ("key", "tnk_…"),
    ("kind", "user"),
    ("last_error", "the provider refuses the credential"),
    ("limit_name", "max_agents"),
    ("lookup", "abcdefghijkl"),
    ("message", "the plan allows 10 agents and there are 10"),
    ("model", "gpt-5"),
    ("month", "2026-10"),
    ("name", "support"),
    ("no_forecast_because", "too few days"),
    ("note", "prices of October"),
    ("operation", "chat.completions"),
    ("outcome", "applied"),
    ("owner_key", "tnk_…"),
    ("personality_prompt", "Helpful, brief, never promises a date."),
    ("plan_tier", "professional"),
    ("previous_digest", "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
    ("price_version", "2026-10-01"),
    ("provider", "openai"),
    ("provider_request_id", "req_4711"),
    ("quota_type", "agents"),
    ("reason", "ticket 4711"),
    ("request_id", "0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b42"),
    ("requested_model", "gpt-5"),
    ("role", "support"),
    ("schema_name", "tenant_acme"),
    ("scope", "tenant"),
    ("service", "https://api.service.example"),
    ("service_tier", "default"),
    ("shard", "main"),
    ("slug", "acme"),
    ("standing", "paid"),
    ("state", "…"),
    ("status", "ok"),
    ("stripe_customer_id", "cus_4711"),
    ("stripe_subscription_id", "sub_4711"),
    ("subject", "Ridgeline tents"),
    ("subscription", "sub_4711"),
    ("table", "agents"),
    ("target", "agents/0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41"),
    ("task_type", "support"),
    ("tenant", "acme"),
    ("tier", "professional"),
    ("time_zone", "Europe/Zurich"),
    ("title", "Answer ticket 4711"),
    ("to_model", "gpt-5-mini"),
    ("to_provider", "openai"),
    ("token", "tnk_…"),
    ("type", "https://tenantry.dev/errors/agent_not_found"),
    ("version", "1.0.0"),
    ("webhook_url", "https://hooks.acme.example/budgets"),
    ("what", "calls"),
];

/// Gives each schema that a body is made of an example, and a body without such a schema one beside it.
pub(super) fn complete(paths: &mut Map<String, Value>, schemas: &mut Map<String, Value>) {
    let mut named = Vec::new();
    for operation in paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        for content in bodies(operation) {
            match content["schema"]["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
                Some(name) => named.push(name.to_owned()),
                None if content.get("example").is_none() => {
                    if let Some(example) = of(schemas, &content["schema"], "", 0) {
                        content["example"] = example;
                    }
                }
                None => {}
            }
        }
    }
    for name in named {
        let Some(schema) = schemas.get(&name).filter(|schema| own(schema).is_none()) else { continue };
        if let Some(example) = of(schemas, schema, "", 0)
            && let Some(schema) = schemas.get_mut(&name)
        {
            schema["example"] = example;
        }
    }
}

/// What an operation reads and answers.
fn bodies(operation: &mut Value) -> Vec<&mut Value> {
    let Some(operation) = operation.as_object_mut() else { return Vec::new() };
    let mut holders = Vec::new();
    for (name, part) in operation {
        match name.as_str() {
            "requestBody" => holders.push(part),
            "responses" => holders.extend(part.as_object_mut().into_iter().flat_map(Map::values_mut)),
            _ => {}
        }
    }
    let contents = holders.into_iter().filter_map(|holder| holder.get_mut("content").and_then(Value::as_object_mut));
    contents.flat_map(Map::values_mut).collect()
}

/// The example that a schema brings along.
fn own(schema: &Value) -> Option<&Value> {
    let first = || schema["examples"].get(0);
    schema.get("example").or_else(first).or_else(|| schema.get("const")).or_else(|| schema["enum"].get(0))
}

/// An example of a schema, `name` being the member that it is of.
fn of(schemas: &Map<String, Value>, schema: &Value, name: &str, depth: usize) -> Option<Value> {
    if let Some(own) = own(schema) {
        return Some(own.clone());
    }
    if depth > DEEPEST {
        return None;
    }
    let inner = |schema: &Value| of(schemas, schema, name, depth + 1);
    if let Some(place) = schema["$ref"].as_str() {
        return inner(schemas.get(place.rsplit('/').next()?)?);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().filter_map(inner).filter_map(|part| match part {
            Value::Object(members) => Some(members),
            _ => None,
        });
        return Some(Value::Object(parts.flatten().collect()));
    }
    if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        return choices.iter().filter(|choice| choice["type"] != "null").find_map(inner);
    }
    // What may be anything is an object mostly.
    if schema.get("type").is_none() {
        return Some(json!({}));
    }
    let (kind, or_null) = match &schema["type"] {
        Value::Array(types) => (types.iter().find(|kind| *kind != "null")?, types.iter().any(|kind| *kind == "null")),
        one => (one, false),
    };
    let example = match kind.as_str()? {
        "object" => Some(object(schemas, schema, depth)),
        "array" => Some(Value::Array(inner(&schema["items"]).into_iter().collect())),
        "string" => text(schema, name).map(Value::from),
        "integer" => Some(schema.get("minimum").filter(|least| **least != 0).cloned().unwrap_or_else(|| json!(1))),
        "number" => Some(json!(0.5)),
        "boolean" => Some(json!(false)),
        _ => None,
    };
    // `null` is the end of a list, for one.
    example.or_else(|| or_null.then_some(Value::Null))
}

fn object(schemas: &Map<String, Value>, schema: &Value, depth: usize) -> Value {
    let mut members = Map::new();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(example) = of(schemas, member, name, depth + 1) {
            members.insert(name.clone(), example);
        }
    }
    if members.is_empty()
        && let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object())
        && let Some(example) = of(schemas, values, "", depth + 1)
    {
        members.insert("example".to_owned(), example);
    }
    Value::Object(members)
}

fn text(schema: &Value, name: &str) -> Option<&'static str> {
    match schema["format"].as_str() {
        Some("uuid") => Some("0197a3c2-7d3e-7b1a-9c55-3f2a8d0e6b41"),
        Some("date-time") => Some("2026-10-31T09:30:00Z"),
        Some("date") => Some("2026-10-31"),
        _ if name.ends_with("_usd") => Some("0.25"),
        _ => {
            let known = TEXTS.binary_search_by_key(&name, |(known, _)| known).ok()?;
            TEXTS.get(known).map(|(_, text)| *text)
        }
    }
}
