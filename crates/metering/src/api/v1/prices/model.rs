use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use workforce::{Checks, Validate};

use crate::prices::{Agreed, Factor, PriceEntry, check_price, is_pattern};

/// What a company pays instead of the catalogue's price. It is never changed: another takes its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PriceOverride {
    /// The override's id.
    pub id: Uuid,
    /// The provider.
    #[schema(example = "openai")]
    pub provider: String,
    /// The model, or how models' names begin and `*`.
    #[schema(example = "gpt-4o*")]
    pub model: String,
    /// The only account that it is for; `null` for all.
    #[schema(required)]
    pub provider_account_id: Option<Uuid>,
    /// From when on.
    pub valid_from: DateTime<Utc>,
    /// Until when; `null` for good.
    #[schema(required)]
    pub valid_to: Option<DateTime<Utc>>,
    /// A price of its own, where there is one.
    #[schema(required)]
    pub price: Option<PriceEntry>,
    /// Or a part of the catalogue's price: what tokens cost is multiplied with it.
    #[schema(required, value_type = Option<String>, example = "0.85")]
    pub multiplier: Option<Factor>,
    /// Why.
    pub note: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl workforce::Record for PriceOverride {
    const FIELDS: &'static [&'static str] = &[
        "id",
        "provider",
        "model",
        "provider_account_id",
        "valid_from",
        "valid_to",
        "price",
        "multiplier",
        "note",
        "created_at",
    ];
}

/// An override to be made: with a price of its own, or with a part of the catalogue's.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "provider": "openai", "model": "gpt-4o*", "multiplier": "0.85", "valid_from": "2026-01-01T00:00:00Z", "note": "contract 4711" }))]
pub struct CreatePriceOverride {
    /// The provider, as calls name it.
    #[schema(example = "openai")]
    pub provider: String,
    /// The model that answers, as the provider names it, or how such names begin and `*`.
    #[schema(example = "gpt-4o*")]
    pub model: String,
    /// The only account that it is for; all without it.
    pub provider_account_id: Option<Uuid>,
    /// From when on calls are priced with it, also in the past; now without it. Calls that are recorded already stay as they are.
    pub valid_from: Option<DateTime<Utc>>,
    /// Until when; for good without it.
    pub valid_to: Option<DateTime<Utc>>,
    /// A price of its own.
    pub price: Option<PriceEntry>,
    /// A part of the catalogue's price: what tokens cost is multiplied with it. Units and fees for calls are not.
    #[schema(value_type = Option<String>, example = "0.85")]
    pub multiplier: Option<Factor>,
    /// Why.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub note: String,
}

impl CreatePriceOverride {
    /// What was agreed. The rules see to it that there is one of the two.
    pub(crate) fn agreed(&self) -> Agreed {
        match (&self.price, self.multiplier) {
            (Some(price), _) => Agreed::Price(Box::new(price.clone())),
            (None, multiplier) => Agreed::Multiplier(multiplier.unwrap_or(Factor::ONE)),
        }
    }
}

impl Validate for CreatePriceOverride {
    fn check(&self, checks: &mut Checks) {
        checks.provider("/provider", &self.provider);
        if !is_pattern(&self.model) {
            checks
                .fail("/model", "must have 1 to 200 characters without white space; a `*` may stand at the end alone");
        }
        for (pointer, at) in [("/valid_from", self.valid_from), ("/valid_to", self.valid_to)] {
            if let Some(at) = at {
                checks.instant(pointer, at);
            }
        }
        if let (Some(from), Some(to)) = (self.valid_from, self.valid_to)
            && to <= from
        {
            checks.fail("/valid_to", "must be after `valid_from`");
        }
        match (&self.price, self.multiplier) {
            (Some(price), None) => {
                for flaw in check_price(price) {
                    let place = if flaw.place.is_empty() { String::new() } else { format!("{}: ", flaw.place.trim()) };
                    let hint = flaw.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                    checks.fail("/price", format!("{place}{}{hint}", flaw.problem));
                }
            }
            (None, Some(multiplier)) if !multiplier.is_simple() => {
                checks.fail("/multiplier", "must have at most 3 decimals");
            }
            (None, Some(_)) => {}
            (Some(_), Some(_)) => checks.fail("/multiplier", "must not stand beside `price`"),
            (None, None) => checks.fail("/price", "is missing, and `multiplier` as well: one of the two is needed"),
        }
        checks.prose("/note", &self.note, 500);
    }
}
