use std::str::FromStr as _;

use rust_decimal::Decimal;
use serde_json::Value;

use super::count::text;
use super::estimate::Bounds;
use super::{Usage, estimate};
use crate::call::UsageSource;

/// Names and texts of an answer are cut to this many characters.
const LONGEST_NAME: usize = 200;
const LONGEST_ERROR: usize = 500;
/// Decimals that an amount has in the database.
const DECIMALS: u32 = 12;

/// What was read of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What was counted; where the answer did not say, only what it said before it ended.
    pub usage: Usage,
    /// [`Reported`](UsageSource::Reported), [`Estimated`](UsageSource::Estimated) where the counts did not come or not in full, or
    /// [`None`](UsageSource::None) where it failed before a model ran.
    pub source: UsageSource,
    /// Whether the counts contradict each other. They were cut to what was reported as a whole.
    pub mismatch: bool,
    /// The model that answered.
    pub model: Option<String>,
    /// The tier that served it; what providers call `standard` is `default`.
    pub service_tier: Option<String>,
    /// Anthropic's speed: `fast` has a price of its own.
    pub speed: Option<String>,
    /// Where Anthropic ran the model: a region that was asked for has a price of its own.
    pub inference_geo: Option<String>,
    /// The provider's name of the call.
    pub provider_request_id: Option<String>,
    /// What the provider says that it cost, in US dollars.
    pub provider_cost_usd: Option<Decimal>,
    /// Whether the answer came to its end.
    pub finished: bool,
    /// What went wrong, as the provider says it.
    pub error: Option<String>,
    /// The text of the answer in bytes, for an estimate.
    pub text_bytes: u64,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            usage: Usage::default(),
            source: UsageSource::Estimated,
            mismatch: false,
            model: None,
            service_tier: None,
            speed: None,
            inference_geo: None,
            provider_request_id: None,
            provider_cost_usd: None,
            finished: false,
            error: None,
            text_bytes: 0,
        }
    }
}

impl Reading {
    /// What is to be paid for, and where that is from: as reported, or as estimated within bounds.
    #[must_use]
    pub fn usage_within(&self, bounds: &Bounds) -> (Usage, UsageSource) {
        match self.source {
            UsageSource::Estimated => (estimate::complete(self, bounds), UsageSource::Estimated),
            UsageSource::None => (Usage::default(), UsageSource::None),
            source => (self.usage.clone(), source),
        }
    }

    /// What decides about the price beside the model, as price lists have it: the tier (`batch`, `flex`, `priority`, `default`), and
    /// words for the speed and the region, joined by `+`, such as `fast`, `us` and `batch+us`.
    #[must_use]
    pub fn tier(&self) -> Option<String> {
        let region = self.inference_geo.as_deref().filter(|geo| !matches!(*geo, "global" | "not_available"));
        let fast = self.speed.as_deref().filter(|speed| *speed != "standard");
        let base =
            self.service_tier.as_deref().filter(|tier| *tier != "default" || (fast.is_none() && region.is_none()));
        let parts: Vec<&str> = [base, fast, region].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("+"))
    }

    /// Notes the tier that served the call. One that was asked for and not yet decided tells nothing.
    pub(super) fn served(&mut self, tier: String) {
        match tier.as_str() {
            "auto" => {}
            "standard" => self.service_tier = Some("default".to_owned()),
            _ => self.service_tier = Some(tier),
        }
    }

    /// Notes who answered, under what name.
    pub(super) fn names(&mut self, body: &Value) {
        self.model = text(body.get("model"), LONGEST_NAME).or_else(|| self.model.take());
        self.provider_request_id = text(body.get("id"), LONGEST_NAME).or_else(|| self.provider_request_id.take());
        if let Some(tier) = text(body.get("service_tier"), 40) {
            self.served(tier);
        }
    }

    /// Notes what went wrong, if something did.
    pub(super) fn failed(&mut self, body: &Value) {
        let error = match body.get("error") {
            Some(Value::String(_)) => text(body.get("error"), LONGEST_ERROR),
            Some(error @ Value::Object(_)) => Some(said(error)),
            _ if body.get("type").and_then(Value::as_str) == Some("error") => Some(said(body)),
            _ => None,
        };
        if error.is_some() {
            self.error = error;
            self.provider_request_id =
                text(body.get("request_id"), LONGEST_NAME).or_else(|| self.provider_request_id.take());
        }
    }

    /// Decides where counts are from that did not come.
    pub(super) fn decide(&mut self) {
        let nothing_ran = self.text_bytes == 0 && self.usage == Usage::default();
        if self.source == UsageSource::Estimated && self.error.is_some() && nothing_ran {
            self.source = UsageSource::None;
        }
    }

    pub(super) fn says(&mut self, error: &str) {
        self.error.get_or_insert_with(|| error.chars().filter(|c| !c.is_control()).take(LONGEST_ERROR).collect());
    }
}

/// `code: message`.
fn said(error: &Value) -> String {
    let kind = ["code", "type"].iter().find_map(|name| text(error.get(name), LONGEST_NAME));
    match (kind, text(error.get("message"), LONGEST_ERROR)) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "the provider gave no reason".to_owned(),
    }
}

/// An amount that a provider reports: a number, a decimal in quotes, or an object with a total. More than a million dollars for a call
/// is no amount. More decimals than the database keeps are rounded half to even, the only rounding before a statement.
pub(super) fn cost(value: Option<&Value>) -> Option<Decimal> {
    let text = match value? {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        object @ Value::Object(_) => return ["total_cost", "total"].iter().find_map(|name| cost(object.get(name))),
        _ => return None,
    };
    let amount = Decimal::from_str(&text).or_else(|_| Decimal::from_scientific(&text)).ok()?;
    let sane = amount >= Decimal::ZERO && amount <= Decimal::from(1_000_000);
    sane.then(|| amount.round_dp(DECIMALS))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn costs_are_decimals() {
        let of = |value: Value| cost(Some(&value)).map(|amount| amount.to_string());
        assert_eq!(of(json!(0.000_14)).as_deref(), Some("0.00014"));
        assert_eq!(of(json!(1.4e-7)).as_deref(), Some("0.00000014"));
        assert_eq!(of(json!("0.1234567890125")).as_deref(), Some("0.123456789012"));
        assert_eq!(of(json!({ "total_cost": 0.25 })).as_deref(), Some("0.25"));
        assert_eq!(of(json!(0)).as_deref(), Some("0"));
        for none in [json!(-1), json!("x"), json!(1e9), json!(null), json!([1]), json!({})] {
            assert_eq!(of(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn the_tier_is_the_one_that_served() {
        let tier = |service: Option<&str>, speed: Option<&str>, geo: Option<&str>| {
            let mut reading =
                Reading { speed: speed.map(Into::into), inference_geo: geo.map(Into::into), ..Reading::default() };
            service.into_iter().for_each(|tier| reading.served(tier.to_owned()));
            reading.tier()
        };
        assert_eq!(tier(None, None, None), None);
        assert_eq!(tier(Some("auto"), None, None), None);
        assert_eq!(tier(Some("standard"), Some("standard"), Some("not_available")).as_deref(), Some("default"));
        assert_eq!(tier(Some("flex"), None, None).as_deref(), Some("flex"));
        assert_eq!(tier(Some("standard"), Some("fast"), Some("global")).as_deref(), Some("fast"));
        assert_eq!(tier(Some("standard"), None, Some("us")).as_deref(), Some("us"));
        assert_eq!(tier(Some("batch"), None, Some("us")).as_deref(), Some("batch+us"));
    }
}
