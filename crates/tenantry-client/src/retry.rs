use std::time::Duration;

use reqwest::Method;

use crate::Error;

/// Refusals with these codes were given before anything was done.
const NOT_BEGUN: [&str; 4] = ["pool_exhausted", "registry_unavailable", "scope_refused", "tenant_schema_behind"];

/// How often and after which pauses a call is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// How often a call is repeated after the first attempt.
    pub attempts: u32,
    /// The longest first pause; each later one may be twice as long as the one before. How long it is in fact is left to chance, so that
    /// many clients do not come back at once.
    pub pause: Duration,
    /// No pause is longer. A server that asks for more patience (`Retry-After`) is not waited for: the refusal is returned.
    pub longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 4, pause: Duration::from_millis(200), longest: Duration::from_secs(20) }
    }
}

impl Retry {
    /// Every call is tried once.
    pub const NEVER: Self = Self { attempts: 0, pause: Duration::ZERO, longest: Duration::ZERO };

    /// How long to wait before a call is repeated, or nothing when it is not. `chance` lies in 0 to 1.
    pub(crate) fn pause(&self, error: &Error, repeatable: bool, attempt: u32, chance: f64) -> Option<Duration> {
        if attempt >= self.attempts || !worthwhile(error, repeatable) {
            return None;
        }
        match error.api().and_then(|refusal| refusal.retry_after) {
            Some(after) => (after <= self.longest).then_some(after),
            None => Some(self.backoff(attempt, chance)),
        }
    }

    /// A pause that grows with the attempts and has its length from chance.
    pub(crate) fn backoff(&self, attempt: u32, chance: f64) -> Duration {
        let most = self.pause.saturating_mul(2_u32.saturating_pow(attempt)).min(self.longest);
        most.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// Whether the same request may do better.
fn worthwhile(error: &Error, repeatable: bool) -> bool {
    match error {
        // a limit that says nothing of when it ends is not waited out
        Error::Api(refusal) if refusal.status == 429 => refusal.retry_after.is_some(),
        // the first attempt broke off, and its server goes on with it
        Error::Api(refusal) if refusal.code == "request_in_progress" => repeatable,
        Error::Api(refusal) if repeatable => matches!(refusal.status, 502 | 503),
        Error::Api(refusal) => refusal.status == 503 && NOT_BEGUN.contains(&refusal.code.as_str()),
        Error::Transport { source, .. } => repeatable || source.is_connect(),
        Error::Silence(_) => repeatable,
        _ => false,
    }
}

/// Whether a request has the same effect however often it is sent.
pub(crate) fn is_repeatable(method: &Method, has_key: bool) -> bool {
    method.is_safe() || has_key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ApiError;

    fn refusal(status: u16, code: &str, after: Option<u64>) -> Error {
        let body =
            serde_json::json!({ "type": "", "title": "", "status": status, "code": code, "error": "", "message": "" });
        let body = body.to_string();
        Error::Api(Box::new(ApiError::read(status, after.map(Duration::from_secs), None, body.as_bytes())))
    }

    fn repeated(error: &Error, repeatable: bool) -> bool {
        Retry::default().pause(error, repeatable, 0, 0.5).is_some()
    }

    #[test]
    fn a_change_is_repeated_only_when_it_was_not_begun() {
        assert!(repeated(&refusal(503, "database_unavailable", None), true));
        assert!(!repeated(&refusal(503, "database_unavailable", None), false), "it may have been committed");
        assert!(repeated(&refusal(503, "pool_exhausted", Some(1)), false));
        assert!(repeated(&refusal(429, "rate_limited", Some(1)), false));
        assert!(!repeated(&refusal(502, "http_502", None), false));
        assert!(repeated(&refusal(409, "request_in_progress", Some(1)), true));
    }

    #[test]
    fn what_would_be_refused_again_is_not_repeated() {
        for (status, code) in
            [(400, "invalid_body"), (404, "task_not_found"), (409, "version_conflict"), (500, "internal")]
        {
            assert!(!repeated(&refusal(status, code, None), true), "{code}");
        }
        assert!(!repeated(&refusal(429, "quota_exceeded", None), true), "no pause lifts it");
    }

    #[test]
    fn the_server_says_how_long_up_to_the_longest() {
        let retry = Retry::default();
        let pause = |after| retry.pause(&refusal(429, "rate_limited", Some(after)), true, 0, 0.0);
        assert_eq!(pause(7), Some(Duration::from_secs(7)));
        assert_eq!(pause(21), None);
        assert_eq!(
            retry.pause(&refusal(503, "pool_exhausted", Some(1)), true, 4, 0.0),
            None,
            "the fifth attempt was the last"
        );
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        let retry = Retry::default();
        let most: Vec<u128> = (0..9).map(|attempt| retry.backoff(attempt, 1.0).as_millis()).collect();
        assert_eq!(most, [200, 400, 800, 1600, 3200, 6400, 12800, 20000, 20000]);
        assert_eq!(retry.backoff(0, 0.0), Duration::from_millis(100));
    }
}
