//! The domain that runs on the tenancy crates: companies whose work is done by agents.
//!
//! * [`agent`], [`task`], [`message`], [`activity`], [`session`] and [`schedule`] are the model: values, validation, the status
//!   machines, when a schedule is due. No I/O.
//! * [`store`] holds all SQL; every function takes a `&mut TenantTx`, so there is no way to ask for another tenant's rows.
//! * [`api`] holds the endpoints, one per file; the path of the file is the path of the URL.
//!
//! The binary passes [`MIGRATIONS`] and [`TENANT_TABLES`] to the provisioning code and merges [`router`].

pub mod account;
pub mod activity;
pub mod agent;
pub mod api;
mod checks;
pub mod codes;
pub mod credential;
pub mod cron;
pub mod dependency;
mod error;
pub mod fields;
mod ids;
pub mod keychain;
pub mod message;
mod message_status;
mod page;
mod patch;
mod permissions;
mod place;
pub mod quota;
pub mod sample;
pub mod schedule;
mod scheduler;
pub mod session;
pub mod settings;
mod several;
pub mod store;
pub mod task;
mod task_list;
mod task_status;
mod text_enum;
mod time_order;
mod write_only;

pub use api::bulk::{BulkResult, ItemResult};
pub use api::v1::keys::{ApiKey, CreateApiKey, NewApiKey};
pub use api::v1::me::{Me, OwnKey, OwnLimits, OwnTenant, Whoever};
pub use api::v1::members::{AddMember, Member, MemberRole, UpdateMember};
pub use api::v1::plan::{EffectiveLimit, EffectiveLimits, LimitSource, PlanInForce};
pub use api::v1::usage::{RequestsUsed, StorageUsed, UsageOfPlan};
pub use api::{public_router, router};
pub use checks::{Checks, FieldError, Valid, Validate};
pub use error::{Error, Kind};
pub use fields::{Fields, Record};
pub use ids::{
    ActivityId, AgentId, CredentialId, DependencyId, MessageId, ProviderAccountId, ScheduleId, SessionId, TaskId,
};
pub use keychain::Keychain;
pub use message_status::MessageStatus;
pub use page::{List, Page, Position};
pub use patch::Patch;
pub use permissions::PERMISSIONS;
pub use place::{Key, Order, Place};
pub use scheduler::{Scheduler, SchedulerSettings, Scheduling, Tally};
pub use store::statements;
pub use task_status::TaskStatus;
use tenantry_postgres::migrate::{MigrationSet, Scope};
use tenantry_postgres::{AuditedTable, TenantSchema};
pub use text_enum::UnknownWord;
pub use write_only::WriteOnly;

/// The migrations of a tenant's schema in order: file and SQL, with the pseudo schema.
pub const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_baseline.sql", include_str!("../../../migrations/tenant/0001_baseline.sql")),
    ("0002_platform.sql", include_str!("../../../migrations/tenant/0002_platform.sql")),
    ("0002_platform.down.sql", include_str!("../../../migrations/tenant/0002_platform.down.sql")),
    ("0003_tasks.sql", include_str!("../../../migrations/tenant/0003_tasks.sql")),
    ("0003_tasks.down.sql", include_str!("../../../migrations/tenant/0003_tasks.down.sql")),
    ("0004_messages.sql", include_str!("../../../migrations/tenant/0004_messages.sql")),
    ("0004_messages.down.sql", include_str!("../../../migrations/tenant/0004_messages.down.sql")),
    ("0005_schedules.sql", include_str!("../../../migrations/tenant/0005_schedules.sql")),
    ("0005_schedules.down.sql", include_str!("../../../migrations/tenant/0005_schedules.down.sql")),
    ("0006_auditor.sql", include_str!("../../../migrations/tenant/0006_auditor.sql")),
    ("0006_auditor.down.sql", include_str!("../../../migrations/tenant/0006_auditor.down.sql")),
    ("0007_accounts.sql", include_str!("../../../migrations/tenant/0007_accounts.sql")),
    ("0007_accounts.down.sql", include_str!("../../../migrations/tenant/0007_accounts.down.sql")),
    ("0008_quotas.sql", include_str!("../../../migrations/tenant/0008_quotas.sql")),
    ("0008_quotas.down.sql", include_str!("../../../migrations/tenant/0008_quotas.down.sql")),
    ("0009_outcomes.sql", include_str!("../../../migrations/tenant/0009_outcomes.sql")),
    ("0009_outcomes.down.sql", include_str!("../../../migrations/tenant/0009_outcomes.down.sql")),
];

