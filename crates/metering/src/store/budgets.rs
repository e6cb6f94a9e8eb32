//! Budgets as their tenant reads and writes them.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tenantry_core::ApiKeyId;
use tenantry_http::Limit;
use tenantry_postgres::{DbError, ProvisionError, Registry, Row, TenantContext, TenantDb, TenantTx, statements};
use tenantry_secrets::{Place, Secrets, prefix};
use uuid::Uuid;
use workforce::{List, Page, Position, Valid};

use crate::Usd;
use crate::budgets::{
    Budget, BudgetError, BudgetStanding, BudgetStandings, CreateBudget, Period, Scope, Span, SpentOf, UpdateBudget,
};

/// What a tenant may have: every server keeps them all in memory.
const MOST: i64 = 1000;
/// How many are shown at a glance.
const NEAREST: i64 = 20;

macro_rules! columns {
    () => {
        "id, name, scope, scope_id, period, limit_usd, hard, warn_at, webhook_url, version, created_at, updated_at"
    };
}

statements! {
    /// One budget by id.
    FIND_BUDGET(UUID) = concat!("SELECT ", columns!(), " FROM analytics.budgets WHERE id = $1 AND deleted_at IS NULL");
    /// A page of budgets.
    LIST_BUDGETS(TEXT, UUID, TIMESTAMPTZ, UUID, INT8) = concat!(
        "SELECT ", columns!(), " FROM analytics.budgets WHERE deleted_at IS NULL \
           AND ($1::text IS NULL OR scope = $1) AND ($2::uuid IS NULL OR scope_id = $2) \
           AND (created_at, id) < (COALESCE($3, 'infinity'::timestamptz), \
                                   COALESCE($4, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) \
         ORDER BY created_at DESC, id DESC LIMIT $5"
    );
    /// Lets one budget be made after the other, so that each maker counts what the one before has made: holds a row that every company has.
    HOLD_BUDGETS() = "SELECT name FROM tenant.quota_counters WHERE name = 'agents' AND period = '' FOR NO KEY UPDATE";
    /// How many there are.
    COUNT_BUDGETS() = "SELECT count(*) AS budgets FROM analytics.budgets WHERE deleted_at IS NULL";
    /// A new budget.
    INSERT_BUDGET(UUID, TEXT, TEXT, UUID, TEXT, NUMERIC, BOOL, INT4_ARRAY, TEXT, BYTEA) = concat!(
        "INSERT INTO analytics.budgets (id, name, scope, scope_id, period, limit_usd, hard, warn_at, webhook_url, webhook_secret) \
         VALUES ($1, $2, $3, COALESCE($4, tenantry.current_tenant()), $5, $6, $7, $8, $9, $10) RETURNING ", columns!()
    );
    /// A budget that is going to be changed.
    LOCK_BUDGET(UUID) =
        concat!("SELECT ", columns!(), " FROM analytics.budgets WHERE id = $1 AND deleted_at IS NULL FOR UPDATE");
    /// Changes a budget. The secret stays unless there is a new one, and goes with the address.
    UPDATE_BUDGET(UUID, TEXT, NUMERIC, BOOL, INT4_ARRAY, TEXT, BYTEA) = concat!(
        "UPDATE analytics.budgets SET name = $2, limit_usd = $3, hard = $4, warn_at = $5, webhook_url = $6, \
           webhook_secret = CASE WHEN $6::text IS NULL THEN NULL ELSE COALESCE($7, webhook_secret) END, \
           version = version + 1, updated_at = now(), changed_in = DEFAULT WHERE id = $1 RETURNING ", columns!()
    );
    /// Marks a budget deleted, for all servers; its address and secret go.
    DELETE_BUDGET(UUID) =
        "UPDATE analytics.budgets SET deleted_at = now(), version = version + 1, updated_at = now(), changed_in = DEFAULT, \
           webhook_url = NULL, webhook_secret = NULL WHERE id = $1";
    /// What was spent in a period.
    SPENT_OF_BUDGET(TEXT, UUID, DATE, DATE) =
        "SELECT COALESCE(sum(cost_usd), 0) AS spent, COALESCE(sum(unpriced_calls), 0)::int8 AS unpriced \
         FROM analytics.spend_counters WHERE scope = $1 AND scope_id = COALESCE($2, tenantry.current_tenant()) AND day >= $3 AND day < $4";
    /// Where budgets stand, those first of which the largest part is spent. Takes the first days of this day, week and month, and of the next.
    BUDGET_STANDINGS(DATE, DATE, DATE, DATE, DATE, DATE, INT8) = concat!(
        "SELECT ", columns!(), ", spent, count(*) OVER () AS budgets, count(*) FILTER (WHERE spent >= limit_usd) OVER () AS exhausted \
         FROM analytics.budgets b CROSS JOIN LATERAL ( \
           SELECT COALESCE(sum(c.cost_usd), 0) AS spent FROM analytics.spend_counters c \
           WHERE c.scope = b.scope AND c.scope_id = b.scope_id \
             AND c.day >= CASE b.period WHEN 'day' THEN $1::date WHEN 'week' THEN $2::date ELSE $3::date END \
             AND c.day < CASE b.period WHEN 'day' THEN $4::date WHEN 'week' THEN $5::date ELSE $6::date END \
         ) s WHERE deleted_at IS NULL ORDER BY spent / limit_usd DESC, id LIMIT $7"
    );
    /// The live agent of an id, held so until the commit.
    HOLD_BUDGET_AGENT(UUID) = "SELECT id FROM tenant.agents WHERE id = $1 AND deleted_at IS NULL FOR KEY SHARE";
    /// Where a budget's warnings are posted to.
    WEBHOOK_OF_BUDGET(UUID) =
        "SELECT webhook_url, webhook_secret FROM analytics.budgets WHERE id = $1 AND deleted_at IS NULL";
    /// Secrets under another data key than the one with this prefix.
    OLD_BUDGET_SECRETS(BYTEA) =
        "SELECT id, webhook_secret FROM analytics.budgets WHERE substr(webhook_secret, 1, 5) <> $1 ORDER BY id FOR UPDATE";
    /// A secret sealed anew.
    RESEAL_BUDGET_SECRET(UUID, BYTEA) = "UPDATE analytics.budgets SET webhook_secret = $2 WHERE id = $1";
}

