//! Budgets on a real database, with several servers on it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod isolation;
mod killed;
mod limits;
mod outage;
mod parallel;
mod periods;
mod statements;
mod warnings;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use metering::budgets::{Budget, BudgetError, BudgetSettings, Budgets, CreateBudget, NotAdmitted, UpdateBudget};
use metering::store::budgets;
use metering::usage::Usage;
use metering::{Attribution, Call, CostSource, Costed, Decimal, Finish, Kind, Source, UsageSource, bucket};
use serde_json::{Value, json};
use tenantry_core::{Clock, SystemClock};
use tenantry_postgres::{MeterDb, MeterTx, TenantContext, statements};
use tenantry_secrets::{Secrets, SecretsConfig};
use testkit::{World, WorldConfig};
use uuid::Uuid;
use workforce::Validate as _;

statements! {
    /// What the shipper does beside writing the calls.
    BOOK(UUID, TEXT, UUID, DATE, NUMERIC) =
        "INSERT INTO analytics.spend_counters AS c (tenant_id, scope, scope_id, day, cost_usd, calls) VALUES ($1, $2, $3, $4, $5, 1) \
         ON CONFLICT (tenant_id, scope, scope_id, day) DO UPDATE SET cost_usd = c.cost_usd + excluded.cost_usd, calls = c.calls + 1";
}

