//! What a month cost a tenant, closed once and for good.
//!
//! A statement is what is known and was not stated before: the sums of its month, and for each earlier month the difference between its
//! sums now and what statements say of it. So the statements of a tenant add up to the sums of its calls, to the last digit, however late
//! a call came. The sums are those of the hours, and a month is closed only when none of its hours is still to be summed: the mark
//! of such an hour is committed with its calls, so one statement of SQL sees either both or neither.
//!
//! Money is rounded here and nowhere else; see `round`.

mod close;
mod digest;
mod month;
mod round;
mod settings;
mod sheet;
mod show;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tenantry_core::calendar::Tz;
use utoipa::ToSchema;
use workforce::text_enum;

pub use close::{CloseError, Closing, Outcome, close, keep_closed};
pub use month::{InvalidMonth, Month};
pub use round::to_cents;
pub use settings::StatementSettings;
pub use sheet::to_csv;
pub use show::{find, list};

pub(crate) use digest::{digest, hex};

text_enum! {
    /// Whether a statement can still change.
    pub enum StatementStatus("status of a statement") {
        /// A preview of what is known so far.
        Open = "open",
        /// It never changes.
        Closed = "closed",
    }
}

text_enum! {
    /// What a line of a statement is about.
    pub enum LineKind("kind of line") {
        /// Calls of the statement's month.
        Usage = "usage",
        /// Calls of an earlier month that came when its statement was closed.
        Late = "late",
        /// Changes of what calls cost, whichever month they are of.
        Adjustment = "adjustment",
    }
}

/// One line: a provider's model in a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatementLine {
    /// What it is about.
    pub kind: LineKind,
    /// The month that the calls are of; the statement's, or an earlier one.
    #[schema(value_type = String, example = "2026-10")]
    pub for_month: Month,
    /// The provider.
    pub provider: String,
    /// The model; empty where the calls had none.
    pub model: String,
    /// Attempts.
    pub calls: i64,
    /// Calls without a price, which are not in the costs. Below zero where calls of an earlier line have been given one.
    pub unpriced_calls: i64,
    /// Calls whose tokens we counted, because the provider did not tell.
    pub estimated_calls: i64,
    /// Calls that were never seen to end, at the most they can have cost.
    pub unsettled_calls: i64,
    /// Tokens in.
    pub tokens_input: i64,
    /// Tokens out.
    pub tokens_output: i64,
    /// Exact.
    #[schema(value_type = String, example = "1234.567890123400")]
    pub cost_usd: Decimal,
    /// The line's share of the statement's whole cents. The shares of all lines are its amount.
    #[schema(value_type = String, example = "1234.57")]
    pub amount_usd: Decimal,
}

/// A statement without its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatementSummary {
    /// The month.
    #[schema(value_type = String, example = "2026-10")]
    pub month: Month,
    /// `closed`, or `open` for a preview.
    pub status: StatementStatus,
    /// Counts a tenant's closed statements; `null` for a preview.
    #[schema(required)]
    pub number: Option<i32>,
    /// The zone in which the month begins and ends.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    /// Its first instant.
    pub period_start: DateTime<Utc>,
    /// The first instant that is not in it.
    pub period_end: DateTime<Utc>,
    /// Attempts.
    pub calls: i64,
    /// Of them without a price: they are not in the costs.
    pub unpriced_calls: i64,
    /// Of them with tokens that we counted.
    pub estimated_calls: i64,
    /// Of them never seen to end.
    pub unsettled_calls: i64,
    /// The exact sum of the lines.
    #[schema(value_type = String, example = "1234.567890123400")]
    pub cost_usd: Decimal,
    /// The same in whole cents, half a cent to the even one.
    #[schema(value_type = String, example = "1234.57")]
    pub amount_usd: Decimal,
    /// The tenant's own currency (ISO 4217).
    #[schema(example = "EUR")]
    pub display_currency: String,
    /// What a dollar is in it, as the operator has set it; `null` where it is not set.
    #[schema(required, value_type = Option<String>, example = "0.92")]
    pub display_rate: Option<Decimal>,
    /// The amount in it, for information: what is owed is in dollars.
    #[schema(required, value_type = Option<String>, example = "1135.80")]
    pub display_amount: Option<Decimal>,
    /// Hours of the month, or of earlier ones, whose sums are older than their calls; 0 in a closed statement.
    pub pending_hours: i64,
    /// When it was closed.
    #[schema(required)]
    pub closed_at: Option<DateTime<Utc>>,
    /// SHA-256, in hexadecimal, of all that a closed statement says; see docs/guides/statements.md.
    #[schema(required)]
    pub digest: Option<String>,
    /// The digest of the statement with the number before.
    #[schema(required)]
    pub previous_digest: Option<String>,
}

/// What a month cost a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Statement {
    /// Everything but the lines.
    #[serde(flatten)]
    pub summary: StatementSummary,
    /// Whether a closed statement still has its digest.
    pub intact: bool,
    /// By kind, month, provider and model.
    pub lines: Vec<StatementLine>,
}

/// What a statement says of its tenant.
#[derive(Debug, Clone)]
pub struct Party {
    /// The tenant.
    pub id: uuid::Uuid,
    /// Where its months begin.
    pub zone: Tz,
    /// What it is shown amounts in.
    pub display_currency: String,
}
