//! Prices as they are shown.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tenantry_core::TenantId;
use tenantry_http::{Limit, Problem, codes};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Prices;
use super::catalogue::{Model, Price, hex};
use super::entry::PriceEntry;
use super::overrides::{Agreed, Override};
use super::table::Table;

/// What a model costs at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PriceView {
    /// The provider.
    #[schema(example = "openai")]
    pub provider: String,
    /// The model; of an override also how names begin and `*`.
    #[schema(example = "gpt-4o")]
    pub model: String,
    /// Other names that lead to it: exact, or how they begin and `*`.
    pub aliases: Vec<String>,
    /// What it can do, in a word.
    #[schema(required, example = "balanced")]
    pub class: Option<String>,
    /// The most that it writes in one answer.
    #[schema(required)]
    pub max_output_tokens: Option<u64>,
    /// `catalogue` or `override`.
    #[schema(example = "catalogue")]
    pub source: String,
    /// The override that this is, or that the price is multiplied by.
    #[schema(required)]
    pub override_id: Option<Uuid>,
    /// The only account that it is for.
    #[schema(required)]
    pub provider_account_id: Option<Uuid>,
    /// What tokens cost is multiplied with this.
    #[schema(required, example = "0.85")]
    pub multiplier: Option<String>,
    /// As it is frozen on calls.
    #[schema(example = "openai/gpt-4o@2024-10-01+0a1b2c3d")]
    pub price_version: String,
    /// From when on.
    pub valid_from: DateTime<Utc>,
    /// Until when.
    #[schema(required)]
    pub valid_to: Option<DateTime<Utc>>,
    /// Where the figures are from.
    #[schema(required)]
    pub figures_from: Option<String>,
    /// Rates in US dollars for a million tokens, and what else there is to pay. Empty for a multiplier of several models' prices: those are
    /// below.
    pub price: PriceEntry,
}

impl PriceView {
    fn of(model: &Model, price: &Price) -> Self {
        Self {
            provider: model.provider.clone(),
            model: model.name.clone(),
            aliases: model.aliases.clone(),
            class: model.class.clone(),
            max_output_tokens: model.max_output_tokens,
            source: "catalogue".to_owned(),
            override_id: None,
            provider_account_id: None,
            multiplier: None,
            price_version: price.version.clone(),
            valid_from: price.from,
            valid_to: price.to,
            figures_from: Some(price.source.clone()).filter(|source| !source.is_empty()),
            price: price.entry.clone(),
        }
    }

    /// What is known of an override for models that the catalogue does not have, or for several.
    fn nameless(provider: &str, valid_from: DateTime<Utc>) -> Self {
        Self {
            provider: provider.to_owned(),
            model: String::new(),
            aliases: Vec::new(),
            class: None,
            max_output_tokens: None,
            source: String::new(),
            override_id: None,
            provider_account_id: None,
            multiplier: None,
            price_version: String::new(),
            valid_from,
            valid_to: None,
            figures_from: None,
            price: PriceEntry::default(),
        }
    }

    fn of_override(table: &Table, agreed: &Override, at: DateTime<Utc>) -> Self {
        let stored = &agreed.stored;
        let model = table.model(&stored.provider, &stored.model);
        let listed = model.and_then(|model| Some(Self::of(model, model.price(at)?)));
        let mut view = listed.unwrap_or_else(|| Self::nameless(&stored.provider, stored.from));
        view.source = "override".to_owned();
        view.model.clone_from(&stored.model);
        view.override_id = Some(stored.id);
        view.provider_account_id = stored.account;
        view.price_version.clone_from(&agreed.version);
        view.valid_from = stored.from;
        view.valid_to = stored.to;
        match &stored.agreed {
            Agreed::Price(entry) => {
                view.price = entry.as_ref().clone();
                view.figures_from = None;
            }
            Agreed::Multiplier(factor) => view.multiplier = Some(factor.to_string()),
        }
        view
    }
}

/// Which prices are to be shown.
#[derive(Debug, Clone, Default)]
pub struct PriceFilter {
    /// Only of this provider.
    pub provider: Option<String>,
    /// Only of models whose names begin so.
    pub model: Option<String>,
}

impl PriceFilter {
    fn takes(&self, view: &PriceView) -> bool {
        let named = |start: &String| {
            view.model.starts_with(start) || view.aliases.iter().any(|alias| alias.starts_with(start.as_str()))
        };
        self.provider.as_ref().is_none_or(|provider| view.provider == *provider)
            && self.model.as_ref().is_none_or(named)
    }
}

impl Prices {
    /// The catalogue at a moment, by provider and model.
    #[must_use]
    pub fn list(&self, filter: &PriceFilter, at: DateTime<Utc>) -> Vec<PriceView> {
        let table = self.inner.table.load();
        let views = table.valid(at).map(|(model, price)| PriceView::of(model, price));
        views.filter(|view| filter.takes(view)).collect()
    }

    /// What one tenant pays at a moment: its overrides, the first that fits first, then the catalogue.
    #[must_use]
    pub fn list_for(&self, tenant: TenantId, filter: &PriceFilter, at: DateTime<Utc>) -> Vec<PriceView> {
        let table = self.inner.table.load();
        let valid = |agreed: &&Override| agreed.stored.from <= at && agreed.stored.to.is_none_or(|to| at < to);
        let own = table.overrides.of(tenant).iter().filter(valid);
        let mut views: Vec<_> = own.map(|agreed| PriceView::of_override(&table, agreed, at)).collect();
        views.extend(table.valid(at).map(|(model, price)| PriceView::of(model, price)));
        views.retain(|view| filter.takes(view));
        views
    }

    /// All prices that a model has had and will have, the first one first; by any of its names.
    #[must_use]
    pub fn history(&self, provider: &str, model: &str) -> Vec<PriceView> {
        let table = self.inner.table.load();
        let model = table.model(provider, model);
        let views =
            |model: &std::sync::Arc<Model>| model.prices.iter().map(|price| PriceView::of(model, price)).collect();
        model.map(views).unwrap_or_default()
    }
}

/// A page of prices.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PricePage {
    /// The prices.
    pub data: Vec<PriceView>,
    /// Pass it as `cursor` for the next page; `null` on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Cuts a list to the page behind a cursor.
///
/// # Errors
/// `invalid_cursor` when the price that it names is not in the list, which is so when it has changed in between.
pub(crate) fn page(mut prices: Vec<PriceView>, cursor: Option<&str>, limit: Limit) -> Result<PricePage, Problem> {
    let place =
        |view: &PriceView| hex(&Sha256::digest(format!("{}\n{}\n{:?}", view.provider, view.model, view.override_id)));
    if let Some(cursor) = cursor {
        let at = prices.iter().position(|view| place(view) == cursor);
        let gone =
            || Problem::of(&codes::INVALID_CURSOR).detail("the prices have changed; start again without a cursor");
        prices.drain(..=at.ok_or_else(gone)?);
    }
    let more = prices.len() > limit.page_len();
    prices.truncate(limit.page_len());
    let next_cursor = prices.last().filter(|_| more).map(place);
    Ok(PricePage { data: prices, next_cursor })
}
