//! SQL that makes a schema what it should be, difference by difference, in an order in which it can run.

use super::catalog::{Lines, PART, ROLE, SCHEMA, SCHEMA_ITSELF};
use super::compare::OF_COLUMNS;

/// Steps from this phase on are for the owner of the tables; those before are for who may change roles and owners.
pub(super) const AS_OWNER: u8 = 20;

/// A statement with marks for own names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) phase: u8,
    pub(super) sql: String,
    pub(super) destroys: bool,
}

fn step(phase: u8, sql: impl Into<String>) -> Vec<Step> {
    vec![Step { phase, sql: sql.into(), destroys: false }]
}

fn destroy(phase: u8, sql: String) -> Vec<Step> {
    vec![Step { phase, sql, destroys: true }]
}

/// The first without those of the second.
pub(super) fn without<'a>(these: Option<&'a str>, those: Option<&str>) -> Vec<&'a str> {
    let those: Vec<&str> = those.unwrap_or_default().split(", ").collect();
    let these = these.unwrap_or_default().split(", ").filter(|one| !one.is_empty());
    these.filter(|one| !those.contains(one)).collect()
}

/// What to do when `want` should stand under a name and `have` does.
pub(super) fn steps(kind: &str, name: &str, want: Option<&str>, have: Option<&str>, reference: &Lines) -> Vec<Step> {
    let (of, own) = name.split_once(PART).unwrap_or((name, ""));
    let table = format!("ALTER TABLE {SCHEMA}{of}");
    match kind {
        "role" => step(2, format!("ALTER ROLE {ROLE} {}", want.unwrap_or_default())),
        "member of" => membership(name, &ROLE.to_string(), want, have),
        "has member" => membership(&ROLE.to_string(), name, want, have),
        "setting" => setting(of, own, want),
        // What is made anew is the owner's from the beginning.
        "owner" => match (want, have) {
            (Some(owner), Some(_)) => step(8, format!("ALTER {} OWNER TO {owner}", name.replace(PART, "."))),
            _ => Vec::new(),
        },
        "foreign key triggers" => step(10, format!("{table} ENABLE TRIGGER ALL")),
        "grant" => privileges(of, own, want, have, reference),
        "default privilege" => default_privileges(name, want, have),
        "policy" => replaced(
            have.map(|_| step(30, format!("DROP POLICY {own} ON {SCHEMA}{of}"))),
            want.map(|def| step(72, format!("CREATE POLICY {own} ON {SCHEMA}{of} {def}"))),
        ),
        "rule" => replaced(
            have.map(|_| step(30, format!("DROP RULE {own} ON {SCHEMA}{of}"))),
            want.map(|def| step(72, def.trim_end_matches(';'))),
        ),
        "trigger" => replaced(
            have.map(|_| step(30, format!("DROP TRIGGER {own} ON {SCHEMA}{of}"))),
            want.map(|def| step(68, def)),
        ),
        "trigger state" => step(70, trigger_state(&table, own, want)),
        "constraint" => constraint(&table, own, want, have),
        "unvalidated not null" => step(58, format!("{table} VALIDATE CONSTRAINT {own}")),
        "index" => replaced(have.map(|_| step(34, format!("DROP INDEX {name}"))), want.map(|def| step(60, def))),
        "index state" if want.is_none() && have == Some("invalid") => step(62, format!("REINDEX INDEX {name}")),
        "column" => column(&table, name, own, want, have, reference),
        "not null" => {
            step(52, format!("{table} ALTER COLUMN {own} {} NOT NULL", if want.is_some() { "SET" } else { "DROP" }))
        }
        "default" => match want {
            Some(def) => step(50, format!("{table} ALTER COLUMN {own} SET DEFAULT {def}")),
            None => step(36, format!("{table} ALTER COLUMN {own} DROP DEFAULT")),
        },
        "identity" => step(
            54,
            match (want, have) {
                (Some(def), None) => format!("{table} ALTER COLUMN {own} ADD GENERATED {def} AS IDENTITY"),
                (Some(def), Some(_)) => format!("{table} ALTER COLUMN {own} SET GENERATED {def}"),
                (None, _) => format!("{table} ALTER COLUMN {own} DROP IDENTITY"),
            },
        ),
        "row security" => {
            let def = want.unwrap_or_default();
            let on = if def.starts_with("enabled") { "ENABLE" } else { "DISABLE" };
            let force = if def.ends_with("forced") { "FORCE" } else { "NO FORCE" };
            step(71, format!("{table} {on} ROW LEVEL SECURITY, {force} ROW LEVEL SECURITY"))
        }
        "option" => match want {
            Some(def) => step(56, format!("{table} SET ({own} = {def})")),
            None => step(56, format!("{table} RESET ({own})")),
        },
        "replica identity" => match want {
            None => step(56, format!("{table} REPLICA IDENTITY DEFAULT")),
            Some(def @ ("NOTHING" | "FULL")) => step(56, format!("{table} REPLICA IDENTITY {def}")),
            Some(_) => unsaid(kind, name),
        },
        "inherits" if want.is_none() => step(38, format!("{table} NO INHERIT {own}")),
        "table" => match (want, have) {
            (Some(""), None) => step(46, format!("CREATE TABLE {SCHEMA}{name} ()")),
            (None, Some(_)) => destroy(40, format!("DROP TABLE {SCHEMA}{name}")),
            _ => unsaid(kind, name),
        },
        "foreign table" if want.is_none() => step(40, format!("DROP FOREIGN TABLE {SCHEMA}{name}")),
        "view" | "materialized view" => {
            let word = kind.to_uppercase();
            replaced(
                have.map(|_| step(28, format!("DROP {word} {SCHEMA}{name}"))),
                want.map(|def| step(66, format!("CREATE {word} {SCHEMA}{name} AS {}", def.trim_end_matches(';')))),
            )
        }
        "sequence" => match (want, have) {
            (None, _) => destroy(42, format!("DROP SEQUENCE {SCHEMA}{name}")),
            (Some(def), None) => {
                let (options, owned) = def.rsplit_once(" OWNED BY ").unwrap_or((def, "NONE"));
                let mut steps = step(45, format!("CREATE SEQUENCE {SCHEMA}{name} {options}"));
                if owned != "NONE" {
                    steps.extend(step(51, format!("ALTER SEQUENCE {SCHEMA}{name} OWNED BY {owned}")));
                }
                steps
            }
            (Some(def), Some(_)) => step(51, format!("ALTER SEQUENCE {SCHEMA}{name} {def}")),
        },
        "function" | "procedure" => match want {
            Some(def) => {
                let mut steps = step(49, def.trim_end());
                if have.is_none() {
                    // Everybody may call a new function; who may call this one is granted after.
                    let noun = kind.to_uppercase();
                    steps.extend(step(55, format!("REVOKE ALL ON {noun} {SCHEMA}{name} FROM PUBLIC")));
                }
                steps
            }
            None => step(35, format!("DROP {} {SCHEMA}{name}", kind.to_uppercase())),
        },
        "type" => match (want, have) {
            (Some(def), None) if def.starts_with("ENUM") => step(44, format!("CREATE TYPE {SCHEMA}{name} AS {def}")),
            (None, Some(def)) if def.starts_with("DOMAIN") => step(43, format!("DROP DOMAIN {SCHEMA}{name}")),
            (None, Some(_)) => step(43, format!("DROP TYPE {SCHEMA}{name}")),
            _ => unsaid(kind, name),
        },
        "privilege elsewhere" | "policy elsewhere" => Vec::new(),
        _ => unsaid(kind, name),
    }
}

