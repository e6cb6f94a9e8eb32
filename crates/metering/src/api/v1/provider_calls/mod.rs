mod batch;
mod create;
mod get;
mod list;

use axum::extract::FromRef;
use tenantry_http::Idempotency;
use tenantry_postgres::{TenantContext, TenantDb};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::{Builder, Uuid};

use crate::Metering;
use crate::call::Call;
use crate::provider_call::NewCall;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    TenantDb: FromRef<S>,
    Metering: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(list::list_provider_calls, create::record_provider_call))
        .routes(routes!(batch::record_provider_calls))
        .routes(routes!(get::get_provider_call))
}

/// The row of a reported call, the `index`th of its request.
///
/// A repetition is recognised where the row meets the table, by id and timestamp: what was reported while the database is away must not
/// be lost, nor counted twice when it is reported again. So the id is the caller's own, or is made of who asks, the key, the request and
/// the place in it, and is the same for the same request.
fn row(metering: &Metering, context: &TenantContext, idempotency: &Idempotency, index: usize, new: &NewCall) -> Call {
    let named = || {
        let place = u64::try_from(index).unwrap_or(u64::MAX).to_be_bytes();
        idempotency.name_of_part(context, &place).map(|bytes| Builder::from_custom_bytes(bytes).into_uuid())
    };
    let id = new.id().or_else(named).unwrap_or_else(Uuid::now_v7);
    new.call(context, id, &metering.prices)
}
