//! What the linter finds, what it lets pass, and that our own migrations pass.

use std::path::PathBuf;

use tenantry::lint::{Finding, Severity, directory, lint};
use tenantry_postgres::migrate::Scope;

const FIRST: (&str, &str) = ("0001_baseline.sql", "CREATE TABLE tenant.notes (id uuid PRIMARY KEY, body text);");
const DOWN: (&str, &str) = ("0002_change.down.sql", "SELECT 1;");

/// What is found in a second migration.
fn second(sql: &str) -> Vec<Finding> {
    lint(Scope::Tenant, &[FIRST, ("0002_change.sql", sql), DOWN], "")
}

fn rules(found: &[Finding]) -> Vec<&str> {
    found.iter().filter(|finding| finding.allowed.is_none()).map(|finding| finding.rule.as_str()).collect()
}

/// Statements, and the rule that finds fault with them.
const WRONG: &[(&str, &str)] = &[
    ("CREATE INDEX i ON tenant.notes (body);", "require-concurrent-index-creation"),
    ("DROP INDEX tenant.i;", "require-concurrent-index-deletion"),
    ("ALTER TABLE tenant.notes ALTER COLUMN body TYPE varchar(5);", "changing-column-type"),
    ("ALTER TABLE tenant.notes ADD COLUMN n int NOT NULL;", "adding-required-field"),
    ("ALTER TABLE tenant.notes ADD COLUMN n uuid DEFAULT gen_random_uuid();", "adding-field-with-default"),
    ("ALTER TABLE tenant.notes ALTER COLUMN body SET NOT NULL;", "adding-not-nullable-field"),
    ("ALTER TABLE tenant.notes ADD CONSTRAINT c CHECK (body <> '');", "constraint-missing-not-valid"),
    (
        "ALTER TABLE tenant.notes ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES tenant.notes (id);",
        "adding-foreign-key-constraint",
    ),
    ("ALTER TABLE tenant.notes ADD CONSTRAINT u UNIQUE (body);", "disallowed-unique-constraint"),
    ("ALTER TABLE tenant.notes DROP COLUMN body;", "ban-drop-column"),
    ("DROP TABLE tenant.notes;", "ban-drop-table"),
    ("ALTER TABLE tenant.notes RENAME COLUMN body TO text;", "renaming-column"),
    ("ALTER TABLE tenant.notes RENAME TO texts;", "renaming-table"),
    ("BEGIN; SELECT 1; COMMIT;", "transaction-nesting"),
    ("CREATE TABLE tenant.t (at timestamp); GRANT SELECT ON tenant.t TO tenant_role;", "prefer-timestamp-tz"),
    ("CREATE INDEX CONCURRENTLY i ON tenant.notes (body);", "concurrently-in-transaction"),
    ("REINDEX TABLE CONCURRENTLY tenant.notes;", "concurrently-in-transaction"),
    (
        "-- tenantry: no-transaction\nCREATE INDEX CONCURRENTLY i ON tenant.notes (body); SELECT 1;",
        "several-statements",
    ),
    ("CREATE TABLE tenant.t (n int);", "table-without-grants"),
    (
        "CREATE TABLE tenant.t (tenant_id uuid NOT NULL); GRANT SELECT ON tenant.t TO tenant_role;",
        "tenant-id-without-rls",
    ),
    ("CREATE TABLE t (n int); GRANT SELECT ON tenant.t TO tenant_role;", "unqualified-name"),
    ("ALTER TABLE notes ADD COLUMN n int;", "unqualified-name"),
    ("CREATE INDEX CONCURRENTLY i ON notes (body);", "unqualified-name"),
    ("UPDATE notes SET body = '';", "unqualified-name"),
    ("CREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION tenant.f();", "unqualified-name"),
    ("ALTER TABLE public.tenants ADD COLUMN n int;", "foreign-schema"),
    ("GRANT SELECT ON tenant.notes TO PUBLIC;", "grant-to-public"),
    ("GRANT SELECT ON tenant.notes TO tenant_role, tenantry_control;", "grant-to-others"),
    ("GRANT SELECT ON ALL TABLES IN SCHEMA tenant TO tenant_role;", "grant-on-all"),
    ("CREATE FUNCTION tenant.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';", "security-definer"),
    ("CREATE TYPE tenant.mood AS ENUM ('good');", "enum-type"),
    ("ALTER TABLE tenant.notes SET UNLOGGED;", "table-rewrite"),
    ("ALTER TABLE tenant.notes ADD COLUMN n int GENERATED ALWAYS AS (1) STORED;", "table-rewrite"),
    ("CREATE TABLE IF NOT EXISTS tenant.t (n int); GRANT SELECT ON tenant.t TO tenant_role;", "if-not-exists"),
    ("SET search_path = public;", "session-setting"),
    ("CREATE TABLO tenant.t (n int);", "syntax"),
];

