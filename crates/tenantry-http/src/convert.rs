//! The two faces of an error: the operator's goes to the log here, once; the caller's is the problem.

use std::time::Duration;

use tenantry_core::TenantStatus;
use tenantry_postgres::{AccessError, DbError, ProvisionError};

use crate::codes;
use crate::problem::Problem;

/// What a caller is told to wait when the server itself expects to be well again soon.
const SOON: Duration = Duration::from_secs(1);
/// The same while a fleet is migrated.
const MIGRATED: Duration = Duration::from_secs(10);

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::InvalidCredential => {
                Self::of(&codes::INVALID_CREDENTIAL).detail("the credential is not valid")
            }
            AccessError::UnknownTenant { slug } => Self::of(&codes::INVALID_TENANT)
                .detail("the tenant that the credential names does not exist")
                .with("tenantSlug", slug),
            AccessError::Inactive { slug, status } => {
                let detail = match status {
                    TenantStatus::Suspended => "the tenant is suspended",
                    TenantStatus::Deleted => "the tenant is deleted",
                    TenantStatus::Active => "the tenant is not served",
                };
                Self::of(&codes::TENANT_INACTIVE).detail(detail).with("tenantSlug", slug)
            }
            AccessError::NotAMember { slug } => Self::of(&codes::NOT_A_MEMBER)
                .detail("the token's subject is no member of the tenant")
                .with("tenantSlug", slug),
            // whether the other tenant exists is not said
            AccessError::Mismatch { presented } => Self::of(&codes::TENANT_MISMATCH)
                .detail("the credential is not for the tenant that the request names")
                .with("tenantSlug", presented),
            AccessError::SchemaBehind { slug, at, needed } => {
                tracing::warn!(target: "tenantry::access", tenant = slug, at, needed, "refused: the tenant's schema is not migrated yet");
                Self::of(&codes::TENANT_SCHEMA_BEHIND)
                    .detail("the tenant's data is being brought to a newer version")
                    .retry_after(MIGRATED)
                    .with("tenantSlug", slug)
            }
            AccessError::Stale(reason) => {
                tracing::error!(target: "tenantry::access", reason, "refused: the registry cannot be read");
                Self::of(&codes::REGISTRY_UNAVAILABLE)
                    .detail("the server cannot read the registry at the moment")
                    .retry_after(SOON)
            }
        }
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        let problem =
            match &error {
                DbError::Exhausted { waited, .. } => Self::of(&codes::POOL_EXHAUSTED)
                    .detail(format!("no database connection became free within {} ms", waited.as_millis()))
                    .retry_after(SOON),
                DbError::Timeout(_) => Self::of(&codes::QUERY_TIMEOUT)
                    .detail("a statement ran past the tenant's time limit and was stopped"),
                DbError::LockTimeout(_) => {
                    Self::of(&codes::LOCK_TIMEOUT).detail("another transaction holds the record").retry_after(SOON)
                }
                // that our own login is refused is the operator's business, and the log's
                DbError::Unavailable(_) | DbError::Login(_) => Self::of(&codes::DATABASE_UNAVAILABLE)
                    .detail("the database cannot be reached at the moment")
                    .retry_after(SOON),
                DbError::ContextExpired => Self::of(&codes::TENANT_INACTIVE)
                    .detail("the tenant was suspended or deleted while the request ran"),
                DbError::SchemaBehind { .. } => Self::of(&codes::TENANT_SCHEMA_BEHIND)
                    .detail("the tenant's data is being brought to another version")
                    .retry_after(MIGRATED),
                DbError::Refused(_) => Self::of(&codes::SCOPE_REFUSED),
                _ => Self::of(&codes::INTERNAL_ERROR),
            };
        let (code, sqlstate, error) = (problem.code(), error.sqlstate(), &error as &dyn std::error::Error);
        if problem.status().as_u16() == 500 {
            tracing::error!(target: "tenantry::database", code, sqlstate, error, "a statement failed");
        } else {
            tracing::warn!(target: "tenantry::database", code, sqlstate, error, "a statement was not served");
        }
        problem
    }
}

