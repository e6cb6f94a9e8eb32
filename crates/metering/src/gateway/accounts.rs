//! With which account a call is made, and where to. What is known of an account is at most a second old, so one that was revoked is of no
//! use a second later.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use lru::LruCache;
use reqwest::Url;
use secrecy::ExposeSecret as _;
use tenantry_core::TenantId;
use tenantry_http::Problem;
use tenantry_postgres::TenantContext;
use uuid::Uuid;
use workforce::account::AccountStatus;
use workforce::keychain::egress::check_service;
use workforce::store::accounts::{self, ToCallWith, Which};

use super::api::Api;
use super::headers::Credential;
use super::{Gateway, Inner};
use crate::codes;

/// How long an account is believed to be what it was.
const BELIEVED: Duration = Duration::from_secs(1);
/// From then on it is looked at again beside the calls, so that none of them waits for it.
const LOOKED_AT_AGAIN: Duration = Duration::from_millis(500);
/// How often a use, and a refusal by the provider, are noted.
const NOTED: i64 = 60;
const CAPACITY: NonZeroUsize = NonZeroUsize::new(20_000).expect("not zero");

/// An account as calls are made with it.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: Uuid,
    pub(super) provider: String,
    pub(super) credential: Credential,
    /// Where its API is, without a slash at the end.
    pub(super) base: String,
    /// What is added to the query.
    pub(super) api_version: Option<String>,
    /// Whether the tenant has said where that is, and not the operator.
    pub(super) is_tenants_address: bool,
    version: i64,
    used_noted: AtomicI64,
    refusal_noted: AtomicI64,
}

#[derive(Default)]
struct Slot {
    known: ArcSwapOption<(Arc<Account>, Instant)>,
    /// Held by whoever looks.
    looking: tokio::sync::Mutex<()>,
    again: AtomicBool,
}

type Key = (TenantId, Api, Which);

/// The accounts in use.
pub(super) struct Accounts {
    slots: Mutex<LruCache<Key, Arc<Slot>>>,
}

impl Accounts {
    pub(super) fn new() -> Self {
        Self { slots: Mutex::new(LruCache::new(CAPACITY)) }
    }

    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.get_or_insert(key, Arc::default))
    }
}

impl Slot {
    fn get(&self) -> Option<(Arc<Account>, Duration)> {
        let known = self.known.load();
        let (account, looked_at) = known.as_deref()?;
        let age = looked_at.elapsed();
        (age < BELIEVED).then(|| (Arc::clone(account), age))
    }
}

impl Gateway {
    /// The account for a call.
    pub(super) async fn account(
        &self,
        context: &TenantContext,
        api: Api,
        which: Which,
    ) -> Result<Arc<Account>, Problem> {
        let slot = self.inner.accounts.slot((self.inner.owner(context), api, which.clone()));
        if let Some((account, age)) = slot.get() {
            if age > LOOKED_AT_AGAIN && !slot.again.swap(true, Ordering::AcqRel) {
                let (gateway, context) = (self.clone(), context.clone());
                tokio::spawn(async move {
                    // Whoever calls next asks for itself when this brought nothing.
                    let looked = gateway.inner.look(&slot, &context, api, &which, LOOKED_AT_AGAIN).await;
                    slot.again.store(false, Ordering::Release);
                    if let Err(problem) = looked {
                        slot.known.store(None);
                        tracing::debug!(target: "metering::gateway", code = problem.code(), "an account is of no use any more");
                    }
                });
            }
            return Ok(account);
        }
        self.inner.look(&slot, context, api, &which, BELIEVED).await
    }

    /// Notes beside the call that an account was used.
    pub(super) fn note_used(&self, context: &TenantContext, account: &Arc<Account>) {
        let now = self.inner.metering.clock.now().timestamp();
        if !is_due(&account.used_noted, now) {
            return;
        }
        let (gateway, context, id) = (self.clone(), context.clone(), account.id);
        tokio::spawn(async move {
            let noted = async {
                let mut tx = gateway.inner.db.single(&context).await?;
                accounts::note_used(&mut tx, id).await
            };
            if let Err(error) = noted.await {
                tracing::debug!(target: "metering::gateway", %error, account = %id, "a use is not noted");
            }
        });
    }

    /// Notes beside the call that the provider refused the account's credential.
    pub(super) fn note_refused(&self, context: &TenantContext, account: &Arc<Account>, why: &str) {
        let now = self.inner.metering.clock.now().timestamp();
        if !is_due(&account.refusal_noted, now) {
            return;
        }
        let (gateway, context, id, why) = (self.clone(), context.clone(), account.id, why.to_owned());
        tokio::spawn(async move {
            let noted = async {
                let mut tx = gateway.inner.db.single(&context).await?;
                accounts::note_refused(&mut tx, id, &why).await
            };
            if let Err(error) = noted.await {
                tracing::warn!(target: "metering::gateway", %error, account = %id, "a refusal by the provider is not noted");
            }
        });
    }
}

