//! What a person or a script meets when a command does not succeed.

use std::io::Write as _;
use std::process::ExitCode;

use metering::prices::{LoadError, PricesError, RepriceError};
use serde_json::json;
use tenantry::{SettingsError, StartError};
use tenantry_client::{ApiError, Error as ClientError};
use tenantry_core::{IdError, NameError};
use tenantry_embedded::EmbeddedError;
use tenantry_postgres::migrate::{MigrateError, SourceError};
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
  7  some tenants failed, the others are done
  8  no tenant is done: all failed, or the run was refused, stopped or interrupted
  9  drift was found
 10  a migration was found wanting
 11  `doctor` found something that fails
 12  the audit trail is not as it was written
 13  the API refuses the key, or the key may not do this
 14  the API cannot be reached, is busy or is unavailable";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const CONFLICT: u8 = 4;
const NOT_CONFIRMED: u8 = 5;
const DATABASE: u8 = 6;
const SOME_FAILED: u8 = 7;
const NOT_RUN: u8 = 8;
const DRIFT: u8 = 9;
const LINT: u8 = 10;
const UNHEALTHY: u8 = 11;
const TAMPERED: u8 = 12;
const REFUSED: u8 = 13;
const UNREACHABLE: u8 = 14;

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

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(NOT_FOUND, message.into())
    }

    pub(super) fn not_confirmed(message: impl Into<String>) -> Self {
        Self::new(NOT_CONFIRMED, message.into())
    }

    /// A run over the fleet that left some tenants behind.
    pub(super) fn some_failed(message: impl Into<String>) -> Self {
        Self::new(SOME_FAILED, message.into())
    }

    /// A run over the fleet that did not begin, was ended early, or had no success.
    pub(super) fn not_run(message: impl Into<String>) -> Self {
        Self::new(NOT_RUN, message.into())
    }

    /// Something is not what the migrations make of it.
    pub(super) fn drift(message: impl Into<String>) -> Self {
        Self::new(DRIFT, message.into())
    }

    /// Migrations that should not run as they are.
    pub(super) fn lint(message: impl Into<String>) -> Self {
        Self::new(LINT, message.into())
    }

    /// Somebody has changed what nobody may.
    pub(super) fn tampered(message: impl Into<String>) -> Self {
        Self::new(TAMPERED, message.into())
    }

    /// The doctor's patient is ill.
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
            StartError::Tenancy(_)
            | StartError::Stripe(_)
            | StartError::Secrets(_)
            | StartError::Keychain(_)
            | StartError::Metering(_)
            | StartError::Gateway(_) => {
                return Self::usage(error.to_string());
            }
            StartError::NotPrepared(_) => {
                "run `tenantry init` on it first, or `tenantry migrate up` when an earlier version prepared it"
            }
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

