use std::fmt::Write as _;

use rust_decimal::Decimal;
use sha2::{Digest as _, Sha256};

use super::{StatementLine, StatementSummary};

/// The digest of a closed statement: of a text with a line for each thing that it says, each line a JSON array, so that no content can
/// pass for another. docs/guides/statements.md shows how to compute it anywhere.
pub(crate) fn digest(tenant: uuid::Uuid, summary: &StatementSummary, lines: &[StatementLine]) -> [u8; 32] {
    let mut text = String::new();
    let instant = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let mut say = |line: serde_json::Value| {
        // a String takes everything
        let _ = writeln!(text, "{line}");
    };
    say(serde_json::json!(["tenantry statement", 1]));
    say(serde_json::json!(["tenant", tenant]));
    say(serde_json::json!(["month", summary.month, summary.number, summary.time_zone]));
    say(serde_json::json!(["period", instant(summary.period_start), instant(summary.period_end)]));
    say(serde_json::json!(["previous", summary.previous_digest]));
    say(serde_json::json!([
        "total",
        summary.calls,
        summary.unpriced_calls,
        summary.estimated_calls,
        summary.unsettled_calls,
        exact(summary.cost_usd),
        cents(summary.amount_usd)
    ]));
    say(serde_json::json!([
        "display",
        summary.display_currency,
        summary.display_rate.map(exact),
        summary.display_amount.map(cents)
    ]));
    for line in lines {
        say(serde_json::json!([
            line.kind,
            line.for_month,
            line.provider,
            line.model,
            line.calls,
            line.unpriced_calls,
            line.estimated_calls,
            line.unsettled_calls,
            line.tokens_input,
            line.tokens_output,
            exact(line.cost_usd),
            cents(line.amount_usd)
        ]));
    }
    Sha256::digest(text.as_bytes()).into()
}

/// With the decimals of the column, whatever way it came.
fn exact(mut amount: Decimal) -> String {
    amount.rescale(12);
    amount.to_string()
}

fn cents(mut amount: Decimal) -> String {
    amount.rescale(2);
    amount.to_string()
}

/// As it is shown.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