/// Whether it was not noted lately; then it is taken to be noted now.
fn is_due(noted: &AtomicI64, now: i64) -> bool {
    let last = noted.load(Ordering::Relaxed);
    (last == 0 || (now - last).abs() >= NOTED)
        && noted.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

impl Inner {
    /// Whose is what is kept: the tenant's.
    pub(super) fn owner(&self, context: &TenantContext) -> TenantId {
        #[cfg(feature = "negative-controls")]
        if self.settings.one_for_all {
            return TenantId::from_uuid(Uuid::nil());
        }
        context.id()
    }

    /// Looks at an account, unless somebody else has just done so.
    async fn look(
        &self,
        slot: &Slot,
        context: &TenantContext,
        api: Api,
        which: &Which,
        older_than: Duration,
    ) -> Result<Arc<Account>, Problem> {
        let _looking = slot.looking.lock().await;
        if let Some((account, age)) = slot.get()
            && age < older_than
        {
            return Ok(account);
        }
        // Before it is asked: what changes meanwhile is seen a second after the change, not after the answer.
        let looked_at = Instant::now();
        let mut tx = self.db.single(context).await?;
        let found = accounts::to_call_with(&mut tx, which).await?;
        drop(tx);
        let found = found.ok_or_else(|| none(api, which))?;
        let before = slot.known.load_full().filter(|known| known.0.id == found.id && known.0.version == found.version);
        let account = match before {
            Some(known) if found.status == AccountStatus::Active => Arc::clone(&known.0),
            _ => Arc::new(self.account_of(context, api, &found).await?),
        };
        slot.known.store(Some(Arc::new((Arc::clone(&account), looked_at))));
        Ok(account)
    }

    async fn account_of(&self, context: &TenantContext, api: Api, found: &ToCallWith) -> Result<Account, Problem> {
        let refused = |detail: String| Problem::of(&codes::NO_PROVIDER_ACCOUNT).detail(detail);
        if found.status != AccountStatus::Active {
            return Err(refused(format!("the account `{}` has the status `{}`", found.id, found.status)));
        }
        if !api.is_spoken_by(&found.provider) {
            let detail = format!(
                "the account `{}` is of the provider `{}`, which does not speak this API",
                found.id, found.provider
            );
            return Err(refused(detail));
        }
        let configured = self.upstreams.get(&found.provider);
        let base = match configured {
            Some(base) => base.clone(),
            None => self.tenants_address(found)?,
        };
        let secret = found.open(&self.keychain.secrets, context).await?;
        let credential = Credential::of(secret.expose_secret())
            .ok_or_else(|| refused(format!("the token of the account `{}` does not fit into a header", found.id)))?;
        let api_version = found.meta.get("api_version").and_then(|version| version.as_str()).map(str::to_owned);
        Ok(Account {
            id: found.id,
            provider: found.provider.clone(),
            credential,
            base,
            api_version,
            is_tenants_address: configured.is_none(),
            version: found.version,
            used_noted: AtomicI64::new(0),
            refusal_noted: AtomicI64::new(0),
        })
    }

    /// Where the tenant says that the API is: a name of a public host, over HTTPS.
    fn tenants_address(&self, found: &ToCallWith) -> Result<String, Problem> {
        let refused = |detail: String| Problem::of(&codes::PROVIDER_ADDRESS_REFUSED).detail(detail);
        let given = found.meta.get("base_url").and_then(|url| url.as_str()).ok_or_else(|| {
            let detail = format!(
                "the account `{}` of `{}` needs its API's address in `account_meta.base_url`",
                found.id, found.provider
            );
            Problem::of(&codes::NO_PROVIDER_ACCOUNT).detail(detail)
        })?;
        let base = address(given).map_err(|what| refused(format!("`account_meta.base_url` {what}")))?;
        let host = base.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        self.keychain.egress.admits(host).map_err(|error| refused(error.to_string()))?;
        Ok(base)
    }
}

fn none(api: Api, which: &Which) -> Problem {
    let detail = match which {
        Which::OldestOf(provider) => {
            format!("there is no active account of `{provider}`: make one with `POST /v1/provider-accounts`")
        }
        Which::Id(id) => format!("there is no account `{id}` to speak to `{}` with", api.provider()),
        Which::Named(name) => format!("there is no account that is called `{name}`"),
    };
    Problem::of(&codes::NO_PROVIDER_ACCOUNT).detail(detail)
}

/// An address that a tenant gives, without a slash at the end: nothing in it can lead to another host than the one that is seen.
fn address(given: &str) -> Result<String, &'static str> {
    const WRONG: &str = "must be a public HTTPS address such as `https://llm.example.com/v1`";
    let rest = given.strip_prefix("https://").ok_or(WRONG)?;
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    check_service(host).map_err(|_| WRONG)?;
    let fine = path.len() <= 500 && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b));
    let url = Url::parse(given).map_err(|_| WRONG)?;
    // `..` and `.` would make it another path than what is written.
    let as_written = url.path().trim_end_matches('/') == format!("/{path}").trim_end_matches('/');
    // As the library writes it: the port left out if it is 443, the host in small letters.
    if fine && as_written { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(WRONG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_address_is_a_public_name() {
        assert_eq!(
            address("https://acme.openai.azure.com/openai/v1/").unwrap(),
            "https://acme.openai.azure.com/openai/v1"
        );
        assert_eq!(address("https://llm.example.com:8443").unwrap(), "https://llm.example.com:8443");
        for bad in [
            "http://llm.example.com/v1",
            "https://127.0.0.1/v1",
            "https://2130706433/v1",
            "https://[::1]/v1",
            "https://localhost/v1",
            "https://user@llm.example.com/v1",
            "https://llm.example.com/v1?x=1",
            "https://llm.example.com/v1#x",
            "https://llm.example.com/a/../b",
            "https://llm.example.com/%2e%2e",
            "https:///v1",
            "llm.example.com",
            "",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_note_is_made_once_a_minute() {
        let noted = AtomicI64::new(0);
        let due: Vec<bool> = [1000, 1001, 1059, 1060, 1061].into_iter().map(|now| is_due(&noted, now)).collect();
        assert_eq!(due, [true, false, false, true, false]);
    }
}
