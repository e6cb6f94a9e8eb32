//! What operators read of a tenant's own rows: by a role that can only read, and never without an entry in the audit trail.

use serde_json::{Value, json};
use tenantry_core::{SchemaName, quote_identifier};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Provisioner, audit, list};
use crate::clients::{Lent, typed};
use crate::error::{DbError, ProvisionError};
use crate::once;
use crate::registry::Actor;

/// What an operator wants to read, and why.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// One of the domain's [`AuditedTable`](super::AuditedTable)s.
    pub table: String,
    /// Only the row with this id.
    pub id: Option<Uuid>,
    /// Only rows with ids after this one.
    pub after: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
    /// Why; the tenant finds it in its audit trail.
    pub reason: String,
}

/// The rows read, in the order of their ids.
#[derive(Debug, Clone)]
pub struct ReadRows {
    /// The columns, none of which holds a secret.
    pub columns: Vec<String>,
    /// A JSON object each.
    pub rows: Vec<Value>,
}

const REASON: std::ops::RangeInclusive<usize> = 10..=500;

impl Provisioner {
    /// The tables of a tenant that operators may read.
    pub fn readable_tables(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.schema.audited.iter().map(|table| table.name)
    }

    /// Reads rows of one of a tenant's tables, as a role that can read only and sees no secret, whatever the tenant's status is. The
    /// event `operator.read` is in the tenant's audit trail before anybody gets the rows: without the one there is not the other.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::UnknownTable`], [`ProvisionError::Invalid`] without a reason,
    /// [`ProvisionError::Database`].
    pub async fn read(&self, slug: &str, request: &ReadRequest, actor: &Actor) -> Result<ReadRows, ProvisionError> {
        Self::check_reason(&request.reason)?;
        let table = self.schema.audited.iter().find(|table| table.name == request.table);
        let table = table.ok_or_else(|| ProvisionError::UnknownTable(super::start_of(&request.table)))?;
        let tenant = self.show(slug).await?;
        let schema = SchemaName::from_registry(&tenant.schema_name)?;
        let columns: Vec<String> = table.columns.iter().map(|column| quote_identifier(column)).collect();
        // The names are the domain's and the registry's; what the operator sent is in the parameters.
        let sql = format!(
            "SELECT to_jsonb(r) FROM (SELECT {columns} FROM {schema}.{table} \
             WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3) r",
            columns = columns.join(", "),
            schema = schema.quoted(),
            table = quote_identifier(table.name),
        );
        let params =
            [typed(&request.id, Type::UUID), typed(&request.after, Type::UUID), typed(&request.limit, Type::INT8)];
        let reader = self.auditor.get().await?;
        reader
            .batch_execute("BEGIN READ ONLY; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '15s'")
            .await?;
        let rows = reader.query_typed(&sql, &params).await.map_err(DbError::from);
        let rows: Vec<Value> = match rows {
            // renamed or purged since it was looked up
            Err(error) if error.is_unprepared() && self.is_gone(slug, &tenant.schema_name).await? => {
                return Err(ProvisionError::NotFound(slug.to_owned()));
            }
            // the tenant's schema is older than the grants
            Err(error) if error.is_unprepared() && tenant.schema_version < self.schema.version => {
                return Err(DbError::SchemaBehind { at: tenant.schema_version, needed: self.schema.version }.into());
            }
            other => other?.iter().map(|row| row.get(0)).collect(),
        };
        reader.batch_execute("COMMIT").await?;
        reader.give_back();
        let client = self.control.get().await?;
        client.batch_execute(once::BEGIN).await?;
        let again = list::by_slug(&client, slug).await?;
        if again.id != tenant.id {
            return Err(ProvisionError::NotFound(slug.to_owned()));
        }
        let details = json!({
            "table": table.name, "reason": request.reason, "id": request.id, "after": request.after, "rows": rows.len(),
        });
        let target = format!("table/{}", table.name);
        audit(&client, Some(*tenant.id.as_uuid()), actor, "operator.read", &target, details).await?;
        commit(client).await?;
        Ok(ReadRows { columns: table.columns.iter().map(|column| (*column).to_owned()).collect(), rows })
    }

    /// Whether a text says why an operator reads what is a tenant's: 10 to 500 characters.
    ///
    /// # Errors
    /// [`ProvisionError::Invalid`].
    pub fn check_reason(reason: &str) -> Result<(), ProvisionError> {
        let length = reason.trim().chars().count();
        if REASON.contains(&length) && !reason.chars().any(char::is_control) {
            return Ok(());
        }
        let detail = format!(
            "say why in {} to {} characters, such as the number of the ticket; the tenant finds it in its audit trail",
            REASON.start(),
            REASON.end()
        );
        Err(ProvisionError::Invalid { member: "reason", detail })
    }

    /// Writes into a tenant's audit trail that an operator reads something of it, and why. For what a domain shows of
    /// its own tables: call it before the answer is given.
    ///
    /// # Errors
    /// [`ProvisionError::NotFound`], [`ProvisionError::Invalid`] without a reason, [`ProvisionError::Database`].
    pub async fn note_read(&self, slug: &str, target: &str, reason: &str, actor: &Actor) -> Result<(), ProvisionError> {
        Self::check_reason(reason)?;
        let client = self.control.get().await?;
        client.batch_execute(once::BEGIN).await?;
        let tenant = list::by_slug(&client, slug).await?;
        let details = json!({ "reason": reason });
        audit(&client, Some(*tenant.id.as_uuid()), actor, "operator.read", target, details).await?;
        Ok(commit(client).await?)
    }

    async fn is_gone(&self, slug: &str, schema: &str) -> Result<bool, ProvisionError> {
        match self.show(slug).await {
            Err(ProvisionError::NotFound(_)) => Ok(true),
            Ok(tenant) => Ok(tenant.schema_name != schema),
            Err(error) => Err(error),
        }
    }
}

async fn commit(client: Lent) -> Result<(), DbError> {
    client.batch_execute("COMMIT").await?;
    client.give_back();
    Ok(())
}
