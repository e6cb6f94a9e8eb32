//! Where migrations come from: embedded in a program, or a directory of files.
//!
//! A file is `NNNN_name.sql`, with four or more digits; `NNNN_name.down.sql` beside it undoes it, where that is
//! possible. Numbers begin at 1 and have no gaps. In files of the tenant set `tenant.` stands for the tenant's schema and
//! `tenant_role` for its role (for the grants of a new table). A line `-- tenantry: no-transaction` marks a file whose
//! single statement cannot run in a transaction, such as `CREATE INDEX CONCURRENTLY`.
//!
//! A file never changes once it was applied anywhere: its checksum is in the ledger.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const NO_TRANSACTION: &str = "-- tenantry: no-transaction";

/// Which part of the database a set of migrations belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The tables about tenants, once per database.
    Registry,
    /// The shared analytics tables, once per database.
    Analytics,
    /// Each tenant's own tables, once per tenant.
    Tenant,
}

impl Scope {
    /// The ledger's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Analytics => "analytics",
            Self::Tenant => "tenant",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        [Self::Registry, Self::Analytics, Self::Tenant]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| SourceError::UnknownScope(text.chars().take(32).collect()))
    }
}

/// Why migrations cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not the name of a set.
    #[error("`{0}` is not a set of migrations: `registry`, `analytics` or `tenant`")]
    UnknownScope(String),
    /// A file's name has another form.
    #[error("`{0}` is not a migration's name: such as `0003_add_color.sql` or `0003_add_color.down.sql`")]
    Name(String),
    /// Two files have one number.
    #[error("version {version} is given twice: `{first}` and `{second}`")]
    Twice {
        /// The number.
        version: i32,
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
    /// A number is missing.
    #[error("version {0} is missing: numbers begin at 1 and have no gaps")]
    Gap(i32),
    /// A `.down.sql` without its migration, or of another name.
    #[error("`{0}` undoes no migration of this set")]
    Orphan(String),
    /// A file holds no statement.
    #[error("`{0}` is empty")]
    Empty(String),
    /// A file or directory cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// One step of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1.
    pub version: i32,
    /// Its name without the number.
    pub name: String,
    /// What it does.
    pub up: String,
    /// What undoes it, where something can.
    pub down: Option<String>,
    /// Whether it runs in a transaction. One that does not has a single statement and can be repeated.
    pub transactional: bool,
    /// SHA-256 of `up`.
    pub checksum: [u8; 32],
}

impl Migration {
    /// Number and name as in the file's name, `0003_add_color`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{:04}_{}", self.version, self.name)
    }

    /// Whether what undoes it runs in a transaction.
    #[must_use]
    pub fn down_transactional(&self) -> bool {
        self.down.as_deref().is_none_or(runs_in_transaction)
    }
}

fn runs_in_transaction(text: &str) -> bool {
    !text.lines().any(|line| line.trim() == NO_TRANSACTION)
}

/// The migrations of one scope, in order and without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationSet {
    scope: Scope,
    migrations: Vec<Migration>,
}

impl MigrationSet {
    /// A set without migrations.
    #[must_use]
    pub const fn none(scope: Scope) -> Self {
        Self { scope, migrations: Vec::new() }
    }

    /// Takes files as name and text, such as `("0001_baseline.sql", include_str!(…))`.
    ///
    /// # Errors
    /// [`SourceError`] for what is not a set.
    pub fn new(scope: Scope, files: &[(&str, &str)]) -> Result<Self, SourceError> {
        let mut ups: BTreeMap<i32, (&str, &str)> = BTreeMap::new();
        let mut downs: BTreeMap<i32, (&str, &str)> = BTreeMap::new();
        for &(file, text) in files {
            let (version, name, is_down) = parse(file)?;
            let kind = if is_down { &mut downs } else { &mut ups };
            if is_empty(text) {
                return Err(SourceError::Empty(file.to_owned()));
            }
            if let Some((first, _)) = kind.insert(version, (name, text)) {
                return Err(SourceError::Twice { version, first: first.to_owned(), second: name.to_owned() });
            }
        }
        let mut migrations = Vec::with_capacity(ups.len());
        for (expected, (version, (name, up))) in (1..).zip(ups) {
            if version != expected {
                return Err(SourceError::Gap(expected));
            }
            let down = downs.remove(&version);
            if let Some((other, _)) = down.filter(|(other, _)| *other != name) {
                return Err(SourceError::Orphan(format!("{version:04}_{other}.down.sql")));
            }
            migrations.push(Migration {
                version,
                name: name.to_owned(),
                up: up.to_owned(),
                down: down.map(|(_, text)| text.to_owned()),
                transactional: runs_in_transaction(up),
                checksum: Sha256::digest(up.as_bytes()).into(),
            });
        }
        match downs.first_key_value() {
            Some((version, (name, _))) => Err(SourceError::Orphan(format!("{version:04}_{name}.down.sql"))),
            None => Ok(Self { scope, migrations }),
        }
    }