/// Dropped first, made anew after everything else was changed.
fn replaced(drop: Option<Vec<Step>>, make: Option<Vec<Step>>) -> Vec<Step> {
    [drop, make].into_iter().flatten().flatten().collect()
}

fn unsaid(kind: &str, name: &str) -> Vec<Step> {
    step(90, format!("-- {kind} {}: to be mended by hand", name.replace(PART, ".")))
}

/// On any server version a membership ends only when whoever granted it is named.
fn membership(role: &str, member: &str, want: Option<&str>, have: Option<&str>) -> Vec<Step> {
    let revoke = format!(
        "DO $tenantry$ DECLARE g text; BEGIN \
         FOR g IN SELECT DISTINCT quote_ident(pg_get_userbyid(grantor)) FROM pg_auth_members \
         WHERE roleid = $name${role}$name$::regrole AND member = $name${member}$name$::regrole LOOP \
         EXECUTE format('REVOKE %s FROM %s GRANTED BY %s CASCADE', $name${role}$name$, $name${member}$name$, g); END LOOP; END $tenantry$"
    );
    let grant = want.map(|def| {
        // Where options were granted by several, all of them together hold.
        let options: Vec<&str> = def.split("; ").flat_map(|one| one.split(", ")).collect();
        let words: Vec<String> = options
            .iter()
            .filter(|one| !one.is_empty())
            .map(|one| if *one == "ADMIN" { "ADMIN OPTION".to_owned() } else { (*one).to_owned() })
            .collect();
        let with = if words.is_empty() { String::new() } else { format!(" WITH {}", words.join(", ")) };
        step(6, format!("GRANT {role} TO {member}{with}"))
    });
    replaced(have.map(|_| step(4, revoke)), grant)
}

