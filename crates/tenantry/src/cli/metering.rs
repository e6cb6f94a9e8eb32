//! `tenantry metering …`.

use ::metering::reports::{CostBy, CostOrder};
use ::metering::statements::Month;
use chrono::NaiveDate;
use clap::{Args, Subcommand, ValueEnum};
use tenantry::Settings;
use tenantry_postgres::MeterDb;

use super::metering_bills::{self as bills, BillCommand, ReconcileArgs};
use super::metering_close::{self as statements, CloseArgs};
use super::metering_reports::{self as reports, CostArgs};
use super::{CliError, Global, metering_replay, metering_reprice, metering_verify};

/// A command line asks one thing after the other; a transaction that has ended may still be on its way.
const CONNECTIONS: usize = 2;

/// What to do with what is metered.
#[derive(Debug, Subcommand)]
pub(super) enum MeteringCommand {
    /// Compare provider calls, sums of hours, sums of days and the counters of budgets, to the last digit
    ///
    /// Cost, calls, unpriced calls and tokens, for each tenant and day and each group of their sums, in one moment's view beside the traffic.
    /// Hours with calls that are not summed yet are left out; the report says how many. Days whose calls are not kept any more are left out.
    /// Exit code 1 when something differs.
    Verify(VerifyArgs),
    /// Feed a trace through the pipeline: priced, spooled, shipped and summed as any call is
    ///
    /// FILE is CSV with a line of names. Each line is one call of one tenant, to one model; which ones is decided by the seed and the line's number. A
    /// second run with the same file and options changes nothing, and one that was interrupted is finished by the next. The calls have the source
    /// `replay`.
    Replay(metering_replay::ReplayArgs),
    /// Show how the metering does, and what should be looked at
    Health,
    /// Show what tenants, plans, providers or models cost
    Costs(CostArgs),
    /// Show models whose calls have no price
    Unpriced {
        /// Days up to now
        #[arg(long, default_value_t = 30, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=400))]
        days: i64,
    },
    /// Providers' bills
    #[command(subcommand)]
    Bill(BillCommand),
    /// Compare what was captured with what providers bill
    ///
    /// Exit code 9 when less was captured of a day than is billed.
    Reconcile(ReconcileArgs),
    /// Price recorded calls again: those that have no price, or those whose price was another
    Reprice(metering_reprice::RepriceArgs),
    /// Close months: their statements are final from then on
    ///
    /// Months before it that are not closed are closed first. Killed at any point, it has closed whole statements, and the next run closes
    /// the rest. Servers do this by themselves some days after the end of a month.
    Close(CloseArgs),
    /// Show a tenant's statement, or a preview of it
    Statement {
        /// The tenant
        slug: String,
        /// The month, such as `2026-10`
        month: Month,
    },
}

/// `CostBy` as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum By {
    Tenant,
    Plan,
    Provider,
    Model,
}

impl From<By> for CostBy {
    fn from(by: By) -> Self {
        match by {
            By::Tenant => Self::Tenant,
            By::Plan => Self::Plan,
            By::Provider => Self::Provider,
            By::Model => Self::Model,
        }
    }
}

/// `CostOrder` as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Sort {
    Cost,
    Calls,
    Unpriced,
    Name,
}

impl From<Sort> for CostOrder {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Cost => Self::Cost,
            Sort::Calls => Self::Calls,
            Sort::Unpriced => Self::Unpriced,
            Sort::Name => Self::Name,
        }
    }
}

/// Arguments of `metering verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Only this tenant
    #[arg(long, value_name = "SLUG")]
    pub(super) tenant: Option<String>,
    /// Not before this day, such as 2027-01-31
    #[arg(long, value_name = "DAY")]
    pub(super) from: Option<NaiveDate>,
    /// Not after this day
    #[arg(long, value_name = "DAY")]
    pub(super) to: Option<NaiveDate>,
    /// Make the sums of marked hours first, so that none is left out
    #[arg(long)]
    pub(super) settle: bool,
    /// Make sums and counters anew that differ, from the calls
    #[arg(long)]
    pub(super) repair: bool,
}

pub(super) async fn run(command: MeteringCommand, global: &Global, settings: &Settings) -> Result<(), CliError> {
    let all = settings;
    let db = MeterDb::new(&global.database(settings)?, CONNECTIONS);
    let (settings, output) = (&settings.metering, global.output);
    match command {
        MeteringCommand::Verify(args) => metering_verify::run(args, global, all).await,
        MeteringCommand::Replay(args) => metering_replay::run(args, global, all).await,
        MeteringCommand::Health => reports::health(&db, settings, output).await,
        MeteringCommand::Costs(args) => reports::costs(&db, args, output).await,
        MeteringCommand::Unpriced { days } => reports::unpriced(&db, days, output).await,
        MeteringCommand::Bill(command) => bills::run(&db, command, output).await,
        MeteringCommand::Reconcile(args) => bills::reconcile(&db, settings, args, output).await,
        MeteringCommand::Reprice(args) => metering_reprice::run(args, global, all).await,
        MeteringCommand::Close(args) => statements::close(&db, settings, args, output).await,
        MeteringCommand::Statement { slug, month } => statements::show(&db, settings, &slug, month, output).await,
    }
}
