//! What providers bill, from the files that they give: read, checked and kept, to be compared with what was captured.

mod columns;
mod file;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenantry_core::Clock;
use tenantry_postgres::{Actor, DbError, MeterDb};
use utoipa::ToSchema;
use uuid::Uuid;
use workforce::text_enum;

use crate::store::{audit, bills as store};

pub use file::{BadLine, Line, Parsed, read};

text_enum! {
    /// What a file of a provider's bill looks like.
    pub enum BillFormat("format of a bill") {
        /// OpenAI's export of costs.
        Openai = "openai",
        /// Anthropic's cost report; amounts are cents.
        Anthropic = "anthropic",
        /// `day`, `amount_usd`, and where there are any `account` and `model`.
        Generic = "generic",
    }
}

/// Why a file is not imported. None of it is.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    /// What it was called with.
    #[error("{0}")]
    Refused(String),
    /// Lines that cannot be read.
    #[error("{} of the file's lines cannot be read, first line {}: {}", .0.len(), .0.first().map_or(0, |bad| bad.line), .0.first().map_or("", |bad| bad.detail.as_str()))]
    Lines(Vec<BadLine>),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A file to be imported.
#[derive(Debug)]
pub struct Import<'a> {
    /// Whose bill it is, as the price catalogue calls the provider.
    pub provider: &'a str,
    /// What the file looks like; found out by its columns unless given.
    pub format: Option<BillFormat>,
    /// The account of lines that name none.
    pub account: &'a str,
    /// The file.
    pub bytes: &'a [u8],
    /// Who imports it.
    pub by: &'a Actor,
}

/// A file of a provider's bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderBill {
    /// Names it.
    pub id: Uuid,
    /// Whose bill it is.
    #[schema(example = "openai")]
    pub provider: String,
    /// What it was read as.
    pub format: BillFormat,
    /// SHA-256 of the file and of what it was read as, in hexadecimal.
    pub digest: String,
    /// Lines with an amount.
    pub lines: i32,
    /// The earliest day.
    pub first_day: NaiveDate,
    /// The latest day.
    pub last_day: NaiveDate,
    /// The sum.
    #[schema(value_type = String, example = "412.339900000000")]
    pub total_usd: Decimal,
    /// Who imported it.
    pub imported_by: String,
    /// When.
    pub imported_at: DateTime<Utc>,
}

/// A bill that was imported, now or before.
#[derive(Debug)]
pub struct Imported {
    /// It.
    pub bill: ProviderBill,
    /// Whether the same file had been imported before.
    pub repeated: bool,
}

/// Imports a file: whole and with its audit event, or not at all. The same file again is the bill that it was the first time.
///
/// # Errors
/// [`BillError`].
pub async fn import(db: &MeterDb, clock: &dyn Clock, import: &Import<'_>) -> Result<Imported, BillError> {
    let word = |text: &str, most: usize| text.chars().count() <= most && !text.chars().any(char::is_control);
    if import.provider.trim().is_empty() || !word(import.provider, 63) {
        return Err(BillError::Refused("the provider must have 1 to 63 characters".to_owned()));
    }
    if !word(import.account, 255) {
        return Err(BillError::Refused("the account must have at most 255 characters".to_owned()));
    }
    let parsed = read(import.bytes, import.format, import.account)?;
    let digest = file::digest(import, parsed.format);
    let tx = db.begin().await?;
    let now = clock.now();
    let made = store::insert(&tx, import.provider, &parsed, &digest, &import.by.name, now).await?;
    let bill = store::find_by_digest(&tx, &digest).await?;
    if made {
        let details = json!({
            "provider": bill.provider, "format": bill.format, "digest": bill.digest, "lines": bill.lines,
            "first_day": bill.first_day, "last_day": bill.last_day, "total_usd": bill.total_usd.to_string(),
        });
        audit::tell(&tx, None, import.by, "bill.import", &format!("bill/{}", bill.id), &details).await?;
    }
    tx.commit().await?;
    Ok(Imported { bill, repeated: !made })
}
