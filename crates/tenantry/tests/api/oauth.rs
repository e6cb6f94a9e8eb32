//! Authorization of provider accounts, against a provider that speaks OAuth 2.0 with PKCE.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Form;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use isolation::server::{Answer, Tenant, TestServer, serve_aside};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use workforce::keychain::oauth::refresh_due;

const CLIENT: &str = "tenantry";
const SECRET: &str = "client secret";

/// What the provider has promised for a code.
struct Granted {
    challenge: String,
    redirect_uri: String,
}

#[derive(Default)]
struct Book {
    codes: HashMap<String, Granted>,
    refresh_tokens: Vec<String>,
    /// Token requests, as they came.
    asked: Vec<HashMap<String, String>>,
    /// What is answered in the place of tokens.
    failure: Option<(u16, &'static str)>,
    lifetime: i64,
}

/// A provider (RFC 6749 with RFC 7636), strict about everything.
#[derive(Clone)]
struct Provider {
    book: Arc<Mutex<Book>>,
    base: String,
}

impl Provider {
    async fn start() -> Self {
        let book = Arc::new(Mutex::new(Book { lifetime: 3600, ..Book::default() }));
        let router = axum::Router::new().route("/token", post(token)).with_state(book.clone());
        Self { book, base: serve_aside(router).await }
    }

    /// A person agrees: the provider sends the browser back with this.
    fn agree(&self, authorization_url: &str) -> (String, String) {
        let url = Url::parse(authorization_url).unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!((query["response_type"].as_str(), query["client_id"].as_str()), ("code", CLIENT));
        assert_eq!(query["code_challenge_method"], "S256");
        let code = format!("code-{}", uuid::Uuid::new_v4());
        let granted =
            Granted { challenge: query["code_challenge"].clone(), redirect_uri: query["redirect_uri"].clone() };
        self.book.lock().unwrap().codes.insert(code.clone(), granted);
        (code, query["state"].clone())
    }

    fn asked(&self) -> usize {
        self.book.lock().unwrap().asked.len()
    }

