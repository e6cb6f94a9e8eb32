//! Calls for tests.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tenantry_core::TenantId;
use tenantry_core::calendar::Tz;
use tenantry_postgres::{DbError, MeterDb, MeterTx, statements};
use testkit::{World, WorldConfig};
use uuid::Uuid;

use crate::call::{Attribution, Call, CostSource, Costed, Finish, Kind, Source, UsageSource, bucket};
use crate::rollup::Hour;
use crate::store::rollup;
use crate::usage::Usage;

statements! {
    WRITE(UUID, UUID, TEXT, TEXT, NUMERIC, INT8, INT8, INT4, UUID, UUID, UUID, TIMESTAMPTZ, TIMESTAMPTZ, DATE, TEXT, BOOL, BOOL) =
        "INSERT INTO analytics.provider_api_calls (id, tenant_id, provider, model, operation, cost_usd, tokens_input, tokens_output, latency_ms, \
            agent_id, api_key_id, task_id, \"timestamp\", hour, day, kind, prices_call, success) \
         VALUES ($1, $2, $3, $4, 'chat.completions', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
    COUNT(UUID, TEXT, UUID, DATE, NUMERIC, INT8, INT8) =
        "INSERT INTO analytics.spend_counters AS s (tenant_id, scope, scope_id, day, cost_usd, calls, unpriced_calls) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (tenant_id, scope, scope_id, day) DO UPDATE SET cost_usd = s.cost_usd + excluded.cost_usd, \
            calls = s.calls + excluded.calls, unpriced_calls = s.unpriced_calls + excluded.unpriced_calls";
}

/// A database with the tenants `acme` and `globex`.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) db: MeterDb,
    pub(crate) acme: TenantId,
    pub(crate) globex: TenantId,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
        let mut ids = Vec::new();
        for slug in ["acme", "globex"] {
            world.tenant(slug).await;
            ids.push(world.provisioner.show(slug).await.unwrap().id);
        }
        let db = MeterDb::new(&world.database.config, 8);
        Self { world, db, acme: ids[0], globex: ids[1] }
    }

    /// Ships calls, in a transaction of their own.
    pub(crate) async fn ship(&self, calls: &[Call]) {
        let tx = self.db.begin().await.unwrap();
        write(&tx, calls).await.unwrap();
        count(&tx, calls).await.unwrap();
        rollup::mark(&tx, &hours(calls)).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// The hours of calls.
pub(crate) fn hours(calls: &[Call]) -> Vec<Hour> {
    calls.iter().map(|call| Hour { tenant: call.tenant_id, day: call.day, hour: call.hour }).collect()
}

/// A call of a thousandth of a dollar, to `openai`.
pub(crate) fn call(tenant: TenantId, at: DateTime<Utc>) -> Call {
    let (hour, day) = bucket(at, Tz::UTC);
    Call {
        id: Uuid::new_v4(),
        tenant_id: tenant,
        kind: Kind::Call,
        adjusts: None,
        prices_call: false,
        operation_id: Uuid::new_v4(),
        attempt: 1,
        source: Source::Api,
        attribution: Attribution::default(),
        provider: "openai".into(),
        operation: "chat.completions".into(),
        model: "gpt-4o-mini".into(),
        requested_model: None,
        service_tier: None,
        usage: Usage { input: 100, output: 10, ..Usage::default() },
        usage_source: UsageSource::Reported,
        usage_mismatch: false,
        cost: Costed::of(Some(Decimal::new(1, 3)), CostSource::Catalogue),
        latency_ms: 120,
        time_to_first_token_ms: None,
        streamed: false,
        success: true,
        error_message: None,
        finish: Finish::Complete,
        status_code: Some(200),
        provider_request_id: None,
        timestamp: at,
        hour,
        day,
    }
}

/// Calls alone: no counters and no mark.
pub(crate) async fn write(tx: &MeterTx, calls: &[Call]) -> Result<(), DbError> {
    for call in calls {
        let (input, output) = (call.usage.tokens_input() as i64, call.usage.tokens_output() as i64);
        let a = &call.attribution;
        tx.execute(
            &WRITE,
            &[
                &call.id,
                call.tenant_id.as_uuid(),
                &call.provider,
                &call.model,
                &call.cost.cost_usd,
                &input,
                &output,
                &call.latency_ms,
                &a.agent_id,
                &a.api_key_id,
                &a.task_id,
                &call.timestamp,
                &call.hour,
                &call.day,
                &call.kind.as_str(),
                &call.prices_call,
                &call.success,
            ],
        )
        .await?;
    }
    Ok(())
}

/// The counters of calls.
pub(crate) async fn count(tx: &MeterTx, calls: &[Call]) -> Result<(), DbError> {
    for call in calls {
        let is_call = i64::from(call.kind == Kind::Call);
        let unpriced = i64::from(is_call == 1 && call.cost.cost_usd.is_none()) - i64::from(call.prices_call);
        let cost = call.cost.cost_usd.unwrap_or_default();
        let tenant = call.tenant_id.as_uuid();
        let scopes = [
            ("tenant", Some(*tenant)),
            ("agent", call.attribution.agent_id),
            ("key", call.attribution.api_key_id),
        ];
        for (scope, id) in scopes.into_iter().filter_map(|(scope, id)| Some((scope, id?))) {
            tx.execute(&COUNT, &[tenant, &scope, &id, &call.day, &cost, &is_call, &unpriced]).await?;
        }
    }
    Ok(())
}
