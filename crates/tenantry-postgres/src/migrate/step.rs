//! What is sent to the server for one tenant.

use std::time::Duration;

use tenantry_core::quote_literal;

use super::options::millis;
use super::plan::Pending;
use super::shared::hex;
use super::source::Migration;
use crate::connect::Logins;
use crate::statement::render;

/// Up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

impl Direction {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    pub(super) fn transactional(self, migration: &Migration) -> bool {
        match self {
            Self::Up => migration.transactional,
            Self::Down => migration.down_transactional(),
        }
    }

    fn text(self, migration: &Migration) -> &str {
        match self {
            Self::Up => &migration.up,
            Self::Down => migration.down.as_deref().unwrap_or_default(),
        }
    }

    /// The version that the step leads to.
    pub(super) const fn result(self, migration: &Migration) -> i32 {
        match self {
            Self::Up => migration.version,
            Self::Down => migration.version - 1,
        }
    }
}

/// The server's limits for a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) lock: Duration,
    pub(super) statement: Duration,
}

impl Limits {
    /// A session for steps: everything in it is done as the owner. A commit does not wait for the disk: what a crash of the server takes away it takes
    /// away whole, with version and ledger, and the end of the run waits for all.
    pub(super) fn session(self) -> String {
        format!(
            "SET ROLE {owner}; SET search_path = pg_catalog, pg_temp; SET lock_timeout = {lock}; SET statement_timeout = {statement}; \
             SET idle_in_transaction_session_timeout = {statement}; SET synchronous_commit = off",
            owner = Logins::OWNER,
            lock = millis(self.lock),
            statement = millis(self.statement),
        )
    }

    /// How long an answer is waited for: each statement may take its time. The server's limits come first, unless it is gone.
    pub(super) fn answer(self, message: &str) -> Duration {
        let statements = u32::try_from(message.matches(';').count()).unwrap_or(u32::MAX).min(1000);
        self.statement.saturating_mul(statements + 1) + Duration::from_secs(10)
    }
}

pub(super) fn guard(tenant: &Pending, version: i32) -> String {
    format!(
        "SELECT tenantry.begin_migration('{}', {version}, {}, {})",
        tenant.id,
        tenant.generation,
        quote_literal(tenant.schema.as_str())
    )
}

/// What is the same for every tenant of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) run: i64,
    pub(super) direction: Direction,
    pub(super) limits: Limits,
}

/// What is new with every try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tries {
    pub(super) attempt: u32,
    /// Whether the steps' checksums are to be noted.
    pub(super) record: bool,
}

/// Several steps of one tenant as one message. A message is one transaction without BEGIN and COMMIT, so one that fails leaves no
/// open transaction behind. What a tenant's migration sets for its session is set anew for the next tenant.
pub(super) fn message(way: &Way, tenant: &Pending, version: i32, steps: &[&Migration], tries: Tries) -> String {
    let (limits, direction) = (way.limits, way.direction);
    let mut text = format!(
        "SET LOCAL ROLE {owner}; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL lock_timeout = {lock}; \
         SET LOCAL statement_timeout = {statement}; {guard};\n",
        owner = Logins::OWNER,
        lock = millis(limits.lock),
        statement = millis(limits.statement),
        guard = guard(tenant, version),
    );
    let role = tenant.role();
    for step in steps {
        text.push_str(&render(direction.text(step), &tenant.schema, &role));
        let checksum = hex(&step.checksum);
        text.push_str(&format!(
            "\n;\nSET LOCAL ROLE {owner}; SELECT tenantry.finish_migration({run}, '{id}', '{direction}', {version}, {result}, {attempts}, {checksum});\n",
            run = way.run,
            attempts = tries.attempt,
            owner = Logins::OWNER,
            id = tenant.id,
            direction = direction.as_str(),
            version = step.version,
            result = direction.result(step),
        ));
    }
    if tries.record {
        // Last, for it is one row for all: whoever comes second waits until the first has committed.
        steps.iter().for_each(|step| text.push_str(&recorded(step)));
    }
    text
}

/// Notes that a version is applied somewhere, so that its text may not change any more.
pub(super) fn recorded(step: &Migration) -> String {
    format!(
        "INSERT INTO public.schema_migrations (scope, version, name, checksum) VALUES ('tenant', {}, {}, {}) ON CONFLICT DO NOTHING;\n",
        step.version,
        quote_literal(&step.name),
        hex(&step.checksum)
    )
}

