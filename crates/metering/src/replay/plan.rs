//! Whose call a line is, and to which model.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use tenantry_core::TenantId;
use tenantry_core::calendar::Tz;
use uuid::{Builder, Uuid};

use super::trace::{Line, Trace};
use crate::call::{Attribution, Call, Costed, Finish, Kind, Source, UsageSource, bucket};
use crate::usage::Usage;

/// A tenant that gets calls.
#[derive(Debug, Clone)]
pub struct ReplayTenant {
    /// Id.
    pub id: TenantId,
    /// Public name.
    pub slug: String,
    /// Where its days begin.
    pub zone: Tz,
}

/// A model that gets calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayModel {
    /// The provider, as the price catalogue calls it.
    pub provider: String,
    /// The model.
    pub model: String,
}

/// How lines become calls: a function of the line's number and these, and of nothing else.
///
/// A choice among *n* is the first eight bytes of SHA-256 of `SEED:NUMBER:WHAT`, as a number, modulo *n*; WHAT is `tenant`, `model` or
/// `agent`.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Changes all choices.
    pub seed: u64,
    /// The tenants, at least one.
    pub tenants: Vec<ReplayTenant>,
    /// The models, at least one.
    pub models: Vec<ReplayModel>,
    /// How many agents each tenant has; with 0, calls are nobody's.
    pub agents: u32,
    /// When the first call begins, where that is given.
    pub start: Option<DateTime<Utc>>,
}

impl Plan {
    /// Names the replay of a trace after this plan: all that decides what its calls are.
    pub(super) fn identity(&self, trace: &Trace) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(&trace.text));
        hash.update(format!("{}\n{}\n{:?}\n", self.seed, self.agents, self.start));
        for model in &self.models {
            hash.update(format!("{}/{}\n", model.provider, model.model));
        }
        for tenant in &self.tenants {
            hash.update(format!("{}\n", tenant.slug));
        }
        hash.finalize().into()
    }

    fn choose(&self, line: &Line, what: &str, among: usize) -> usize {
        let hash = Sha256::digest(format!("{}:{}:{what}", self.seed, line.number));
        let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let among = u64::try_from(among.max(1)).unwrap_or(u64::MAX);
        usize::try_from(number % among).unwrap_or_default()
    }

    pub(super) fn tenant(&self, line: &Line) -> Option<&ReplayTenant> {
        self.tenants.get(self.choose(line, "tenant", self.tenants.len()))
    }

    pub(super) fn id(identity: &[u8; 32], line: &Line, tenant: &ReplayTenant) -> Uuid {
        named(&[identity, &line.number.to_be_bytes(), tenant.id.as_uuid().as_bytes()])
    }

    /// The call of a line, not priced yet. How long it took is not in a trace: it is taken to be 50 ms, a millisecond for each 20 tokens of input, and 20 ms for
    /// each of output.
    pub(super) fn call(&self, identity: &[u8; 32], line: &Line, start: DateTime<Utc>) -> Option<Call> {
        let tenant = self.tenant(line)?;
        let model = self.models.get(self.choose(line, "model", self.models.len()))?;
        let id = Self::id(identity, line, tenant);
        let agents = usize::try_from(self.agents).unwrap_or_default();
        let agent_id = (agents > 0).then(|| {
            let agent = self.choose(line, "agent", agents).to_string();
            named(&[b"agent of a replay", tenant.id.as_uuid().as_bytes(), agent.as_bytes()])
        });
        let timestamp = start + line.after;
        let (hour, day) = bucket(timestamp, tenant.zone);
        let first_token = 50 + line.input / 20;
        let milliseconds = |time: u64| i32::try_from(time).unwrap_or(i32::MAX);
        Some(Call {
            id,
            tenant_id: tenant.id,
            kind: Kind::Call,
            adjusts: None,
            prices_call: false,
            operation_id: id,
            attempt: 1,
            source: Source::Replay,
            attribution: Attribution { agent_id, ..Attribution::default() },
            provider: model.provider.clone(),
            operation: "chat.completions".to_owned(),
            model: model.model.clone(),
            requested_model: Some(model.model.clone()),
            service_tier: None,
            usage: Usage { input: line.input, output: line.output, ..Usage::default() },
            usage_source: UsageSource::Reported,
            usage_mismatch: false,
            cost: Costed::unpriced(),
            latency_ms: milliseconds(first_token.saturating_add(line.output.saturating_mul(20))),
            time_to_first_token_ms: Some(milliseconds(first_token)),
            streamed: true,
            success: true,
            error_message: None,
            finish: Finish::Complete,
            status_code: Some(200),
            provider_request_id: None,
            timestamp,
            hour,
            day,
        })
    }
}

/// An id that is a function of what it names.
fn named(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}
