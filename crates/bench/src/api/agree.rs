//! Before anything is measured: do all sides do the same?

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use chrono::DateTime;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::load::{Call, Connection, Method, request, version};

use super::Side;
use super::operations::Operation;

/// Asks each side once. Gives the size of each side's answer, whose members must be of the same kinds.
pub(super) async fn check(sides: &[Side], operation: Operation, keys: &[SecretString]) -> anyhow::Result<Vec<usize>> {
    let call = operation.calls(1, keys).into_iter().flatten().next().context("an operation has calls")?;
    let (mut sizes, mut shapes) = (Vec::new(), Vec::new());
    for side in sides {
        let (address, call, unique) = (side.address, call.clone(), format!("check-{}-{}", operation.name(), side.name));
        let asked = tokio::task::spawn_blocking(move || ask(address, &call, &unique)).await?;
        let body = asked.with_context(|| format!("{} by {}", operation.name(), side.name))?;
        sizes.push(body.len());
        shapes.push(shape(&serde_json::from_slice(&body)?));
    }
    for (side, other) in sides.iter().zip(&shapes).skip(1) {
        ensure!(
            *other == shapes[0],
            "{} by {} answers otherwise than by {}:\n{other}\n{}",
            operation.name(),
            side.name,
            sides[0].name,
            shapes[0]
        );
    }
    Ok(sizes)
}

fn ask(address: SocketAddr, call: &Call, unique: &str) -> anyhow::Result<Vec<u8>> {
    let mut connection = Connection::open(address)?;
    let version = if call.method == Method::Patch { version(&mut connection, address, call)? } else { 0 };
    Ok(connection.send(&request(address, call, unique, version), call.method)?.to_vec())
}

/// The names of all members and the kinds of their values; of a list also how many it has.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(text) if Uuid::parse_str(text).is_ok() => json!("uuid"),
        Value::String(text) if DateTime::parse_from_rfc3339(text).is_ok() => json!("instant"),
        Value::String(_) => json!("text"),
        Value::Array(items) => json!([items.len(), items.first().map(shape)]),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_not_values_are_compared() {
        let record = |id: &str, at: &str| json!({ "data": [{ "id": id, "at": at, "n": 1 }], "next_cursor": "x" });
        let one = record("01920000-0000-7000-8000-000000000001", "2026-01-01T00:00:00.123456Z");
        let same = record("01920000-0000-7000-8000-000000000002", "2026-01-02T00:00:00.123Z");
        assert_eq!(shape(&one), shape(&same));
        assert_ne!(shape(&one), shape(&record("7", "2026-01-02T00:00:00.123Z")));
    }
}
