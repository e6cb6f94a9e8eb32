//! What a call is for, as its headers say, and whether that exists.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use lru::LruCache;
use sha2::{Digest as _, Sha256};
use tenantry_core::TenantId;
use tenantry_http::Problem;
use tenantry_postgres::{TenantContext, TenantDb, Via};
use uuid::Uuid;
use workforce::store::accounts::Which;
use workforce::store::attribution::{Missing, Named, find};

use super::api::Api;
use crate::call::Attribution;
use crate::codes;

const AGENT: &str = "x-tenantry-agent";
const SESSION: &str = "x-tenantry-session";
const TASK: &str = "x-tenantry-task";
const TASK_TYPE: &str = "x-tenantry-task-type";
const REFERENCE: &str = "x-tenantry-reference";
const OPERATION: &str = "x-tenantry-operation";
const ACCOUNT: &str = "x-tenantry-account";
const RETRY: &str = "x-tenantry-retry";
const RETRIED_BY_CLIENT: &str = "x-stainless-retry-count";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Characters that a text of a header may have.
const LONGEST: usize = 200;
/// More repetitions are not asked for.
const MOST_RETRIES: u8 = 5;
/// Agents, sessions and tasks are never removed, only marked, so what was there is there. The time bounds what is kept.
const KEPT: Duration = Duration::from_secs(300);
const CAPACITY: NonZeroUsize = NonZeroUsize::new(50_000).expect("not zero");

/// What the headers of a call say about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) named: Named,
    pub(super) task_type: Option<String>,
    pub(super) reference: Option<String>,
    /// Shared by the attempts of one operation; the caller's, or a new one.
    pub(super) operation_id: Uuid,
    /// The number of the first attempt that is made for this request.
    pub(super) attempt: i16,
    pub(super) account: Which,
    pub(super) retries: Option<u8>,
}

impl Labels {
    /// Reads them.
    pub(super) fn read(headers: &HeaderMap, api: Api, tenant: TenantId) -> Result<Self, Problem> {
        let id = |name| -> Result<Option<Uuid>, Problem> {
            let Some(text) = text(headers, name)? else { return Ok(None) };
            Uuid::try_parse(text).map(Some).map_err(|_| wrong(name, "must be a UUID"))
        };
        let retried = text(headers, RETRIED_BY_CLIENT).ok().flatten().and_then(|text| text.parse::<i16>().ok());
        let retries = match text(headers, RETRY)? {
            None => None,
            Some(text) => Some(
                text.parse::<u8>()
                    .ok()
                    .filter(|retries| *retries <= MOST_RETRIES)
                    .ok_or_else(|| wrong(RETRY, "must be a number from 0 to 5"))?,
            ),
        };
        let operation = match text(headers, OPERATION)? {
            Some(text) => Some(text),
            None => text_of_another_api(headers, IDEMPOTENCY_KEY),
        };
        let account = match text(headers, ACCOUNT)? {
            None => Which::OldestOf(api.provider()),
            Some(text) => match Uuid::try_parse(text) {
                Ok(id) => Which::Id(id),
                Err(_) => Which::Named(text.to_owned()),
            },
        };
        Ok(Self {
            named: Named { agent: id(AGENT)?, session: id(SESSION)?, task: id(TASK)? },
            task_type: text(headers, TASK_TYPE)?.map(str::to_owned),
            reference: text(headers, REFERENCE)?.map(str::to_owned),
            operation_id: operation.map_or_else(Uuid::now_v7, |text| operation_id(tenant, text)),
            attempt: retried.map_or(1, |retried| retried.clamp(0, i16::MAX - 256) + 1),
            account,
            retries,
        })
    }

    /// With what was found of it.
    pub(super) fn attribution(&self, found: Named, context: &TenantContext, account: Uuid) -> Attribution {
        let api_key_id = match context.principal().via() {
            Via::ApiKey { id, .. } => Some(*id.as_uuid()),
            Via::Token | Via::System { .. } => None,
        };
        Attribution {
            agent_id: found.agent,
            session_id: found.session,
            task_id: found.task,
            api_key_id,
            provider_account_id: Some(account),
            task_type: self.task_type.clone(),
            client_reference: self.reference.clone(),
        }
    }
}

/// A header's text. Sent twice, empty or too long it is refused: what a call is booked on must not be guessed.
fn text<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).ok().map(str::trim);
    let fine = |text: &&str| !text.is_empty() && text.chars().count() <= LONGEST && !text.contains(char::is_control);
    match text.filter(fine).filter(|_| values.next().is_none()) {
        Some(text) => Ok(Some(text)),
        None => Err(wrong(name, "must be sent once, with 1 to 200 characters")),
    }
}

