//! Rows that say whose they are, so that a row in the wrong hands shows itself.

use tenantry_postgres::TenantSchema;

tenantry_postgres::statements! {
    /// Adds a row: mark, group, number.
    ADD(TEXT, TEXT, INT4) = "INSERT INTO tenant.marks (mark, batch, number) VALUES ($1, $2, $3)";
    /// All rows.
    ALL() = "SELECT mark, batch, number FROM tenant.marks";
    /// The rows of a group.
    OF_BATCH(TEXT) = "SELECT mark, batch, number FROM tenant.marks WHERE batch = $1";
    /// Who the session is.
    WHO() = "SELECT current_user::text, session_user::text, pg_backend_pid()";
    /// Fails on the server.
    FAIL() = "SELECT 1 / (SELECT count(*) FROM tenant.marks WHERE false)";
    /// Keeps the server busy for a while.
    BUSY(INT4) = "SELECT count(*) FROM generate_series(1, $1)";
}

/// A tenant with one table of marked rows.
#[must_use]
pub fn schema() -> TenantSchema {
    let sql = "CREATE TABLE tenant.marks (mark text NOT NULL, batch text NOT NULL, number integer NOT NULL, \
               PRIMARY KEY (batch, number))";
    TenantSchema::new(sql, &["marks"])
}
