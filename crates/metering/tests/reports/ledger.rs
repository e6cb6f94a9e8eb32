use chrono::{DateTime, TimeDelta, Utc};
use metering::statements::{CloseError, Closing, Month, Party, Statement, StatementSettings, close, find};
use metering::store::Reader;
use metering::store::statements::{Tenant, tenants};
use metering::{Decimal, bucket};
use tenantry_core::calendar::Tz;
use tenantry_postgres::{Actor, MeterDb};
use testkit::{World, WorldConfig};
use tokio_postgres::Client;
use uuid::Uuid;

/// Sums of the marked hours, as the metering makes them.
const ROLL_UP: &str = "
BEGIN;
DELETE FROM analytics.hourly_metrics h USING analytics.dirty_hours d WHERE (h.tenant_id, h.hour, h.day) = (d.tenant_id, d.hour, d.day);
INSERT INTO analytics.hourly_metrics (tenant_id, hour, day, provider, model, operation, agent_id, api_key_id, provider_account_id, task_type,
    total_calls, operations, successful_calls, unpriced_calls, estimated_calls, unsettled_calls, cost_usd, adjustments_usd, failed_cost_usd,
    estimated_cost_usd, covered_calls, covered_cost_usd, list_baseline_usd, like_baseline_usd, optimal_calls, tokens_input, tokens_output,
    tokens_cache_read, tokens_cache_write, tokens_reasoning, latency_ms, latency_histogram, first_token_ms, first_token_calls)
SELECT c.tenant_id, c.hour, c.day, provider, model, operation, agent_id, api_key_id, provider_account_id, task_type,
    count(*) FILTER (WHERE kind = 'call'), count(*) FILTER (WHERE kind = 'call' AND attempt = 1), count(*) FILTER (WHERE kind = 'call' AND success),
    count(*) FILTER (WHERE kind = 'call' AND cost_usd IS NULL) - count(*) FILTER (WHERE prices_call),
    count(*) FILTER (WHERE usage_source = 'estimated'), count(*) FILTER (WHERE usage_source = 'unsettled'),
    coalesce(sum(cost_usd), 0), coalesce(sum(cost_usd) FILTER (WHERE kind = 'adjustment'), 0), coalesce(sum(cost_usd) FILTER (WHERE NOT success), 0),
    coalesce(sum(cost_usd) FILTER (WHERE usage_source = 'estimated'), 0), 0, 0, 0, 0, 0, sum(tokens_input), sum(tokens_output), 0, 0, 0, sum(latency_ms), '{}', 0, 0
FROM analytics.provider_api_calls c JOIN analytics.dirty_hours d ON (c.tenant_id, c.hour, c.day) = (d.tenant_id, d.hour, d.day)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;
DELETE FROM analytics.dirty_hours;
COMMIT";

/// A call, or an adjustment, as a test makes it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) at: DateTime<Utc>,
    pub(crate) model: String,
    pub(crate) cost: Option<Decimal>,
    pub(crate) adjustment: bool,
    pub(crate) prices_call: bool,
    pub(crate) usage_source: &'static str,
    pub(crate) status_code: Option<i16>,
    pub(crate) agent: Option<Uuid>,
}

impl Row {
    pub(crate) fn call(at: DateTime<Utc>, model: &str, cost: &str) -> Self {
        Self {
            at,
            model: model.to_owned(),
            cost: (!cost.is_empty()).then(|| cost.parse().unwrap()),
            adjustment: false,
            prices_call: false,
            usage_source: "reported",
            status_code: Some(200),
            agent: None,
        }
    }

    pub(crate) fn adjustment(at: DateTime<Utc>, model: &str, cost: &str, prices_call: bool) -> Self {
        Self { adjustment: true, prices_call, usage_source: "none", ..Self::call(at, model, cost) }
    }
}

/// A world whose tenants have calls.
pub(crate) struct Ledger {
    pub(crate) world: World,
    pub(crate) admin: Client,
    pub(crate) db: MeterDb,
    pub(crate) settings: StatementSettings,
}