    fn fail(&self, failure: Option<(u16, &'static str)>) {
        self.book.lock().unwrap().failure = failure;
    }
}

fn refused(status: u16, error: &str) -> Response {
    let body = json!({ "error": error, "error_description": "a text with client secret in it" });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

async fn token(
    State(book): State<Arc<Mutex<Book>>>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let mut book = book.lock().unwrap();
    book.asked.push(form.clone());
    let expected = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{}", SECRET.replace(' ', "+"))));
    if headers.get("authorization").is_none_or(|value| value != expected.as_str()) {
        return refused(401, "invalid_client");
    }
    if let Some((status, error)) = book.failure {
        return refused(status, error);
    }
    let fine = match form["grant_type"].as_str() {
        // A code is spent by the first try.
        "authorization_code" => book.codes.remove(&form["code"]).is_some_and(|granted| {
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
            granted.challenge == challenge && granted.redirect_uri == form["redirect_uri"]
        }),
        // So is a refresh token: each answer brings another.
        "refresh_token" => {
            let before = book.refresh_tokens.len();
            book.refresh_tokens.retain(|token| *token != form["refresh_token"]);
            book.refresh_tokens.len() < before
        }
        _ => false,
    };
    if !fine {
        return refused(400, "invalid_grant");
    }
    let number = book.asked.len();
    let (access, refresh) = (format!("access-token-{number:016}"), format!("refresh-token-{number:016}"));
    book.refresh_tokens.push(refresh.clone());
    let answer = json!({
        "access_token": access, "token_type": "Bearer", "expires_in": book.lifetime, "refresh_token": refresh,
        "scope": "repo user",
    });
    axum::Json(answer).into_response()
}

struct Scene {
    server: TestServer,
    tenant: Tenant,
    provider: Provider,
    oauth: Value,
    _secret: tempfile::TempDir,
}

impl Scene {
    async fn open() -> Self {
        Self::with(json!({})).await
    }

    async fn with(more: Value) -> Self {
        let provider = Provider::start().await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), format!("{SECRET}\n")).unwrap();
        let mut settings = json!({
            "authorization_url": "https://github.test/authorize", "token_url": format!("{}/token", provider.base),
            "client_id": CLIENT, "client_secret_file": directory.path().join("secret"), "scopes": ["repo"],
            "issuer": "https://github.test", "authorization_parameters": { "prompt": "consent" },
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let other = json!({
            "authorization_url": "https://evil.test/authorize", "token_url": format!("{}/token", provider.base),
            "client_id": CLIENT, "client_secret_file": directory.path().join("secret"),
        });
        let oauth = json!({
            "callback_url": "http://127.0.0.1/oauth/callback",
            "providers": { "github_copilot": settings, "evil": other },
        });
        let given = serde_json::from_value(oauth.clone()).unwrap();
        let server = TestServer::with(|settings| settings.oauth = given).await;
        let tenant = server.tenant("acme").await;
        Self { server, tenant, provider, oauth, _secret: directory }
    }

    async fn start(&self, body: Value) -> Value {
        let answer = self.try_start(body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()
    }

    async fn try_start(&self, body: Value) -> Answer {
        let path = "/v1/provider-accounts/oauth/start";
        Answer::to(self.server.by(&self.tenant, Method::POST, path).json(&body)).await
    }

    /// What the browser brings back.
    async fn callback(&self, provider: &str, query: &[(&str, &str)]) -> Answer {
        Answer::to(self.server.request(Method::GET, &callback_path(provider, query))).await
    }

    async fn accounts(&self) -> Vec<Value> {
        let list = Answer::to(self.server.by(&self.tenant, Method::GET, "/v1/provider-accounts")).await;
        list.json()["data"].as_array().unwrap().clone()
    }

    async fn connected(&self) -> Value {
        let begun = self.start(json!({ "provider": "github_copilot", "name": "Mira", "owner_key": "u1" })).await;
        let (code, state) = self.provider.agree(begun["authorization_url"].as_str().unwrap());
        let answer = self.callback("github_copilot", &[("code", &code), ("state", &state)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.accounts().await.remove(0)
    }

    async fn refresh(&self) -> usize {
        let state = &self.server.state;
        refresh_due(state.tenancy.registry(), state.tenancy.db(), &state.keychain).await.unwrap()
    }

    /// Makes the tokens of all accounts due now.
    async fn make_due(&self) {
        let admin = self.server.database.admin().await;
        let sql = format!(
            "UPDATE {}.provider_accounts SET refresh_at = now(), refresh_leased_until = NULL WHERE refresh_at IS NOT NULL; \
             UPDATE tenantry.alarms SET due_at = now(), leased_until = NULL",
            self.tenant.schema
        );
        admin.batch_execute(&sql).await.unwrap();
    }
}

fn callback_path(provider: &str, query: &[(&str, &str)]) -> String {
    let url = Url::parse_with_params("http://callback.test/", query).unwrap();
    format!("/oauth/callback/{provider}?{}", url.query().unwrap_or_default())
}

fn invalid() -> (u16, String) {
    (400, "oauth_state_invalid".to_owned())
}

#[tokio::test]
async fn an_authorization_becomes_an_account() {
    let scene = Scene::open().await;
    let begun = scene.start(json!({ "provider": "github_copilot", "name": "Mira", "owner_key": "u1" })).await;
    let url = begun["authorization_url"].as_str().unwrap();
    assert!(
        url.starts_with("https://github.test/authorize?")
            && url.contains("prompt=consent")
            && url.contains("scope=repo")
    );
    assert!(!url.contains("acme") && !begun["state"].as_str().unwrap().contains(&scene.tenant.slug));
    let (code, state) = scene.provider.agree(url);
    assert_eq!(begun["state"], state.as_str());
    let query = [("code", code.as_str()), ("state", &state), ("iss", "https://github.test"), ("scope", "x")];
    let answer = scene.callback("github_copilot", &query).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.contains("acme") && answer.text.contains("github_copilot"), "the person sees who has it now");
    assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert_eq!((answer.header("cache-control"), answer.header("referrer-policy")), ("no-store", "no-referrer"));
    let account = scene.accounts().await.remove(0);
    assert_eq!(
        (&account["provider"], &account["name"], &account["owner_key"]),
        (&json!("github_copilot"), &json!("Mira"), &json!("u1"))
    );
    assert_eq!((&account["status"], &account["has_refresh_token"]), (&json!("active"), &json!(true)));
    assert_eq!(account["scopes"], json!(["repo", "user"]), "what was given, not what was asked for");
    assert!(account["access_token_expires_at"].is_string() && !account.to_string().contains("access-token"));
    let admin = scene.server.database.admin().await;
    let events = admin
        .query("SELECT details::text FROM audit.events WHERE action = 'provider_account.connect'", &[])
        .await
        .unwrap();
    assert!(events[0].get::<_, String>(0).contains("started_by"));
}

#[tokio::test]
async fn an_answer_counts_once_however_many_come_at_once() {
    let scene = Scene::open().await;
    let begun = scene.start(json!({ "provider": "github_copilot" })).await;
    let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
    let query = [("code", code.as_str()), ("state", state.as_str())];
    let answers = futures_util::future::join_all((0..8).map(|_| scene.callback("github_copilot", &query))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().filter(|answer| answer.status != 200).all(|answer| answer.verdict() == invalid()));
    assert_eq!((scene.provider.asked(), scene.accounts().await.len()), (1, 1), "the code was spent once");
    assert_eq!(scene.callback("github_copilot", &query).await.verdict(), invalid());
}

#[tokio::test]
async fn answers_that_belong_to_nothing_are_refused_before_anything_is_asked() {
    let scene = Scene::open().await;
    let begun = scene.start(json!({ "provider": "github_copilot" })).await;
    let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
    // Made up, bent, of another installation, none at all.
    let mut bent = state.clone().into_bytes();
    bent[20] = if bent[20] == b'A' { b'B' } else { b'A' };
    let bent = String::from_utf8(bent).unwrap();
    for wrong in ["", "x", "acme", &bent, &"A".repeat(120)] {
        assert_eq!(scene.callback("github_copilot", &[("code", &code), ("state", wrong)]).await.verdict(), invalid());
    }
    assert_eq!(scene.callback("github_copilot", &[("code", &code)]).await.verdict(), invalid());
    // Another provider's answer: its row is spent all the same.
    let mixed = scene.callback("evil", &[("code", &code), ("state", &state)]).await;
    assert_eq!(mixed.verdict(), invalid());
    assert_eq!(scene.callback("github_copilot", &[("code", &code), ("state", &state)]).await.verdict(), invalid());
    // Another issuer's.
    let begun = scene.start(json!({ "provider": "github_copilot" })).await;
    let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
    let query = [("code", code.as_str()), ("state", state.as_str()), ("iss", "https://evil.test")];
    assert_eq!(scene.callback("github_copilot", &query).await.verdict(), invalid());
    // Too old.
    let begun = scene.start(json!({ "provider": "github_copilot" })).await;
    let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
    let admin = scene.server.database.admin().await;
    let age = format!("UPDATE {}.oauth_transactions SET expires_at = now() - interval '1 second'", scene.tenant.schema);
    admin.batch_execute(&age).await.unwrap();
    assert_eq!(scene.callback("github_copilot", &[("code", &code), ("state", &state)]).await.verdict(), invalid());
    assert_eq!((scene.provider.asked(), scene.accounts().await.len()), (0, 0), "no code was sent anywhere");
}

#[tokio::test]
async fn a_provider_that_must_name_its_issuer_must() {
    let scene = Scene::with(json!({ "requires_issuer": true })).await;
    let begun = scene.start(json!({ "provider": "github_copilot" })).await;
    let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
    assert_eq!(scene.callback("github_copilot", &[("code", &code), ("state", &state)]).await.verdict(), invalid());
}

#[tokio::test]
async fn the_verifier_of_another_authorization_opens_nothing() {
    let scene = Scene::open().await;
    let first = scene.start(json!({ "provider": "github_copilot" })).await;
    let second = scene.start(json!({ "provider": "github_copilot" })).await;
    let (code, _) = scene.provider.agree(first["authorization_url"].as_str().unwrap());
    let (_, state) = scene.provider.agree(second["authorization_url"].as_str().unwrap());
    // A code that was put into another flow (code injection) comes with the wrong verifier, and the provider refuses it.
    let injected = scene.callback("github_copilot", &[("code", &code), ("state", &state)]).await;
    assert_eq!(injected.verdict(), (502, "oauth_exchange_failed".to_owned()));
    assert_eq!((scene.provider.asked(), scene.accounts().await.len()), (1, 0));
    assert!(!injected.text.contains("secret"), "what the provider says is for the log: {}", injected.text);
    // A verifier is sealed for its row: swapped in the table, it does not open.
    let third = scene.start(json!({ "provider": "github_copilot" })).await;
    let fourth = scene.start(json!({ "provider": "github_copilot" })).await;
    let admin = scene.server.database.admin().await;
    let swap = format!(
        "UPDATE {0}.oauth_transactions a SET encrypted_pkce_verifier = b.encrypted_pkce_verifier \
         FROM {0}.oauth_transactions b WHERE a.id <> b.id AND b.id = (SELECT max(id::text)::uuid FROM {0}.oauth_transactions)",
        scene.tenant.schema
    );
    admin.batch_execute(&swap).await.unwrap();
    let mut statuses = Vec::new();
    for begun in [&third, &fourth] {
        let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
        statuses.push(scene.callback("github_copilot", &[("code", &code), ("state", &state)]).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 1, "{statuses:?}");
}

#[tokio::test]
async fn a_refusal_and_a_failure_at_the_provider_are_told_apart() {
    let scene = Scene::open().await;
    let begun = scene.start(json!({ "provider": "github_copilot" })).await;
    let (_, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
    let query = [("error", "access_denied<script>"), ("error_description", "no"), ("state", state.as_str())];
    let denied = scene.callback("github_copilot", &query).await;
    assert_eq!(denied.verdict(), (400, "oauth_denied".to_owned()));
    assert_eq!(denied.json()["provider_error"], "access_deniedscript");
    assert_eq!(scene.callback("github_copilot", &query).await.verdict(), invalid(), "it is spent");
    for failure in [(500, "server_error"), (400, "invalid_client")] {
        scene.provider.fail(Some(failure));
        let begun = scene.start(json!({ "provider": "github_copilot" })).await;
        let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
        let failed = scene.callback("github_copilot", &[("code", &code), ("state", &state)]).await;
        assert_eq!(failed.verdict(), (502, "oauth_exchange_failed".to_owned()));
    }
    let unknown = scene.try_start(json!({ "provider": "nobody" })).await;
    assert_eq!(
        (unknown.verdict().1.as_str(), &unknown.json()["errors"][0]["pointer"]),
        ("oauth_provider_unknown", &json!("/provider"))
    );
}

#[tokio::test]
async fn one_companys_state_makes_no_account_of_another() {
    let scene = Scene::open().await;
    let globex = scene.server.tenant("globex").await;
    let begun = scene.start(json!({ "provider": "github_copilot" })).await;
    let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
    // Whatever the browser says about tenants, the state decides.
    let path = callback_path("github_copilot", &[("code", &code), ("state", &state)]);
    let request = scene.server.by(&globex, Method::GET, &path);
    let answer = Answer::to(request.header("x-tenant-slug", "globex")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(scene.accounts().await.len(), 1);
    let other = Answer::to(scene.server.by(&globex, Method::GET, "/v1/provider-accounts")).await;
    assert_eq!(other.json()["data"], json!([]));
    // Nobody's any more when the company is not served.
    let begun = scene.start(json!({ "provider": "github_copilot" })).await;
    let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
    scene.server.state.provisioner.suspend("acme", &isolation::server::actor()).await.unwrap();
    loop {
        let answer = scene.callback("github_copilot", &[("code", &code), ("state", &state)]).await;
        assert_ne!(answer.status, 200);
        if answer.verdict() == (403, "tenant_inactive".to_owned()) || answer.verdict() == invalid() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_account_is_connected_again() {
    let scene = Scene::open().await;
    let account = scene.connected().await;
    let body = json!({ "provider": "github_copilot", "provider_account_id": account["id"] });
    let begun = scene.start(body.clone()).await;
    let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
    assert_eq!(scene.callback("github_copilot", &[("code", &code), ("state", &state)]).await.status, 200);
    let accounts = scene.accounts().await;
    assert_eq!((accounts.len(), &accounts[0]["id"], &accounts[0]["name"]), (1, &account["id"], &json!("Mira")));
    assert_eq!(accounts[0]["version"], 2);
    let other = json!({ "provider": "evil", "provider_account_id": account["id"] });
    assert_eq!(scene.try_start(other).await.verdict(), (422, "validation_failed".to_owned()));
    let revoke = format!("/v1/provider-accounts/{}/revoke", account["id"].as_str().unwrap());
    let begun = scene.start(body.clone()).await;
    assert_eq!(Answer::to(scene.server.by(&scene.tenant, Method::POST, &revoke)).await.status, 200);
    let (code, state) = scene.provider.agree(begun["authorization_url"].as_str().unwrap());
    let late = scene.callback("github_copilot", &[("code", &code), ("state", &state)]).await;
    assert_eq!(late.verdict(), (409, "provider_account_revoked".to_owned()), "revoked is for good");
    assert_eq!(scene.try_start(body).await.verdict(), (409, "provider_account_revoked".to_owned()));
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end_by_one_server() {
    let scene = Scene::open().await;
    let account = scene.connected().await;
    assert_eq!(scene.refresh().await, 0, "an hour is left");
    scene.make_due().await;
    // Two servers at once, each many times: the provider's refresh token is spent once.
    let oauth = serde_json::from_value(scene.oauth.clone()).unwrap();
    let second = TestServer::on(scene.server.database.clone(), |settings| settings.oauth = oauth).await;
    let (one, two) = (&scene.server.state, &second.state);
    let look = async |state: &tenantry::AppState| {
        refresh_due(state.tenancy.registry(), state.tenancy.db(), &state.keychain).await.unwrap()
    };
    let looks = futures_util::future::join_all([look(one), look(two), look(one), look(two)]).await;
    assert!(looks.into_iter().sum::<usize>() <= 1);
    let renewed = until(&scene, |account| account["version"] == 2).await;
    assert_eq!(scene.provider.asked(), 2, "one exchange, one renewal");
    assert_eq!(renewed["status"], "active");
    assert_ne!(renewed["secret_hint"], account["secret_hint"]);
    // The new refresh token replaced the old one: the next renewal works too.
    scene.make_due().await;
    let again = until_refreshed(&scene, |account| account["version"] == 3).await;
    assert_eq!(again["status"], "active");
    assert_eq!(scene.provider.asked(), 3);
}

#[tokio::test]
async fn a_renewal_that_fails_is_seen_on_the_account() {
    let scene = Scene::open().await;
    scene.connected().await;
    // Away: it is tried again, and the account stays.
    scene.provider.fail(Some((503, "temporarily_unavailable")));
    scene.provider.book.lock().unwrap().refresh_tokens.clear();
    scene.make_due().await;
    // A provider's own word is final.
    scene.provider.fail(None);
    let lost = until_refreshed(&scene, |account| account["status"] == "error").await;
    assert!(
        lost["last_error"].as_str().unwrap().contains("invalid_grant") && lost["last_error_at"].is_string(),
        "{lost}"
    );
    assert!(!lost.to_string().contains("client secret"), "the provider's free text stays out");
    let asked = scene.provider.asked();
    scene.make_due().await;
    assert_eq!((scene.refresh().await, scene.provider.asked()), (0, asked), "it is not asked again");
    // New tokens make it active again.
    let rotate = format!("/v1/provider-accounts/{}/rotate", lost["id"].as_str().unwrap());
    let body = json!({ "access_token": "a-new-access-token" });
    let answer = Answer::to(scene.server.by(&scene.tenant, Method::POST, &rotate).json(&body)).await;
    assert_eq!((&answer.json()["status"], &answer.json()["last_error"]), (&json!("active"), &json!(null)));
}

#[tokio::test]
async fn a_provider_that_is_away_is_tried_again() {
    let scene = Scene::with(json!({ "token_url": "http://127.0.0.1:9/token" })).await;
    let body = json!({
        "provider": "github_copilot", "access_token": "access-0123456789abcdef", "refresh_token": "refresh-0123456789abcdef",
        "access_token_expires_at": chrono::Utc::now() + chrono::TimeDelta::seconds(1),
    });
    let made = Answer::to(scene.server.by(&scene.tenant, Method::POST, "/v1/provider-accounts").json(&body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    scene.make_due().await;
    let tried = until_refreshed(&scene, |account| account["last_error"].is_string()).await;
    assert_eq!(tried["status"], "active", "{tried}");
    let admin = scene.server.database.admin().await;
    let alarm = "SELECT due_at > now() FROM tenantry.alarms WHERE kind = 'token_refresh'";
    assert!(admin.query_one(alarm, &[]).await.unwrap().get::<_, bool>(0), "the next try is set");
}

/// Waits for what a renewal brings about.
async fn until(scene: &Scene, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1000 {
        let account = scene.accounts().await.remove(0);
        if holds(&account) {
            return account;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {:?}", scene.accounts().await);
}

/// As [`until`], and looks for what is due: the server itself does so only every few seconds.
async fn until_refreshed(scene: &Scene, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1000 {
        scene.refresh().await;
        let account = scene.accounts().await.remove(0);
        if holds(&account) {
            return account;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {:?}", scene.accounts().await);
}
