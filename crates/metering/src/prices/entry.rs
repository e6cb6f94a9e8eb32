//! Prices as people write them: in catalogues (TOML) and in overrides (JSON).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, SecondsFormat, Utc};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::amount::{Amount, Factor};

macro_rules! with_rates {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$own:meta])* pub $field:ident: $type:ty,)* }) => {
        #[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, ToSchema)]
        $(#[$meta])*
        #[serde(default)]
        pub struct $name {
            /// Input that is neither read from a cache nor written to one, for a million tokens.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<String>, example = "2.50")]
            pub input: Option<Amount>,
            /// Input read from a cache. Without it, that costs what plain input does.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<String>, example = "1.25")]
            pub cache_read: Option<Amount>,
            /// Input written to a cache for five minutes, or for a time that was not told. Without it, that costs what plain input does.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<String>, example = "3.125")]
            pub cache_write: Option<Amount>,
            /// Input written to a cache for an hour. Without it, that costs what `cache_write` does.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<String>, example = "5")]
            pub cache_write_1h: Option<Amount>,
            /// Output.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<String>, example = "10.00")]
            pub output: Option<Amount>,
            /// Output that reasoned. Without it, that costs what output does.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<String>, example = "10.00")]
            pub reasoning: Option<Amount>,
            /// Input of sound.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<String>, example = "32")]
            pub audio_input: Option<Amount>,
            /// Output of sound.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<String>, example = "64")]
            pub audio_output: Option<Amount>,
            $($(#[$own])* pub $field: $type,)*
        }
    };
}

with_rates! {
    /// Rates, in US dollars for a million tokens.
    pub struct RateEntry {}
}

with_rates! {
    /// Rates for requests whose input is long: all of the request's tokens are priced with them.
    #[serde(deny_unknown_fields)]
    pub struct ContextEntry {
        /// Where the input has more tokens than this, cached ones included.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub above: Option<u64>,
        /// Where the input has at least so many tokens.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub at_least: Option<u64>,
    }
}

with_rates! {
    /// Rates of a tier of service.
    #[serde(deny_unknown_fields)]
    pub struct TierEntry {
        /// The tier's rates for long inputs.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub context: Vec<ContextEntry>,
    }
}

with_rates! {
    /// A price: rates in US dollars for a million tokens, and what else there is to pay. All amounts are texts.
    #[serde(deny_unknown_fields)]
    pub struct PriceEntry {
        /// For each call, in US dollars.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, example = "0.01")]
        pub per_call: Option<Amount>,
        /// For each use of something that is no token, in US dollars.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        #[schema(value_type = BTreeMap<String, String>, example = json!({ "web_search": "0.01" }))]
        pub units: BTreeMap<String, Amount>,
        /// Rates of batches: the same as a tier called `batch`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub batch: Option<TierEntry>,
        /// Rates of other tiers of service, by the word that the provider's answer has for them.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub tiers: BTreeMap<String, TierEntry>,
        /// Words beside a tier with which what tokens cost is multiplied (a faster model, a region). Units and calls are not.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        #[schema(value_type = BTreeMap<String, String>, example = json!({ "us": "1.1" }))]
        pub multipliers: BTreeMap<String, Factor>,
        /// Rates for long inputs.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub context: Vec<ContextEntry>,
        /// Whether the price is the same in every tier. Without it, a tier that the price does not know has no price.
        #[serde(skip_serializing_if = "is_false")]
        pub any_tier: bool,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_false(value: &bool) -> bool {
    !*value
}

with_rates! {
    /// A price in a catalogue: a [`PriceEntry`] with its time and where it is from.
    #[serde(deny_unknown_fields)]
    #[expect(missing_docs, reason = "the members are those of `PriceEntry`")]
    pub struct DatedEntry {
        /// The first moment at which it is valid: a day (its beginning in UTC) or an instant.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        pub from: Option<Moment>,
        /// The first moment at which it is no longer valid. Without it: when the model's next price begins.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        pub to: Option<Moment>,
        /// Where the figures are from.
        pub source: String,
        /// When somebody last compared them with it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub checked: Option<NaiveDate>,
        /// What else is to be known.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub note: Option<String>,
        #[schema(value_type = Option<String>)]
        pub per_call: Option<Amount>,
        #[schema(value_type = BTreeMap<String, String>)]
        pub units: BTreeMap<String, Amount>,
        pub batch: Option<TierEntry>,
        pub tiers: BTreeMap<String, TierEntry>,
        #[schema(value_type = BTreeMap<String, String>)]
        pub multipliers: BTreeMap<String, Factor>,
        pub context: Vec<ContextEntry>,
        pub any_tier: bool,
    }
}

macro_rules! rates_of {
    ($($name:ident),+) => {
        $(impl $name {
            /// The rates alone.
            pub(super) fn rates(&self) -> RateEntry {
                RateEntry {
                    input: self.input,
                    cache_read: self.cache_read,
                    cache_write: self.cache_write,
                    cache_write_1h: self.cache_write_1h,
                    output: self.output,
                    reasoning: self.reasoning,
                    audio_input: self.audio_input,
                    audio_output: self.audio_output,
                }
            }
        })+
    };
}
rates_of!(ContextEntry, TierEntry, PriceEntry, DatedEntry);

impl DatedEntry {
    /// The price without its time.
    pub(super) fn price(&self) -> PriceEntry {
        let RateEntry { input, cache_read, cache_write, cache_write_1h, output, reasoning, audio_input, audio_output } =
            self.rates();
        PriceEntry {
            input,
            cache_read,
            cache_write,
            cache_write_1h,
            output,
            reasoning,
            audio_input,
            audio_output,
            per_call: self.per_call,
            units: self.units.clone(),
            batch: self.batch.clone(),
            tiers: self.tiers.clone(),
            multipliers: self.multipliers.clone(),
            context: self.context.clone(),
            any_tier: self.any_tier,
        }
    }
}

/// An instant, written as a day or as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub DateTime<Utc>);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0)).map(|at| at.and_utc());
        let at = day.or_else(|| text.parse::<DateTime<Utc>>().ok()).filter(|at| (2000..=2200).contains(&at.year()));
        at.map(Self).ok_or_else(|| {
            let text: String = text.chars().take(32).collect();
            format!("`{text}` is no day such as `2025-06-10` and no instant such as `2025-06-10T17:00:00Z`")
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.time() == NaiveTime::MIN {
            write!(f, "{}", self.0.date_naive())
        } else {
            f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Quoted)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

struct Quoted;

impl Visitor<'_> for Quoted {
    type Value = Moment;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a day in quotes, such as \"2025-06-10\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Moment, E> {
        text.parse().map_err(E::custom)
    }
}
