use super::{Statement, StatementLine};
use crate::sheets::cell;

const COLUMNS: [&str; 16] = [
    "month",
    "status",
    "number",
    "line",
    "kind",
    "for_month",
    "provider",
    "model",
    "calls",
    "unpriced_calls",
    "estimated_calls",
    "unsettled_calls",
    "tokens_input",
    "tokens_output",
    "cost_usd",
    "amount_usd",
];

/// A statement as CSV (RFC 4180), a row for each line.
///
/// # Errors
/// Only what writing into memory can give: nothing.
pub fn to_csv(statement: &Statement) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for (at, line) in statement.lines.iter().enumerate() {
        writer.write_record(record(statement, at + 1, line))?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

fn record(statement: &Statement, number: usize, line: &StatementLine) -> [String; 16] {
    let summary = &statement.summary;
    [
        summary.month.to_string(),
        summary.status.to_string(),
        summary.number.map(|number| number.to_string()).unwrap_or_default(),
        number.to_string(),
        line.kind.to_string(),
        line.for_month.to_string(),
        cell(&line.provider),
        cell(&line.model),
        line.calls.to_string(),
        line.unpriced_calls.to_string(),
        line.estimated_calls.to_string(),
        line.unsettled_calls.to_string(),
        line.tokens_input.to_string(),
        line.tokens_output.to_string(),
        line.cost_usd.to_string(),
        line.amount_usd.to_string(),
    ]
}
