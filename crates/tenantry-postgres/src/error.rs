use std::time::Duration;

use tenantry_core::{NameError, TenantStatus};
use tokio_postgres::error::SqlState;

use crate::access::KeptAnswer;
use crate::provision::{ApiKeyInfo, Plan, TenantRow};
use crate::registry::Member;

/// Which limit was reached when no connection could be had in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The tenant's own share of its cell.
    Tenant,
    /// The cell's connections.
    Cell,
    /// All connections of this process.
    Process,
}

impl Exhausted {
    /// The limit's name in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "the tenant's share",
            Self::Cell => "the cell",
            Self::Process => "the process",
        }
    }
}

/// What went wrong between here and the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection became free in time.
    #[error("no database connection became free within {waited:?}: {} is at its limit", limit.as_str())]
    Exhausted {
        /// The limit that held.
        limit: Exhausted,
        /// How long was waited.
        waited: Duration,
    },
    /// The statement ran past `statement_timeout` and was stopped by the server.
    #[error("the statement ran past its time limit and was stopped")]
    Timeout(#[source] tokio_postgres::Error),
    /// A lock could not be had within `lock_timeout`, or a deadlock was broken.
    #[error("a lock could not be had in time: {}", describe(.0))]
    LockTimeout(#[source] tokio_postgres::Error),
    /// The server cannot be reached, is starting, stopping, or dropped the connection.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The server does not let our role in: another password, no such role or database, or no right to connect.
    #[error("the database refused the login: {}", describe(.0))]
    Login(#[source] tokio_postgres::Error),
    /// The role or row level security refused (SQLSTATE 42501).
    #[error("the database refused access: {}", describe(.0))]
    Refused(#[source] tokio_postgres::Error),
    /// The context was good once, but the tenant is not served any more.
    #[error("the tenant is not served any more")]
    ContextExpired,
    /// The tenant's schema was taken back to a version that this program cannot serve.
    #[error("the tenant is at version {at} of its schema, this program needs {needed}")]
    SchemaBehind {
        /// Its version.
        at: i32,
        /// The least that would do.
        needed: i32,
    },
    /// The transaction was used against its contract; a bug in the caller.
    #[error("misuse of a tenant transaction: {0}")]
    Misuse(&'static str),
    /// Any other error of a statement.
    #[error("the statement failed: {}", describe(.0))]
    Query(#[source] tokio_postgres::Error),
}

fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| format!("{} ({})", db.message(), db.code().code()))
}

/// The driver's message names the step only; its source says why.
fn with_cause(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl DbError {
    /// The SQLSTATE, where the server gave one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.database().and_then(|e| e.code()).map(SqlState::code)
    }

    /// The violated constraint's name.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.database().and_then(|e| e.as_db_error()).and_then(|e| e.constraint())
    }

    /// Whether it waited in vain for another transaction that has put the same value into this unique index and is not done.
    pub(crate) fn waited_for(&self, index: &str) -> bool {
        let Self::LockTimeout(error) = self else { return false };
        let context = error.as_db_error().and_then(|e| e.where_()).unwrap_or_default();
        context.contains(&format!("\"{index}\""))
    }

    /// Whether a unique key already has the value.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        self.sqlstate() == Some(SqlState::UNIQUE_VIOLATION.code())
    }

    /// Whether a commit was refused because somebody has the key that its answer was to be kept under.
    #[must_use]
    pub fn is_key_taken(&self) -> bool {
        self.constraint() == Some(KeptAnswer::REFUSED_BY)
    }

    /// Whether a referenced row does not exist, or is still referenced.
    #[must_use]
    pub fn is_foreign_key_violation(&self) -> bool {
        self.sqlstate() == Some(SqlState::FOREIGN_KEY_VIOLATION.code())
    }

    /// An error from before the first statement. Nothing of a caller's was refused then, whatever the code says: either the
    /// server does not let our role in, or it cannot serve us now. A database that lets nobody in (`ALLOW_CONNECTIONS
    /// false`, SQLSTATE 55000) is away like one that does not answer; in a statement the same code means something else.
    pub(crate) fn not_connected(error: tokio_postgres::Error) -> Self {
        match error.code().map(SqlState::code) {
            Some("28P01" | "28000" | "3D000" | "42501") => Self::Login(error),
            Some(_) => Self::Unavailable(describe(&error)),
            None => Self::Unavailable(with_cause(&error)),
        }
    }

    /// Whether the server does not let our role in: another password, no such role or database, or no right to connect.
    #[must_use]
    pub const fn refuses_login(&self) -> bool {
        matches!(self, Self::Login(_))
    }

    /// Whether the registry's tables or functions are not there, or not for us.
    #[must_use]
    pub fn is_unprepared(&self) -> bool {
        !self.refuses_login() && matches!(self.sqlstate(), Some("42P01" | "42883" | "3F000" | "42501"))
    }

    fn database(&self) -> Option<&tokio_postgres::Error> {
        match self {
            Self::Timeout(e) | Self::LockTimeout(e) | Self::Login(e) | Self::Refused(e) | Self::Query(e) => Some(e),
            _ => None,
        }
    }

    /// Whether the connection can no longer be used after this error.
    pub(crate) fn breaks_connection(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Login(_))
    }
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else {
            let connection_lost =
                error.is_closed() || std::error::Error::source(&error).is_some_and(|s| s.is::<std::io::Error>());
            return if connection_lost { Self::Unavailable(with_cause(&error)) } else { Self::Query(error) };
        };
        match code.code() {
            "57014" => Self::Timeout(error),
            "55P03" | "40P01" => Self::LockTimeout(error),
            "42501" => Self::Refused(error),
            // admin shutdown, crash shutdown, cannot connect now, idle session, too many connections, and all of class 08
            "57P01" | "57P02" | "57P03" | "57P05" | "53300" => Self::Unavailable(describe(&error)),
            c if c.starts_with("08") => Self::Unavailable(describe(&error)),
            _ => Self::Query(error),
        }
    }
}

