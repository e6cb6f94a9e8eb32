mod create;
mod list;

use axum::extract::FromRef;
use tenantry_postgres::Provisioner;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Metering;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Metering: FromRef<S>,
    Provisioner: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(list::list_bills, create::import_bill))
}