macro_rules! column {
    ($row:expr, $name:literal) => {
        $row.try_get($name).map_err(DbError::from)?
    };
}

/// Where the secret of a budget's webhook is kept.
pub(crate) const fn secret_of(budget: Uuid) -> Place {
    Place { table: "budgets", column: "webhook_secret", row: budget }
}

/// A budget that is being made, with its secret sealed before a connection is taken.
#[derive(Debug)]
pub struct Sealed {
    id: Uuid,
    secret: Option<Vec<u8>>,
}

/// Seals what a new budget's posts are signed with.
///
/// # Errors
/// [`BudgetError::Shared`].
pub async fn seal(secrets: &Secrets, context: &TenantContext, new: &CreateBudget) -> Result<Sealed, BudgetError> {
    let id = Uuid::now_v7();
    let secret = match &new.webhook_secret {
        Some(secret) => {
            Some(secrets.seal(context, secret_of(id), secret.secret()).await.map_err(workforce::Error::from)?)
        }
        None => None,
    };
    Ok(Sealed { id, secret })
}

/// Inserts a budget.
///
/// # Errors
/// [`BudgetError::UnknownScope`], [`BudgetError::NameTaken`], [`BudgetError::TooMany`].
pub async fn create(
    tx: &mut TenantTx,
    registry: &Registry,
    new: &Valid<CreateBudget>,
    sealed: &Sealed,
) -> Result<Budget, BudgetError> {
    if let Some(id) = new.scope_id {
        hold_scope(tx, registry, new.scope, id).await?;
    }
    // Counters are locked last, and the agent is held by now.
    tx.query_opt(&HOLD_BUDGETS, &[]).await?;
    let count: i64 = column!(tx.query_one(&COUNT_BUDGETS, &[]).await?, "budgets");
    if count >= MOST {
        return Err(BudgetError::TooMany(MOST));
    }
    let row = tx
        .query_one(
            &INSERT_BUDGET,
            &[
                &sealed.id,
                &new.name,
                &new.scope.as_str(),
                &new.scope_id,
                &new.period.as_str(),
                &new.limit_usd.0,
                &new.hard,
                &new.warn_at,
                &new.webhook_url,
                &sealed.secret,
            ],
        )
        .await
        .map_err(|error| named(error, &new.name))?;
    let budget = read(&row)?;
    note(
        tx,
        "create",
        "budget.created",
        &budget,
        json!({
            "name": budget.name, "scope": budget.scope, "scope_id": budget.scope_id, "period": budget.period,
            "limit_usd": budget.limit_usd, "hard": budget.hard,
        }),
    );
    Ok(budget)
}

