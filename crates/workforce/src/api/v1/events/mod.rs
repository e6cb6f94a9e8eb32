mod stream;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    OpenApiRouter::new().routes(routes!(stream::stream_events))
}