/// A header that is not ours: what it means is the provider's to say.
fn text_of_another_api<'h>(headers: &'h HeaderMap, name: &'static str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().filter(|text| !text.is_empty())
}

/// A caller's name of an operation as an id: a UUID is itself, anything else is hashed with the tenant.
fn operation_id(tenant: TenantId, text: &str) -> Uuid {
    if let Ok(id) = Uuid::try_parse(text) {
        return id;
    }
    let hash = Sha256::new().chain_update(tenant.as_uuid().as_bytes()).chain_update(text).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn wrong(name: &str, what: &str) -> Problem {
    Problem::of(&codes::INVALID_ATTRIBUTION).detail(format!("`{name}` {what}"))
}

/// What was found lately.
pub(super) struct Attributions {
    found: Mutex<LruCache<(TenantId, Named), (Named, Instant)>>,
}

impl Attributions {
    pub(super) fn new() -> Self {
        Self { found: Mutex::new(LruCache::new(CAPACITY)) }
    }

    /// Looks for what was named, among the tenant's own.
    pub(super) async fn find(
        &self,
        db: &TenantDb,
        (owner, context): (TenantId, &TenantContext),
        named: Named,
    ) -> Result<Named, Problem> {
        if named == Named::default() {
            return Ok(named);
        }
        let key = (owner, named);
        if let Some(found) = self.known(&key) {
            return Ok(found);
        }
        let mut tx = db.single(context).await?;
        let found = find(&mut tx, &named).await?;
        drop(tx);
        let found = found.map_err(|missing| {
            let (header, what) = match missing {
                Missing::Agent => (AGENT, "agent"),
                Missing::Session => (SESSION, "session"),
                Missing::Task => (TASK, "task"),
            };
            Problem::of(&codes::UNKNOWN_ATTRIBUTION).detail(format!("`{header}` names no {what} of the company"))
        })?;
        self.found.lock().unwrap_or_else(PoisonError::into_inner).put(key, (found, Instant::now()));
        Ok(found)
    }

    fn known(&self, key: &(TenantId, Named)) -> Option<Named> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(key).filter(|(_, at)| at.elapsed() < KEPT).map(|(found, _)| *found)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Result<Labels, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Labels::read(&headers, Api::OpenAi, TenantId::from_uuid(Uuid::nil()))
    }

    #[test]
    fn headers_say_what_a_call_is_for() {
        let id = Uuid::now_v7();
        let labels = read(&[
            (AGENT, &id.to_string()),
            (TASK_TYPE, " research "),
            (OPERATION, "order 7"),
            (RETRIED_BY_CLIENT, "2"),
            (RETRY, "1"),
            (ACCOUNT, "Production"),
        ])
        .unwrap();
        assert_eq!(labels.named, Named { agent: Some(id), ..Named::default() });
        assert_eq!((labels.task_type.as_deref(), labels.attempt, labels.retries), (Some("research"), 3, Some(1)));
        assert_eq!(labels.account, Which::Named("Production".to_owned()));
        assert_eq!(read(&[(OPERATION, "order 7")]).unwrap().operation_id, labels.operation_id);
        assert_eq!(read(&[(IDEMPOTENCY_KEY, "order 7")]).unwrap().operation_id, labels.operation_id);
        assert_eq!(read(&[(OPERATION, &id.to_string())]).unwrap().operation_id, id);
        let plain = read(&[]).unwrap();
        assert_eq!((plain.account, plain.attempt, plain.retries), (Which::OldestOf("openai"), 1, None));
        assert_eq!(read(&[(ACCOUNT, &id.to_string())]).unwrap().account, Which::Id(id));
    }

    #[test]
    fn what_cannot_be_booked_is_refused() {
        let long = "x".repeat(201);
        let id = Uuid::now_v7().to_string();
        let bad: [&[(&'static str, &str)]; 6] = [
            &[(AGENT, "mira")],
            &[(SESSION, "")],
            &[(TASK_TYPE, &long)],
            &[(RETRY, "6")],
            &[(RETRY, "x")],
            &[(TASK, &id), (TASK, &id)],
        ];
        for lines in bad {
            assert_eq!(read(lines).unwrap_err().code(), "invalid_attribution", "{lines:?}");
        }
    }
}
