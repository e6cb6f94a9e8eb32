//! `tenantry audit …`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use tenantry::Settings;
use tenantry_core::TenantId;
use tenantry_postgres::{Anchor, AuditTrail, ChainId, ExportRange};

use super::{CliError, Global, audit_export, audit_verify, say};

/// How often a long run says where it is.
const LINE: Duration = Duration::from_secs(2);

/// What to do with the audit trail.
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Recompute the chains and find what was changed, removed, inserted or moved
    ///
    /// Without a tenant, all chains: of each tenant, purged ones too, and of what concerns no tenant (`platform`). Exit code 12 when
    /// something is found; the first event that is not as it was written is named. A chain that was written anew from some event to
    /// its end is found by an anchor from before: a line `<tenant id or platform>:<number>:<hash>`, kept outside of the database.
    Verify(VerifyArgs),
    /// Write events out, oldest first, with their hashes
    ///
    /// Standard output gets the events, standard error the anchor of each chain: its head at that moment.
    Export(ExportArgs),
}

/// One chain.
#[derive(Debug, Args)]
pub(super) struct OneChain {
    /// Only this tenant's chain
    #[arg(long, value_name = "SLUG")]
    pub(super) tenant: Option<String>,
    /// Only the chain of the tenant with this id, which may be purged
    #[arg(long, value_name = "ID", conflicts_with = "tenant")]
    pub(super) tenant_id: Option<String>,
    /// Only the chain of what concerns no tenant
    #[arg(long, conflicts_with_all = ["tenant", "tenant_id"])]
    pub(super) platform: bool,
}

/// Arguments of `audit verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) one: OneChain,
    /// A head from before that the chain must still have; may be repeated
    #[arg(long = "anchor", value_name = "ANCHOR")]
    pub(super) anchors: Vec<Anchor>,
    /// A file with an anchor on each line
    #[arg(long, value_name = "FILE")]
    pub(super) anchors_file: Option<PathBuf>,
    /// Write the heads of all chains without a flaw to this file
    #[arg(long, value_name = "FILE")]
    pub(super) write_anchors: Option<PathBuf>,
}

/// Arguments of `audit export`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["all", "tenant", "tenant_id", "platform"]))]
pub(super) struct ExportArgs {
    #[command(flatten)]
    pub(super) one: OneChain,
    /// Every chain, one after the other
    #[arg(long, conflicts_with_all = ["tenant", "tenant_id", "platform"])]
    pub(super) all: bool,
    /// Not before this time, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) from: Option<DateTime<Utc>>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub(super) to: Option<DateTime<Utc>>,
    /// The form of an event
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub(super) format: Format,
    /// Write the anchors to this file as well
    #[arg(long, value_name = "FILE")]
    pub(super) write_anchors: Option<PathBuf>,
}

impl ExportArgs {
    pub(super) const fn range(&self) -> ExportRange {
        ExportRange { from: self.from, to: self.to }
    }
}

/// The form of exported events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A JSON object a line
    Jsonl,
    /// Comma-separated values, with a line of names
    Csv,
}

pub(super) async fn run(command: AuditCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let trail = AuditTrail::new(&global.database(settings)?);
    match command {
        AuditCommand::Verify(args) => audit_verify::run(args, global, settings, &trail).await,
        AuditCommand::Export(args) => audit_export::run(args, global, settings, &trail).await,
    }
}

impl OneChain {
    /// The chain that is named, if one is.
    pub(super) async fn chain(&self, global: &Global, settings: &Settings) -> Result<Option<ChainId>, CliError> {
        if self.platform {
            return Ok(Some(ChainId::PLATFORM));
        }
        if let Some(id) = &self.tenant_id {
            return Ok(Some(ChainId::of(id.parse::<TenantId>()?)));
        }
        let Some(slug) = &self.tenant else { return Ok(None) };
        Ok(Some(ChainId::of(global.provisioner(settings)?.show(slug).await?.id)))
    }
}

/// Writes anchors, a line each.
pub(super) fn write_anchors(path: &Path, anchors: &[Anchor]) -> Result<(), CliError> {
    let text: String = anchors.iter().map(|anchor| format!("{anchor}\n")).collect();
    std::fs::write(path, text).map_err(|error| CliError::failed(format!("cannot write `{}`: {error}", path.display())))
}

/// Says now and then how far a run is.
pub(super) struct Told {
    last: Instant,
}

impl Told {
    pub(super) fn new() -> Self {
        Self { last: Instant::now() }
    }

    pub(super) fn say(&mut self, text: impl FnOnce() -> String) {
        if self.last.elapsed() >= LINE {
            self.last = Instant::now();
            say(text());
        }
    }
}
