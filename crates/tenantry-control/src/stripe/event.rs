//! Reads what Stripe sends, as its API reference describes events, subscriptions and invoices. Only what is needed is looked at,
//! so that members which Stripe adds do no harm.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tenantry_http::{Problem, codes};
use tenantry_postgres::{BillingEvent, EventKind};

const LONGEST_ID: usize = 255;
const MOST_PRICES: usize = 50;

/// What a webhook is about.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A subscription or one of its invoices.
    Event(BillingEvent),
    /// Nothing that is counted here.
    Ignored,
}

/// Reads the body of a webhook whose signature was checked.
pub(crate) fn read(body: &[u8]) -> Result<Taken, Problem> {
    let event: Value =
        serde_json::from_slice(body).map_err(|error| Problem::of(&codes::INVALID_JSON).detail(error.to_string()))?;
    let kind = event["type"].as_str().ok_or_else(|| invalid("/type", "an event has a type"))?;
    let Ok(kind) = kind.parse::<EventKind>() else { return Ok(Taken::Ignored) };
    let object = &event["data"]["object"];
    let id = id(&event["id"]).ok_or_else(|| invalid("/id", "an event has an id"))?;
    let customer =
        id_of(&object["customer"]).ok_or_else(|| invalid("/data/object/customer", "the object names its customer"))?;
    let created = event["created"].as_i64().and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
    let created = created
        .filter(|at| (1970..=9999).contains(&chrono::Datelike::year(at)))
        .ok_or_else(|| invalid("/created", "the time of an event is in whole seconds"))?;
    let of_subscription = !matches!(kind, EventKind::Paid | EventKind::PaymentFailed);
    let subscription = if of_subscription { id_of(&object["id"]) } else { subscription_of_invoice(object) };
    let Some(subscription) = subscription else {
        // An invoice for something else.
        if !of_subscription {
            return Ok(Taken::Ignored);
        }
        return Err(invalid("/data/object/id", "a subscription has an id"));
    };
    let status = object["status"].as_str().filter(|_| of_subscription).map(|status| status.chars().take(50).collect());
    let prices = if of_subscription { prices(object) } else { Vec::new() };
    Ok(Taken::Event(BillingEvent { id, kind, created, customer, subscription, status, prices }))
}

/// Versions of the API before 2025-03-31 name the subscription in the invoice itself, later ones in its parent.
fn subscription_of_invoice(invoice: &Value) -> Option<String> {
    id_of(&invoice["subscription"]).or_else(|| id_of(&invoice["parent"]["subscription_details"]["subscription"]))
}

/// What is paid for, in the order of the subscription's items. Very old versions have a single plan.
fn prices(subscription: &Value) -> Vec<String> {
    let items = subscription["items"]["data"].as_array();
    let prices: Vec<String> = items
        .into_iter()
        .flatten()
        .filter_map(|item| id_of(&item["price"]).or_else(|| id_of(&item["plan"])))
        .take(MOST_PRICES)
        .collect();
    if prices.is_empty() { id_of(&subscription["plan"]).into_iter().collect() } else { prices }
}

/// An id, or the id of an object that was asked to be sent along.
fn id_of(value: &Value) -> Option<String> {
    id(if value.is_object() { &value["id"] } else { value })
}

fn id(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    ((1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned())
}

fn invalid(pointer: &str, detail: &'static str) -> Problem {
    Problem::of(&codes::INVALID_BODY).pointer(pointer, detail).detail(detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(body: &Value) -> BillingEvent {
        match read(body.to_string().as_bytes()).unwrap() {
            Taken::Event(event) => event,
            Taken::Ignored => panic!("ignored: {body}"),
        }
    }

    fn wrap(kind: &str, object: Value) -> Value {
        json!({ "id": "evt_1", "object": "event", "api_version": "2025-03-31.basil", "created": 1_800_000_000, "type": kind,
            "livemode": false, "pending_webhooks": 1, "data": { "object": object } })
    }

    #[test]
    fn a_subscription_is_read() {
        let object = json!({
            "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active",
            "items": { "object": "list", "data": [
                { "id": "si_1", "price": { "id": "price_g", "object": "price" } }, { "id": "si_2", "price": { "id": "price_x" } },
            ] },
        });
        let read = event(&wrap("customer.subscription.updated", object));
        assert_eq!(
            (read.kind, read.customer.as_str(), read.subscription.as_str()),
            (EventKind::Updated, "cus_1", "sub_1")
        );
        assert_eq!(
            (read.status.as_deref(), read.prices),
            (Some("active"), vec!["price_g".to_owned(), "price_x".to_owned()])
        );
        assert_eq!(read.created.timestamp(), 1_800_000_000);
    }

    #[test]
    fn an_invoice_is_read_in_both_versions() {
        let old = json!({ "id": "in_1", "object": "invoice", "customer": { "id": "cus_1" }, "subscription": "sub_1", "status": "paid" });
        let new = json!({
            "id": "in_1", "object": "invoice", "customer": "cus_1", "status": "open",
            "parent": { "type": "subscription_details", "subscription_details": { "subscription": "sub_1" } },
        });
        for object in [old, new] {
            let read = event(&wrap("invoice.payment_failed", object));
            assert_eq!((read.customer.as_str(), read.subscription.as_str(), read.status), ("cus_1", "sub_1", None));
        }
        let other = wrap("invoice.paid", json!({ "id": "in_2", "customer": "cus_1", "subscription": null }));
        assert!(matches!(read(other.to_string().as_bytes()), Ok(Taken::Ignored)), "an invoice for something else");
        let unknown = wrap("charge.refunded", json!({}));
        assert!(matches!(read(unknown.to_string().as_bytes()), Ok(Taken::Ignored)));
    }

    #[test]
    fn what_lacks_something_is_refused() {
        let good =
            wrap("customer.subscription.created", json!({ "id": "sub_1", "customer": "cus_1", "status": "active" }));
        assert_eq!(event(&good).prices, Vec::<String>::new());
        for (pointer, value) in [
            ("/id", json!(7)),
            ("/id", json!("a\u{0}b")),
            ("/type", json!(null)),
            ("/created", json!("now")),
            ("/created", json!(i64::MAX)),
            ("/data/object/customer", json!(null)),
            ("/data/object/id", json!("x".repeat(256))),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            let problem = read(bad.to_string().as_bytes()).unwrap_err();
            assert_eq!(problem.body(None, None).extensions["errors"][0]["pointer"], pointer);
        }
        assert_eq!(read(b"{").unwrap_err().code(), "invalid_json");
        assert_eq!(read(b"[]").unwrap_err().code(), "invalid_body");
    }

    proptest! {
        #[test]
        fn no_body_panics(body in any::<Vec<u8>>()) {
            let _ = read(&body);
        }
    }
}
