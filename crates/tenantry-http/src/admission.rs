//! What a request was let in with, for answers that outlast the moment.

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use tenantry_postgres::TenantContext;

use crate::codes;
use crate::layer::admit;
use crate::permissions::Permissions;
use crate::problem::Problem;
use crate::request::RequestInfo;
use crate::state::TenancyState;

/// The request's names and credential, left by [`tenant_context`](crate::tenant_context): an answer that lasts asks with them
/// again and again whether it may go on.
#[derive(Debug)]
pub struct Admission {
    pub(crate) tenancy: TenancyState,
    parts: Parts,
    info: RequestInfo,
}

impl Admission {
    /// Lets the request in once more, as if it came now: names, credential, tenant and permission.
    pub(crate) async fn renew(&self, table: Permissions) -> Result<TenantContext, Problem> {
        let context = admit(&self.tenancy, &self.parts, &self.info).await?;
        let path = self.parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        match table.of(&self.parts.method, path) {
            Some(permission) if table.allow(context.principal(), permission) => Ok(context),
            _ => Err(Problem::of(&codes::PERMISSION_DENIED)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Admission {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::of(&codes::TENANT_CONTEXT_REQUIRED);
        let tenancy = parts.extensions.get::<TenancyState>().cloned().ok_or_else(missing)?;
        let info = RequestInfo::of(parts, &tenancy.config().trusted_proxies);
        Ok(Self { tenancy, parts: parts.clone(), info })
    }
}
