//! The other side: LiteLLM's proxy, one worker, without a database.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::process::{Child, Command};

use crate::load::{Call, Connection, Method, request};

use super::upstream::CREDENTIAL;

/// The proxy's own key.
pub(super) const KEY: &str = "sk-bench-proxy";
const START: Duration = Duration::from_secs(180);

pub(super) struct LiteLlm {
    child: Child,
    pub(super) address: SocketAddr,
    config: PathBuf,
}

impl LiteLlm {
    /// Starts it in front of an upstream; logs into `dir`.
    pub(super) async fn start(upstream: SocketAddr, model: &str, dir: &Path) -> anyhow::Result<Self> {
        let program = program();
        ensure!(program.exists(), "`{}` is missing: `scripts/setup bench-metering` makes it", program.display());
        let config = dir.join("litellm.yaml");
        std::fs::write(&config, settings(upstream, model))?;
        let log = std::fs::File::create(dir.join("litellm.log"))?;
        // freed when the listener is dropped, and nobody else looks for one now
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let child = Command::new(&program)
            .arg("--config")
            .arg(&config)
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--num_workers", "1", "--telemetry", "False"])
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("LITELLM_LOG", "ERROR")
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start LiteLLM")?;
        let side = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), config };
        side.ready(model).await?;
        Ok(side)
    }

    /// Until it answers as the load will ask.
    async fn ready(&self, model: &str) -> anyhow::Result<()> {
        let (address, call, began) = (self.address, call(model), Instant::now());
        loop {
            let call = call.clone();
            let asked = tokio::task::spawn_blocking(move || {
                Connection::open(address)?.send(&request(address, &call, "", 0), Method::Ask).map(<[u8]>::len)
            });
            match asked.await? {
                Ok(_) => return Ok(()),
                Err(error) if began.elapsed() > START => return Err(error.context("LiteLLM does not answer")),
                Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }

    /// Its process; what it has started is below.
    pub(super) fn pid(&self) -> Option<i32> {
        self.child.id().and_then(|id| i32::try_from(id).ok())
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(std::fs::remove_file(&self.config)?)
    }
}

/// What it is asked.
pub(super) fn call(model: &str) -> Call {
    Call {
        method: Method::Ask,
        path: "/v1/chat/completions".to_owned(),
        key: Some(KEY.to_owned()),
        body: Some(super::gateway::body(model)),
        ..Call::default()
    }
}

/// Which version it is.
pub(super) async fn version() -> anyhow::Result<String> {
    let python = program().with_file_name("python");
    let script = "from importlib.metadata import version; import sys; print('litellm', version('litellm') + ', Python', sys.version.split()[0])";
    let output = Command::new(python).args(["-c", script]).output().await.context("cannot start Python")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-litellm/bin/litellm")
}

fn settings(upstream: SocketAddr, model: &str) -> String {
    format!(
        "model_list:\n  - model_name: {model}\n    litellm_params:\n      model: openai/{model}\n      api_base: http://{upstream}/openai/v1\n      \
         api_key: {CREDENTIAL}\ngeneral_settings:\n  master_key: {KEY}\nlitellm_settings:\n  num_retries: 0\n  request_timeout: 60\n"
    )
}
