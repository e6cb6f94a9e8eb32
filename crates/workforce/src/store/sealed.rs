//! The columns that hold sealed values, for whoever must visit them all: after a rotation of a tenant's data key they are
//! sealed anew.

use tenantry_postgres::{Row, TenantContext, TenantDb, TenantTx, statements};
use tenantry_secrets::{Place, Secrets, prefix};
use uuid::Uuid;

use super::column;
use crate::Error;

/// Rows of one transaction: short enough to let others write in between.
const BATCH: i64 = 100;

/// The access token of an account.
#[must_use]
pub const fn access_token(account: Uuid) -> Place {
    Place { table: "provider_accounts", column: "encrypted_access_token", row: account }
}

/// The refresh token of an account.
#[must_use]
pub const fn refresh_token(account: Uuid) -> Place {
    Place { table: "provider_accounts", column: "encrypted_refresh_token", row: account }
}

/// The value of a credential.
#[must_use]
pub const fn credential(credential: Uuid) -> Place {
    Place { table: "credential_proxies", column: "encrypted_value", row: credential }
}

/// The PKCE verifier of an authorization under way. It lives for minutes, so it is never sealed anew.
#[must_use]
pub const fn pkce_verifier(transaction: Uuid) -> Place {
    Place { table: "oauth_transactions", column: "encrypted_pkce_verifier", row: transaction }
}

statements! {
    /// Tokens under another data key than the one with this prefix, after an id.
    OLD_TOKENS(BYTEA, UUID, INT8) =
        "SELECT id, encrypted_access_token AS one, encrypted_refresh_token AS two FROM tenant.provider_accounts \
         WHERE id > $2 AND ((encrypted_access_token <> '' AND substr(encrypted_access_token, 1, 5) <> $1) \
           OR substr(encrypted_refresh_token, 1, 5) <> $1) ORDER BY id LIMIT $3 FOR UPDATE";
    /// Tokens sealed anew.
    RESEAL_TOKENS(UUID, BYTEA, BYTEA) =
        "UPDATE tenant.provider_accounts SET encrypted_access_token = $2, encrypted_refresh_token = $3 WHERE id = $1";
    /// Values of credentials under another data key.
    OLD_VALUES(BYTEA, UUID, INT8) =
        "SELECT id, encrypted_value AS one, NULL::bytea AS two FROM tenant.credential_proxies \
         WHERE id > $2 AND substr(encrypted_value, 1, 5) <> $1 ORDER BY id LIMIT $3 FOR UPDATE";
    /// A value sealed anew.
    RESEAL_VALUE(UUID, BYTEA) =
        "UPDATE tenant.credential_proxies SET encrypted_value = $2 WHERE id = $1";
}

/// Seals everything anew that is not under the tenant's current data key; gives the number of rows. Interrupted, it has done
/// what it has done, and started again does the rest.
///
/// # Errors
/// [`Error`]; a value that cannot be opened ends it, and stays.
pub async fn reseal(db: &TenantDb, secrets: &Secrets, context: &TenantContext) -> Result<u64, Error> {
    let prefix = prefix(secrets.current_version(context).await?);
    let mut done = 0;
    for table in [Table::Accounts, Table::Credentials] {
        let mut after = Uuid::nil();
        loop {
            let mut tx = db.begin(context).await?;
            let outcome = batch(&mut tx, secrets, context, table, &prefix, after).await;
            let (last, rows) = match outcome {
                Ok(outcome) => outcome,
                Err(error) => {
                    drop(tx.rollback().await);
                    return Err(error);
                }
            };
            if rows > 0 {
                tx.audit("secrets.reseal", table.name(), serde_json::json!({ "rows": rows }));
            }
            tx.commit().await?;
            done += rows;
            let Some(last) = last else { break };
            after = last;
        }
    }
    Ok(done)
}

#[derive(Clone, Copy)]
enum Table {
    Accounts,
    Credentials,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "provider_accounts",
            Self::Credentials => "credential_proxies",
        }
    }
}

async fn batch(
    tx: &mut TenantTx,
    secrets: &Secrets,
    context: &TenantContext,
    table: Table,
    prefix: &[u8],
    after: Uuid,
) -> Result<(Option<Uuid>, u64), Error> {
    let statement = match table {
        Table::Accounts => &OLD_TOKENS,
        Table::Credentials => &OLD_VALUES,
    };
    let rows = tx.query(statement, &[&prefix, &after, &BATCH]).await?;
    let mut last = None;
    for row in &rows {
        let id: Uuid = column!(row, "id");
        let places = match table {
            Table::Accounts => [access_token(id), refresh_token(id)],
            Table::Credentials => [credential(id), credential(id)],
        };
        let one = anew(secrets, context, places[0], row, "one").await?.unwrap_or_default();
        match table {
            Table::Accounts => {
                let two = anew(secrets, context, places[1], row, "two").await?;
                tx.execute(&RESEAL_TOKENS, &[&id, &one, &two]).await?;
            }
            Table::Credentials => {
                tx.execute(&RESEAL_VALUE, &[&id, &one]).await?;
            }
        }
        last = Some(id);
    }
    Ok((last, rows.len() as u64))
}

/// A column's value under the current key. A revoked account has none left.
async fn anew(
    secrets: &Secrets,
    context: &TenantContext,
    place: Place,
    row: &Row,
    name: &str,
) -> Result<Option<Vec<u8>>, Error> {
    let sealed: Option<Vec<u8>> = row.try_get(name).map_err(tenantry_postgres::DbError::from)?;
    let Some(sealed) = sealed else { return Ok(None) };
    if sealed.is_empty() {
        return Ok(Some(sealed));
    }
    let value = secrets.open(context, place, &sealed).await?;
    Ok(Some(secrets.seal(context, place, &value).await?))
}
