//! Calls for tests.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tenantry_core::TenantId;
use tenantry_core::calendar::Tz;
use tenantry_postgres::MeterDb;
use testkit::{World, WorldConfig};
use uuid::Uuid;

use crate::call::{Attribution, Call, CostSource, Costed, Finish, Kind, Source, UsageSource, bucket};
use crate::rollup::Hour;
use crate::store;
use crate::usage::Usage;

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
        assert_eq!(store::book(&tx, calls).await.unwrap().len(), calls.len());
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
