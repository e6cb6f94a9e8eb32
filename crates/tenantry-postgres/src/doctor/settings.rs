//! The server's settings: those that keep data, and those that many schemas, tables and connections need.

use std::collections::BTreeMap;

use super::{Expected, Finding, Patient};
use crate::error::DbError;

/// Beyond so many tables a crash recovery that opens every file takes minutes.
const MANY_TABLES: i64 = 50_000;
/// Tables that one worker of autovacuum can be expected to come round to.
const TABLES_PER_WORKER: i64 = 50_000;
/// Tenants whose schemas may be made, migrated or dropped at the same time.
const CHANGES_AT_ONCE: i64 = 16;

/// What the settings are judged by.
struct Facts {
    settings: BTreeMap<String, String>,
    /// Tables of the whole database.
    tables: i64,
    /// Tables and indexes of one tenant.
    of_tenant: i64,
    /// Whether tenants' connections go through a pooler.
    pooled: bool,
}

pub(super) async fn examine(patient: &Patient<'_>) -> Result<Vec<Finding>, DbError> {
    // Sizes are in kB or pages; everything that is judged here is a number, a word or a size in 8 kB pages.
    let rows = patient.rows("SELECT name, setting FROM pg_settings").await?;
    let settings = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let count = "SELECT count(*) FILTER (WHERE c.relkind IN ('r', 'p')), \
                 coalesce((SELECT count(*) FROM pg_class o WHERE o.relnamespace = (SELECT max(oid) FROM pg_namespace WHERE nspname LIKE 'tenant\\_%')), 0) \
                 FROM pg_class c";
    let rows = patient.rows(count).await?;
    let (tables, of_tenant) = rows.first().map_or((0, 0), |row| (row.get(0), row.get(1)));
    let facts = Facts { settings, tables, of_tenant, pooled: patient.database.pooler.is_some() };
    let mut findings: Vec<Finding> = SWITCHES.iter().map(|switch| switch.judge(&facts)).collect();
    findings.extend([
        connections(&facts, patient.expected),
        locks(&facts),
        workers(&facts),
        recovery(&facts),
        buffers(&facts),
    ]);
    Ok(findings)
}

impl Facts {
    fn text(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }
}

/// A setting that has one right value.
struct Switch {
    check: &'static str,
    name: &'static str,
    wrong: &'static [&'static str],
    right: &'static str,
    fails: bool,
    why: &'static str,
}

const SWITCHES: &[Switch] = &[
    Switch {
        check: "settings.fsync",
        name: "fsync",
        wrong: &["off"],
        right: "on",
        fails: true,
        why: "a crash of the machine may destroy the whole cluster",
    },
    Switch {
        check: "settings.full_page_writes",
        name: "full_page_writes",
        wrong: &["off"],
        right: "on",
        fails: true,
        why: "a crash of the machine may tear pages, which recovery then cannot mend",
    },
    Switch {
        check: "settings.synchronous_commit",
        name: "synchronous_commit",
        wrong: &["off"],
        right: "on",
        fails: false,
        why: "a crash may lose what was acknowledged a moment before, a tenant and its first key too",
    },
    Switch {
        check: "settings.autovacuum",
        name: "autovacuum",
        wrong: &["off"],
        right: "on",
        fails: true,
        why: "nothing removes dead rows, statistics grow old, and in the end the server refuses writes",
    },
    Switch {
        check: "settings.track_counts",
        name: "track_counts",
        wrong: &["off"],
        right: "on",
        fails: true,
        why: "autovacuum does not know what to do",
    },
    Switch {
        check: "settings.jit",
        name: "jit",
        wrong: &["on"],
        right: "off",
        fails: false,
        why: "short statements on many schemas may wait for a compiler, and each session keeps its code",
    },
    Switch {
        check: "settings.password_encryption",
        name: "password_encryption",
        wrong: &["md5"],
        right: "'scram-sha-256'",
        fails: true,
        why: "logins' passwords are stored as MD5, which whoever reads them can use as they are",
    },
];

