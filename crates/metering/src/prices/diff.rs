//! What a catalogue changes of another.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use workforce::text_enum;

use super::catalogue::{Catalogue, Model};
use super::entry::Moment;

text_enum! {
    /// What happens to a model.
    pub enum Change("change") {
        /// It was not there.
        Added = "added",
        /// It is not there any more: calls to it are unpriced.
        Removed = "removed",
        /// Something about it is another.
        Changed = "changed",
    }
}

/// A model that two catalogues do not have alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// What happens to it.
    pub change: Change,
    /// Its members that are not alike, such as `2025-06-10/input`.
    pub members: Vec<Member>,
}

/// A member of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PriceMember)]
pub struct Member {
    /// Which: of a price, behind the price's first day.
    #[schema(example = "2025-06-10/input")]
    pub name: String,
    /// As it was.
    #[schema(required, example = "10")]
    pub before: Option<String>,
    /// As it will be.
    #[schema(required, example = "2")]
    pub after: Option<String>,
}

/// What a catalogue does to the calls of the last thirty days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Effect {
    /// The calls that were looked at: those to providers with a difference, the latest first.
    pub calls: u64,
    /// Whether there were more than that.
    pub truncated: bool,
    /// What those of them cost whose cost is another, as it was recorded.
    #[serde(with = "rust_decimal::serde::str")]
    #[schema(value_type = String, example = "12.5")]
    pub before_usd: Decimal,
    /// What they would cost.
    #[serde(with = "rust_decimal::serde::str")]
    #[schema(value_type = String, example = "10")]
    pub after_usd: Decimal,
    /// The models whose calls would cost something else.
    pub models: Vec<ModelEffect>,
}

/// The same for one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelEffect {
    /// The provider.
    pub provider: String,
    /// The model, as the calls name it.
    pub model: String,
    /// Calls that would cost something else.
    pub calls: u64,
    /// Those of them that have no cost now.
    pub newly_priced: u64,
    /// Those of them that would have none.
    pub newly_unpriced: u64,
    /// What they cost, as it was recorded.
    #[serde(with = "rust_decimal::serde::str")]
    #[schema(value_type = String, example = "12.5")]
    pub before_usd: Decimal,
    /// What they would cost.
    #[serde(with = "rust_decimal::serde::str")]
    #[schema(value_type = String, example = "10")]
    pub after_usd: Decimal,
}

/// All differences, by provider and model.
pub(super) fn differences(before: &Catalogue, after: &Catalogue) -> Vec<Difference> {
    let named = |catalogue: &Catalogue| -> BTreeMap<(String, String), Arc<Model>> {
        catalogue.all().map(|model| ((model.provider.clone(), model.name.clone()), model)).collect()
    };
    let (before, after) = (named(before), named(after));
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let difference = |name: &(String, String)| {
        let (old, new) = (before.get(name), after.get(name));
        let change = match (old, new) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            (Some(old), Some(new)) if old == new => return None,
            _ => Change::Changed,
        };
        let (old, new) = (old.map(members).unwrap_or_default(), new.map(members).unwrap_or_default());
        let mut members: Vec<_> = old.keys().chain(new.keys()).collect();
        members.sort_unstable();
        members.dedup();
        let members = members.into_iter().filter(|name| old.get(*name) != new.get(*name)).map(|name| Member {
            name: name.clone(),
            before: old.get(name).cloned(),
            after: new.get(name).cloned(),
        });
        Some(Difference { provider: name.0.clone(), model: name.1.clone(), change, members: members.collect() })
    };
    names.into_iter().filter_map(difference).collect()
}

fn members(model: &Arc<Model>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let own = json!({
        "aliases": model.aliases.join(", "), "class": model.class, "baseline": model.baseline,
        "max_output_tokens": model.max_output_tokens,
    });
    flatten("", &own, &mut found);
    for price in &model.prices {
        let from = Moment(price.from).to_string();
        let entry = serde_json::to_value(&price.entry).unwrap_or_default();
        flatten(&from, &entry, &mut found);
        found.insert(format!("{from}/source"), price.source.clone());
        if let Some(to) = price.to {
            found.insert(format!("{from}/to"), Moment(to).to_string());
        }
    }
    found
}

fn flatten(place: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let below = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| flatten(&below(name), value, into)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| flatten(&below(&at.to_string()), value, into));
        }
        Value::Null => {}
        Value::String(text) => _ = into.insert(place.to_owned(), text.clone()),
        other => _ = into.insert(place.to_owned(), other.to_string()),
    }
}
