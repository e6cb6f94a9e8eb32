use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tenantry_core::TenantId;
use tenantry_http::{ApiQuery, OperatorScope, Problem};
use tenantry_postgres::{BillingFilter, Provisioner};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::respond::Common;
use crate::model::BillingEvent;
use crate::page::{Limit, List, Page, invalid_query};

/// What became of an event.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// It was counted for its tenant and changed something.
    Applied,
    /// It was counted and changed nothing.
    Unchanged,
    /// No tenant has the customer yet.
    UnknownCustomer,
    /// Several tenants have the customer.
    AmbiguousCustomer,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::UnknownCustomer => "unknown_customer",
            Self::AmbiguousCustomer => "ambiguous_customer",
        }
    }
}

/// Which events, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListBillingEvents {
    /// Only of the tenant with this id.
    tenant_id: Option<Uuid>,
    /// Only of this customer of the provider.
    customer: Option<String>,
    /// Only those with this outcome.
    #[param(inline)]
    outcome: Option<Outcome>,
    /// 1 to 200; 50 unless given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

/// Lists the events of the payment provider as they were taken in, the latest arrival first. `outcome=unknown_customer` shows the
/// customers that no tenant has.
#[utoipa::path(
    get,
    path = "/admin/v1/billing/events",
    operation_id = "list_billing_events",
    tag = "billing",
    params(ListBillingEvents),
    responses(Common, (status = 200, description = "a page of events", body = Page<BillingEvent>)),
)]
pub(super) async fn list_billing_events(
    _: OperatorScope,
    State(provisioner): State<Provisioner>,
    ApiQuery(query): ApiQuery<ListBillingEvents>,
) -> Result<Json<Page<BillingEvent>>, Problem> {
    let word = |text: &String| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if query.customer.as_ref().is_some_and(|customer| !word(customer)) {
        return Err(invalid_query("customer", "must have 1 to 255 printable ASCII characters"));
    }
    let limit = Limit::from_query(query.limit)?;
    let filter = BillingFilter {
        tenant: query.tenant_id.map(TenantId::from_uuid),
        customer: query.customer,
        outcome: query.outcome.map(|outcome| outcome.as_str().to_owned()),
        before: List::Billing.decode("cursor", query.cursor.as_deref())?,
        limit: limit.probe(),
    };
    let events = provisioner.billing_events(&filter).await?;
    Ok(Json(Page::cut(events, limit, List::Billing, |event| event.seq.to_string())))
}
