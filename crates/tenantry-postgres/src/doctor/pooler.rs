use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage};

use super::{Finding, Patient, Severity};
use crate::connect::connect_cell;
use crate::error::DbError;

const CHECK: &str = "pooler.reachable";

/// A pooler in front of the database: PgBouncer's console is asked where its URL's user may, else it is judged by what it does.
pub(super) async fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let Some(pooler) = &patient.database.pooler else { return Vec::new() };
    let mut findings = vec![reachable(patient).await];
    let mut console = pooler.postgres.clone();
    console.dbname("pgbouncer").application_name("tenantry doctor");
    match in_time(ask(&console)).await {
        Ok((version, config)) => findings.extend(judge(version, &config, patient)),
        Err(error) => {
            let reason = format!("its console cannot be asked ({error}), so its version and settings are not known");
            findings.push(Finding {
                check: "pooler.console",
                severity: Severity::Warn,
                reason,
                mend: Some("name a user of `stats_users` in the pooler's URL: postgres://USER:PASSWORD@…".into()),
            });
            if findings[0].severity == Severity::Ok {
                findings.extend(by_behaviour(patient).await);
            }
        }
    }
    findings
}

/// The login of a cell, if there is one.
async fn login(patient: &Patient<'_>) -> Option<String> {
    let rows = patient.rows("SELECT login_role FROM public.cells ORDER BY id LIMIT 1").await.ok()?;
    rows.first().map(|row| row.get(0))
}

async fn reachable(patient: &Patient<'_>) -> Finding {
    let Some(login) = login(patient).await else {
        return Finding::ok(CHECK, "there is no cell yet that could log in through it");
    };
    let through = async {
        let client = connect_cell(patient.database, &login).await?;
        client.simple_query("SELECT 1").await?;
        Ok(())
    };
    match in_time(through).await {
        Ok(()) => Finding::ok(CHECK, format!("`{login}` gets through")),
        Err(error) => closed(&login, &error),
    }
}

fn closed(login: &str, error: &DbError) -> Finding {
    let reason = format!("`{login}` does not get through: {error}; no tenant is served this way");
    let mend = "auth_query = SELECT usename, passwd FROM pg_catalog.pg_shadow WHERE usename=$1, with `auth_user`; and the address in `pooler_url`";
    Finding::fail(CHECK, reason, mend)
}

/// A pooler without a free connection keeps its clients waiting.
async fn in_time<T>(asked: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    const PATIENCE: Duration = Duration::from_secs(5);
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(DbError::Unavailable(format!("no answer within {PATIENCE:?}"))),
    }
}

/// Version (major, minor, patch) and settings.
type Told = (Option<(u32, u32, u32)>, BTreeMap<String, String>);

/// Asks the console, which knows simple queries only.
async fn ask(console: &tokio_postgres::Config) -> Result<Told, DbError> {
    let client = crate::init::open(console).await?;
    let mut version = None;
    for message in client.simple_query("SHOW VERSION").await? {
        if let SimpleQueryMessage::Row(row) = message {
            version = row.get(0).and_then(numbers);
        }
    }
    let mut config = BTreeMap::new();
    for message in client.simple_query("SHOW CONFIG").await? {
        if let SimpleQueryMessage::Row(row) = message {
            let text = |column| row.get(column).unwrap_or_default().to_owned();
            config.insert(text(0), text(1));
        }
    }
    Ok((version, config))
}

/// `PgBouncer 1.18.0` in numbers.
fn numbers(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split_whitespace().last()?.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
}

fn judge(version: Option<(u32, u32, u32)>, config: &BTreeMap<String, String>, patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = versions(version, config);
    findings.extend(settings(config, patient.expected.servers, patient.expected.tenants_connections()));
    findings
}

/// Defects of releases, from <https://www.pgbouncer.org/changelog.html>; as known in November 2026, not all checked there. Distributions mend older
/// releases without another number, so only what certainly concerns us fails.
fn versions(version: Option<(u32, u32, u32)>, config: &BTreeMap<String, String>) -> Vec<Finding> {
    const CHECK: &str = "pooler.version";
    let Some(version) = version else {
        return vec![Finding::warn(CHECK, "its version is not known", "use PgBouncer 1.26.1 or later")];
    };
    let (major, minor, patch) = version;
    let mut findings = Vec::new();
    let tracks_path = config.get("track_extra_parameters").is_some_and(|list| list.contains("search_path"));
    if version < (1, 25, 1) && tracks_path {
        let reason = format!(
            "PgBouncer {major}.{minor}.{patch} with `search_path` in `track_extra_parameters`: a client's path decides what its `auth_query` calls (CVE-2025-12819)"
        );
        findings.push(Finding::fail(
            CHECK,
            reason,
            "upgrade to PgBouncer 1.26.1, or take `search_path` out of track_extra_parameters",
        ));
    }
    if ((1, 17, 0)..(1, 26, 1)).contains(&version) {
        let reason = format!(
            "PgBouncer {major}.{minor}.{patch}: whoever knows one user's password may log in as another one (CVE-2026-107350), unless your distribution has mended that"
        );
        findings.push(Finding::warn(CHECK, reason, "upgrade to PgBouncer 1.26.1 or later"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("PgBouncer {major}.{minor}.{patch}")));
    }
    findings
}

