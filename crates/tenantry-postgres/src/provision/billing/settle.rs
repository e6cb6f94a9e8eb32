//! Takes an event in and brings its tenant to where it stands, in one transaction.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use tenantry_core::{TenantId, TenantStatus};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::fold::{BillingEvent, Standing, Verdict, fold};
use super::{BillingPolicy, OnCancelled, OnPastDue};
use crate::clients::typed;
use crate::error::{DbError, ProvisionError};
use crate::once;
use crate::provision::{Provisioner, audit};
use crate::registry::Actor;

/// Tenants that are looked at in one go when their time to pay is over.
const DUE_AT_ONCE: i64 = 100;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BillingOutcome {
    /// It changed its tenant, or where it stands.
    Applied,
    /// It was added to the others and changed nothing.
    Unchanged,
    /// It was here before.
    Duplicate,
    /// No tenant has this customer. It counts as soon as one gets it.
    UnknownCustomer,
    /// Several tenants have this customer, so none is changed.
    AmbiguousCustomer,
}

impl BillingOutcome {
    /// The registry's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Duplicate => "duplicate",
            Self::UnknownCustomer => "unknown_customer",
            Self::AmbiguousCustomer => "ambiguous_customer",
        }
    }
}

impl Provisioner {
    /// Takes an event of the payment provider in. In whatever order events come, and however often: in the end each tenant is where the
    /// set of its customer's events puts it.
    ///
    /// # Errors
    /// [`ProvisionError::Database`]; then nothing is stored, and the provider sends it again.
    pub async fn take_billing_event(
        &self,
        event: &BillingEvent,
        actor: &Actor,
    ) -> Result<BillingOutcome, ProvisionError> {
        let client = self.control.get().await?;
        client.batch_execute(once::BEGIN).await?;
        lock(&client, &event.customer).await?;
        let insert = "INSERT INTO public.stripe_events (id, type, created, customer, subscription, status, prices, outcome) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, 'unknown_customer') ON CONFLICT (id) DO NOTHING";
        let kind = event.kind.as_str();
        let params = [
            typed(&event.id, Type::TEXT),
            typed(&kind, Type::TEXT),
            typed(&event.created, Type::TIMESTAMPTZ),
            typed(&event.customer, Type::TEXT),
            typed(&event.subscription, Type::TEXT),
            typed(&event.status, Type::TEXT),
            typed(&event.prices, Type::TEXT_ARRAY),
        ];
        if client.execute_typed(insert, &params).await? == 0 {
            client.batch_execute("ROLLBACK").await?;
            client.give_back();
            return Ok(BillingOutcome::Duplicate);
        }
        let sql = "SELECT id FROM public.tenants WHERE stripe_customer_id = $1 ORDER BY id LIMIT 2";
        let tenants = client.query_typed(sql, &[typed(&event.customer, Type::TEXT)]).await?;
        let tenant = tenants.first().filter(|_| tenants.len() == 1).map(|row| row.get::<_, Uuid>(0));
        let mut details = json!({
            "type": event.kind.as_str(), "created": event.created, "customer": event.customer,
            "subscription": event.subscription, "status": event.status, "prices": event.prices,
        });
        let outcome = match (tenant, tenants.len()) {
            (Some(id), _) => match settle(&client, &self.billing, TenantId::from_uuid(id), actor).await? {
                Some(change) => {
                    details["change"] = change;
                    BillingOutcome::Applied
                }
                None => BillingOutcome::Unchanged,
            },
            (None, 0) => BillingOutcome::UnknownCustomer,
            (None, _) => BillingOutcome::AmbiguousCustomer,
        };
        details["outcome"] = json!(outcome);
        let unknown = unknown_prices(&event.prices, &self.billing);
        let note = "UPDATE public.stripe_events SET tenant_id = $2, outcome = $3, detail = $4, \
                    applied_at = CASE WHEN $2::uuid IS NOT NULL THEN clock_timestamp() END WHERE id = $1";
        let word = outcome.as_str();
        let params = [
            typed(&event.id, Type::TEXT),
            typed(&tenant, Type::UUID),
            typed(&word, Type::TEXT),
            typed(&unknown, Type::TEXT),
        ];
        client.execute_typed(note, &params).await?;
        audit(&client, tenant, actor, "billing.event", &format!("stripe/{}", event.id), details).await?;
        client.batch_execute("COMMIT").await?;
        client.give_back();
        if let Some(unknown) = unknown {
            tracing::warn!(target: "tenantry::billing", event = event.id, "{unknown}");
        }
        Ok(outcome)
    }

