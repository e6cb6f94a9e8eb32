use super::reading::Reading;
use super::{Bounds, Usage};
use crate::call::{CostSource, Costed, UsageSource};
use crate::prices::{PriceQuery, Prices};

/// What a call used and what that costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What was used.
    pub usage: Usage,
    /// Where that is from.
    pub usage_source: UsageSource,
    /// Whether the reported counts contradict each other.
    pub usage_mismatch: bool,
    /// The model that is paid for.
    pub model: String,
    /// The tier that is paid for.
    pub service_tier: Option<String>,
    /// What it costs.
    pub cost: Costed,
}

/// What a call used and costs, by its answer. `asked` is what the request named: model and tier are those that answered and served,
/// where the answer says so.
///
/// What the provider says that it cost is what it costs. A call that failed before a model ran is free. All others cost what the price
/// list says, or nobody knows what; an unknown cost is never zero.
#[must_use]
pub fn measure(reading: &Reading, bounds: &Bounds, asked: &PriceQuery<'_>, prices: &Prices) -> Measured {
    let served = reading.tier();
    let model = reading.model.as_deref().unwrap_or(asked.model);
    let service_tier = served.as_deref().or(asked.service_tier);
    let query = PriceQuery { model, service_tier, ..*asked };
    let (usage, usage_source) = match reading.source {
        UsageSource::Estimated => reading.usage_within(&prices.within(&query, bounds)),
        _ => reading.usage_within(bounds),
    };
    let cost = match (usage_source, reading.provider_cost_usd) {
        (UsageSource::None, None) => Costed::free(),
        (_, None) => prices.cost(&query, &usage),
        (_, Some(amount)) => Costed {
            cost_usd: Some(amount),
            cost_source: CostSource::Provider,
            price_version: None,
            rates: None,
            // What it would have cost elsewhere is a question for the price list all the same.
            ..prices.cost(&query, &usage)
        },
    };
    Measured {
        usage,
        usage_source,
        usage_mismatch: reading.mismatch,
        model: model.to_owned(),
        service_tier: service_tier.map(str::to_owned),
        cost,
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use tenantry_core::TenantId;

    use super::*;

    const AT: &str = "2026-01-01T00:00:00Z";

    fn query<'a>() -> PriceQuery<'a> {
        PriceQuery {
            tenant: TenantId::generate(),
            account: None,
            provider: "nobody",
            model: "asked",
            service_tier: Some("flex"),
            at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_estimate_is_bounded_by_what_the_model_can_write() {
        let prices = Prices::default();
        let asked = PriceQuery {
            provider: "openai",
            model: "gpt-4o-mini",
            service_tier: None,
            at: AT.parse().unwrap(),
            ..query()
        };
        let of = |bounds: Bounds, answered: Option<&str>| {
            let model = answered.map(str::to_owned);
            let reading = Reading { text_bytes: 1_000_000, model, ..Reading::default() };
            measure(&reading, &bounds, &asked, &prices).usage.output
        };
        assert_eq!(of(Bounds::default(), None), 16_384);
        assert_eq!(of(Bounds { choices: 3, ..Bounds::default() }, None), 3 * 16_384, "each choice");
        assert_eq!(
            of(Bounds { output_at_most: Some(50), ..Bounds::default() }, None),
            50,
            "not more than was asked for"
        );
        assert_eq!(of(Bounds { output_at_most: Some(900_000), ..Bounds::default() }, None), 16_384);
        assert_eq!(of(Bounds::default(), Some("nobody-knows")), 500_000, "nothing bounds a model that is not known");
    }

    #[test]
    fn what_the_provider_says_wins_and_unknown_is_not_zero() {
        let prices = Prices::default();
        let of = |reading: Reading| measure(&reading, &Bounds::default(), &query(), &prices);
        let reported = Reading { source: UsageSource::Reported, ..Reading::default() };
        let unknown = of(reported.clone());
        assert_eq!((unknown.cost.cost_usd, unknown.cost.cost_source), (None, CostSource::Unpriced));
        assert_eq!((unknown.model.as_str(), unknown.service_tier.as_deref()), ("asked", Some("flex")));
        let told =
            of(Reading { provider_cost_usd: Some(Decimal::new(25, 2)), model: Some("answered".into()), ..reported });
        assert_eq!((told.cost.cost_usd, told.cost.cost_source), (Some(Decimal::new(25, 2)), CostSource::Provider));
        assert_eq!(told.model, "answered");
        let failed = of(Reading { source: UsageSource::None, ..Reading::default() });
        assert_eq!((failed.cost.cost_usd, failed.cost.cost_source), (Some(Decimal::ZERO), CostSource::Free));
    }
}