impl Switch {
    fn judge(&self, facts: &Facts) -> Finding {
        let value = facts.text(self.name);
        let told = format!("{} = {value}", self.name);
        if !self.wrong.contains(&value) {
            return Finding::ok(self.check, told);
        }
        let reason = format!("{told}: {}", self.why);
        let mend = format!("ALTER SYSTEM SET {} = {}; SELECT pg_reload_conf();", self.name, self.right);
        if self.fails { Finding::fail(self.check, reason, mend) } else { Finding::warn(self.check, reason, mend) }
    }
}

fn restart(name: &str, value: impl std::fmt::Display) -> String {
    format!("ALTER SYSTEM SET {name} = {value}; -- and restart the server")
}

/// Whether all servers together may ask for more connections than there are.
fn connections(facts: &Facts, expected: &Expected) -> Finding {
    const CHECK: &str = "settings.max_connections";
    let reserved = facts.number("superuser_reserved_connections") + facts.number("reserved_connections");
    let usable = facts.number("max_connections") - reserved;
    let each = expected.other_connections() + if facts.pooled { 0 } else { expected.tenants_connections() };
    let needed = i64::from(expected.servers) * i64::try_from(each).unwrap_or(i64::MAX);
    let told = format!("{} servers open up to {needed} connections of {usable}", expected.servers);
    let told = if facts.pooled { format!("{told}, beside those of the pooler") } else { told };
    if needed <= usable {
        return Finding::ok(CHECK, told);
    }
    // A fifth more, for people and their tools.
    let mend = restart("max_connections", needed + needed / 5 + reserved);
    Finding::fail(CHECK, format!("{told}: under load requests fail for want of a connection"), mend)
}

/// The table of locks is shared: a schema that is made or dropped takes a lock on everything in it.
fn locks(facts: &Facts) -> Finding {
    const CHECK: &str = "settings.max_locks_per_transaction";
    let sessions = (facts.number("max_connections") + facts.number("max_prepared_transactions")).max(1);
    let room = facts.number("max_locks_per_transaction") * sessions;
    let changes = facts.of_tenant * CHANGES_AT_ONCE;
    let told = format!("room for {room} locks");
    let mend = |needed: i64| restart("max_locks_per_transaction", (needed + needed / 4) / sessions + 1);
    if room < changes {
        let reason = format!(
            "{told}, and {CHANGES_AT_ONCE} schemas made, migrated or dropped at once take {changes}: these changes then fail with `out of shared memory`"
        );
        return Finding::fail(CHECK, reason, mend(changes));
    }
    if room < facts.tables {
        let reason = format!("{told}, and a dump of the database takes one on each of {} tables", facts.tables);
        return Finding::warn(CHECK, reason, mend(facts.tables));
    }
    Finding::ok(CHECK, told)
}

fn workers(facts: &Facts) -> Finding {
    const CHECK: &str = "settings.autovacuum_max_workers";
    let workers = facts.number("autovacuum_max_workers");
    let told = format!("{workers} workers of autovacuum for {} tables", facts.tables);
    let needed = facts.tables / TABLES_PER_WORKER + 1;
    if workers >= needed.min(16) {
        return Finding::ok(CHECK, told);
    }
    let reason = format!("{told}: they do not come round to all of them");
    Finding::warn(CHECK, reason, restart("autovacuum_max_workers", needed.min(16)))
}

fn recovery(facts: &Facts) -> Finding {
    const CHECK: &str = "settings.recovery_init_sync_method";
    let method = facts.text("recovery_init_sync_method");
    let told = format!("recovery_init_sync_method = {method}, {} tables", facts.tables);
    if method == "syncfs" || facts.tables < MANY_TABLES {
        return Finding::ok(CHECK, told);
    }
    Finding::warn(
        CHECK,
        format!("{told}: after a crash the server opens every file before it starts to recover, which takes minutes"),
        "ALTER SYSTEM SET recovery_init_sync_method = 'syncfs'; SELECT pg_reload_conf();",
    )
}

