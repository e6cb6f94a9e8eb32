//! The table `analytics.price_overrides`, as each tenant reads and writes its own.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tenantry_http::{Limit, Problem};
use tenantry_postgres::{DbError, Row, TenantTx, statements};
use uuid::Uuid;
use workforce::{List, Page, Position, Valid};

use crate::api::v1::prices::{CreatePriceOverride, PriceOverride};
use crate::codes;
use crate::prices::Agreed;

/// So many a tenant may have: every server keeps all of them in memory, and looks through a tenant's for each of its calls.
pub const MOST: i64 = 500;

macro_rules! columns {
    () => {
        "id, provider, model, provider_account_id, valid_from, valid_to, price, note, created_at"
    };
}

statements! {
    /// An override that is there.
    FIND_OVERRIDE(UUID) = concat!("SELECT ", columns!(), " FROM analytics.price_overrides WHERE id = $1");
    /// A page of overrides, the newest first.
    LIST_OVERRIDES(TEXT, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", columns!(), " FROM analytics.price_overrides WHERE ($1::text IS NULL OR provider = $1) \
           AND (created_at, id) < (COALESCE($2, 'infinity'::timestamptz), \
                                   COALESCE($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) \
         ORDER BY created_at DESC, id DESC LIMIT $4"
    );
    /// The account stays until the override is there.
    HOLD_OVERRIDE_ACCOUNT(UUID) = "SELECT id FROM tenant.provider_accounts WHERE id = $1 FOR KEY SHARE";
    /// Overrides of the same thing for the same account with a moment in common, and how many there are of all.
    CLASHING_OVERRIDES(TEXT, TEXT, UUID, TIMESTAMPTZ, TIMESTAMPTZ) =
        "SELECT (SELECT id FROM analytics.price_overrides WHERE provider = $1 AND model = $2 \
             AND provider_account_id IS NOT DISTINCT FROM $3 \
             AND tstzrange(valid_from, valid_to) && tstzrange($4, $5) LIMIT 1) AS clash, \
           (SELECT count(*) FROM analytics.price_overrides) AS total";
    /// A new override.
    INSERT_OVERRIDE(UUID, TEXT, TEXT, UUID, TIMESTAMPTZ, TIMESTAMPTZ, JSONB, TEXT) = concat!(
        "INSERT INTO analytics.price_overrides (id, provider, model, provider_account_id, valid_from, valid_to, price, note) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ", columns!()
    );
    /// Removes an override.
    DELETE_OVERRIDE(UUID) = concat!("DELETE FROM analytics.price_overrides WHERE id = $1 RETURNING ", columns!());
}

/// Makes an override. Two that are made at the same moment for the same thing are not told of each other; the one that begins later counts.
///
/// # Errors
/// `unknown_provider_account`, `price_override_overlaps`, `too_many_price_overrides`, or the database's.
pub async fn create(
    tx: &mut TenantTx,
    new: &Valid<CreatePriceOverride>,
    now: DateTime<Utc>,
) -> Result<PriceOverride, Problem> {
    if let Some(account) = new.provider_account_id
        && tx.query_opt(&HOLD_OVERRIDE_ACCOUNT, &[&account]).await?.is_none()
    {
        return Err(workforce::Error::UnknownProviderAccount(account).into());
    }
    let (from, to, account) = (new.valid_from.unwrap_or(now), new.valid_to, new.provider_account_id);
    let row = tx.query_one(&CLASHING_OVERRIDES, &[&new.provider, &new.model, &account, &from, &to]).await?;
    let clash: Option<Uuid> = row.try_get("clash").map_err(DbError::from)?;
    if let Some(clash) = clash {
        let detail = format!("override `{clash}` is valid in a part of the same time");
        return Err(Problem::of(&codes::PRICE_OVERRIDE_OVERLAPS).detail(detail).with("override_id", clash));
    }
    if row.try_get::<_, i64>("total").map_err(DbError::from)? >= MOST {
        let detail = format!("there are {MOST} price overrides already");
        return Err(Problem::of(&codes::TOO_MANY_PRICE_OVERRIDES).detail(detail));
    }
    let agreed = new.agreed();
    let row = tx
        .query_one(
            &INSERT_OVERRIDE,
            &[&Uuid::now_v7(), &new.provider, &new.model, &account, &from, &to, &json!(agreed), &new.note],
        )
        .await?;
    let made = read(&row)?;
    tx.audit("price_override.create", &target(made.id), json!(made));
    Ok(made)
}

/// Finds an override; one statement.
///
/// # Errors
/// `price_override_not_found`, or the database's.
pub async fn find(tx: &mut TenantTx, id: Uuid) -> Result<PriceOverride, Problem> {
    let row = tx.query_opt(&FIND_OVERRIDE, &[&id]).await?;
    read(&row.ok_or_else(|| not_found(id))?)
}

/// A page of overrides, the newest first; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    provider: Option<&str>,
    after: Option<&Position>,
    limit: Limit,
) -> Result<Page<PriceOverride>, Problem> {
    let (time, id) = (after.map(|place| place.created_at), after.map(|place| place.id));
    let rows = tx.query(&LIST_OVERRIDES, &[&provider, &time, &id, &limit.probe()]).await?;
    let rows = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let position = |row: &PriceOverride| Position { created_at: row.created_at, id: row.id };
    Ok(Page::cut(rows, limit, List::PriceOverrides, position))
}

/// Removes an override. Calls that were priced with it stay as they are.
///
/// # Errors
/// `price_override_not_found`, or the database's.
pub async fn delete(tx: &mut TenantTx, id: Uuid) -> Result<(), Problem> {
    let row = tx.query_opt(&DELETE_OVERRIDE, &[&id]).await?;
    let gone = read(&row.ok_or_else(|| not_found(id))?)?;
    tx.audit("price_override.delete", &target(id), json!(gone));
    Ok(())
}

fn target(id: Uuid) -> String {
    format!("price-override/{id}")
}

fn not_found(id: Uuid) -> Problem {
    Problem::of(&codes::PRICE_OVERRIDE_NOT_FOUND).detail(format!("price override `{id}` does not exist"))
}

fn read(row: &Row) -> Result<PriceOverride, Problem> {
    fn columns(row: &Row) -> Result<PriceOverride, DbError> {
        let price: Value = row.try_get("price")?;
        let agreed = serde_json::from_value(price).map_err(|_| DbError::Misuse("a price override cannot be read"))?;
        let (price, multiplier) = match agreed {
            Agreed::Price(price) => (Some(*price), None),
            Agreed::Multiplier(multiplier) => (None, Some(multiplier)),
        };
        Ok(PriceOverride {
            id: row.try_get("id")?,
            provider: row.try_get("provider")?,
            model: row.try_get("model")?,
            provider_account_id: row.try_get("provider_account_id")?,
            valid_from: row.try_get("valid_from")?,
            valid_to: row.try_get("valid_to")?,
            price,
            multiplier,
            note: row.try_get("note")?,
            created_at: row.try_get("created_at")?,
        })
    }
    Ok(columns(row)?)
}
