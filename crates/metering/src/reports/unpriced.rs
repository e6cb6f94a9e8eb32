use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_postgres::{DbError, MeterTx};
use utoipa::ToSchema;

use super::Place;
use crate::store::reports as store;

/// A model with calls that have no price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnpricedModel {
    /// The provider.
    #[schema(example = "openai")]
    pub provider: String,
    /// The model; empty when the answers named none.
    #[schema(example = "gpt-6-preview")]
    pub model: String,
    /// Calls without a price: their cost is unknown, and in no sum.
    pub calls: i64,
    /// The hour of the first of them.
    pub first_seen: DateTime<Utc>,
    /// The hour of the last.
    pub last_seen: DateTime<Utc>,
    /// Tenants that call it.
    pub tenants: i64,
    /// Five of them at most.
    pub examples: Vec<String>,
    /// What can be done.
    pub hint: String,
}

/// Models without a price that were called since an instant, those with the most calls first, each with its place.
///
/// # Errors
/// [`DbError`].
pub async fn unpriced(
    tx: &MeterTx,
    since: DateTime<Utc>,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<(Place, UnpricedModel)>, DbError> {
    let rows = store::unpriced(tx, since, Place::of(after), limit).await?;
    let shown = |row: store::Unpriced| {
        let hint = hint(&row);
        let place = Place { figure: Decimal::from(row.calls), name: row.name };
        let model = UnpricedModel {
            provider: row.provider,
            model: row.model,
            calls: row.calls,
            first_seen: row.first_seen,
            last_seen: row.last_seen,
            tenants: row.tenants,
            examples: row.examples,
            hint,
        };
        (place, model)
    };
    Ok(rows.into_iter().map(shown).collect())
}

fn hint(row: &store::Unpriced) -> String {
    if row.model.is_empty() {
        return "the calls name no model: whoever reports them must".to_owned();
    }
    let day = row.first_seen.date_naive();
    format!(
        "load a price for `{}` of `{}` that is valid from {day} on; the calls are then priced by adjustments",
        row.model, row.provider
    )
}