/// The tables of a tenant's schema, for grants and for whoever must visit them all.
pub const TENANT_TABLES: &[&str] = &[
    "activity_logs",
    "agent_sessions",
    "agents",
    "credential_proxies",
    "events",
    "idempotency_keys",
    "messages",
    "oauth_transactions",
    "provider_accounts",
    "quota_counters",
    "schedules",
    "task_dependencies",
    "tasks",
];

/// Tables whose rows the tenant may add and read, never change.
pub const APPEND_ONLY_TABLES: &[&str] = &["activity_logs"];

/// What operators may read of a company, with a reason: rows without secrets. `0006_auditor.sql` grants the same to the role
/// that reads; a table that is not here is not read.
pub const AUDITED_TABLES: &[AuditedTable] = &[
    AuditedTable { name: "activity_logs", columns: &["id", "agent_id", "task_id", "action", "details", "timestamp"] },
    AuditedTable {
        name: "agent_sessions",
        columns: &["id", "agent_id", "task_id", "status", "tokens_used", "tool_calls", "started_at", "ended_at"],
    },
    AuditedTable {
        name: "agents",
        columns: &[
            "id",
            "name",
            "role",
            "personality_prompt",
            "status",
            "current_task_id",
            "capabilities",
            "tool_permissions",
            "version",
            "created_at",
            "updated_at",
            "deleted_at",
        ],
    },
    AuditedTable {
        name: "credential_proxies",
        columns: &["id", "name", "service", "allowed_agents", "created_at", "rotated_at"],
    },
    AuditedTable {
        name: "messages",
        columns: &[
            "id",
            "from_agent_id",
            "to_agent_id",
            "subject",
            "body",
            "type",
            "status",
            "is_external_draft",
            "external_recipient",
            "approved_by",
            "approved_at",
            "created_at",
            "read_at",
            "deleted_at",
        ],
    },
    AuditedTable {
        name: "provider_accounts",
        columns: &[
            "id",
            "provider",
            "status",
            "owner_key",
            "access_token_expires_at",
            "refresh_token_expires_at",
            "scopes",
            "last_error",
            "last_error_at",
            "last_used_at",
            "created_at",
            "updated_at",
        ],
    },
    AuditedTable {
        name: "schedules",
        columns: &[
            "id",
            "agent_id",
            "name",
            "cron_expression",
            "task_template",
            "enabled",
            "last_run_at",
            "next_run_at",
            "failure_count",
            "deleted_at",
        ],
    },
    AuditedTable { name: "task_dependencies", columns: &["id", "task_id", "depends_on_task_id", "depth"] },
    AuditedTable {
        name: "tasks",
        columns: &[
            "id",
            "agent_id",
            "created_by_id",
            "title",
            "description",
            "status",
            "previous_status",
            "priority",
            "progress_percent",
            "progress_details",
            "result",
            "deadline",
            "started_at",
            "completed_at",
            "error_details",
            "version",
            "retry_count",
            "max_retries",
            "created_at",
            "deleted_at",
            "provider",
            "provider_account_id",
        ],
    },
];

/// What the provisioning code puts into a new tenant's schema.
#[must_use]
pub fn tenant_schema() -> TenantSchema {
    let migrations = MigrationSet::new(Scope::Tenant, MIGRATIONS).expect("the files' names are a set");
    TenantSchema::replaying(migrations, TENANT_TABLES)
        .with_append_only(APPEND_ONLY_TABLES)
        .with_audited(AUDITED_TABLES)
        .with_usage(&store::quotas::MEASURE_QUOTAS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_tables_is_the_migrations_list() {
        let mut created: Vec<&str> = MIGRATIONS
            .iter()
            .flat_map(|(_, sql)| sql.lines())
            .filter_map(|line| line.strip_prefix("CREATE TABLE tenant.")?.strip_suffix(" ("))
            .collect();
        created.sort_unstable();
        assert_eq!(created, TENANT_TABLES);
    }
}
