//! Webhooks of Stripe. The payloads are our own, made after Stripe's API reference.

use axum::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tenantry_postgres::{Actor, BillingPolicy, OnCancelled, OnPastDue};

use crate::plane::{Answer, OLD_SECRET, Plane, SECRET};

fn policy(cancelled: OnCancelled) -> BillingPolicy {
    let prices = [("price_s", "starter"), ("price_g", "growth"), ("price_lost", "no-such-plan")];
    BillingPolicy {
        prices: prices.map(|(price, plan)| (price.to_owned(), plan.to_owned())).into(),
        past_due: OnPastDue::SuspendAfter(TimeDelta::days(7)),
        cancelled,
    }
}

fn free() -> OnCancelled {
    OnCancelled::Plan("free".to_owned())
}

fn subscription(id: &str, kind: &str, at: DateTime<Utc>, status: &str, price: &str) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2025-03-31.basil", "created": at.timestamp(), "livemode": false,
        "type": format!("customer.subscription.{kind}"), "pending_webhooks": 1, "request": { "id": null, "idempotency_key": null },
        "data": { "object": {
            "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status, "currency": "usd",
            "items": { "object": "list", "has_more": false, "data": [
                { "id": "si_1", "object": "subscription_item", "quantity": 1, "price": { "id": price, "object": "price", "active": true } },
            ] },
        } },
    })
}

fn invoice(id: &str, kind: &str, at: DateTime<Utc>) -> Value {
    json!({
        "id": id, "object": "event", "created": at.timestamp(), "type": format!("invoice.{kind}"),
        "data": { "object": {
            "id": format!("in_{id}"), "object": "invoice", "customer": "cus_1", "amount_due": 4900,
            "parent": { "type": "subscription_details", "subscription_details": { "subscription": "sub_1" } },
        } },
    })
}

fn sign(secret: &str, at: DateTime<Utc>, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{}.{body}", at.timestamp()).as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={},v1={hex}", at.timestamp())
}

impl Plane {
    async fn webhook(&self, signature: &str, event: &Value) -> Answer {
        self.send(Method::POST, "/webhooks/stripe", None, &[("stripe-signature", signature)], Some(event.clone())).await
    }

    /// What became of an event.
    async fn stripe(&self, event: &Value) -> String {
        let answer = self.webhook(&sign(SECRET, Utc::now(), &event.to_string()), event).await;
        answer.ok(200)["outcome"].as_str().unwrap().to_owned()
    }

    async fn customer(&self, slug: &str) {
        self.tenant(slug).await;
        self.patch(&format!("/admin/v1/tenants/{slug}"), json!({ "stripe_customer_id": "cus_1" })).await.ok(200);
    }

    /// Plan, status and standing of `acme`.
    async fn stands(&self) -> (String, String, String) {
        let tenant = self.get("/admin/v1/tenants/acme").await.ok(200);
        let billing = self.get("/admin/v1/tenants/acme/billing").await.ok(200);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&tenant["plan_tier"]), text(&tenant["status"]), text(&billing["standing"]))
    }
}

fn three(plan: &str, status: &str, standing: &str) -> (String, String, String) {
    (plan.to_owned(), status.to_owned(), standing.to_owned())
}

#[tokio::test]
async fn only_what_stripe_has_signed_just_now_is_believed() {
    let plane = Plane::with_billing(policy(free())).await;
    plane.customer("acme").await;
    let now = Utc::now();
    let event = subscription("evt_1", "created", now, "active", "price_g");
    let body = event.to_string();
    for bad in [
        String::new(),
        "t=1,v1=00".to_owned(),
        sign("whsec_other", now, &body),
        sign(SECRET, now, "{}"),
        sign(SECRET, now - TimeDelta::seconds(320), &body),
        sign(SECRET, now + TimeDelta::seconds(320), &body),
        sign(SECRET, now, &body).replace("v1=", "v0="),
    ] {
        assert_eq!(plane.webhook(&bad, &event).await.face(), (400, "invalid_signature", ""), "{bad}");
    }
    let unsigned = plane.send(Method::POST, "/webhooks/stripe", None, &[], Some(event.clone())).await;
    assert_eq!(unsigned.face().1, "invalid_signature");
    assert_eq!(plane.stands().await, three("free", "active", "none"), "nothing was believed");
    let old = plane.webhook(&sign(OLD_SECRET, now, &body), &event).await;
    assert_eq!(old.ok(200)["outcome"], "applied", "either secret counts while one is rotated");
    assert_eq!(plane.stripe(&event).await, "duplicate");
    let other = json!({ "id": "evt_2", "type": "charge.refunded", "created": 1, "data": { "object": {} } });
    assert_eq!(plane.stripe(&other).await, "ignored");
    let lacking =
        json!({ "id": "evt_3", "type": "invoice.paid", "created": now.timestamp(), "data": { "object": {} } });
    let answer = plane.webhook(&sign(SECRET, now, &lacking.to_string()), &lacking).await;
    assert_eq!(answer.face(), (422, "invalid_body", "/data/object/customer"));
}

