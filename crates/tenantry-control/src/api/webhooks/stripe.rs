use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use tenantry_http::{Problem, ProblemBody, RequestInfo, codes};
use tenantry_postgres::{Actor, BillingOutcome, Provisioner};
use utoipa::ToSchema;

use crate::stripe::{Stripe, Taken, read};

/// An event of Stripe, as Stripe's API reference describes it. Other members are not looked at.
#[derive(ToSchema)]
#[schema(as = StripeEvent, example = json!({
    "id": "evt_1", "type": "customer.subscription.updated", "created": 1_800_000_000,
    "data": { "object": { "id": "sub_1", "customer": "cus_1", "status": "active", "items": { "data": [{ "price": { "id": "price_1" } }] } } },
}))]
#[expect(dead_code, reason = "describes a body that is read as Stripe signs it, byte for byte")]
pub(super) struct StripeEvent {
    /// By which it is known when it is delivered again.
    id: String,
    /// `customer.subscription.created`, `.updated` or `.deleted`, `invoice.paid` or `invoice.payment_failed`; others are ignored.
    r#type: String,
    /// When it happened, in seconds since 1970.
    created: i64,
    /// Holds the subscription or invoice as `object`.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It was counted for its tenant and changed something.
    Applied,
    /// It was counted and changed nothing.
    Unchanged,
    /// It was here before.
    Duplicate,
    /// No tenant has the customer. It counts as soon as one gets it.
    UnknownCustomer,
    /// Several tenants have the customer, so none is changed.
    AmbiguousCustomer,
    /// It is about nothing that is counted here.
    Ignored,
}

impl From<BillingOutcome> for Outcome {
    fn from(outcome: BillingOutcome) -> Self {
        match outcome {
            BillingOutcome::Applied => Self::Applied,
            BillingOutcome::Unchanged => Self::Unchanged,
            BillingOutcome::Duplicate => Self::Duplicate,
            BillingOutcome::UnknownCustomer => Self::UnknownCustomer,
            BillingOutcome::AmbiguousCustomer => Self::AmbiguousCustomer,
        }
    }
}

/// The answer to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Received {
    /// What became of it.
    outcome: Outcome,
}

/// Takes an event of Stripe in. Its signature is its credential. Each event counts once, in whatever order events come.
#[utoipa::path(
    post,
    path = "/webhooks/stripe",
    operation_id = "receive_stripe_event",
    tag = "webhooks",
    security(()),
    params(("Stripe-Signature" = String, Header, description = "`t=…,v1=…`, made by Stripe with the endpoint's signing secret")),
    request_body = StripeEvent,
    responses(
        (status = 200, description = "the event is stored, or is none that is counted here", body = Received),
        (status = 400, description = "the signature is missing, wrong or too old, or the body is not JSON",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "the server is not configured for Stripe", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "the body is larger than the server accepts", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the event lacks something", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "a defect of the server", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "nothing is stored; Stripe sends it again", body = ProblemBody, content_type = "application/problem+json"),
        (status = 504, description = "nothing is stored; Stripe sends it again", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn receive_stripe_event(
    State(stripe): State<Stripe>,
    State(provisioner): State<Provisioner>,
    info: RequestInfo,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Received>, Problem> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::of(&codes::BODY_TOO_LARGE),
        _ => Problem::of(&codes::UNREADABLE_BODY).detail("the body could not be read to its end"),
    })?;
    let mut signatures = headers.get_all("stripe-signature").iter();
    let signature = signatures.next().and_then(|value| value.to_str().ok()).filter(|_| signatures.next().is_none());
    stripe.check(signature, &body)?;
    let outcome = match read(&body)? {
        Taken::Ignored => Outcome::Ignored,
        Taken::Event(event) => {
            let actor = Actor {
                kind: "system",
                name: "stripe".to_owned(),
                request_id: Some(info.id().as_str().to_owned()),
                client_ip: info.client().ip.map(|ip| ip.to_string()),
            };
            provisioner.take_billing_event(&event, &actor).await?.into()
        }
    };
    Ok(Json(Received { outcome }))
}