/// The beginning of a step outside a transaction: the session as it should be, whatever a migration before has set, and its row in
/// the ledger. The answer's last row counts the tries, since the step was last made or undone, whose end nobody saw.
pub(super) fn open(way: &Way, tenant: &Pending, version: i32, step: &Migration, attempts: u32) -> String {
    let (id, step_version, run, direction) = (tenant.id, step.version, way.run, way.direction.as_str());
    format!(
        "{session}; {guard}; UPDATE public.migration_ledger SET state = 'failed', finished_at = clock_timestamp(), error = '{LOST}' \
           WHERE state = 'running' AND tenant_id = '{id}'; \
         INSERT INTO public.migration_ledger (run_id, tenant_id, version, direction, state, started_at, attempts, checksum) \
           VALUES ({run}, '{id}', {step_version}, '{direction}', 'running', clock_timestamp(), {attempts}, {checksum}); \
         SELECT count(*) FROM public.migration_ledger WHERE tenant_id = '{id}' AND version = {step_version} \
           AND direction = '{direction}' AND state = 'failed' AND error IN ('{LOST}', '{KILLED}') AND id > coalesce( \
             (SELECT max(id) FROM public.migration_ledger WHERE tenant_id = '{id}' AND version = {step_version} AND state = 'done'), 0)",
        session = way.limits.session(),
        guard = guard(tenant, version),
        checksum = hex(&step.checksum),
    )
}

/// The ledger's words for a step whose end nobody saw.
pub(super) const LOST: &str = "the connection was lost";
/// The same, when the whole run was lost.
pub(super) const KILLED: &str = "the run was killed";

/// The statement of a step outside a transaction.
pub(super) fn bare(tenant: &Pending, step: &Migration, direction: Direction) -> String {
    render(direction.text(step), &tenant.schema, &tenant.role())
}

/// The end of a step outside a transaction.
pub(super) fn close(tenant: &Pending, version: i32, step: &Migration, direction: Direction) -> String {
    format!(
        "{guard}; UPDATE public.tenant_placements SET schema_version = {result} WHERE tenant_id = '{id}'; \
         UPDATE public.migration_ledger SET state = 'done', finished_at = clock_timestamp(), \
           duration_ms = extract(epoch FROM clock_timestamp() - started_at) * 1000 WHERE state = 'running' AND tenant_id = '{id}'; {recorded}",
        guard = guard(tenant, version),
        result = direction.result(step),
        id = tenant.id,
        recorded = if direction == Direction::Up { recorded(step) } else { String::new() },
    )
}

/// Indexes of a tenant that a broken `CONCURRENTLY` has left invalid: their names.
pub(super) fn invalid_indexes(tenant: &Pending) -> String {
    format!(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND NOT i.indisvalid",
        quote_literal(tenant.schema.as_str())
    )
}

/// Whether an invalid index is what is left of a statement's earlier try and stands in its way: the statement makes one of this name,
/// or rebuilds, and it is a rebuilt one's shadow. One that is to be dropped or rebuilt itself is not in the way.
pub(super) fn belongs_to(index: &str, statement: &str) -> bool {
    let shadow = |mark: &str| index.rfind(mark).map(|at| &index[..at]);
    let name = shadow("_ccnew").or_else(|| shadow("_ccold"));
    let is_word = |word: &str| {
        statement.match_indices(word).any(|(at, _)| {
            let part = |c: char| c.is_alphanumeric() || c == '_';
            !statement[..at].ends_with(part) && !statement[at + word.len()..].starts_with(part)
        })
    };
    // A rebuild names the table or the index; its shadows are known by their mark alone.
    match keyword(statement).as_str() {
        "CREATE" => is_word(index),
        "REINDEX" => name.is_some(),
        _ => false,
    }
}

/// The first word of a statement.
fn keyword(statement: &str) -> String {
    let mut words =
        statement.lines().map(|line| line.split("--").next().unwrap_or_default()).flat_map(str::split_whitespace);
    words.next().unwrap_or_default().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_known_by_its_name() {
        let statement = "CREATE INDEX CONCURRENTLY notes_body ON tenant.notes (body)";
        assert!(belongs_to("notes_body", statement));
        assert!(!belongs_to("notes_bod", statement) && !belongs_to("other", statement));
        assert!(belongs_to("notes_body_ccnew", "-- Create it anew.\n  reindex TABLE CONCURRENTLY tenant.notes"));
        // What the statement itself is about is not taken away from under it.
        assert!(!belongs_to("notes_body", "REINDEX INDEX CONCURRENTLY tenant.notes_body"));
        assert!(!belongs_to("notes_body", "DROP INDEX CONCURRENTLY tenant.notes_body"));
    }
}