    /// Suspends the tenants whose time to pay is over. Gives how many there were; however many servers do this at once, each
    /// is suspended by one.
    ///
    /// # Errors
    /// [`ProvisionError::Database`].
    pub async fn suspend_overdue(&self, actor: &Actor) -> Result<usize, ProvisionError> {
        let client = self.control.get().await?;
        let due = "SELECT b.tenant_id, b.customer FROM public.tenant_billing b JOIN public.tenants t ON t.id = b.tenant_id \
                   WHERE b.suspend_at <= now() AND NOT b.suspended AND t.status = 'active' ORDER BY b.suspend_at LIMIT $1";
        let due = client.query_typed(due, &[typed(&DUE_AT_ONCE, Type::INT8)]).await?;
        let mut suspended = 0;
        for row in &due {
            let (tenant, customer): (Uuid, String) = (row.get(0), row.get(1));
            client.batch_execute(once::BEGIN).await?;
            lock(&client, &customer).await?;
            if settle(&client, &self.billing, TenantId::from_uuid(tenant), actor).await?.is_some() {
                suspended += 1;
            }
            client.batch_execute("COMMIT").await?;
        }
        client.give_back();
        Ok(suspended)
    }
}

fn unknown_prices(prices: &[String], policy: &BillingPolicy) -> Option<String> {
    let known = prices.iter().any(|price| policy.prices.contains_key(price));
    (!known && !prices.is_empty()).then(|| format!("no plan is set for the price `{}`", prices.join("`, `")))
}

/// One change at a time for a customer: who comes second sees what the first has stored. Taken before any row.
pub(in crate::provision) async fn lock(client: &Client, customer: &str) -> Result<(), DbError> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 7468657467))";
    client.query_typed(sql, &[typed(&customer, Type::TEXT)]).await?;
    Ok(())
}

/// What was done for a tenant's events before.
#[derive(Debug, Default, PartialEq, Eq)]
struct Before {
    plan: Option<String>,
    suspended: bool,
    /// Everything that is stored, to see whether something changes.
    stored: Option<Value>,
}

/// What the events ask for.
#[derive(Debug)]
struct Wanted {
    plan: Option<String>,
    suspend_at: Option<DateTime<Utc>>,
}

fn wanted(verdict: &Verdict, policy: &BillingPolicy) -> Wanted {
    let mut plan = verdict.plan.clone();
    let suspend_at = match (verdict.standing, policy.past_due, &policy.cancelled) {
        (Standing::PastDue, OnPastDue::SuspendAfter(grace), _) => verdict.past_due_since.map(|since| since + grace),
        (Standing::Cancelled, _, OnCancelled::Suspend) => verdict.cancelled_at,
        (Standing::Cancelled, _, OnCancelled::Plan(tier)) => {
            plan = Some(tier.clone());
            None
        }
        _ => None,
    };
    Wanted { plan, suspend_at }
}

