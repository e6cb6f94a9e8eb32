//! `tenantry metering verify`.

use chrono::Days;
use metering::rollup::{Rollup, RollupSettings};
use metering::verify::{self, Difference, Range, Report};
use tenantry::Settings;
use tenantry_core::{Clock as _, SystemClock};
use tenantry_postgres::MeterDb;

use super::metering::VerifyArgs;
use super::output::{self, print};
use super::progress::Bar;
use super::{CliError, Global, Output, say};

const CONNECTIONS: usize = 4;
/// Differences that a person is shown.
const SHOWN: usize = 50;

pub(super) async fn run(args: VerifyArgs, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let db = MeterDb::new(&global.database(settings)?, CONNECTIONS);
    let tenant = match &args.tenant {
        Some(slug) => Some(global.provisioner(settings)?.show(slug).await?.id),
        None => None,
    };
    if args.settle {
        let mut bar = Bar::new("hours", "are left");
        let rollup = Rollup::new(db.clone(), RollupSettings::default());
        let tally = rollup.settle(tenant, |left| bar.say(format!("{left} marked hours are left"))).await?;
        bar.end();
        say(format!("made the sums of {} hours", tally.hours));
    }
    // Before, there may be sums of calls that are not kept any more.
    let kept = Days::new(settings.metering.keep_calls_days.into());
    let from = args.from.or_else(|| SystemClock.now().date_naive().checked_sub_days(kept));
    let range = Range { tenant: args.tenant, from, to: args.to };
    let report = compare(&db, &range).await?;
    tell(global.output, &report)?;
    if report.differences.is_empty() {
        return Ok(());
    }
    if !args.repair {
        return Err(CliError::failed(format!("{} amounts differ", report.differences.len()))
            .hint("`tenantry metering verify --repair` makes sums and counters anew from the calls"));
    }
    let repaired = verify::repair(&db, &report.differences).await?;
    let after = compare(&db, &range).await?;
    if after.differences.is_empty() {
        say(format!("{repaired} sums were made anew; nothing differs now"));
        return Ok(());
    }
    Err(CliError::failed(format!("{} amounts differ after the repair", after.differences.len())))
}

async fn compare(db: &MeterDb, range: &Range) -> Result<Report, CliError> {
    let mut bar = Bar::new("tenants", "compared");
    let report = verify::verify(db, range, SystemClock.now().date_naive(), |done, all| bar.draw(done, all)).await?;
    bar.end();
    Ok(report)
}

fn tell(output: Output, report: &Report) -> Result<(), CliError> {
    if output == Output::Json {
        return output::json(report);
    }
    if !report.differences.is_empty() {
        let columns = ["tenant", "day", "hour", "table", "of", "amount", "expected", "found"];
        let shown: Vec<&Difference> = report.differences.iter().take(SHOWN).collect();
        output::list(output, &shown, &columns, |wrong| {
            let hour = output::optional(wrong.hour.map(|hour| hour.format("%H:%MZ")));
            vec![
                wrong.tenant.clone(),
                wrong.day.to_string(),
                hour,
                wrong.table.to_string(),
                wrong.of.clone(),
                wrong.amount.to_owned(),
                wrong.expected.to_string(),
                wrong.found.to_string(),
            ]
        })?;
        if report.differences.len() > SHOWN {
            print(&format!("and {} more", report.differences.len() - SHOWN))?;
        }
    }
    let Report { from, to, tenants, totals, marked_hours, differences } = report;
    print(&format!(
        "{tenants} tenants, {from} to {to}: {} calls, {} USD, {} unpriced; {marked_hours} hours left out, {} amounts differ",
        totals.calls,
        totals.cost_usd.normalize(),
        totals.unpriced_calls,
        differences.len()
    ))
}
