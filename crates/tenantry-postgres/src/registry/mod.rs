//! Who the tenants are and who may act for them: one truth in the database, cached in each process.

mod alarms;
mod cache;
mod context;
mod entries;
mod keys;
mod listener;
mod load;
mod members;
mod refusals;
mod settings;
mod usage;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tenantry_core::{Clock, PresentedToken, Role, Slug, TenantId, TenantStatus};

pub(crate) use context::TimeLimits;
pub use context::{
    Actor, Identified, Limits, Operator, OwnLimits, Principal, Tenant, TenantContext, VerifiedToken, Via,
};
pub use keys::NewKey;
pub use listener::NotReady;
pub use members::{Member, MemberFilter, MemberPatch, NewMember};
pub(crate) use settings::zone;
pub use settings::{SettingsChange, SettingsError, TenantSettings};
pub use usage::MeasuredStorage;

use crate::clients::Clients;
use crate::config::{ClusterSecret, DatabaseConfig, RegistryConfig};
use crate::connect::Logins;
use crate::error::{AccessError, DbError};
use crate::events::{Announcer, EventHub};

use cache::Cache;
use load::{KeyRow, OperatorRow};

/// Of a longer path only the beginning is noted.
const LONGEST_PATH: usize = 200;

/// The registry as one process sees it. Cheap to clone.
///
/// Reads come from a cache that LISTEN/NOTIFY keeps true. While the listener is not known to hear, an
/// entry older than [`RegistryConfig::stale_after`] is read again from the database; when that is not
/// possible either, access is refused.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    clients: Clients,
    secret: ClusterSecret,
    cache: Arc<Cache>,
    clock: Arc<dyn Clock>,
    listener: listener::Listener,
    refusals: refusals::Recorder,
    entries: entries::Entries,
    events: EventHub,
    announcer: Announcer,
    needs_version: i32,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

/// A refused attempt, for the audit table.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The tenant the credential belongs to, where known.
    pub tenant: Option<TenantId>,
    /// How the one who tried had proved itself: [`Principal::kind`].
    pub kind: &'static str,
    /// Who tried: [`Principal::subject`], for a key `key:<id>`.
    pub subject: String,
    /// What was refused, such as `access.mismatch`.
    pub action: &'static str,
    /// What was asked for.
    pub presented: String,
    /// From where.
    pub client_ip: Option<IpAddr>,
    /// The request's id.
    pub request_id: String,
}

impl Registry {
    /// Starts the listener and returns; the first read may find it not yet hearing and asks the database.
    #[must_use]
    pub fn start(database: &DatabaseConfig, config: &RegistryConfig, clock: Arc<dyn Clock>) -> Self {
        let clients = Clients::new(database.clone(), Logins::CONTROL, config.connections);
        let cache = Arc::new(Cache::new(config));
        let events = EventHub::new(config.events.clone());
        let listener = listener::Listener::spawn(database.clone(), config.clone(), Arc::clone(&cache), events.clone());
        let refusals = refusals::Recorder::spawn(clients.clone());
        let entries = entries::Entries::new(config.note_entries_every);
        let announcer = Announcer::spawn(events.clone(), clients.clone());
        let (secret, needs_version) = (database.secret.clone(), config.needs_version);
        Self {
            inner: Arc::new(Inner {
                clients,
                secret,
                cache,
                clock,
                listener,
                refusals,
                entries,
                events,
                announcer,
                needs_version,
            }),
        }
    }

