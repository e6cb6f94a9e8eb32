//! What is dangerous in migrations, why, and the safer way.
//!
//! The rules on locks, rewrites and what running programs still use are those of squawk, a linter for PostgreSQL; those
//! on schemas per tenant are our own. Whoever knows better says so, with a reason, before the statement:
//!
//! ```sql
//! -- tenantry: allow ban-drop-column: no program reads it since 1.4, see the release notes
//! ALTER TABLE tenant.notes DROP COLUMN color;
//! ```
//!
//! or, for a file that was applied already and must not change, as a line `FILE RULE: REASON` of `lint.allow` beside it.

mod allow;
mod file;
mod rules;
mod squawk;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tenantry_postgres::migrate::{MigrationSet, Scope};

use allow::Allowed;
use file::SqlFile;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It should not run so.
    Error,
    /// It is to be thought about.
    Warning,
}

/// Something found in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// The line, from 1; 0 is the file as a whole.
    pub line: usize,
    /// The rule's name.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// Why it is dangerous.
    pub why: String,
    /// The safer way.
    pub safer: String,
    /// The reason that somebody gave for it; what has one does not count.
    pub allowed: Option<String>,
}

impl Finding {
    /// Whether it makes the lint fail.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.severity == Severity::Error && self.allowed.is_none()
    }
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{}`: {source}", path.display())]
pub struct Unreadable {
    path: PathBuf,
    source: std::io::Error,
}

/// Lints a directory's migrations, or only some files of it. All of the directory is read: what one file lacks another may have.
///
/// # Errors
/// [`Unreadable`].
pub fn directory(scope: Scope, directory: &Path, only: &[String]) -> Result<Vec<Finding>, Unreadable> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Unreadable { path, source }
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
        let path = entry.map_err(unreadable(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            files.push((name, std::fs::read_to_string(&path).map_err(unreadable(&path))?));
        }
    }
    files.sort();
    let beside = directory.join("lint.allow");
    let allow = match std::fs::read_to_string(&beside) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(Unreadable { path: beside, source }),
    };
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut found = lint(scope, &files, &allow);
    found.retain(|finding| {
        only.is_empty() || finding.line == 0 && finding.rule == "set" || only.contains(&finding.file)
    });
    Ok(found)
}

/// Lints the files of a set, given as name and text, with the text of its `lint.allow`.
#[must_use]
pub fn lint(scope: Scope, files: &[(&str, &str)], allow: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(error) = MigrationSet::new(scope, files) {
        found.push(Finding {
            file: String::new(),
            line: 0,
            rule: "set".to_owned(),
            severity: Severity::Error,
            why: error.to_string(),
            safer: "name files `NNNN_name.sql` and `NNNN_name.down.sql`, numbered from 0001 without gaps".to_owned(),
            allowed: None,
        });
    }
    let files: Vec<SqlFile> = files.iter().map(|(name, text)| SqlFile::parse(name, text)).collect();
    for file in &files {
        let mut own = rules::check(scope, file, &files);
        if !file.down {
            own.extend(squawk::check(file));
        }
        Allowed::of(file, allow).apply(file, &mut own);
        own.sort_by(|a, b| (a.line, &a.rule).cmp(&(b.line, &b.rule)));
        found.extend(own);
    }
    found
}