impl From<SourceError> for CliError {
    fn from(error: SourceError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<MigrateError> for CliError {
    fn from(error: MigrateError) -> Self {
        let message = error.to_string();
        match error {
            MigrateError::Source(inner) => inner.into(),
            MigrateError::Database(inner) => inner.into(),
            MigrateError::NotPrepared => Self::new(DATABASE, message).hint("run `tenantry init` on the database first"),
            MigrateError::UnknownTenant(_) => Self::new(NOT_FOUND, message).hint("`tenantry tenant list` shows all"),
            MigrateError::NoVersion { .. } => Self::usage(message),
            MigrateError::Changed { .. } => Self::not_run(message)
                .hint("a migration never changes once it was applied: restore the file and write a new one for the difference"),
            MigrateError::Ahead { .. } => Self::not_run(message).hint("use the program that migrated the database, or a later one"),
            MigrateError::Busy(_) => Self::not_run(message).hint("wait for it, or end that process; then run this again"),
            MigrateError::Fenced(_) => Self::not_run(message).hint("`tenantry migrate status` says what is done; the other run does the rest"),
            MigrateError::NoDown(_) => Self::not_run(message).hint("write the file, or go forward with a new migration that repairs"),
            MigrateError::Shared { .. } => Self::not_run(message).hint("it has changed nothing; mend its cause and run this again"),
        }
    }
}

impl From<ProvisionError> for CliError {
    fn from(error: ProvisionError) -> Self {
        let message = error.to_string();
        match error {
            ProvisionError::Name(_) | ProvisionError::Invalid { .. } => Self::usage(message),
            ProvisionError::UnknownPlan(_) => Self::usage(message).hint("`tenantry plan list` shows all"),
            ProvisionError::NotFound(_) => Self::new(NOT_FOUND, message).hint("`tenantry tenant list` shows all"),
            ProvisionError::UnknownKey(_) => Self::new(NOT_FOUND, message).hint("`tenantry key list SLUG` shows all"),
            ProvisionError::UnknownOperator(_) => Self::new(NOT_FOUND, message),
            ProvisionError::PlanNotFound(_) => Self::new(NOT_FOUND, message).hint("`tenantry plan list` shows all"),
            ProvisionError::UnknownMember(_) => {
                Self::new(NOT_FOUND, message).hint("`tenantry member list SLUG` shows all")
            }
            ProvisionError::PlanExists(_) | ProvisionError::MemberTaken(_) | ProvisionError::LastOwner(_) => {
                Self::new(CONFLICT, message)
            }
            ProvisionError::PlanInUse(_) => Self::new(CONFLICT, message)
                .hint("`tenantry tenant list --plan TIER` shows them; deleted ones count as well"),
            ProvisionError::PlanChanged(_) | ProvisionError::KeyChanged(_) | ProvisionError::MemberChanged(_) => {
                Self::new(CONFLICT, message)
            }
            // what only a request over HTTP can meet
            ProvisionError::BeyondCaller(_) | ProvisionError::KeyReused | ProvisionError::UnknownTable(_) => {
                Self::failed(message)
            }
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
                .hint("write the schema's name only where PostgreSQL keeps it by id, or go without warm schemas"),
            ProvisionError::Database(inner) => inner.into(),
        }
    }
}

impl From<PricesError> for CliError {
    fn from(error: PricesError) -> Self {
        match error {
            PricesError::Database(inner) => inner.into(),
            PricesError::Catalogue { .. } => {
                Self::failed(error.to_string()).hint("it was loaded by a later program: use that one, or load another")
            }
        }
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Invalid(flaws) => Self::usage(format!("the catalogue is not valid\n{flaws}")),
            LoadError::Prices(inner) => inner.into(),
        }
    }
}

impl From<RepriceError> for CliError {
    fn from(error: RepriceError) -> Self {
        match error {
            RepriceError::Prices(inner) => inner.into(),
            RepriceError::Place(_) => Self::usage(error.to_string()),
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Api(refusal) => refused(&refusal),
            ClientError::Setup(_) => Self::usage(message),
            ClientError::Transport { .. } | ClientError::Silence(_) => {
                Self::new(UNREACHABLE, message).hint("does the server run, and is it the one of `--url`?")
            }
            ClientError::Ended(_) => Self::new(REFUSED, message),
            _ => Self::failed(message),
        }
    }
}

/// A refusal of the API, with the members at fault and what to do.
fn refused(refusal: &ApiError) -> CliError {
    let mut message = refusal.to_string();
    for error in &refusal.errors {
        let place = error.pointer.as_deref().or(error.parameter.as_deref()).unwrap_or_default();
        message.push_str(&format!("\n  {place}: {}", error.detail));
    }
    let exit_code = match refusal.status {
        400 | 405 | 413 | 415 | 422 | 428 => USAGE,
        401 | 403 => REFUSED,
        404 => NOT_FOUND,
        409 | 412 => CONFLICT,
        429 | 502..=504 => UNREACHABLE,
        _ => FAILED,
    };
    let error = CliError::new(exit_code, message);
    let version = refusal.extensions.get("current").and_then(|current| current["version"].as_i64());
    match (refusal.code.as_str(), version, &refusal.request_id) {
        ("version_required", ..) => error.hint("read the record, and pass its version with `--if-version`"),
        ("version_conflict", Some(now), _) => {
            error.hint(format!("somebody was faster: read it again, it is at version {now} now"))
        }
        ("permission_denied", ..) => {
            error.hint("the key's scopes or the member's role do not reach this; an admin can make another key")
        }
        (_, _, Some(id)) if refusal.status >= 500 => {
            error.hint(format!("the server's log knows more under the request id `{id}`"))
        }
        _ if refusal.status == 401 => {
            error.hint("the key is wrong, revoked or has ended; is the server the one of `--url`?")
        }
        _ => error,
    }
}