/// Sees to it that the agent is there and stays until the commit, or that the key is there.
async fn hold_scope(tx: &mut TenantTx, registry: &Registry, scope: Scope, id: Uuid) -> Result<(), BudgetError> {
    let unknown = || BudgetError::UnknownScope { scope, id };
    match scope {
        Scope::Tenant => Ok(()),
        Scope::Agent => tx.query_opt(&HOLD_BUDGET_AGENT, &[&id]).await?.map(|_| ()).ok_or_else(unknown),
        Scope::Key => match registry.api_key(&tx.context().clone(), ApiKeyId::from_uuid(id)).await {
            Ok(key) if key.revoked_at.is_none() => Ok(()),
            Ok(_) | Err(ProvisionError::UnknownKey(_)) => Err(unknown()),
            Err(error) => Err(error.into()),
        },
    }
}

/// Finds a budget; one statement.
///
/// # Errors
/// [`BudgetError::NotFound`].
pub async fn find(tx: &mut TenantTx, id: Uuid) -> Result<Budget, BudgetError> {
    let row = tx.query_opt(&FIND_BUDGET, &[&id]).await?;
    read(&row.ok_or(BudgetError::NotFound(id))?)
}

/// A page of budgets, the newest first; one statement.
///
/// # Errors
/// Only the database's.
pub async fn list(
    tx: &mut TenantTx,
    scope: Option<Scope>,
    scope_id: Option<Uuid>,
    after: Option<Position>,
    limit: Limit,
) -> Result<Page<Budget>, BudgetError> {
    let scope = scope.map(Scope::as_str);
    let (at, id) = (after.map(|after| after.created_at), after.map(|after| after.id));
    let rows = tx.query(&LIST_BUDGETS, &[&scope, &scope_id, &at, &id, &limit.probe()]).await?;
    let budgets = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let position = |budget: &Budget| Position { created_at: budget.created_at, id: budget.id };
    Ok(Page::cut(budgets, limit, List::Budgets, position))
}

