use chrono::{TimeDelta, Utc};
use serde_json::json;
use tenantry_core::{RoleName, SchemaName, TenantStatus, quote_identifier};
use tokio_postgres::types::Type;

use super::ddl::CELL_LOCK;
use super::{Provisioner, TenantRow, audit, list};
use crate::clients::typed;
use crate::connect::Logins;
use crate::error::ProvisionError;
use crate::once;
use crate::registry::Actor;

impl Provisioner {
    /// Removes a deleted tenant for good: schema, role, analytics rows and registry row, in one transaction of its own (a schema holds many
    /// locks). The audit trail stays.
    ///
    /// # Errors
    /// [`ProvisionError::NotPurgeable`] unless the tenant is deleted and its grace period is over,
    /// [`ProvisionError::NotFound`], [`ProvisionError::Database`].
    pub async fn purge(&self, slug: &str, grace: TimeDelta, actor: &Actor) -> Result<TenantRow, ProvisionError> {
        let client = self.migrator.get().await?;
        let begin = "BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '60s'";
        if let Some(done) = once::start(&client, begin, self.once.as_deref()).await? {
            client.give_back();
            return Ok(done);
        }
        client
            .query_typed("SELECT 1 FROM public.tenants WHERE slug = $1 FOR UPDATE", &[typed(&slug, Type::TEXT)])
            .await?;
        let tenant = list::by_slug(&client, slug).await?;
        let refuse = |reason: String| ProvisionError::NotPurgeable { slug: slug.to_owned(), reason };
        if tenant.status != TenantStatus::Deleted {
            return Err(refuse(format!("it is {}, not deleted", tenant.status)));
        }
        let end = tenant.deleted_at.unwrap_or(tenant.updated_at) + grace;
        if end > Utc::now() {
            return Err(refuse(format!("its grace period lasts until {}", end.to_rfc3339())));
        }
        let schema = SchemaName::from_registry(&tenant.schema_name)?;
        let role = RoleName::for_tenant(tenant.id).quoted();
        let dedicated: bool = client
            .query_typed("SELECT dedicated FROM public.cells WHERE id = $1", &[typed(&tenant.cell, Type::INT4)])
            .await?
            .first()
            .is_some_and(|r| r.get(0));
        client
            .batch_execute(&format!(
                "SET LOCAL ROLE {}; DROP SCHEMA {} CASCADE; RESET ROLE",
                Logins::OWNER,
                schema.quoted()
            ))
            .await?;
        client
            .batch_execute(&format!(
                "SET LOCAL ROLE {owner}; \
                 SELECT analytics.forget('{id}'); \
                 DELETE FROM public.tenants WHERE id = '{id}'; RESET ROLE",
                owner = Logins::OWNER,
                id = tenant.id,
            ))
            .await?;
        if dedicated {
            // PostgreSQL refuses two changes of a database's rights at once.
            client
                .batch_execute(&format!(
                    "SELECT pg_advisory_xact_lock({CELL_LOCK}); DELETE FROM public.cells WHERE id = {}; SET LOCAL ROLE {}; REVOKE ALL ON DATABASE {} FROM {role}; RESET ROLE",
                    tenant.cell,
                    Logins::OWNER,
                    quote_identifier(&self.database)
                ))
                .await?;
        } else {
            client
                .execute_typed(
                    "UPDATE public.cells SET tenants = tenants - 1 WHERE id = $1",
                    &[typed(&tenant.cell, Type::INT4)],
                )
                .await?;
        }
        client.batch_execute(&format!("DROP ROLE {role}")).await?;
        let target = format!("tenant/{}", tenant.id);
        audit(&client, Some(*tenant.id.as_uuid()), actor, "tenant.purge", &target, json!({ "slug": slug })).await?;
        self.finish(client, &tenant).await?;
        Ok(tenant)
    }
}