fn setting(variable: &str, database: &str, want: Option<&str>) -> Vec<Step> {
    let scope = if database.is_empty() { String::new() } else { format!(" IN DATABASE {database}") };
    step(
        2,
        match want {
            // Its value is a list already, each member quoted where it has to be.
            Some(value) if variable == "search_path" => format!("ALTER ROLE {ROLE}{scope} SET search_path = {value}"),
            Some(value) => {
                format!("ALTER ROLE {ROLE}{scope} SET {variable} = {}", tenantry_core::quote_literal(value))
            }
            None => format!("ALTER ROLE {ROLE}{scope} RESET {variable}"),
        },
    )
}

const OPTION: &str = " WITH GRANT OPTION";

fn privileges(object: &str, rest: &str, want: Option<&str>, have: Option<&str>, reference: &Lines) -> Vec<Step> {
    // The name of a column has a part more: `column t`, `c`, grantee.
    let (object, column, holder) = match rest.split_once(PART) {
        Some((column, grantee)) => (object, Some(column), grantee),
        None => (object, None, rest),
    };
    let target = object
        .strip_prefix("column ")
        .or_else(|| object.strip_prefix("view "))
        .or_else(|| object.strip_prefix("materialized view "))
        .or_else(|| object.strip_prefix("foreign table "))
        .map_or_else(|| object.to_owned(), |table| format!("TABLE {table}"));
    let grantee = if holder == "its owner" { "CURRENT_USER" } else { holder };
    let words = |these: &[&str]| {
        let words = these.iter().map(|one| match column {
            Some(column) => format!("{} ({column})", one.trim_end_matches(OPTION)),
            None => one.trim_end_matches(OPTION).to_owned(),
        });
        words.collect::<Vec<_>>().join(", ")
    };
    let mut steps = Vec::new();
    let more = without(have, want);
    if !more.is_empty() {
        steps.extend(step(24, format!("REVOKE {} ON {target} FROM {grantee} CASCADE", words(&more))));
        if column.is_none() {
            steps.extend(of_columns(object, holder, &more, reference));
        }
    }
    let less = without(want, have);
    let (with, plain): (Vec<&str>, Vec<&str>) = less.into_iter().partition(|one| one.ends_with(OPTION));
    if !plain.is_empty() {
        steps.extend(step(80, format!("GRANT {} ON {target} TO {grantee}", words(&plain))));
    }
    if !with.is_empty() {
        steps.extend(step(80, format!("GRANT {} ON {target} TO {grantee}{OPTION}", words(&with))));
    }
    steps
}

