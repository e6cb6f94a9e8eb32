//! Two schemas beside each other: what one lacks, what it has too much, what is different.

use serde::Serialize;

use super::catalog::{CELL, Entry, Lines, PART, Place, ROLE, SCHEMA, SCHEMA_ITSELF};
use super::repair::{self, Step};

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It should be there and is not.
    Missing,
    /// It is there and should not be.
    Extra,
    /// It is otherwise than it should be.
    Different,
}

/// One difference of a schema from what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What is wrong.
    pub change: Change,
    /// The kind of object, such as `index` or `grant`.
    pub kind: String,
    /// Which object, with `tenant.` for the tenant's schema and `tenant_role` for its role.
    pub object: String,
    /// How it should be, where it should be.
    pub expected: Option<String>,
    /// How it is, where it is.
    pub found: Option<String>,
    /// The difference as a sentence.
    pub text: String,
    /// What mends it, in the order to be run.
    pub repair: Vec<Repair>,
}

/// A statement that mends a difference, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// Statements are run in the order of their phases, over all differences of a schema.
    #[serde(skip)]
    pub phase: u8,
    /// The statement without a semicolon; a comment where no statement can be said.
    pub sql: String,
    /// Whether it removes rows, which nothing brings back.
    pub destroys: bool,
    /// Whether it is about roles and owners, which the owner of the tables may not change.
    pub administrative: bool,
}

/// All differences in a stable order. `label` stands for the schema in sentences, such as `tenant`.
pub(super) fn compare(reference: &Lines, found: &Lines, place: &Place, label: &str) -> Vec<Difference> {
    if found.is_empty() {
        return vec![no_schema(label)];
    }
    let mut differences = Vec::new();
    for (key, want) in reference {
        match found.get(key) {
            Some(have) if have.def == want.def => {}
            have => {
                if !is_part_of_missing(key, want, reference, found) {
                    differences.push(difference(key, Some(want), have, reference, found, place, label));
                }
            }
        }
    }
    for (key, have) in found {
        if !reference.contains_key(key) && !is_part_of_extra(key, have, reference, found) {
            differences.push(difference(key, None, Some(have), reference, found, place, label));
        }
    }
    differences
}

/// Nothing can be said of a schema that is not there, but that.
fn no_schema(label: &str) -> Difference {
    let sql = format!("-- the schema of {label} is gone: restore it from a backup");
    Difference {
        change: Change::Missing,
        kind: "schema".to_owned(),
        object: label.to_owned(),
        expected: None,
        found: None,
        text: format!("- schema {label} is missing"),
        repair: vec![Repair { phase: 0, sql, destroys: false, administrative: true }],
    }
}

/// What has parts of its own, which come and go with it.
const WHOLES: &[&str] =
    &["table", "view", "materialized view", "foreign table", "sequence", "function", "procedure", "aggregate", "type"];
/// Parts of a column, which have the column's name.
pub(super) const OF_COLUMNS: &[&str] = &["not null", "default", "identity", "stored expression", "virtual expression"];

/// Whether the table (or whatever) that holds it is in `there` and not in `elsewhere`, or the column it belongs to is.
fn goes_with(key: &(String, String), entry: &Entry, there: &Lines, elsewhere: &Lines) -> bool {
    let only_there = |kind: &str, name: &str| {
        let key = (kind.to_owned(), name.to_owned());
        there.contains_key(&key) && !elsewhere.contains_key(&key)
    };
    let column = OF_COLUMNS.contains(&key.0.as_str()) && only_there("column", &key.1);
    column || WHOLES.iter().any(|kind| only_there(kind, &entry.within) && (*kind != key.0 || entry.within != key.1))
}

fn is_part_of_extra(key: &(String, String), entry: &Entry, reference: &Lines, found: &Lines) -> bool {
    goes_with(key, entry, found, reference)
}

fn is_part_of_missing(key: &(String, String), entry: &Entry, reference: &Lines, found: &Lines) -> bool {
    goes_with(key, entry, reference, found)
}

fn difference(
    key: &(String, String),
    want: Option<&Entry>,
    have: Option<&Entry>,
    reference: &Lines,
    found: &Lines,
    place: &Place,
    label: &str,
) -> Difference {
    let (kind, name) = (key.0.as_str(), key.1.as_str());
    let change = match (want, have) {
        (Some(_), None) => Change::Missing,
        (None, _) => Change::Extra,
        _ => Change::Different,
    };
    let steps = if change == Change::Missing && WHOLES.contains(&kind) {
        // Its parts are not told one by one, but they are to be made.
        let sequences = reference.iter().filter(|(part, entry)| part.0 == "sequence" && entry.within == name);
        let wholes: Vec<&str> = sequences.map(|(part, _)| part.1.as_str()).chain([name]).collect();
        let parts = reference.iter().filter(|(part, entry)| {
            *part == key
                || (wholes.contains(&entry.within.as_str())
                    && !found.contains_key(part)
                    && !of_missing_column(part, reference))
        });
        parts.flat_map(|(part, entry)| repair::steps(&part.0, &part.1, Some(&entry.def), None, reference)).collect()
    } else {
        repair::steps(kind, name, want.map(|e| e.def.as_str()), have.map(|e| e.def.as_str()), reference)
    };
    let text = sentence(kind, name, want.map(|e| e.def.as_str()), have.map(|e| e.def.as_str()));
    Difference {
        change,
        kind: kind.to_owned(),
        object: shown(&object(kind, name), label),
        expected: want.map(|entry| shown(&entry.def, label)),
        found: have.map(|entry| shown(&entry.def, label)),
        text: shown(&text, label),
        repair: steps.into_iter().map(|step| real(step, place)).collect(),
    }
}

