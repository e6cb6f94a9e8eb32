//! Requests per minute, of a tenant and of each of its keys.
//!
//! Each limit is a bucket that holds a minute's requests and refills all the time (the generic cell rate algorithm): at most
//! `limit` at once, and `limit` a minute in the long run. All there is to remember of a bucket is the instant at which it is
//! full again, so one arithmetic serves the process's own memory ([`Local`]) and a Redis that servers share ([`Shared`]).
//!
//! Answers carry the three fields `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`, which clients understand
//! today; the two structured fields of the later IETF drafts (`RateLimit-Policy`, `RateLimit`) still change their syntax.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tenantry_core::{ApiKeyId, Clock, TenantId};
use tenantry_postgres::{TenantContext, Via};

use crate::codes;
use crate::problem::Problem;
use crate::rate_guesses::Guesses;
use crate::rate_local::Local;
use crate::rate_shared::{RedisUrl, RedisUrlError, Shared};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const MINUTE_US: i64 = 60_000_000;
const SECOND_US: i64 = 1_000_000;

/// Settings of the rate limits. The limits themselves are the plans' and the keys'.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitConfig {
    /// A Redis or Valkey that counts for all servers, such as `redis://10.0.0.5:6379/0`. Default: none, each server counts by itself.
    pub redis_url: Option<RedisUrl>,
    /// How long a request waits for it before this server's own count decides. Default: 0.05 s.
    #[serde(with = "tenantry_core::serde_seconds")]
    pub redis_timeout: Duration,
    /// Failed credentials a minute from one address (an IPv6 network of 64 bits counts as one) before more are refused unchecked;
    /// 0 is no limit. Default: 60.
    pub failed_credentials_per_minute: u32,
    /// Most tenants and keys, and as many addresses, whose use is remembered. Default: 100,000.
    pub capacity: usize,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            redis_url: None,
            redis_timeout: Duration::from_millis(50),
            failed_credentials_per_minute: 60,
            capacity: 100_000,
        }
    }
}

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Bucket {
    Tenant(TenantId),
    Key(ApiKeyId),
}

impl Bucket {
    const fn scope(self) -> &'static str {
        match self {
            Self::Tenant(_) => "tenant",
            Self::Key(_) => "key",
        }
    }
}

/// A number of requests a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_minute: u32,
}

impl Rate {
    /// A limit of the registry, where zero and less are not stored.
    fn of(limit: Option<i32>) -> Option<Self> {
        let per_minute = u32::try_from(limit?).ok().filter(|limit| *limit > 0)?;
        Some(Self { per_minute })
    }

    /// Microseconds after which one more request fits into the bucket. Whole, so that Redis, whose numbers are floating, counts alike.
    const fn interval(self) -> i64 {
        let interval = MINUTE_US / self.per_minute as i64;
        if interval > 0 { interval } else { 1 }
    }

    /// Microseconds that an empty bucket takes to be full.
    const fn burst(self) -> i64 {
        self.interval() * self.per_minute as i64
    }

    /// What a request meets that finds a bucket which would be full in `ahead` microseconds.
    pub(crate) fn meet(self, ahead: i64) -> Verdict {
        let ahead = ahead.clamp(0, self.burst());
        let after = ahead + self.interval();
        let allowed = after <= self.burst();
        let filled = if allowed { after } else { ahead };
        Verdict {
            limit: self.per_minute,
            remaining: u32::try_from((self.burst() - filled) / self.interval()).unwrap_or(u32::MAX),
            ahead: filled,
            wait: if allowed { 0 } else { after - self.burst() },
        }
    }
}

/// What a bucket says to a request. Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    limit: u32,
    remaining: u32,
    /// Until it is full again, this request included if it was let in.
    pub(crate) ahead: i64,
    /// Until a request is let in; 0 is now.
    wait: i64,
}

impl Verdict {
    pub(crate) const fn allows(&self) -> bool {
        self.wait == 0
    }

    pub(crate) fn wait(&self) -> Duration {
        micros(self.wait)
    }
}

/// A bucket to ask, and its rate.
pub(crate) type Asked = (Bucket, Rate);

/// The buckets that a request meets: its tenant's and its key's, those of them that there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buckets {
    asked: [Option<Asked>; 2],
    pub(crate) tenant: TenantId,
}

