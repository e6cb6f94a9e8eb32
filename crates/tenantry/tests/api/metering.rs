use std::time::Duration;

use chrono::Utc;
use isolation::server::TestServer;
use metering::{Attribution, Call, Costed, Finish, Kind, Source, UsageSource};
use uuid::Uuid;

fn call(tenant: tenantry_core::TenantId) -> Call {
    let timestamp = Utc::now();
    let (hour, day) = metering::bucket(timestamp, "UTC".parse().unwrap());
    Call {
        id: Uuid::now_v7(),
        tenant_id: tenant,
        kind: Kind::Call,
        adjusts: None,
        prices_call: false,
        operation_id: Uuid::now_v7(),
        attempt: 1,
        source: Source::Gateway,
        attribution: Attribution::default(),
        provider: "openai_codex".into(),
        operation: "responses".into(),
        model: "gpt-x".into(),
        requested_model: None,
        service_tier: None,
        usage: metering::usage::Usage::default(),
        usage_source: UsageSource::None,
        usage_mismatch: false,
        cost: Costed::free(),
        latency_ms: 1,
        time_to_first_token_ms: None,
        streamed: false,
        success: true,
        error_message: None,
        finish: Finish::Complete,
        status_code: Some(200),
        provider_request_id: None,
        timestamp,
        hour,
        day,
    }
}

/// A server ships while it serves, and what is left when it ends, before it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_ships_what_its_spool_has_until_its_end() {
    let server = TestServer::with(|settings| settings.metering.ship_interval = Duration::from_secs(600)).await;
    server.tenant("acme").await;
    let admin = server.database.admin().await;
    let tenant = admin.query_one("SELECT id FROM public.tenants", &[]).await.unwrap().get(0);
    let tenant = tenantry_core::TenantId::from_uuid(tenant);
    let metering = server.state.metering.clone();
    let left = call(tenant);
    metering.spool.intend(&left).await.unwrap();
    metering.spool.settle(&left).await.unwrap();
    assert_eq!((metering.health().records, metering.health().shipped), (1, 0));
    server.stop().await;
    let state = metering.health();
    assert_eq!((state.records, state.shipped, state.bytes), (0, 1, 0), "{state:?}");
    let row = admin.query_one("SELECT id FROM analytics.provider_api_calls", &[]).await.unwrap();
    assert_eq!(row.get::<_, Uuid>(0), left.id);
}
