//! `tenantry metering bill …` and `tenantry metering reconcile`.

use std::path::PathBuf;

use ::metering::MeteringSettings;
use ::metering::bills::{BillError, BillFormat, Import, ProviderBill, import};
use ::metering::reports::{self, BillStatus, ReconcileQuery};
use ::metering::store::bills as store;
use clap::{Args, Subcommand, ValueEnum};
use tenantry_core::SystemClock;
use tenantry_postgres::{Actor, MeterDb};

use super::metering_reports::{Days, usd};
use super::output::{self, optional, time};
use super::{CliError, Output, say};

/// What to do with bills.
#[derive(Debug, Subcommand)]
pub(super) enum BillCommand {
    /// Import a CSV file of a provider's bill, whole or not at all; the same file again changes nothing
    Import {
        /// The file
        file: PathBuf,
        /// Whose bill it is, as the price catalogue calls the provider
        #[arg(long, value_name = "NAME")]
        provider: String,
        /// What the file looks like; found out by its columns unless given
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// The account of lines that name none
        #[arg(long, value_name = "NAME", default_value = "")]
        account: String,
    },
    /// Show the bills that were imported, the latest first
    List {
        /// Only of this provider
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
    },
}

/// `BillFormat` as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// OpenAI's export of costs
    Openai,
    /// Anthropic's cost report
    Anthropic,
    /// `day`, `amount_usd`, and where there are any `account` and `model`
    Generic,
}

impl From<Format> for BillFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Openai => Self::Openai,
            Format::Anthropic => Self::Anthropic,
            Format::Generic => Self::Generic,
        }
    }
}

/// Which days to compare.
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    #[command(flatten)]
    days: Days,
    /// Only of this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Each account by itself; bills must name accounts by the ids of provider accounts then
    #[arg(long)]
    accounts: bool,
}

pub(super) async fn run(db: &MeterDb, command: BillCommand, format: Output) -> Result<(), CliError> {
    match command {
        BillCommand::Import { file, provider, format: of, account } => {
            let bytes = std::fs::read(&file)
                .map_err(|error| CliError::usage(format!("cannot read `{}`: {error}", file.display())))?;
            let by = &Actor::cli();
            let file = Import { provider: &provider, format: of.map(Into::into), account: &account, bytes: &bytes, by };
            let imported = import(db, &SystemClock, &file).await.map_err(refused)?;
            if imported.repeated {
                say("the same file was imported before; nothing has changed");
            }
            let bill = imported.bill;
            let lines = [
                ("id", bill.id.to_string()),
                ("provider", bill.provider.clone()),
                ("format", bill.format.to_string()),
                ("lines", bill.lines.to_string()),
                ("days", format!("{} to {}", bill.first_day, bill.last_day)),
                ("total USD", usd(bill.total_usd)),
                ("imported", format!("{} by {}", time(bill.imported_at), bill.imported_by)),
            ];
            output::record(format, &bill, &lines)
        }
        BillCommand::List { provider } => {
            let tx = db.snapshot().await?;
            let bills: Vec<ProviderBill> = store::list(&tx, provider.as_deref(), None, i64::from(i32::MAX))
                .await?
                .into_iter()
                .map(|(_, bill)| bill)
                .collect();
            tx.rollback().await?;
            let columns = ["id", "provider", "format", "lines", "first day", "last day", "total usd", "imported", "by"];
            output::list(format, &bills, &columns, |bill| {
                vec![
                    bill.id.to_string(),
                    bill.provider.clone(),
                    bill.format.to_string(),
                    bill.lines.to_string(),
                    bill.first_day.to_string(),
                    bill.last_day.to_string(),
                    usd(bill.total_usd),
                    time(bill.imported_at),
                    bill.imported_by.clone(),
                ]
            })
        }
    }
}

/// With every bad line, for the file is mended by hand.
fn refused(error: BillError) -> CliError {
    match error {
        BillError::Database(error) => error.into(),
        BillError::Refused(detail) => {
            CliError::usage(detail).hint("`--format` names the format; docs/guides/metering-operations.md shows them")
        }
        BillError::Lines(lines) => {
            let told: Vec<String> = lines.iter().map(|bad| format!("\n  line {}: {}", bad.line, bad.detail)).collect();
            CliError::usage(format!("nothing was imported: lines cannot be read{}", told.concat()))
        }
    }
}

pub(super) async fn reconcile(
    db: &MeterDb,
    settings: &MeteringSettings,
    args: ReconcileArgs,
    format: Output,
) -> Result<(), CliError> {
    let query = ReconcileQuery { period: args.days.period()?, provider: args.provider, by_account: args.accounts };
    let tx = db.snapshot().await?;
    let rows = reports::reconcile(&tx, &settings.reports, &query, None, i64::from(i32::MAX)).await?;
    tx.rollback().await?;
    let columns = [
        "day",
        "provider",
        "account",
        "status",
        "captured usd",
        "billed usd",
        "difference",
        "part",
        "unpriced",
        "unsettled",
    ];
    output::list(format, &rows, &columns, |row| {
        vec![
            row.day.to_string(),
            row.provider.clone(),
            optional(row.account.clone().filter(|account| !account.is_empty())),
            row.status.to_string(),
            usd(row.captured_usd),
            optional(row.billed_usd.map(usd)),
            optional(row.difference_usd.map(usd)),
            optional(row.captured_part.map(|part| part.normalize())),
            row.unpriced_calls.to_string(),
            row.unsettled_calls.to_string(),
        ]
    })?;
    match rows.iter().filter(|row| row.status == BillStatus::Short).count() {
        0 => Ok(()),
        short => Err(CliError::drift(format!("less was captured than is billed on {short} days"))
            .hint("`tenantry metering unpriced` shows calls without a price; docs/guides/metering-operations.md says what else to look for")),
    }
}
