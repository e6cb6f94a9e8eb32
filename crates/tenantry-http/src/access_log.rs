//! One structured event per request, with the tenant it ran for.

use std::time::Instant;

use axum::http::{Method, StatusCode, Uri};

use crate::request::{RequestInfo, Who};

/// What a request that the caller gave up is logged with; no response was sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// Longer paths are cut in the log.
const MAX_PATH: usize = 512;

/// Logs the request when dropped, so that one whose caller hung up is logged too.
pub(crate) struct AccessLog {
    pub(crate) info: RequestInfo,
    pub(crate) method: Method,
    /// Only its path is logged: a query may hold what does not belong into logs.
    pub(crate) uri: Uri,
    pub(crate) started: Instant,
    pub(crate) quiet: bool,
    pub(crate) status: Option<StatusCode>,
    pub(crate) code: Option<&'static str>,
}

macro_rules! access_event {
    ($level:ident, $log:expr, $($field:tt)*) => {
        tracing::$level!(
            target: "tenantry::access",
            $($field)*
            method = $log.method.as_str(),
            path = path(&$log.uri),
            client_ip = $log.info.client().ip.map(tracing::field::display),
            request_id = $log.info.id().as_str(),
            status = $log.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16()),
            code = $log.code,
            duration_ms = duration_ms($log.started),
            "request"
        )
    };
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        match self.info.who() {
            Some(Who::Tenant(context)) => access_event!(
                info, self,
                tenant_id = %context.id(),
                tenant_slug = context.slug().as_str(),
                subject = context.principal().subject(),
            ),
            Some(Who::Operator(operator)) => access_event!(info, self, operator = operator.name(),),
            None if self.quiet => access_event!(debug, self,),
            None => access_event!(info, self,),
        }
    }
}

fn duration_ms(started: Instant) -> f64 {
    let micros = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}

fn path(uri: &Uri) -> &str {
    // a parsed path is ASCII or at least valid UTF-8; cut on a boundary all the same
    let path = uri.path();
    path.get(..MAX_PATH).unwrap_or(path)
}
