//! `tenantry quota …`.

use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use tenantry::Settings;
use tenantry_core::{Slug, SystemClock, TenantStatus};
use tenantry_postgres::{Registry, RegistryConfig, TenantDb, TenantFilter};
use workforce::store::quotas::{self, Miscount};

use super::output;
use super::tenant::all;
use super::{CliError, Global, say};

/// How often a long run says how far it is.
const REPORT_EVERY: usize = 500;
/// How long the registry may take to hear of changes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to do with counters.
#[derive(Debug, Subcommand)]
pub(super) enum QuotaCommand {
    /// Compare the counters of agents and tasks with what they count
    ///
    /// Each tenant is compared in one moment's view, beside its traffic. Suspended and deleted tenants are left out. Exit code 9
    /// when counters were wrong and not repaired.
    Verify {
        /// The tenant; all active ones unless given
        slug: Option<String>,
        /// Count anew what is wrong
        #[arg(long)]
        repair: bool,
    },
}

/// A counter that was wrong, with its tenant.
#[derive(Debug, Serialize)]
struct Wrong {
    slug: String,
    #[serde(flatten)]
    miscount: Miscount,
}

pub(super) async fn run(command: QuotaCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let QuotaCommand::Verify { slug, repair } = command;
    let provisioner = global.provisioner(settings)?;
    let slugs: Vec<Slug> = match slug {
        Some(slug) => vec![provisioner.show(&slug).await?.slug],
        None => {
            let mut filter = TenantFilter { status: Some(TenantStatus::Active), ..TenantFilter::default() };
            all(&provisioner, &mut filter, None).await?.into_iter().map(|tenant| tenant.slug).collect()
        }
    };
    let database = global.database(settings)?;
    let needs_version = workforce::tenant_schema().needs;
    let config = RegistryConfig { needs_version, ..settings.registry.clone() };
    let registry = Registry::start(&database, &config, Arc::new(SystemClock));
    registry.wait_until_listening(PATIENCE).await;
    let db = TenantDb::new(database, settings.access.clone(), registry.clone());
    let (mut wrong, mut skipped) = (Vec::new(), 0_usize);
    for (done, slug) in slugs.iter().enumerate() {
        match one(&registry, &db, slug, repair).await {
            Ok(found) => {
                wrong.extend(found.into_iter().map(|miscount| Wrong { slug: slug.to_string(), miscount }));
            }
            Err(error) => {
                skipped += 1;
                say(format!("`{slug}` was not compared: {error}"));
            }
        }
        if (done + 1) % REPORT_EVERY == 0 {
            say(format!("{} of {} tenants, {} counters wrong", done + 1, slugs.len(), wrong.len()));
        }
    }
    db.close();
    registry.stop();
    output::list(global.output, &wrong, &["slug", "counter", "period", "said", "is"], |wrong| {
        let Miscount { name, period, used, truth } = &wrong.miscount;
        vec![wrong.slug.clone(), name.clone(), period.clone(), used.to_string(), truth.to_string()]
    })?;
    if skipped > 0 {
        return Err(CliError::some_failed(format!("{skipped} tenants were not compared")));
    }
    if wrong.is_empty() || repair {
        return Ok(());
    }
    Err(CliError::drift(format!("{} counters are wrong", wrong.len()))
        .hint("`tenantry quota verify --repair` counts anew"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "an operator at the command line looks after the platform's own counters"
)]
async fn one(registry: &Registry, db: &TenantDb, slug: &Slug, repair: bool) -> Result<Vec<Miscount>, workforce::Error> {
    let context = registry
        .system_context(slug, "quota verify")
        .await
        .map_err(|error| workforce::Error::Database(tenantry_postgres::DbError::Unavailable(error.to_string())))?;
    if !repair {
        return quotas::verify(&mut db.read_only(&context).await?).await;
    }
    let mut tx = db.begin(&context).await?;
    let found = quotas::repair(&mut tx).await?;
    tx.commit().await?;
    Ok(found)
}
