mod v1;

use axum::extract::FromRef;
use tenantry_postgres::Provisioner;
use utoipa_axum::router::OpenApiRouter;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Provisioner: FromRef<S>,
{
    v1::router()
}
