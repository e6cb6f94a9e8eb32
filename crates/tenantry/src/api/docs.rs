//! `/docs`: the OpenAPI document as a page to read and try. Everything it needs is in the binary.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use tenantry_http::{Problem, codes};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::AppState;

/// Scripts and styles come from this server only, and the page talks to it alone. Its styles and icons are partly inline.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub(super) fn routes() -> Router<AppState> {
    let config = Config::from("/openapi.json").deep_linking(true).persist_authorization(false).try_it_out_enabled(true);
    let page: Router<AppState> = SwaggerUi::new("/docs").config(config).into();
    page.layer(from_fn(guard))
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status() == StatusCode::NOT_FOUND {
        return Problem::of(&codes::NOT_FOUND).into_response();
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}
