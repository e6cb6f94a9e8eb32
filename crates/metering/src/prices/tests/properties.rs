//! What holds for any price and any usage.

use proptest::prelude::*;

use super::*;

fn amount(from: u64, to: u64) -> impl Strategy<Value = String> {
    (from..=to).prop_map(|micros| Amount::from_micros(micros).to_string())
}

fn used() -> impl Strategy<Value = Usage> {
    let count = || prop_oneof![Just(0_u64), 0_u64..2_000_000];
    ((count(), count(), count(), count()), (count(), count(), count()), 0_u64..20).prop_map(
        |(input, output, searches)| Usage {
            input: input.0,
            cache_read: input.1,
            cache_write: input.2,
            cache_write_1h: input.3,
            output: output.0,
            reasoning: output.1,
            audio_input: output.2,
            units: [("web_search".to_owned(), searches)].into_iter().filter(|(_, count)| *count > 0).collect(),
            ..Usage::default()
        },
    )
}

/// Computed another way: in decimals, rate by rate.
fn by_hand(usage: &Usage, rates: &[(u64, &str)], searches: &str) -> Decimal {
    let tokens: Decimal = rates
        .iter()
        .map(|(count, rate)| Decimal::from(*count) * rate.parse::<Decimal>().unwrap() / Decimal::from(1_000_000))
        .sum();
    let searched = usage.units.get("web_search").copied().unwrap_or_default();
    tokens + Decimal::from(searched) * searches.parse::<Decimal>().unwrap()
}

proptest! {
    #[test]
    fn a_cost_is_exact_and_can_be_computed_from_its_row_alone(
        usage in used(),
        input in amount(1_000_000, 200_000_000),
        cache_read in amount(1_000, 900_000),
        output in amount(1_000, 600_000_000),
        search in amount(0, 1_000_000),
        tier in prop::sample::select(vec!["", "flex", "us", "flex+us+fast"]),
    ) {
        let rates = format!(
            "input = \"{input}\"\ncache_read = \"{cache_read}\"\naudio_input = \"7.000001\"\noutput = \"{output}\"\nunits = {{ web_search = \"{search}\" }}\n\
             tiers.flex = {{ input = \"{input}\", audio_input = \"3\", output = \"{output}\" }}\nmultipliers = {{ us = \"1.1\", fast = \"2.345\" }}\n\
             context = [{{ above = 300000, input = \"9\", audio_input = \"3\", output = \"11.111111\" }}]"
        );
        let prices = prices(&provider(&model("m", &rates)));
        let costed = prices.cost(&query("p", "m", Some(tier), "2026-01-01"), &usage);
        let cost = costed.cost_usd.unwrap();
        prop_assert!(cost.scale() <= 12);
        let frozen = serde_json::from_str(&costed.rates.unwrap().to_string()).unwrap();
        prop_assert_eq!(recompute(&frozen, &usage), Ok(cost));
        if tier.is_empty() && usage.tokens_input() <= 300_000 {
            let rates = [
                (usage.input, input.as_str()), (usage.cache_read, cache_read.as_str()), (usage.cache_write, &input),
                (usage.cache_write_1h, &input), (usage.audio_input, "7.000001"), (usage.output, &output), (usage.reasoning, &output),
            ];
            prop_assert_eq!(cost, by_hand(&usage, &rates, &search));
        }
        let bounds = Bounds { input_at_most: usage.tokens_input(), output_at_most: Some(usage.tokens_output()), choices: 1 };
        let (most, costed) = prices.at_most(&query("p", "m", Some(tier), "2026-01-01"), &bounds).unwrap();
        let hold = costed.cost_usd.unwrap();
        prop_assert_eq!(recompute(&costed.rates.unwrap(), &most), Ok(hold));
        let searched = by_hand(&usage, &[], &search);
        prop_assert!(hold + searched >= cost, "{hold} + {searched} < {cost}");
    }

    #[test]
    fn every_price_in_the_program_prices_and_can_be_computed_again(usage in used(), at in 0_usize..10_000) {
        let usage = Usage { audio_input: 0, ..usage };
        let prices = Prices::default();
        let table = prices.inner.table.load();
        let model = &table.models[at % table.models.len()];
        let price = &model.prices[at % model.prices.len()];
        let query = PriceQuery { at: price.from, ..query(&model.provider, &model.name, None, "2026-01-01") };
        let costed = prices.cost(&query, &usage);
        if let Some(cost) = costed.cost_usd {
            prop_assert_eq!(recompute(&costed.rates.unwrap(), &usage), Ok(cost));
            prop_assert!(costed.list_baseline_usd.is_some() || !model.baseline || model.class.as_deref() == Some("audio"));
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = Catalogue::parse(&text);
        let _ = Catalogue::parse(&format!("format = 1\n[[provider]]\nname = \"p\"\n{text}"));
    }
}
