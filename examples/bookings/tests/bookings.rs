//! The example's two companies share nothing, as those of any domain.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tenantry_core::SystemClock;
use tenantry_http::{HttpConfig, TenancyState, serve};
use testkit::{World, WorldConfig};
use tokio::net::TcpListener;

struct Company {
    base: String,
    key: String,
    http: Client,
}

impl Company {
    async fn get(&self, path: &str) -> Value {
        let request = self.http.get(format!("{}{path}", self.base)).header("x-api-key", &self.key);
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).header("x-api-key", &self.key).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }
}

async fn two_companies() -> [Company; 2] {
    let world = World::start(WorldConfig::new(bookings::schema())).await;
    let config = HttpConfig::default();
    let tenancy =
        TenancyState::new(world.registry.clone(), world.db.clone(), config.clone(), Arc::new(SystemClock)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut companies = Vec::new();
    for slug in ["acme", "globex"] {
        let key = world.tenant(slug).await.key.token.expose_secret().to_owned();
        companies.push(Company { base: base.clone(), key, http: Client::new() });
    }
    tokio::spawn(
        async move { serve(listener, bookings::routes(&tenancy, &config), &config, std::future::pending()).await },
    );
    companies.try_into().ok().unwrap()
}

#[tokio::test]
async fn rooms_and_bookings_belong_to_one_company() {
    let [acme, globex] = two_companies().await;
    let (status, room) = acme.post("/rooms", json!({ "name": "hall", "seats": 8 })).await;
    assert_eq!(status, StatusCode::CREATED, "{room}");
    let bookings = format!("/rooms/{}/bookings", room["id"].as_str().unwrap());
    let noon = json!({ "title": "lunch", "starts_at": "2027-01-04T12:00:00Z", "ends_at": "2027-01-04T13:00:00Z" });
    assert_eq!(acme.post(&bookings, noon.clone()).await.0, StatusCode::CREATED);
    assert_eq!(acme.post(&bookings, noon.clone()).await.0, StatusCode::CONFLICT, "the room is taken");

    assert_eq!(globex.get("/rooms").await, json!([]));
    assert_eq!(globex.get(&bookings).await, json!([]));
    assert_eq!(globex.post(&bookings, noon).await.0, StatusCode::UNPROCESSABLE_ENTITY, "no such room for globex");
    let (status, _) = globex.post("/rooms", json!({ "name": "hall", "seats": 2 })).await;
    assert_eq!(status, StatusCode::CREATED, "names are a company's own");
    assert_eq!(acme.get("/rooms").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn two_bookings_at_once_do_not_both_get_the_room() {
    let [acme, _] = two_companies().await;
    let (_, room) = acme.post("/rooms", json!({ "name": "hall", "seats": 8 })).await;
    let bookings = format!("/rooms/{}/bookings", room["id"].as_str().unwrap());
    let noon = json!({ "title": "lunch", "starts_at": "2027-01-04T12:00:00Z", "ends_at": "2027-01-04T13:00:00Z" });
    let (one, two) = tokio::join!(acme.post(&bookings, noon.clone()), acme.post(&bookings, noon));
    let mut statuses = [one.0.as_u16(), two.0.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[tokio::test]
async fn a_new_company_is_what_the_migrations_make_of_an_old_one() {
    let database = testkit::TestDatabase::create().await;
    let drift = tenantry_postgres::migrate::Drift::new(&database.config, bookings::schema());
    assert_eq!(drift.baseline().await.unwrap(), []);
}
