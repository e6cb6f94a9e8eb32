//! Checks that are one query: each row is something wrong, with the line that mends it.

use super::{Finding, Patient, Severity};
use crate::error::DbError;

/// Findings of one check that are told one by one.
const TOLD: usize = 20;

/// A query for what should not be.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    /// What is right when there are no rows.
    pub(super) fine: &'static str,
    /// Why a row matters; follows the row's own text.
    pub(super) why: &'static str,
    /// Gives two texts a row: what is wrong, and the line that mends it. It may use [`EVERYBODY`].
    pub(super) sql: &'static str,
}

/// Tenants and warm schemas with their names and places.
const EVERYBODY: &str = "WITH everybody AS ( \
    SELECT t.id, t.slug::text AS slug, t.schema_name::text AS schema_name, 'tnt_' || replace(t.id::text, '-', '') AS role_name, \
        c.id AS cell_id, c.login_role, coalesce(c.dedicated, false) AS dedicated \
    FROM public.tenants t LEFT JOIN public.tenant_placements p ON p.tenant_id = t.id LEFT JOIN public.cells c ON c.id = p.cell_id \
    UNION ALL SELECT w.id, 'warm schema', w.schema_name, w.role_name, c.id, c.login_role, false \
    FROM public.warm_schemas w JOIN public.cells c ON c.id = w.cell_id) ";

pub(super) async fn examine(patient: &Patient<'_>, check: &Check) -> Result<Vec<Finding>, DbError> {
    let rows = match patient.rows(&format!("{EVERYBODY}{}", check.sql)).await {
        Ok(rows) => rows,
        Err(error @ DbError::Refused(_)) => {
            let reason = format!("cannot be seen by this user: {error}");
            return Ok(vec![Finding::warn(
                check.name,
                reason,
                "tenantry doctor --database-url postgres://SUPERUSER@…",
            )]);
        }
        Err(error) => return Err(error),
    };
    if rows.is_empty() {
        return Ok(vec![Finding::ok(check.name, check.fine)]);
    }
    let mut findings: Vec<Finding> = rows
        .iter()
        .take(TOLD)
        .map(|row| Finding {
            check: check.name,
            severity: check.severity,
            reason: format!("{}: {}", row.get::<_, String>(0), check.why),
            mend: row.get(1),
        })
        .collect();
    if rows.len() > TOLD {
        let more = format!("and {} more: {}", rows.len() - TOLD, check.why);
        findings.push(Finding {
            check: check.name,
            severity: check.severity,
            reason: more,
            mend: Some("tenantry doctor".into()),
        });
    }
    Ok(findings)
}
