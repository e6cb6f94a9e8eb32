use std::fmt;

use serde_json::Value;
use tenantry_http::codes::{ErrorCode, INTERNAL_ERROR, INVALID_CURSOR, INVALID_QUERY, VERSION_CONFLICT};
use tenantry_http::{Early, Problem};
use tenantry_postgres::DbError;
use tenantry_secrets::SecretsError;
use uuid::Uuid;

use crate::dependency::{MAX_DEPENDENCIES, MAX_DEPTH, NamedTask};
use crate::keychain::KeychainError;
use crate::message::MessageType;
use crate::session::SessionStatus;
use crate::{FieldError, MessageStatus, TaskStatus, codes, keychain};

/// What kind of record an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An agent.
    Agent,
    /// A task.
    Task,
    /// A provider account.
    ProviderAccount,
    /// A credential.
    Credential,
    /// A message.
    Message,
    /// An entry of the activity log.
    Activity,
    /// A session.
    Session,
    /// A schedule.
    Schedule,
}

impl Kind {
    const fn not_found(self) -> &'static ErrorCode {
        match self {
            Self::Agent => &codes::AGENT_NOT_FOUND,
            Self::Task => &codes::TASK_NOT_FOUND,
            Self::ProviderAccount => &keychain::codes::PROVIDER_ACCOUNT_NOT_FOUND,
            Self::Credential => &keychain::codes::CREDENTIAL_NOT_FOUND,
            Self::Message => &codes::MESSAGE_NOT_FOUND,
            Self::Activity => &codes::ACTIVITY_NOT_FOUND,
            Self::Session => &codes::SESSION_NOT_FOUND,
            Self::Schedule => &codes::SCHEDULE_NOT_FOUND,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "agent",
            Self::Task => "task",
            Self::ProviderAccount => "provider account",
            Self::Credential => "credential",
            Self::Message => "message",
            Self::Activity => "activity",
            Self::Session => "session",
            Self::Schedule => "schedule",
        })
    }
}

