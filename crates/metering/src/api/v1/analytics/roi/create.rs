use axum::extract::State;
use axum::response::Response;
use tenantry_http::respond::{Common, WithBody};
use tenantry_http::{Answer, ApiJson, Early, Idempotency, Once, Problem, ProblemBody, TenantScope};
use tenantry_postgres::TenantDb;
use workforce::{Error, FieldError};

use super::{RoiRequest, calculate};
use crate::api::v1::analytics::query::today;
use crate::insight::{Period, RoiCalculation};
use crate::store::analytics::{Scope, roi};
use crate::{Metering, codes};

/// Calculates the return of a period and stores it, so that it can be shown later as it was known now. The same figures of the same period are
/// stored once.
#[utoipa::path(
    post,
    path = "/v1/analytics/roi",
    operation_id = "create_roi",
    tag = "analytics",
    request_body = RoiRequest,
    responses(
        Common,
        WithBody,
        (status = 201, description = "the stored calculation", body = RoiCalculation,
            headers(("Location" = String, description = "where stored calculations are listed"))),
        (status = 409, description = "no call of the period has a baseline", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "a member is invalid", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create_roi(
    TenantScope(context): TenantScope,
    State(db): State<TenantDb>,
    State(metering): State<Metering>,
    idempotency: Idempotency,
    ApiJson(body): ApiJson<RoiRequest>,
) -> Result<Response, Early> {
    let zone = context.tenant().time_zone;
    let period = Period::of(body.from, body.to, today(&*metering.clock, zone), zone).map_err(|(member, detail)| {
        Error::Invalid(vec![FieldError { pointer: format!("/{member}"), detail: format!("`{member}` {detail}") }])
    })?;
    let scope = Scope {
        period,
        provider: None,
        model: None,
        agent_id: None,
        api_key_id: None,
        operation: None,
        task_type: None,
    };
    // What is answered before the key is taken: a repetition calculates in vain, and holds no two connections at once.
    let mut tx = db.snapshot(&context).await?;
    let (_, roi, completed) = calculate(&mut tx, &scope).await?;
    tx.commit().await?;
    let write = Once::begin(&db, &context, idempotency).await?;
    let outcome = async {
        let between = (period.starts_at(), period.ends_at());
        let tenant = *context.id().as_uuid();
        let new = RoiCalculation::new(&roi, completed.unwrap_or(0), between, tenant, metering.clock.now()).ok_or_else(
            || {
                let detail =
                    "no call of the period has a baseline, or all baselines are zero: there is nothing to compare";
                Early::from(Problem::of(&codes::ROI_NOT_COMPUTABLE).detail(detail))
            },
        )?;
        // Stored before the key's answer is: killed in between, the repetition finds the row by its id, which its figures make.
        let meter = metering.db.begin().await?;
        let stored = roi::keep(&meter, context.id(), &new).await?;
        meter.commit().await?;
        Ok::<_, Early>(Answer::made("/v1/analytics/roi".to_owned(), &stored))
    };
    let outcome = outcome.await;
    write.finish(outcome).await
}
