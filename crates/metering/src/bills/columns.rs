use std::borrow::Cow;
use std::collections::HashMap;

use super::BillFormat;

/// In which columns of a file what is.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) format: BillFormat,
    pub(super) day: usize,
    pub(super) amount: usize,
    /// Whether amounts are cents.
    pub(super) cents: bool,
    pub(super) currency: Option<usize>,
    pub(super) account: Option<usize>,
    pub(super) model: Option<usize>,
}

impl Columns {
    /// Finds the columns by their titles; which titles there are tells the format where it is not given.
    pub(super) fn find(titles: &csv::StringRecord, format: Option<BillFormat>) -> Result<Self, String> {
        let mut places: HashMap<String, usize> = HashMap::new();
        for (place, title) in titles.iter().enumerate() {
            // an export for spreadsheets may begin with a byte order mark
            let title = title.trim_start_matches('\u{feff}').trim().to_ascii_lowercase().replace(' ', "_");
            places.entry(title).or_insert(place);
        }
        let one_of = |names: &[&str]| names.iter().find_map(|name| places.get(*name).copied());
        let format = format.or_else(|| detect(&|name| places.contains_key(name))).ok_or_else(|| {
            let titles: Vec<Cow<'_, str>> = titles.iter().map(Cow::from).collect();
            format!("the columns `{}` are of no known format; name the format", titles.join("`, `"))
        })?;
        let Titles { days, cents, dollars, accounts, models } = titles_of(format);
        let day = one_of(days).ok_or_else(|| format!("a column `{}` is missing", days.join("` or `")))?;
        let (amount, in_cents) = match (one_of(cents), one_of(dollars)) {
            (Some(place), _) => (place, true),
            (None, Some(place)) => (place, false),
            (None, None) => {
                let names = [cents, dollars].concat();
                return Err(format!("a column `{}` is missing", names.join("` or `")));
            }
        };
        Ok(Self {
            format,
            day,
            amount,
            cents: in_cents,
            currency: one_of(&["amount_currency", "currency"]),
            account: one_of(accounts),
            model: one_of(models),
        })
    }
}

/// The titles that each column may have, the best first.
struct Titles {
    days: &'static [&'static str],
    /// Amounts in cents; they go before those in dollars.
    cents: &'static [&'static str],
    dollars: &'static [&'static str],
    accounts: &'static [&'static str],
    models: &'static [&'static str],
}

const fn titles_of(format: BillFormat) -> Titles {
    match format {
        BillFormat::Openai => Titles {
            days: &["start_time_iso", "start_time", "date"],
            cents: &[],
            dollars: &["amount_value", "amount", "cost_usd"],
            accounts: &["project_id", "project"],
            models: &["line_item", "model"],
        },
        BillFormat::Anthropic => Titles {
            days: &["starting_at", "usage_date_utc", "date"],
            cents: &["amount"],
            dollars: &["cost_usd", "amount_usd"],
            accounts: &["workspace_id", "workspace"],
            models: &["model", "description"],
        },
        BillFormat::Generic => Titles {
            days: &["day", "date"],
            cents: &[],
            dollars: &["amount_usd"],
            accounts: &["account"],
            models: &["model"],
        },
    }
}

fn detect(has: &dyn Fn(&str) -> bool) -> Option<BillFormat> {
    if has("amount_value") {
        Some(BillFormat::Openai)
    } else if has("starting_at") || has("usage_date_utc") {
        Some(BillFormat::Anthropic)
    } else if has("amount_usd") {
        Some(BillFormat::Generic)
    } else {
        None
    }
}
