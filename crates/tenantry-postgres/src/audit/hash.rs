//! The hash of an event, from its columns alone. `audit.event_hash` in the database computes the same.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::anchor::hex;

/// Names the order of the fields below.
const VERSION: &str = "tenantry-audit-1";
/// What the first event of a chain comes after.
pub(super) const GENESIS: [u8; 32] = [0; 32];

/// What of an event is hashed. Times are microseconds since 1970, details are the text that PostgreSQL gives for them.
pub(super) struct Fields<'a> {
    pub(super) chain: Uuid,
    pub(super) seq: i64,
    pub(super) id: i64,
    pub(super) micros: i64,
    pub(super) actor_kind: &'a str,
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) target: &'a str,
    pub(super) request_id: Option<&'a str>,
    pub(super) client_ip: Option<&'a str>,
    pub(super) details: &'a str,
}

/// SHA-256 over all fields as netstrings: no two lists of values are the same text.
pub(super) fn event_hash(after: &[u8], event: &Fields<'_>) -> [u8; 32] {
    let mut text = String::with_capacity(512);
    let numbers = [event.chain.to_string(), event.seq.to_string(), event.id.to_string(), event.micros.to_string()];
    field(&mut text, Some(VERSION));
    field(&mut text, Some(&hex(after)));
    numbers.iter().for_each(|number| field(&mut text, Some(number)));
    for value in [event.actor_kind, event.actor, event.action, event.target] {
        field(&mut text, Some(value));
    }
    field(&mut text, event.request_id);
    field(&mut text, event.client_ip);
    field(&mut text, Some(event.details));
    Sha256::digest(text).into()
}

fn field(text: &mut String, value: Option<&str>) {
    match value {
        Some(value) => {
            text.push_str(&value.len().to_string());
            text.push(':');
            text.push_str(value);
        }
        None => text.push('-'),
    }
    text.push(',');
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Fields<'_> = Fields {
        chain: Uuid::nil(),
        seq: 1,
        id: 1,
        micros: 0,
        actor_kind: "cli",
        actor: "ä",
        action: "a",
        target: "b",
        request_id: None,
        client_ip: Some(""),
        details: "{}",
    };

    /// The example of docs/guides/audit.md, computed there by other means.
    #[test]
    fn the_documented_example() {
        let text = "16:tenantry-audit-1,64:0000000000000000000000000000000000000000000000000000000000000000,\
                    36:00000000-0000-0000-0000-000000000000,1:1,1:1,1:0,3:cli,2:ä,1:a,1:b,-,0:,2:{},";
        assert_eq!(event_hash(&GENESIS, &EVENT), <[u8; 32]>::from(Sha256::digest(text)));
    }

    #[test]
    fn what_stands_in_one_field_cannot_be_moved_to_the_next() {
        let moved = Fields { actor: "ä1:a", action: "", ..EVENT };
        assert_ne!(event_hash(&GENESIS, &EVENT), event_hash(&GENESIS, &moved));
        let empty = Fields { request_id: Some(""), ..EVENT };
        assert_ne!(event_hash(&GENESIS, &EVENT), event_hash(&GENESIS, &empty));
    }
}
