//! The OpenAPI document holds together. That `docs/openapi.json` is current is a test of the command line.

#[test]
fn every_reference_leads_somewhere_and_problems_have_one_schema() {
    let document = tenantry::openapi();
    let text = document.to_string();
    let references = text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next());
    let mut count = 0;
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
        count += 1;
    }
    assert!(count > 10, "the operations refer to schemas");
    let problem = document.pointer("/components/schemas/Problem/description").map(ToString::to_string);
    assert_eq!(text.matches(&problem.expect("problems have a description")).count(), 1, "one schema for all problems");
    for code in ["version", "title", "description"] {
        assert!(document["info"][code].as_str().is_some_and(|text| !text.is_empty()), "info.{code}");
    }
}

#[test]
fn several_values_of_a_parameter_are_separated_by_commas() {
    let document = tenantry::openapi();
    let parameters = document["paths"]["/v1/tasks"]["get"]["parameters"].as_array().expect("parameters");
    for name in ["status", "priority", "fields"] {
        let parameter = parameters.iter().find(|parameter| parameter["name"] == name).expect(name);
        assert_eq!((&parameter["style"], &parameter["explode"]), (&"form".into(), &false.into()), "{name}");
        assert!(parameter["schema"]["items"]["enum"].is_array(), "{name}");
    }
}

/// A schema that is a text and an object at once is nobody's.
#[test]
fn no_schema_contradicts_itself() {
    fn look(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
        if let Some(all) = value["allOf"].as_array() {
            let mut types: Vec<&str> = all.iter().filter_map(|part| part["type"].as_str()).collect();
            types.dedup();
            if types.len() > 1 {
                found.push(at.to_owned());
            }
        }
        match value {
            serde_json::Value::Object(members) => {
                members.iter().for_each(|(name, member)| look(member, &format!("{at}/{name}"), found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| look(item, at, found)),
            _ => {}
        }
    }
    let document = tenantry::openapi();
    let mut found = Vec::new();
    look(&document, "", &mut found);
    assert!(found.is_empty(), "{found:?}");
}
