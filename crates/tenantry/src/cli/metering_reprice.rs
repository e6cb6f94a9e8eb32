//! `tenantry metering reprice`.

use chrono::{DateTime, Utc};
use clap::Args;
use metering::prices::{Moment, Prices, Reprice, Repriced};
use metering::store;
use tenantry::Settings;
use tenantry_core::{Clock as _, SystemClock};
use tenantry_postgres::{Actor, MeterDb};

use super::{CliError, Global, Output, output, say};

/// Price recorded calls again
///
/// Calls without a price that have one now get it, once each. With `--changed`, calls that have a price get the difference to the one that
/// is valid for their time now. What was recorded stays as it is: each difference is an adjustment, booked with the call, or today
/// where the call's month is closed. A run that is ended in between has done what it says, and the next one does the rest.
#[derive(Debug, Args)]
pub(super) struct RepriceArgs {
    /// Only calls of the tenant with this slug
    #[arg(long, value_name = "SLUG")]
    tenant: Option<String>,
    /// Only calls that began on this day (UTC) or at this moment, or later
    #[arg(long, value_name = "DAY|MOMENT", required_if_eq("changed", "true"))]
    since: Option<Moment>,
    /// Only calls that began before
    #[arg(long, value_name = "DAY|MOMENT")]
    until: Option<Moment>,
    /// Calls that have a price, instead of those that have none
    #[arg(long)]
    changed: bool,
    /// Only tell what it would do
    #[arg(long)]
    dry_run: bool,
    /// Why, for the tenants' audit trails
    #[arg(
        long,
        value_name = "TEXT",
        required_unless_present = "dry_run",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,
}

pub(super) async fn run(args: RepriceArgs, global: &Global, settings: &Settings) -> Result<(), CliError> {
    if !args.dry_run && args.reason.trim().is_empty() {
        return Err(
            CliError::usage("no reason is given").hint("pass `--reason`, or `--dry-run` to see what it would do")
        );
    }
    let db = MeterDb::new(&global.database(settings)?, 1);
    let tenant = match &args.tenant {
        None => None,
        Some(slug) => {
            let tx = db.begin().await?;
            let found = store::prices::tenant(&tx, slug).await?;
            tx.rollback().await?;
            let unknown = || CliError::not_found(format!("tenant `{slug}` does not exist"));
            Some(found.ok_or_else(|| unknown().hint("`tenantry tenant list` shows all"))?)
        }
    };
    let now = SystemClock.now();
    let what = Reprice {
        tenant,
        since: args.since.map_or(DateTime::<Utc>::UNIX_EPOCH, |since| since.0),
        until: args.until.map_or(now, |until| until.0),
        changed: args.changed,
        dry_run: args.dry_run,
        reason: args.reason,
        after: None,
        at_most: u64::MAX,
    };
    let mut told = std::time::Instant::now();
    let progress = |so_far: &Repriced| {
        if told.elapsed().as_secs() >= 1 {
            told = std::time::Instant::now();
            say(format!("{} calls looked at, {} adjusted", so_far.calls, so_far.adjusted));
        }
        true
    };
    let done = Prices::default().reprice(&db, &what, &Actor::cli(), now, progress).await?;
    print(global.output, &done)
}

fn print(format: Output, done: &Repriced) -> Result<(), CliError> {
    if format == Output::Json {
        return output::json(done);
    }
    let columns = ["provider", "model", "adjusted", "without price", "before USD", "after USD"];
    output::list(format, &done.models, &columns, |model| {
        vec![
            model.provider.clone(),
            model.model.clone(),
            model.adjusted.to_string(),
            model.without_price.to_string(),
            model.before_usd.normalize().to_string(),
            model.after_usd.normalize().to_string(),
        ]
    })?;
    let verb = if done.dry_run { "would be" } else { "were" };
    say(format!(
        "{} calls looked at; {} {verb} adjusted, by {} USD; {} have no price",
        done.calls,
        done.adjusted,
        done.delta_usd.normalize(),
        done.without_price
    ));
    Ok(())
}
