//! The document says everything of everything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::codes::CODES;
use super::document;
use crate::AppState;

/// A place within the document, followed where it only refers.
fn at<'d>(document: &'d Value, part: &'d Value) -> &'d Value {
    match part["$ref"].as_str().and_then(|reference| document.pointer(reference.strip_prefix('#')?)) {
        Some(place) => at(document, place),
        None => part,
    }
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push((format!("{method} {path}"), operation));
        }
    }
    assert!(found.len() > 140, "{}", found.len());
    found
}

/// The document is put together from those of the planes, and of two schemas with one name it would keep the first.
#[test]
fn no_two_planes_mean_different_things_by_one_name() {
    let parts = [
        workforce::router::<AppState>(),
        tenantry_control::router::<AppState>(),
        tenantry_control::webhooks::<AppState>(),
        metering::api::router::<AppState>(),
        metering::operators::router::<AppState>(),
        super::super::public(),
    ];
    let mut known: BTreeMap<String, Value> = metering::gateway::document::schemas().into_iter().collect();
    let mut twice = Vec::new();
    for part in parts {
        let (_, api) = part.split_for_parts();
        for (name, schema) in api.components.unwrap_or_default().schemas {
            let schema = json!(schema);
            if known.entry(name.clone()).or_insert_with(|| schema.clone()) != &schema {
                twice.push(name);
            }
        }
    }
    assert!(twice.is_empty(), "two schemas have one name: {twice:?}");
}

#[test]
fn every_error_of_every_operation_has_its_codes() {
    let document = document();
    for (operation, described) in operations(&document) {
        for (status, response) in described["responses"].as_object().unwrap() {
            let response = at(&document, response);
            let ours = response["content"].as_object().is_some_and(|content| {
                content.contains_key("application/problem+json") || operation.contains(" /llm/")
            });
            let codes = response[CODES].as_array().map_or(0, Vec::len);
            if ours && status.starts_with(['4', '5']) {
                assert!(codes > 0, "{operation}: {status} has no code");
            } else {
                assert_eq!(codes, 0, "{operation}: {status} is no error of ours");
            }
        }
    }
}

#[test]
fn every_body_has_a_whole_example_that_fits_its_schema() {
    let document = document();
    let mut faults = Vec::new();
    for (operation, described) in operations(&document) {
        let answers =
            described["responses"].as_object().unwrap().iter().map(|(status, answer)| (status.as_str(), answer));
        for (place, holder) in answers.chain(described.get("requestBody").map(|body| ("the request", body))) {
            for (kind, content) in at(&document, holder)["content"].as_object().into_iter().flatten() {
                let schema = at(&document, &content["schema"]);
                match content.get("example").or_else(|| schema.get("example")).or_else(|| schema["examples"].get(0)) {
                    Some(example) => fits(&document, example, schema, &format!("{operation}, {place}"), &mut faults),
                    None => faults.push(format!("{operation}, {place}: {kind} has no example")),
                }
            }
        }
    }
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
}

/// `fields` names the members that rows have, so that none is forgotten or made up.
#[test]
fn a_list_in_part_knows_all_members_of_its_rows() {
    let document = document();
    let mut lists = 0;
    for (operation, described) in operations(&document) {
        let mut parameters = described["parameters"].as_array().into_iter().flatten();
        let Some(fields) = parameters.find(|parameter| parameter["name"] == "fields") else { continue };
        let names = fields["schema"]["items"]["enum"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let page = at(&document, &described["responses"]["200"]["content"]["application/json"]["schema"]);
        let row = at(&document, &page["properties"]["data"]["items"]);
        let members: BTreeSet<&str> = row["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names.collect::<BTreeSet<_>>(), members, "{operation}");
        lists += 1;
    }
    assert!(lists > 12, "{lists}");
}

/// What JSON Schema asks for by `type`, `enum`, `required`, `properties`, `items`, `allOf` and `oneOf`.
fn fits(document: &Value, example: &Value, schema: &Value, place: &str, faults: &mut Vec<String>) {
    let schema = at(document, schema);
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let kind = match example {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |expected: &&str| *expected == kind || (*expected == "number" && kind == "integer");
    if !kinds.is_empty() && !kinds.iter().any(is) {
        faults.push(format!("{place}: `{example}` is no {kinds:?}"));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(example)) {
        faults.push(format!("{place}: `{example}` is none of {}", schema["enum"]));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fits(document, example, part, place, faults);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = |choice: &&Value| {
            let mut found = Vec::new();
            fits(document, example, choice, place, &mut found);
            found.is_empty()
        };
        if !choices.iter().any(|choice| fitting(&choice)) {
            faults.push(format!("{place}: `{example}` fits no choice"));
        }
    }
    if let Some(members) = example.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                faults.push(format!("{place}: `{name}` is missing"));
            }
        }
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(example) = members.get(name) {
                fits(document, example, member, &format!("{place}, `{name}`"), faults);
            }
        }
    }
    for item in example.as_array().into_iter().flatten() {
        fits(document, item, &schema["items"], place, faults);
    }
}
