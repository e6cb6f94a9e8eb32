//! The rules that come from having a schema and a role for each tenant, and from how migrations are run.

use tenantry_postgres::migrate::Scope;

use super::file::{SqlFile, Stmt, name};
use super::{Finding, Severity};

/// Everything that is wrong with one file of a set.
pub(super) fn check(scope: Scope, file: &SqlFile, set: &[SqlFile]) -> Vec<Finding> {
    let mut found = Findings { file, found: Vec::new() };
    for error in file.parse.errors() {
        let line = file.line(usize::from(error.range().start()));
        found.add(
            line,
            "syntax",
            &format!("it cannot be parsed: {error}"),
            "mend it, or allow it where the parser is wrong",
        );
    }
    for stmt in &file.statements {
        statement(scope, stmt, &mut found);
    }
    if !file.down {
        tables(scope, file, set, &mut found);
    }
    whole(scope, file, set, &mut found);
    found.found
}

struct Findings<'a> {
    file: &'a SqlFile,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn at(&mut self, stmt: &Stmt, rule: &str, why: &str, safer: &str) {
        let line = self.file.line(stmt.start);
        self.add(line, rule, why, safer);
    }

    fn add(&mut self, line: usize, rule: &str, why: &str, safer: &str) {
        self.found.push(Finding {
            file: self.file.name.clone(),
            line,
            rule: rule.to_owned(),
            severity: Severity::Error,
            why: why.to_owned(),
            safer: safer.to_owned(),
            allowed: None,
        });
    }
}

fn statement(scope: Scope, stmt: &Stmt, found: &mut Findings<'_>) {
    names(scope, stmt, found);
    if stmt.begins("grant") {
        grant(scope, stmt, found);
    }
    if stmt.has("security definer") && !stmt.has("set search_path") {
        found.at(
            stmt,
            "security-definer",
            "a function that runs with its owner's rights and its caller's search path can be made to call the caller's functions",
            "add `SET search_path = pg_catalog, pg_temp`, or leave SECURITY DEFINER out",
        );
    }
    if scope == Scope::Tenant && stmt.begins("create type") && stmt.has("as enum") {
        found.at(
            stmt,
            "enum-type",
            "an enum type is made once per tenant: rows of the catalog times tenants, and each connection looks each of them up",
            "text with CHECK (column IN (…)), which is changed by a new constraint NOT VALID and a VALIDATE",
        );
    }
    if found.file.transactional && stmt.has("concurrently") {
        found.at(
            stmt,
            "concurrently-in-transaction",
            "CONCURRENTLY cannot run in a transaction, and this file runs in one",
            "put it into a file of its own with the line `-- tenantry: no-transaction`",
        );
    }
    if stmt.begins("alter table")
        && (stmt.has("set unlogged")
            || stmt.has("set logged")
            || stmt.has("set tablespace")
            || stmt.has("set access method")
            || (stmt.has("add column") || stmt.has("add")) && stmt.has("stored"))
    {
        found.at(
            stmt,
            "table-rewrite",
            "the whole table is written anew under ACCESS EXCLUSIVE: nobody reads or writes it meanwhile",
            "add a plain column, fill it in batches, and let the program keep it",
        );
    }
    if (stmt.begins("create") && stmt.has("if not exists"))
        || stmt.begins("alter table") && stmt.has("add column if not exists")
    {
        found.at(
            stmt,
            "if-not-exists",
            "what is there already may be something else, and would be taken for ours: tenants drift apart without an error",
            "leave IF NOT EXISTS out: each migration runs once, and a half one is rolled back",
        );
    }
    if stmt.begins("set") || stmt.begins("reset") {
        found.at(
            stmt,
            "session-setting",
            "the runner sets role, search path and time limits of the session, and the next tenant follows in it",
            "qualify names instead; limits are options of `tenantry migrate up`",
        );
    }
}

/// What names an object follows these words.
const NAMING: &[&str] = &[
    "create table",
    "create unlogged table",
    "alter table",
    "drop table",
    "truncate table",
    "create view",
    "create or replace view",
    "drop view",
    "create sequence",
    "alter sequence",
    "drop sequence",
    "drop index",
    "drop index concurrently",
    "alter index",
    "create type",
    "alter type",
    "drop type",
    "create function",
    "create or replace function",
    "drop function",
    "alter function",
    "create procedure",
    "insert into",
    "delete from",
    "update",
    "create materialized view",
    "create domain",
];
/// What names a table later in a statement.
const LATER: &[(&str, &str)] = &[
    ("create index", "on"),
    ("create unique index", "on"),
    ("create policy", "on"),
    ("alter policy", "on"),
    ("drop policy", "on"),
    ("create trigger", "on"),
    ("create constraint trigger", "on"),
    ("drop trigger", "on"),
    ("create table", "references"),
    ("alter table", "references"),
];

