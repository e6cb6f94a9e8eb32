//! What is known about the request at hand: its id, its caller, and on whose behalf it runs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::{HeaderName, request::Parts};
use tenantry_core::RequestId;
use tenantry_postgres::{Operator, TenantContext};

use crate::proxy::{Client, TrustedProxies};
use crate::rate::RateState;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request's id and caller; also an extractor, which never fails.
#[derive(Debug, Clone)]
pub struct RequestInfo(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: RequestId,
    client: Client,
    who: OnceLock<Who>,
    rate: OnceLock<RateState>,
}

/// On whose behalf a request runs.
#[derive(Debug)]
pub(crate) enum Who {
    Tenant(TenantContext),
    Operator(Operator),
}

impl RequestInfo {
    /// Takes what an outer layer has found out, or finds it out and leaves it for the inner ones.
    ///
    /// The id is the caller's `X-Request-Id` where that is acceptable, otherwise a new one.
    pub(crate) fn of(parts: &mut Parts, proxies: &TrustedProxies) -> Self {
        if let Some(known) = parts.extensions.get::<Self>() {
            return known.clone();
        }
        let given = parts.headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok()?.parse().ok());
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let client = proxies.client(peer, &parts.headers);
        let id = given.unwrap_or_else(RequestId::generate);
        let info = Self(Arc::new(Inner { id, client, who: OnceLock::new(), rate: OnceLock::new() }));
        parts.extensions.insert(info.clone());
        info
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.0.id
    }

    /// Who calls.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// What is left of the request's tightest rate limit; `None` when there is none.
    #[must_use]
    pub fn rate(&self) -> Option<&RateState> {
        self.0.rate.get()
    }

    /// Notes what the rate limits said; the first note stays.
    pub(crate) fn has_rate(&self, rate: RateState) {
        let _ = self.0.rate.set(rate);
    }

    pub(crate) fn who(&self) -> Option<&Who> {
        self.0.who.get()
    }

    /// Notes on whose behalf the request runs; the first note stays.
    pub(crate) fn runs_for(&self, who: Who) {
        let _ = self.0.who.set(who);
    }
}

impl<S: Sync> FromRequestParts<S> for RequestInfo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts, &TrustedProxies::default()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn info(id: &str) -> RequestInfo {
        let (mut parts, ()) = Request::get("/").header(X_REQUEST_ID, id).body(()).unwrap().into_parts();
        let info = RequestInfo::of(&mut parts, &TrustedProxies::default());
        assert_eq!(RequestInfo::of(&mut parts, &TrustedProxies::default()).id(), info.id());
        info
    }

    #[test]
    fn an_acceptable_id_is_kept_and_another_replaced() {
        assert_eq!(info("abc-123").id().as_str(), "abc-123");
        for bad in ["", "a b", "x\"y", &"a".repeat(129)] {
            assert_ne!(info(bad).id().as_str(), bad);
        }
    }
}
