//! Which tenants were purged.

use std::collections::BTreeSet;

use tenantry_postgres::{DbError, MeterDb, statements};
use uuid::Uuid;

statements! {
    /// Those of some tenants that were purged.
    PURGED_AMONG(UUID_ARRAY) = "SELECT id FROM analytics.purged_tenants WHERE id = ANY ($1)";
}

/// Those of some tenants that were purged.
///
/// # Errors
/// [`DbError`].
pub(crate) async fn purged(db: &MeterDb, tenants: &BTreeSet<Uuid>) -> Result<BTreeSet<Uuid>, DbError> {
    let tenants: Vec<Uuid> = tenants.iter().copied().collect();
    let tx = db.begin().await?;
    let rows = tx.query(&PURGED_AMONG, &[&tenants]).await?;
    tx.commit().await?;
    Ok(rows.iter().map(|row| row.get("id")).collect())
}