#[tokio::test]
async fn a_subscription_moves_plan_and_status() {
    let plane = Plane::with_billing(policy(free())).await;
    plane.customer("acme").await;
    let start = Utc::now() - TimeDelta::days(30);
    let day = |n| start + TimeDelta::days(n);
    assert_eq!(plane.stripe(&subscription("evt_1", "created", day(0), "incomplete", "price_s")).await, "applied");
    assert_eq!(plane.stands().await, three("free", "active", "none"), "not before the first payment");
    plane.stripe(&invoice("evt_2", "paid", day(0))).await;
    assert_eq!(plane.stands().await, three("starter", "active", "paid"));
    plane.stripe(&subscription("evt_3", "updated", day(1), "active", "price_g")).await;
    assert_eq!(plane.stands().await, three("growth", "active", "paid"));
    let tenant = plane.get("/admin/v1/tenants/acme").await.ok(200);
    assert_eq!(tenant["stripe_subscription_id"], "sub_1");

    // failed twenty days ago, with seven to pay
    plane.stripe(&invoice("evt_4", "payment_failed", day(10))).await;
    assert_eq!(plane.stands().await, three("growth", "suspended", "past_due"));
    let billing = plane.get("/admin/v1/tenants/acme/billing").await.ok(200);
    assert_eq!((&billing["suspended"], &billing["plan_tier"]), (&json!(true), &json!("growth")));
    plane.stripe(&invoice("evt_5", "paid", day(29))).await;
    assert_eq!(plane.stands().await, three("growth", "active", "paid"));
    // failed yesterday: still six days to pay
    plane.stripe(&invoice("evt_6", "payment_failed", day(29) + TimeDelta::hours(1))).await;
    assert_eq!(plane.stands().await, three("growth", "active", "past_due"));
    plane.stripe(&subscription("evt_7", "deleted", day(29) + TimeDelta::hours(2), "canceled", "price_g")).await;
    assert_eq!(plane.stands().await, three("free", "active", "cancelled"));
    let listed = plane.get("/admin/v1/billing/events?customer=cus_1&limit=3").await.ok(200);
    assert_eq!(listed["data"][0]["id"], "evt_7", "the latest arrival first");
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest = plane.get(&format!("/admin/v1/billing/events?cursor={cursor}&limit=200")).await.ok(200);
    assert_eq!(rest["data"].as_array().unwrap().len(), 4);
    let trail = plane.get("/admin/v1/audit?tenant=acme&action=billing.event").await.ok(200);
    assert_eq!(trail["data"].as_array().unwrap().len(), 7, "each event is in the tenant's trail");
    assert_eq!((&trail["data"][0]["actor_kind"], &trail["data"][0]["actor"]), (&json!("system"), &json!("stripe")));
}

