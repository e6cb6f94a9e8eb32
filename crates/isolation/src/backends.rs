//! What the server says about our sessions.

use std::time::Duration;

use tokio_postgres::Client;

/// How long a condition may take to come true on a slow machine. Not a bound of the product.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `check` is true.
///
/// # Panics
/// With `what` when it stays false.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !check().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sessions of cells' logins in the client's database that are in a transaction or run something.
///
/// # Panics
/// When the server does not answer.
pub async fn busy(admin: &Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND usename LIKE 'tenantry\\_cell\\_%' AND state IS DISTINCT FROM 'idle'";
    admin.query_one(sql, &[]).await.expect("pg_stat_activity is readable").get(0)
}

/// Sessions of a role in the client's database.
///
/// # Panics
/// When the server does not answer.
pub async fn sessions_of(admin: &Client, role: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE $1";
    admin.query_one(sql, &[&role]).await.expect("pg_stat_activity is readable").get(0)
}
