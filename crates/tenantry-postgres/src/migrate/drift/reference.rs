//! What a schema should be: made anew, read, and taken back.

use tenantry_core::{RoleName, SchemaName, TenantId, quote_identifier};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::catalog::{self, Lines, Place};
use crate::clients::typed;
use crate::connect::Logins;
use crate::error::DbError;
use crate::provision::{Provisioner, TenantSchema};
use crate::statement::{render, without_word};

/// How a reference is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum From {
    /// As a new tenant is: from the baseline.
    Baseline,
    /// As an old tenant became: by the migrations from the first to this one.
    Replay(i32),
}

/// The lines of a tenant that was made a moment ago and is gone again: nothing of it is committed, nobody else sees it.
pub(super) async fn lines(
    client: &Client,
    provisioner: &Provisioner,
    from: From,
    dedicated: bool,
) -> Result<Lines, DbError> {
    client
        .batch_execute(&format!(
            "{}; BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '60s'",
            catalog::SESSION
        ))
        .await?;
    let made = make(client, provisioner, from, dedicated).await;
    // The connection is dropped after an error, which rolls back as well.
    let lines = made?;
    client.batch_execute("ROLLBACK").await?;
    Ok(lines)
}

async fn make(client: &Client, provisioner: &Provisioner, from: From, dedicated: bool) -> Result<Lines, DbError> {
    let id = TenantId::generate();
    let hex = id.as_uuid().simple().to_string();
    let name = format!("tenant_reference_{hex}");
    let schema = SchemaName::from_registry(&name).map_err(|_| DbError::Misuse("a reference has a schema's name"))?;
    let role = RoleName::for_tenant(id).as_str().to_owned();
    let cell = if dedicated { role.clone() } else { format!("tenantry_reference_{hex}") };
    let place = Place { schema: name, role, cell };
    if !dedicated {
        client.batch_execute(&format!("CREATE ROLE {} NOLOGIN NOINHERIT", quote_identifier(&place.cell))).await?;
    }
    match from {
        From::Baseline => {
            let ddl = provisioner.scratch_ddl(id, &schema, &place.cell, dedicated, provisioner.tables());
            client.batch_execute(&ddl).await?;
        }
        From::Replay(version) => {
            let empty = TenantSchema::new("", &[]);
            let ddl = provisioner.scratch_ddl(id, &schema, &place.cell, dedicated, &empty);
            client.batch_execute(&ddl).await?;
            replay(client, provisioner.tables(), version, &schema, id).await?;
        }
    }
    catalog::lines(client, &place).await
}

/// Runs the migrations as the fleet runs them. The first comes with the grants that provisioning gives; later ones
/// bring their own.
async fn replay(
    client: &Client,
    tables: &TenantSchema,
    version: i32,
    schema: &SchemaName,
    id: TenantId,
) -> Result<(), DbError> {
    let role = RoleName::for_tenant(id);
    for migration in tables.migrations.all().iter().take_while(|migration| migration.version <= version) {
        // Indexes of empty tables need not be built beside anybody's writes, and in a transaction they cannot be.
        let sql = render(&without_word(&migration.up, "CONCURRENTLY"), schema, &role);
        client
            .batch_execute(&format!(
                "SET LOCAL ROLE {}; SET LOCAL search_path = pg_catalog, pg_temp; {sql}\n; RESET ROLE",
                Logins::OWNER
            ))
            .await?;
        if migration.version > 1 {
            continue;
        }
        let made = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')";
        for row in client.query_typed(made, &[typed(&schema.as_str(), Type::TEXT)]).await? {
            let table: String = row.get(0);
            if !tables.tables.contains(&table) {
                continue;
            }
            let rights =
                if tables.append_only.contains(&table) { "SELECT, INSERT" } else { "SELECT, INSERT, UPDATE, DELETE" };
            client
                .batch_execute(&format!(
                    "SET LOCAL ROLE {}; GRANT {rights} ON {}.{} TO {}; RESET ROLE",
                    Logins::OWNER,
                    schema.quoted(),
                    quote_identifier(&table),
                    role.quoted()
                ))
                .await?;
        }
    }
    Ok(())
}