#[tokio::test]
async fn an_operators_word_stands() {
    let plane = Plane::with_billing(policy(free())).await;
    plane.customer("acme").await;
    let start = Utc::now() - TimeDelta::days(30);
    let hour = |n| start + TimeDelta::hours(n);
    plane.stripe(&subscription("evt_1", "created", hour(0), "active", "price_s")).await;
    plane.patch("/admin/v1/tenants/acme", json!({ "plan_tier": "enterprise" })).await.ok(200);
    assert_eq!(plane.stripe(&invoice("evt_2", "paid", hour(1))).await, "unchanged");
    assert_eq!(plane.stands().await.0, "enterprise", "a payment for the old plan does not take it back");
    plane.stripe(&subscription("evt_3", "updated", hour(2), "active", "price_g")).await;
    assert_eq!(plane.stands().await.0, "growth", "a new subscription does");

    plane.step("/admin/v1/tenants/acme/suspend").await.ok(200);
    plane.stripe(&invoice("evt_4", "payment_failed", hour(3))).await;
    plane.stripe(&invoice("evt_5", "paid", hour(4))).await;
    assert_eq!(plane.stands().await.1, "suspended", "what was not suspended for money is not resumed for it");
    plane.step("/admin/v1/tenants/acme/resume").await.ok(200);
    plane.stripe(&invoice("evt_6", "payment_failed", hour(5))).await;
    assert_eq!(plane.stands().await.1, "suspended");
    plane.step("/admin/v1/tenants/acme/resume").await.ok(200);
    plane.stripe(&invoice("evt_7", "payment_failed", hour(6))).await;
    assert_eq!(plane.stands().await.1, "active", "resumed by an operator although it did not pay");
}

#[tokio::test]
async fn an_unknown_customer_counts_when_a_tenant_gets_it() {
    let plane = Plane::with_billing(policy(free())).await;
    plane.tenant("acme").await;
    let now = Utc::now();
    assert_eq!(plane.stripe(&subscription("evt_1", "created", now, "active", "price_g")).await, "unknown_customer");
    let waiting = plane.get("/admin/v1/billing/events?outcome=unknown_customer").await.ok(200);
    assert_eq!((&waiting["data"][0]["customer"], &waiting["data"][0]["tenant_id"]), (&json!("cus_1"), &Value::Null));
    let patch = json!({ "stripe_customer_id": "cus_1" });
    let tenant = plane.patch("/admin/v1/tenants/acme", patch.clone()).await.ok(200);
    assert_eq!((&tenant["plan_tier"], &tenant["stripe_subscription_id"]), (&json!("growth"), &json!("sub_1")));
    let counted = plane.get("/admin/v1/billing/events").await.ok(200);
    assert_eq!((&counted["data"][0]["outcome"], &counted["data"][0]["tenant_id"]), (&json!("applied"), &tenant["id"]));

    plane.tenant("globex").await;
    plane.patch("/admin/v1/tenants/globex", patch).await.ok(200);
    let later = now + TimeDelta::seconds(5);
    assert_eq!(plane.stripe(&subscription("evt_2", "updated", later, "active", "price_s")).await, "ambiguous_customer");
    assert_eq!(plane.stands().await.0, "growth");
}

#[tokio::test]
async fn a_price_without_a_plan_changes_none_and_is_shown() {
    let plane = Plane::with_billing(policy(free())).await;
    plane.customer("acme").await;
    let now = Utc::now();
    plane.stripe(&subscription("evt_1", "created", now, "active", "price_x")).await;
    assert_eq!(plane.stands().await, three("free", "active", "paid"));
    let shown = plane.get("/admin/v1/billing/events").await.ok(200);
    assert!(shown["data"][0]["detail"].as_str().unwrap().contains("price_x"));
    plane.stripe(&subscription("evt_2", "updated", now + TimeDelta::seconds(1), "active", "price_lost")).await;
    assert_eq!(plane.stands().await.0, "free", "a plan that the settings name and that is not there");
}