/// A column is made with its parts.
fn of_missing_column(key: &(String, String), reference: &Lines) -> bool {
    OF_COLUMNS.contains(&key.0.as_str()) && reference.contains_key(&("column".to_owned(), key.1.clone()))
}

/// How an object is named in sentences.
fn object(kind: &str, name: &str) -> String {
    match kind {
        "grant" => granted(name),
        "default privilege" => name.replace(PART, " to "),
        "owner" | "role" | "member of" | "has member" | "setting" | "object" => name.replace(PART, " "),
        "owned elsewhere" | "policy elsewhere" | "privilege elsewhere" => name.to_owned(),
        _ if name.starts_with(SCHEMA) => name.to_owned(),
        _ => format!("{SCHEMA}{}", name.replace(PART, ".")),
    }
}

fn sentence(kind: &str, name: &str, want: Option<&str>, have: Option<&str>) -> String {
    let object = object(kind, name);
    match kind {
        "grant" => return grants(name, want, have),
        "member of" => {
            return match (want, have) {
                (Some(_), None) => format!("- {ROLE} is no member of {name}"),
                (None, _) => format!("+ {ROLE} is a member of {name}"),
                (Some(want), Some(have)) => format!("~ {ROLE} is a member of {name} with `{have}`, not `{want}`"),
            };
        }
        "has member" => {
            return match (want, have) {
                (Some(_), None) => format!("- {name} is no member of {ROLE}"),
                (None, _) => format!("+ {name} is a member of {ROLE}"),
                (Some(want), Some(have)) => format!("~ {name} is a member of {ROLE} with `{have}`, not `{want}`"),
            };
        }
        "role" => return format!("~ {ROLE} is `{}`, not `{}`", have.unwrap_or("missing"), want.unwrap_or("missing")),
        "setting" => {
            let (variable, database) = name.split_once(PART).unwrap_or((name, ""));
            let scope = if database.is_empty() { String::new() } else { format!(" in database {database}") };
            return match (want, have) {
                (Some(want), None) => format!("- setting {variable} = {want} of {ROLE}{scope} is missing"),
                (None, have) => format!("+ setting {variable} = {} of {ROLE}{scope}", have.unwrap_or_default()),
                (Some(want), Some(have)) => {
                    format!("~ setting {variable} of {ROLE}{scope} is `{have}`, not `{want}`")
                }
            };
        }
        "owner" => {
            return format!("~ owner of {object} is {}, not {}", have.unwrap_or("missing"), want.unwrap_or("nobody"));
        }
        "owned elsewhere" => return format!("+ {ROLE} owns {name}"),
        "policy elsewhere" => return format!("+ {ROLE} is named in {name}"),
        "privilege elsewhere" => return format!("+ {ROLE} has a privilege on {name}"),
        _ => {}
    }
    match (want, have) {
        (Some(_), None) => format!("- {kind} {object} is missing"),
        (None, Some(have)) if !have.is_empty() && have.len() <= 120 && !have.contains('\n') => {
            format!("+ {kind} {object}: {have}")
        }
        (None, _) => format!("+ {kind} {object}"),
        (Some(want), Some(have)) if want.len() + have.len() <= 400 && !want.contains('\n') && !have.contains('\n') => {
            format!("~ {kind} {object} is `{have}`, not `{want}`")
        }
        (Some(_), Some(_)) => format!("~ {kind} {object} has another definition"),
    }
}

/// `table t to somebody`.
fn granted(name: &str) -> String {
    let (object, grantee) = name.rsplit_once(PART).unwrap_or((name, ""));
    format!("{} to {grantee}", object.replace(PART, "."))
}

fn grants(name: &str, want: Option<&str>, have: Option<&str>) -> String {
    let object = granted(name);
    let (less, more) = (repair::without(want, have), repair::without(have, want));
    match (less.is_empty(), more.is_empty()) {
        (false, true) => format!("- grant {} on {object} is missing", less.join(", ")),
        (true, false) => format!("+ grant {} on {object}", more.join(", ")),
        _ => format!("~ grant {} on {object}, not {}", more.join(", "), less.join(", ")),
    }
}

/// With words for the marks.
fn shown(text: &str, label: &str) -> String {
    text.replace(SCHEMA, &format!("{label}."))
        .replace(SCHEMA_ITSELF, label)
        .replace(ROLE, "tenant_role")
        .replace(CELL, "the cell's login")
        .replace(PART, ".")
}

/// With a tenant's own names for the marks.
fn real(step: Step, place: &Place) -> Repair {
    let quoted = tenantry_core::quote_identifier(&place.schema);
    let sql = step
        .sql
        .replace(SCHEMA, &format!("{quoted}."))
        .replace(SCHEMA_ITSELF, &quoted)
        .replace(ROLE, &tenantry_core::quote_identifier(&place.role))
        .replace(CELL, &tenantry_core::quote_identifier(&place.cell));
    Repair { phase: step.phase, sql, destroys: step.destroys, administrative: step.phase < repair::AS_OWNER }
}
