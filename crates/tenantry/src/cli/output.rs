//! Results on standard output, as tables for people or JSON for programs; remarks on standard error.

use std::io::{ErrorKind, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::{CliError, Output};

/// Prints a remark for people; programs read standard output.
pub(crate) fn say(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
}

/// Prints text as it is. A reader that has seen enough (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a part of a file as it is; `false` when the reader has seen enough.
pub(super) fn bytes(part: &[u8]) -> Result<bool, CliError> {
    match std::io::stdout().write_all(part) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        outcome => Ok(outcome.map(|()| true)?),
    }
}

pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    print(&serde_json::to_string_pretty(value).map_err(|error| CliError::failed(error.to_string()))?)
}

/// Many records: a table with a line each, or a JSON array.
pub(super) fn list<T: Serialize>(
    output: Output,
    rows: &[T],
    columns: &[&str],
    cells: impl Fn(&T) -> Vec<String>,
) -> Result<(), CliError> {
    if output == Output::Json {
        return json(&rows);
    }
    let mut table = plain_table();
    table.set_header(columns.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(cells(row));
    }
    print(&trimmed(&table))
}

/// One record: a line per member, or a JSON object.
pub(super) fn record(output: Output, value: &impl Serialize, lines: &[(&str, String)]) -> Result<(), CliError> {
    if output == Output::Json {
        return json(value);
    }
    let mut table = plain_table();
    for (name, text) in lines {
        table.add_row([*name, text]);
    }
    print(&trimmed(&table))
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A value that may be missing.
pub(super) fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

pub(super) fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
