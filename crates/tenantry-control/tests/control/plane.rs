use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, FromRef};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::middleware::from_fn_with_state;
use chrono::TimeDelta;
use serde_json::{Value, json};
use tenantry_control::Stripe;
use tenantry_core::{OperatorRole, SystemClock};
use tenantry_http::{HttpConfig, TenancyState, TenantRouter, TenantScope, harden, operator_auth};
use tenantry_postgres::{Actor, BillingPolicy, Provisioner, TenantSchema};
use testkit::{World, WorldConfig};
use tower::ServiceExt as _;

/// The signing secrets of the webhook endpoint, while it is rotated.
pub(crate) const OLD_SECRET: &str = "whsec_old";
pub(crate) const SECRET: &str = "whsec_new";

/// A server with the control plane and one endpoint of tenants, `GET /v1/whoami`.
pub(crate) struct Plane {
    pub(crate) world: World,
    pub(crate) router: Router,
    /// The token of operator `ada`.
    pub(crate) token: String,
}

#[derive(Clone)]
struct State {
    tenancy: TenancyState,
    provisioner: Provisioner,
    stripe: Stripe,
}

impl FromRef<State> for Stripe {
    fn from_ref(state: &State) -> Self {
        state.stripe.clone()
    }
}

impl FromRef<State> for Provisioner {
    fn from_ref(state: &State) -> Self {
        state.provisioner.clone()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The body, when the status is the expected one.
    #[track_caller]
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// Status, code, and the place of the first error.
    pub(crate) fn face(&self) -> (u16, &str, &str) {
        let error = &self.body["errors"][0];
        let place = error["pointer"].as_str().or(error["parameter"].as_str()).unwrap_or_default();
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default(), place)
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::with_grace(TimeDelta::days(30)).await
    }

    pub(crate) async fn with_grace(grace: TimeDelta) -> Self {
        let sql = "CREATE TABLE tenant.notes (id integer PRIMARY KEY, body text NOT NULL);";
        let mut world = World::start(WorldConfig::new(TenantSchema::new(sql, &["notes"]))).await;
        world.provisioner = world.provisioner.with_grace(grace);
        let made =
            world.provisioner.issue_operator("ada", OperatorRole::Admin, None, &Actor::system("test")).await.unwrap();
        let token = secrecy::ExposeSecret::expose_secret(&made.token).to_owned();
        let router = router(&world);
        Self { world, router, token }
    }

    /// As it is, with what follows from payments.
    pub(crate) async fn with_billing(policy: BillingPolicy) -> Self {
        let mut plane = Self::start().await;
        plane.world.provisioner = plane.world.provisioner.with_billing(policy);
        plane.router = router(&plane.world);
        plane
    }

    /// The token of an operator with a role.
    pub(crate) async fn operator(&self, name: &str, role: OperatorRole) -> String {
        let made = self.world.provisioner.issue_operator(name, role, None, &Actor::system("test")).await.unwrap();
        secrecy::ExposeSecret::expose_secret(&made.token).to_owned()
    }

    /// Sends a request with a credential and other headers.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        credential: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let peer: SocketAddr = ([192, 0, 2, 7], 4711).into();
        let mut request = Request::builder().method(method).uri(path).extension(ConnectInfo(peer));
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header(header::HOST, "localhost");
        }
        if let Some(credential) = credential {
            request = request.header(header::AUTHORIZATION, format!("Bearer {credential}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(json.to_string())
            }
            None => Body::empty(),
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Some(&self.token), &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(&self.token), &[], Some(body)).await
    }

    /// A step that needs no body.
    pub(crate) async fn step(&self, path: &str) -> Answer {
        self.send(Method::POST, path, Some(&self.token), &[], None).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(&self.token), &[], Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, Some(&self.token), &[], None).await
    }

    /// Makes a tenant; gives the answer's body.
    pub(crate) async fn tenant(&self, slug: &str) -> Value {
        self.post("/admin/v1/tenants", json!({ "slug": slug, "admin_email": "it@customer.example" })).await.ok(201)
    }

    /// What a tenant's endpoint says to a credential.
    pub(crate) async fn whoami(&self, credential: &str) -> Answer {
        self.send(Method::GET, "/v1/whoami", Some(credential), &[], None).await
    }

    /// Repeats a request until it has the status. Changes are promised within a second; a busy test machine gets more.
    pub(crate) async fn eventually(&self, path: &str, credential: &str, status: u16) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let answer = self.send(Method::GET, path, Some(credential), &[], None).await;
            if answer.status.as_u16() == status {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} still answers {}: {}", answer.status, answer.body);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The router of a server: what the binary puts together, with a smaller domain.
pub(crate) fn router(world: &World) -> Router {
    let mut config = HttpConfig::default();
    // Tests guess from one address.
    config.rate_limit.failed_credentials_per_minute = 0;
    let tenancy =
        TenancyState::new(world.registry.clone(), world.db.clone(), config.clone(), Arc::new(SystemClock)).unwrap();
    let secrets = [OLD_SECRET, SECRET].map(|secret| secret.to_owned().into()).into();
    let stripe = Stripe::new(secrets, Duration::from_secs(300), Arc::new(SystemClock));
    let state = State { tenancy, provisioner: world.provisioner.clone(), stripe };
    let (operators, _) = tenantry_control::router::<State>().split_for_parts();
    let routes = TenantRouter::new()
        .get("/v1/whoami", whoami)
        .protect(&state.tenancy)
        .merge(operators.route_layer(from_fn_with_state(state.tenancy.clone(), operator_auth)))
        .merge(tenantry_control::webhooks::<State>().split_for_parts().0)
        .with_state(state);
    harden(routes, &config)
}

async fn whoami(TenantScope(context): TenantScope) -> axum::Json<Value> {
    axum::Json(json!({ "slug": context.slug() }))
}
