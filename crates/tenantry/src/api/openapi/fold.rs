//! What many operations answer alike is said once, below `components/responses`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::codes::CODES;

/// Puts a reference in the place of each error that more than one operation has in the same words.
pub(super) fn errors(paths: &mut Map<String, Value>) -> Map<String, Value> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    each_error(paths, |_, response| *seen.entry(response.to_string()).or_default() += 1);
    let (mut names, mut shared) = (BTreeMap::new(), Map::new());
    each_error(paths, |status, response| {
        let text = response.to_string();
        if seen.get(&text).is_none_or(|count| *count < 2) {
            return;
        }
        let name = names.entry(text).or_insert_with(|| {
            let name = free_name(&shared, status, response);
            shared.insert(name.clone(), response.clone());
            name
        });
        *response = json!({ "$ref": format!("#/components/responses/{name}") });
    });
    shared
}

fn each_error(paths: &mut Map<String, Value>, mut each: impl FnMut(&str, &mut Value)) {
    let operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    for operation in operations {
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            if response.get(CODES).is_some() {
                each(status, response);
            }
        }
    }
}

/// Such as `404_agent_not_found`; a number tells those apart that differ in words only.
fn free_name(taken: &Map<String, Value>, status: &str, response: &Value) -> String {
    let code = response[CODES][0].as_str().unwrap_or_default();
    let several = response[CODES].as_array().is_some_and(|codes| codes.len() > 1);
    let name = format!("{status}_{code}{}", if several { "_and_others" } else { "" });
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains_key(name)).unwrap_or_default()
}