fn names(scope: Scope, stmt: &Stmt, found: &mut Findings<'_>) {
    let direct = NAMING.iter().filter(|phrase| stmt.begins(phrase)).max_by_key(|phrase| phrase.len());
    let mut named: Vec<(Option<&str>, &str)> =
        direct.and_then(|phrase| stmt.after(phrase)).and_then(name).into_iter().collect();
    for (begin, word) in LATER {
        if stmt.begins(begin) {
            let places = stmt.words.iter().enumerate().filter(|(_, own)| *own == word);
            // `ON DELETE` and `ON UPDATE` of a foreign key name nothing.
            let first = if *word == "on" { 1 } else { usize::MAX };
            named.extend(places.take(first).filter_map(|(at, _)| name(&stmt.words[at + 1..])));
        }
    }
    for (schema, own) in named {
        match schema {
            None => {
                let safer = if scope == Scope::Tenant { "tenant" } else { "public" };
                found.at(
                    stmt,
                    "unqualified-name",
                    &format!("`{own}` has no schema: the search path holds none of ours, so this fails or meets another object"),
                    &format!("write `{safer}.{own}`"),
                );
            }
            Some("tenant") => {}
            Some(schema) if scope == Scope::Tenant && !stmt.has("references") => {
                found.at(
                    stmt,
                    "foreign-schema",
                    &format!(
                        "`{schema}.{own}` is not the tenant's: this would run once for every tenant on one object"
                    ),
                    "put it into the registry's or the analytics' set",
                );
            }
            Some(_) => {}
        }
    }
}

fn grant(scope: Scope, stmt: &Stmt, found: &mut Findings<'_>) {
    let Some(at) = stmt.words.iter().rposition(|word| word == "to") else { return };
    let to: Vec<&str> = stmt.words[at + 1..]
        .iter()
        .map(String::as_str)
        .take_while(|word| *word != "with" && *word != "granted")
        .collect();
    if to.contains(&"public") {
        found.at(
            stmt,
            "grant-to-public",
            "PUBLIC is every role, those of all other tenants too",
            "grant to `tenant_role`, or to the role of the platform that needs it",
        );
    } else if scope == Scope::Tenant && to.iter().any(|role| !may_be_granted(role, stmt)) {
        found.at(
            stmt,
            "grant-to-others",
            "a tenant's tables are for its own role only; what others may do would be found as drift",
            "grant to `tenant_role`",
        );
    }
    if stmt.has("on all tables") || stmt.has("on all sequences") || stmt.has("on all functions") {
        found.at(
            stmt,
            "grant-on-all",
            "ON ALL … IN SCHEMA reads the whole catalog: half a second per tenant at ten thousand of them",
            "name the tables",
        );
    }
}

/// A tenant's own role may get anything; the auditor reads.
fn may_be_granted(role: &str, stmt: &Stmt) -> bool {
    match role {
        "tenant_role" | "," | ";" => true,
        "tenantry_auditor" => {
            stmt.begins("grant select") && !stmt.words.iter().any(|word| WRITES.contains(&word.as_str()))
        }
        _ => false,
    }
}

/// Rights that go beyond reading.
const WRITES: [&str; 6] = ["insert", "update", "delete", "truncate", "references", "trigger"];

/// What a new table needs.
fn tables(scope: Scope, file: &SqlFile, set: &[SqlFile], found: &mut Findings<'_>) {
    let upward = || set.iter().filter(|other| !other.down).flat_map(|other| &other.statements);
    for stmt in &file.statements {
        let made = stmt.after("create table").or_else(|| stmt.after("create unlogged table"));
        let Some((_, table)) = made.filter(|_| stmt.begins("create")).and_then(name) else { continue };
        let on =
            |stmt: &Stmt| stmt.words.windows(3).any(|words| words[1] == "." && words[2].trim_matches('"') == table);
        // The first file's tables are granted by the code that makes tenants.
        if scope == Scope::Tenant && file.version != Some(1) {
            let granted = upward().any(|stmt| stmt.begins("grant") && on(stmt) && stmt.has("tenant_role"));
            if !granted {
                found.at(
                    stmt,
                    "table-without-grants",
                    &format!("the tenants' roles get no right on `{table}`: programs would be refused"),
                    &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON tenant.{table} TO tenant_role"),
                );
            }
        }
        let has_tenant = stmt.words.iter().any(|word| word == "tenant_id") && !stmt.has("partition of");
        let secured = |what: &str| upward().any(|stmt| stmt.begins("alter table") && on(stmt) && stmt.has(what));
        if has_tenant
            && scope != Scope::Registry
            && !(secured("enable row level security") && secured("force row level security"))
        {
            found.at(
                stmt,
                "tenant-id-without-rls",
                &format!("`{table}` says whose its rows are, and nothing holds to it"),
                "ENABLE and FORCE ROW LEVEL SECURITY, and a policy USING and WITH CHECK (tenant_id = (SELECT tenantry.current_tenant()))",
            );
        }
    }
}

fn whole(scope: Scope, file: &SqlFile, set: &[SqlFile], found: &mut Findings<'_>) {
    if !file.transactional && file.statements.len() != 1 {
        found.add(
            1,
            "several-statements",
            &format!(
                "without a transaction each of its {} statements stands alone: one that fails leaves those before it",
                file.statements.len()
            ),
            "one statement per file",
        );
    }
    let down = file.name.replace(".sql", ".down.sql");
    let first = file.version == Some(1);
    if scope == Scope::Tenant && !file.down && !first && !set.iter().any(|other| other.name == down) {
        found.add(
            0,
            "no-way-back",
            "there is no `.down.sql`: a run that went wrong can only be mended by another migration",
            "write one, or allow it where rows would be lost",
        );
        if let Some(last) = found.found.last_mut() {
            last.severity = Severity::Warning;
        }
    }
}