#[test]
fn what_is_dangerous_is_found() {
    for (sql, rule) in WRONG {
        let found = second(sql);
        assert!(rules(&found).contains(rule), "{sql}: {:?}", rules(&found));
        let finding = found.iter().find(|finding| finding.rule == *rule).unwrap();
        assert!(finding.counts() && !finding.why.is_empty() && finding.file == "0002_change.sql", "{finding:?}");
        assert!(!finding.safer.is_empty(), "{finding:?}");
    }
}

#[test]
fn what_is_safe_passes() {
    for sql in [
        "ALTER TABLE tenant.notes ADD COLUMN color text NOT NULL DEFAULT 'none';",
        "-- tenantry: no-transaction\nCREATE INDEX CONCURRENTLY i ON tenant.notes (body);",
        "ALTER TABLE tenant.notes ADD CONSTRAINT c CHECK (body <> '') NOT VALID;",
        "ALTER TABLE tenant.notes VALIDATE CONSTRAINT c;",
        "CREATE TABLE tenant.tags (note uuid NOT NULL REFERENCES tenant.notes (id) ON DELETE CASCADE, tag text NOT NULL);\n\
         CREATE INDEX tags_note ON tenant.tags (note);\nGRANT SELECT, INSERT ON tenant.tags TO tenant_role;",
        "CREATE TABLE tenant.secrets (tenant_id uuid NOT NULL);\nGRANT SELECT ON tenant.secrets TO tenant_role;\n\
         ALTER TABLE tenant.secrets ENABLE ROW LEVEL SECURITY;\nALTER TABLE tenant.secrets FORCE ROW LEVEL SECURITY;",
        "CREATE FUNCTION tenant.f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN NEW; END $$;",
        "UPDATE tenant.notes SET body = '' WHERE body IS NULL;",
    ] {
        assert_eq!(second(sql), [], "{sql}");
    }
}

#[test]
fn a_contract_step_is_named_as_one() {
    let found = second("SELECT 1;\n\nALTER TABLE tenant.notes DROP COLUMN body;");
    assert_eq!((found[0].line, found.len()), (3, 1));
    assert!(found[0].why.starts_with("a contract step: only after no running program uses it"), "{}", found[0].why);
}

#[test]
fn a_reason_allows_one_statement() {
    let drop = "ALTER TABLE tenant.notes DROP COLUMN body;";
    let allowed = second(&format!("-- why it goes\n-- tenantry: allow ban-drop-column: unused since 1.2\n{drop}"));
    assert_eq!(allowed[0].allowed.as_deref(), Some("unused since 1.2"));
    assert!(!allowed.iter().any(Finding::counts), "{allowed:?}");
    let second_one = second(&format!("-- tenantry: allow ban-drop-column: unused\n{drop}\n{drop}"));
    assert_eq!(rules(&second_one), ["ban-drop-column"], "the next statement is not allowed with it");
    let silent = second(&format!("-- tenantry: allow ban-drop-column\n{drop}"));
    assert_eq!(rules(&silent), ["allow-without-reason", "ban-drop-column"]);
    let idle = second("-- tenantry: allow ban-drop-table: it is empty\nSELECT 1;");
    assert_eq!((rules(&idle), idle[0].severity), (vec!["unused-allow"], Severity::Warning));
    let beside = lint(
        Scope::Tenant,
        &[FIRST, ("0002_change.sql", drop), DOWN],
        "# applied already\n0002_change.sql ban-drop-column: unused since 1.2\n",
    );
    assert_eq!(beside[0].allowed.as_deref(), Some("unused since 1.2"));
}

#[test]
fn names_and_gaps_are_found() {
    let gap = lint(Scope::Tenant, &[FIRST, ("0003_late.sql", "SELECT 1;")], "");
    assert!(gap.iter().any(|finding| finding.rule == "set" && finding.why.contains("version 2 is missing")), "{gap:?}");
    let without_down = lint(Scope::Tenant, &[FIRST, ("0002_change.sql", "SELECT 1;")], "");
    assert_eq!((rules(&without_down), without_down[0].counts()), (vec!["no-way-back"], false));
}

#[test]
fn our_own_migrations_pass() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (scope, path) in [
        (Scope::Registry, "migrations/registry"),
        (Scope::Analytics, "migrations/analytics"),
        (Scope::Tenant, "migrations/tenant"),
        (Scope::Tenant, "examples/bookings/migrations"),
    ] {
        let found = directory(scope, &root.join(path), &[]).unwrap();
        let open: Vec<&Finding> = found.iter().filter(|finding| finding.allowed.is_none()).collect();
        assert!(open.is_empty(), "{path}: {open:#?}");
    }
}
