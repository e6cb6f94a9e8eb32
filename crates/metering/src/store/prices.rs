//! Loaded catalogues, overrides as calls are priced with them, and the calls that are to be priced anew: as the role of the metering.

use std::pin::pin;

use chrono::{DateTime, NaiveDate, Utc};
use futures_util::TryStreamExt as _;
use rust_decimal::Decimal;
use tenantry_core::TenantId;
use tenantry_core::calendar::Tz;
use tenantry_postgres::{DbError, MeterTx, Row, statements};
use uuid::Uuid;

use crate::call::{Attribution, Call, CostSource, Costed, Finish, Kind, Source, UsageSource};
use crate::prices::StoredOverride;

macro_rules! call_columns {
    () => {
        "c.id, c.tenant_id, c.operation_id, c.attempt, c.source, c.agent_id, c.session_id, c.task_id, c.api_key_id, \
         c.provider_account_id, c.task_type, c.client_reference, c.provider, c.operation, c.model, c.requested_model, \
         c.service_tier, c.usage, c.usage_source, c.usage_mismatch, c.cost_usd, c.cost_source, c.price_version, c.rates, \
         c.list_baseline_usd, c.like_baseline_usd, c.optimal, c.latency_ms, c.time_to_first_token_ms, c.streamed, c.success, \
         c.error_message, c.finish, c.status_code, c.provider_request_id, c.\"timestamp\", c.hour, c.day"
    };
}

/// Which calls: of one tenant or of all, in a time, behind a place. In the order of an index, so that each step reads only its own.
macro_rules! in_order {
    () => {
        " AND c.\"timestamp\" >= $1 AND c.\"timestamp\" < $2 AND ($3::uuid IS NULL OR c.tenant_id = $3) \
           AND (c.tenant_id, c.\"timestamp\", c.id) > ($4, $5, $6) \
         ORDER BY c.tenant_id, c.\"timestamp\", c.id LIMIT $7"
    };
}

statements! {
    /// What changes when anything about prices does: rows are made and removed, never changed.
    PRICES_MARK() =
        "SELECT (SELECT max(id) FROM analytics.price_catalogues) AS catalogue, count(*) AS overrides, \
           bit_xor(hashtextextended(id::text, 0)) AS ids FROM analytics.price_overrides";
    /// The catalogue that was loaded last.
    LATEST_CATALOGUE() =
        "SELECT id, digest, catalogue FROM analytics.price_catalogues ORDER BY id DESC LIMIT 1";
    /// All tenants' overrides.
    ALL_OVERRIDES() =
        "SELECT id, tenant_id, provider, model, provider_account_id, valid_from, valid_to, price FROM analytics.price_overrides";
    /// A loaded catalogue.
    INSERT_CATALOGUE(TEXT, TEXT, TEXT, TEXT) =
        "INSERT INTO analytics.price_catalogues (digest, catalogue, note, loaded_by) VALUES ($1, $2, $3, $4) RETURNING id";
    /// One at a time.
    HOLD_PRICE_WORK() = "SELECT true AS held FROM analytics.price_work FOR UPDATE";
    /// A tenant by its slug.
    TENANT_BY_SLUG(TEXT) = "SELECT id FROM public.tenants WHERE slug = $1";
    /// Calls without a cost that no adjustment has priced. One that was not seen to end only when nothing is heard of it any more: its
    /// late end would give it its price as well.
    UNPRICED_CALLS(TIMESTAMPTZ, TIMESTAMPTZ, UUID, UUID, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", call_columns!(), ", NULL::numeric AS adjusted_usd, false AS priced_later, t.time_zone, \
           analytics.month_is_closed(c.tenant_id, c.day) AS closed \
         FROM analytics.provider_api_calls c LEFT JOIN public.tenants t ON t.id = c.tenant_id \
         WHERE c.kind = 'call' AND c.cost_usd IS NULL \
           AND (c.usage_source <> 'unsettled' OR c.\"timestamp\" < now() - interval '1 day') AND NOT EXISTS (SELECT FROM analytics.provider_api_calls a \
           WHERE a.tenant_id = c.tenant_id AND a.adjusts = c.id AND a.prices_call)", in_order!()
    );
    /// Calls that were priced by a list, at once or later, with the sum of their adjustments. Not those that were never seen to end: what
    /// their rows say that they used is a bound, and where an adjustment has corrected it, the true counts are nowhere.
    PRICED_CALLS(TIMESTAMPTZ, TIMESTAMPTZ, UUID, UUID, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", call_columns!(), ", a.adjusted_usd, coalesce(a.priced_later, false) AS priced_later, t.time_zone, \
           analytics.month_is_closed(c.tenant_id, c.day) AS closed \
         FROM analytics.provider_api_calls c LEFT JOIN public.tenants t ON t.id = c.tenant_id \
         LEFT JOIN LATERAL (SELECT sum(a.cost_usd) AS adjusted_usd, bool_or(a.prices_call) AS priced_later \
           FROM analytics.provider_api_calls a WHERE a.tenant_id = c.tenant_id AND a.adjusts = c.id) a ON true \
         WHERE c.kind = 'call' AND c.usage_source <> 'unsettled' \
           AND (c.cost_source IN ('catalogue', 'override') OR (c.cost_usd IS NULL AND a.priced_later))",
        in_order!()
    );
    /// The latest calls to some providers, whose costs a list decides.
    LATEST_CALLS(TIMESTAMPTZ, TEXT_ARRAY, INT8) = concat!(
        "SELECT ", call_columns!(), " FROM analytics.provider_api_calls c \
         WHERE c.\"timestamp\" >= $1 AND c.provider = ANY ($2) AND c.kind = 'call' \
           AND c.cost_source IN ('catalogue', 'override', 'unpriced') AND c.usage_source <> 'unsettled' \
         ORDER BY c.\"timestamp\" DESC LIMIT $3"
    );
}

/// What the prices in the database are known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    catalogue: Option<i64>,
    overrides: i64,
    ids: Option<i64>,
}

