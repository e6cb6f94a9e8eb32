//! `tenantry tenant usage`.

use std::time::Duration;

use tenantry_postgres::{Provisioner, QuotaUse, TenantUsage};

use super::output::{self, optional, time};
use super::tenant_args::UsageArgs;
use super::{CliError, Output, say};

pub(super) async fn run(args: UsageArgs, format: Output, provisioner: &Provisioner) -> Result<(), CliError> {
    if args.measure {
        let slugs: Vec<String> = args.slug.iter().cloned().collect();
        let measured = provisioner.measure(Duration::ZERO, &slugs).await?;
        if measured.busy {
            say("a server is measuring at this moment; what is shown may be older");
        }
        for slug in &measured.failed {
            say(format!("`{slug}` could not be measured; its tables may be locked"));
        }
    }
    if let Some(slug) = args.slug {
        let usage = provisioner.usage(&slug).await?;
        return output::record(format, &usage, &lines(&usage));
    }
    let fleet = provisioner.fleet_usage().await?;
    let columns = ["slug", "plan", "most used", "agents", "tasks", "running", "storage", "frozen", "measured"];
    output::list(format, &fleet, &columns, |usage| {
        let mut cells = vec![
            usage.slug.clone(),
            usage.plan_tier.clone(),
            optional(usage.tightest().map(|quota| format!("{} {}", quota.quota_type, percent(quota)))),
        ];
        cells.extend(usage.quotas.iter().map(of));
        cells.push(if usage.storage_frozen { "frozen" } else { "-" }.to_owned());
        cells.push(optional(usage.measured_at.map(time)));
        cells
    })
}

fn lines(usage: &TenantUsage) -> Vec<(&'static str, String)> {
    let mut lines = vec![("slug", usage.slug.clone()), ("plan", usage.plan_tier.clone())];
    for (name, quota) in ["agents", "tasks this month", "running tasks", "storage"].into_iter().zip(&usage.quotas) {
        lines.push((name, format!("{} ({})", of(quota), percent(quota))));
    }
    lines.push(("writes", if usage.storage_frozen { "refused: storage is used up" } else { "taken" }.to_owned()));
    lines.push(("measured", optional(usage.measured_at.map(time))));
    lines
}

/// `4 of 5`; a dash for what is not known.
fn of(quota: &QuotaUse) -> String {
    let number = |number: i64| if quota.quota_type == "storage" { bytes(number) } else { number.to_string() };
    let used = quota.used.map_or_else(|| "-".to_owned(), number);
    match quota.limit {
        Some(limit) => format!("{used} of {}", number(limit)),
        None => used,
    }
}

fn percent(quota: &QuotaUse) -> String {
    quota.percent.map_or_else(|| "no limit".to_owned(), |percent| format!("{percent:.0} %"))
}

/// In the largest unit of which there is at least one, with one decimal.
fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = i128::from(bytes) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths % 10 == 0 {
        format!("{} {}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_readable() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5 GiB"),
            (3 << 50, "3072 TiB"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
    }
}