fn buffers(facts: &Facts) -> Finding {
    const CHECK: &str = "settings.shared_buffers";
    let megabytes = facts.number("shared_buffers") * 8 / 1024;
    let told = format!("shared_buffers = {megabytes} MB");
    // The catalog alone of a thousand tenants with ten tables each has some 200 MB.
    let wanted = (facts.tables / 50).clamp(128, 8192);
    if megabytes >= wanted {
        return Finding::ok(CHECK, told);
    }
    let reason = format!("{told}: the catalog of {} tables does not fit, and each new session reads it", facts.tables);
    Finding::warn(CHECK, reason, restart("shared_buffers", format!("'{wanted}MB'")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccessConfig, RegistryConfig};
    use crate::doctor::Severity;

    fn facts(changes: &[(&str, &str)]) -> Facts {
        let defaults = [
            ("max_connections", "100"),
            ("superuser_reserved_connections", "3"),
            ("max_locks_per_transaction", "64"),
            ("autovacuum_max_workers", "3"),
            ("recovery_init_sync_method", "fsync"),
            ("shared_buffers", "16384"),
        ];
        let settings = defaults.iter().chain(changes).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Facts { settings, tables: 500, of_tenant: 60, pooled: false }
    }

    fn expected(servers: u32) -> Expected {
        Expected { servers, access: AccessConfig::default(), registry: RegistryConfig::default(), version: 1, needs: 1 }
    }

    #[test]
    fn a_switch_that_is_wrong_is_turned_by_its_line() {
        for switch in SWITCHES {
            for wrong in switch.wrong {
                let finding = switch.judge(&facts(&[(switch.name, wrong)]));
                let expected = if switch.fails { Severity::Fail } else { Severity::Warn };
                assert_eq!(finding.severity, expected, "{finding:?}");
                let mend = finding.mend.unwrap();
                let value = mend.split(['=', ';']).nth(1).unwrap().trim().trim_matches('\'').to_owned();
                assert_eq!(switch.judge(&facts(&[(switch.name, &value)])).severity, Severity::Ok, "{mend}");
            }
        }
    }

    #[test]
    fn connections_of_all_servers_must_be_had() {
        assert_eq!(connections(&facts(&[]), &expected(1)).severity, Severity::Ok);
        let short = connections(&facts(&[]), &expected(2));
        assert_eq!(short.severity, Severity::Fail);
        // The line it gives is enough.
        let mend = short.mend.unwrap();
        let number = mend.split(['=', ';']).nth(1).unwrap().trim().to_owned();
        assert_eq!(connections(&facts(&[("max_connections", &number)]), &expected(2)).severity, Severity::Ok);
        let pooled = Facts { pooled: true, ..facts(&[]) };
        assert_eq!(connections(&pooled, &expected(4)).severity, Severity::Ok);
    }

    #[test]
    fn the_lines_for_many_tables_are_enough() {
        let many = |changes: &[(&str, &str)]| Facts { tables: 400_000, ..facts(changes) };
        for judge in [locks, workers, recovery, buffers] {
            let finding = judge(&many(&[]));
            assert_eq!(finding.severity, Severity::Warn, "{finding:?}");
            let mend = finding.mend.unwrap();
            let (name, value) = mend.strip_prefix("ALTER SYSTEM SET ").unwrap().split_once(" = ").unwrap();
            let value = value.split(';').next().unwrap().trim_matches('\'');
            let pages = value.strip_suffix("MB").map(|mb| (mb.parse::<i64>().unwrap() * 128).to_string());
            let mended = judge(&many(&[(name, pages.as_deref().unwrap_or(value))]));
            assert_eq!(mended.severity, Severity::Ok, "{mended:?}");
        }
        assert_eq!(locks(&facts(&[("max_locks_per_transaction", "8")])).severity, Severity::Fail);
    }
}