impl Buckets {
    fn of(context: &TenantContext) -> Self {
        let principal = context.principal();
        let tenant = Rate::of(context.tenant().limits.requests_per_minute);
        let key = match principal.via() {
            Via::ApiKey { id, .. } => Rate::of(principal.requests_per_minute()).map(|rate| (Bucket::Key(*id), rate)),
            _ => None,
        };
        Self { asked: [tenant.map(|rate| (Bucket::Tenant(context.id()), rate)), key], tenant: context.id() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Asked> {
        self.asked.into_iter().flatten()
    }

    fn is_empty(&self) -> bool {
        self.asked.iter().all(Option::is_none)
    }

    /// The verdicts, in the order of [`iter`](Self::iter), from how far each bucket is from being full. A request that one bucket
    /// refuses takes nothing from the other.
    pub(crate) fn meet(&self, mut ahead: impl FnMut(Bucket) -> i64) -> Met {
        let mut met = Met { of: [None; 2] };
        let mut all = true;
        for (place, (bucket, rate)) in met.of.iter_mut().zip(self.iter()) {
            let verdict = rate.meet(ahead(bucket));
            all &= verdict.allows();
            *place = Some((bucket, verdict));
        }
        if !all {
            for ((_, verdict), (_, rate)) in met.of.iter_mut().flatten().zip(self.iter()) {
                if verdict.allows() {
                    verdict.ahead -= rate.interval();
                    verdict.remaining += 1;
                }
            }
        }
        met
    }
}

/// What the buckets of a request said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Met {
    pub(crate) of: [Option<(Bucket, Verdict)>; 2],
}

impl Met {
    pub(crate) fn allows(&self) -> bool {
        self.of.iter().flatten().all(|(_, verdict)| verdict.allows())
    }

    /// The one that matters to the caller: that which refuses longest, else that with least left.
    fn tightest(&self) -> Option<(Bucket, Verdict)> {
        self.of.into_iter().flatten().min_by_key(|(_, verdict)| (std::cmp::Reverse(verdict.wait), verdict.remaining))
    }
}

/// What is left of the request's tightest limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateState {
    /// Requests a minute.
    pub limit: u32,
    /// Requests that may come at once.
    pub remaining: u32,
    /// Until `remaining` is `limit` again, if none comes.
    pub full_in: Duration,
    /// `tenant`, or `key` where the key's own limit is the tighter one.
    pub scope: &'static str,
}

impl RateState {
    fn of((bucket, verdict): (Bucket, Verdict)) -> Self {
        let Verdict { limit, remaining, ahead, .. } = verdict;
        Self { limit, remaining, full_in: micros(ahead), scope: bucket.scope() }
    }

    /// Writes the fields of an answer.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(whole_seconds(self.full_in)));
    }
}

/// A request that came too early.
#[derive(Debug)]
pub(crate) struct TooMany {
    pub(crate) state: RateState,
    pub(crate) problem: Problem,
}

/// The rate limits of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RateLimits {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    local: Local<Bucket>,
    shared: Option<Shared>,
    guesses: Guesses,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimits").field("shared", &self.shared.is_some()).finish_non_exhaustive()
    }
}

impl RateLimits {
    /// Starts to connect to the Redis, where one is named; nothing waits for it.
    pub(crate) fn new(config: &RateLimitConfig, clock: Arc<dyn Clock>) -> Result<Self, RedisUrlError> {
        let shared = config.redis_url.as_ref().map(|url| Shared::start(url, config.redis_timeout)).transpose()?;
        let guesses = Guesses::new(config.failed_credentials_per_minute, config.capacity);
        Ok(Self { inner: Arc::new(Inner { clock, local: Local::new(config.capacity), shared, guesses }) })
    }

    /// Waits until the shared count is there, at most `limit`. True where there is nothing to wait for.
    pub async fn ready(&self, limit: Duration) -> bool {
        match &self.inner.shared {
            Some(shared) => shared.ready(limit).await,
            None => true,
        }
    }

    /// How often the shared count failed and this server's own decided, since the process started.
    #[must_use]
    pub fn shared_failures(&self) -> u64 {
        self.inner.shared.as_ref().map_or(0, Shared::failures)
    }

