//! `tenantry metering close` and `tenantry metering statement`.

use ::metering::MeteringSettings;
use ::metering::statements::{self, CloseError, Closing, Month, Statement};
use ::metering::store::Reader;
use ::metering::store::statements::{Tenant, tenants};
use clap::Args;
use serde::Serialize;
use tenantry_core::{Clock as _, SystemClock};
use tenantry_postgres::{Actor, MeterDb, ProvisionError};
use uuid::Uuid;

use super::metering_reports::usd;
use super::output::{self, optional, time};
use super::{CliError, Output, say};

/// Tenants that are read at a time.
const PAGE: i64 = 200;

/// Which months to close.
#[derive(Debug, Args)]
pub(super) struct CloseArgs {
    /// The last month to close, such as `2026-10`
    month: Month,
    /// Only of this tenant
    #[arg(long, value_name = "SLUG")]
    tenant: Option<String>,
    /// Also before late calls have had the days that the settings give them
    #[arg(long)]
    early: bool,
    /// Say what would be closed
    #[arg(long)]
    dry_run: bool,
}

/// A statement, with its tenant.
#[derive(Serialize)]
struct Closed {
    slug: String,
    #[serde(flatten)]
    summary: statements::StatementSummary,
}

pub(super) async fn close(
    db: &MeterDb,
    settings: &MeteringSettings,
    args: CloseArgs,
    format: Output,
) -> Result<(), CliError> {
    let (mut closed, mut failed, mut after): (Vec<Closed>, usize, Option<Uuid>) = (Vec::new(), 0, None);
    loop {
        let page = match &args.tenant {
            Some(slug) => vec![one(db, slug).await?],
            None => some(db, after, None).await?,
        };
        let Some(last) = page.last() else { break };
        after = Some(last.party.id);
        for tenant in &page {
            let closing = Closing {
                month: args.month,
                now: SystemClock.now(),
                by: &Actor::cli(),
                early: args.early,
                dry_run: args.dry_run,
            };
            match statements::close(db, &settings.statements, tenant, closing).await {
                Ok(outcome) => {
                    let summaries = outcome.statements.into_iter().map(|statement| statement.summary);
                    closed.extend(summaries.map(|summary| Closed { slug: tenant.slug.clone(), summary }));
                }
                Err(CloseError::Database(error)) => return Err(error.into()),
                Err(error) => {
                    failed += 1;
                    say(format!("`{}`: {error}", tenant.slug));
                }
            }
        }
        if args.tenant.is_some() {
            break;
        }
    }
    if args.dry_run {
        say("a dry run: nothing was closed");
    }
    let columns = ["tenant", "month", "number", "calls", "unpriced", "cost usd", "amount usd"];
    output::list(format, &closed, &columns, |closed| {
        let summary = &closed.summary;
        vec![
            closed.slug.clone(),
            summary.month.to_string(),
            optional(summary.number),
            summary.calls.to_string(),
            summary.unpriced_calls.to_string(),
            usd(summary.cost_usd),
            summary.amount_usd.to_string(),
        ]
    })?;
    match failed {
        0 => Ok(()),
        failed => Err(CliError::some_failed(format!("months of {failed} tenants are not closed"))
            .hint("run it again when late calls have had their days and hours are summed; `tenantry metering health` shows both")),
    }
}

pub(super) async fn show(
    db: &MeterDb,
    settings: &MeteringSettings,
    slug: &str,
    month: Month,
    format: Output,
) -> Result<(), CliError> {
    let tenant = one(db, slug).await?;
    let tx = db.snapshot().await?;
    let mut reader = Reader::Meter(&tx, tenant.party.id);
    let found = statements::find(&mut reader, &tenant.party, month, &settings.statements, SystemClock.now()).await?;
    tx.rollback().await?;
    let Some(statement) = found else {
        return Err(CliError::usage(format!("the month `{month}` has not begun")));
    };
    if format == Output::Json {
        output::json(&statement)?;
    } else {
        print(slug, &statement)?;
    }
    if statement.intact {
        return Ok(());
    }
    Err(CliError::tampered(format!("the statement of `{slug}` for `{month}` is not as it was closed")))
}

fn print(slug: &str, statement: &Statement) -> Result<(), CliError> {
    let summary = &statement.summary;
    let own = summary.display_amount.filter(|_| summary.display_currency != "USD");
    let display = own.map(|amount| format!(" ({amount} {})", summary.display_currency));
    let pending = (summary.pending_hours > 0).then(|| format!(", {} hours to be summed", summary.pending_hours));
    let lines = [
        ("tenant", slug.to_owned()),
        ("month", format!("{} ({})", summary.month, summary.time_zone)),
        ("status", format!("{}{}", summary.status, pending.unwrap_or_default())),
        ("number", optional(summary.number)),
        ("calls", format!("{}, {} of them without a price", summary.calls, summary.unpriced_calls)),
        ("amount USD", format!("{}{}", summary.amount_usd, display.unwrap_or_default())),
        ("exactly", summary.cost_usd.to_string()),
        ("closed", optional(summary.closed_at.map(time))),
        ("digest", optional(summary.digest.clone())),
    ];
    output::record(Output::Table, summary, &lines)?;
    if statement.lines.is_empty() {
        return Ok(());
    }
    output::print("")?;
    let columns = ["kind", "month", "provider", "model", "calls", "unpriced", "cost usd", "amount usd"];
    output::list(Output::Table, &statement.lines, &columns, |line| {
        vec![
            line.kind.to_string(),
            line.for_month.to_string(),
            line.provider.clone(),
            line.model.clone(),
            line.calls.to_string(),
            line.unpriced_calls.to_string(),
            usd(line.cost_usd),
            line.amount_usd.to_string(),
        ]
    })
}

async fn one(db: &MeterDb, slug: &str) -> Result<Tenant, CliError> {
    let found = some(db, None, Some(slug)).await?.into_iter().next();
    found.ok_or_else(|| ProvisionError::NotFound(slug.to_owned()).into())
}

async fn some(db: &MeterDb, after: Option<Uuid>, slug: Option<&str>) -> Result<Vec<Tenant>, CliError> {
    let tx = db.snapshot().await?;
    let found = tenants(&tx, after, slug, PAGE).await?;
    tx.rollback().await?;
    Ok(found)
}