    /// Waits until changes are heard, at most `limit`.
    pub async fn wait_until_listening(&self, limit: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + limit;
        while !self.inner.cache.hears() {
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// Why this process should not get requests now; empty when it may.
    pub async fn readiness(&self) -> Vec<NotReady> {
        let mut reasons = Vec::new();
        if !self.inner.cache.hears() {
            reasons.push(NotReady::Listener);
        }
        match tokio::time::timeout(Duration::from_secs(2), load::schema_versions(&self.inner.clients)).await {
            Ok(Ok(versions)) => reasons.extend(crate::migrate::shared::missing(&versions).map(NotReady::Migrations)),
            Ok(Err(error)) if error.refuses_login() => reasons.push(NotReady::Login(error.to_string())),
            Ok(Err(error)) if error.is_unprepared() => {
                reasons.extend(crate::migrate::shared::missing(&BTreeMap::new()).map(NotReady::Migrations))
            }
            Ok(Err(error)) => reasons.push(NotReady::Database(error.to_string())),
            Err(_) => reasons.push(NotReady::Database("no answer within 2 s".into())),
        }
        reasons
    }

    /// Proves an API key.
    ///
    /// # Errors
    /// [`AccessError::InvalidCredential`] for a key that is unknown, wrong, expired or revoked.
    pub async fn authenticate_key(&self, presented: &PresentedToken) -> Result<Principal, AccessError> {
        let key = self.key(presented.lookup()).await?.ok_or(AccessError::InvalidCredential)?;
        if !presented.matches(&key.hash) || !key.valid_at(self.inner.clock.now()) {
            return Err(AccessError::InvalidCredential);
        }
        Ok(Principal::for_key(&key))
    }

    /// Whether a key or an operator's token with this public part is remembered: then to look at it costs the database nothing.
    #[must_use]
    pub fn remembers(&self, presented: &PresentedToken) -> bool {
        let Inner { cache, .. } = &*self.inner;
        cache.keys.holds(presented.lookup()) || cache.operators.holds(presented.lookup())
    }

    /// Takes a token whose signature and claims were verified. Its subject has the role that it has among the tenant's
    /// members, or `unlisted` when it is none of them.
    ///
    /// # Errors
    /// [`AccessError::UnknownTenant`] when its tenant does not exist, [`AccessError::NotAMember`] for a subject that is not
    /// listed when `unlisted` is no role.
    pub async fn authenticate_token(
        &self,
        token: VerifiedToken,
        unlisted: Option<Role>,
    ) -> Result<Principal, AccessError> {
        let tenant = self.by_slug(&token.tenant_slug).await?;
        let tenant =
            tenant.ok_or_else(|| AccessError::UnknownTenant { slug: token.tenant_slug.as_str().to_owned() })?;
        let role = self.role_of(tenant.id, token.subject()).await?.or(unlisted);
        let role = role.ok_or_else(|| AccessError::NotAMember { slug: tenant.slug.as_str().to_owned() })?;
        Ok(Principal::for_token(tenant.id, token, role))
    }

    /// Proves an operator's token.
    ///
    /// # Errors
    /// [`AccessError::InvalidCredential`].
    pub async fn authenticate_operator(&self, presented: &PresentedToken) -> Result<Operator, AccessError> {
        let row = self.operator(presented.lookup()).await?.ok_or(AccessError::InvalidCredential)?;
        if !presented.matches(&row.hash) || !row.valid_at(self.inner.clock.now()) {
            return Err(AccessError::InvalidCredential);
        }
        Ok(Operator::new(row.id, row.name.clone(), row.role))
    }

    /// Whether a host is some tenant's custom domain.
    ///
    /// # Errors
    /// [`AccessError::Stale`].
    pub async fn domain_is_known(&self, host: &str) -> Result<bool, AccessError> {
        Ok(self.domain(host).await?.is_some())
    }

    /// The context of a proven principal, if its tenant is served and everything that identified a tenant agrees.
    ///
    /// # Errors
    /// [`AccessError::Mismatch`], [`AccessError::Inactive`], [`AccessError::UnknownTenant`], [`AccessError::SchemaBehind`],
    /// [`AccessError::Stale`].
    pub async fn context(
        &self,
        principal: &Principal,
        identified: &[Identified],
    ) -> Result<TenantContext, AccessError> {
        let tenant = self.by_id(principal.tenant()).await?;
        let tenant = tenant.ok_or_else(|| AccessError::UnknownTenant { slug: principal.tenant().to_string() })?;
        for named in identified {
            let agrees = match named {
                Identified::Slug(slug) => *slug == tenant.slug,
                Identified::Domain(host) => self.domain(host).await? == Some(tenant.id),
            };
            if !agrees {
                return Err(AccessError::Mismatch { presented: named.as_str().to_owned() });
            }
        }
        if tenant.status != TenantStatus::Active {
            return Err(AccessError::Inactive { slug: tenant.slug.as_str().to_owned(), status: tenant.status });
        }
        let needed = self.inner.needs_version;
        if tenant.schema_version < needed {
            let (slug, at) = (tenant.slug.as_str().to_owned(), tenant.schema_version);
            return Err(AccessError::SchemaBehind { slug, at, needed });
        }
        Ok(TenantContext::new(tenant, principal.clone()))
    }

    /// A context for work of the platform itself, with the reason it gives.
    ///
    /// # Errors
    /// As [`context`](Self::context).
    pub async fn system_context(&self, slug: &Slug, reason: &'static str) -> Result<TenantContext, AccessError> {
        let tenant =
            self.by_slug(slug).await?.ok_or_else(|| AccessError::UnknownTenant { slug: slug.as_str().to_owned() })?;
        self.context(&Principal::for_system(tenant.id, reason), &[]).await
    }

    /// Notes a refused attempt in the audit table, later and without making the caller wait. Under a flood the surplus is
    /// counted in one row.
    pub fn record_refusal(&self, refusal: Refusal) {
        self.inner.refusals.record(refusal);
    }

    /// Notes in the tenant's audit trail that somebody has entered it, later and without making the caller wait: the first time
    /// that a credential comes from an address, and then once in a while. Every request is in the log of accesses.
    pub fn record_entry(&self, context: &TenantContext, method: &str, path: &str) {
        if !self.inner.entries.is_due(context) {
            return;
        }
        let actor = context.actor();
        let path = path.get(..LONGEST_PATH).unwrap_or(path);
        let recorded = self.inner.refusals.record_entry(refusals::Note {
            tenant: Some(context.id()),
            kind: actor.kind,
            subject: actor.name,
            action: "access.enter",
            presented: format!("{method} {path}"),
            client_ip: actor.client_ip,
            request_id: actor.request_id.unwrap_or_default(),
            details: Some(serde_json::json!({
                "slug": context.slug(), "subject": context.principal().subject(), "method": method, "path": path,
            })),
        });
        if !recorded {
            self.inner.entries.forget(context);
        }
    }

    /// Who waits for what tenants publish.
    #[must_use]
    pub fn events(&self) -> &EventHub {
        &self.inner.events
    }

    /// Counts what was heard to have changed in the registry; `None` while nothing is heard. As long as it stays the same, and for
    /// not too long, an answer of the registry holds.
    #[must_use]
    pub fn changes(&self) -> Option<u64> {
        self.inner.cache.hears().then(|| self.inner.cache.changes())
    }

    /// This server's clock.
    pub(crate) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.inner.clock.now()
    }

    /// The context's tenant as it is now, or an error when it may not be served any more.
    pub(crate) async fn still_served(&self, context: &TenantContext) -> Result<Arc<Tenant>, DbError> {
        let tenant = match self.by_id(context.id()).await {
            Ok(Some(tenant)) => tenant,
            Ok(None) => return Err(DbError::ContextExpired),
            Err(error) => return Err(DbError::Unavailable(error.to_string())),
        };
        let (at, needed) = (tenant.schema_version, self.inner.needs_version);
        match tenant.status {
            TenantStatus::Active if at < needed => Err(DbError::SchemaBehind { at, needed }),
            TenantStatus::Active => Ok(tenant),
            _ => Err(DbError::ContextExpired),
        }
    }

    /// Writes what [`record_refusal`](Self::record_refusal) has taken so far, at most until `limit`, and takes nothing more;
    /// used to end a process cleanly. False when some could not be written in time.
    pub async fn drain_refusals(&self, limit: Duration) -> bool {
        self.inner.refusals.drain(limit).await
    }

    /// Stops listening; used to end a process cleanly.
    pub fn stop(&self) {
        self.inner.announcer.stop();
        self.inner.listener.stop();
    }

    /// Breaks the listener's connection as a network fault would, for as long as `gap`; for tests of faults.
    #[doc(hidden)]
    pub fn cut_listener(&self, gap: Duration) {
        self.inner.listener.cut(gap);
    }

    async fn by_id(&self, id: TenantId) -> Result<Option<Arc<Tenant>>, AccessError> {
        let clients = &self.inner.clients;
        self.inner.cache.tenants.get_or_load(id, || load::tenant_by_id(clients, id)).await
    }

    /// Follows a remembered slug to its tenant. Where the tenant does not bear it any more, the slug is looked up anew.
    async fn by_slug(&self, slug: &Slug) -> Result<Option<Arc<Tenant>>, AccessError> {
        let Inner { clients, cache, .. } = &*self.inner;
        for _ in 0..2 {
            let found = cache.slugs.get_or_load(slug.clone(), || load::id_by_slug(clients, slug)).await?;
            let Some(id) = found else { return Ok(None) };
            match self.by_id(id).await? {
                Some(tenant) if tenant.slug == *slug => return Ok(Some(tenant)),
                _ => cache.slugs.forget(slug),
            }
        }
        Ok(None)
    }

    /// The tenant of a custom host, as [`by_slug`](Self::by_slug).
    async fn domain(&self, host: &str) -> Result<Option<TenantId>, AccessError> {
        let Inner { clients, cache, .. } = &*self.inner;
        for _ in 0..2 {
            let found = cache.domains.get_or_load(host.to_owned(), || load::id_by_domain(clients, host)).await?;
            let Some(id) = found else { return Ok(None) };
            match self.by_id(id).await? {
                Some(tenant) if tenant.allowed_domains.iter().any(|domain| domain == host) => return Ok(Some(id)),
                _ => cache.domains.forget(host),
            }
        }
        Ok(None)
    }

    async fn key(&self, lookup: &str) -> Result<Option<Arc<KeyRow>>, AccessError> {
        let clients = &self.inner.clients;
        let load = || load::key(clients, lookup);
        self.inner.cache.keys.get_or_load(lookup.to_owned(), load).await
    }

    /// The role of a subject among a tenant's members.
    async fn role_of(&self, tenant: TenantId, subject: &str) -> Result<Option<Role>, AccessError> {
        let clients = &self.inner.clients;
        let load = || load::role_of(clients, tenant, subject);
        self.inner.cache.members.get_or_load((tenant, subject.to_owned()), load).await
    }

    async fn operator(&self, lookup: &str) -> Result<Option<Arc<OperatorRow>>, AccessError> {
        let clients = &self.inner.clients;
        let load = || load::operator(clients, lookup);
        self.inner.cache.operators.get_or_load(lookup.to_owned(), load).await
    }
}