fn settings(config: &BTreeMap<String, String>, servers: u32, connections: usize) -> Vec<Finding> {
    let text = |name: &str| config.get(name).map_or("", String::as_str);
    let mode = text("pool_mode");
    let mut findings = vec![if mode == "transaction" {
        Finding::ok("pooler.pool_mode", "pool_mode = transaction")
    } else {
        let reason = format!(
            "pool_mode = {mode}: cells' few connections are held by whoever came first, or a transaction is torn"
        );
        Finding::fail("pooler.pool_mode", reason, "pool_mode = transaction")
    }];
    let needed = u64::from(servers) * u64::try_from(connections).unwrap_or(u64::MAX);
    let allowed: u64 = text("max_client_conn").parse().unwrap_or(0);
    let told = format!("{servers} servers open up to {needed} connections of {allowed}");
    findings.push(if allowed >= needed {
        Finding::ok("pooler.max_client_conn", told)
    } else {
        let reason = format!("{told}: under load requests are refused");
        Finding::fail("pooler.max_client_conn", reason, format!("max_client_conn = {}", needed + needed / 5))
    });
    // Every transaction of ours names its role and its settings for itself alone, so there is nothing to reset.
    findings.push(if text("server_reset_query_always") == "1" && !text("server_reset_query").is_empty() {
        let reason = "server_reset_query_always = 1: each transaction pays for a reset that it does not need";
        Finding::warn("pooler.server_reset_query", reason, "server_reset_query_always = 0")
    } else {
        Finding::ok("pooler.server_reset_query", "no reset between transactions")
    });
    let ignored = text("ignore_startup_parameters");
    let swallowed =
        ["search_path", "role", "options"].into_iter().filter(|name| ignored.split(',').any(|i| i.trim() == *name));
    let swallowed: Vec<&str> = swallowed.collect();
    findings.push(if swallowed.is_empty() {
        Finding::ok("pooler.ignore_startup_parameters", format!("ignore_startup_parameters = {ignored}"))
    } else {
        let reason = format!(
            "ignore_startup_parameters has {}: who connects with these believes that they hold",
            swallowed.join(", ")
        );
        Finding::warn("pooler.ignore_startup_parameters", reason, "ignore_startup_parameters = extra_float_digits")
    });
    findings
}

/// Two clients that are idle share one connection of the server, or each has its own.
async fn by_behaviour(patient: &Patient<'_>) -> Option<Finding> {
    const CHECK: &str = "pooler.pool_mode";
    let login = login(patient).await?;
    let pid = async |client: &Client| -> Result<Option<String>, DbError> {
        let messages = client.simple_query("SELECT pg_backend_pid()").await?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    };
    let both = async {
        let (first, second) =
            (connect_cell(patient.database, &login).await?, connect_cell(patient.database, &login).await?);
        Ok::<_, DbError>((pid(&first).await?, pid(&second).await?))
    };
    let (first, second) = in_time(both).await.ok()?;
    Some(if first == second {
        Finding::ok(CHECK, "two idle clients share a connection, as in transaction mode")
    } else {
        let reason = "two idle clients have a connection of the server each, as in session mode or under load";
        Finding::warn(CHECK, reason, "pool_mode = transaction")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn releases_are_judged_by_what_they_lack() {
        let worst = |text: &str, pairs: &[(&str, &str)]| {
            versions(numbers(text), &config(pairs)).iter().map(|f| f.severity).max().unwrap()
        };
        let path = [("track_extra_parameters", "IntervalStyle, search_path")];
        assert_eq!(worst("PgBouncer 1.26.1", &path), Severity::Ok);
        assert_eq!(worst("PgBouncer 1.25.0", &[("track_extra_parameters", "IntervalStyle")]), Severity::Warn);
        assert_eq!(worst("PgBouncer 1.24.1", &path), Severity::Fail);
        assert_eq!(worst("something", &[]), Severity::Warn);
    }

    #[test]
    fn settings_are_mended_by_their_line() {
        let wrong = [
            ("pool_mode", "session"),
            ("max_client_conn", "10"),
            ("server_reset_query", "DISCARD ALL"),
            ("server_reset_query_always", "1"),
            ("ignore_startup_parameters", "extra_float_digits, search_path"),
        ];
        let mut config = config(&wrong);
        let found = settings(&config, 2, 64);
        assert!(found.iter().all(|finding| finding.severity > Severity::Ok), "{found:?}");
        for finding in found {
            let mend = finding.mend.unwrap();
            let (name, value) = mend.split_once(" = ").unwrap();
            config.insert(name.to_owned(), value.to_owned());
        }
        let mended = settings(&config, 2, 64);
        assert!(mended.iter().all(|finding| finding.severity == Severity::Ok), "{mended:?}");
    }
}
