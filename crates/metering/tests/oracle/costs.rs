//! What the payloads cost.

use std::collections::BTreeMap;

use metering::prices::{Catalogue, PriceQuery, Prices, recompute};
use metering::usage::{Bounds, Measured, Reading, measure};
use metering::{CostSource, Decimal, UsageSource};
use tenantry_core::TenantId;

use crate::{Case, cases, text};

impl Case {
    fn measure(&self, reading: &Reading, prices: &Prices) -> Measured {
        let asked = PriceQuery {
            tenant: TenantId::generate(),
            account: None,
            provider: &self.provider,
            model: &self.asked,
            service_tier: self.asked_tier.as_deref(),
            at: self.at,
        };
        measure(
            reading,
            &Bounds { input_at_most: self.input_at_most, output_at_most: self.output_at_most, choices: 1 },
            &asked,
            prices,
        )
    }
}

fn prices() -> Prices {
    Prices::with(&Catalogue::parse(&text("catalogue.toml")).unwrap(), Vec::new())
}

#[test]
fn it_costs_what_another_program_says() {
    let (prices, expected) = (prices(), text("expected.json"));
    let expected: BTreeMap<String, Option<Decimal>> = serde_json::from_str(&expected).unwrap();
    let cases = cases();
    assert_eq!(cases.len(), expected.len());
    for case in cases {
        let measured = case.measure(&case.read(), &prices);
        assert_eq!(measured.cost.cost_usd, expected[&case.name], "{}: {measured:?}", case.name);
        let source = match (case.source, case.provider_cost_usd, expected[&case.name]) {
            (_, Some(_), _) => CostSource::Provider,
            (UsageSource::None, ..) => CostSource::Free,
            (.., None) => CostSource::Unpriced,
            (.., Some(_)) => CostSource::Catalogue,
        };
        assert_eq!(measured.cost.cost_source, source, "{}", case.name);
        // What is frozen on the row is enough to come to the same again.
        if let Some(rates) = &measured.cost.rates {
            assert_eq!(recompute(rates, &measured.usage).ok(), measured.cost.cost_usd, "{}", case.name);
        }
    }
}
