//! The provider that all sides call: a process of its own that speaks OpenAI's protocol and answers at once.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// What it takes for a credential.
pub(super) const CREDENTIAL: &str = "sk-good-bench";
const START: Duration = Duration::from_secs(10);

pub(super) struct Upstream {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Upstream {
    /// Starts the program that was built beside this one.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("upstream");
        ensure!(program.exists(), "`{}` is missing: `make bench-metering` builds it", program.display());
        let mut child = Command::new(&program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start `{}`", program.display()))?;
        let mut said = BufReader::new(child.stdout.take().context("the child has an output")?).lines();
        let line = tokio::time::timeout(START, said.next_line()).await.context("the upstream says nothing")??;
        let line = line.context("the upstream ended")?;
        let address = line.strip_prefix("http://").unwrap_or(&line).parse().with_context(|| format!("`{line}`"))?;
        Ok(Self { child, address })
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
