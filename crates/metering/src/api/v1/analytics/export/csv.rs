//! Lines of comma-separated values and of JSON.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};
use serde::Serialize;

use crate::store::analytics::calls::CallRow;
use crate::store::analytics::sums::Line;

/// The columns of calls.
const CALL: [&str; 43] = [
    "id",
    "kind",
    "adjusts",
    "prices_call",
    "operation_id",
    "attempt",
    "source",
    "timestamp",
    "hour",
    "day",
    "provider",
    "model",
    "requested_model",
    "service_tier",
    "operation",
    "agent_id",
    "session_id",
    "task_id",
    "task_type",
    "api_key_id",
    "provider_account_id",
    "client_reference",
    "tokens_input",
    "tokens_output",
    "tokens_cache_read",
    "tokens_cache_write",
    "tokens_reasoning",
    "usage",
    "usage_source",
    "usage_mismatch",
    "cost_usd",
    "cost_source",
    "price_version",
    "list_baseline_usd",
    "like_baseline_usd",
    "latency_ms",
    "time_to_first_token_ms",
    "streamed",
    "success",
    "finish",
    "status_code",
    "error_message",
    "provider_request_id",
];

/// The columns of days.
const LINE: [&str; 23] = [
    "day",
    "provider",
    "model",
    "operation",
    "agent_id",
    "api_key_id",
    "provider_account_id",
    "task_type",
    "calls",
    "operations",
    "failed_calls",
    "unpriced_calls",
    "estimated_calls",
    "unsettled_calls",
    "cost_usd",
    "adjustments_usd",
    "failed_cost_usd",
    "estimated_cost_usd",
    "tokens_input",
    "tokens_output",
    "tokens_cache_read",
    "tokens_cache_write",
    "tokens_reasoning",
];

/// A text that no spreadsheet takes for a formula (OWASP, "CSV injection"): one that begins like one gets an apostrophe in front. For texts that
/// somebody chose; numbers of ours may begin with a minus.
pub(super) fn safe(text: &str) -> Cow<'_, str> {
    // spreadsheets trim, so what comes after blanks counts
    let first = text.trim_start_matches([' ', '\u{a0}']).chars().next();
    if matches!(
        first,
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
    ) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn optional(text: Option<&String>) -> Cow<'_, str> {
    text.map_or(Cow::Borrowed(""), |text| safe(text))
}

/// A value that is a number, an id or nothing.
pub(super) fn plain<T: ToString>(value: Option<T>) -> Cow<'static, str> {
    value.map_or(Cow::Borrowed(""), |value| Cow::Owned(value.to_string()))
}

pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Writes records into memory, which does not fail.
pub(super) fn write<'a, R>(names: Option<&[&str]>, records: impl Iterator<Item = R>) -> Vec<u8>
where
    R: IntoIterator<Item = Cow<'a, str>>,
{
    let mut writer: Writer<Vec<u8>> =
        WriterBuilder::new().terminator(Terminator::CRLF).quote_style(QuoteStyle::Necessary).from_writer(Vec::new());
    let mut written = names.map_or(Ok(()), |names| writer.write_record(names));
    for record in records {
        written =
            written.and_then(|()| writer.write_record(record.into_iter().map(|field| field.into_owned().into_bytes())));
    }
    if let Err(error) = written {
        tracing::error!(%error, "an export's line could not be written");
    }
    writer.into_inner().unwrap_or_default()
}

/// Calls, one a line.
pub(super) fn calls(rows: &[CallRow], names: bool) -> Vec<u8> {
    write(
        names.then_some(&CALL[..]),
        rows.iter().map(|row| {
            [
                plain(Some(row.id)),
                safe(&row.kind),
                plain(row.adjusts),
                plain(Some(row.prices_call)),
                plain(Some(row.operation_id)),
                plain(Some(row.attempt)),
                safe(&row.source),
                instant(row.timestamp).into(),
                instant(row.hour).into(),
                plain(Some(row.day)),
                safe(&row.provider),
                safe(&row.model),
                optional(row.requested_model.as_ref()),
                optional(row.service_tier.as_ref()),
                safe(&row.operation),
                plain(row.agent_id),
                plain(row.session_id),
                plain(row.task_id),
                optional(row.task_type.as_ref()),
                plain(row.api_key_id),
                plain(row.provider_account_id),
                optional(row.client_reference.as_ref()),
                plain(Some(row.tokens_input)),
                plain(Some(row.tokens_output)),
                plain(Some(row.tokens_cache_read)),
                plain(Some(row.tokens_cache_write)),
                plain(Some(row.tokens_reasoning)),
                row.usage.to_string().into(),
                safe(&row.usage_source),
                plain(Some(row.usage_mismatch)),
                plain(row.cost_usd),
                safe(&row.cost_source),
                optional(row.price_version.as_ref()),
                plain(row.list_baseline_usd),
                plain(row.like_baseline_usd),
                plain(Some(row.latency_ms)),
                plain(row.time_to_first_token_ms),
                plain(Some(row.streamed)),
                plain(Some(row.success)),
                safe(&row.finish),
                plain(row.status_code),
                optional(row.error_message.as_ref()),
                optional(row.provider_request_id.as_ref()),
            ]
        }),
    )
}

/// Days, one line for each thing that their sums are kept by.
pub(super) fn lines(rows: &[Line], names: bool) -> Vec<u8> {
    write(
        names.then_some(&LINE[..]),
        rows.iter().map(|row| {
            let sums = &row.measures;
            [
                plain(Some(row.day)),
                safe(&row.provider),
                safe(&row.model),
                safe(&row.operation),
                plain(row.agent_id),
                plain(row.api_key_id),
                plain(row.provider_account_id),
                optional(row.task_type.as_ref()),
                plain(Some(sums.calls)),
                plain(Some(sums.operations)),
                plain(Some(sums.failed_calls)),
                plain(Some(sums.unpriced_calls)),
                plain(Some(sums.estimated_calls)),
                plain(Some(sums.unsettled_calls)),
                plain(Some(sums.cost_usd)),
                plain(Some(sums.adjustments_usd)),
                plain(Some(sums.failed_cost_usd)),
                plain(Some(sums.estimated_cost_usd)),
                plain(Some(sums.tokens.input)),
                plain(Some(sums.tokens.output)),
                plain(Some(sums.tokens.cache_read)),
                plain(Some(sums.tokens.cache_write)),
                plain(Some(sums.tokens.reasoning)),
            ]
        }),
    )
}

/// A JSON object a line.
pub(super) fn json_lines<T: Serialize>(rows: &[T]) -> Vec<u8> {
    let mut text = Vec::new();
    for row in rows {
        if let Err(error) = serde_json::to_writer(&mut text, row) {
            tracing::error!(%error, "an export's line could not be written");
        }
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_formula_is_a_text() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u{ff1d}1"] {
            assert_eq!(safe(bad), format!("'{bad}"));
        }
        for fine in ["", "gpt-5", "a=b", "'=1"] {
            assert_eq!(safe(fine), fine);
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(texts in prop::collection::vec("\\PC*|[\"\r\n,;=]{0,8}", 1..5)) {
            let record = texts.iter().map(|text| safe(text)).collect::<Vec<_>>();
            let bytes = write(None, [record.clone()].into_iter());
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&bytes[..]);
            let read = reader.records().next().unwrap().unwrap();
            prop_assert_eq!(read.iter().map(str::to_owned).collect::<Vec<_>>(), record);
            for field in &read {
                prop_assert!(!field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{:?}", field);
            }
        }
    }
}
