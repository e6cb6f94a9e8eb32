//! `tenantry serve`.

use std::path::PathBuf;

use clap::Args;
use tenantry::{Server, Settings};
use tenantry_postgres::AccessMode;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, Global, say};

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port; port 0 takes a free one
    #[arg(long, env = "TENANTRY_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// A transaction-mode pooler for tenants' statements
    #[arg(long, env = "TENANTRY_POOLER_URL", value_name = "URL", hide_env_values = true)]
    pooler_url: Option<String>,
    /// A Redis or Valkey in which all servers count requests together
    #[arg(long, env = "TENANTRY_REDIS_URL", value_name = "URL", hide_env_values = true)]
    redis_url: Option<String>,
    /// Where provider calls are kept until the database has them; it must outlive the process
    #[arg(long, env = "TENANTRY_SPOOL_DIR", value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// Schemas to keep ready for new tenants
    #[arg(long, env = "TENANTRY_WARM", value_name = "NUMBER")]
    warm: Option<u16>,
}

pub(super) async fn run(args: ServeArgs, global: &Global, mut settings: Settings) -> Result<(), CliError> {
    if let Some(listen) = args.listen {
        settings.listen = listen;
    }
    if args.pooler_url.is_some() {
        settings.pooler_url = args.pooler_url;
    }
    if settings.pooler_url.is_some() {
        settings.access.mode = AccessMode::Pooler;
    }
    if let Some(url) = args.redis_url {
        settings.http.rate_limit.redis_url = Some(url.into());
    }
    if let Some(warm) = args.warm {
        settings.warm = warm;
    }
    if let Some(directory) = args.spool_dir {
        settings.metering.spool_dir = Some(directory);
    }
    global.choose_spool(&mut settings);
    let mut signals = Signals::catch()?;
    let database = global.database(&settings)?;
    let listener = bind(&settings.listen).await?;
    let address = listener.local_addr()?;
    let server = Server::start(&database, &settings).await?;
    say(format!("serving on http://{address}, database `{}` at {}", database.database(), database.address()));
    let drained = server.serve(listener, async { signals.received().await }).await;
    if drained.cut > 0 {
        return Err(CliError::failed(format!("{} requests were cut off at the end", drained.cut)));
    }
    Ok(())
}

/// Takes the address to serve on.
pub(crate) async fn bind(address: &str) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        let problem = CliError::usage(format!("cannot listen on `{address}`: {error}"));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                problem.hint("pass another one with `--listen`, such as `127.0.0.1:0` for a free port")
            }
            _ => problem.hint("an address looks like `127.0.0.1:8080`"),
        }
    })
}

/// The signals that end a server in good order.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on the signals no longer end the process by themselves.
    pub(crate) fn catch() -> Result<Self, CliError> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Resolves with the next one. Cancel safe.
    pub(crate) async fn received(&mut self) {
        self.next().await;
        say("stopping: running requests are finished");
    }

    /// As [`received`](Self::received), without a word.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
