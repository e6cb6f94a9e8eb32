//! Alarms: when something is due for a tenant without being asked for. The registry's side is in `registry/alarms.rs`.
//!
//! The transaction that makes something due sets the alarm as its last statement. Whoever does what is due takes it first,
//! then holds the alarm, asks what is due next, and sets it to that. A change that is being made meanwhile waits at the alarm,
//! so its own comes after, and nothing is forgotten; and since everybody comes to the alarm last, nobody waits in a circle.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;

use super::tx::TenantTx;
use crate::error::DbError;
use crate::statement::Statement;

/// Sets or advances it. The row is held even where it rings early enough already.
static SET_ALARM: Statement = Statement::new(
    "SET_ALARM",
    "INSERT INTO tenantry.alarms AS a (kind, due_at) VALUES ($1, $2) ON CONFLICT (tenant_id, kind) \
     DO UPDATE SET due_at = excluded.due_at, leased_until = NULL WHERE a.due_at > excluded.due_at",
    &[Type::TEXT, Type::TIMESTAMPTZ],
);
static READ_ALARM: Statement =
    Statement::new("READ_ALARM", "SELECT resumed_at FROM tenantry.alarms WHERE kind = $1", &[Type::TEXT]);
static HOLD_ALARM: Statement = Statement::new(
    "HOLD_ALARM",
    "SELECT 1 AS held FROM tenantry.alarms WHERE kind = $1 FOR NO KEY UPDATE",
    &[Type::TEXT],
);
/// A tenant that was suspended and resumed once more meanwhile has missed something that nobody has put aside yet.
static RESET_ALARM: Statement = Statement::new(
    "RESET_ALARM",
    "UPDATE tenantry.alarms SET due_at = $2, leased_until = NULL, \
       resumed_at = CASE WHEN resumed_at IS DISTINCT FROM $3 THEN resumed_at END WHERE kind = $1",
    &[Type::TEXT, Type::TIMESTAMPTZ, Type::TIMESTAMPTZ],
);
static REMOVE_ALARM: Statement =
    Statement::new("REMOVE_ALARM", "DELETE FROM tenantry.alarms WHERE kind = $1", &[Type::TEXT]);

impl TenantTx {
    /// Sees to it that the platform comes at `at` at the latest. Lasts with the transaction.
    ///
    /// To be called last, when the transaction holds everything else that it needs: the alarm is held from here.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn set_alarm(&mut self, kind: &'static str, at: DateTime<Utc>) -> Result<(), DbError> {
        self.execute(&SET_ALARM, &[&kind, &at]).await.map(drop)
    }

    /// When the tenant was served again after a suspension, unless what it missed was put aside already.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn resumed_at(&mut self, kind: &'static str) -> Result<Option<DateTime<Utc>>, DbError> {
        match self.query_opt(&READ_ALARM, &[&kind]).await? {
            Some(row) => Ok(row.try_get("resumed_at")?),
            None => Ok(None),
        }
    }

    /// Keeps others from setting the alarm until this transaction ends, so that what is due next can be asked for. After
    /// everything that is due was taken.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn hold_alarm(&mut self, kind: &'static str) -> Result<(), DbError> {
        self.query(&HOLD_ALARM, &[&kind]).await.map(drop)
    }

    /// Sets an alarm that is held to what is due next, and gives it free. `resumed`: what
    /// [`resumed_at`](Self::resumed_at) gave, which is settled now.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn reset_alarm(
        &mut self,
        kind: &'static str,
        next: Option<DateTime<Utc>>,
        resumed: Option<DateTime<Utc>>,
    ) -> Result<(), DbError> {
        match next {
            Some(next) => self.execute(&RESET_ALARM, &[&kind, &next, &resumed]).await.map(drop),
            None => self.execute(&REMOVE_ALARM, &[&kind]).await.map(drop),
        }
    }
}