/// What is revoked of a table, PostgreSQL revokes of its columns as well: what they are to have is granted anew.
fn of_columns(table: &str, holder: &str, revoked: &[&str], reference: &Lines) -> Vec<Step> {
    let Some(at) = table.find(SCHEMA) else { return Vec::new() };
    let (of_table, of_holder) = (format!("column {}{PART}", &table[at..]), format!("{PART}{holder}"));
    let is_revoked = |one: &&str| {
        let bare = |one: &str| one.trim_end_matches(OPTION).to_owned();
        revoked.iter().any(|other| bare(other) == bare(one))
    };
    let grants = reference
        .iter()
        .filter(|((kind, name), _)| kind == "grant" && name.starts_with(&of_table) && name.ends_with(&of_holder));
    let again = grants.filter_map(|((_, name), entry)| {
        let (of, own) = name.split_once(PART)?;
        let lost: Vec<&str> = entry.def.split(", ").filter(is_revoked).collect();
        Some(privileges(of, own, Some(&lost.join(", ")), None, reference))
    });
    again.flatten().collect()
}

fn default_privileges(name: &str, want: Option<&str>, have: Option<&str>) -> Vec<Step> {
    let mut parts = name.split(PART);
    let (role, objects, grantee) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let alter = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA {SCHEMA_ITSELF}");
    let mut steps = Vec::new();
    let (more, less) = (without(have, want), without(want, have));
    if !more.is_empty() {
        steps.extend(step(10, format!("{alter} REVOKE {} ON {objects} FROM {grantee}", more.join(", "))));
    }
    if !less.is_empty() {
        steps.extend(step(10, format!("{alter} GRANT {} ON {objects} TO {grantee}", less.join(", "))));
    }
    steps
}

fn trigger_state(table: &str, trigger: &str, want: Option<&str>) -> String {
    match want {
        None => format!("{table} ENABLE TRIGGER {trigger}"),
        Some("disabled") => format!("{table} DISABLE TRIGGER {trigger}"),
        Some("replica only") => format!("{table} ENABLE REPLICA TRIGGER {trigger}"),
        Some(_) => format!("{table} ENABLE ALWAYS TRIGGER {trigger}"),
    }
}

fn constraint(table: &str, name: &str, want: Option<&str>, have: Option<&str>) -> Vec<Step> {
    if let (Some(want), Some(have)) = (want, have)
        && have.strip_suffix(" NOT VALID") == Some(want)
    {
        return step(65, format!("{table} VALIDATE CONSTRAINT {name}"));
    }
    // What others refer to is made before the references, and goes after them.
    let refers = |def: &str| def.starts_with("FOREIGN KEY");
    replaced(
        have.map(|def| step(if refers(def) { 31 } else { 32 }, format!("{table} DROP CONSTRAINT {name}"))),
        want.map(|def| step(if refers(def) { 63 } else { 58 }, format!("{table} ADD CONSTRAINT {name} {def}"))),
    )
}

fn column(table: &str, name: &str, own: &str, want: Option<&str>, have: Option<&str>, reference: &Lines) -> Vec<Step> {
    let Some(def) = want else { return destroy(38, format!("{table} DROP COLUMN {own}")) };
    if def.contains(" STORAGE ") || def.contains(" COMPRESSION ") || def.contains(" WITH ") {
        return unsaid("column", name);
    }
    if have.is_some() {
        return step(48, format!("{table} ALTER COLUMN {own} TYPE {def} USING {own}::{def}"));
    }
    let mut sql = format!("{table} ADD COLUMN {own} {def}");
    for kind in OF_COLUMNS {
        let Some(part) = reference.get(&((*kind).to_owned(), name.to_owned())) else { continue };
        match *kind {
            "not null" => sql.push_str(" NOT NULL"),
            "default" => sql.push_str(&format!(" DEFAULT {}", part.def)),
            "identity" => sql.push_str(&format!(" GENERATED {} AS IDENTITY", part.def)),
            "stored expression" => sql.push_str(&format!(" GENERATED ALWAYS AS ({}) STORED", part.def)),
            _ => sql.push_str(&format!(" GENERATED ALWAYS AS ({}) VIRTUAL", part.def)),
        }
    }
    step(47, sql)
}
