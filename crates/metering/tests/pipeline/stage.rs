//! A database with tenants, a spool beside it, and calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metering::ship::Shipping;
use metering::spool::SpoolState;
use metering::usage::Usage;
use metering::{
    Attribution, Call, CostSource, Costed, Decimal, Finish, Kind, Metering, MeteringSettings, Source, UsageSource,
};
use tempfile::TempDir;
use tenantry_core::{Clock, SystemClock, TenantId};
use testkit::TestDatabase;
use tokio_postgres::Client;
use uuid::Uuid;

pub(crate) struct Stage {
    pub(crate) database: TestDatabase,
    pub(crate) admin: Client,
    pub(crate) directory: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::on(TestDatabase::create().await).await
    }

    pub(crate) async fn on(database: TestDatabase) -> Self {
        let admin = database.admin().await;
        Self { database, admin, directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn spools(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(crate) fn settings(&self) -> MeteringSettings {
        settings(self.directory.path())
    }

    /// A server's metering that ships nothing yet.
    pub(crate) fn metering(&self) -> Metering {
        self.metering_at(Arc::new(SystemClock))
    }

    pub(crate) fn metering_at(&self, clock: Arc<dyn Clock>) -> Metering {
        Metering::start(&self.database.config, &self.settings(), clock).unwrap()
    }

    /// Ships what the spool has, to the end, and leaves it.
    pub(crate) async fn ship(&self) -> SpoolState {
        let metering = self.metering();
        let shipping = Shipping::start(&metering, &self.settings()).unwrap();
        let state = empty(&metering).await;
        shipping.stop(Duration::from_secs(10)).await;
        state
    }

    /// What is booked: rows, and what they cost.
    pub(crate) async fn booked(&self) -> (i64, Decimal) {
        let sql = "SELECT count(*), coalesce(sum(cost_usd), 0) FROM analytics.provider_api_calls";
        let row = self.admin.query_one(sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// The ids of all rows.
    pub(crate) async fn ids(&self) -> Vec<Uuid> {
        let rows = self.admin.query("SELECT id FROM analytics.provider_api_calls ORDER BY id", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Rows, counters and marks say the same, to the last digit.
    pub(crate) async fn agree(&self) {
        let sql = "WITH counted AS (
            SELECT tenant_id, scope, scope_id, day, coalesce(sum(cost_usd), 0) AS cost_usd, count(*) FILTER (WHERE kind = 'call') AS calls,
              count(*) FILTER (WHERE kind = 'call' AND cost_usd IS NULL) - count(*) FILTER (WHERE prices_call) AS unpriced_calls
            FROM analytics.provider_api_calls CROSS JOIN LATERAL (VALUES ('tenant', tenant_id), ('agent', agent_id), ('key', api_key_id)) s (scope, scope_id)
            WHERE scope_id IS NOT NULL GROUP BY 1, 2, 3, 4)
            SELECT (SELECT count(*) FROM (TABLE counted EXCEPT TABLE analytics.spend_counters) a), (SELECT count(*) FROM (TABLE analytics.spend_counters EXCEPT TABLE counted) b),
              (SELECT count(*) FROM (SELECT tenant_id, hour, day FROM analytics.provider_api_calls EXCEPT SELECT tenant_id, hour, day FROM analytics.dirty_hours) c)";
        let row = self.admin.query_one(sql, &[]).await.unwrap();
        let differences: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(differences, (0, 0, 0), "rows, counters and marks");
    }
}

pub(crate) fn settings(directory: &Path) -> MeteringSettings {
    MeteringSettings {
        spool_dir: Some(directory.to_owned()),
        spool_segment_bytes: 64 << 10,
        ship_interval: Duration::from_millis(5),
        ..MeteringSettings::default()
    }
}

/// Waits until everything in the spool is shipped.
pub(crate) async fn empty(metering: &Metering) -> SpoolState {
    until(metering, |state| state.records == 0 && state.in_flight == 0).await
}

/// Waits until the spool's state is so.
pub(crate) async fn until(metering: &Metering, reached: impl Fn(&SpoolState) -> bool) -> SpoolState {
    for _ in 0..2000 {
        let state = metering.health();
        if reached(&state) {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not reached: {:?}", metering.health())
}

pub(crate) fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(0x7e_0000 + n))
}

/// A gateway's call of a tenant, now.
pub(crate) fn call(tenant_number: u128, cost: &str) -> Call {
    at(tenant_number, cost, Utc::now())
}

pub(crate) fn at(tenant_number: u128, cost: &str, timestamp: DateTime<Utc>) -> Call {
    let (hour, day) = metering::bucket(timestamp, "Asia/Kolkata".parse().unwrap());
    let cost =
        Costed::of(cost.parse().ok(), if cost.is_empty() { CostSource::Unpriced } else { CostSource::Catalogue });
    Call {
        id: Uuid::now_v7(),
        tenant_id: tenant(tenant_number),
        kind: Kind::Call,
        adjusts: None,
        prices_call: false,
        operation_id: Uuid::now_v7(),
        attempt: 1,
        source: Source::Gateway,
        attribution: Attribution {
            agent_id: Some(Uuid::from_u128(tenant_number % 3)),
            api_key_id: tenant_number.is_multiple_of(2).then(|| Uuid::from_u128(tenant_number)),
            ..Attribution::default()
        },
        provider: "openai_codex".into(),
        operation: "chat.completions".into(),
        model: "gpt-x".into(),
        requested_model: None,
        service_tier: None,
        usage: Usage { input: 120, output: 30, ..Usage::default() },
        usage_source: UsageSource::Reported,
        usage_mismatch: false,
        cost: Costed { rates: Some(serde_json::json!({ "input": "2.0", "output": "4.0" })), ..cost },
        latency_ms: 450,
        time_to_first_token_ms: Some(120),
        streamed: true,
        success: true,
        error_message: None,
        finish: Finish::Complete,
        status_code: Some(200),
        provider_request_id: Some("req_1".into()),
        timestamp,
        hour,
        day,
    }
}

/// The row that a call becomes when it is never seen to end: the most that it can have cost.
pub(crate) fn unsettled(call: &Call, at_most: &str) -> Call {
    Call {
        usage_source: UsageSource::Unsettled,
        finish: Finish::Unsettled,
        success: false,
        cost: Costed::of(at_most.parse().ok(), CostSource::Catalogue),
        ..call.clone()
    }
}

pub(crate) fn usd(text: &str) -> Decimal {
    text.parse().unwrap()
}
