use std::str::FromStr as _;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::columns::Columns;
use super::{BillError, BillFormat, Import};

/// Bad lines that are told; a file of another format would have one each.
const TOLD: usize = 50;
/// Amounts beyond are slips, and the column has no room for their sums.
const MOST_USD: i64 = 1_000_000_000;

/// An amount of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its line in the file.
    pub line: i32,
    /// The provider's name for the account; empty if the file does not tell.
    pub account: String,
    /// The day, in UTC.
    pub day: NaiveDate,
    /// What it was for.
    pub model: String,
    /// How much. Providers' amounts come from floating point; what is behind the twelfth decimal is none of the amount.
    pub amount_usd: Decimal,
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadLine {
    /// Its line in the file.
    pub line: u64,
    /// Why.
    pub detail: String,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// As what.
    pub format: BillFormat,
    /// What is in it.
    pub lines: Vec<Line>,
}

/// Reads a file.
///
/// # Errors
/// [`BillError::Refused`] for a file of no known format, [`BillError::Lines`].
pub fn read(bytes: &[u8], format: Option<BillFormat>, account: &str) -> Result<Parsed, BillError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let titles = reader.headers().map_err(|_| BillError::Refused("the file is not text in UTF-8".to_owned()))?.clone();
    let columns = Columns::find(&titles, format).map_err(BillError::Refused)?;
    let (mut lines, mut bad) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let outcome = match record {
            Ok(record) => {
                let line = line_of(bytes, record.position());
                read_line(&columns, &record, line, account).map_err(|detail| BadLine { line, detail })
            }
            Err(error) => Err(unreadable(bytes, &error)),
        };
        match outcome {
            Ok(line) => lines.push(line),
            Err(line) if bad.len() < TOLD => bad.push(line),
            Err(_) => break,
        }
    }
    if !bad.is_empty() {
        return Err(BillError::Lines(bad));
    }
    if lines.is_empty() {
        return Err(BillError::Refused("the file has no lines with amounts".to_owned()));
    }
    Ok(Parsed { format: columns.format, lines })
}

fn read_line(columns: &Columns, record: &csv::StringRecord, line: u64, account: &str) -> Result<Line, String> {
    let text = |place: Option<usize>| place.and_then(|place| record.get(place)).unwrap_or_default();
    let currency = text(columns.currency);
    if columns.currency.is_some() && !currency.eq_ignore_ascii_case("usd") {
        return Err(format!("the currency is `{currency}`, not `USD`"));
    }
    let day = text(Some(columns.day));
    let amount = text(Some(columns.amount));
    let name = |place, what: &str| -> Result<String, String> {
        let given = text(place);
        if given.chars().count() > 255 || given.contains('\0') {
            return Err(format!("the {what} must have at most 255 characters"));
        }
        Ok(given.to_owned())
    };
    let own = name(columns.account, "account")?;
    Ok(Line {
        line: i32::try_from(line).map_err(|_| "the file has too many lines".to_owned())?,
        account: if own.is_empty() { account.to_owned() } else { own },
        day: read_day(day).ok_or_else(|| format!("`{day}` is not a day such as `2026-10-31`"))?,
        model: name(columns.model, "model")?,
        amount_usd: read_amount(amount, columns.cents).ok_or_else(|| format!("`{amount}` is not an amount"))?,
    })
}

/// A day, an instant (whose day in UTC it is), or seconds since 1970.
fn read_day(text: &str) -> Option<NaiveDate> {
    let seconds =
        || text.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)).map(|at| at.date_naive());
    let instant = || DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc().date_naive());
    let wall = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).map(|at| at.date())
    };
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().or_else(instant).or_else(wall).or_else(seconds)?;
    let sane = NaiveDate::from_ymd_opt(2000, 1, 1)?..NaiveDate::from_ymd_opt(2200, 1, 1)?;
    sane.contains(&day).then_some(day)
}

fn read_amount(text: &str, cents: bool) -> Option<Decimal> {
    let text = text.strip_prefix('$').unwrap_or(text);
    let amount = Decimal::from_str(text).or_else(|_| Decimal::from_scientific(text)).ok()?;
    let amount = if cents { amount.checked_div(Decimal::ONE_HUNDRED)? } else { amount };
    (amount.abs() <= Decimal::from(MOST_USD)).then(|| amount.round_dp(12))
}

/// The line that a record is on: its place may be that of empty lines before it.
fn line_of(bytes: &[u8], place: Option<&csv::Position>) -> u64 {
    let Some(place) = place else { return 0 };
    let from = usize::try_from(place.byte()).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let empty = from.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| **byte == b'\n').count();
    place.line() + u64::try_from(empty).unwrap_or(0)
}

