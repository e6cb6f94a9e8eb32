//! `tenantry metering …`.

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use tenantry::Settings;

use super::{CliError, Global, metering_replay, metering_reprice, metering_verify};

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
    /// Price recorded calls again: those that have no price, or those whose price was another
    Reprice(metering_reprice::RepriceArgs),
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
    match command {
        MeteringCommand::Verify(args) => metering_verify::run(args, global, settings).await,
        MeteringCommand::Replay(args) => metering_replay::run(args, global, settings).await,
        MeteringCommand::Reprice(args) => metering_reprice::run(args, global, settings).await,
    }
}
