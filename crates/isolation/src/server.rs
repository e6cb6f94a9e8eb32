//! A whole server on a database and a port of its own, and a client that speaks to it.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;
use tenantry::{AppState, Server, Settings};
use tenantry_http::Drained;
use tenantry_postgres::{Actor, NewTenant};
use testkit::TestDatabase;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::documented;

/// The base domain under which tenants of a [`TestServer`] have their subdomains.
pub const BASE_DOMAIN: &str = "app.test";

/// A stream that says nothing for so long has said what there was.
const QUIET: Duration = Duration::from_millis(150);

/// The server as the binary runs it, on a port of its own.
#[derive(Debug)]
pub struct TestServer {
    /// Its database.
    pub database: TestDatabase,
    /// What its endpoints share.
    pub state: AppState,
    /// Where it listens.
    pub address: SocketAddr,
    client: reqwest::Client,
    _spool: TempDir,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Drained>,
}

impl TestServer {
    /// A server on a fresh database, with [`BASE_DOMAIN`] and otherwise the defaults.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// As [`start`](Self::start), with changed settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(TestDatabase::create().await, change).await
    }

    /// A (further) server on a database.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn on(database: TestDatabase, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.http.base_domains = tenantry_http::BaseDomains::new([BASE_DOMAIN]).expect("a domain");
        settings.secrets.source = tenantry_secrets::MasterSource::File;
        settings.secrets.file = Some(master_keys());
        settings.oauth = authorizations();
        settings.egress.laboratory = crate::service::laboratory();
        // Tests guess from one address, and measure when they want to.
        settings.http.rate_limit.failed_credentials_per_minute = 0;
        settings.quotas.measure_interval = std::time::Duration::ZERO;
        settings.metering.statements.close_interval = std::time::Duration::ZERO;
        settings.metering.alerts.interval = std::time::Duration::ZERO;
        // What is waited for comes soon.
        settings.metering.rollup.interval = std::time::Duration::from_millis(100);
        settings.metering.rollup.debounce = std::time::Duration::ZERO;
        let spool = tempfile::tempdir().expect("a temporary directory");
        settings.metering.spool_segment_bytes = 256 << 10;
        change(&mut settings);
        settings.metering.spool_dir.get_or_insert_with(|| spool.path().to_owned());
        let server = Server::start(&database.config, &settings).await.expect("the server starts");
        let state = server.state().clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(listener, async {
            // a dropped sender stops the server as well
            let _ = stopped.await;
        }));
        Self { database, state, address, client: client(), _spool: spool, stop, served }
    }

    /// Creates a tenant on the enterprise plan, which has no limits, with a custom host.
    ///
    /// # Panics
    /// When it cannot be created.
    pub async fn tenant(&self, slug: &str) -> Tenant {
        let new = NewTenant {
            slug: slug.parse().expect("a slug"),
            admin_email: format!("admin@{slug}.example"),
            plan_tier: "enterprise".into(),
            allowed_domains: vec![format!("agents.{slug}.example")],
            dedicated: false,
        };
        let created = self.state.provisioner.create(&new, &actor()).await.expect("the tenant is created");
        Tenant {
            slug: slug.to_owned(),
            schema: created.tenant.schema_name,
            key: created.key.token.expose_secret().to_owned(),
            key_id: created.key.info.id.to_string(),
        }
    }

    /// An operator's token.
    ///
    /// # Panics
    /// When it cannot be created.
    pub async fn operator(&self, name: &str) -> String {
        let token = self.state.provisioner.create_operator(name, &actor()).await.expect("the operator is created");
        token.expose_secret().to_owned()
    }

    /// A request to a path of this server.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// A request with a tenant's key.
    pub fn by(&self, tenant: &Tenant, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).header("x-api-key", &tenant.key)
    }

    /// Sends bytes as they are and reads until the server closes the connection.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("the server listens");
        // a server that refuses early may close before everything is written
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Stops the server and waits until it has ended.
    ///
    /// # Panics
    /// When serving panicked.
    pub async fn stop(self) -> Drained {
        drop(self.stop);
        self.served.await.expect("serving ends in good order")
    }
}

/// A provider that gives authorizations, as far as they can begin.
fn authorizations() -> workforce::keychain::OAuthConfig {
    serde_json::from_value(serde_json::json!({
        "callback_url": "https://app.test/oauth/callback",
        "providers": { "openai": {
            "authorization_url": "https://id.service.test/authorize", "token_url": "https://id.service.test/token",
            "client_id": "tenantry",
        } },
    }))
    .expect("settings")
}

/// The master key of every test, in a file: whole, whoever writes it at the same time.
fn master_keys() -> std::path::PathBuf {
    let path = std::env::temp_dir().join("tenantry-test-master-keys");
    if !path.exists() {
        let own = path.with_extension(uuid::Uuid::new_v4().simple().to_string());
        std::fs::write(&own, "test AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").expect("a file can be written");
        std::fs::rename(&own, &path).expect("a file can be renamed");
    }
    path
}

/// A client of its own: no proxy of the environment comes between, no redirect is followed.
///
/// # Panics
/// When no client can be made.
#[must_use]
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client can be made")
}

/// Serves a router that is not the product's on a port of its own, until the test ends; gives its base URL.
///
/// # Panics
/// When no port is free.
pub async fn serve_aside(router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        tenantry_http::serve(listener, router, &tenantry_http::HttpConfig::default(), std::future::pending()).await
    });
    format!("http://{address}")
}

/// Who the tests' changes of the fleet are by.
#[must_use]
pub fn actor() -> Actor {
    Actor::system("test")
}

/// A tenant as its people know it.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its public name.
    pub slug: String,
    /// Its schema.
    pub schema: String,
    /// Its first API key.
    pub key: String,
    /// That key's id.
    pub key_id: String,
}

impl Tenant {
    /// The tenant's host below [`BASE_DOMAIN`].
    #[must_use]
    pub fn subdomain(&self) -> String {
        format!("{}.{BASE_DOMAIN}", self.slug)
    }

    /// The tenant's own host.
    #[must_use]
    pub fn custom_host(&self) -> String {
        format!("agents.{}.example", self.slug)
    }
}

/// What a stream tells at once: it has no end of its own.
async fn until_quiet(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(QUIET, response.chunk()).await {
        bytes.extend(chunk);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A response, read to its end; a stream until it is quiet.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// Sends a request.
    ///
    /// # Panics
    /// When no answer comes, or an error that the document does not list at the operation.
    pub async fn to(request: RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = client.execute(request).await.expect("the server answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let kind = headers.get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let text = match kind {
            Some("text/event-stream") => until_quiet(response).await,
            _ => response.text().await.expect("the body is text"),
        };
        let answer = Self { status, headers, text };
        if answer.header("content-type") == "application/problem+json" {
            let (status, code) = answer.verdict();
            documented::check(&method, &path, status, &code);
        }
        answer
    }

    /// The body as JSON; `null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The status and the problem's code, which is empty when the answer is no problem.
    #[must_use]
    pub fn verdict(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }

    /// A header's text, empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
