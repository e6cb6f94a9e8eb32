//! `tenantry migrate drift`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use tenantry::Settings;
use tenantry_postgres::migrate::{Difference, Drift, DriftProgress, DriftReport, repair_script};

use super::migrate::SetArgs;
use super::output::{self, print};
use super::{CliError, Global, Output, say};

/// How often a long run says where it is.
const LINE: Duration = Duration::from_secs(2);

/// Arguments of `migrate drift`.
#[derive(Debug, Args)]
pub(super) struct DriftArgs {
    #[command(flatten)]
    set: SetArgs,
    /// Only this tenant, and nothing outside the tenants' schemas; may be repeated
    #[arg(long = "tenant", value_name = "SLUG")]
    tenants: Vec<String>,
    /// Print the SQL that mends it, for `psql` as a superuser
    #[arg(long, conflicts_with = "json")]
    sql: bool,
    /// With `--sql`: do not comment out what removes data
    #[arg(long, requires = "sql")]
    destroy: bool,
    /// Print JSON; `--output json` does the same
    #[arg(long)]
    json: bool,
    /// Connections that read the catalog
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
}

pub(super) async fn run(args: DriftArgs, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let drift = Drift::new(&global.database(settings)?, args.set.schema()?);
    let drift = if args.set.dir.is_some() { drift.by_migrations() } else { drift };
    let told = Mutex::new(Instant::now());
    let progress = |at: DriftProgress| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= LINE {
            *told = Instant::now();
            say(format!("{} of {} tenants compared, {} differ", at.done, at.total, at.drifted));
        }
    };
    let report = drift.run(&args.tenants, args.jobs, &progress).await?;
    if args.sql {
        scripts(&report, args.destroy)?;
    } else if args.json || global.output == Output::Json {
        output::json(&report)?;
    } else {
        text(&report)?;
    }
    if !report.found() {
        return Ok(());
    }
    let hint = if args.sql {
        "read it before you run it; then run `tenantry migrate drift` again"
    } else {
        "`--sql` prints what mends it; docs/runbooks/drift.md says how to go on"
    };
    Err(CliError::drift(summary(&report)).hint(hint))
}

fn text(report: &DriftReport) -> Result<(), CliError> {
    for tenant in &report.tenants {
        print(&format!("{} (schema {}, version {})", tenant.slug, tenant.schema_name, tenant.version))?;
        lines(&tenant.differences)?;
    }
    if !report.installation.is_empty() {
        print("outside the tenants")?;
        lines(&report.installation)?;
    }
    for other in &report.unknown {
        print(&format!("{} is at version {}, which this program does not know", other.slug, other.version))?;
    }
    report.notes.iter().for_each(|note| say(format!("note: {note}")));
    if !report.behind.is_empty() {
        say(format!(
            "note: {} are below version {} and were compared with their own; `tenantry migrate up` brings them on",
            tenants(report.behind.len()),
            report.latest
        ));
    }
    if report.found() { Ok(()) } else { print(&format!("no drift: {} compared", tenants(report.checked))) }
}

fn lines(differences: &[Difference]) -> Result<(), CliError> {
    differences.iter().try_for_each(|difference| print(&format!("  {}", difference.text.replace('\n', "\n    "))))
}

fn scripts(report: &DriftReport, destroy: bool) -> Result<(), CliError> {
    for tenant in &report.tenants {
        print(&format!("-- {}", tenant.slug))?;
        print(&repair_script(&tenant.differences, destroy))?;
    }
    if !report.installation.is_empty() {
        print("-- outside the tenants")?;
        print(&repair_script(&report.installation, destroy))?;
    }
    Ok(())
}

fn tenants(count: usize) -> String {
    if count == 1 { "1 tenant".to_owned() } else { format!("{count} tenants") }
}

fn summary(report: &DriftReport) -> String {
    let mut parts = Vec::new();
    if !report.tenants.is_empty() {
        parts.push(format!("{} of {} compared", tenants(report.tenants.len()), report.checked));
    }
    if !report.installation.is_empty() {
        parts.push(format!("{} outside the tenants", report.installation.len()));
    }
    if !report.unknown.is_empty() {
        parts.push(format!("{} at an unknown version", tenants(report.unknown.len())));
    }
    format!("drift: {}", parts.join(", "))
}
