//! The analytics on a real database: what is answered is what was recorded, to the last digit, and nothing of anybody else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agree;
mod answers;
mod isolation;
mod seed;
mod speed;
mod statements;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRef;
use axum::http::{HeaderMap, Method, Request};
use axum::{Extension, Router};
use chrono::{DateTime, NaiveDate, Utc};
use metering::prices::Prices;
use metering::{Decimal, Metering, MeteringSettings};
use serde_json::Value;
use tenantry_core::calendar::{Tz, wall_clock};
use tenantry_core::{Clock as _, ManualClock};
use tenantry_http::TenantScope;
use tenantry_postgres::{TenantContext, TenantDb};
use testkit::{World, WorldConfig};
use tokio_postgres::Client;
use tower::ServiceExt as _;

/// The zone of the companies here: its days begin in the middle of an hour of UTC.
const ZONE: Tz = Tz::Asia__Kolkata;

#[derive(Clone)]
struct State {
    db: TenantDb,
    metering: Metering,
}

impl FromRef<State> for TenantDb {
    fn from_ref(state: &State) -> Self {
        state.db.clone()
    }
}

impl FromRef<State> for Metering {
    fn from_ref(state: &State) -> Self {
        state.metering.clone()
    }
}

/// Two companies with calls, and the endpoints.
struct Stage {
    world: World,
    admin: Client,
    clock: Arc<ManualClock>,
    prices: Prices,
    router: Router,
    acme: TenantContext,
    globex: TenantContext,
    _spool: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Stage {
    /// The companies without calls.
    async fn empty() -> Self {
        let world = World::start(WorldConfig::new(workforce::tenant_schema())).await;
        let admin = world.admin().await;
        for slug in ["acme", "globex"] {
            world.tenant(slug).await;
        }
        admin.execute("UPDATE public.tenants SET time_zone = $1", &[&ZONE.name()]).await.unwrap();
        let (acme, globex) = (context(&world, "acme").await, context(&world, "globex").await);
        // the middle of the day that it is, there
        let day = wall_clock(Utc::now(), ZONE).date();
        let noon = tenantry_core::calendar::instant_of(day.and_hms_opt(12, 0, 0).unwrap(), ZONE);
        let clock = Arc::new(ManualClock::new(noon));
        let spool = tempfile::tempdir().unwrap();
        let settings = MeteringSettings {
            spool_dir: Some(spool.path().to_owned()),
            spool_segment_bytes: 64 << 10,
            ..MeteringSettings::default()
        };
        let metering = Metering::start(&world.database.config, &settings, clock.clone()).unwrap();
        let prices = metering.prices.clone();
        let (router, _) = metering::api::analytics::router::<State>().split_for_parts();
        let router = router.with_state(State { db: world.db.clone(), metering });
        Self { world, admin, clock, prices, router, acme, globex, _spool: spool }
    }

    /// The companies with calls of eleven weeks, which the sums of hours are made of.
    async fn full() -> Self {
        let stage = Self::empty().await;
        seed::calls(&stage, &stage.acme, "own", 1).await;
        seed::calls(&stage, &stage.globex, "foreign", 2).await;
        seed::roll_up(&stage.admin).await;
        stage
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn today(&self) -> NaiveDate {
        wall_clock(self.now(), ZONE).date()
    }

    /// The parameters of a period of so many days until today.
    fn last(&self, days: u64) -> String {
        let from = self.today() - chrono::Days::new(days - 1);
        format!("from={from}&to={}", self.today())
    }

    async fn send(&self, by: &TenantContext, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/v1/analytics/{path}"));
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let router = self.router.clone().layer(Extension(TenantScope(by.clone())));
        let response = router.oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, text: String::from_utf8(bytes.into()).unwrap() }
    }

    /// An answer to a question of the first company.
    async fn get(&self, path: &str) -> Answer {
        let answer = self.send(&self.acme, Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer
    }

    async fn ask(&self, path: &str) -> Value {
        self.get(path).await.json()
    }

    /// A refusal's status and code.
    async fn refused(&self, path: &str) -> (u16, String) {
        let answer = self.send(&self.acme, Method::GET, path, None).await;
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

async fn context(world: &World, slug: &str) -> TenantContext {
    let context = world.context(slug).await;
    assert_eq!(context.tenant().time_zone, ZONE);
    context
}

/// An amount of an answer.
fn usd(value: &Value) -> Decimal {
    value.as_str().unwrap_or_else(|| panic!("an amount is a text: {value}")).parse().unwrap()
}