impl From<ProvisionError> for Problem {
    fn from(error: ProvisionError) -> Self {
        let code = match &error {
            ProvisionError::SlugTaken(_) => &codes::TENANT_EXISTS,
            ProvisionError::DomainTaken(_) => &codes::DOMAIN_TAKEN,
            ProvisionError::NotFound(_) => &codes::TENANT_NOT_FOUND,
            ProvisionError::UnknownKey(_) => &codes::KEY_NOT_FOUND,
            ProvisionError::UnknownOperator(_) => &codes::OPERATOR_NOT_FOUND,
            ProvisionError::OperatorTaken(_) => &codes::OPERATOR_EXISTS,
            ProvisionError::LastOperator(_) => &codes::LAST_OPERATOR,
            ProvisionError::Changed(_) => &codes::VERSION_CONFLICT,
            ProvisionError::Transition { .. } => &codes::INVALID_TRANSITION,
            ProvisionError::NotPurgeable { .. } => &codes::NOT_PURGEABLE,
            ProvisionError::PlanNotFound(_) => &codes::PLAN_NOT_FOUND,
            ProvisionError::PlanExists(_) => &codes::PLAN_EXISTS,
            ProvisionError::PlanInUse(_) => &codes::PLAN_IN_USE,
            ProvisionError::UnknownMember(_) => &codes::MEMBER_NOT_FOUND,
            ProvisionError::MemberTaken(_) => &codes::MEMBER_EXISTS,
            ProvisionError::LastOwner(_) => &codes::LAST_OWNER,
            ProvisionError::BeyondCaller(_) => &codes::PERMISSION_DENIED,
            ProvisionError::KeyReused => &codes::IDEMPOTENCY_KEY_REUSED,
            ProvisionError::PlanChanged(_) | ProvisionError::KeyChanged(_) | ProvisionError::MemberChanged(_) => {
                &codes::VERSION_CONFLICT
            }
            ProvisionError::Name(_)
            | ProvisionError::UnknownPlan(_)
            | ProvisionError::UnknownTable(_)
            | ProvisionError::Invalid { .. } => &codes::VALIDATION_FAILED,
            ProvisionError::NotRenamable(_) | ProvisionError::Database(_) => &codes::INTERNAL_ERROR,
        };
        let member = match &error {
            ProvisionError::Name(_) | ProvisionError::SlugTaken(_) => Some("/slug"),
            ProvisionError::DomainTaken(_) => Some("/allowed_domains"),
            ProvisionError::UnknownPlan(_) => Some("/plan_tier"),
            ProvisionError::OperatorTaken(_) => Some("/name"),
            ProvisionError::PlanExists(_) => Some("/tier"),
            ProvisionError::MemberTaken(_) => Some("/subject"),
            ProvisionError::UnknownTable(_) => Some("/table"),
            _ => None,
        };
        let text = error.to_string();
        match (error, member) {
            (ProvisionError::Database(inner), _) => inner.into(),
            (ProvisionError::Changed(current), _) => Self::of(code).detail(text).with("current", current),
            (ProvisionError::PlanChanged(current), _) => Self::of(code).detail(text).with("current", current),
            (ProvisionError::MemberChanged(current), _) => Self::of(code).detail(text).with("current", current),
            (ProvisionError::Invalid { member, detail }, _) => {
                Self::of(code).pointer(&format!("/{member}"), &detail).detail(detail)
            }
            // the text of all others is made for people and names what they sent
            (_, Some(pointer)) => Self::of(code).pointer(pointer, &text).detail(text),
            (_, None) => Self::of(code).detail(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use tenantry_postgres::Exhausted;

    use super::*;

    fn face(problem: &Problem) -> (u16, &'static str) {
        (problem.status().as_u16(), problem.code())
    }

    #[test]
    fn access_errors_have_the_reviews_statuses() {
        let slug = || "acme".to_owned();
        let cases = [
            (AccessError::InvalidCredential, (401, "invalid_credential")),
            (AccessError::UnknownTenant { slug: slug() }, (403, "invalid_tenant")),
            (AccessError::Inactive { slug: slug(), status: TenantStatus::Suspended }, (403, "tenant_inactive")),
            (AccessError::Mismatch { presented: slug() }, (403, "tenant_mismatch")),
            (AccessError::SchemaBehind { slug: slug(), at: 1, needed: 2 }, (503, "tenant_schema_behind")),
            (AccessError::Stale("listener".into()), (503, "registry_unavailable")),
        ];
        for (error, expected) in cases {
            assert_eq!(face(&error.into()), expected);
        }
    }

    #[test]
    fn a_foreign_tenants_existence_is_not_told() {
        let body = Problem::from(AccessError::Mismatch { presented: "globex".into() }).body(None, None);
        assert_eq!(body.error, "Invalid or inactive tenant");
        assert_eq!(body.extensions["tenantSlug"], "globex");
        assert!(!body.message.contains("exist"));
    }

    #[test]
    fn a_refused_value_is_pointed_at() {
        let invalid = ProvisionError::Invalid { member: "admin_email", detail: "`x` is not an e-mail address".into() };
        let cases = [
            (ProvisionError::SlugTaken("acme".into()), (409, "tenant_exists"), "/slug"),
            (ProvisionError::UnknownPlan("gold".into()), (422, "validation_failed"), "/plan_tier"),
            (ProvisionError::DomainTaken("a.b".into()), (409, "domain_taken"), "/allowed_domains"),
            (invalid, (422, "validation_failed"), "/admin_email"),
        ];
        for (error, expected, pointer) in cases {
            let problem = Problem::from(error);
            assert_eq!(face(&problem), expected);
            assert_eq!(problem.body(None, None).extensions["errors"][0]["pointer"], pointer);
        }
        assert_eq!(face(&ProvisionError::LastOperator("root".into()).into()), (409, "last_operator"));
    }

    #[test]
    fn database_errors_keep_their_details() {
        let waited = Duration::from_millis(1500);
        let busy = Problem::from(DbError::Exhausted { limit: Exhausted::Cell, waited });
        assert_eq!(face(&busy), (503, "pool_exhausted"));
        let down = Problem::from(DbError::Unavailable("password for tnt_secret wrong".into()));
        assert_eq!(face(&down), (503, "database_unavailable"));
        assert!(!down.body(None, None).message.contains("secret"));
        assert_eq!(face(&DbError::ContextExpired.into()), (403, "tenant_inactive"));
        assert_eq!(face(&DbError::Misuse("two statements").into()), (500, "internal_error"));
    }
}