/// Reads the mark.
///
/// # Errors
/// [`DbError`].
pub async fn mark(tx: &MeterTx) -> Result<Mark, DbError> {
    let row = tx.query_one(&PRICES_MARK, &[]).await?;
    Ok(Mark { catalogue: row.try_get("catalogue")?, overrides: row.try_get("overrides")?, ids: row.try_get("ids")? })
}

/// A catalogue as it was loaded.
#[derive(Debug, Clone)]
pub struct StoredCatalogue {
    /// Its number.
    pub id: i64,
    /// SHA-256 of the file.
    pub digest: String,
    /// The file.
    pub text: String,
}

/// The catalogue that counts, if one was loaded.
///
/// # Errors
/// [`DbError`].
pub async fn latest(tx: &MeterTx) -> Result<Option<StoredCatalogue>, DbError> {
    let Some(row) = tx.query_opt(&LATEST_CATALOGUE, &[]).await? else { return Ok(None) };
    Ok(Some(StoredCatalogue {
        id: row.try_get("id")?,
        digest: row.try_get("digest")?,
        text: row.try_get("catalogue")?,
    }))
}

/// All overrides. One that this program cannot read is left out and told of, so that it does not stop the others.
///
/// # Errors
/// [`DbError`].
pub async fn all_overrides(tx: &MeterTx) -> Result<Vec<StoredOverride>, DbError> {
    let mut all = Vec::new();
    for row in tx.query(&ALL_OVERRIDES, &[]).await? {
        let (id, tenant): (Uuid, Uuid) = (row.try_get("id")?, row.try_get("tenant_id")?);
        match serde_json::from_value(row.try_get("price")?) {
            Ok(agreed) => all.push(StoredOverride {
                id,
                tenant: TenantId::from_uuid(tenant),
                provider: row.try_get("provider")?,
                model: row.try_get("model")?,
                account: row.try_get("provider_account_id")?,
                from: row.try_get("valid_from")?,
                to: row.try_get("valid_to")?,
                agreed,
            }),
            Err(error) => {
                tracing::error!(target: "tenantry::prices", %id, %tenant, %error, "a price override cannot be read");
            }
        }
    }
    Ok(all)
}

/// Keeps a catalogue; it counts from the commit on.
///
/// # Errors
/// [`DbError`].
pub async fn insert_catalogue(tx: &MeterTx, digest: &str, text: &str, note: &str, by: &str) -> Result<i64, DbError> {
    Ok(tx.query_one(&INSERT_CATALOGUE, &[&digest, &text, &note, &by]).await?.try_get("id")?)
}

/// Waits until nobody else prices calls anew or loads a catalogue; until the transaction ends, nobody does.
///
/// # Errors
/// [`DbError`].
pub async fn hold_work(tx: &MeterTx) -> Result<(), DbError> {
    tx.query_one(&HOLD_PRICE_WORK, &[]).await.map(drop)
}

/// A tenant's id.
///
/// # Errors
/// [`DbError`].
pub async fn tenant(tx: &MeterTx, slug: &str) -> Result<Option<TenantId>, DbError> {
    let Some(row) = tx.query_opt(&TENANT_BY_SLUG, &[&slug]).await? else { return Ok(None) };
    Ok(Some(TenantId::from_uuid(row.try_get("id")?)))
}

/// A call whose price is looked at again.
#[derive(Debug)]
pub struct Recorded {
    /// As it was recorded.
    pub call: Call,
    /// The sum of its adjustments.
    pub adjusted_usd: Option<Decimal>,
    /// Whether one of them gave it its price.
    pub priced_later: bool,
    /// Whether its month is closed.
    pub closed: bool,
    /// The tenant's clock now.
    pub zone: Tz,
}