#[tokio::test]
async fn the_time_to_pay_ends_without_an_event() {
    let plane = Plane::with_billing(policy(OnCancelled::Suspend)).await;
    plane.customer("acme").await;
    let now = Utc::now();
    plane.stripe(&subscription("evt_1", "created", now - TimeDelta::days(9), "active", "price_s")).await;
    plane.stripe(&invoice("evt_2", "payment_failed", now - TimeDelta::days(6))).await;
    assert_eq!(plane.stands().await, three("starter", "active", "past_due"));
    let provisioner = &plane.world.provisioner;
    let actor = Actor::system("billing");
    assert_eq!(provisioner.suspend_overdue(&actor).await.unwrap(), 0, "a day is left");
    // a day later, for the database's clock cannot be moved
    let admin = plane.world.admin().await;
    admin.batch_execute("UPDATE public.stripe_events SET created = created - interval '2 days'").await.unwrap();
    admin.batch_execute("UPDATE public.tenant_billing SET suspend_at = suspend_at - interval '2 days'").await.unwrap();
    let (one, two) = tokio::join!(provisioner.suspend_overdue(&actor), provisioner.suspend_overdue(&actor));
    assert_eq!(one.unwrap() + two.unwrap(), 1, "by one of two servers");
    assert_eq!(plane.stands().await, three("starter", "suspended", "past_due"));
    plane.stripe(&subscription("evt_3", "deleted", now, "canceled", "price_s")).await;
    assert_eq!(plane.stands().await, three("starter", "suspended", "cancelled"));
}

/// A year of a customer with all that happens in one, some of it within the same second.
fn year(start: DateTime<Utc>) -> Vec<Value> {
    let day = |n| start + TimeDelta::days(n);
    vec![
        subscription("evt_01", "created", day(0), "incomplete", "price_s"),
        invoice("evt_02", "paid", day(0)),
        subscription("evt_03", "updated", day(0), "active", "price_s"),
        subscription("evt_04", "updated", day(40), "active", "price_g"),
        invoice("evt_05", "payment_failed", day(60)),
        subscription("evt_06", "updated", day(60), "past_due", "price_g"),
        invoice("evt_07", "paid", day(65)),
        subscription("evt_08", "updated", day(65), "active", "price_g"),
        invoice("evt_09", "payment_failed", day(90)),
        subscription("evt_10", "updated", day(90), "past_due", "price_g"),
    ]
}

/// The same events in another order each time, some twice, from four clients at once: the end is the same.
#[tokio::test]
async fn any_order_and_repetition_comes_to_the_same_end() {
    let start = Utc::now() - TimeDelta::days(120);
    let mut ended = year(start);
    ended.push(subscription("evt_11", "deleted", start + TimeDelta::days(100), "canceled", "price_g"));
    for (cancelled, events, expected) in [
        (free(), year(start), three("growth", "suspended", "past_due")),
        (free(), ended.clone(), three("free", "active", "cancelled")),
        (OnCancelled::Suspend, ended, three("growth", "suspended", "cancelled")),
    ] {
        let plane = Plane::with_billing(policy(cancelled)).await;
        let mut last = None;
        for round in 0..6_usize {
            plane.tenant("acme").await;
            plane.patch("/admin/v1/tenants/acme", json!({ "stripe_customer_id": "cus_1" })).await.ok(200);
            // rotations and reversals, with every third event twice
            let mut order: Vec<&Value> = events.iter().chain(events.iter().step_by(3)).collect();
            let length = order.len();
            order.rotate_left(round * 5 % length);
            if round % 2 == 1 {
                order.reverse();
            }
            let lanes: Vec<Vec<&Value>> =
                (0..4).map(|lane| order.iter().skip(lane).step_by(4).copied().collect()).collect();
            let counts = join_all(lanes.iter().map(async |lane| {
                let mut fresh = 0;
                for event in lane {
                    fresh += usize::from(plane.stripe(event).await != "duplicate");
                }
                fresh
            }))
            .await;
            assert_eq!(counts.iter().sum::<usize>(), events.len(), "each event counts once");
            assert_eq!(plane.stands().await, expected, "round {round}");
            let billing = plane.get("/admin/v1/tenants/acme/billing").await.ok(200);
            let facts =
                ["standing", "subscription", "plan_tier", "past_due_since", "cancelled_at", "suspend_at", "suspended"]
                    .map(|name| billing[name].clone());
            assert_eq!(last.get_or_insert(facts.clone()), &facts, "round {round}");
            plane.delete("/admin/v1/tenants/acme").await.ok(200);
            let actor = Actor::system("test");
            plane.world.provisioner.purge("acme", TimeDelta::zero(), &actor).await.unwrap();
            plane.world.admin().await.batch_execute("DELETE FROM public.stripe_events").await.unwrap();
        }
    }
}