/// Why a request of this domain was not done. The text is for the person who sent it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No live row has this id in this tenant.
    #[error("{kind} `{id}` does not exist")]
    NotFound {
        /// What it is.
        kind: Kind,
        /// As asked for.
        id: Uuid,
    },
    /// The row has changed since the version that the request is based on.
    #[error("the {kind} has version {actual}, the request is based on version {expected}")]
    VersionConflict {
        /// What it is.
        kind: Kind,
        /// The version in the request.
        expected: i64,
        /// The row's version.
        actual: i64,
        /// The row as it is now.
        current: Box<Value>,
    },
    /// Another live agent has the name.
    #[error("a live agent is called `{0}` already")]
    AgentNameTaken(String),
    /// A body names an agent that does not exist or is deleted.
    #[error("agent `{id}` does not exist or is deleted")]
    UnknownAgent {
        /// The member that names it.
        pointer: &'static str,
        /// As given.
        id: Uuid,
    },
    /// A body names a task that does not exist, is deleted, or is another agent's.
    #[error("task `{id}` does not exist, is deleted, or is not this agent's")]
    UnknownTask {
        /// The member that names it.
        pointer: &'static str,
        /// As given.
        id: Uuid,
    },
    /// A body names a message that is not where it should be.
    #[error("message `{id}` does not exist, is deleted, or is not of this thread")]
    UnknownMessage {
        /// The member that names it.
        pointer: &'static str,
        /// As given.
        id: Uuid,
    },
    /// A body names a provider account that does not exist.
    #[error("provider account `{0}` does not exist")]
    UnknownProviderAccount(Uuid),
    /// As [`Error::UnknownProviderAccount`], deeper in a body.
    #[error("provider account `{id}` does not exist")]
    UnknownAccountIn {
        /// The member that names it.
        pointer: &'static str,
        /// As given.
        id: Uuid,
    },
    /// The status machine has no such step.
    #[error("a task that is `{from}` cannot become `{to}`")]
    IllegalTransition {
        /// The present status.
        from: TaskStatus,
        /// The status asked for.
        to: TaskStatus,
        /// What it may become instead.
        allowed: &'static [TaskStatus],
        /// Retries done and retries permitted.
        retries: (i32, i32),
    },
    /// A body names a task to wait for that does not exist or is deleted.
    #[error("task `{id}` does not exist or is deleted")]
    UnknownDependency {
        /// The member that names it.
        pointer: String,
        /// As given.
        id: Uuid,
    },
    /// The task does not wait for the other.
    #[error("task `{task}` does not depend on task `{other}`")]
    NoDependency {
        /// The task.
        task: Uuid,
        /// The one it is said to wait for.
        other: Uuid,
    },
    /// The dependency would close a cycle: from the task back to itself.
    #[error("the dependency would close a cycle of {} task(s)", .0.len().saturating_sub(1))]
    Cycle(Vec<NamedTask>),
    /// The task cannot be started: these are not completed.
    #[error("the task waits for {} other task(s)", .0.len())]
    DependenciesNotDone(Vec<NamedTask>),
    /// The task cannot begin to wait.
    #[error("a task that is `{0}` cannot begin to wait for another")]
    UnderWay(TaskStatus),
    /// More dependencies than a task may have, or more in a row.
    #[error("a task may depend on {MAX_DEPENDENCIES} others, and {MAX_DEPTH} may wait for one another in a row")]
    TooManyDependencies,
    /// An agent that is not to be given work asks for some.
    #[error("agent `{0}` is offline")]
    AgentOffline(Uuid),
    /// The life of a message has no such step.
    #[error("a message that is `{from}` cannot become `{to}`")]
    IllegalMessageStep {
        /// The present status.
        from: MessageStatus,
        /// The status asked for.
        to: MessageStatus,
        /// What it may become instead.
        allowed: &'static [MessageStatus],
    },
    /// A decision on what is no draft.
    #[error("a message of type `{kind}` needs no approval")]
    NotADraft {
        /// What it is.
        kind: MessageType,
    },
    /// A second decision on a draft.
    #[error("the draft is `{status}` already")]
    DraftDecided {
        /// What was decided.
        status: MessageStatus,
        /// The draft as it is now.
        current: Box<Value>,
    },
    /// A change of what must stay as it was written.
    #[error("{}", why_sealed(*.status, *.draft))]
    MessageSealed {
        /// The present status.
        status: MessageStatus,
        /// Whether it is a draft at all.
        draft: bool,
    },
    /// A change of a session that has ended.
    #[error("the session is `{status}`")]
    SessionEnded {
        /// How it ended.
        status: SessionStatus,
        /// The session as it is now.
        current: Box<Value>,
    },
    /// A report that a session cannot hold.
    #[error("a session holds at most {limit} {what}")]
    SessionFull {
        /// The member that is too much.
        pointer: &'static str,
        /// What there is too much of.
        what: &'static str,
        /// How much it can hold.
        limit: usize,
    },
    /// Members of the body break their rules.
    #[error("the request has invalid members")]
    Invalid(Vec<FieldError>),
    /// A query parameter breaks its rules.
    #[error("{detail}")]
    InvalidQuery {
        /// The parameter.
        parameter: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A cursor that this list did not give out in this order.
    #[error("the cursor was not given out by this list in this order; start again without one")]
    InvalidCursor,
    /// A stored value that this version cannot read. The person gets no details.
    #[error("column `{column}` of {kind} `{id}` holds a value that cannot be read: {reason}")]
    Corrupt {
        /// What it is.
        kind: Kind,
        /// The row.
        id: Uuid,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Accounts and credentials.
    #[error(transparent)]
    Keychain(#[from] KeychainError),
    /// No credential has this name.
    #[error("credential `{0}` does not exist")]
    UnknownCredential(String),
    /// Sealing or opening a secret.
    #[error(transparent)]
    Secrets(SecretsError),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<SecretsError> for Error {
    fn from(error: SecretsError) -> Self {
        match error {
            SecretsError::Database(error) => Self::Database(error),
            other => Self::Secrets(other),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let problem = |code: &ErrorCode| Self::of(code).detail(text.clone());
        match error {
            Error::NotFound { kind, .. } => problem(kind.not_found()),
            Error::VersionConflict { current, .. } => problem(&VERSION_CONFLICT).with("current", current),
            Error::AgentNameTaken(_) => problem(&codes::AGENT_NAME_TAKEN).pointer("/name", &text),
            Error::UnknownAgent { pointer, .. } => problem(&codes::UNKNOWN_AGENT).pointer(pointer, &text),
            Error::UnknownTask { pointer, .. } => problem(&codes::UNKNOWN_TASK).pointer(pointer, &text),
            Error::UnknownMessage { pointer, .. } => problem(&codes::UNKNOWN_MESSAGE).pointer(pointer, &text),
            Error::UnknownProviderAccount(_) => {
                problem(&codes::UNKNOWN_PROVIDER_ACCOUNT).pointer("/provider_account_id", &text)
            }
            Error::UnknownAccountIn { pointer, .. } => {
                problem(&codes::UNKNOWN_PROVIDER_ACCOUNT).pointer(pointer, &text)
            }
            Error::IllegalTransition { from, to, allowed, retries } => Self::of(&codes::ILLEGAL_TRANSITION)
                .detail(format!("{text}; {}", what_is_allowed(from, allowed, retries)))
                .with("from", from)
                .with("to", to)
                .with("allowed", allowed),
            Error::UnknownDependency { pointer, .. } => problem(&codes::UNKNOWN_TASK).pointer(&pointer, &text),
            Error::NoDependency { .. } => problem(&codes::DEPENDENCY_NOT_FOUND),
            Error::Cycle(cycle) => problem(&codes::DEPENDENCY_CYCLE).with("cycle", cycle),
            Error::DependenciesNotDone(open) => problem(&codes::DEPENDENCIES_NOT_DONE).with("dependencies", open),
            Error::UnderWay(_) => problem(&codes::TASK_UNDER_WAY),
            Error::TooManyDependencies => problem(&codes::TOO_MANY_DEPENDENCIES),
            Error::AgentOffline(_) => problem(&codes::AGENT_OFFLINE).pointer("/agent_id", &text),
            Error::IllegalMessageStep { from, to, allowed } => {
                problem(&codes::ILLEGAL_TRANSITION).with("from", from).with("to", to).with("allowed", allowed)
            }
            Error::NotADraft { .. } => problem(&codes::NOT_A_DRAFT),
            Error::DraftDecided { current, .. } => problem(&codes::DRAFT_DECIDED).with("current", current),
            Error::MessageSealed { .. } => problem(&codes::MESSAGE_SEALED),
            Error::SessionEnded { current, .. } => problem(&codes::SESSION_ENDED).with("current", current),
            Error::SessionFull { pointer, .. } => problem(&codes::SESSION_FULL).pointer(pointer, &text),
            Error::Invalid(errors) => errors
                .iter()
                .fold(problem(&codes::VALIDATION_FAILED), |problem, e| problem.pointer(&e.pointer, &e.detail)),
            Error::InvalidQuery { parameter, .. } => problem(&INVALID_QUERY).parameter(parameter, &text),
            Error::InvalidCursor => problem(&INVALID_CURSOR).parameter("cursor", &text),
            Error::Corrupt { .. } => {
                tracing::error!(error = %text, "a stored row cannot be read");
                Self::of(&INTERNAL_ERROR)
            }
            Error::Keychain(error) => error.into(),
            Error::UnknownCredential(_) => problem(&keychain::codes::CREDENTIAL_NOT_FOUND),
            Error::Secrets(error) if error.is_temporary() => {
                tracing::error!(target: "tenantry::secrets", error = %text, "a secret was not sealed or opened");
                Self::of(&keychain::codes::SECRETS_UNAVAILABLE)
                    .detail("the server cannot reach the keys of secrets at the moment")
            }
            Error::Secrets(_) => {
                tracing::error!(target: "tenantry::secrets", error = %text, "a secret was not sealed or opened");
                Self::of(&INTERNAL_ERROR)
            }
            Error::Database(error) => error.into(),
        }
    }
}

impl From<Error> for Early {
    fn from(error: Error) -> Self {
        Self::Problem(error.into())
    }
}

fn why_sealed(status: MessageStatus, draft: bool) -> String {
    if draft {
        format!("the draft is `{status}` and stays as it is")
    } else {
        "what was sent stays as it was written".to_owned()
    }
}

fn what_is_allowed(from: TaskStatus, allowed: &[TaskStatus], (done, permitted): (i32, i32)) -> String {
    if !allowed.is_empty() {
        let words: Vec<String> = allowed.iter().map(|status| format!("`{status}`")).collect();
        format!("allowed: {}", words.join(", "))
    } else if from == TaskStatus::Failed {
        format!("its retries are used up ({done} of {permitted})")
    } else {
        format!("`{from}` is final")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(error: Error) -> Value {
        json!(Problem::from(error).body(None, None))
    }

    #[test]
    fn an_illegal_transition_names_what_is_allowed() {
        let error = |from: TaskStatus, allowed| Error::IllegalTransition {
            from,
            to: TaskStatus::Completed,
            allowed,
            retries: (3, 3),
        };
        let pending = body(error(TaskStatus::Pending, TaskStatus::Pending.successors()));
        assert_eq!(pending["status"], 409);
        assert_eq!(pending["allowed"], json!(["in_progress", "blocked", "cancelled"]));
        assert_eq!(
            pending["detail"],
            "a task that is `pending` cannot become `completed`; allowed: `in_progress`, `blocked`, `cancelled`"
        );
        let failed = body(error(TaskStatus::Failed, &[]));
        assert!(failed["detail"].as_str().unwrap().ends_with("its retries are used up (3 of 3)"), "{failed}");
    }

    #[test]
    fn a_conflict_carries_the_current_record() {
        let current = Box::new(json!({"version": 3}));
        let conflict = body(Error::VersionConflict { kind: Kind::Agent, expected: 2, actual: 3, current });
        assert_eq!((&conflict["code"], &conflict["current"]["version"]), (&json!("version_conflict"), &json!(3)));
    }

    #[test]
    fn what_is_stored_never_shows_in_an_internal_error() {
        let (kind, id) = (Kind::Task, Uuid::nil());
        let corrupt = Error::Corrupt { kind, id, column: "status", reason: "secret".to_owned() };
        assert!(!body(corrupt).to_string().contains("secret"));
    }
}