    /// Whether the shared count is in use at this moment.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.shared.as_ref().is_some_and(Shared::is_connected)
    }

    /// Counts a request. `None`: neither tenant nor key have a limit.
    pub(crate) async fn take(&self, context: &TenantContext) -> Result<Option<RateState>, TooMany> {
        let buckets = Buckets::of(context);
        if buckets.is_empty() {
            return Ok(None);
        }
        let now = self.now();
        let shared = match &self.inner.shared {
            Some(shared) => shared.take(&buckets).await,
            None => None,
        };
        let met = match shared {
            // So that the own count goes on from there when the shared one fails.
            Some(met) => {
                self.inner.local.note(&buckets, &met, now);
                met
            }
            None => self.inner.local.take(&buckets, now),
        };
        let Some(tightest) = met.tightest() else { return Ok(None) };
        let state = RateState::of(tightest);
        if met.allows() { Ok(Some(state)) } else { Err(too_many(state, tightest.1.wait())) }
    }

    /// Whether so many credentials from this address failed that unknown ones are refused unchecked; then how long to wait.
    pub(crate) fn guessing(&self, address: Option<IpAddr>) -> Option<Duration> {
        self.inner.guesses.exhausted(address?, self.now())
    }

    /// Counts a failed credential; an answer when the address has had too many.
    pub(crate) fn failed(&self, address: Option<IpAddr>) -> Option<Duration> {
        self.inner.guesses.failed(address?, self.now())
    }

    fn now(&self) -> i64 {
        self.inner.clock.now().timestamp_micros()
    }
}

fn too_many(state: RateState, wait: Duration) -> TooMany {
    let seconds = whole_seconds(wait);
    let whose = if state.scope == "key" { "the API key" } else { "the tenant" };
    let problem = Problem::of(&codes::RATE_LIMITED)
        .detail(format!("{whose} may send {} requests a minute; the next is taken in {seconds} s", state.limit))
        .with("limit_name", "requests_per_minute")
        .with("scope", state.scope)
        .with("limit", state.limit)
        .with("used", state.limit - state.remaining)
        .with("resets_in_seconds", whole_seconds(state.full_in))
        .retry_after(Duration::from_secs(seconds));
    TooMany { state, problem }
}

/// The answer to an address that guesses.
pub(crate) fn too_many_failures(wait: Duration) -> Problem {
    Problem::of(&codes::TOO_MANY_FAILED_CREDENTIALS)
        .detail("too many invalid credentials came from this address")
        .retry_after(Duration::from_secs(whole_seconds(wait)))
}

pub(crate) fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Rounded up: a caller that waits so long is not early.
fn whole_seconds(duration: Duration) -> u64 {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX - SECOND_US);
    u64::try_from((micros + SECOND_US - 1) / SECOND_US).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_minute: u32) -> Rate {
        Rate { per_minute }
    }

    #[test]
    fn a_minutes_requests_at_once_and_then_one_by_one() {
        let mut ahead = 0;
        for left in (0..100).rev() {
            let verdict = rate(100).meet(ahead);
            assert!(verdict.allows());
            assert_eq!(verdict.remaining, left);
            ahead = verdict.ahead;
        }
        let refused = rate(100).meet(ahead);
        assert_eq!((refused.wait(), refused.remaining), (Duration::from_millis(600), 0));
        assert!(rate(100).meet(ahead - 600_000).allows());
    }

    #[test]
    fn what_one_bucket_refuses_takes_nothing_from_the_other() {
        let tenant = TenantId::generate();
        let (own, key) = (Bucket::Tenant(tenant), Bucket::Key(ApiKeyId::generate()));
        let buckets = Buckets { asked: [Some((own, rate(10))), Some((key, rate(1)))], tenant };
        let met = buckets.meet(|bucket| if bucket == key { MINUTE_US } else { 0 });
        assert!(!met.allows());
        assert_eq!(met.of[0].unwrap().1, Verdict { limit: 10, remaining: 10, ahead: 0, wait: 0 });
        assert_eq!(met.tightest().unwrap().0, key);
    }

    proptest! {
        /// Whatever the pattern: in no minute more than two buckets, and never more at once than the limit.
        #[test]
        fn no_pattern_gets_more(limit in 1_u32..5000, pauses in proptest::collection::vec(0_i64..2_000_000, 1..2000)) {
            let rate = rate(limit);
            let (mut full_at, mut now) = (0_i64, 0_i64);
            let mut taken = Vec::new();
            for pause in pauses {
                now += pause;
                let verdict = rate.meet(full_at - now);
                prop_assert!(verdict.ahead <= rate.burst());
                full_at = now + verdict.ahead;
                if verdict.allows() {
                    taken.push(now);
                }
            }
            let mut from = 0;
            for (at, time) in taken.iter().enumerate() {
                while taken[from] < time - MINUTE_US {
                    from += 1;
                }
                prop_assert!(at - from < 2 * limit as usize + 1);
            }
        }

        #[test]
        fn waiting_as_told_is_enough(limit in 1_u32..3_000_000, ahead in 0_i64..MINUTE_US) {
            let verdict = rate(limit).meet(ahead);
            prop_assert!(rate(limit).meet(verdict.ahead - verdict.wait).allows());
        }
    }
}