/// Changes a budget that still has the version `expected`.
///
/// # Errors
/// [`BudgetError::NotFound`], [`BudgetError::VersionConflict`], [`BudgetError::NameTaken`].
pub async fn update(
    tx: &mut TenantTx,
    secrets: &Secrets,
    id: Uuid,
    expected: i64,
    change: &Valid<UpdateBudget>,
) -> Result<Budget, BudgetError> {
    let before = lock(tx, id, Some(expected)).await?;
    if change.webhook_secret.is_named() && before.webhook_url.is_none() && !change.webhook_url.is_named() {
        return Err(BudgetError::NoWebhook);
    }
    let mut after = before.clone();
    change.name.apply_required(&mut after.name);
    change.limit_usd.apply_required(&mut after.limit_usd);
    change.hard.apply_required(&mut after.hard);
    change.warn_at.apply_required(&mut after.warn_at);
    change.webhook_url.apply(&mut after.webhook_url);
    let secret = match change.webhook_secret.value() {
        Some(secret) => {
            let context = tx.context().clone();
            let sealed = secrets.seal(&context, secret_of(id), secret.secret()).await;
            Some(sealed.map_err(workforce::Error::from)?)
        }
        None => None,
    };
    let row = tx
        .query_one(
            &UPDATE_BUDGET,
            &[&id, &after.name, &after.limit_usd.0, &after.hard, &after.warn_at, &after.webhook_url, &secret],
        )
        .await
        .map_err(|error| named(error, &after.name))?;
    let after = read(&row)?;
    let mut facts = json!({ "version": after.version, "changed": change.named() });
    if after.limit_usd != before.limit_usd {
        facts["limit_usd"] = json!({ "from": before.limit_usd, "to": after.limit_usd });
    }
    if after.hard != before.hard {
        facts["hard"] = json!({ "from": before.hard, "to": after.hard });
    }
    note(tx, "update", "budget.updated", &after, facts);
    Ok(after)
}

/// Deletes a budget.
///
/// # Errors
/// [`BudgetError::NotFound`]; with `expected` also [`BudgetError::VersionConflict`].
pub async fn delete(tx: &mut TenantTx, id: Uuid, expected: Option<i64>) -> Result<(), BudgetError> {
    let budget = lock(tx, id, expected).await?;
    tx.execute(&DELETE_BUDGET, &[&id]).await?;
    let facts = json!({ "name": budget.name, "limit_usd": budget.limit_usd, "version": budget.version });
    tx.audit("budget.delete", &target(id), facts);
    tx.publish("budget.deleted", json!({ "id": id, "version": budget.version }));
    Ok(())
}

/// What was spent in a period of a budget, from its first day to the day before `end`, and how many of the calls have no price.
///
/// # Errors
/// Only the database's.
pub async fn spent(
    tx: &mut TenantTx,
    budget: &Budget,
    start: NaiveDate,
    end: NaiveDate,
) -> Result<(Decimal, i64), BudgetError> {
    let row = tx.query_one(&SPENT_OF_BUDGET, &[&budget.scope.as_str(), &budget.scope_id, &start, &end]).await?;
    Ok((column!(row, "spent"), column!(row, "unpriced")))
}

/// Where all budgets stand at an instant; one statement.
///
/// # Errors
/// Only the database's.
pub(crate) async fn standings(tx: &mut TenantTx, now: DateTime<Utc>) -> Result<BudgetStandings, BudgetError> {
    let zone = tx.tenant().time_zone;
    let starts = [Period::Day, Period::Week, Period::Month].map(|period| (period, Span::at(period, now, zone).start));
    let [day, week, month] = starts.map(|(_, start)| start);
    let [next_day, next_week, next_month] = starts.map(|(period, start)| period.after(start));
    let rows =
        tx.query(&BUDGET_STANDINGS, &[&day, &week, &month, &next_day, &next_week, &next_month, &NEAREST]).await?;
    let mut standings = BudgetStandings { total: 0, exhausted: 0, nearest: Vec::with_capacity(rows.len()) };
    for row in &rows {
        (standings.total, standings.exhausted) = (column!(row, "budgets"), column!(row, "exhausted"));
        let spent = SpentOf { budget: read(row)?, spent: Usd(column!(row, "spent")) };
        standings.nearest.push(BudgetStanding::new(spent, now, zone));
    }
    Ok(standings)
}

/// Where a budget's warnings go, with the sealed secret; one statement.
///
/// # Errors
/// [`BudgetError::NotFound`], [`BudgetError::NoWebhook`].
pub async fn webhook(tx: &mut TenantTx, id: Uuid) -> Result<(String, Vec<u8>), BudgetError> {
    let row = tx.query_opt(&WEBHOOK_OF_BUDGET, &[&id]).await?.ok_or(BudgetError::NotFound(id))?;
    let (url, secret): (Option<String>, Option<Vec<u8>>) =
        (column!(row, "webhook_url"), column!(row, "webhook_secret"));
    url.zip(secret).ok_or(BudgetError::NoWebhook)
}

