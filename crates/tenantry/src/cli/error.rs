//! What a person or a script meets when a command does not succeed.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;
use tenantry::{SettingsError, StartError};
use tenantry_core::{IdError, NameError};
use tenantry_embedded::EmbeddedError;
use tenantry_postgres::{DbError, ProvisionError};

use super::Output;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  the command line or the settings are wrong
  3  not found
  4  conflict: it exists already, or its status does not allow it
  5  not confirmed
  6  the database is unavailable, not prepared, or refuses the login
  7  of many, some were done and some not
  8  of many, none was done
 11  `doctor` found something that fails";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const CONFLICT: u8 = 4;
const NOT_CONFIRMED: u8 = 5;
const DATABASE: u8 = 6;
const SOME: u8 = 7;
const NONE: u8 = 8;
const UNHEALTHY: u8 = 11;

/// An error with its exit code and, where there is one, a hint.
#[derive(Debug)]
pub(crate) struct CliError {
    exit_code: u8,
    message: String,
    hint: Option<String>,
}

impl CliError {
    const fn new(exit_code: u8, message: String) -> Self {
        Self { exit_code, message, hint: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(FAILED, message.into())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message.into())
    }

    pub(super) fn not_confirmed(message: impl Into<String>) -> Self {
        Self::new(NOT_CONFIRMED, message.into())
    }

    /// Of many, not all were done.
    pub(super) fn not_all(done: usize, message: impl Into<String>) -> Self {
        Self::new(if done == 0 { NONE } else { SOME }, message.into())
    }

    pub(super) fn unhealthy(message: impl Into<String>) -> Self {
        Self::new(UNHEALTHY, message.into())
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints the error and gives the exit code.
    pub(super) fn report(&self, output: Output) -> ExitCode {
        let text = match output {
            Output::Json => {
                json!({ "error": self.message, "hint": self.hint, "exit_code": self.exit_code }).to_string()
            }
            Output::Table => {
                let hint = self.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
                format!("error: {}{hint}", self.message)
            }
        };
        let _ = writeln!(std::io::stderr(), "{text}");
        ExitCode::from(self.exit_code)
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        Self::usage(error.to_string()).hint("docs/tenantry.example.toml shows every setting")
    }
}

impl From<NameError> for CliError {
    fn from(error: NameError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<IdError> for CliError {
    fn from(error: IdError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<EmbeddedError> for CliError {
    fn from(error: EmbeddedError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        let hint = match &error {
            StartError::Jwt(_) => return Self::usage(error.to_string()),
            StartError::NotPrepared(_) => "run `tenantry init` on it first",
            StartError::LoginRefused(_) => "is the secret the one that `tenantry init` was run with?",
        };
        Self::new(DATABASE, error.to_string()).hint(hint)
    }
}

impl From<DbError> for CliError {
    fn from(error: DbError) -> Self {
        let message = error.to_string();
        if error.refuses_login() {
            return Self::new(DATABASE, message)
                .hint("check the URL, and that the secret is the one of `tenantry init`");
        }
        if error.is_unprepared() {
            return Self::new(DATABASE, message).hint("run `tenantry init` on the database first");
        }
        match error {
            DbError::Unavailable(_) => {
                Self::new(DATABASE, message).hint("does the server run, and is it the one of `--database-url`?")
            }
            DbError::LockTimeout(_) => Self::failed(message).hint("somebody else holds it; try again"),
            _ => Self::failed(message),
        }
    }
}

impl From<ProvisionError> for CliError {
    fn from(error: ProvisionError) -> Self {
        let message = error.to_string();
        match error {
            ProvisionError::Name(_) | ProvisionError::Invalid { .. } => Self::usage(message),
            ProvisionError::UnknownPlan(_) => Self::usage(message)
                .hint("the plans are `free`, `starter`, `growth` and `enterprise` unless you added some"),
            ProvisionError::NotFound(_) => Self::new(NOT_FOUND, message).hint("`tenantry tenant list` shows all"),
            ProvisionError::UnknownKey(_) => Self::new(NOT_FOUND, message).hint("`tenantry key list SLUG` shows all"),
            ProvisionError::UnknownOperator(_) => Self::new(NOT_FOUND, message),
            ProvisionError::OperatorTaken(_) => {
                Self::new(CONFLICT, message).hint("a name is given once, also when its token is revoked")
            }
            ProvisionError::LastOperator(_) | ProvisionError::Changed(_) => Self::new(CONFLICT, message),
            ProvisionError::SlugTaken(_) => {
                Self::new(CONFLICT, message).hint("choose another slug; a deleted tenant can be restored or purged")
            }
            ProvisionError::NotPurgeable { .. } => {
                Self::new(CONFLICT, message).hint("delete it first, or pass `--ignore-grace`")
            }
            ProvisionError::DomainTaken(_) | ProvisionError::Transition { .. } => Self::new(CONFLICT, message),
            ProvisionError::NotRenamable(_) => Self::failed(message)
                .hint("write `tenant.` names only where PostgreSQL keeps them by id, or go without warm schemas"),
            ProvisionError::Database(inner) => inner.into(),
        }
    }
}
