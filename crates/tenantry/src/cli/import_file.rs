//! The file of `tenantry tenant import`: read and checked as a whole, so that a mistake in its last line is told before the
//! first tenant is made.

use std::collections::HashMap;
use std::path::Path;

use csv::{StringRecord, Trim};
use tenantry_core::Slug;
use tenantry_postgres::{NewTenant, OwnLimits, Plan};

use super::CliError;

const REQUIRED: [&str; 2] = ["slug", "admin_email"];
const OPTIONAL: [&str; 6] = ["plan", "domains", "dedicated", "max_agents", "max_tasks_per_month", "storage_limit_gb"];

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) new: NewTenant,
    pub(super) limits: OwnLimits,
}

/// Something wrong, with the line that it is on.
pub(super) type Mistake = (u64, String);

/// Reads the tenants of a file, or everything that is wrong with it.
pub(super) fn read(path: &Path, plans: &[Plan]) -> Result<Result<Vec<Wanted>, Vec<Mistake>>, CliError> {
    let unreadable = |error: csv::Error| CliError::usage(format!("cannot read `{}`: {error}", path.display()));
    let mut reader = csv::ReaderBuilder::new().trim(Trim::All).flexible(true).from_path(path).map_err(unreadable)?;
    let columns = match Columns::of(reader.headers().map_err(unreadable)?) {
        Ok(columns) => columns,
        Err(mistakes) => return Ok(Err(mistakes.into_iter().map(|text| (1, text)).collect())),
    };
    let (mut wanted, mut mistakes) = (Vec::new(), Vec::new());
    let mut first_lines: HashMap<String, u64> = HashMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                mistakes.push((line, error.to_string()));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let before = mistakes.len();
        let read = columns.tenant(&record, plans, &mut |text| mistakes.push((line, text)));
        let Some((tenant, domains)) = read.filter(|_| mistakes.len() == before) else { continue };
        // A host or a slug is given once in the file as it is in the registry.
        let names = std::iter::once(format!("slug `{}`", tenant.new.slug));
        for name in names.chain(domains.iter().map(|domain| format!("domain `{domain}`"))) {
            if let Some(first) = first_lines.insert(name.clone(), line) {
                mistakes.push((line, format!("{name} is on line {first} already")));
            }
        }
        wanted.push(tenant);
    }
    Ok(if mistakes.is_empty() { Ok(wanted) } else { Err(mistakes) })
}

/// Where each column is.
struct Columns {
    places: HashMap<&'static str, usize>,
    number: usize,
}

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, Vec<String>> {
        let (mut places, mut mistakes) = (HashMap::new(), Vec::new());
        for (place, name) in header.iter().enumerate() {
            match REQUIRED.iter().chain(&OPTIONAL).find(|known| **known == name) {
                None => mistakes.push(format!(
                    "`{name}` is not a column: there are {}",
                    [&REQUIRED[..], &OPTIONAL[..]].concat().join(", ")
                )),
                Some(known) => {
                    if places.insert(*known, place).is_some() {
                        mistakes.push(format!("column `{name}` is there twice"));
                    }
                }
            }
        }
        let missing = REQUIRED.iter().filter(|name| !places.contains_key(**name));
        mistakes.extend(missing.map(|name| format!("column `{name}` is missing")));
        if mistakes.is_empty() { Ok(Self { places, number: header.len() }) } else { Err(mistakes) }
    }

    /// The tenant of a line and its domains as they are stored.
    fn tenant(
        &self,
        record: &StringRecord,
        plans: &[Plan],
        mistake: &mut impl FnMut(String),
    ) -> Option<(Wanted, Vec<String>)> {
        if record.len() != self.number {
            mistake(format!("{} values for {} columns", record.len(), self.number));
            return None;
        }
        let text = |name: &str| self.places.get(name).and_then(|place| record.get(*place)).unwrap_or_default();
        let mut number = |name: &str| match text(name) {
            "" => None,
            digits => digits.parse().map_err(|_| mistake(format!("`{name}` is a number, not `{digits}`"))).ok(),
        };
        let limits = OwnLimits {
            max_agents: number("max_agents"),
            max_tasks_per_month: number("max_tasks_per_month"),
            storage_limit_gb: number("storage_limit_gb"),
        };
        let dedicated = match text("dedicated") {
            "" | "false" => false,
            "true" => true,
            other => {
                mistake(format!("`dedicated` is `true` or `false`, not `{other}`"));
                false
            }
        };
        let plan = if text("plan").is_empty() { "free" } else { text("plan") };
        if !plans.iter().any(|known| known.tier == plan) {
            mistake(format!("plan `{plan}` does not exist"));
        }
        let slug: Slug = text("slug").parse().map_err(|error| mistake(format!("{error}"))).ok()?;
        let new = NewTenant {
            slug,
            admin_email: text("admin_email").to_owned(),
            plan_tier: plan.to_owned(),
            allowed_domains: text("domains").split_whitespace().map(str::to_owned).collect(),
            dedicated,
        };
        let domains = new.check(&limits).map_err(|error| mistake(error.to_string())).ok()?;
        Some((Wanted { new, limits }, domains))
    }
}
