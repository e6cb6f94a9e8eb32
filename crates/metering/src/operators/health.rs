use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tenantry_control::Common;
use tenantry_http::{OperatorScope, Problem};
use utoipa::ToSchema;

use crate::Metering;
use crate::reports::{Alert, AlertName, MeteringHealth, alerts, health};
use crate::spool::SpoolState;

/// How the metering does, and what is to be looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MeteringReport {
    /// Of all servers.
    #[serde(flatten)]
    health: MeteringHealth,
    /// What the server that answers holds for the database. Nothing is dropped: what it has no room for it does not take.
    spool: SpoolState,
    /// What is beyond the limits of this server's settings now.
    alerts: Vec<Alert>,
    /// How often this server has begun to warn of each since it started.
    alerts_fired: BTreeMap<&'static str, u64>,
}

/// Shows how the metering does: how fast calls arrive, how old sums are, what has no price or was never seen to end, and what should be
/// looked at.
#[utoipa::path(
    get,
    path = "/admin/v1/metering/health",
    operation_id = "get_metering_health",
    tag = "metering",
    responses(Common, (status = 200, description = "how it does", body = MeteringReport)),
)]
pub(super) async fn get_metering_health(
    _: OperatorScope,
    State(metering): State<Metering>,
) -> Result<Json<MeteringReport>, Problem> {
    let tx = metering.db.snapshot().await?;
    let health = health(&tx, metering.clock.now()).await?;
    tx.rollback().await?;
    let spool = metering.health();
    let alerts = alerts(&health, Some(&spool), &metering.settings.alerts);
    let alerts_fired = AlertName::ALL.iter().map(|name| (name.as_str(), metering.watch.fired(*name))).collect();
    Ok(Json(MeteringReport { health, spool, alerts, alerts_fired }))
}
