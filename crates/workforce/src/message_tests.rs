use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Error;

fn faults(change: Value) -> Vec<String> {
    let mut body = json!({
        "from_agent_id": Uuid::from_u128(1), "to_agent_id": Uuid::from_u128(2), "body": "hello",
    });
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    match serde_json::from_value::<CreateMessage>(body).unwrap().validated() {
        Ok(_) => Vec::new(),
        Err(Error::Invalid(errors)) => errors.into_iter().map(|error| error.pointer).collect(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn each_type_has_its_recipient() {
    let myself = Uuid::from_u128(1);
    let fine = [
        json!({}),
        json!({ "type": "system", "to_agent_id": myself }),
        json!({ "type": "external_draft", "external_recipient": "ada@example.com" }),
        json!({ "type": "external_draft", "external_recipient": "ada@example.com", "to_agent_id": null }),
        json!({ "type": "external_draft", "external_recipient": "ada@example.com", "to_agent_id": myself }),
    ];
    for change in fine {
        assert_eq!(faults(change.clone()), Vec::<String>::new(), "{change}");
    }
    let wrong = [
        (json!({ "to_agent_id": null }), "/to_agent_id"),
        (json!({ "to_agent_id": myself }), "/to_agent_id"),
        (json!({ "type": "system", "to_agent_id": null }), "/to_agent_id"),
        (json!({ "type": "broadcast" }), "/type"),
        (json!({ "type": "external_draft" }), "/external_recipient"),
        (json!({ "external_recipient": "ada@example.com" }), "/external_recipient"),
        (json!({ "subject": "a\nb" }), "/subject"),
        (json!({ "subject": "x".repeat(301) }), "/subject"),
        (json!({ "body": "" }), "/body"),
        (json!({ "body": "\u{0}" }), "/body"),
        (json!({ "body": "x".repeat(MAX_BODY_BYTES + 1) }), "/body"),
    ];
    for (change, pointer) in wrong {
        assert_eq!(faults(change.clone()), [pointer], "{change}");
    }
}

#[test]
fn a_draft_goes_to_one_address() {
    let recipient = |text: &str| faults(json!({ "type": "external_draft", "external_recipient": text }));
    for fine in ["ada@example.com", "ada+tents@mail.example.co.uk", "grüße@beispiel.example"] {
        assert_eq!(recipient(fine), Vec::<String>::new(), "{fine}");
    }
    let long = format!("{}@example.com", "x".repeat(320));
    let wrong = [
        "",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "ada@[127.0.0.1]",
        "Ada <ada@example.com>",
        "ada@example.com, eve@example.com",
        "ada@example.com\r\nBcc: eve@example.com",
        " ada@example.com",
        "ada@example.com ",
        "a\u{0}da@example.com",
        &long,
    ];
    for text in wrong {
        assert_eq!(recipient(text), ["/external_recipient"], "{text:?}");
    }
}

#[test]
fn a_draft_and_a_message_have_lives_of_their_own() {
    use MessageStatus::{Approved, Delivered, Pending, Read, Rejected};
    assert_eq!(Pending.successors(false), [Delivered, Read]);
    assert_eq!(Delivered.successors(false), [Read]);
    assert_eq!(Pending.successors(true), [Approved, Rejected]);
    for last in [Read, Approved, Rejected] {
        assert!(last.successors(true).is_empty() && last.successors(false).is_empty(), "{last} is final");
    }
    assert!(Delivered.successors(true).is_empty(), "nobody delivers a draft");
}

proptest! {
    /// What is taken for an address cannot smuggle a header or a second recipient into whatever sends the draft.
    #[test]
    fn an_accepted_address_is_one_line_and_one_address(text in "[a-z@.<>, \r\n\u{0}]{0,40}") {
        if faults(json!({ "type": "external_draft", "external_recipient": text })).is_empty() {
            prop_assert!(!text.contains(|c: char| c.is_control() || matches!(c, ',' | '<' | '>' | ' ')), "{text:?}");
        }
    }
}
