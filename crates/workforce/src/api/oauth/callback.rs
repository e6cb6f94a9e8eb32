use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;
use tenantry_core::Slug;
use tenantry_http::{ApiPath, ApiQuery, Problem, ProblemBody, RequestInfo};
use tenantry_postgres::{Registry, TenantContext, TenantDb};
use utoipa::IntoParams;

use crate::Keychain;
use crate::account::ProviderAccount;
use crate::keychain::oauth::{Answered, finish};

/// What a provider sends along. Providers add members of their own, which are not read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Callback {
    /// What `start` gave to the provider.
    state: Option<String>,
    /// What tokens are given for.
    code: Option<String>,
    /// Why there is no code.
    error: Option<String>,
    /// Who says so (RFC 9207).
    iss: Option<String>,
}

/// Takes a provider's answer to an authorization, which a browser brings. Each answer counts once.
#[utoipa::path(
    get,
    path = "/oauth/callback/{provider}",
    operation_id = "oauth_callback",
    tag = "provider accounts",
    security(()),
    params(("provider" = String, Path, description = "the provider"), Callback),
    responses(
        (status = 200, description = "the account is connected; a page for the person says so", body = String, content_type = "text/html",
            example = json!("<!doctype html><html lang=\"en\"><title>Connected</title><h1>Connected</h1>…</html>")),
        (status = 400, description = "the answer belongs to no authorization that is under way, or is a refusal", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 403, description = "the tenant is not served any more", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "the account to connect again was deleted meanwhile", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "the account to connect again was revoked meanwhile", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "the provider is not configured any more", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "a defect of the server", body = ProblemBody, content_type = "application/problem+json"),
        (status = 502, description = "the provider gave no tokens", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "no connection free, the database or the keys of secrets away", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 504, description = "the statement or the request ran past its time limit", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn oauth_callback(
    State(registry): State<Registry>,
    State(db): State<TenantDb>,
    State(keychain): State<Keychain>,
    info: RequestInfo,
    ApiPath(provider): ApiPath<String>,
    ApiQuery(query): ApiQuery<Callback>,
) -> Result<Response, Problem> {
    let Callback { state, code, error, iss } = query;
    let answered = Answered { provider, state: state.unwrap_or_default(), code, error, issuer: iss };
    let tenant = keychain.oauth.tenant_of(&answered.state)?;
    let context = context(&registry, &tenant, &info).await?;
    let account = finish(&db, &keychain, &context, &answered).await.map_err(Problem::from)?;
    Ok(page(&tenant, &account))
}

/// The answer's `state` is a ticket that this installation has sealed for the tenant, and the row that it must match is looked for in
/// that tenant's schema only.
#[expect(
    clippy::disallowed_methods,
    reason = "the sealed state stands for the credential with which the authorization began"
)]
async fn context(registry: &Registry, tenant: &Slug, info: &RequestInfo) -> Result<TenantContext, Problem> {
    let context = registry.system_context(tenant, "oauth callback").await?;
    Ok(context.for_request(info.id().as_str(), info.client().ip))
}

/// Says to the person which company has the account now: whoever was led here by somebody else should notice.
fn page(tenant: &Slug, account: &ProviderAccount) -> Response {
    // Both are of a few letters, digits and signs that mean nothing in HTML.
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"><title>Connected</title>\
         <body><h1>Connected</h1><p>Your account at <b>{}</b> is now used by the company <b>{tenant}</b>. \
         If you did not mean that, withdraw it at the provider.</p><p>You can close this window.</p></body></html>",
        account.provider
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(text)).into_response()
}