impl Ledger {
    pub(crate) async fn start() -> Self {
        let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
        let admin = world.admin().await;
        let db = MeterDb::new(&world.database.config, 4);
        Self { world, admin, db, settings: StatementSettings::default() }
    }

    /// A new tenant with a time zone.
    pub(crate) async fn tenant(&self, slug: &str, zone: Tz) -> Tenant {
        self.world.tenant(slug).await;
        let sql = "UPDATE public.tenants SET time_zone = $2, display_currency = 'EUR' WHERE slug = $1";
        self.admin.execute(sql, &[&slug, &zone.name()]).await.unwrap();
        let tx = self.db.begin().await.unwrap();
        let found = tenants(&tx, None, Some(slug), 1).await.unwrap().remove(0);
        tx.rollback().await.unwrap();
        found
    }

    /// Books a row and marks its hour.
    pub(crate) async fn book(&self, party: &Party, row: &Row) {
        let (hour, day) = bucket(row.at, party.zone);
        let kind = if row.adjustment { "adjustment" } else { "call" };
        let tokens: i64 = if row.adjustment { 0 } else { 10 };
        let sql = "WITH marked AS (INSERT INTO analytics.dirty_hours (tenant_id, hour, day) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING) \
            INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, operation, model, kind, prices_call, tokens_input, tokens_output, \
                cost_usd, latency_ms, success, usage_source, cost_source, \"timestamp\", hour, day, status_code, agent_id, source) \
            VALUES (gen_random_uuid(), $1, 'openai', 'chat.completions', $4, $5, $6, $7, $7, $8, 100, $9, $10, \
                CASE WHEN $8::numeric IS NULL THEN 'unpriced' WHEN $5 = 'adjustment' THEN 'adjustment' ELSE 'catalogue' END, $11, $2, $3, $12, $13, 'gateway')";
        let success = row.status_code.is_none_or(|code| code < 400);
        self.admin
            .execute(
                sql,
                &[
                    &party.id,
                    &hour,
                    &day,
                    &row.model,
                    &kind,
                    &row.prices_call,
                    &tokens,
                    &row.cost,
                    &success,
                    &row.usage_source,
                    &row.at,
                    &row.status_code,
                    &row.agent,
                ],
            )
            .await
            .unwrap();
    }

    pub(crate) async fn roll_up(&self) {
        self.admin.batch_execute(ROLL_UP).await.unwrap();
    }

    /// Closes up to a month, long after it.
    pub(crate) async fn close(&self, tenant: &Tenant, month: Month) -> Result<Vec<Statement>, CloseError> {
        let now = month.next().period(tenant.party.zone).0 + TimeDelta::days(5);
        let closing = Closing { month, now, by: &Actor::system("test"), early: false, dry_run: false };
        close(&self.db, &self.settings, tenant, closing).await.map(|outcome| outcome.statements)
    }

    /// A statement as operators read it.
    pub(crate) async fn statement(&self, tenant: &Tenant, month: Month, now: DateTime<Utc>) -> Option<Statement> {
        let tx = self.db.begin().await.unwrap();
        let mut reader = Reader::Meter(&tx, tenant.party.id);
        let found = find(&mut reader, &tenant.party, month, &self.settings, now).await.unwrap();
        tx.rollback().await.unwrap();
        found
    }
}

/// Months before the present one, for which there are partitions: 3 is three months ago.
pub(crate) fn months_ago(months: u32) -> Month {
    let today = Utc::now().date_naive();
    Month::of_day(Month::of_day(today).first_day() - chrono::Months::new(months))
}

/// An instant of a month, some hours after it began.
pub(crate) fn within(month: Month, zone: Tz, hours: i64) -> DateTime<Utc> {
    month.period(zone).0 + TimeDelta::hours(hours) + TimeDelta::minutes(7)
}
