//! What a request costs with everything on, against a bare handler.

mod bare;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use secrecy::ExposeSecret as _;
use tenantry::{AppParts, AppState};
use tenantry_core::SystemClock;
use tenantry_http::{HttpConfig, TenancyState, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::ground::{self, AGENTS, Ground, agent_id};
use crate::load::{Answer, Call, Load};
use crate::report::{Report, Row};
use crate::stats::{median, median_ratio, percentile};
use crate::{Options, access_log};

const CONNECTIONS: usize = 8;
const TENANTS: usize = 8;

pub(super) async fn measure(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::new("http");
    let log = access_log::start(&options.out)?;
    let ground = Ground::start("http", None).await?;
    report.fact("server", ground.facts());
    report.fact(
        "load",
        format!("a child process, {CONNECTIONS} kept-alive connections, {TENANTS} tenants in one cell; bare: {CONNECTIONS} connections"),
    );
    report.fact("access log", log);
    let keys = ground.fill_with_keys(TENANTS).await?;
    // So many that nobody is refused, and everybody counted.
    let limit = "UPDATE public.plans SET requests_per_minute = 1000000000";
    ground.admin().await?.batch_execute(limit).await?;
    report.fact("rate limits", "on, in process".to_owned());
    let server = ground.server().await?;
    let tenancy =
        TenancyState::new(server.registry.clone(), server.db.clone(), HttpConfig::default(), Arc::new(SystemClock))?;
    let keychain = workforce::Keychain::new(
        &ground.config,
        tenantry_secrets::Secrets::none(),
        &workforce::keychain::OAuthConfig::default(),
        &workforce::keychain::EgressConfig::default(),
        Arc::new(SystemClock),
    )?;
    let metering = metering::Metering::start(&ground.config, &ground.metering(), Arc::new(SystemClock))?;
    let gateway = metering::gateway::Gateway::new(
        &metering::gateway::GatewaySettings::default(),
        metering.clone(),
        server.db.clone(),
        keychain.clone(),
    )?;
    let state = AppState::from(AppParts {
        tenancy,
        provisioner: ground.provisioner.clone(),
        scheduling: workforce::Scheduling::default(),
        stripe: tenantry::Stripe::off(),
        keychain,
        metering,
        gateway,
    });
    let full = Served::start(tenantry::router(&state)).await?;
    let bare = Served::start(bare::router(&ground, &ground::slug(0), CONNECTIONS).await?).await?;

    let calls = |with_keys: bool| -> Vec<Call> {
        let call = |n: usize| {
            let key = &keys[n % keys.len()];
            let path = format!("/v1/agents/{}", agent_id(n / keys.len() % AGENTS));
            Call { path, key: with_keys.then(|| key.expose_secret().to_owned()), ..Call::default() }
        };
        (0..keys.len() * AGENTS).map(call).collect()
    };
    let full_load = Load::alike(full.address, CONNECTIONS, &calls(true));
    let bare_load = Load::alike(bare.address, CONNECTIONS, &calls(false));
    full_load.clone().lasting(2.0).run().await?;
    bare_load.clone().lasting(1.0).run().await?;
    let (mut with, mut without): (Vec<Answer>, Vec<Answer>) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds.max(3) {
        eprintln!("bench: http, round {round}");
        without.push(bare_load.clone().lasting(3.0).run().await?);
        with.push(full_load.clone().lasting(3.0).run().await?);
        without.push(bare_load.clone().lasting(3.0).run().await?);
        with.push(full_load.clone().lasting(3.0).run().await?);
    }
    let rates = |answers: &[Answer]| answers.iter().map(|a| a.rate).collect::<Vec<_>>();
    let (with_rates, without_rates) = (rates(&with), rates(&without));
    report.push(Row::higher("bare_handler", median(&without_rates), "1/s"));
    report.push(Row::higher("full_stack", median(&with_rates), "1/s"));
    report.push(Row::higher("http_throughput", median_ratio(&with_rates, &without_rates), "ratio").goal(0.7));
    let p99 = |answers: &[Answer]| percentile(&answers.iter().map(|a| a.p99_us).collect::<Vec<_>>(), 0.5);
    report.push(Row::lower("http_p99", p99(&with) / p99(&without), "ratio"));

    full.stop().await?;
    bare.stop().await?;
    server.db.close();
    server.registry.stop();
    ground.finish().await?;
    Ok(report)
}

/// A router behind a port.
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn start(router: Router) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let ended = async {
                let _ = stopped.await;
            };
            serve(listener, router, &HttpConfig::default(), ended).await;
        });
        Ok(Self { address, stop, task })
    }

    async fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        Ok(self.task.await?)
    }
}