/// Seals the secrets anew that are not under the tenant's current data key; gives their number. They are few, so it is one transaction.
///
/// # Errors
/// [`BudgetError`]; one that cannot be opened ends it, and all stay.
pub async fn reseal(db: &TenantDb, secrets: &Secrets, context: &TenantContext) -> Result<u64, BudgetError> {
    let current = secrets.current_version(context).await.map_err(workforce::Error::from)?;
    let mut tx = db.begin(context).await?;
    match reseal_in(&mut tx, secrets, context, &prefix(current)).await {
        Ok(done) => {
            if done > 0 {
                tx.audit("secrets.reseal", "budgets", json!({ "rows": done }));
            }
            tx.commit().await?;
            Ok(done)
        }
        Err(error) => {
            let _ = tx.rollback().await;
            Err(error)
        }
    }
}

async fn reseal_in(
    tx: &mut TenantTx,
    secrets: &Secrets,
    context: &TenantContext,
    prefix: &[u8],
) -> Result<u64, BudgetError> {
    let rows = tx.query(&OLD_BUDGET_SECRETS, &[&prefix]).await?;
    for row in &rows {
        let id: Uuid = column!(row, "id");
        let sealed: &[u8] = column!(row, "webhook_secret");
        let value = secrets.open(context, secret_of(id), sealed).await.map_err(workforce::Error::from)?;
        let sealed = secrets.seal(context, secret_of(id), &value).await.map_err(workforce::Error::from)?;
        tx.execute(&RESEAL_BUDGET_SECRET, &[&id, &sealed]).await?;
    }
    Ok(rows.len() as u64)
}

async fn lock(tx: &mut TenantTx, id: Uuid, expected: Option<i64>) -> Result<Budget, BudgetError> {
    let row = tx.query_opt(&LOCK_BUDGET, &[&id]).await?;
    let budget = read(&row.ok_or(BudgetError::NotFound(id))?)?;
    match expected {
        Some(expected) if expected != budget.version => {
            let (actual, current) = (budget.version, Box::new(json!(budget)));
            Err(BudgetError::VersionConflict { expected, actual, current })
        }
        _ => Ok(budget),
    }
}

fn named(error: DbError, name: &str) -> BudgetError {
    match error.constraint() {
        Some("budgets_name") => BudgetError::NameTaken(name.to_owned()),
        _ => error.into(),
    }
}

fn note(tx: &mut TenantTx, what: &str, kind: &'static str, budget: &Budget, details: Value) {
    tx.audit(&format!("budget.{what}"), &target(budget.id), details);
    tx.publish(kind, json!(budget));
}

fn target(id: Uuid) -> String {
    format!("budget/{id}")
}

fn read(row: &Row) -> Result<Budget, BudgetError> {
    let corrupt = |error: workforce::UnknownWord| BudgetError::Corrupt(error.to_string());
    let (scope, period): (&str, &str) = (column!(row, "scope"), column!(row, "period"));
    let scope: Scope = scope.parse().map_err(corrupt)?;
    let period: Period = period.parse().map_err(corrupt)?;
    let scope_id: Uuid = column!(row, "scope_id");
    let (created_at, updated_at): (DateTime<Utc>, DateTime<Utc>) =
        (column!(row, "created_at"), column!(row, "updated_at"));
    Ok(Budget {
        id: column!(row, "id"),
        name: column!(row, "name"),
        scope,
        scope_id: (scope != Scope::Tenant).then_some(scope_id),
        period,
        limit_usd: Usd(column!(row, "limit_usd")),
        hard: column!(row, "hard"),
        warn_at: column!(row, "warn_at"),
        webhook_url: column!(row, "webhook_url"),
        version: column!(row, "version"),
        created_at,
        updated_at,
    })
}
