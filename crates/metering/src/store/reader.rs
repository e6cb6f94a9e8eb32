use tenantry_postgres::{DbError, MeterTx, Row, Statement, TenantTx, ToSql};
use uuid::Uuid;

/// Who reads what tenants have of the shared tables: a tenant its own rows, or the metering those of one tenant. The statements take the
/// tenant as `$1`; a tenant leaves it open, and row level security is what keeps it to itself.
#[derive(Debug)]
pub enum Reader<'a> {
    /// A tenant.
    Tenant(&'a mut TenantTx),
    /// The metering, for the tenant with this id.
    Meter(&'a MeterTx, Uuid),
}

impl Reader<'_> {
    /// Runs a statement; `params` are those from `$2` on.
    ///
    /// # Errors
    /// [`DbError`].
    pub(crate) async fn query(
        &mut self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DbError> {
        match self {
            Self::Tenant(tx) => tx.query(statement, &with(&None, params)).await,
            Self::Meter(tx, tenant) => tx.query(statement, &with(&Some(*tenant), params)).await,
        }
    }
}

fn with<'p>(tenant: &'p Option<Uuid>, params: &[&'p (dyn ToSql + Sync)]) -> Vec<&'p (dyn ToSql + Sync)> {
    let first: &(dyn ToSql + Sync) = tenant;
    std::iter::once(first).chain(params.iter().copied()).collect()
}