    /// Reads the `.sql` files of a directory.
    ///
    /// # Errors
    /// [`SourceError`] for what cannot be read or is not a set.
    pub fn read(scope: Scope, directory: &Path) -> Result<Self, SourceError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| SourceError::Unreadable { path, source }
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(unreadable(directory))? {
            let path = entry.map_err(unreadable(directory))?.path();
            if path.extension().is_none_or(|extension| extension != "sql") {
                continue;
            }
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            files.push((name, std::fs::read_to_string(&path).map_err(unreadable(&path))?));
        }
        // a directory has no order of its own, and of several faults the same one is to be named each time
        files.sort();
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        Self::new(scope, &files)
    }

    /// Whether a file can have this name.
    ///
    /// # Errors
    /// [`SourceError::Name`].
    pub fn check_name(file: &str) -> Result<(), SourceError> {
        parse(file).map(drop)
    }

    /// What the set belongs to.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        self.scope
    }

    /// All steps in order.
    #[must_use]
    pub fn all(&self) -> &[Migration] {
        &self.migrations
    }

    /// The version that the whole set leads to; 0 for an empty one.
    #[must_use]
    pub fn latest(&self) -> i32 {
        self.migrations.last().map_or(0, |migration| migration.version)
    }

    /// The steps after a version.
    #[must_use]
    pub fn after(&self, version: i32) -> &[Migration] {
        let done = self.migrations.iter().take_while(|migration| migration.version <= version).count();
        &self.migrations[done..]
    }

    /// One step.
    #[must_use]
    pub fn get(&self, version: i32) -> Option<&Migration> {
        self.migrations.iter().find(|migration| migration.version == version)
    }
}

/// Number, name, and whether it undoes.
fn parse(file: &str) -> Result<(i32, &str, bool), SourceError> {
    let wrong = || SourceError::Name(file.chars().take(100).collect());
    let stem = file.strip_suffix(".sql").ok_or_else(wrong)?;
    let (stem, is_down) = stem.strip_suffix(".down").map_or((stem, false), |stem| (stem, true));
    let (number, name) = stem.split_once('_').ok_or_else(wrong)?;
    let version = number.parse().ok().filter(|version| *version > 0 && number.len() >= 4).ok_or_else(wrong)?;
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if name.is_empty() || !name.bytes().all(fine) || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    Ok((version, name, is_down))
}

fn is_empty(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with("--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> Result<MigrationSet, String> {
        MigrationSet::new(Scope::Tenant, files).map_err(|error| error.to_string())
    }

    #[test]
    fn files_come_in_the_order_of_their_numbers() {
        let files = [
            ("0002_color.sql", "-- tenantry: no-transaction\nCREATE INDEX CONCURRENTLY i ON tenant.a (b)"),
            ("0002_color.down.sql", "DROP INDEX tenant.i"),
            ("0001_baseline.sql", "CREATE TABLE tenant.a (b int)"),
        ];
        let set = set(&files).unwrap();
        assert_eq!(set.all().iter().map(Migration::label).collect::<Vec<_>>(), ["0001_baseline", "0002_color"]);
        assert_eq!((set.latest(), set.after(1).len(), set.after(2).len()), (2, 1, 0));
        assert!(set.all()[0].transactional && !set.all()[1].transactional);
        assert!(set.all()[1].down.is_some() && set.all()[0].down.is_none());
    }

    #[test]
    fn what_is_not_a_set_is_refused() {
        let refused = |files: &[(&str, &str)], with: &str| {
            let error = set(files).unwrap_err();
            assert!(error.contains(with), "{error}");
        };
        for name in
            ["1_a.sql", "0001.sql", "0001_A.sql", "0001_.sql", "x001_a.sql", "0000_a.sql", "0001_a.txt", "+001_a.sql"]
        {
            refused(&[(name, "SELECT 1")], "is not a migration's name");
        }
        refused(&[("0002_a.sql", "SELECT 1")], "version 1 is missing");
        refused(&[("0001_a.sql", "SELECT 1"), ("0001_b.sql", "SELECT 1")], "given twice");
        refused(&[("0001_a.sql", "SELECT 1"), ("0001_b.down.sql", "SELECT 1")], "undoes no migration");
        refused(&[("0001_a.sql", "SELECT 1"), ("0002_a.down.sql", "SELECT 1")], "undoes no migration");
        refused(&[("0001_a.sql", "-- nothing\n")], "is empty");
    }
}