/// Brings a tenant to where its customer's events put it. Gives what was changed, if anything was. Under [`lock`] of the customer.
pub(in crate::provision) async fn settle(
    client: &Client,
    policy: &BillingPolicy,
    tenant: TenantId,
    actor: &Actor,
) -> Result<Option<Value>, ProvisionError> {
    let id = typed(tenant.as_uuid(), Type::UUID);
    let sql = "SELECT plan_tier, status, stripe_customer_id, stripe_subscription_id, now() AS now FROM public.tenants WHERE id = $1 FOR NO KEY UPDATE";
    let rows = client.query_typed(sql, std::slice::from_ref(&id)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let Some(customer) = row.get::<_, Option<String>>("stripe_customer_id") else { return Ok(None) };
    let (old_plan, status): (String, String) = (row.get("plan_tier"), row.get("status"));
    let subscribed: Option<String> = row.get("stripe_subscription_id");
    let now: DateTime<Utc> = row.get("now");
    let events = events_of(client, &customer).await?;
    if events.is_empty() {
        return Ok(None);
    }
    let verdict = fold(&events, policy);
    let mut wanted = wanted(&verdict, policy);
    if let Some(plan) = &wanted.plan
        && client
            .query_typed("SELECT 1 FROM public.plans WHERE tier = $1", &[typed(plan, Type::TEXT)])
            .await?
            .is_empty()
    {
        tracing::error!(target: "tenantry::billing", plan, "the settings name a plan that does not exist");
        wanted.plan = None;
    }
    let before = before(client, tenant).await?;
    // Only what the events ask for anew: a plan that an operator gave meanwhile stays.
    let plan = wanted.plan.as_ref().filter(|plan| before.plan.as_ref() != Some(*plan)).unwrap_or(&old_plan);
    let due = wanted.suspend_at.is_some_and(|at| at <= now);
    let (is, suspended) = match (due, before.suspended, status.as_str()) {
        (true, false, "active") => (TenantStatus::Suspended.as_str(), true),
        (true, suspended, other) => (other, suspended),
        (false, true, "suspended") => (TenantStatus::Active.as_str(), false),
        (false, _, other) => (other, false),
    };
    let subscription = verdict.subscription.as_ref().or(subscribed.as_ref());
    if *plan != old_plan || is != status || subscription != subscribed.as_ref() {
        let sql = "UPDATE public.tenants SET plan_tier = $2, status = $3, stripe_subscription_id = $4 WHERE id = $1";
        let params = [id.clone(), typed(plan, Type::TEXT), typed(&is, Type::TEXT), typed(&subscription, Type::TEXT)];
        client.execute_typed(sql, &params).await?;
    }
    let stored = store(client, tenant, &customer, &verdict, &wanted, suspended).await?;
    let taken = "UPDATE public.stripe_events SET tenant_id = $1, outcome = 'applied', applied_at = clock_timestamp() \
                 WHERE customer = $2 AND tenant_id IS NULL";
    client.execute_typed(taken, &[id, typed(&customer, Type::TEXT)]).await?;
    if before.stored.as_ref() == Some(&stored) && *plan == old_plan && is == status {
        return Ok(None);
    }
    let change = json!({
        "plan": { "from": old_plan, "to": plan }, "status": { "from": status, "to": is },
        "standing": { "from": before.stored.as_ref().map_or(Value::Null, |b| b["standing"].clone()), "to": verdict.standing },
        "suspend_at": wanted.suspend_at, "unknown_prices": verdict.unknown_prices,
    });
    audit(client, Some(*tenant.as_uuid()), actor, "billing.settle", &format!("tenant/{tenant}"), change.clone())
        .await?;
    Ok(Some(change))
}

async fn events_of(client: &Client, customer: &str) -> Result<Vec<BillingEvent>, DbError> {
    let sql = "SELECT id, type, created, customer, subscription, status, prices FROM public.stripe_events WHERE customer = $1";
    let rows = client.query_typed(sql, &[typed(&customer, Type::TEXT)]).await?;
    Ok(rows.iter().filter_map(event).collect())
}

fn event(row: &Row) -> Option<BillingEvent> {
    Some(BillingEvent {
        id: row.get("id"),
        // Of a kind that only a later program knows.
        kind: row.get::<_, &str>("type").parse().ok()?,
        created: row.get("created"),
        customer: row.get("customer"),
        subscription: row.get("subscription"),
        status: row.get("status"),
        prices: row.get("prices"),
    })
}

async fn before(client: &Client, tenant: TenantId) -> Result<Before, DbError> {
    let sql = "SELECT plan_tier, suspended, to_jsonb(b) - 'updated_at' AS stored FROM public.tenant_billing b WHERE tenant_id = $1";
    let rows = client.query_typed(sql, &[typed(tenant.as_uuid(), Type::UUID)]).await?;
    Ok(rows.first().map_or_else(Before::default, |row| Before {
        plan: row.get("plan_tier"),
        suspended: row.get("suspended"),
        stored: row.get("stored"),
    }))
}

async fn store(
    client: &Client,
    tenant: TenantId,
    customer: &str,
    verdict: &Verdict,
    wanted: &Wanted,
    suspended: bool,
) -> Result<Value, DbError> {
    let sql = "INSERT INTO public.tenant_billing AS b (tenant_id, customer, subscription, standing, plan_tier, past_due_since, cancelled_at, suspend_at, suspended) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id) DO UPDATE SET customer = excluded.customer, \
                   subscription = excluded.subscription, standing = excluded.standing, plan_tier = excluded.plan_tier, \
                   past_due_since = excluded.past_due_since, cancelled_at = excluded.cancelled_at, \
                   suspend_at = excluded.suspend_at, suspended = excluded.suspended \
               RETURNING to_jsonb(b) - 'updated_at'";
    let standing = verdict.standing.as_str();
    let params = [
        typed(tenant.as_uuid(), Type::UUID),
        typed(&customer, Type::TEXT),
        typed(&verdict.subscription, Type::TEXT),
        typed(&standing, Type::TEXT),
        typed(&wanted.plan, Type::TEXT),
        typed(&verdict.past_due_since, Type::TIMESTAMPTZ),
        typed(&verdict.cancelled_at, Type::TIMESTAMPTZ),
        typed(&wanted.suspend_at, Type::TIMESTAMPTZ),
        typed(&suspended, Type::BOOL),
    ];
    let rows = client.query_typed(sql, &params).await?;
    rows.first().map(|row| row.get(0)).ok_or(DbError::Misuse("a standing was not stored"))
}