/// Why a request gets no tenant context.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Key or token are unknown, expired, revoked or forged; deliberately one answer for all.
    #[error("the credential is not valid")]
    InvalidCredential,
    /// The credential is good but names a tenant that does not exist.
    #[error("tenant `{slug}` does not exist")]
    UnknownTenant {
        /// As presented.
        slug: String,
    },
    /// The tenant is suspended or deleted.
    #[error("tenant `{slug}` is {status}")]
    Inactive {
        /// The tenant's slug.
        slug: String,
        /// Why it is not served.
        status: TenantStatus,
    },
    /// The token is good, but its subject is no member of its tenant.
    #[error("the token's subject is no member of tenant `{slug}`")]
    NotAMember {
        /// The tenant's slug.
        slug: String,
    },
    /// Header, host or token name a tenant that the credential is not for.
    #[error("the credential is not for `{presented}`")]
    Mismatch {
        /// What was named.
        presented: String,
    },
    /// The tenant's schema is older than this program can serve: its migration is not done yet, or failed.
    #[error("tenant `{slug}` is at version {at} of its schema, this program needs {needed}")]
    SchemaBehind {
        /// The tenant's slug.
        slug: String,
        /// Its version.
        at: i32,
        /// The least that would do.
        needed: i32,
    },
    /// The registry's changes cannot be heard and the database cannot be asked: refuse, do not guess.
    #[error("the registry cannot be read: {0}")]
    Stale(String),
}

/// Why a change of the fleet was not made.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// A name that cannot be a tenant's.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The slug (or its schema) is taken, perhaps by a creation that is not done yet.
    #[error("tenant `{0}` exists already")]
    SlugTaken(String),
    /// A custom host belongs to another tenant.
    #[error("domain `{0}` belongs to another tenant")]
    DomainTaken(String),
    /// No such tenant.
    #[error("tenant `{0}` does not exist")]
    NotFound(String),
    /// No such plan.
    #[error("plan `{0}` does not exist")]
    UnknownPlan(String),
    /// No such key.
    #[error("API key `{0}` does not exist")]
    UnknownKey(String),
    /// The lifecycle has no such step.
    #[error("tenant `{slug}` is {from} and cannot become {to}")]
    Transition {
        /// The tenant.
        slug: String,
        /// Its status.
        from: TenantStatus,
        /// The status asked for.
        to: TenantStatus,
    },
    /// A purge before deletion, or before the grace period has passed.
    #[error("tenant `{slug}` cannot be purged: {reason}")]
    NotPurgeable {
        /// The tenant.
        slug: String,
        /// What stands in the way.
        reason: String,
    },
    /// A plan with this name exists.
    #[error("plan `{0}` exists already")]
    PlanExists(String),
    /// No plan has this name: it was asked for itself, not named by a tenant.
    #[error("plan `{0}` does not exist")]
    PlanNotFound(String),
    /// Tenants are on the plan.
    #[error("plan `{0}` has tenants")]
    PlanInUse(String),
    /// The plan was changed since the caller read it.
    #[error("plan `{}` was changed at {}, after it was read", .0.tier, .0.updated_at.to_rfc3339())]
    PlanChanged(Box<Plan>),
    /// The key is not the version that was to be changed: somebody else has changed it.
    #[error("API key `{}` was changed meanwhile", .0.id)]
    KeyChanged(Box<ApiKeyInfo>),
    /// No such member of the tenant.
    #[error("member `{0}` does not exist")]
    UnknownMember(String),
    /// The tenant has a member with this subject.
    #[error("`{0}` is a member already")]
    MemberTaken(String),
    /// Without this one nobody could make owners any more.
    #[error("member `{0}` is the last owner; make another one first")]
    LastOwner(String),
    /// The member was changed since the caller read it.
    #[error("the member has version {}, the request is based on another one", .0.version)]
    MemberChanged(Box<Member>),
    /// Who asks may not give or take so much.
    #[error("{0}")]
    BeyondCaller(String),
    /// An `Idempotency-Key` that came with another request before.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The domain does not let operators read this table.
    #[error("`{0}` is not a table that can be read")]
    UnknownTable(String),
    /// No such operator.
    #[error("operator `{0}` does not exist")]
    UnknownOperator(String),
    /// The operator's name is taken, perhaps by a revoked token: audit events name operators, so a name is never given twice.
    #[error("operator `{0}` exists already")]
    OperatorTaken(String),
    /// Revoking this token would leave nobody who may do everything in the control plane.
    #[error("operator `{0}` holds the last valid token of an admin; create another one first")]
    LastOperator(String),
    /// The tenant was changed since the caller read it.
    #[error("tenant `{}` was changed at {}, after it was read", .0.slug, .0.updated_at.to_rfc3339())]
    Changed(Box<TenantRow>),
    /// A value that the registry refuses.
    #[error("{detail}")]
    Invalid {
        /// What holds the value, as `NewTenant`, `TenantPatch` and the JSON bodies call it.
        member: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The domain's schema cannot wait under another name and be renamed.
    #[error("schemas cannot be made in advance: a schema's own name is written in {0}, and does not follow a rename")]
    NotRenamable(String),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<tokio_postgres::Error> for ProvisionError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}