fn unreadable(bytes: &[u8], error: &csv::Error) -> BadLine {
    let line = line_of(bytes, error.position());
    let detail = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!("it has {len} fields, not {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => "it is not CSV".to_owned(),
    };
    BadLine { line, detail }
}

/// Names a file together with what it is taken for.
pub(super) fn digest(import: &Import<'_>, format: BillFormat) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in [import.provider, import.account, format.as_str()] {
        // none of them has a line's end
        hash.update(text.as_bytes());
        hash.update(b"\n");
    }
    hash.update(import.bytes);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(text: &str) -> Vec<(i32, String, String, String, String)> {
        let parsed = read(text.as_bytes(), None, "main").unwrap();
        let line = |l: Line| (l.line, l.account, l.day.to_string(), l.model, l.amount_usd.normalize().to_string());
        parsed.lines.into_iter().map(line).collect()
    }

    fn bad(text: &str) -> Vec<(u64, String)> {
        match read(text.as_bytes(), None, "") {
            Err(BillError::Lines(lines)) => lines.into_iter().map(|bad| (bad.line, bad.detail)).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn line(at: i32, account: &str, day: &str, model: &str, amount: &str) -> (i32, String, String, String, String) {
        (at, account.into(), day.into(), model.into(), amount.into())
    }

    #[test]
    fn openais_export_is_read() {
        let file = "\u{feff}start_time,end_time,start_time_iso,amount_value,amount_currency,line_item,project_id\n\
            1761955200,1762041600,2025-11-01T00:00:00+00:00,0.06000000000000001,usd,\"gpt-5, input\",proj_a\n\
            1762041600,1762128000,2025-11-02T00:00:00+00:00,1.2e-05,usd,,\n";
        assert_eq!(
            lines(file),
            [line(2, "proj_a", "2025-11-01", "gpt-5, input", "0.06"), line(3, "main", "2025-11-02", "", "0.000012")]
        );
        let unix = "start_time,amount_value\n1761955200,2\n";
        assert_eq!(lines(unix), [line(2, "main", "2025-11-01", "", "2")]);
    }

    #[test]
    fn anthropics_amounts_are_cents() {
        let file = "starting_at,workspace_id,description,model,amount,currency\n\
            2026-10-01T00:00:00Z,wrkspc_1,Claude Sonnet input,claude-sonnet,123.78912,USD\n\
            2026-10-01T00:00:00Z,,Web search,,50,USD\n";
        assert_eq!(
            lines(file),
            [line(2, "wrkspc_1", "2026-10-01", "claude-sonnet", "1.2378912"), line(3, "main", "2026-10-01", "", "0.5")]
        );
        let console = "usage_date_utc,model,workspace,cost_usd\n2026-10-01,claude-sonnet,Default,3.21\n";
        assert_eq!(lines(console), [line(2, "Default", "2026-10-01", "claude-sonnet", "3.21")]);
    }

    #[test]
    fn the_plain_format_needs_a_day_and_an_amount() {
        assert_eq!(lines("Day,Amount USD\n2026-10-01,-2.50\n"), [line(2, "main", "2026-10-01", "", "-2.5")]);
        for (file, told) in [
            ("day,price\n2026-10-01,1\n", "of no known format"),
            ("amount_usd\n1\n", "`day` or `date` is missing"),
            ("day,amount_usd\n", "no lines"),
            ("", "of no known format"),
        ] {
            match read(file.as_bytes(), None, "") {
                Err(BillError::Refused(detail)) => assert!(detail.contains(told), "{detail}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn every_bad_line_is_named_by_its_number() {
        let file = "day,account,amount_usd\n2026-10-01,a,1\n2026-13-01,a,1\n\n2026-10-02,a\n2026-10-03,a,one\n2026-10-04,a,1e12\n";
        let told = bad(file);
        assert_eq!(told.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 5, 6, 7]);
        assert!(told[0].1.contains("`2026-13-01` is not a day") && told[1].1.contains("2 fields, not 3"), "{told:?}");
        assert_eq!(
            bad("starting_at,amount,currency\n2026-10-01,5,EUR\n"),
            [(2, "the currency is `EUR`, not `USD`".into())]
        );
        let many = format!("day,amount_usd\n{}", "x,y\n".repeat(1000));
        assert_eq!(bad(&many).len(), TOLD);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_bill_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, Some(BillFormat::Generic), "");
            let file = [b"day,amount_usd\n", bytes.as_slice()].concat();
            let _ = read(&file, None, "");
        }
    }
}