/// Where a run has come to: a call's tenant, time and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The tenant.
    pub tenant: Uuid,
    /// The time.
    pub at: DateTime<Utc>,
    /// The id.
    pub id: Uuid,
}

impl Place {
    /// Before all calls.
    pub const START: Self = Self { tenant: Uuid::nil(), at: DateTime::UNIX_EPOCH, id: Uuid::nil() };
}

/// The next calls to be looked at, of a time and of one tenant or of all: those without a price, or with `changed` those with one.
///
/// # Errors
/// [`DbError`].
pub async fn to_price(
    tx: &MeterTx,
    changed: bool,
    tenant: Option<TenantId>,
    (since, until): (DateTime<Utc>, DateTime<Utc>),
    after: Place,
    limit: i64,
) -> Result<Vec<Recorded>, DbError> {
    let statement = if changed { &PRICED_CALLS } else { &UNPRICED_CALLS };
    let tenant = tenant.map(|id| *id.as_uuid());
    let Place { tenant: of, at, id } = after;
    let rows = tx.query(statement, &[&since, &until, &tenant, &of, &at, &id, &limit]).await?;
    let recorded = |row: &Row| {
        let zone: Option<&str> = row.try_get("time_zone")?;
        Ok(Recorded {
            call: call(row)?,
            adjusted_usd: row.try_get("adjusted_usd")?,
            priced_later: row.try_get("priced_later")?,
            closed: row.try_get("closed")?,
            zone: zone.and_then(|zone| zone.parse().ok()).unwrap_or(Tz::UTC),
        })
    };
    rows.iter().map(recorded).collect()
}

/// The latest calls to providers, one after the other.
///
/// # Errors
/// [`DbError`].
pub async fn latest_calls(
    tx: &MeterTx,
    since: DateTime<Utc>,
    providers: &[&str],
    limit: i64,
    mut each: impl FnMut(&Call),
) -> Result<(), DbError> {
    let mut rows = pin!(tx.stream(&LATEST_CALLS, &[&since, &providers, &limit]).await?);
    while let Some(row) = rows.try_next().await? {
        each(&call(&row)?);
    }
    Ok(())
}

fn call(row: &Row) -> Result<Call, DbError> {
    fn word<T: std::str::FromStr>(row: &Row, name: &str) -> Result<T, DbError> {
        row.try_get::<_, &str>(name)?.parse().map_err(|_| DbError::Misuse("a call has a word that is not known"))
    }
    let day: NaiveDate = row.try_get("day")?;
    let usage = serde_json::from_value(row.try_get("usage")?);
    Ok(Call {
        id: row.try_get("id")?,
        tenant_id: TenantId::from_uuid(row.try_get("tenant_id")?),
        kind: Kind::Call,
        adjusts: None,
        prices_call: false,
        operation_id: row.try_get("operation_id")?,
        attempt: row.try_get("attempt")?,
        source: word::<Source>(row, "source")?,
        attribution: Attribution {
            agent_id: row.try_get("agent_id")?,
            session_id: row.try_get("session_id")?,
            task_id: row.try_get("task_id")?,
            api_key_id: row.try_get("api_key_id")?,
            provider_account_id: row.try_get("provider_account_id")?,
            task_type: row.try_get("task_type")?,
            client_reference: row.try_get("client_reference")?,
        },
        provider: row.try_get("provider")?,
        operation: row.try_get("operation")?,
        model: row.try_get("model")?,
        requested_model: row.try_get("requested_model")?,
        service_tier: row.try_get("service_tier")?,
        usage: usage.map_err(|_| DbError::Misuse("a call's usage cannot be read"))?,
        usage_source: word::<UsageSource>(row, "usage_source")?,
        usage_mismatch: row.try_get("usage_mismatch")?,
        cost: Costed {
            cost_usd: row.try_get("cost_usd")?,
            cost_source: word::<CostSource>(row, "cost_source")?,
            price_version: row.try_get("price_version")?,
            rates: row.try_get("rates")?,
            list_baseline_usd: row.try_get("list_baseline_usd")?,
            like_baseline_usd: row.try_get("like_baseline_usd")?,
            optimal: row.try_get("optimal")?,
        },
        latency_ms: row.try_get("latency_ms")?,
        time_to_first_token_ms: row.try_get("time_to_first_token_ms")?,
        streamed: row.try_get("streamed")?,
        success: row.try_get("success")?,
        error_message: row.try_get("error_message")?,
        finish: word::<Finish>(row, "finish")?,
        status_code: row.try_get("status_code")?,
        provider_request_id: row.try_get("provider_request_id")?,
        timestamp: row.try_get("timestamp")?,
        hour: row.try_get("hour")?,
        day,
    })
}