fn usd(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// A database with a company, and what several servers share.
struct Scene {
    world: World,
    context: TenantContext,
    db: MeterDb,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
}

impl Scene {
    async fn open() -> Self {
        Self::at(Arc::new(SystemClock)).await
    }

    async fn at(clock: Arc<dyn Clock>) -> Self {
        let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
        world.tenant("acme").await;
        let context = world.context("acme").await;
        let config = &world.database.config;
        let secrets = Secrets::start(config, &SecretsConfig::default(), Arc::new(SystemClock)).await.unwrap();
        let db = MeterDb::new(config, 2);
        Self { context, db, secrets, clock, world }
    }

    fn server(&self, settings: &BudgetSettings) -> Budgets {
        self.server_of(settings, Uuid::new_v4())
    }

    fn server_of(&self, settings: &BudgetSettings, id: Uuid) -> Budgets {
        Budgets::start(&self.world.database.config, settings, Arc::clone(&self.clock), id)
    }

    async fn budget(&self, changes: Value) -> Budget {
        self.budget_of(&self.context, changes).await
    }

    async fn budget_of(&self, context: &TenantContext, changes: Value) -> Budget {
        self.make_budget_of(context, changes).await.unwrap()
    }

    async fn make_budget(&self, changes: Value) -> Result<Budget, BudgetError> {
        self.make_budget_of(&self.context, changes).await
    }

    async fn make_budget_of(&self, context: &TenantContext, changes: Value) -> Result<Budget, BudgetError> {
        let mut body = json!({ "name": Uuid::new_v4(), "scope": "tenant", "period": "month", "limit_usd": "1" });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let new = serde_json::from_value::<CreateBudget>(body).unwrap().validated().unwrap();
        let sealed = budgets::seal(&self.secrets, context, &new).await.unwrap();
        let mut tx = self.world.db.begin(context).await.unwrap();
        match budgets::create(&mut tx, &self.world.registry, &new, &sealed).await {
            Ok(budget) => tx.commit().await.map(|()| budget).map_err(Into::into),
            Err(error) => {
                tx.rollback().await.unwrap();
                Err(error)
            }
        }
    }

    async fn change(&self, budget: &Budget, change: Value) -> Budget {
        let change = serde_json::from_value::<UpdateBudget>(change).unwrap().validated().unwrap();
        let mut tx = self.world.db.begin(&self.context).await.unwrap();
        let after = budgets::update(&mut tx, &self.secrets, budget.id, budget.version, &change).await.unwrap();
        tx.commit().await.unwrap();
        after
    }

    fn call(&self, cost: &str) -> Call {
        call_of(&self.context, &Attribution::default(), cost, self.clock.now())
    }

    /// What the shipper does: counters, leases and commit, and then what is told to the server.
    async fn ship(&self, server: &Budgets, calls: &[Call]) {
        let tx = self.db.begin().await.unwrap();
        book(&tx, calls).await;
        server.in_shipment(&tx, calls).await.unwrap();
        tx.commit().await.unwrap();
        server.shipped(calls);
    }

    async fn sum(&self, sql: &str) -> Decimal {
        self.world.admin().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// What all calls of the company cost.
    async fn spent(&self) -> Decimal {
        self.sum("SELECT COALESCE(sum(cost_usd), 0) FROM analytics.spend_counters WHERE scope = 'tenant'").await
    }

    /// What all servers have.
    async fn leased(&self) -> Decimal {
        self.sum(
            "SELECT COALESCE(sum(greatest(amount_usd, 0)), 0) FROM analytics.budget_leases WHERE expires_at > now()",
        )
        .await
    }

    /// Waits until as much can be admitted, or not.
    async fn until_admits(&self, server: &Budgets, amount: &str, expected: bool) -> Duration {
        let begun = Instant::now();
        eventually(async || {
            let outcome = server.admit(&self.context, &Attribution::default(), Some(usd(amount))).await;
            outcome.is_ok() == expected
        })
        .await;
        begun.elapsed()
    }
}

fn call_of(context: &TenantContext, attribution: &Attribution, cost: &str, at: DateTime<Utc>) -> Call {
    let (hour, day) = bucket(at, context.tenant().time_zone);
    Call {
        id: Uuid::now_v7(),
        tenant_id: context.id(),
        kind: Kind::Call,
        adjusts: None,
        prices_call: false,
        operation_id: Uuid::now_v7(),
        attempt: 1,
        source: Source::Gateway,
        attribution: attribution.clone(),
        provider: "openai".into(),
        operation: "responses".into(),
        model: "m".into(),
        requested_model: None,
        service_tier: None,
        usage: Usage::default(),
        usage_source: UsageSource::Reported,
        usage_mismatch: false,
        cost: Costed::of(Some(usd(cost)), CostSource::Catalogue),
        latency_ms: 1,
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

async fn book(tx: &MeterTx, calls: &[Call]) {
    for call in calls {
        let tenant = *call.tenant_id.as_uuid();
        let places =
            [("tenant", Some(tenant)), ("agent", call.attribution.agent_id), ("key", call.attribution.api_key_id)];
        for (scope, id) in places {
            if let (Some(id), Some(cost)) = (id, call.cost.cost_usd) {
                tx.execute(&BOOK, &[&tenant, &scope, &id, &call.day, &cost]).await.unwrap();
            }
        }
    }
}

/// Waits for what must come about.
async fn eventually(mut check: impl AsyncFnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(15);
    while !check().await {
        assert!(Instant::now() < patience, "it did not come about in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn exhausted(outcome: &Result<metering::budgets::Hold, NotAdmitted>) -> bool {
    matches!(outcome, Err(NotAdmitted::Exhausted { .. }))
}

impl Scene {
    async fn agent(&self, name: &str) -> Uuid {
        let new = workforce::agent::CreateAgent { name: name.into(), role: "support".into(), ..Default::default() };
        let mut tx = self.world.db.begin(&self.context).await.unwrap();
        let agent = workforce::store::agents::create(&mut tx, &new.validated().unwrap()).await.unwrap();
        tx.commit().await.unwrap();
        *agent.id.as_uuid()
    }

    /// The company's first key.
    async fn key(&self) -> Uuid {
        let keys = self.world.registry.keys(&self.context, None, 1).await.unwrap();
        *keys[0].id.as_uuid()
    }

    async fn try_budget(&self, context: &TenantContext, body: Value) -> Result<Budget, BudgetError> {
        let new = serde_json::from_value::<CreateBudget>(body).unwrap().validated().unwrap();
        let sealed = budgets::seal(&self.secrets, context, &new).await.unwrap();
        let mut tx = self.world.db.begin(context).await.unwrap();
        let outcome = budgets::create(&mut tx, &self.world.registry, &new, &sealed).await;
        tx.rollback().await.unwrap();
        outcome
    }
}
