//! The arguments of `tenantry tenant …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tenantry_core::TenantStatus;
use tenantry_postgres::TenantPatch;

use super::confirm::Confirm;

/// What to do with tenants.
#[derive(Debug, Subcommand)]
pub(super) enum TenantCommand {
    /// Make a tenant with its schema, role and first key, in one transaction
    Create(CreateArgs),
    /// Show tenants in the order of their slugs
    List(ListArgs),
    /// Show one tenant
    Show(Named),
    /// Show what tenants use of their limits, those first that use most of one
    ///
    /// The figures are those of the last measurement. Servers measure every tenant every few minutes (`quotas.measure_interval`).
    Usage(UsageArgs),
    /// Change plan, limits, contact or hosts
    Update(UpdateArgs),
    /// Refuse the tenant everywhere within a second; its data stays
    Suspend(Named),
    /// Serve a suspended tenant again
    Resume(Named),
    /// Refuse the tenant and start its grace period
    Delete(Ended),
    /// Serve a deleted tenant again, as it was
    Restore(Named),
    /// Remove a deleted tenant's data for good, after its grace period
    Purge(PurgeArgs),
    /// Make many tenants from a CSV file; run again, it goes on where it ended
    ///
    /// The first line names the columns: `slug` and `admin_email`, and where wanted `plan`, `domains` (with spaces between),
    /// `dedicated` (`true` or `false`), `max_agents`, `max_tasks_per_month` and `storage_limit_gb`. The whole file is checked
    /// before anything is made. What became of each tenant, with its first key, is written to FILE.report.csv, which only you
    /// can read.
    Import(ImportArgs),
    /// Make schemas ready in advance, so that new tenants need not wait for their tables; or show how many are
    Warm {
        /// How many are to be ready, or `status`. What is too many is removed
        #[arg(value_name = "NUMBER|status", value_parser = warm)]
        wanted: Warm,
    },
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The tenant
    pub(super) slug: String,
}

#[derive(Debug, Args)]
pub(super) struct UsageArgs {
    /// The tenant; all unless given
    pub(super) slug: Option<String>,
    /// Measure now, before anything is shown
    #[arg(long)]
    pub(super) measure: bool,
}

#[derive(Debug, Args)]
pub(super) struct Ended {
    /// The tenant
    pub(super) slug: String,
    #[command(flatten)]
    pub(super) confirm: Confirm,
}

#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    /// The tenant
    #[arg(required_unless_present = "expired", conflicts_with = "expired")]
    pub(super) slug: Option<String>,
    /// All deleted tenants whose grace period is over, one transaction each
    #[arg(long)]
    pub(super) expired: bool,
    /// Do not wait for the end of the grace period
    #[arg(long, conflicts_with = "expired")]
    pub(super) ignore_grace: bool,
    #[command(flatten)]
    pub(super) confirm: Confirm,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Its public name: 1 to 63 of a-z, 0-9 and `-`
    pub(super) slug: String,
    /// Whom to write to
    #[arg(long, value_name = "EMAIL")]
    pub(super) admin_email: String,
    /// Its plan
    #[arg(long, default_value = "free", value_name = "TIER")]
    pub(super) plan: String,
    /// A host of its own; may be repeated
    #[arg(long = "domain", value_name = "HOST")]
    pub(super) domains: Vec<String>,
    /// Give it a cell and a database login of its own
    #[arg(long)]
    pub(super) dedicated: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The CSV file
    pub(super) file: PathBuf,
    /// Tenants to make at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) jobs: u8,
    /// Check the file and make nothing
    #[arg(long)]
    pub(super) check: bool,
}

/// What to do with warm schemas.
#[derive(Debug, Clone, Copy)]
pub(super) enum Warm {
    Status,
    Number(u16),
}

fn warm(text: &str) -> Result<Warm, String> {
    if text == "status" {
        return Ok(Warm::Status);
    }
    text.parse().map(Warm::Number).map_err(|_| "expected a number up to 65535 or `status`".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only with this status
    #[arg(long, value_enum)]
    pub(super) status: Option<Status>,
    /// Only on this plan
    #[arg(long, value_name = "TIER")]
    pub(super) plan: Option<String>,
    /// Only slugs that begin so
    #[arg(long)]
    pub(super) prefix: Option<String>,
    /// At most so many
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Status {
    Active,
    Suspended,
    Deleted,
}

impl From<Status> for TenantStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Suspended => Self::Suspended,
            Status::Deleted => Self::Deleted,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// The tenant
    pub(super) slug: String,
    /// Its plan
    #[arg(long, value_name = "TIER")]
    plan: Option<String>,
    /// Whom to write to
    #[arg(long, value_name = "EMAIL")]
    admin_email: Option<String>,
    /// Its hosts, replacing those before; may be repeated
    #[arg(long = "domain", value_name = "HOST", conflicts_with = "no_domains")]
    domains: Vec<String>,
    /// Take all its hosts away
    #[arg(long)]
    no_domains: bool,
    /// Agents it may have, or `plan` for its plan's number
    #[arg(long, value_name = "NUMBER|plan", value_parser = limit)]
    max_agents: Option<Limit>,
    /// Tasks it may create in a month, or `plan`
    #[arg(long, value_name = "NUMBER|plan", value_parser = limit)]
    max_tasks_per_month: Option<Limit>,
    /// Storage in GiB, or `plan`
    #[arg(long, value_name = "NUMBER|plan", value_parser = limit)]
    storage_limit_gb: Option<Limit>,
    /// Whether it is migrated before all others, and a failure on it stops the fleet
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set)]
    canary: Option<bool>,
}

/// A limit of the tenant's own, or its plan's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit(Option<i32>);

fn limit(text: &str) -> Result<Limit, String> {
    if text == "plan" {
        return Ok(Limit(None));
    }
    match text.parse::<i32>() {
        Ok(number) if number >= 0 => Ok(Limit(Some(number))),
        _ => Err("expected a number or `plan`".to_owned()),
    }
}

impl UpdateArgs {
    /// What to change; nothing at all is a mistake.
    pub(super) fn patch(self) -> Option<TenantPatch> {
        let patch = TenantPatch {
            plan_tier: self.plan,
            admin_email: self.admin_email,
            allowed_domains: (self.no_domains || !self.domains.is_empty()).then_some(self.domains),
            max_agents: self.max_agents.map(|l| l.0),
            max_tasks_per_month: self.max_tasks_per_month.map(|l| l.0),
            storage_limit_gb: self.storage_limit_gb.map(|l| l.0),
            canary: self.canary,
            ..TenantPatch::default()
        };
        let unchanged = patch.plan_tier.is_none()
            && patch.admin_email.is_none()
            && patch.allowed_domains.is_none()
            && patch.max_agents.is_none()
            && patch.max_tasks_per_month.is_none()
            && patch.storage_limit_gb.is_none()
            && patch.canary.is_none();
        (!unchanged).then_some(patch)
    }
}
