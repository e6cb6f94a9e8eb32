//! Tenancy over HTTP: who is asking, for which tenant, and may they. No domain.
//!
//! * [`tenant_context`] identifies the tenant (subdomain, `X-Tenant-Slug`, custom host), proves the credential (API key, signed
//!   token) and lets a request through only when all of them agree. [`TenantRouter`] puts it in front of every route.
//! * [`TenantScope`] is the proof that handlers take; [`OperatorScope`] that of the control plane.
//! * [`Permissions`] says what each operation needs, [`Once`] does a `POST` once under its `Idempotency-Key`.
//! * [`event_stream`] tells what a tenant's transactions publish, for as long as its caller may know.
//! * [`Problem`] is the body of every error, with a code of [`codes::CODES`].
//! * [`harden`] adds request ids, limits, a safety net and the access log; [`serve`] serves and drains.
//!
//! **Invariant.** A request reaches a handler that takes a [`TenantScope`] only with a context that the registry has made
//! for a proven credential. Everything a caller writes into host or headers identifies at most.

mod access_log;
mod admission;
mod authenticate;
mod claim;
mod claims;
pub mod codes;
mod config;
mod convert;
mod cors;
mod counters;
mod dialect;
mod events;
mod extract;
mod host;
mod identify;
mod jwks;
mod jwt;
mod keys;
mod layer;
mod once;
mod page;
mod permissions;
mod problem;
mod proxy;
mod rate;
mod rate_guesses;
mod rate_local;
mod rate_shared;
mod request;
pub mod respond;
mod router;
mod scope;
mod serve;
mod stack;
mod state;

pub use admission::Admission;
pub use claim::{Claim, STATEMENTS as CLAIM_STATEMENTS, to_its_end};
pub use config::HttpConfig;
pub use counters::SecurityCounters;
pub use dialect::Dialect;
pub use events::{EventQuery, ServerSentEvent, event_stream};
pub use extract::{ApiJson, ApiPath, ApiQuery, from_value};
pub use host::{BaseDomainError, BaseDomains, Host, HostClaim, HostError};
pub use jwks::{JwksConfig, JwksError};
pub use jwt::{JwtConfig, JwtConfigError, JwtVerifier, TokenError, UnlistedRole};
pub use keys::{JwtAlgorithm, JwtKeyFile, KeyError};
pub use layer::{operator_auth, tenant_context};
pub use once::{Answer, Early, IDEMPOTENCY_KEY, Idempotency, Once, STATEMENTS, replayed};
pub use page::Limit;
pub use permissions::{Action, Permission, Permissions, Resource};
pub use problem::{Problem, ProblemBody, TYPE_BASE};
pub use proxy::{Client, TrustedProxies};
pub use rate::{RateLimitConfig, RateLimits, RateState};
pub use rate_shared::{RedisUrl, RedisUrlError};
pub use request::RequestInfo;
pub use router::{TakesTenantScope, TenantRouter};
pub use scope::{OperatorScope, TenantScope};
pub use serve::{Drained, serve};
pub use stack::{harden, harden_with};
pub use state::{TenancyError, TenancyState};
pub use tenantry_core::Role;
