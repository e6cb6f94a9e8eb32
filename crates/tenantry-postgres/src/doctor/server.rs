use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{Finding, Patient};
use crate::error::DbError;

/// A defect of PostgreSQL that concerns tenants, with the first minor release of each major one that does not have it.
struct Known {
    what: &'static str,
    fixed: &'static [(i32, i32)],
}

/// Those that let a tenant's session see, become or run what it must not. From <https://www.postgresql.org/support/security/>
/// and the announcements of the releases (2024-11-14, 2025-08-14, 2026-02-12, 2026-05-14); as known in November 2026, not all checked there. A
/// major version without entry was released without the defect.
const SECURITY: &[Known] = &[
    Known {
        what: "CVE-2024-10976: row level security of subqueries may go by the role of an earlier query",
        fixed: &[(15, 9), (16, 5), (17, 1)],
    },
    Known { what: "CVE-2024-10978: SET ROLE may reset to a wrong role", fixed: &[(15, 9), (16, 5), (17, 1)] },
    Known {
        what: "CVE-2025-8713: the planner's statistics show rows that row level security hides",
        fixed: &[(15, 14), (16, 10), (17, 6)],
    },
    Known {
        what: "CVE-2026-2006: a crafted text makes a database user's query run any code in the server",
        fixed: &[(15, 16), (16, 12), (17, 8), (18, 2)],
    },
    Known {
        what: "CVE-2026-6473: sizes that wrap around let a database user's query write beyond its memory",
        fixed: &[(15, 18), (16, 14), (17, 10), (18, 4)],
    },
];

/// The release that mended CVE-2024-10978 ignored `ALTER ROLE … SET role`; the one of 2024-11-21 mended that.
const REGRESSION: &[(i32, i32)] = &[(15, 9), (16, 5), (17, 1)];

pub(super) async fn version(patient: &Patient<'_>) -> Result<Vec<Finding>, DbError> {
    let rows = patient.rows("SELECT current_setting('server_version_num')::int").await?;
    let number: i32 = rows.first().map_or(0, |row| row.get(0));
    Ok(judge(number / 10_000, number % 10_000))
}

fn judge(major: i32, minor: i32) -> Vec<Finding> {
    const CHECK: &str = "server.version";
    let mut findings = Vec::new();
    if !(15..=18).contains(&major) {
        let reason = format!("PostgreSQL {major} is not one of the versions this program is tested with");
        let mend = "use PostgreSQL 15 to 18".to_owned();
        return vec![if major < 15 { Finding::fail(CHECK, reason, mend) } else { Finding::warn(CHECK, reason, mend) }];
    }
    let fixed_in = |known: &Known| known.fixed.iter().find(|(of, _)| *of == major).map(|(_, first)| *first);
    let open: Vec<&Known> =
        SECURITY.iter().filter(|known| fixed_in(known).is_some_and(|first| minor < first)).collect();
    if let Some(needed) = open.iter().filter_map(|known| fixed_in(known)).max() {
        let mut reason = format!("PostgreSQL {major}.{minor} has defects by which tenants may reach each other");
        for known in &open {
            let _ = write!(reason, "; {}", known.what);
        }
        let mend = format!("upgrade to PostgreSQL {major}.{needed} or later: replace the programs and restart");
        findings.push(Finding::fail(CHECK, reason, mend));
    } else {
        findings.push(Finding::ok(CHECK, format!("PostgreSQL {major}.{minor}")));
    }
    if REGRESSION.contains(&(major, minor)) {
        let reason = format!("PostgreSQL {major}.{minor} ignores `ALTER ROLE … SET role`");
        findings.push(Finding::warn(CHECK, reason, format!("upgrade to PostgreSQL {major}.{} or later", minor + 1)));
    }
    findings
}

pub(super) async fn clock(patient: &Patient<'_>) -> Result<Vec<Finding>, DbError> {
    let asked = Instant::now();
    let before = chrono::Utc::now();
    let rows = patient.rows("SELECT clock_timestamp()").await?;
    let middle = before + chrono::TimeDelta::from_std(asked.elapsed() / 2).unwrap_or_default();
    let theirs: chrono::DateTime<chrono::Utc> = rows.first().map_or(middle, |row| row.get(0));
    Ok(vec![skew((theirs - middle).abs().to_std().unwrap_or_default())])
}

fn skew(skew: Duration) -> Finding {
    const CHECK: &str = "server.clock";
    let reason = format!("the clocks of this machine and of the database differ by {skew:.1?}");
    let why = format!("{reason}: keys, tokens and grace periods end at the wrong time");
    let mend = "let both machines take their time from one source (NTP)";
    match skew.as_secs() {
        0..2 => Finding::ok(CHECK, reason),
        2..30 => Finding::warn(CHECK, why, mend),
        _ => Finding::fail(CHECK, why, mend),
    }
}

/// Whether passwords and rows cross a network in the clear.
pub(super) async fn encryption(patient: &Patient<'_>) -> Result<Vec<Finding>, DbError> {
    const CHECK: &str = "server.ssl";
    let sql = "SELECT current_setting('ssl') = 'on', \
               coalesce(inet_client_addr() << '127.0.0.0/8' OR inet_client_addr() = '::1' OR inet_client_addr() = inet_server_addr(), true)";
    let rows = patient.rows(sql).await?;
    let (ssl, local) = rows.first().map_or((false, false), |row| (row.get(0), row.get(1)));
    Ok(vec![match (ssl, local) {
        (true, _) => Finding::ok(CHECK, "the server speaks TLS"),
        (false, true) => Finding::ok(CHECK, "the server speaks no TLS, and is on this machine"),
        (false, false) => Finding::warn(
            CHECK,
            "the server speaks no TLS, and its clients are on other machines: rows cross the network in the clear",
            "ALTER SYSTEM SET ssl = on, with `ssl_cert_file` and `ssl_key_file`; then SELECT pg_reload_conf()",
        ),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn worst(major: i32, minor: i32) -> Severity {
        judge(major, minor).iter().map(|finding| finding.severity).max().unwrap()
    }

    #[test]
    fn versions_with_known_defects_fail_with_the_release_that_mends_them() {
        for (major, minor) in [(14, 20), (15, 8), (15, 17), (16, 13), (17, 9), (18, 0), (18, 3)] {
            assert_eq!(worst(major, minor), Severity::Fail, "{major}.{minor}");
        }
        for (major, minor) in [(15, 18), (15, 30), (16, 14), (17, 10), (18, 4)] {
            assert_eq!(worst(major, minor), Severity::Ok, "{major}.{minor}");
        }
        assert_eq!(worst(19, 0), Severity::Warn);
        let finding = &judge(15, 13)[0];
        assert!(finding.reason.contains("CVE-2025-8713") && !finding.reason.contains("CVE-2024-10978"), "{finding:?}");
        assert!(finding.mend.as_deref().unwrap().contains("15.18"));
        assert!(
            judge(17, 1).iter().any(|f| f.reason.contains("ignores") && f.mend.as_deref().unwrap().contains("17.2"))
        );
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let severity = |seconds| skew(Duration::from_secs(seconds)).severity;
        assert_eq!((severity(1), severity(5), severity(60)), (Severity::Ok, Severity::Warn, Severity::Fail));
    }
}
